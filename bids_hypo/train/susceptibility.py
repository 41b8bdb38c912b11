"""Susceptibility maps made from head label maps: signed, masked to the brain, exactly 0 outside of it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_hypo.train.contrasts import DENTATE, FLUID, GREY, PAIRS, RED_NUCLEUS, SUBSTANTIA_NIGRA, WHITE
from bids_hypo.train.deform import smooth_field
from bids_hypo.train.headmaps import SINUS

# Ranges of the means in ppm, about those of the simulated head of the QSM challenge (Marques et al. 2021, Magn Reson
# Med) and of published atlases, widened on both sides. Relative to white matter where it says so.
_WHITE_PPM, _GREY_OVER_WHITE, _FLUID_PPM, _BLOOD_PPM = (-0.05, 0.0), (0.0, 0.06), (-0.02, 0.05), (0.08, 0.35)
_DEEP_PPM: dict[tuple[int, ...], tuple[float, float]] = {
    (10,): (-0.02, 0.04),  # thalamus
    (11,): (0.01, 0.08),  # caudate
    (12,): (0.01, 0.11),  # putamen
    (13,): (0.04, 0.2),  # pallidum
    (16,): (-0.04, 0.02),  # brainstem
    (28,): (-0.02, 0.04),  # ventral diencephalon
    SUBSTANTIA_NIGRA: (0.03, 0.17),
    RED_NUCLEUS: (0.02, 0.15),
    DENTATE: (0.01, 0.16),
}
_VESSELS = (30, 62, SINUS)


def susceptibility_means(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a mean susceptibility for each label.

    Parameters
    ----------
    labels : (n,) int
        FreeSurfer numbers, and those of `bids_hypo.train.contrasts.NUCLEI`.
    rng : numpy Generator

    Returns
    -------
    (n,) float32, ppm
    """
    white = rng.uniform(*_WHITE_PPM)
    grey = white + rng.uniform(*_GREY_OVER_WHITE)
    fluid = rng.uniform(*_FLUID_PPM)
    drawn: dict[int, float] = {int(n): rng.uniform(-0.1, 0.1) for n in np.unique(labels)}
    drawn |= {n: white + rng.normal(0, 0.003) for n in WHITE}
    drawn |= {n: grey + rng.normal(0, 0.004) for n in GREY}
    drawn |= {n: fluid + rng.normal(0, 0.004) for n in FLUID}
    drawn |= {n: rng.uniform(*_BLOOD_PPM) for n in _VESSELS}
    drawn[85] = white
    iron = rng.uniform(0.0, 1.0)  # more in older people, in all nuclei together
    for numbers, (low, high) in _DEEP_PPM.items():
        drawn |= {n: low + (high - low) * rng.uniform(0.5 * iron, 0.5 + 0.5 * iron) for n in numbers}
    for right, left in PAIRS.items():
        if left in drawn:
            drawn[right] = drawn[left] + rng.normal(0, 0.004)
    reference = rng.normal(0, 0.012)
    return np.array([drawn[int(n)] + reference for n in labels], np.float32)


def brain_mask(ring: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A brain mask whose rim is eroded by up to some millimetres, here more and there less.

    Parameters
    ----------
    ring : (X, Y, Z) float
        Share of each voxel that lies in the brain and the rim around it.
    spacing_mm : (3,) float
    rng : numpy Generator

    Returns
    -------
    (X, Y, Z) bool
    """
    depth = ndimage.distance_transform_edt(ring > 0.5, sampling=spacing_mm).astype(np.float32)
    uneven = smooth_field(ring.shape, tuple(max(5, n // 6) for n in ring.shape), rng)
    return (ring > 0.5) & (depth > rng.uniform(0, 3.5) + rng.uniform(0, 3.5) * uneven)


def add_inversion(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the inversion of a field leaves in a map: noise, blotches, a background that drifts; and thin veins.

    Parameters
    ----------
    image : (X, Y, Z) float32, ppm
    rng : numpy Generator

    Returns
    -------
    (X, Y, Z) float32, ppm
    """
    shape = image.shape
    image = image + rng.standard_normal(shape, dtype=np.float32) * np.float32(rng.uniform(0.002, 0.03))
    for fewest, divisor, most_ppm in ((5, 1000, 0.02), (6, 6, 0.015), (8, 3, 0.02)):
        field = smooth_field(shape, tuple(max(fewest, n // divisor) for n in shape), rng)
        image += field * np.float32(rng.uniform(0, most_ppm))
    if rng.random() < 0.7:
        one, two = (smooth_field(shape, tuple(max(6, n // 6) for n in shape), rng) for _ in range(2))
        width = np.float32(rng.uniform(0.1, 0.25))
        image += np.exp(-(one**2 + two**2) / (2 * width**2)) * np.float32(rng.uniform(0, 0.15))
    return image.astype(np.float32)
