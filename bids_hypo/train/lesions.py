"""Lesions of white matter, as multiple sclerosis and small vessels leave them, also next to or in a structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST = 7
SHARES = (0.45, 0.43, 0.12)
_LONGEST_MM = 6.0


def add_lesions(
    image: np.ndarray, places: Sequence[np.ndarray], mean: float, spacing_mm: np.ndarray, rng: np.random.Generator
) -> np.ndarray:  # fmt: skip
    """Paint up to `MOST` blobs with blurred borders into an image.

    Parameters
    ----------
    image : (X, Y, Z) float32
        Is changed.
    places : sequence of three (n,) int arrays
        Flat indices of voxels that may be the middle: beside a ventricle, elsewhere, in the structure; `SHARES` says
        how often each.
    mean : float
    spacing_mm : (3,) float
    rng : numpy Generator

    Returns
    -------
    (X, Y, Z) float32
    """
    for _ in range(rng.integers(1, MOST + 1)):
        where = places[rng.choice(len(places), p=SHARES)]
        if not len(where):
            continue
        middle = np.array(np.unravel_index(where[rng.integers(len(where))], image.shape))
        radii = np.exp(rng.uniform(np.log(1.0), np.log(_LONGEST_MM))) * np.exp(rng.normal(0, 0.25, 3))
        reach = np.ceil(1.6 * radii / spacing_mm).astype(int)
        box = tuple(slice(max(m - r, 0), m + r + 1) for m, r in zip(middle, reach, strict=True))
        axes = [(np.arange(s.start, min(s.stop, n)) - m) * mm / r
                for s, n, m, mm, r in zip(box, image.shape, middle, spacing_mm, radii, strict=True)]  # fmt: skip
        away = np.sqrt(axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2] ** 2)
        share = (np.clip((1.5 - away) / rng.uniform(0.4, 1.4), 0, 1) * rng.uniform(0.4, 1.0)).astype(np.float32)
        image[box] += share * (np.float32(mean) - image[box])
    return image
