"""Volumes of the parts of a structure, and the table of one scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_hypo.bids.morph import SUSCEPTIBILITY_COLUMNS
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
    mean_ppm, contrast_ppm : float or None
        Mean susceptibility, and how much it stands out; NaN where there is no outline, None where the image is no
        susceptibility map.
    """

    part: str
    hemisphere: str | None
    volume_mm3: float | None
    volume_sd_mm3: float | None = None
    mean_ppm: float | None = None
    contrast_ppm: float | None = None


def mask_volume_mm3(mask: np.ndarray, voxel_volume_mm3: float) -> float:
    """Voxels of a mask times their volume, in mm3."""
    return float(np.count_nonzero(mask)) * voxel_volume_mm3


def part_volumes(
    structure: Structure, volumes_mm3: Sequence[float | None], fold_volumes_mm3: np.ndarray | None = None
) -> tuple[PartVolume, ...]:
    """The volumes of a structure in the order of the table: parts where there are several a side, sums, whole.

    Parameters
    ----------
    structure : Structure
    volumes_mm3 : (P,) sequence of float or None
        Of each part; None where it was not found, and then sums with it have no volume either.
    fold_volumes_mm3 : (F, P) float, optional
        The same by each fold.
    """
    return tuple(
        PartVolume(kind, side, _sum([volumes_mm3[k] for k in which]), _spread(fold_volumes_mm3, which))
        for kind, side, which in table_rows(structure)
    )


def table_rows(structure: Structure) -> list[tuple[str, str | None, list[int]]]:
    """The rows of a structure in the table: part, hemisphere, and positions of the parts that are counted in it."""
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
    return rows


def _sum(volumes_mm3: Sequence[float | None]) -> float | None:
    known = [volume for volume in volumes_mm3 if volume is not None]
    return sum(known) if len(known) == len(volumes_mm3) else None


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
        Columns structure, part, hemisphere (L, R, M, B), volume_mm3, volume_sd_mm3, flags; of a susceptibility map
        mean_ppm and contrast_ppm before the flags.
    """
    ordered = sorted(measured.items(), key=lambda item: item[0] == ICV)
    rows = [(name, one, ";".join(flags) or None) for name, (volumes, flags) in ordered for one in volumes]
    table = pd.DataFrame(
        {
            "structure": [name for name, _, _ in rows],
            "part": [one.part for _, one, _ in rows],
            "hemisphere": [one.hemisphere for _, one, _ in rows],
            "volume_mm3": [_rounded(one.volume_mm3) for _, one, _ in rows],
            "volume_sd_mm3": [_rounded(one.volume_sd_mm3) for _, one, _ in rows],
            "flags": [flags for _, _, flags in rows],
        }
    )
    if any(one.mean_ppm is not None for _, one, _ in rows):
        for column in SUSCEPTIBILITY_COLUMNS:
            table.insert(len(table.columns) - 1, column, [_rounded(getattr(one, column), 5) for _, one, _ in rows])
    return table


def _rounded(value: float | None, digits: int = 3) -> float:
    return np.nan if value is None else round(value, digits)
