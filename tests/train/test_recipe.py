"""Recipes, and changes to them from the command line."""

from dataclasses import FrozenInstanceError, replace

import pytest

from bids_hypo.errors import NoInputError, UsageError
from bids_hypo.train.recipe import (
    RECIPES,
    changed,
    in_phases,
    load_recipe,
    parse_recipe,
    single_phase,
    without_contrast,
)
from tests.train.recipes import content_of, two_sided


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.json")), ids=lambda p: p.stem)
def test_the_input_of_every_shipped_network_is_its_grid(path):
    content = content_of(path.stem)
    assert changed(content, []) == content


def test_entries_are_replaced_and_the_input_follows():
    before = load_recipe("hypothalamus")
    after = load_recipe(
        "hypothalamus",
        changes=["training.steps=600", "preprocessing.shape=[64,36,64]", "preprocessing.slice_offsets=[-1,0,1]",
                 'encoder_weights="none"', "phases.mild.training.steps=7"],
    )  # fmt: skip
    assert after.training == replace(before.training, steps=600)
    assert after.architecture == before.architecture | {"input_shape": [64, 64, 3]}
    assert after.encoder_weights == "none"
    strong, mild = in_phases(after)
    assert (strong.training.steps, mild.training.steps) == (600, 7)
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
    assert load_recipe("hypothalamus", changes=twice).training.steps == 5
    with pytest.raises(UsageError, match=r"training\.steps is given twice, as 5 and as 6"):
        load_recipe("hypothalamus", changes=[*twice, "training.steps=6"])


def test_slices_that_lie_on_their_side_change_the_input():
    content = content_of("vernikouskaya2023")
    content["preprocessing"] |= {"slice_orientation": "LI", "shape": [64, 4, 32]}
    assert changed(content, [])["architecture"]["input_shape"] == [64, 32, 3]
    content["preprocessing"]["slice_orientation"] = "IL"
    assert parse_recipe(changed(content, []), RECIPES).architecture["input_shape"] == [32, 64, 3]


@pytest.mark.parametrize("name", ["vernikouskaya2023", "vernikouskaya2023-icv", "gradio-cnn"])
def test_the_papers_networks_see_pictures_with_the_commissures_in_the_middle(name):
    recipe = load_recipe(name)
    assert recipe.preprocessing.slice_orientation == "IL"
    assert recipe.constants["region_centre_mm"] == [0, -3, -2]
    assert recipe.preprocessing.intensity == ("zscore" if name == "gradio-cnn" else "white matter")


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(NoInputError, match="vernikouskaya2023"):
        load_recipe("hypothalamos")


def test_a_phase_of_a_recipe_without_phases_is_an_error():
    recipe = load_recipe("gradio-cnn")
    assert in_phases(recipe) == [recipe]
    with pytest.raises(UsageError, match="--phase mild: the recipe 'hypothalamus' has no phases"):
        in_phases(recipe, "mild")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stepz": 3}, "recipe.json: the entry stepz is not known; expected only name"),
        ({"training": {"stepz": 3}}, "the entry training.stepz is not known"),
        ({"training": {"steps": 0}}, "the entry training.steps is 0; expected a whole number from 1"),
        ({"augmentation": {"elastic": 1}}, "the entry augmentation.elastic is not known"),
        ({"phases": [{"name": "a", "labels": []}]}, r"the entry phases\[0\].labels is not known"),
        ({"labels": ["background", "one"]}, "the entry architecture.classes is 3"),
        ({"loss": {"class_weights": [1]}}, "the entry loss.class_weights is .*; expected 3 numbers"),
        ({"loss": {"jaccard_groups": [[3]]}}, "the entry loss.jaccard_groups is .*; expected lists of classes"),
        ({"parts": []}, "the entry parts is"),
        ({"sums": [{"name": "whole", "parts": ["x"]}]}, "the entry sums is .*; expected names that no part"),
        ({"sums": [{"name": "more", "parts": ["x"]}]}, r"the entry sums is .*; expected for more some of .*\(none\)"),
        ({"plausible": {"whole_mm3": [1]}}, "the entry plausible.whole_mm3 is"),
        ({"role": "house"}, "the entry role is 'house'; expected one of head"),
        ({"mirror_pairs": [[1, 1]]}, r"the entry mirror_pairs is .*; expected \[\[1, 2\]\]"),
        (
            {"constants": {"region_centre_mm": [0, -3]}},
            "the entry constants.region_centre_mm is .*; expected 3 numbers",
        ),
        ({"constants": {"region_centre_mm": [0, 0, 999]}}, "the entry constants.region_centre_mm is"),
        ({"constants": []}, "the entry constants is"),
        ({"validation": {"study": "sub-01"}}, "the entry validation.study is 'sub-01'; expected a list"),
    ],
)
def test_an_entry_that_cannot_be_is_named(changes, message):
    with pytest.raises(UsageError, match=message + ".*Correct the file"):
        two_sided(**changes)


def test_a_recipe_stays_as_it_was_read():
    recipe = load_recipe("hypothalamus")
    with pytest.raises(FrozenInstanceError):
        recipe.name = "other"
    assert recipe.training.settings()["steps"] == 2000
    assert two_sided(mirror_pairs=[[2, 1]]).mirrored == two_sided().mirrored == (1, 0)
    assert recipe.mirrored == (*range(6, 12), *range(6))


def test_a_recipe_may_take_its_structure_from_another(tmp_path):
    whole, lent = load_recipe("hypothalamus"), load_recipe("gradio-cnn")
    own = {name: getattr(lent.structure, name) for name in ("parts", "sums", "methods")}
    assert lent.structure == replace(whole.structure, **own) != whole.structure
    assert lent.kinds_as_classes == ("hypothalamus",) and whole.kinds_as_classes is None
    path = tmp_path / "mine.json"
    path.write_text((RECIPES / "gradio-cnn.json").read_text().replace('as": "hypothalamus"', 'as": "nothing"'))
    with pytest.raises(UsageError, match="same_structure_as is 'nothing'; expected the name of another"):
        load_recipe(str(path))


def test_one_phase_can_be_shortened():
    recipe = load_recipe("hypothalamus", backbone="vgg16")
    first, mild = single_phase(recipe, steps=300), single_phase(recipe, "mild")
    assert (first.name, first.phases, first.architecture["backbone"]) == ("hypothalamus", (), "vgg16")
    assert first.training == replace(recipe.training, steps=300, warmup_steps=30, checkpoint_every=60)
    assert mild.training == in_phases(recipe, "mild")[0].training
    assert mild.augmentation.gamma_sd < first.augmentation.gamma_sd


def test_epochs_can_be_shortened_to_steps():
    recipe = load_recipe("vernikouskaya2023")
    short = single_phase(recipe, steps=100).training
    assert (short.last_step, short.epochs, short.patience) == (100, None, None)
    assert short.batches_per_chunk == 8 * 50 // 4  # the slices of eight scans, as in an epoch
    assert single_phase(recipe).training == recipe.training


def test_without_contrast_nothing_else_changes():
    full = single_phase(load_recipe("hypothalamus"))
    plain = without_contrast(full)
    assert plain.augmentation == replace(full.augmentation, contrast=(1.0, 1.0), gamma_sd=0.0, remap=0.0)
    assert replace(plain, augmentation=full.augmentation, content=full.content) == full
    paper = load_recipe("vernikouskaya2023")
    assert paper.augmentation.contrast_after and without_contrast(paper).augmentation.contrast_after is None
    with pytest.raises(UsageError, match="does not vary the contrast"):
        without_contrast(load_recipe("gradio-cnn"))
