"""Changes of a scan that leave the head as it is, and how they are summed up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from bids_hypo.image.grid import apply_affine
from bids_hypo.image.volume import Volume
from bids_hypo.measure.volumes import PartVolume
from bids_hypo.workflow import steadiness
from bids_hypo.workflow.steadiness import CHANGES, REPEATS, precision_changes, variation_percent
from tests.networks import models_of

BALL_MM3 = 4 / 3 * np.pi * 12**3


@pytest.fixture(scope="module")
def scan():
    """A ball off the middle of an oblique scan of anisotropic voxels."""
    affine = np.diag([1.0, 1.5, 1.2, 1.0])
    affine[:3, 3] = [-30, -35, -28]
    at = apply_affine(affine, np.stack(np.indices((60, 48, 50)), -1).astype(float))
    distance = np.linalg.norm(at - np.array([4.0, -6.0, 3.0]), axis=-1)
    return Volume((np.clip(12.5 - distance, 0, 1) * 100).astype(np.float32), affine)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_leaves_the_size_of_what_is_in_the_scan(scan, name):
    before = scan.data.copy()
    changed = CHANGES[name](scan)
    np.testing.assert_array_equal(scan.data, before)
    half = np.percentile(changed.data, 99.9) / 2
    found_mm3 = np.count_nonzero(changed.data > half) * changed.grid.voxel_volume_mm3
    assert found_mm3 == pytest.approx(BALL_MM3, rel=0.05)
    assert not (changed.data.shape == scan.data.shape and np.array_equal(changed.data, scan.data)
                and np.array_equal(changed.affine, scan.affine))  # fmt: skip


def test_noise_leaves_what_is_masked(scan):
    noisier = CHANGES["noise"](scan).data
    assert (noisier[scan.data == 0] == 0).all()
    inside = scan.data == scan.data.max()
    assert noisier[inside].std() == pytest.approx(2, rel=0.1)


def test_half_a_voxel_is_half_a_voxel(scan):
    shift = np.subtract(*(ndimage.center_of_mass(v.data) for v in (CHANGES["half a voxel"](scan), scan)))
    np.testing.assert_allclose(shift, 0.5, atol=0.02)


def test_a_rotation_turns_about_the_middle(scan):
    turned = CHANGES["rotated 10 degrees z"](scan)
    middle = scan.grid.centre_mm()
    old, new = (apply_affine(v.affine, np.array(ndimage.center_of_mass(v.data))) - middle for v in (scan, turned))
    assert np.degrees(np.arctan2(new[1], new[0]) - np.arctan2(old[1], old[0])) == pytest.approx(10, abs=0.5)


def test_the_variation_of_a_scan_over_its_repeats():
    names = ["none", *REPEATS, "1.2 mm"]
    volumes = [100.0, 102.0, 98.0, 100.0, 101.0, 99.0, 500.0]  # the last is no repeat
    table = pd.DataFrame({"scan": "a", "change": names, "hypothalamus_mm3": volumes, "icv_mm3": 7.0})
    found = variation_percent(table).loc["a"]
    assert found["hypothalamus_mm3"] == pytest.approx(np.sqrt(2))  # sqrt(10 / 5) of a mean of 100
    assert found["icv_mm3"] == 0


def test_steadiness_compares_each_change_with_the_scan_as_it_is(scan, monkeypatch):
    def segmented(volume, _models, suffix, what):
        assert suffix == "T1w"
        small = 2.0 if "flipped" in what else 1.0
        n_voxels = round(1e4 / volume.grid.voxel_volume_mm3)
        volumes = (PartVolume("whole", "B", 300.0 + 400.0 / small),)
        found = {"hypothalamus": SimpleNamespace(delineation=SimpleNamespace(volumes=volumes))}
        return SimpleNamespace(found=found, icv=np.ones(n_voxels), measures_icv=True)

    monkeypatch.setattr(steadiness, "segment_volume", segmented)
    monkeypatch.setattr(steadiness, "read_volume", lambda _, signed: scan)
    table = steadiness.steadiness([_path("01"), _path("02")], None).set_index(["scan", "change"])
    assert len(table) == 2 * (1 + len(CHANGES))
    assert table.loc[("study/sub-01", "flipped"), "hypothalamus_percent"] == pytest.approx(-100 * 200 / 700)
    assert table.loc[("study/sub-02", "noise"), "hypothalamus_percent"] == 0
    assert table["icv_percent"].abs().max() < 0.05


def test_labels_that_mixed_precision_changes_are_counted_for_each_network(scan, monkeypatch):
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[:5] = 1

    def segmented(_volume, models, **_):
        found, inside = labels.copy(), labels > 0
        catalog = models.catalog
        found[4, 0, :5] = 2 if models.of(catalog.structures["hypothalamus"]) == ("mixed",) else 1
        inside[5, 0, 0] = models.of(catalog.heads[0]) == ("mixed",)
        delineation = SimpleNamespace(labels=found)
        return SimpleNamespace(found={"hypothalamus": SimpleNamespace(delineation=delineation)}, icv=inside)

    monkeypatch.setattr(steadiness, "segment_volume", segmented)
    monkeypatch.setattr(steadiness, "read_volume", lambda _: scan)
    single, mixed = (models_of(Path("h"), (kind,), kind) for kind in ("single", "mixed"))
    rows = precision_changes([_path("01")], single, mixed).to_dict("records")
    assert rows == [
        {"scan": "study/sub-01", "mixed": "anatomy", "hypothalamus_percent": 0.0, "icv_percent": 0.2},
        {"scan": "study/sub-01", "mixed": "hypothalamus", "hypothalamus_percent": 1.0, "icv_percent": 0.0},
    ]


def _path(label):
    return Path(f"/data/study/sub-{label}/anat/sub-{label}_T1w.nii.gz")
