"""Dividing people so that nobody is on two sides, and folds that go on from earlier ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from bids_hypo.errors import UsageError
from bids_hypo.image.label_numbers import Wanted
from bids_hypo.models.bundle import save_bundle
from bids_hypo.structures import HYPOTHALAMUS
from bids_hypo.train.folds import DIVISION, divide, plan_folds, set_aside
from bids_hypo.train.labelled import find_labelled
from bids_hypo.train.recipe import load_recipe, parse_recipe
from bids_hypo.workflow.bundling import bundle_description
from tests.train.recipes import content_of

HYPO = Wanted(HYPOTHALAMUS)


def _recipe(seed=1, **people):
    content = content_of("hypothalamus") | {"test": {}, "validation": {}} | people
    content["training"]["seed"] = seed
    return parse_recipe(content, Path("recipe.json"))


RECIPE = _recipe()


@pytest.mark.parametrize("n_folds", [1, 3])
def test_nobody_is_on_two_sides(dataset, n_folds):
    items = find_labelled(*dataset, HYPO, stratify="group")
    recipe = _recipe(test={"study": ["sub-02"]})
    divisions = divide(items, recipe, n_folds)
    assert len(divisions) == n_folds
    held_out = []
    for division in divisions:
        trained, validated = ({i.person for i in part} for part in (division.training, division.validation))
        assert trained and validated and not trained & validated
        assert "study/sub-02" not in trained | validated
        held_out += sorted(validated)
        if n_folds == 3:
            assert {i.group for i in division.validation} == {"study ALS", "study CON"}
    if n_folds == 3:
        assert sorted(held_out) == sorted({i.person for i in items} - {"study/sub-02"})
    assert divide(items, recipe, n_folds) == divisions


def test_a_listed_validation_is_used_without_folds(dataset):
    items = find_labelled(*dataset, HYPO)
    recipe = _recipe(validation={"study": ["sub-03", "sub-07"]})
    (division,) = divide(items, recipe, 1)
    assert {i.scan.subject for i in division.validation} == {"03", "07"}
    with pytest.raises(UsageError, match="for 12 parts"):
        divide(items, recipe, 12)


def test_the_shipped_recipe_sets_18_people_aside():
    recipe = load_recipe("hypothalamus")
    aside = [(d, s) for part in ("validation", "test") for d, ss in recipe.aside(part).items() for s in ss]
    assert len(set(aside)) == len(aside) == 18
    assert set_aside([], recipe.test) == []


@pytest.fixture
def folds(dataset, tmp_path):
    """People divided into two folds, and a bundle with a network for each of them."""
    divisions = divide(find_labelled(*dataset, HYPO), RECIPE, 2)
    weights = []
    for n in range(2):
        weights.append(tmp_path / f"{n}.npz")
        np.savez(weights[-1], np.full(len(RECIPE.labels), n))
    bundle = save_bundle(tmp_path / "bundle", bundle_description(RECIPE, {"region_centre_mm": [0, 0, 0]}), weights)
    names = [{"training": [], "validation": [item.name for item in d.validation]} for d in divisions]
    (bundle.folder / DIVISION).write_text(json.dumps({"test": [], "folds": names}))
    return divisions, bundle.folder


def test_each_fold_goes_on_from_the_network_that_did_not_see_its_people(dataset, folds):
    divisions, bundle = folds
    people = [{item.person for item in d.validation} for d in divisions]
    fewer = [item for item in find_labelled(*dataset, HYPO) if item.scan.subject != "04"]
    later = _recipe(2, test={"study": ["sub-07"]})  # another division, if it were drawn again
    plan = plan_folds(fewer, later, 2, bundle)
    assert [start for _, start in plan] == [bundle / "weights-0.npz", bundle / "weights-1.npz"]
    gone = {"study/sub-04", "study/sub-07"}
    for (division, _), before in zip(plan, people, strict=True):
        assert {item.person for item in division.validation} == before - gone
        assert not {item.person for item in division.training} & (before | gone)


def test_people_whom_no_network_knows_are_dealt_to_the_folds(dataset, folds):
    _, bundle = folds
    content = json.loads((bundle / DIVISION).read_text())
    for fold in content["folds"]:
        fold["validation"] = fold["validation"][2:]
    (bundle / DIVISION).write_text(json.dumps(content))
    items = find_labelled(*dataset, HYPO)
    plan = plan_folds(items, RECIPE, 2, bundle)
    held_out = [{item.person for item in division.validation} for division, _ in plan]
    assert held_out[0] | held_out[1] == {item.person for item in items} and not held_out[0] & held_out[1]


def test_folds_without_a_network_of_their_own_start_alike(dataset, folds):
    _, bundle = folds
    items = find_labelled(*dataset, HYPO)
    for n_folds, weights in ((1, bundle), (2, "imagenet")):
        plan = plan_folds(items, RECIPE, n_folds, weights)
        assert [start for _, start in plan] == [weights] * n_folds
    with pytest.raises(UsageError, match=r"found 2 networks, 2 folds .*; expected 3"):
        plan_folds(items, RECIPE, 3, bundle)
