"""How well a structure is found on whole scans that are synthesised from head maps, where the truth is known.

The scans are made as in training, of maps that did not train; they then go the way of participant level: pose by the
network that sees a whole head, region, network, back on the grid of the scan.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bids_hypo.errors import SegmentationError, UsageError
from bids_hypo.image.grid import Grid, as_shape, box_grid
from bids_hypo.image.volume import Volume
from bids_hypo.measure.overlap import dice, overlap, volume_error_percent
from bids_hypo.structures import BOTH, SIDE_WORDS, WHOLE
from bids_hypo.train.placed_maps import PlacedMap, Wish, centre_in_frame, cut, read_labels
from bids_hypo.train.recipe import in_phases
from bids_hypo.train.region_options import IMAGE_KINDS
from bids_hypo.train.region_synthesis import deformed_anatomy, region_image
from bids_hypo.train.settings import Recipe
from bids_hypo.workflow.map_training import wish_of
from bids_hypo.workflow.scan import Models, segment_volume

logger = logging.getLogger(__name__)

SCAN_SHAPE, SCAN_MM = (184, 224, 200), (1.0, 1.0, 1.0)


def synthesised_accuracy(
    maps: Sequence[Path], models: Models, recipe: Recipe, *, structure: str, suffixes: Sequence[str] = (),
    n_scans: int = 6,
) -> pd.DataFrame:  # fmt: skip
    """Compare what is found on synthesised scans with the maps that they were made from.

    Parameters
    ----------
    maps : sequence of Path
        Head label maps that are set aside.
    models : Models
    recipe : Recipe
        Of the structure; the scans are as in its last phase.
    structure : str
        Its name.
    suffixes : sequence of str, optional
        Kinds of image; by default all that are synthesised and that the model is for.
    n_scans : int
        Of each map and kind.

    Returns
    -------
    DataFrame
        One row a scan; NaN where nothing was found. Dice, precision, recall and the error of the volume of the whole,
        Dice and the error of the volume of each side.

    Raises
    ------
    UsageError
        If the recipe does not synthesise, or the model is not for such images.
    """
    mild = in_phases(recipe)[-1]
    whole = replace(mild, preprocessing=replace(mild.preprocessing, shape=SCAN_SHAPE, spacing_mm=SCAN_MM))
    kinds, rows = _kinds(models.catalog.structures[structure].suffixes, suffixes), []
    for path in maps:
        placed = _whole_head(path, wish_of(whole, models.catalog.head_for(recipe.suffixes[0])))
        for kind in kinds:
            for number in range(n_scans):
                rng = np.random.default_rng([number, *kind.encode()])
                scan, truth = synthesised_scan(placed, kind, whole, rng)
                row: dict[str, object] = {"map": placed.name, "suffix": kind, "number": number}
                rows.append(row | _compared(scan, truth, models, kind, structure, f"{placed.name}, {kind} {number}"))
                logger.info("%s", rows[-1])
    return pd.DataFrame(rows)


def _kinds(measured: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Kinds of image that are synthesised, that the model is for, and that are wanted."""
    there = [kind for kind in IMAGE_KINDS if kind in measured]
    if strange := [kind for kind in wanted if kind not in there]:
        raise UsageError(f"--suffixes {strange[0]}: are not synthesised; expected {', '.join(there)}.")
    return list(wanted) or there


def _whole_head(path: Path, wish: Wish) -> PlacedMap:
    labels = read_labels(path, wish.template_mm)
    return cut(labels, wish, centre_in_frame(labels, wish))


def synthesised_scan(
    placed: PlacedMap, kind: str, recipe: Recipe, rng: np.random.Generator
) -> tuple[Volume, np.ndarray]:
    """A scan with its place, and where each class truly is.

    Parameters
    ----------
    placed : PlacedMap
        Of a whole head.
    kind : str
        One of `bids_hypo.train.region_options.IMAGE_KINDS`.
    recipe : Recipe
        On the grid of the scan.
    rng : numpy Generator

    Returns
    -------
    scan : Volume
    truth : (X, Y, Z, K) bool
        Of each class but the background.
    """
    assert recipe.region is not None
    anatomy = deformed_anatomy(placed, recipe, recipe.region, rng)
    image = region_image(anatomy, kind, recipe, recipe.region, rng)
    pre = recipe.preprocessing
    grid: Grid = box_grid(np.zeros(3), np.eye(3), as_shape(pre.shape), np.asarray(pre.spacing_mm))
    first = anatomy.table.part[anatomy.codes[0]]  # where a voxel is half in, which is often, one of its points decides
    own = first[..., None] == np.arange(1, anatomy.target.shape[-1])
    truth = anatomy.target[..., 1:] + np.float32(0.1) * own > 0.5
    return Volume((image * 500).astype(np.float32), grid.affine), truth


def _compared(
    scan: Volume, truth: np.ndarray, models: Models, suffix: str, structure: str, what: str
) -> dict[str, float]:
    """Numbers of one scan."""
    voxel_mm3 = scan.grid.voxel_volume_mm3
    row = {"true_mm3": float(truth.any(axis=-1).sum()) * voxel_mm3}
    try:
        segmented = segment_volume(scan, models, suffix=suffix, wanted=[structure], what=what)
    except SegmentationError as error:
        logger.error("%s", error)
        return row
    found = segmented.found[structure]
    both = overlap(np.asarray(found.delineation.labels > 0), np.asarray(truth.any(axis=-1)))
    whole = next(v for v in found.delineation.volumes if (v.part, v.hemisphere) == (WHOLE, BOTH))
    row["found_mm3"] = float(whole.volume_mm3 or 0.0)
    row["volume_error_percent"] = volume_error_percent(row["found_mm3"], row["true_mm3"])
    row |= {"dice": both.dice, "precision": both.precision, "recall": both.recall}
    parts = found.structure.parts
    if len(parts) != truth.shape[-1]:
        return row
    for side in (side for side in found.structure.sides if side):
        of = [k for k, part in enumerate(parts) if part.hemisphere == side]
        mask = np.isin(found.delineation.labels, [parts[k].index for k in of])
        true = np.asarray(truth[..., of].any(axis=-1))
        row[f"dice_{SIDE_WORDS[side]}"] = dice(mask, true)
        row[f"volume_error_percent_{SIDE_WORDS[side]}"] = volume_error_percent(float(mask.sum()), float(true.sum()))
    return row
