"""Susceptibility beside the volume: counted by hand, in the table, and where a side is not to be seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.morph import MORPH_COLUMNS, SUSCEPTIBILITY_COLUMNS, morph_table_dictionary
from bids_hypo.bids.sidecars import unit_record
from bids_hypo.bids.tables import morph_numbers
from bids_hypo.image.susceptibility import in_ppm
from bids_hypo.image.volume import Volume
from bids_hypo.measure.quality import LOW_CONFIDENCE, NOT_VISIBLE, SMALL, confidence_flags, volume_flags
from bids_hypo.measure.susceptibility import with_susceptibility
from bids_hypo.measure.volumes import part_volumes, volume_table
from tests.finished import HALVES

SEEN = replace(HALVES.plausible, may_be_missing=True, min_contrast_ppm=0.02)


def _map() -> tuple[Volume, np.ndarray]:
    """Left 0.1 and right 0.13 ppm in 0.02 ppm, the right one at the edge of the mask; a vein far off."""
    labels = np.zeros((40, 20, 20), np.uint8)
    labels[8:12, 8:12, 8:12], labels[28:32, 8:12, 8:12] = 1, 2
    data = np.full(labels.shape, 0.02, np.float32)
    data[labels == 1], data[labels == 2] = 0.1, 0.13
    data[34:], data[20] = 0, 3.0
    return Volume(data, np.diag([1.0, 1.0, 1.0, 1.0])), labels


def test_mean_and_contrast_by_hand():
    volume, labels = _map()
    left, right, both = with_susceptibility(part_volumes(HALVES, [64.0, 64.0]), volume, labels, HALVES)
    assert (left.mean_ppm, left.contrast_ppm) == (pytest.approx(0.1), pytest.approx(0.08))
    assert (right.mean_ppm, right.contrast_ppm) == (pytest.approx(0.13), pytest.approx(0.11))
    assert (both.mean_ppm, both.contrast_ppm) == (pytest.approx(0.115), pytest.approx(0.095))


def test_a_side_that_is_not_to_be_seen_has_no_number_and_a_flag(tmp_path):
    volume, labels = _map()
    labels[labels == 1] = 0
    rows = with_susceptibility(part_volumes(HALVES, [None, 64.0]), volume, labels, HALVES)
    table = volume_table({"hypothalamus": (rows, (NOT_VISIBLE,))})
    path = tmp_path / "a_morph.tsv"
    write_tsv(path, table)
    back = morph_numbers(path)
    assert list(back) == [*MORPH_COLUMNS[:-1], *SUSCEPTIBILITY_COLUMNS, MORPH_COLUMNS[-1]] == list(table)
    assert back["volume_mm3"].isna().tolist() == [True, False, True]
    assert back["mean_ppm"].isna().tolist()[:2] == [True, False]
    assert volume_flags(rows, SEEN) == (NOT_VISIBLE,) and SMALL not in volume_flags(rows, SEEN)


def test_other_images_have_no_such_columns():
    table = volume_table({"hypothalamus": (part_volumes(HALVES, [64.0, 64.0]), ())})
    assert tuple(table) == MORPH_COLUMNS == tuple(morph_table_dictionary())
    assert set(SUSCEPTIBILITY_COLUMNS) < set(morph_table_dictionary(susceptibility=True))


@pytest.mark.parametrize(("drop_ppm", "sure", "flags"), [
    (0.0, 0.9, ()), (0.07, 0.9, (LOW_CONFIDENCE,)), (0.0, 0.55, (LOW_CONFIDENCE,)),
])  # fmt: skip
def test_what_hardly_stands_out_or_is_not_sure_is_flagged(drop_ppm, sure, flags):
    volume, labels = _map()
    volume.data[labels > 0] -= drop_ppm
    rows = with_susceptibility(part_volumes(HALVES, [64.0, 64.0]), volume, labels, HALVES)
    probability = np.stack([sure * (labels == 1), sure * (labels == 2)], axis=-1)
    assert confidence_flags(rows, SEEN, probability, labels) == flags
    assert confidence_flags(rows, HALVES.plausible, probability, labels) == ()


def test_ppb_and_blank_surroundings():
    data = np.random.default_rng(0).normal(0, 0.03, (20, 20, 20)).astype(np.float32)
    data[[0, -1]] = data[:, [0, -1]] = -7.5
    data[:, :, [0, -1]] = -7.5
    ppm, unit = in_ppm(data.copy())
    assert unit == "ppm" and (ppm[0] == 0).all() and unit_record(unit) == {"FileUnit": "ppm"}
    ppb, unit = in_ppm(data * np.float32(1000))
    np.testing.assert_allclose(ppb, ppm, rtol=1e-5)
    (warning,) = unit_record(unit)["Warnings"]
    assert unit == "ppb" and "divided by 1000" in warning
    assert unit_record(None) == {}
