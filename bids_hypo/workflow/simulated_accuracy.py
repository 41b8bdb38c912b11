"""How well a structure is found in whole simulated susceptibility maps, whose truth is known."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bids_hypo.errors import SegmentationError
from bids_hypo.image.grid import bounding_box
from bids_hypo.image.resample import resample
from bids_hypo.measure.overlap import dice
from bids_hypo.segmentation.anatomy import pose_template
from bids_hypo.structures import LEFT, RIGHT, SIDE_WORDS
from bids_hypo.train.headmaps import is_inside
from bids_hypo.train.simulated_maps import MappedHead, SimulatedMap, read_mapped_head, simulate
from bids_hypo.workflow.scan import Models, segment_volume

logger = logging.getLogger(__name__)

IN_SLICE_MM = (0.8, 1.1)  # finer ones of a whole head take long
AROUND_MM = 10.0
FOUND_DICE = 0.3  # above, a side counts as found
CLEAR_PPM = 0.05  # contrast of nuclei that can be seen with certainty


def simulated_accuracy(maps: Sequence[Path], models: Models, *, structure: str, n_scans: int) -> pd.DataFrame:
    """Find a structure in whole heads, from the locator on, as participant level does.

    Parameters
    ----------
    maps : sequence of Path
        Head label maps that were set aside.
    models : Models
    structure : str
        Its name; left and right dentate nucleus are what is simulated.
    n_scans : int
        Of each map.

    Returns
    -------
    DataFrame
        One row a scan: of each side the true and the found volume (0 where none was found, or is to be seen), Dice
        (NaN where none is to be seen) and the contrast; ``failed`` where the scan as a whole was.
    """
    bundle = models.catalog.structures[structure]
    template = pose_template(models.catalog.head_for(bundle.suffixes[0]))
    rows = []
    for k, path in enumerate(maps):
        head = read_mapped_head(path, template)
        for number in range(n_scans):
            rng = np.random.default_rng([11, k, number])
            made = simulate(head, *_whole_head(head), rng, spacing_mm=float(rng.uniform(*IN_SLICE_MM)))
            what = f"{head.name}, {number}"
            row = {"map": head.name, "number": number, "slice_mm": made.image.grid.voxel_sizes_mm[2]}
            rows.append(row | _compared(made, models, bundle.suffixes[0], structure, what))
            logger.info("%s", rows[-1])
    return pd.DataFrame(rows)


def _whole_head(head: MappedHead) -> tuple[np.ndarray, np.ndarray]:
    """Middle and extent of what lies inside the skull, mm in the axes of the pose."""
    points = head.in_pose(np.argwhere(is_inside(head.labels[::4, ::4, ::4])) * 4.0)
    low, high = points.min(axis=0), points.max(axis=0)
    return (low + high) / 2, high - low + 2 * AROUND_MM


def _compared(made: SimulatedMap, models: Models, suffix: str, structure: str, what: str) -> dict[str, float]:
    row: dict[str, float] = {"failed": 0.0}
    labels = np.zeros(made.image.data.shape, np.uint8)
    parts = models.catalog.structures[structure].structure
    try:
        found = segment_volume(made.image, models, suffix=suffix, wanted=[structure], what=what).found[structure]
        labels = found.delineation.labels
        row["n_flags"] = len(found.flags)
    except SegmentationError as error:
        logger.error("%s", error)
        row["failed"] = 1.0
    voxel_mm3 = made.image.grid.voxel_volume_mm3
    for side, truth, contrast in zip((LEFT, RIGHT), made.truth, made.contrast_ppm, strict=True):
        word = SIDE_WORDS[side]
        assert parts is not None
        mask = np.isin(labels, [part.index for part in parts.of(side)])
        true_mm3 = float(truth.data.sum()) * truth.grid.voxel_volume_mm3
        true = resample(truth, made.image.grid).data > 0.5
        near = bounding_box(mask | true)
        row |= {
            f"{word}_ppm": contrast,
            f"{word}_true_mm3": true_mm3,
            f"{word}_found_mm3": float(mask.sum()) * voxel_mm3,
            f"{word}_dice": dice(mask[near], true[near]) if true_mm3 > 0 else np.nan,
        }
    return row


def summary(table: pd.DataFrame) -> str:
    """What `simulated_accuracy` found, in a few lines."""
    lines = []
    for word in SIDE_WORDS[LEFT], SIDE_WORDS[RIGHT]:
        there = table[table[f"{word}_true_mm3"] > 0]
        absent = table[table[f"{word}_true_mm3"] == 0]
        hit = there[there[f"{word}_dice"] > FOUND_DICE]
        error = 100 * (hit[f"{word}_found_mm3"] / hit[f"{word}_true_mm3"] - 1)
        clear = there[there[f"{word}_ppm"] >= CLEAR_PPM]
        lines.append(
            f"{word}: found in {len(hit)} of {len(there)}, Dice {there[f'{word}_dice'].mean():.3f} (of those found "
            f"{hit[f'{word}_dice'].mean():.3f}), volume {error.mean():+.1f} % (SD {error.std():.1f}); at {CLEAR_PPM:g} "
            "ppm and above found in "
            f"{int((clear[f'{word}_dice'] > FOUND_DICE).sum())} of {len(clear)}, Dice "
            f"{clear[f'{word}_dice'].mean():.3f}; invented in "
            f"{int((absent[f'{word}_found_mm3'] > 0).sum())} of {len(absent)} without one"
        )
    return "\n".join(lines)
