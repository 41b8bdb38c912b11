"""Overlap of two masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Overlap:
    """How far a mask covers the true one.

    Attributes
    ----------
    iou : float
        Jaccard index, ``|A and B| / |A or B|``.
    dice : float
        ``2 |A and B| / (|A| + |B|)``.
    precision : float
        Share of the found voxels that are true; NaN if none was found.
    recall : float
        Share of the true voxels that were found (sensitivity); NaN if there is none.
    """

    iou: float
    dice: float
    precision: float
    recall: float


def overlap(found: np.ndarray, true: np.ndarray) -> Overlap:
    """Overlap measures of two masks of one shape; IoU and Dice are 1 when both are empty.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _same_shape(found, true)
    found, true = found > 0, true > 0
    n_found, n_true, n_both = int(found.sum()), int(true.sum()), int((found & true).sum())
    n_either = n_found + n_true - n_both
    return Overlap(
        iou=n_both / n_either if n_either else 1.0,
        dice=dice(found, true),
        precision=n_both / n_found if n_found else np.nan,
        recall=n_both / n_true if n_true else np.nan,
    )


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice coefficient ``2 |A and B| / (|A| + |B|)`` of two masks of one shape; 1 when both are empty.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _same_shape(a, b)
    a, b = a > 0, b > 0
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2.0 * int((a & b).sum()) / total


def volume_error_percent(found_mm3: float, true_mm3: float) -> float:
    """Signed error of a volume in percent of the true one."""
    return 100.0 * (found_mm3 - true_mm3) / true_mm3


def _same_shape(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"masks of shapes {a.shape} and {b.shape} cannot be compared; resample one of them first")
