"""Real scans of people kept out of training; skipped where they are not at hand."""

from __future__ import annotations

import pytest

from bids_hypo.execute.worker import load_models
from bids_hypo.image.label_numbers import Wanted
from bids_hypo.image.volume import read_volume
from bids_hypo.measure.volumes import whole_mm3
from bids_hypo.structures import BOTH, HYPOTHALAMUS, LEFT, RIGHT
from bids_hypo.train.folds import set_aside
from bids_hypo.train.labelled import find_labelled
from bids_hypo.train.recipe import load_recipe
from bids_hypo.workflow.accuracy import structure_accuracy
from bids_hypo.workflow.scan import segment_volume
from bids_hypo.workflow.steadiness import CHANGES

pytestmark = [pytest.mark.slow, pytest.mark.shared_data]

HYPO = Wanted(HYPOTHALAMUS, load_recipe("hypothalamus").structure)
TWO_PEOPLE = {"test": {"ds000011": ["sub-12"], "ds002748": ["sub-61"]}}


@pytest.fixture(scope="module")
def models():
    return load_models("cpu", None, None, 16)


def test_agreement_with_the_labels(shared_data, models):
    aside = load_recipe("hypothalamus").test
    assert all(s in aside[d] for d, subjects in TWO_PEOPLE["test"].items() for s in subjects)
    items = []
    for dataset in aside:
        items += find_labelled(shared_data / dataset, shared_data / "hypothalamus-parts" / dataset, HYPO)
    table = structure_accuracy(set_aside(items, TWO_PEOPLE["test"]), models)
    assert len(table) == 2
    assert (table.dice > 0.9).all() and (table.filter(like="dice_") > 0.7).all(axis=None)
    assert (table.volume_error_percent.abs() < 8).all()


def test_whole_heads_have_an_icv_and_stripped_ones_do_not(shared_data, models):
    whole = segment_volume(read_volume(shared_data / "ds000011/sub-12/anat/sub-12_T1w.nii.gz"), models)
    assert whole.icv_flags == ()
    assert whole.icv_mm3 is not None
    assert 1.2e6 < whole.icv_mm3 < 1.6e6
    stripped = segment_volume(read_volume(shared_data / "ds002748/sub-61/anat/sub-61_T1w.nii.gz"), models)
    assert stripped.icv_flags == ("skull_stripped",)
    assert stripped.icv_mm3 is None


@pytest.mark.parametrize("name", ["flipped", "intensity 3", "rotated 15 degrees x"])
def test_changes_that_should_not_matter(shared_data, models, name):
    scan = read_volume(shared_data / "ds000011/sub-12/anat/sub-12_T1w.nii.gz")
    before, after = segment_volume(scan, models), segment_volume(CHANGES[name](scan), models)
    found = [each.found[HYPOTHALAMUS].delineation.volumes for each in (before, after)]
    whole, left, right = ([whole_mm3(volumes, side) for volumes in found] for side in (BOTH, LEFT, RIGHT))
    assert whole[1] == pytest.approx(whole[0], rel=0.03)
    assert after.icv_mm3 == pytest.approx(before.icv_mm3, rel=0.01)
    if name == "flipped":  # left has become right
        assert (right[1], left[1]) == pytest.approx((left[0], right[0]), rel=0.05)
