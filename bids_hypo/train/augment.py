"""Random geometry and intensity for labelled scans."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_hypo.train.deform import random_affine, smooth_field
from bids_hypo.train.settings import Augmentation


def random_places(
    shape: tuple[int, ...], spacing_mm: np.ndarray, options: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """Where the voxels of a network grid lie after a random affine and elastic deformation.

    Parameters
    ----------
    shape : (3,) int
        Network grid.
    spacing_mm : (3,) float
    options : Augmentation
    rng : numpy Generator

    Returns
    -------
    (3, X, Y, Z) float32, mm
        From the middle of the region, along the axes of the grid.
    """
    affine = random_affine(
        rng,
        max_rotation_deg=options.max_rotation_deg or 0.0,
        scale_sd=options.scale_sd,
        max_shear=options.max_shear,
        max_shift=options.max_shift_mm,
    )
    axes = [
        (np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2)) * np.float32(mm)
        for n, mm in zip(shape, spacing_mm, strict=True)
    ]
    controls = tuple(max(5, round(n * mm / 10)) for n, mm in zip(shape, spacing_mm, strict=True))
    amplitude = options.elastic_mm * rng.uniform(0, 1)
    places = np.empty((3, *shape), np.float32)
    for axis in range(3):
        row = affine[axis, :3].astype(np.float32)
        places[axis] = (row[0] * axes[0])[:, None, None] + (row[1] * axes[1])[None, :, None] + row[2] * axes[2]
        places[axis] += np.float32(amplitude) * smooth_field(shape, controls, rng)
        places[axis] += np.float32(affine[axis, 3])
    return places


def augment_intensity(
    image: np.ndarray, spacing_mm: np.ndarray, native_mm: np.ndarray, options: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """Contrast, bias field, resolution and noise.

    Parameters
    ----------
    image : (X, Y, Z) float32
        Bright tissue about 1; exactly 0 outside the field of view.
    spacing_mm : (3,) float
        Of ``image``.
    native_mm : (3,) float
        Voxel size of the scan along the axes, the scale of its noise.
    options : Augmentation
    rng : numpy Generator

    Returns
    -------
    (X, Y, Z) float32
    """
    outside = image == 0
    image = image * np.float32(np.exp(rng.uniform(*np.log(options.contrast or (1.0, 1.0)))))
    level = float(image[image > image.mean()].mean()) if (image > 0).any() else 1.0
    image = np.clip(image / level, 0, None) ** np.float32(np.exp(rng.normal(0, options.gamma_sd)))
    if rng.random() < options.remap:  # a smooth monotone change of the tissue curve
        knots = np.linspace(0, 2, 7)
        steps = np.exp(rng.normal(0, 0.35, 6))
        values = np.concatenate([[0], np.cumsum(steps)]) * (2 / steps.sum())
        image = np.interp(image, knots, values).astype(np.float32)
    bias = smooth_field(image.shape, (4, 4, 4), rng)
    image = image * np.exp(np.float32(rng.uniform(0, options.bias_max)) * bias)
    if rng.random() < 0.6:
        blur = rng.uniform(0, options.blur_mm_max, 3) * rng.uniform(0, 1)
        image = ndimage.gaussian_filter(image, blur / spacing_mm, truncate=2.5)
    if rng.random() < 0.7:
        image = image + _grained_noise(image.shape, native_mm / spacing_mm, rng) * np.float32(
            rng.uniform(0, options.noise_max)
        )
    return np.where(outside, 0, np.maximum(image, 1e-3)).astype(np.float32)


def augment_signed(
    image: np.ndarray, spacing_mm: np.ndarray, native_mm: np.ndarray, options: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """As `augment_intensity`, for maps with values of both signs.

    Parameters
    ----------
    image : (X, Y, Z) float32
        Exactly 0 outside of a brain mask.
    spacing_mm, native_mm, options, rng
        See `augment_intensity`; strengths are relative to the 95th percentile above the median.

    Returns
    -------
    (X, Y, Z) float32
    """
    inside = image != 0
    if not inside.any():
        return image
    middle, high = np.percentile(image[inside], [50, 95])
    image = (image - np.float32(middle)) / np.float32(max(high - middle, 1e-6))
    image = np.sign(image) * np.abs(image) ** np.float32(np.exp(rng.normal(0, options.gamma_sd)))
    image += np.float32(rng.uniform(0, options.bias_max)) * smooth_field(image.shape, (5, 5, 5), rng)
    image *= inside
    if rng.random() < 0.5:
        blur = rng.uniform(0, options.blur_mm_max, 3) * rng.uniform(0, 1)
        image = ndimage.gaussian_filter(image, blur / spacing_mm, truncate=2.5)
    if rng.random() < 0.7:
        noise = _grained_noise(image.shape, native_mm / spacing_mm, rng)
        image += noise * np.float32(rng.uniform(0, options.noise_max))
    image += np.float32(rng.uniform(-0.3, 0.3))
    image *= np.float32(np.exp(rng.uniform(*np.log(options.contrast or (1.0, 1.0)))))
    return np.where(inside, image, 0).astype(np.float32)


def _grained_noise(shape: tuple[int, ...], grain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unit noise whose grain is a native voxel, as interpolation leaves it."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, 0.4 * np.maximum(grain * rng.uniform(0.7, 1.4), 0.01), truncate=2.5)
    return smooth / max(float(smooth.std()), 1e-6)
