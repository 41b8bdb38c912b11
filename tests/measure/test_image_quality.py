"""Image quality: each flag fires on a degraded copy of a clean head, and on that head none does."""

import math

import numpy as np
import pytest
from scipy import ndimage

from bids_hypo.image.background import Background
from bids_hypo.image.volume import Volume, read_volume
from bids_hypo.measure.image_quality import ImageQuality, RegionQuality, ghosting, image_quality, region_quality
from bids_hypo.measure.quality import (
    CONTRAST,
    DEFACED,
    FLAG_TEXTS,
    FOLDS,
    MAX_GHOSTING,
    MOTION,
    contrast_flags,
    image_flags,
    structure_flags,
)
from bids_hypo.measure.volumes import PartVolume
from tests.finished import masks_of, structure_named
from tests.phantoms import affine_for, phantom_head

SHAPE = (80, 84, 80)


@pytest.fixture(scope="module")
def head():
    affine = affine_for("LPS", (3.0, 3.0, 3.0), SHAPE)
    volume = phantom_head(SHAPE, affine, noise_sd=2.0)
    return volume, *masks_of(SHAPE, affine)


def _flags(volume, labels, icv, **kwargs):
    motion, around = image_flags(image_quality(volume, icv), **kwargs)
    near = contrast_flags(region_quality(volume, labels, icv))
    assert all(f in FLAG_TEXTS for f in near + motion + around)
    return near + motion + around


def ghosted(data, axis, shift):
    """Every other block of k-space lines from a head that had moved by some voxels."""
    frequency = np.fft.fftfreq(data.shape[axis])
    moved = (np.floor(np.argsort(np.argsort(frequency)) / 2) % 2) * (np.abs(frequency) > 0.04)
    phase = np.exp(-2j * np.pi * frequency * shift * moved)
    shape = [1, 1, 1]
    shape[axis] = -1
    return np.abs(np.fft.ifft(np.fft.fft(data, axis=axis) * phase.reshape(shape), axis=axis)).astype(np.float32)


def test_a_clean_head_has_no_flag(head):
    assert _flags(*head) == ()
    volume, labels, icv = head
    quality = image_quality(volume, icv)
    assert (
        0.6 < region_quality(volume, labels, icv).contrast < 2
        and quality.removed_share == 0
        and quality.ghosting < 0.05
    )


def test_noise_is_poor_contrast_and_not_motion(head):
    volume, labels, icv = head
    rng = np.random.default_rng(1)
    noisy = np.hypot(volume.data + rng.normal(0, 14, SHAPE), rng.normal(0, 14, SHAPE)).astype(np.float32)
    assert _flags(Volume(noisy, volume.affine), labels, icv) == (CONTRAST,)


def test_flat_tissue_is_poor_contrast(head):
    volume, labels, icv = head
    median = np.median(volume.data[icv])
    flat = np.where(icv, median + 0.3 * (volume.data - median), volume.data).astype(np.float32)
    assert CONTRAST in _flags(Volume(flat, volume.affine), labels, icv)


@pytest.mark.parametrize("axis", [0, 1])
def test_ghosts_of_a_moving_head_are_noticed(head, axis):
    volume, labels, icv = head
    assert MOTION in _flags(Volume(ghosted(volume.data, axis, 1.5), volume.affine), labels, icv)


def test_a_cut_into_the_brain_is_noticed_and_one_outside_is_not(head):
    volume, labels, icv = head
    for depth, expected in ((0, ()), (9, (DEFACED,))):
        front = np.flatnonzero(icv.any(axis=(0, 2)))[0]  # the second axis runs to the back
        cut = volume.data.copy()
        cut[:, : max(front - 2 + depth // 3 + 1, 0)] = 0
        assert _flags(Volume(cut, volume.affine), labels, icv) == expected


def test_a_skull_stripped_head_is_neither_defaced_nor_moving(head):
    volume, labels, icv = head
    stripped = Volume(np.where(icv, volume.data, 0).astype(np.float32), volume.affine)
    assert math.isnan(image_quality(stripped, icv).ghosting)
    assert _flags(stripped, labels, icv, skull_stripped=True) == ()
    assert DEFACED in _flags(stripped, labels, icv)


def test_air_that_was_noise_is_no_defacing(head):
    volume, labels, icv = head
    cut = volume.data.copy()
    cut[:, : np.flatnonzero(icv.any(axis=(0, 2)))[0] + 3] = 0
    blank, noise = (Volume(cut, volume.affine, Background(0.0, kind)) for kind in ("blank", "noise"))
    assert DEFACED in _flags(blank, labels, icv)
    assert DEFACED not in _flags(noise, labels, icv)


def test_contrast_by_hand():
    """Half 100, half 50, with a noise of 1: range 50 over the median, and over the noise."""
    rng = np.random.default_rng(0)
    data = np.where(np.arange(60)[:, None, None] < 30, 100.0, 50.0) + rng.normal(0, 1, (60, 60, 60))
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[28:32, 28:32, 28:32] = 1
    found = region_quality(Volume(data.astype(np.float32), np.eye(4)), labels, np.ones_like(labels, bool))
    assert found.contrast * np.median(data[8:52, 8:52, 8:52]) == pytest.approx(51, abs=2)
    assert found.contrast_to_noise == pytest.approx(51, rel=0.06)


def test_what_cannot_be_measured_raises_no_flag():
    assert image_flags(ImageQuality(*[float("nan")] * 2)) == ((), ())
    assert contrast_flags(RegionQuality(*[float("nan")] * 2)) == ()
    volume = Volume(np.ones((20, 20, 20), np.float32), np.eye(4))
    empty = np.zeros((20, 20, 20), np.uint8)
    found = region_quality(volume, empty, empty > 0)
    assert math.isnan(found.contrast) and math.isnan(found.contrast_to_noise)


@pytest.mark.parametrize(("sd", "flags"), [(41.0, (FOLDS,)), (None, ()), (float("nan"), ()), (39.0, ())])
def test_folds_that_disagree(sd, flags):
    volumes = [PartVolume("whole", "L", 400.0), PartVolume("whole", "R", 400.0), PartVolume("whole", "B", 800.0, sd)]
    plausible = structure_named("hypothalamus").plausible
    common = {"touches_border": False, "pose_residual_mm": 1.0, "voxel_sizes_mm": np.ones(3)}
    assert structure_flags(volumes, plausible, **common) == flags


@pytest.mark.shared_data
@pytest.mark.parametrize("subject", ["03", "07"])
def test_ghosts_on_real_scans(shared_data, subject):
    """The inside of the bright part of the head stands for the ICV."""
    volume = read_volume(shared_data / "ds000011" / f"sub-{subject}" / "anat" / f"sub-{subject}_T1w.nii.gz")
    head = ndimage.binary_fill_holes(ndimage.binary_closing(volume.data > volume.data.mean(), iterations=4))
    icv = ndimage.distance_transform_edt(head, sampling=volume.grid.voxel_sizes_mm) > 10
    step = np.full(3, 2)
    assert ghosting(volume, icv, step) < MAX_GHOSTING
    for axis in (0, 1):
        assert ghosting(Volume(ghosted(volume.data, axis, 1.5), volume.affine), icv, step) > MAX_GHOSTING
