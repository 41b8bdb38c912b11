"""Volumes of the parts of a structure, and the table of one scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_hypo.structures import BOTH, ICV, LEFT, RIGHT, WHOLE, Structure


@dataclass(frozen=True)
class PartVolume:
    """One volume of a structure.

    Attributes
    ----------
    part : str
        The kind of a part, the name of a sum, or ``whole``.
    hemisphere : str or None
        ``L``, ``R``, ``M``, of sums and the whole also ``B``.
    volume_mm3 : float or None
        None when it cannot be measured.
    volume_sd_mm3 : float or None
        Standard deviation between the folds; None with a single fold.
    """

    part: str
    hemisphere: str | None
    volume_mm3: float | None
    volume_sd_mm3: float | None = None


def mask_volume_mm3(mask: np.ndarray, voxel_volume_mm3: float) -> float:
    """Voxels of a mask times their volume, in mm3."""
    return float(np.count_nonzero(mask)) * voxel_volume_mm3


def part_volumes(
    structure: Structure, volumes_mm3: Sequence[float], fold_volumes_mm3: np.ndarray | None = None
) -> tuple[PartVolume, ...]:
    """The volumes of a structure in the order of the table: parts where there are several a side, sums, whole.

    Parameters
    ----------
    structure : Structure
    volumes_mm3 : (P,) sequence of float
        Of each part.
    fold_volumes_mm3 : (F, P) float, optional
        The same by each fold.
    """
    parts = list(enumerate(structure.parts))
    rows: list[tuple[str, str | None, list[int]]] = []
    if structure.kinds:
        rows += [(part.kind, part.hemisphere, [k]) for k, part in parts]
    together = [(one.name, [(k, part) for k, part in parts if part.kind in one.kinds]) for one in structure.sums]
    together.append((WHOLE, [(k, part) for k, part in parts if part.in_whole]))
    for name, summed in together:
        if structure.is_paired:
            rows += [(name, side, [k for k, part in summed if part.hemisphere == side]) for side in (LEFT, RIGHT)]
        rows.append((name, BOTH, [k for k, _ in summed]))
    return tuple(
        PartVolume(kind, side, sum(volumes_mm3[k] for k in which), _spread(fold_volumes_mm3, which))
        for kind, side, which in rows
    )


def _spread(fold_volumes_mm3: np.ndarray | None, which: list[int]) -> float | None:
    return None if fold_volumes_mm3 is None else float(fold_volumes_mm3[:, which].sum(axis=1).std(ddof=1))


def whole_mm3(volumes: Iterable[PartVolume], hemisphere: str = BOTH) -> float | None:
    """The volume of a whole structure, or of its side; None if there is none."""
    return next((v.volume_mm3 for v in volumes if (v.part, v.hemisphere) == (WHOLE, hemisphere)), None)


def icv_volume(icv_mm3: float | None) -> tuple[PartVolume, ...]:
    """The intracranial volume as the only row of its structure."""
    return (PartVolume(WHOLE, BOTH, icv_mm3),)


def volume_table(measured: Mapping[str, tuple[Sequence[PartVolume], Sequence[str]]]) -> pd.DataFrame:
    """One row for each volume.

    Parameters
    ----------
    measured : mapping of str to (sequence of PartVolume, sequence of str)
        For each structure its volumes and flags; the ICV comes last.

    Returns
    -------
    DataFrame
        Columns structure, part, hemisphere (L, R, M, B), volume_mm3, volume_sd_mm3, flags.
    """
    ordered = sorted(measured.items(), key=lambda item: item[0] == ICV)
    rows = [(name, one, ";".join(flags) or None) for name, (volumes, flags) in ordered for one in volumes]
    return pd.DataFrame(
        {
            "structure": [name for name, _, _ in rows],
            "part": [one.part for _, one, _ in rows],
            "hemisphere": [one.hemisphere for _, one, _ in rows],
            "volume_mm3": [_rounded(one.volume_mm3) for _, one, _ in rows],
            "volume_sd_mm3": [_rounded(one.volume_sd_mm3) for _, one, _ in rows],
            "flags": [flags for _, _, flags in rows],
        }
    )


def _rounded(value: float | None) -> float:
    return np.nan if value is None else round(value, 3)
