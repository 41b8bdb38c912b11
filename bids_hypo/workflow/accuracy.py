"""How accurate the models are: the commands behind the table in docs/accuracy.md.

Everything goes through the same functions as participant level, on scans kept out of training.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm

from bids_hypo.bids.entities import PLAIN_SUFFIX, Scan
from bids_hypo.bids.reading import read_scan
from bids_hypo.errors import SegmentationError, UsageError
from bids_hypo.image.grid import Grid, as_shape, box_grid, with_voxels
from bids_hypo.image.parts import Parts, common_grid, likeliest, masks_on
from bids_hypo.image.resample import resample
from bids_hypo.measure.agreement import agreement
from bids_hypo.measure.overlap import dice, volume_error_percent
from bids_hypo.measure.surface_distance import surface_distance
from bids_hypo.measure.volumes import PartVolume
from bids_hypo.segmentation.anatomy import find_anatomy, icv_threshold
from bids_hypo.segmentation.icv import native_icv
from bids_hypo.structures import BOTH, HYPOTHALAMUS, LEFT, RIGHT, WHOLE
from bids_hypo.train.contrasts import MILD, T1W
from bids_hypo.train.folds import DIVISION, read_folds
from bids_hypo.train.headmaps import load_head_map
from bids_hypo.train.labelled import LabelledScan, read_label
from bids_hypo.train.levelling import certainty
from bids_hypo.train.synthesis import synthesise_scan
from bids_hypo.workflow.scan import Found, Models, segment_volume

logger = logging.getLogger(__name__)

CONTRASTS = {"measured": T1W, "wide": MILD}
MIN_PEOPLE = 5  # for an agreement of its own
VOXELS_MM = ((1.0, 1.0, 1.0), (0.8, 0.8, 0.8), (1.2, 1.2, 1.2), (1.0, 1.0, 1.6), (1.33, 1.0, 1.33))


def structure_accuracy(
    items: Sequence[LabelledScan], models: Models, *, structure: str = HYPOTHALAMUS, fast: bool = False
) -> pd.DataFrame:
    """Compare with the labels of scans set aside, on the labels' own grid.

    Parameters
    ----------
    items : sequence of LabelledScan
        With labels of the structure.
    models : Models
    structure : str
        Its name.
    fast : bool
        As participant level with ``--fast``.

    Returns
    -------
    DataFrame
        One row a scan; one that was missed has NaN. ``label_weight`` below 1: the label is doubtful by itself (see
        `bids_hypo.train.labelled.label_weights`). Labels that are levelled also have their ``certainty`` and their
        volume ``as_made_mm3`` before.
    """
    rows = []
    for item in items:
        truth = read_label(item)
        row = {"dataset": item.dataset, "scan": item.scan.name, "label_weight": item.weight}
        row |= _compare(item.scan, truth, models, structure, fast=fast)
        if item.level is not None:
            as_made = read_label(replace(item, level=None))
            row |= {"as_made_mm3": as_made.volumes_mm3()[BOTH], "certainty": certainty(as_made)}
        rows.append(row)
        logger.info("%s", rows[-1])
    return pd.DataFrame(rows)


def fold_accuracy(items: Sequence[LabelledScan], models: Models, *, structure: str = HYPOTHALAMUS) -> pd.DataFrame:
    """Cross-validation: each scan by the one network that was not trained on it.

    Parameters
    ----------
    items : sequence of LabelledScan
    models : Models
        The bundle of the structure says in its `DIVISION` who was set aside in each fold.
    structure : str

    Returns
    -------
    DataFrame
        As `structure_accuracy`, with the number of the fold.

    Raises
    ------
    UsageError
        If the bundle does not come from training in folds.
    """
    parts = out_of_fold(items, models, structure)
    tables = [structure_accuracy(scans, one, structure=structure).assign(fold=k) for k, scans, one in parts]
    return pd.concat(tables, ignore_index=True)


def out_of_fold(
    items: Sequence[LabelledScan], models: Models, structure: str = HYPOTHALAMUS
) -> Iterator[tuple[int, list[LabelledScan], Models]]:
    """For each fold its number, the scans set aside in it, and the models with its network alone.

    Parameters
    ----------
    items : sequence of LabelledScan
    models : Models
        See `fold_accuracy`.
    structure : str

    Raises
    ------
    UsageError
        If the bundle does not come from training in folds.
    """
    bundle = models.catalog.structures[structure]
    folds, networks = read_folds(bundle.folder), models.of(bundle)
    if not folds or len(folds) != len(networks):
        raise UsageError(
            f"{bundle.folder / DIVISION}: found {len(folds)} folds for {len(networks)} networks; expected "
            "a bundle of a training in folds. Train one with --folds, or leave out --part folds."
        )
    for number, (fold, network) in enumerate(zip(folds, networks, strict=True), start=1):
        held_out = [item for item in items if item.name in set(fold["validation"])]
        yield number, held_out, models.with_networks(bundle, (network,))


def volume_agreement(table: pd.DataFrame) -> str:
    """How far the volumes of `structure_accuracy` agree, also without the labels that are doubtful by themselves.

    Of levelled labels also what levelling changed, and what the certainty of the labels as they were made explains.
    """
    lines, sure = [_agreement("volume", table)], table[table["label_weight"] >= 1]
    if MIN_PEOPLE <= len(sure) < len(table):
        about = (
            f"Dice {sure['dice'].mean():.3f}, mean volume error {sure['volume_error_percent'].mean():+.1f} % "
            f"(absolute {sure['volume_error_percent'].abs().mean():.1f} %)"
        )
        lines.append(_agreement(f"{len(sure)} labels that are not doubtful by themselves: {about}; volume", sure))
    if "as_made_mm3" in table:
        lines += [_agreement("volume of the labels before and after", table, "as_made_mm3"), _explained(table)]
    return "\n".join(lines)


def _explained(table: pd.DataFrame) -> str:
    """What the volume found, and the certainty of the label besides, explain of the volume of the label as it was."""
    logs = table[["as_made_mm3", "found_mm3", "certainty"]].dropna().transform(np.log)
    alone, both = (
        sm.OLS(logs["as_made_mm3"], sm.add_constant(logs[columns])).fit().rsquared
        for columns in (["found_mm3"], ["found_mm3", "certainty"])
    )
    r = logs["found_mm3"].corr(logs["certainty"])
    return (
        f"variance of the labels' volume before (logarithms): {100 * alone:.0f} % goes with the volume found, "
        f"{100 * both:.0f} % with it and the label's certainty; volume found and certainty: r {r:.2f}"
    )


def _agreement(what: str, table: pd.DataFrame, column: str = "found_mm3") -> str:
    """ICC(2,1) with its interval, and Pearson r."""
    found = agreement(table[column].to_numpy(), table["true_mm3"].to_numpy())
    icc = found.icc_2_1
    return f"{what}: ICC(2,1) {icc.value:.3f} ({icc.low:.3f} to {icc.high:.3f}), r {found.pearson_r.value:.3f}"


def found_parts(found: Found, affine: np.ndarray) -> Parts:
    """What was found of a structure in a scan, by sides and kinds of parts."""
    return Parts.of_frames(found.delineation.probability, affine, found.structure)


def _compare(scan: Scan, truth: Parts, models: Models, structure: str, *, fast: bool) -> dict[str, float]:
    true_mm3, volume = truth.volumes_mm3(), read_scan(scan)
    sides = {"dice_left": LEFT, "dice_right": RIGHT} if truth.has_sides else {}
    columns = ("found_mm3", "found_sd_mm3", "dice", *sides, "hausdorff95_mm")
    row = {"true_mm3": true_mm3[BOTH], **dict.fromkeys(columns, np.nan)}
    try:
        segmented = segment_volume(volume, models, suffix=scan.suffix, wanted=[structure], fast=fast, what=scan.name)
    except SegmentationError as error:
        logger.error("%s", error)
        return row | {"volume_error_percent": np.nan}
    found = segmented.found[structure]
    whole = next(v for v in found.delineation.volumes if (v.part, v.hemisphere) == (WHOLE, BOTH))
    ours, grid = found_parts(found, volume.affine), widened(common_grid(truth))
    ours_masks, true_masks = masks_on(ours, grid), masks_on(truth, grid)
    row["found_mm3"] = float(whole.volume_mm3 or 0.0)
    if whole.volume_sd_mm3 is not None:
        row["found_sd_mm3"] = whole.volume_sd_mm3
    row |= {column: dice(ours_masks[side], true_masks[side]) for column, side in sides.items()}
    row["hausdorff95_mm"] = surface_distance(ours_masks[BOTH], true_masks[BOTH], grid.affine).hausdorff95_mm
    each = list(sides.values()) or [BOTH]
    row["dice"] = dice(*(np.stack([masks[side] for side in each]) for masks in (ours_masks, true_masks)))
    row["volume_error_percent"] = volume_error_percent(row["found_mm3"], row["true_mm3"])
    return row | _compare_kinds(ours, truth, grid, found.delineation.volumes)


def _compare_kinds(ours: Parts, truth: Parts, grid: Grid, volumes: Sequence[PartVolume]) -> dict[str, float]:
    """Dice and volume error of each kind of part, both sides together; nothing unless both have the same kinds."""
    row: dict[str, float] = {}
    if set(truth.kinds) != set(ours.kinds):
        return row
    true, found = likeliest(truth, grid), likeliest(ours, grid)
    for kind in truth.kinds:
        column, true_mm3 = kind.replace(" ", "_"), true.kind(kind).volumes_mm3()[BOTH]
        row[f"dice_{column}"] = dice(*(masks_on(each.kind(kind), grid)[BOTH] for each in (found, true)))
        found_mm3 = sum(one.volume_mm3 or 0.0 for one in volumes if one.part == kind)
        percent = volume_error_percent(found_mm3, true_mm3) if true_mm3 else np.nan
        row[f"volume_error_percent_{column}"] = percent
    return row


def widened(grid: Grid) -> Grid:
    """The same lattice with 20 voxels more on each side."""
    return box_grid(grid.centre_mm(), grid.axes, as_shape(np.add(grid.shape, 40)), grid.voxel_sizes_mm)


def icv_accuracy(
    maps: Sequence[Path], models: Models, *, n_contrasts: int, contrast: str = "measured", varied_voxels: bool = False
) -> pd.DataFrame:
    """ICV on T1w scans synthesised from head maps.

    Parameters
    ----------
    maps : sequence of Path
        Label maps.
    models : Models
    n_contrasts : int
        Scans made of each map.
    contrast : {"measured", "wide"}
        Tissue contrasts as on real T1w scans (`bids_hypo.train.synthesis.T1W`), or wider than that (`MILD`).
    varied_voxels : bool
        Scans of the voxel sizes `VOXELS_MM` in turn, rather than all of 1 mm.

    Returns
    -------
    DataFrame
        One row a scan.
    """
    head = models.catalog.head_for(PLAIN_SUFFIX)
    rows, threshold = [], icv_threshold(head)
    for path in maps:
        made = load_head_map(path)
        for number in range(n_contrasts):
            scan, truth = synthesise_scan(made, np.random.default_rng([7, number]), CONTRASTS[contrast])
            if varied_voxels:
                grid = with_voxels(scan.grid, VOXELS_MM[number % len(VOXELS_MM)])
                scan, truth = resample(scan, grid), resample(truth, grid)
            anatomy = find_anatomy(scan, head, models.of(head)[0])
            found = native_icv(anatomy.icv_probability, anatomy.grid, scan.grid, threshold=threshold)
            true = truth.data > 0.5
            rows.append(
                {
                    "map": made.name,
                    "contrast": number,
                    "voxel_mm": " x ".join(f"{size:g}" for size in scan.grid.voxel_sizes_mm),
                    "true_cm3": true.sum() * scan.grid.voxel_volume_mm3 / 1e3,
                    "dice": dice(found, true),
                    "volume_error_percent": volume_error_percent(float(found.sum()), float(true.sum())),
                }
            )
            logger.info("%s", rows[-1])
    return pd.DataFrame(rows)
