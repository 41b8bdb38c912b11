"""A structure on the scan's own grid: probabilities cleaned and brought back, labels, volumes of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_hypo.errors import SegmentationError
from bids_hypo.image.grid import Grid
from bids_hypo.image.resample import resample_probability
from bids_hypo.measure.volumes import PartVolume, part_volumes
from bids_hypo.segmentation.cleanup import label_parts, largest_component
from bids_hypo.structures import SIDE_WORDS, Structure


@dataclass(frozen=True)
class Delineation:
    """A structure on the scan's own grid.

    Attributes
    ----------
    probability : (X, Y, Z, P) float32
        Of each part.
    labels : (X, Y, Z) uint8 or uint16
        0, else `Part.index`; of each part as many voxels as its probabilities sum to.
    volumes : tuple of PartVolume
        Parts, sides and whole: voxels of ``labels`` times their volume, in the order of the table.
    region : Grid
        Where the network looked.
    touches_border : bool
        Whether the structure reaches the edge of the region.
    """

    probability: np.ndarray
    labels: np.ndarray
    volumes: tuple[PartVolume, ...]
    region: Grid
    touches_border: bool


def delineate(
    folds: np.ndarray, region: Grid, native: Grid, structure: Structure, *, what: str = "scan"
) -> Delineation:
    """Average the folds, clean the probabilities and bring them onto the scan's own grid.

    Parameters
    ----------
    folds : (F, X, Y, Z, 1 + P) float
        On ``region``, of each fold: background, then the parts.
    region, native : Grid
    structure : Structure
    what : str
        Named in errors.

    Returns
    -------
    Delineation

    Raises
    ------
    SegmentationError
        If a side is missing that may not be (`bids_hypo.structures.Plausible`); else its volume is None.
    """
    kept = clean_region(folds.mean(axis=0), region, structure, what=what)
    touches = _touches_border(kept, structure)
    near, box = resample_probability(kept, region.affine, native)
    np.clip(near, 0, 1, out=near)
    labels, volumes_mm3 = labels_of(near, box, native, structure)
    probability = np.zeros((*native.shape, len(structure.parts)), np.float32, order="F")  # as it will lie in the file
    probability[box] = near
    spread = fold_volumes_mm3(folds, kept > 0, region)
    return Delineation(probability, labels, part_volumes(structure, volumes_mm3, spread), region, touches)


def labels_of(
    near: np.ndarray, box: tuple[slice, slice, slice], native: Grid, structure: Structure
) -> tuple[np.ndarray, list[float | None]]:
    """Labels on a grid from probabilities in a box of it, and the volume of each part in mm3.

    Parameters
    ----------
    near : (x, y, z, P) float
        Of each part, in the box.
    box : tuple of slice
        Of the grid; 0 outside.
    native : Grid
    structure : Structure

    Returns
    -------
    labels : (X, Y, Z) uint8 or uint16
        0, else `Part.index`; see `label_parts`.
    volumes_mm3 : list of float or None
        None for the parts of a side that is missing.
    """
    indices = np.array([part.index for part in structure.parts])
    labels = np.zeros(native.shape, np.uint8 if indices.max() < 256 else np.uint16)
    held = label_parts(near)
    labels[box][held >= 0] = indices[held[held >= 0]]
    counts = np.bincount(held[held >= 0], minlength=len(indices))
    missing = {k for _, positions in _positions(structure) if not near[..., positions].any() for k in positions}
    return labels, [None if k in missing else float(n) * native.voxel_volume_mm3 for k, n in enumerate(counts)]


def fold_volumes_mm3(folds: np.ndarray, near: np.ndarray, region: Grid) -> np.ndarray | None:
    """Volume of each part by each fold, (F, P), in mm3; None with a single fold.

    Parameters
    ----------
    folds : (F, X, Y, Z, 1 + P) float
    near : (X, Y, Z, P) bool
        Where the structure's probabilities count, by the average of the folds.
    region : Grid
    """
    if len(folds) < 2:
        return None
    return (folds[..., 1:] * near).sum(axis=(1, 2, 3), dtype=np.float64) * region.voxel_volume_mm3


def clean_region(probabilities: np.ndarray, region: Grid, structure: Structure, *, what: str = "scan") -> np.ndarray:
    """Keep, for each side, the largest component above 0.5 and the probabilities near it.

    Returns
    -------
    (X, Y, Z, P) float32

    Raises
    ------
    SegmentationError
        If a side has less than the smallest plausible part; unless it may be missing, and then it is left out.
    """
    kept = np.zeros((*probabilities.shape[:3], len(structure.parts)), np.float32)
    spacing, plausible = region.voxel_sizes_mm, structure.plausible
    for side, positions in _positions(structure):
        core = largest_component(_together(probabilities, [k + 1 for k in positions]) > 0.5)
        volume_mm3 = float(core.sum()) * region.voxel_volume_mm3
        if not core.any() or volume_mm3 < plausible.min_part_mm3:
            if plausible.may_be_missing:
                continue
            name = f"{SIDE_WORDS[side]} {structure.title}" if side else structure.title
            raise SegmentationError(
                f"{what}: the {name} was not found (best candidate {volume_mm3:.0f} mm3, expected at least "
                f"{plausible.min_part_mm3:.0f}). Look at the scan: is the region in the image, and is the image of the "
                "kind that its name says?"
            )
        near = ndimage.distance_transform_edt(~core, sampling=spacing) <= plausible.keep_within_mm
        for k in positions:
            kept[..., k] = np.where(near, probabilities[..., k + 1], 0)
    return kept


def _positions(structure: Structure) -> list[tuple[str | None, list[int]]]:
    """Each side with the positions of its parts."""
    return [(side, [k for k, p in enumerate(structure.parts) if p.hemisphere == side]) for side in structure.sides]


def _together(probabilities: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Sum of the probabilities of some classes."""
    if len(classes) == 1:
        return probabilities[..., classes[0]]
    return np.asarray(probabilities[..., list(classes)].sum(axis=-1))


def _touches_border(kept: np.ndarray, structure: Structure) -> bool:
    inside = np.zeros(kept.shape[:3], bool)
    for _, positions in _positions(structure):
        inside |= _together(kept, positions) > 0.5
    return any(bool(inside.take(i, axis=a).any()) for a in range(3) for i in (0, -1))
