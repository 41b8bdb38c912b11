"""Scans of lower contrast: what is lost is what is said, and what is found is counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bids_hypo.measure.image_quality import noise_sd
from bids_hypo.workflow.low_contrast import CHANGES, compressed, found_page, found_table, multiplied
from tests.phantoms import HEAD_SHELLS, affine_for, inside_ellipsoid, phantom_head, world_mm

SHAPE = (80, 84, 80)


@pytest.fixture(scope="module")
def head():
    return phantom_head(SHAPE, affine_for(voxel_sizes=(2.0, 2.0, 2.0), shape=SHAPE), noise_sd=2.0)


def _shells(head):
    """Voxels of the two innermost shells, grey and white matter."""
    points = world_mm(SHAPE, head.affine)
    inside = [inside_ellipsoid(points, (0, 0, 0), radii) for _, radii, _ in HEAD_SHELLS[-2:]]
    return inside[0] & ~inside[1], inside[1]


@pytest.mark.parametrize("factor", [0.5, 0.125])
def test_contrast_falls_and_the_noise_stays(head, factor):
    lower = compressed(head, factor=factor)
    grey, white = _shells(head)

    def contrast(scan):
        return np.median(scan.data[white]) - np.median(scan.data[grey])

    assert contrast(lower) == pytest.approx(factor * contrast(head), rel=0.1)
    assert noise_sd(head.data, white) == pytest.approx(2.0, rel=0.1)
    # what is measured over all tissue, borders between tissues included, is a little more than the noise
    assert 0.95 < noise_sd(lower.data, white) / noise_sd(head.data, white) < 1.3


def test_what_is_masked_out_stays_so(head):
    masked = type(head)(np.where(head.data > 40, head.data, 0), head.affine)
    for change in filter(None, CHANGES.values()):
        assert not change(masked).data[masked.data == 0].any()
    assert (compressed(masked, factor=0.25).data[masked.data > 0] > 0).all()


def test_a_picture_of_8_bits_runs_out_of_grey_values(head):
    _, white = _shells(head)
    once, dark, bright = (multiplied(head, factor=factor).data for factor in (1.0, 0.25, 3.0))
    assert np.median(once[white]) == pytest.approx(0.39 * 255, rel=0.15)
    assert set(np.unique(dark)) <= set(range(40))
    assert bright.max() == 255 and np.mean(bright[white] == 255) > 0.9


def test_scans_that_are_found_are_counted():
    rows = [("a", "sub-1", "compared", 0.8), ("a", "sub-2", "compared", 0.4), ("a", "sub-3", "missing", np.nan)]
    rows += [("b", f"sub-{n}", "compared", 0.9) for n in (1, 2, 3)]
    scans = pd.DataFrame(rows, columns=["method", "scan", "status", "dice"]).assign(part="whole", hemisphere="B")
    sides = scans.assign(hemisphere="L", dice=0.99)
    table = found_table({"unchanged": pd.concat([scans, sides]), "times-3": None}, ["a", "b"], 4)
    assert table["n_found"].tolist() == [1, 3, 0, 0]
    assert table["n_segmented"].tolist() == [2, 3, 0, 0]
    assert table["dice_mean"].tolist() == pytest.approx([0.3, 0.675, 0, 0])
    page = found_page(table, "About.")
    assert "| unchanged | 1 of 4 (Dice 0.30 ± 0.38) | 3 of 4 (Dice 0.68 ± 0.45) |" in page and "57 people" in page
