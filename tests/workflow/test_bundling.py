"""Bundles of trainings that are finished, or not."""

import json

import numpy as np
import pytest

from bids_hypo.errors import UsageError
from bids_hypo.train.folds import read_folds
from bids_hypo.workflow.bundling import make_bundle
from tests.train.recipes import two_sided

RECIPE = two_sided(version="9.9.9")


@pytest.fixture
def folder(tmp_path):
    folds = [{"training": ["study/sub-9_T1w"], "validation": [f"study/sub-{k}_T1w"]} for k in range(1, 12)]
    (tmp_path / "division.json").write_text(json.dumps({"test": [], "folds": folds}))
    (tmp_path / "constants.json").write_text('{"region_centre_mm": [0, 1, 2]}')
    for k in (2, 11):
        (tmp_path / f"fold-{k}").mkdir()
        np.savez(tmp_path / f"fold-{k}" / "weights.npz", np.full(3, k))
    (tmp_path / "fold-3").mkdir()
    return tmp_path


def test_folds_that_are_not_trained_yet_are_left_out(folder):
    bundle = make_bundle(RECIPE, folder, folder / "bundle")
    assert [fold["validation"] for fold in read_folds(bundle.folder)] == [["study/sub-2_T1w"], ["study/sub-11_T1w"]]
    stored = [np.load(bundle.folder / name)["arr_0"][0] for name, _ in bundle.weights]
    assert stored == [2, 11]


def test_a_whole_training_keeps_its_division(folder):
    np.savez(folder / "weights.npz", np.zeros(3))
    bundle = make_bundle(RECIPE, folder, folder / "bundle")
    assert len(bundle.weights) == 1 and len(read_folds(bundle.folder)) == 11


def test_weights_are_averaged_with_those_of_the_same_fold(folder):
    first = make_bundle(RECIPE, folder, folder / "first")
    for k in (2, 11):
        np.savez(folder / f"fold-{k}" / "weights.npz", np.full(3, k + 1, np.float16))
    before = read_folds(first.folder)
    mean = make_bundle(RECIPE, folder, first.folder, average_with=first.folder)  # in its place
    assert [np.load(mean.folder / name)["arr_0"][0] for name, _ in mean.weights] == [2.5, 11.5]
    assert read_folds(mean.folder) == before and "are the mean" in (mean.folder / "MODEL_CARD.md").read_text()


def test_networks_that_do_not_belong_together_have_no_average(folder):
    first = make_bundle(RECIPE, folder, folder / "first")
    np.savez(folder / "fold-2" / "weights.npz", np.zeros(4))
    with pytest.raises(UsageError, match="not a network like"):
        make_bundle(RECIPE, folder, folder / "mean", average_with=first.folder)
    np.savez(folder / "fold-3" / "weights.npz", np.zeros(3))
    with pytest.raises(UsageError, match="found 2 networks; expected 3"):
        make_bundle(RECIPE, folder, folder / "mean", average_with=first.folder)
    (folder / "fold-2" / "weights.npz").unlink()
    with pytest.raises(UsageError, match="the same people set aside"):
        make_bundle(RECIPE, folder, folder / "mean", average_with=first.folder)
    assert not (folder / "mean").exists()


def test_nothing_trained_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no trained weights"):
        make_bundle(RECIPE, tmp_path, tmp_path / "bundle")
