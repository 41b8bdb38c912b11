"""Quality of the image itself, measured with the masks that were found in it: contrast, ghosts, missing tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_hypo.image.background import NOISE
from bids_hypo.image.grid import bounding_box
from bids_hypo.image.volume import Volume

NEAR_MM = 20.0  # around a structure
AIR_FROM_MM = 25.0  # from the ICV, beyond scalp and skull
MIN_AIR_MM3 = 50e3
_TISSUE_PERCENTILES = (5, 50, 90)  # about CSF, grey matter, white matter
_COARSE_MM = 2.0


@dataclass(frozen=True)
class RegionQuality:
    """What was measured around a structure; NaN where it cannot be.

    Attributes
    ----------
    contrast : float
        Range of intensities (5th to 90th percentile) inside the ICV within 20 mm of the structure, over their median.
    contrast_to_noise : float
        That range over the standard deviation of the noise there.
    """

    contrast: float
    contrast_to_noise: float


@dataclass(frozen=True)
class ImageQuality:
    """What was measured of the image as a whole; NaN where it cannot be.

    Attributes
    ----------
    ghosting : float
        How much the brightest structures in the air above and around the head (99th percentile after averaging over
        3 x 3 x 3 voxels) stand out from the air's median, over the median inside the ICV. NaN where the air is masked
        out or too little of it is in the image.
    removed_share : float
        Share of the border of the ICV at which the image was blanked (defacing, masking). NaN where air and bone had
        noise in place of signal (UNIT1), which is taken away at reading.
    """

    ghosting: float
    removed_share: float


def image_quality(volume: Volume, icv: np.ndarray) -> ImageQuality:
    """Measure the quality of an image.

    Parameters
    ----------
    volume : Volume
        The scan on its own grid.
    icv : (X, Y, Z) bool

    Returns
    -------
    ImageQuality
    """
    step = np.maximum(np.round(_COARSE_MM / volume.grid.voxel_sizes_mm), 1).astype(int)
    noisy_air = volume.background is not None and volume.background.kind == NOISE
    removed = float("nan") if noisy_air else removed_share(volume.data, icv, step)
    return ImageQuality(ghosting(volume, icv, step), removed)


def region_quality(volume: Volume, labels: np.ndarray, icv: np.ndarray) -> RegionQuality:
    """Contrast and contrast-to-noise ratio around a structure; see `noise_sd`.

    Parameters
    ----------
    volume : Volume
        The scan on its own grid.
    labels : (X, Y, Z) int
        Not 0 in the structure.
    icv : (X, Y, Z) bool
    """
    box = bounding_box(labels, np.ceil(NEAR_MM / volume.grid.voxel_sizes_mm))
    near = volume.data[box]
    inside = near[icv[box]]
    if inside.size < 100:
        return RegionQuality(float("nan"), float("nan"))
    low, middle, high = np.percentile(inside, _TISSUE_PERCENTILES)
    noise = noise_sd(near)
    if middle <= 0:
        return RegionQuality(float("nan"), float("nan"))
    to_noise = float((high - low) / noise) if noise > 0 else float("inf")
    return RegionQuality(float((high - low) / middle), to_noise)


def noise_sd(data: np.ndarray, inside: np.ndarray | None = None) -> float:
    """Standard deviation of the noise of an image.

    It is the median absolute second difference along an axis, the largest of the three axes (images are often
    interpolated along the others), scaled to a standard deviation for Gaussian noise.

    Parameters
    ----------
    data : (X, Y, Z) float
    inside : (X, Y, Z) bool, optional
        Where to look; everywhere if not given.
    """
    medians = []
    for axis in range(3):
        second = np.abs(np.diff(data, 2, axis=axis))
        if inside is not None:
            second = second[inside.take(range(1, data.shape[axis] - 1), axis)]
        medians.append(float(np.median(second)))
    # A second difference (1, -2, 1) has sqrt(6) times the noise's sd; 0.6745 is the median of |N(0, 1)|.
    return max(medians) / (0.6745 * np.sqrt(6))


def ghosting(volume: Volume, icv: np.ndarray, step: np.ndarray) -> float:
    """Structure in the air around the upper half of the head; see `ImageQuality`.

    Motion between the lines of k-space repeats the head's edges along the phase-encoding direction, in air as well.
    Noise is averaged away, so that a noisy image is not taken for a moving one.
    """
    thin = tuple(slice(None, None, s) for s in step)
    sizes = volume.grid.voxel_sizes_mm * step
    head = icv[thin]
    if not head.any():
        return float("nan")
    x, y, z = np.ogrid[tuple(slice(0, n * s, s) for n, s in zip(head.shape, step, strict=True))]
    up = volume.affine[2]
    height = up[0] * x + up[1] * y + up[2] * z + up[3]
    levels = height[head]
    within = [(i >= 2) & (i < n - 3) for i, n in zip((x, y, z), volume.data.shape, strict=True)]
    inside = within[0] & within[1] & within[2]
    air = inside & ~head & (height > (levels.min() + levels.max()) / 2 + 5.0) & (volume.data[thin] > 0)
    if air.sum() * np.prod(sizes) >= MIN_AIR_MM3:  # there may be enough; how much of it is far from the head?
        air &= ndimage.distance_transform_edt(~head, sampling=sizes) > AIR_FROM_MM
    if air.sum() * np.prod(sizes) < MIN_AIR_MM3:
        return float("nan")
    median, bright = np.percentile(_averaged(volume.data, step)[air], [50, 99])
    return float((bright - median) / np.median(volume.data[icv]))


def _averaged(data: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Means over 3 x 3 x 3 voxels in steps along the axes; a slab after the other, for a head takes gigabytes whole."""
    x, y, z = (int(n) for n in step)
    slabs, thick = [], 16 * z
    for start in range(0, data.shape[2], thick):
        first = max(start - 1, 0)
        mean = ndimage.uniform_filter(data[:, :, first : start + thick + 1], 3)
        slabs.append(mean[::x, ::y, start - first : start - first + thick : z].copy())
    return np.concatenate(slabs, axis=2)


def removed_share(data: np.ndarray, icv: np.ndarray, step: np.ndarray) -> float:
    """Share of the ICV's border where the image is blank: background without gaps; see `ImageQuality`."""
    thin = tuple(slice(None, None, s) for s in step)
    head, values = icv[thin], data[thin]
    if not head.any():
        return float("nan")
    blank = ndimage.binary_opening(values <= 0, iterations=1)
    border = ndimage.binary_dilation(head) & ~ndimage.binary_erosion(head)
    return float((blank & ndimage.binary_dilation(head)).sum() / border.sum())
