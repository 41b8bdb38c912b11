"""The rows of a table of volumes counted again in masks that a person corrected, and put back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo.bids.morph import SUSCEPTIBILITY_COLUMNS
from bids_hypo.bids.names import OutputNames, sidecar
from bids_hypo.bids.sidecars import read_record
from bids_hypo.image.drawn import grid_of
from bids_hypo.image.volume import read_labels, read_volume
from bids_hypo.measure import correction
from bids_hypo.measure.correction import Agreement, Limits, compare_correction
from bids_hypo.measure.quality import (
    ASYMMETRIC,
    BORDER,
    FOLDS,
    ICV_NOT_MEASURABLE,
    LARGE,
    LARGE_HEAD,
    SMALL,
    SMALL_HEAD,
    SMALL_PART,
    icv_size_flags,
    volume_flags,
)
from bids_hypo.measure.susceptibility import with_susceptibility
from bids_hypo.measure.volumes import PartVolume, icv_volume, mask_volume_mm3, part_volumes
from bids_hypo.structures import ICV, LEFT, RIGHT, WHOLE, Structure

_KEYS = ("structure", "part", "hemisphere")
_NUMBERS = ("volume_mm3", "volume_sd_mm3", *SUSCEPTIBILITY_COLUMNS)
_OF_VOLUME = (ASYMMETRIC, SMALL, LARGE, SMALL_PART, BORDER, FOLDS)  # no longer true of another outline

logger = logging.getLogger(__name__)


def automatic_values(table: pd.DataFrame, recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The automatic values: those recorded when a mask was first corrected, and those of structures measured since."""
    known = {row["structure"] for row in recorded}
    rows = table.loc[~table["structure"].isin(known), [*_KEYS, *_numbers(table)]].astype(object)
    return recorded + [
        {str(key): value for key, value in row.items()} for row in rows.where(rows.notna(), None).to_dict("records")
    ]


def restore_values(table: pd.DataFrame, automatic: list[dict[str, Any]], names: OutputNames) -> None:
    """Put the automatic values back; flags from the sidecars of the automatic masks, which are never changed."""
    for row in automatic:
        at = _rows(table, row["structure"], row.get("part", WHOLE), row["hemisphere"])
        for column in _numbers(table):
            table.loc[at, column] = np.nan if row.get(column) is None else row[column]
    for item in dict.fromkeys(row["structure"] for row in automatic):
        _set_flags(table, item, read_record(sidecar(names.images_of(item)[0])).get("Flags", []))


def count_structure(table: pd.DataFrame, labels: np.ndarray, structure: Structure, names: OutputNames) -> None:
    """Count the parts of a structure in corrected labels; of its flags those stay that do not follow from volumes."""
    place = names.structure(structure.name)
    grid = grid_of(place.dseg)
    counts = [mask_volume_mm3(labels == part.index, grid.voxel_volume_mm3) for part in structure.parts]
    volumes = part_volumes(structure, counts)
    if names.scan.is_signed and names.scan.path.is_file():
        volumes = with_susceptibility(volumes, read_volume(names.scan.path, signed=True), labels, structure)
    _set_volumes(table, structure.name, volumes)
    sides = {side: [part.index for part in structure.of(side)] for side in (LEFT, RIGHT) if structure.is_paired}
    automatic = read_labels(place.dseg)
    of_correction = compare_correction(labels, automatic, grid.affine, correction.STRUCTURE, sides)
    _warn(place.edited, of_correction, correction.STRUCTURE)
    before = read_record(sidecar(place.dseg)).get("Flags", [])
    kept = [flag for flag in before if flag not in _OF_VOLUME]
    _set_flags(table, structure.name, [*kept, *volume_flags(volumes, structure.plausible), *of_correction.flags])


def count_icv(table: pd.DataFrame, icv: np.ndarray, names: OutputNames) -> None:
    """A person who draws the intracranial volume says that it can be measured, so the flags that deny it go."""
    grid = grid_of(names.icv_mask)
    volume = mask_volume_mm3(icv, grid.voxel_volume_mm3)
    _set_volumes(table, ICV, icv_volume(volume))
    before = read_record(sidecar(names.icv_mask)).get("Flags", [])
    kept = [flag for flag in before if flag not in (*ICV_NOT_MEASURABLE, SMALL_HEAD, LARGE_HEAD)]
    of_correction = compare_correction(icv, read_labels(names.icv_mask), grid.affine, correction.ICV)
    _warn(names.edited_icv_mask, of_correction, correction.ICV)
    _set_flags(table, ICV, [*kept, *icv_size_flags(volume), *of_correction.flags])


def _numbers(table: pd.DataFrame) -> list[str]:
    return [column for column in _NUMBERS if column in table]


def _rows(table: pd.DataFrame, structure: str, part: str, hemisphere: str | None) -> pd.Series:
    side = table["hemisphere"].isna() if hemisphere is None else table["hemisphere"] == hemisphere
    return (table["structure"] == structure) & (table["part"] == part) & side


def _set_flags(table: pd.DataFrame, structure: str, flags: list[str]) -> None:
    table.loc[table["structure"] == structure, "flags"] = ";".join(flags) or None


def _set_volumes(table: pd.DataFrame, structure: str, volumes: Sequence[PartVolume]) -> None:
    for one in volumes:
        at = _rows(table, structure, one.part, one.hemisphere)
        new = {
            "volume_mm3": round(one.volume_mm3 or 0.0, 3),
            "mean_ppm": one.mean_ppm,
            "contrast_ppm": one.contrast_ppm,
        }
        for column in _numbers(table):
            table.loc[at, column] = np.nan if new.get(column) is None else new[column]


def _warn(path: Path, found: Agreement, limits: Limits) -> None:
    if found.flags:
        logger.warning(
            "%s: flagged %s. Found a Dice of %.2f with the automatic mask and %.1f mm between the centres; expected at "
            "least %.2f and at most %g mm, and left on the left. Is it the mask of this person, and not shifted?",
            path, " and ".join(found.flags), found.dice, found.distance_mm, limits.min_dice, limits.max_distance_mm,
        )  # fmt: skip
