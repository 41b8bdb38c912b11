"""The table of volumes of one scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def mask_volume_mm3(mask: np.ndarray, voxel_volume_mm3: float) -> float:
    """Voxels of a mask times their volume, in mm3."""
    return float(np.count_nonzero(mask)) * voxel_volume_mm3


def volume_table(
    left_mm3: float,
    right_mm3: float,
    icv_mm3: float | None,
    *,
    hypothalamus_flags: Sequence[str],
    icv_flags: Sequence[str],
    volume_sd_mm3: tuple[float, float, float] | None = None,
) -> pd.DataFrame:
    """One row per structure and side.

    Parameters
    ----------
    left_mm3, right_mm3 : float
    icv_mm3 : float or None
        None when it cannot be measured.
    hypothalamus_flags, icv_flags : sequence of str
    volume_sd_mm3 : (3,) tuple of float, optional
        Standard deviation between the folds: left, right, both.

    Returns
    -------
    DataFrame
        Columns structure, hemisphere (L, R, B), volume_mm3, volume_sd_mm3, flags.
    """
    sd = volume_sd_mm3 or (np.nan, np.nan, np.nan)
    rows = [
        ("hypothalamus", "L", left_mm3, hypothalamus_flags),
        ("hypothalamus", "R", right_mm3, hypothalamus_flags),
        ("hypothalamus", "B", left_mm3 + right_mm3, hypothalamus_flags),
        ("ICV", "B", icv_mm3, icv_flags),
    ]
    return pd.DataFrame(
        {
            "structure": [r[0] for r in rows],
            "hemisphere": [r[1] for r in rows],
            "volume_mm3": [np.nan if r[2] is None else round(r[2], 3) for r in rows],
            "volume_sd_mm3": [*(round(value, 3) for value in sd), np.nan],
            "flags": [";".join(r[3]) or None for r in rows],
        }
    )
