"""What a susceptibility map shows around the dentate nuclei: texture, small nuclei, vessels, lesions.

All of these are drawn in the axes of the pose: points (X, Y, Z, 3) say where each voxel lies.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_hypo.train.contrasts import FLUID
from bids_hypo.train.deform import smooth_field
from bids_hypo.train.headmaps import SINUS, is_inside

FOURTH_VENTRICLE = 15
_CORTEX, _WHITE = (8, 47), (7, 46)
_FOLIA_PPM, _ROUGH_PPM = (0.006, 0.026), (0.003, 0.014)
_WINDING_MM = (2.0, 8.0)


def textured(
    chi: np.ndarray, points: np.ndarray, labels: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Stripes of the folia in the cortex of the cerebellum, and unevenness everywhere.

    Parameters
    ----------
    chi : (X, Y, Z) float32, ppm
    points : (X, Y, Z, 3) float32, mm
    labels : (X, Y, Z) int
    spacing_mm : (3,) float
    rng : numpy Generator

    Returns
    -------
    (X, Y, Z) float32
    """
    inside = is_inside(labels) & ~np.isin(labels, FLUID)
    rough = _grain(chi.shape, rng.uniform(0.5, 1.3) / spacing_mm, rng) * np.float32(rng.uniform(*_ROUGH_PPM))
    smooth = smooth_field(chi.shape, tuple(max(6, n // 12) for n in chi.shape), rng)
    winding = smooth_field(chi.shape, tuple(max(6, n // 16) for n in chi.shape), rng)
    cortex = ndimage.gaussian_filter(np.isin(labels, _CORTEX).astype(np.float32), 0.8 / spacing_mm)
    # folia run around the middle of the cerebellum, in layers that wind
    middle = np.array([0.0, rng.uniform(-50, -42), rng.uniform(-32, -24)], np.float32)
    away = np.sqrt((((points - middle) * np.array([0.6, 1, 1], np.float32)) ** 2).sum(-1))
    wave = np.sin(2 * np.pi / rng.uniform(2.6, 5.0) * (away + np.float32(rng.uniform(*_WINDING_MM)) * winding))
    folia = np.float32(rng.uniform(*_FOLIA_PPM)) * (
        np.float32(rng.uniform(0, 0.7)) * wave + 0.8 * _grain(chi.shape, rng.uniform(0.6, 1.2) / spacing_mm, rng)
    )
    uneven = np.float32(rng.uniform(0, 0.014)) * smooth + _sheets(chi.shape, spacing_mm, rng)
    return (chi + inside * (rough + uneven) + cortex * folia).astype(np.float32)


def _sheets(shape: tuple[int, ...], spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Thin winding sheets, bright and dark, as fibre tracts, small vessels and the pia leave: lines in a slice."""
    found = np.zeros(shape, np.float32)
    for _ in range(rng.integers(1, 5)):
        scale_mm = rng.uniform(6, 16)
        controls = tuple(max(5, int(n * mm / scale_mm)) for n, mm in zip(shape, spacing_mm, strict=True))
        field = smooth_field(shape, controls, rng) - np.float32(rng.uniform(-0.7, 0.7))
        width = np.float32(rng.uniform(0.5, 1.3) / scale_mm * 2)
        found += np.float32(rng.normal(0, 0.016)) * np.exp(-((field / width) ** 2))
    return found


def with_small_nuclei(
    chi: np.ndarray, points: np.ndarray, ventricle_mm: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Interposed and fastigial nuclei, and what is bright above the fourth ventricle: none of it is dentate."""
    centres = [
        (side * rng.uniform(5.5, 8.5), rng.uniform(-11, -6), rng.uniform(-1, 4), rng.uniform(1.2, 2.4), 1.0)
        for side in (-1, 1)
    ]
    centres += [(side * rng.uniform(2, 4), rng.uniform(-10, -6), rng.uniform(1, 5), rng.uniform(1, 2.2), 1.0)
                for side in (-1, 1)]  # fmt: skip
    centres.append((rng.normal(0, 0.7), rng.uniform(-5, 1), rng.uniform(4, 12), rng.uniform(3, 5.5), 1.2))
    chi = chi.copy()
    for x, y, z, size, longer in centres:
        contrast = np.float32(rng.uniform(0, 0.06))
        place = ventricle_mm + np.array((x, y, z))
        away = ((points - place.astype(np.float32)) / np.array([size, size * longer * 1.3, size], np.float32)) ** 2
        chi += contrast * np.exp(-(away.sum(-1) ** 1.5))
    return chi


def paint_vessels(
    chi: np.ndarray, points: np.ndarray, labels: np.ndarray, spacing_mm: np.ndarray, ventricle_mm: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Veins: paired ones along the vermis, some from the borders of the cerebellum, some anywhere; and sinuses.

    Parameters
    ----------
    chi, points, labels, spacing_mm
        See `textured`.
    ventricle_mm : (3,) float
    rng : numpy Generator
    """
    border = np.argwhere((labels[::3, ::3, ::3] == 24) | (labels[::3, ::3, ::3] == SINUS)) * 3
    starts = [ventricle_mm + np.array((side * rng.uniform(1, 4), rng.uniform(-16, -10), rng.uniform(-8, 4)))
              for side in (-1, 1) if rng.random() < 0.7]  # fmt: skip
    headings = [np.array([rng.normal(0, 0.2), -1.0, rng.normal(0, 0.6)]) for _ in starts]
    for _ in range(rng.integers(8, 45)):
        anywhere = border[rng.integers(len(border))] if len(border) and rng.random() < 0.75 else None
        index = rng.integers(0, labels.shape) if anywhere is None else anywhere
        starts.append(points[tuple(index)].astype(float))
        headings.append(rng.normal(0, 1, 3))
    seen = np.zeros(chi.shape, np.float32)
    corner = points[0, 0, 0].astype(float)
    steps = np.array([points[1, 0, 0] - corner, points[0, 1, 0] - corner, points[0, 0, 1] - corner], float)
    to_index = np.linalg.inv(steps.T)
    for start, heading in zip(starts, headings, strict=True):
        path = _winding(start, heading, int(rng.integers(30, 220)), rng)
        index = np.rint((path - corner) @ to_index.T).astype(int)
        index = index[((index >= 0) & (index < chi.shape)).all(axis=1)]
        np.add.at(seen, tuple(index.T), rng.uniform(0.2, 1.2))
    thick = ndimage.gaussian_filter(seen, rng.uniform(0.3, 0.6) / spacing_mm)
    full = float(np.percentile(thick[thick > 1e-3], 90)) if (thick > 1e-3).any() else 1.0
    return (chi + np.float32(rng.uniform(0.08, 0.3)) * np.minimum(thick / full, 1.5)).astype(np.float32)


def _winding(start: np.ndarray, heading: np.ndarray, n_steps: int, rng: np.random.Generator) -> np.ndarray:
    """A path of steps of half a millimetre that turns slowly, (n, 3)."""
    turns = np.cumsum(rng.normal(0, 0.12, (n_steps, 3)), axis=0)
    ways = heading / np.linalg.norm(heading) + turns
    return start + 0.5 * np.cumsum(ways / np.linalg.norm(ways, axis=1, keepdims=True), axis=0)


def with_lesions(chi: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """In one map of eight some haemorrhages (paramagnetic) or calcifications (diamagnetic)."""
    if rng.random() > 0.12:
        return chi
    chi = chi.copy()
    for _ in range(rng.integers(1, 4)):
        radius = rng.uniform(0.8, 3.5)
        value = rng.uniform(0.15, 0.8) if rng.random() < 0.6 else -rng.uniform(0.1, 0.5)
        centre = np.array([rng.integers(0, n) for n in chi.shape])
        reach = np.ceil(2 * radius / spacing_mm).astype(int)
        box = tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(centre, reach, strict=True))
        at = np.indices(chi[box].shape).transpose(1, 2, 3, 0) + [s.start for s in box] - centre
        away = np.sqrt(((at * spacing_mm) ** 2).sum(-1))
        share = np.clip(radius - away + 0.5, 0, 1)
        chi[box] = (1 - share) * chi[box] + share * value
    return chi


def _grain(shape: tuple[int, ...], sd: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of unit size with a grain."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sd, truncate=2.5)
    return noise / max(float(noise.std()), 1e-6)
