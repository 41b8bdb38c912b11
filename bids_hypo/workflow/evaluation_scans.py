"""Each scan of each method against the truth: the table that everything else is made from."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
from tqdm import tqdm

from bids_hypo.bids.entities import shorten
from bids_hypo.bids.segmentations import SegmentationFiles
from bids_hypo.errors import ScanReadError
from bids_hypo.image.label_numbers import Wanted
from bids_hypo.image.parts import SIDES, Parts, carried, common_grid, likeliest, masks_on, same_lattice
from bids_hypo.measure.overlap import dice, overlap, volume_error_percent
from bids_hypo.measure.surface_distance import surface_distance
from bids_hypo.structures import BOTH, LEFT, RIGHT, WHOLE
from bids_hypo.workflow.evaluation_columns import column_dictionary
from bids_hypo.workflow.evaluation_plan import EvaluateOptions, Plan, Source

logger = logging.getLogger(__name__)

COMPARED, MISSING, UNREADABLE = "compared", "missing", "unreadable"


def compare_all(plan: Plan, options: EvaluateOptions) -> pd.DataFrame:
    """Compare scan by scan; what is missing or cannot be read is a row as well.

    Parameters
    ----------
    plan : Plan
    options : EvaluateOptions

    Returns
    -------
    DataFrame
        One row a scan, method, part and hemisphere (L, R, B).
    """
    rows: list[dict[str, object]] = []
    for n, truth in enumerate(tqdm(plan.truths, desc="compare", unit="scan", disable=None)):
        try:
            true: Parts | ScanReadError = options.truth.read(truth, options.wanted)
        except ScanReadError as error:
            true = error
        for method in options.methods:
            files = plan.predictions[method.name][n]
            rows += _rows(truth, true, method, files, plan.reasons[method.name][n], options.wanted)
    table = pd.DataFrame(rows, columns=list(column_dictionary("scans")))
    _warn(table)
    return table


def _warn(table: pd.DataFrame) -> None:
    """Say once for each method what is missing and what had to be interpolated."""
    for method, part in table.groupby("method", sort=False):
        missing = part[part["status"] == MISSING]["scan"]
        if len(missing):
            logger.warning("%s: missing for %d scan(s): %s.", method, len(missing), shorten(missing))
        odd = part[(part["status"] == COMPARED) & part["note"].notna()].drop_duplicates("scan")
        for note, of_note in odd.groupby("note", sort=False):
            logger.warning("%s: %s (%d scan(s): %s).", method, note, len(of_note), shorten(of_note["scan"]))
        n_resampled = part[part["resampled"] == "yes"]["scan"].nunique()
        if n_resampled:
            logger.warning(
                "%s: %d scan(s) lay on another grid than the truth and were interpolated onto it.", method, n_resampled
            )


def _rows(
    truth: SegmentationFiles, true: Parts | ScanReadError, method: Source, files: SegmentationFiles | None, reason: str,
    wanted: Wanted,
) -> list[dict[str, object]]:  # fmt: skip
    about: dict[str, object] = {
        "participant_id": f"sub-{truth.entities['sub']}",
        "session_id": f"ses-{truth.entities['ses']}" if "ses" in truth.entities else None,
        "scan": truth.name,
        "method": method.name,
        "structure": wanted.name,
        "truth_file": _file_names(truth),
        "prediction_file": _file_names(files),
    }
    whole = {"part": WHOLE, "hemisphere": BOTH}
    if isinstance(true, ScanReadError):
        logger.error("%s", true)
        return [about | whole | {"status": UNREADABLE, "note": f"truth: {true}"}]
    true_mm3 = true.volumes_mm3()[BOTH]
    if files is None:
        return [about | whole | {"true_mm3": true_mm3, "status": MISSING, "note": reason}]
    try:
        found = method.read(files, wanted)
    except ScanReadError as error:
        logger.error("%s", error)
        return [about | whole | {"true_mm3": true_mm3, "status": UNREADABLE, "note": str(error)}]
    return [about | {"status": COMPARED} | row for row in compare_parts(found, true)]


def _file_names(files: SegmentationFiles | None) -> str | None:
    return None if files is None else ";".join(path.name for _, path in sorted(files.paths.items()))


def compare_parts(found: Parts, true: Parts) -> list[dict[str, object]]:
    """Overlap and surface distances on the truth's grid, volumes each on its own.

    Parameters
    ----------
    found, true : Parts

    Returns
    -------
    list of dict
        One for each side that both tell apart, and one for the whole; then the same for each kind of part, where both
        have the same kinds.
    """
    rows = [{"part": WHOLE} | row for row in _compare(found, true)]
    if set(found.kinds) != set(true.kinds):
        return rows
    found, true = (likeliest(each, common_grid(each)) for each in (found, true))
    for kind in true.kinds:
        for row in _compare(found.kind(kind), true.kind(kind)):
            note = f"{kind}: {row['note']}" if row["note"] else None
            rows.append({"part": kind} | row | {"note": note})
    return rows


def _compare(found: Parts, true: Parts) -> list[dict[str, object]]:
    grid = common_grid(true, found)
    true_masks, found_masks = masks_on(true, grid), masks_on(found, grid)
    true_mm3, found_mm3 = true.volumes_mm3(), found.volumes_mm3()
    resampled = not all(same_lattice(part.grid, grid) for part in found.of.values())
    perfect = masks_on(carried(true, found), grid) if resampled else true_masks
    odd = _oddity(found_masks, true_masks)
    rows: list[dict[str, object]] = []
    for side in (*SIDES, BOTH):
        if side not in true_masks or side not in found_masks:
            continue
        covered = overlap(found_masks[side], true_masks[side])
        distance = surface_distance(found_masks[side], true_masks[side], grid.affine)
        difference = found_mm3[side] - true_mm3[side]
        percent = volume_error_percent(found_mm3[side], true_mm3[side]) if true_mm3[side] else np.nan
        rows.append(
            {
                "hemisphere": side,
                "true_mm3": true_mm3[side],
                "volume_mm3": found_mm3[side],
                "volume_error_mm3": difference,
                "volume_error_percent": percent,
                "iou": covered.iou,
                "dice": covered.dice,
                "precision": covered.precision,
                "recall": covered.recall,
                "hausdorff95_mm": distance.hausdorff95_mm,
                "mean_surface_distance_mm": distance.mean_mm,
                "resampled": "yes" if resampled else "no",
                "grid_dice": dice(perfect[side], true_masks[side]),
                "note": odd,
            }
        )
    return rows


def _oddity(found: Mapping[str, np.ndarray], true: Mapping[str, np.ndarray]) -> str | None:
    """What a person should look at before believing the numbers."""
    if not true[BOTH].any():
        return "the truth is empty"
    if not found[BOTH].any():
        return "the prediction is empty"
    if not (found[BOTH] & true[BOTH]).any():
        return "no overlap: are both in the same space?"
    if all(side in masks for side in SIDES for masks in (found, true)):
        straight = dice(found[LEFT], true[LEFT]) + dice(found[RIGHT], true[RIGHT])
        if dice(found[LEFT], true[RIGHT]) + dice(found[RIGHT], true[LEFT]) > straight:
            return "left and right seem to be swapped"
    return None


def common_scans(scans: pd.DataFrame) -> list[str]:
    """Scans that every method has, in the order of the table."""
    done = scans[scans["status"] == COMPARED].groupby("scan", sort=False)["method"].nunique()
    return [str(name) for name in done[done == scans["method"].nunique()].index]
