"""Agreement of two masks."""

from __future__ import annotations

import numpy as np


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice coefficient ``2 |A and B| / (|A| + |B|)`` of two masks of one shape; 1 when both are empty.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"masks of shapes {a.shape} and {b.shape} cannot be compared; resample one of them first")
    a, b = a > 0, b > 0
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2.0 * int((a & b).sum()) / total


def volume_error_percent(found_mm3: float, true_mm3: float) -> float:
    """Signed error of a volume in percent of the true one."""
    return 100.0 * (found_mm3 - true_mm3) / true_mm3
