"""Pairing scans with labels, and dividing people so that nobody is on two sides."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids.tables import TableError
from bids_hypo.errors import NoInputError, ScanReadError, UsageError
from bids_hypo.models.bundle import save_bundle
from bids_hypo.train.labelled import DIVISION, divide, find_labelled, label_weights, read_classes, set_aside
from bids_hypo.workflow.training import TrainingOptions, load_recipe, plan_folds
from tests.models.test_bundle import DESCRIPTION as TOY


def _save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)


@pytest.fixture
def dataset(tmp_path):
    """Ten people, the first with two sessions; left and right masks of nine of them."""
    raw, labels = tmp_path / "study", tmp_path / "manual"
    rows = ["participant_id\tgroup"]
    for n in range(1, 11):
        sub = f"sub-{n:02d}"
        rows.append(f"{sub}\t{'ALS' if n <= 5 else 'CON'}")
        for ses in ("1", "2") if n == 1 else ("1",):
            _save(raw / sub / f"ses-{ses}" / "anat" / f"{sub}_ses-{ses}_T1w.nii.gz", np.ones((4, 4, 4), np.float32))
            for side, x in (("L", 1), ("R", 2)):
                mask = np.zeros((4, 4, 4), np.uint8)
                mask[x, 1:3, 1] = 1
                if n < 10:
                    _save(labels / sub / f"{sub}_ses-{ses}_label-{side}_mask.nii.gz", mask)
    (raw / "participants.tsv").write_text("\n".join(rows) + "\n")
    (raw / "dataset_description.json").write_text('{"Name": "s", "BIDSVersion": "1.9.0"}')
    return raw, labels


def test_scans_without_labels_are_left_out(dataset):
    items = find_labelled(*dataset, stratify="group")
    assert len(items) == 10
    assert {i.scan.subject for i in items} == {f"{n:02d}" for n in range(1, 10)}
    assert items[0].group == "study ALS"
    with pytest.raises(TableError, match="no column 'site'"):
        find_labelled(*dataset, stratify="site")
    with pytest.raises(NoInputError, match="it does not exist"):
        find_labelled(dataset[0], dataset[1] / "elsewhere")


def test_classes_by_recipe(dataset, tmp_path):
    item = find_labelled(*dataset)[0]
    left, right = read_classes(item, load_recipe("hypothalamus"))
    assert left.data.sum() == right.data.sum() == 2
    (whole,) = read_classes(item, load_recipe("vernikouskaya2023"))
    assert (whole.data > 0.5).sum() == 4
    with pytest.raises(ScanReadError, match="17 foreground classes"):
        read_classes(item, load_recipe("anatomy"))


def test_any_labels_by_number(dataset, tmp_path):
    raw, _ = dataset
    labels = np.zeros((4, 4, 4), np.int16)
    labels[0], labels[1], labels[2] = 10, 49, 50
    _save(tmp_path / "aseg" / "sub-02" / "seg.nii.gz", labels)
    (item,) = find_labelled(raw, tmp_path / "aseg", pattern="{subject}/seg.nii.gz")
    recipe = {"labels": ["background", "left thalamus", "right"], "label_numbers": [[10], [49, 50]]}
    left, right = read_classes(item, recipe)
    assert (left.data.sum(), right.data.sum()) == (16, 32)


@pytest.mark.parametrize("n_folds", [1, 3])
def test_nobody_is_on_two_sides(dataset, n_folds):
    items = find_labelled(*dataset, stratify="group")
    recipe = {"training": {"seed": 1}, "test": {"study": ["sub-02"]}, "validation": {}}
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
    items = find_labelled(*dataset)
    recipe = {"training": {"seed": 1}, "validation": {"study": ["sub-03", "sub-07"]}}
    (division,) = divide(items, recipe, 1)
    assert {i.scan.subject for i in division.validation} == {"03", "07"}
    with pytest.raises(UsageError, match="for 12 parts"):
        divide(items, recipe, 12)


def test_the_shipped_recipe_sets_18_people_aside():
    recipe = load_recipe("hypothalamus")
    aside = [(d, s) for part in ("validation", "test") for d, ss in recipe[part].items() for s in ss]
    assert len(set(aside)) == len(aside) == 18
    assert set_aside([], recipe["test"]) == []


def test_doubtful_labels_weigh_less(tmp_path):
    rule = load_recipe("hypothalamus")["doubtful"]
    assert label_weights(tmp_path, rule) is None
    table = {"dataset": ["a", "a", "b"], "participant_id": ["sub-1", "sub-2", "sub-1"], "cv": [0.01, 0.2, 0.01],
             "whole_mm3": [800, 800, 500]}  # fmt: skip
    pd.DataFrame(table).to_csv(tmp_path / "labels.tsv", sep="\t", index=False)
    for name, expected in (("a", [1.0, rule["weight"]]), ("b", [rule["weight"]])):
        (tmp_path / name).mkdir()
        assert list(label_weights(tmp_path / name, rule)["weight"]) == expected


@pytest.fixture
def folds(dataset, tmp_path):
    """People divided into two folds, and a bundle with a network for each of them."""
    divisions = divide(find_labelled(*dataset), RECIPE, 2)
    weights = []
    for n in range(2):
        weights.append(tmp_path / f"{n}.npz")
        np.savez(weights[-1], np.full(3, n))
    bundle = save_bundle(tmp_path / "bundle", TOY, weights)
    names = [{"training": [], "validation": [item.name for item in d.validation]} for d in divisions]
    (bundle.folder / DIVISION).write_text(json.dumps({"test": [], "folds": names}))
    return divisions, bundle.folder


RECIPE = {"training": {"seed": 1}}


def test_each_fold_goes_on_from_the_network_that_did_not_see_its_people(dataset, folds):
    divisions, bundle = folds
    people = [{item.person for item in d.validation} for d in divisions]
    fewer = [item for item in find_labelled(*dataset) if item.scan.subject != "04"]
    later = {"training": {"seed": 2}, "test": {"study": ["sub-07"]}}  # another division, if it were drawn again
    plan = plan_folds(fewer, later, TrainingOptions(2, encoder_weights=bundle))
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
    items = find_labelled(*dataset)
    plan = plan_folds(items, RECIPE, TrainingOptions(2, encoder_weights=bundle))
    held_out = [{item.person for item in division.validation} for division, _ in plan]
    assert held_out[0] | held_out[1] == {item.person for item in items} and not held_out[0] & held_out[1]


def test_folds_without_a_network_of_their_own_start_alike(dataset, folds):
    _, bundle = folds
    items = find_labelled(*dataset)
    for options in (TrainingOptions(1, encoder_weights=bundle), TrainingOptions(2, encoder_weights="imagenet")):
        plan = plan_folds(items, RECIPE, options)
        assert [start for _, start in plan] == [options.encoder_weights] * options.n_folds
    with pytest.raises(UsageError, match=r"found 2 networks, 2 folds .*; expected 3"):
        plan_folds(items, RECIPE, TrainingOptions(3, encoder_weights=bundle))
