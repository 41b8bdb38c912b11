"""Recipes, and changes to them from the command line."""

import pytest

from bids_hypo.errors import NoInputError, UsageError
from bids_hypo.train.recipe import RECIPES, changed, in_phases, load_recipe


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.json")), ids=lambda p: p.stem)
def test_the_input_of_every_shipped_network_is_its_grid(path):
    recipe = load_recipe(path.stem)
    assert changed(recipe, []) == recipe


def test_entries_are_replaced_and_the_input_follows():
    before = load_recipe("hypothalamus")
    after = load_recipe(
        "hypothalamus",
        changes=["training.steps=600", "preprocessing.shape=[64,36,64]", "preprocessing.slice_offsets=[-1,0,1]",
                 'encoder_weights="none"', "phases.mild.training.steps=7"],
    )  # fmt: skip
    assert after["training"] == before["training"] | {"steps": 600}
    assert after["architecture"] == before["architecture"] | {"input_shape": [64, 64, 3]}
    assert after["encoder_weights"] == "none"
    strong, mild = in_phases(after)
    assert (strong["training"]["steps"], mild["training"]["steps"]) == (600, 7)
    assert load_recipe("hypothalamus") == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.stepz=3", r"training\.stepz=3: the recipe has no entry"),
        ("training.steps.more=3", "has no entry"),
        ("steps=3", "At the top it has name"),
        ("training.steps", "is not JSON"),
        ("phases.weak.training.steps=7", "has no entry"),
        ("encoder_weights=none", "a word in double quotes"),
    ],
)
def test_a_change_that_cannot_be_made_is_an_error(change, message):
    with pytest.raises(UsageError, match=message):
        load_recipe("hypothalamus", changes=[change])


def test_an_entry_has_one_value():
    twice = ["training.steps=5", "training.steps=5"]
    assert load_recipe("hypothalamus", changes=twice)["training"]["steps"] == 5
    with pytest.raises(UsageError, match=r"training\.steps is given twice, as 5 and as 6"):
        load_recipe("hypothalamus", changes=[*twice, "training.steps=6"])


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(NoInputError, match="vernikouskaya2023"):
        load_recipe("hypothalamos")


def test_a_phase_of_a_recipe_without_phases_is_an_error():
    recipe = load_recipe("gradio-cnn")
    assert in_phases(recipe) == [recipe]
    with pytest.raises(UsageError, match="--phase mild: the recipe 'hypothalamus' has no phases"):
        in_phases(recipe, "mild")
