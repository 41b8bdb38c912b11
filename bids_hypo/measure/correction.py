"""Whether a mask that a person corrected still is one of the same structure of the same person."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from bids_hypo.image.grid import apply_affine
from bids_hypo.measure.overlap import dice
from bids_hypo.measure.quality import CORRECTION_FAR, SIDES_SWAPPED


@dataclass(frozen=True)
class Limits:
    """What a correction of a structure has to reach; set on real scans, docs/reference/reports.md has the figures.

    Attributes
    ----------
    min_dice : float
        With the automatic mask.
    max_distance_mm : float
        Between the centres of both.
    """

    min_dice: float
    max_distance_mm: float


STRUCTURE = Limits(0.45, 6.0)
ICV = Limits(0.9, 8.0)


@dataclass(frozen=True)
class Agreement:
    """A corrected mask beside the automatic one.

    Attributes
    ----------
    dice : float
    distance_mm : float
        Between the centres; NaN if one of the masks is empty.
    flags : tuple of str
        Keys of `bids_hypo.measure.quality.FLAG_TEXTS`.
    """

    dice: float
    distance_mm: float
    flags: tuple[str, ...]


def compare_correction(
    drawn: np.ndarray, automatic: np.ndarray, affine: np.ndarray, limits: Limits,
    sides: Mapping[str, Collection[int]] | None = None,
) -> Agreement:  # fmt: skip
    """Compare a correction with the automatic mask.

    Parameters
    ----------
    drawn, automatic : (X, Y, Z) int or bool
        Masks, or labels. Where the automatic one is empty, there is nothing to compare with.
    affine : (4, 4) float, voxel to RAS mm
        Of both.
    limits : Limits
    sides : mapping of str to collection of int, optional
        Numbers of the left (``L``) and right (``R``) parts, of a structure that has sides.

    Returns
    -------
    Agreement
    """
    distance = float(np.linalg.norm(_centre_mm(drawn > 0, affine) - _centre_mm(automatic > 0, affine)))
    overlap = dice(drawn, automatic)
    if not automatic.any():
        return Agreement(overlap, distance, ())
    pairs = [(np.isin(drawn, list(n)), np.isin(automatic, list(n))) for n in (sides or {}).values()]
    side_lost = any(of_automatic.any() and not of_drawn.any() for of_drawn, of_automatic in pairs)
    checks = {
        CORRECTION_FAR: side_lost or overlap < limits.min_dice or distance > limits.max_distance_mm,
        SIDES_SWAPPED: len(pairs) == 2 and _swapped(pairs, affine),
    }
    return Agreement(overlap, distance, tuple(name for name, raised in checks.items() if raised))


def _swapped(pairs: list[tuple[np.ndarray, np.ndarray]], affine: np.ndarray) -> bool:
    """Whether the sides of a drawing lie nearer to the other sides of the automatic labels than to their own."""
    drawn, automatic = ([_centre_mm(pair[k], affine) for pair in pairs] for k in (0, 1))
    own = [np.linalg.norm(drawn[side] - automatic[side]) for side in (0, 1)]
    other = [np.linalg.norm(drawn[side] - automatic[1 - side]) for side in (0, 1)]
    nearer = np.subtract(own, other)
    return bool(np.isfinite(nearer).any() and np.nansum(nearer) > 0)


def _centre_mm(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(3,) float, RAS mm: the centre of a mask; NaN for an empty one."""
    index = np.nonzero(mask)
    return apply_affine(affine, np.array([axis.mean() for axis in index])) if len(index[0]) else np.full(3, np.nan)
