"""Label maps cut around a structure, in the frame of the pose: what examples of it are synthesised from.

Whole heads (FreeSurfer numbers) are cut as they are. Shapes are maps of deep structures alone, of other people: what
they leave unlabelled is filled with the tissues that a head has at the same place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_hypo.errors import UsageError
from bids_hypo.image.grid import apply_affine, bounding_box
from bids_hypo.image.segmentation import open_labels
from bids_hypo.segmentation.pose import Pose, fit_pose
from bids_hypo.train.headmaps import ANATOMY_CLASSES
from bids_hypo.train.tissue_codes import CodeTable, among, coded

MARGIN_MM = 7.0  # around the network's grid, for deformation; beyond it the outermost voxels go on
SHAPES_INSTEAD_OF = (4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 26, 28, 43, 44, 49, 50, 51, 52, 53, 54, 58, 60, 72, 85)


@dataclass(frozen=True)
class Wish:
    """What maps are cut for.

    Attributes
    ----------
    parts : tuple of frozenset of int
        FreeSurfer numbers of each part of the structure.
    names : tuple of str
        Of the parts, for errors.
    sides : tuple of tuple of int
        Positions of the parts of each side, which shrink together.
    template_mm : mapping of str to (3,) float
        The pose template.
    size_mm : (3,) tuple of float
        Of the network's grid.
    """

    parts: tuple[frozenset[int], ...]
    names: tuple[str, ...]
    sides: tuple[tuple[int, ...], ...]
    template_mm: Mapping[str, np.ndarray]
    size_mm: tuple[float, float, float]


@dataclass(frozen=True)
class PlacedMap:
    """A label map around a structure, with the way from the network's frame into it.

    Attributes
    ----------
    name : str
    codes : (X, Y, Z) uint8 or uint16
    table : CodeTable
        What each code is.
    to_voxels : (3, 3) float
        From mm along the axes of the pose to voxels.
    middle : (3,) float, voxels
        Where the middle of the region lies.
    sides_mm : tuple of ((3,) float, float)
        Centre of each side in mm from the middle of the region, along the axes of the pose; radius of the side.
    """

    name: str
    codes: np.ndarray
    table: CodeTable
    to_voxels: np.ndarray
    middle: np.ndarray
    sides_mm: tuple[tuple[np.ndarray, float], ...]


@dataclass(frozen=True)
class LabelMap:
    """Labels with their place: (X, Y, Z) int16 of FreeSurfer numbers, the affine (voxel to RAS mm), and the pose."""

    name: str
    data: np.ndarray
    affine: np.ndarray
    pose: Pose


def read_labels(path: Path, template_mm: Mapping[str, np.ndarray], numbers: np.ndarray | None = None) -> LabelMap:
    """Read a label map and fit its pose to its own structures.

    Parameters
    ----------
    path : Path
        NIfTI with whole numbers.
    template_mm : mapping of str to (3,) float
    numbers : (n,) int, optional
        FreeSurfer number of each number in the file, where it has others.
    """
    image = nib.as_closest_canonical(open_labels(path))
    whole = np.asanyarray(image.dataobj)
    box = bounding_box(whole, 1)  # first, because most of the maps of shapes is empty
    if not all(s.stop for s in box):
        raise UsageError(f"{path}: found no labels; expected a label map. Leave it out, or fetch it again.")
    affine = image.affine.copy()
    affine[:3, 3] = apply_affine(affine, np.array([s.start for s in box]))
    data = np.ascontiguousarray(whole[box], np.int16)
    if numbers is not None:
        if data.min() < 0 or data.max() >= len(numbers):
            raise UsageError(f"{path}: found labels from {data.min()} to {data.max()}; expected those of dseg.tsv.")
        data = numbers[data].astype(np.int16)
    pose = fit_pose(structure_centroids(data, affine), template_mm, what=str(path))
    return LabelMap(path.name.split(".")[0], data, affine, pose)


def structure_centroids(labels: np.ndarray, affine: np.ndarray) -> dict[str, np.ndarray]:
    """Centroids (RAS mm) of those classes of the anatomy network that a label map has, from every second voxel.

    Parameters
    ----------
    labels : (X, Y, Z) int
        FreeSurfer numbers.
    affine : (4, 4) float, voxel to RAS mm
    """
    thinned = labels[::2, ::2, ::2]
    classes = np.zeros(int(labels.max()) + 1, np.uint8)
    for position, numbers in enumerate(ANATOMY_CLASSES.values()):
        classes[[n for n in numbers if n < len(classes)]] = position
    found = classes[thinned]
    at = np.argwhere(found)
    which = found[tuple(at.T)]
    counts = np.bincount(which, minlength=len(ANATOMY_CLASSES))
    sums = np.stack([np.bincount(which, at[:, axis] * 2.0, len(ANATOMY_CLASSES)) for axis in range(3)], axis=1)
    names = list(ANATOMY_CLASSES)
    return {names[k]: apply_affine(affine, sums[k] / counts[k]) for k in np.flatnonzero(counts)}


def centre_in_frame(labels: LabelMap, wish: Wish) -> np.ndarray:
    """(3,) float, mm: the centre of the structure in the frame of the pose template."""
    wanted = among(labels.data, frozenset().union(*wish.parts))
    centre = apply_affine(labels.affine, np.argwhere(wanted).mean(axis=0))
    return labels.pose.rotation.T @ (centre - labels.pose.translation_mm) / labels.pose.scale


def cut(labels: LabelMap, wish: Wish, centre_mm: np.ndarray, head: LabelMap | None = None) -> PlacedMap:
    """Cut a label map around the place where the network will look.

    Parameters
    ----------
    labels : LabelMap
    wish : Wish
    centre_mm : (3,) float
        Middle of the network's grid in the frame of the pose template.
    head : LabelMap, optional
        A head without the structures that shapes have, which fills what ``labels`` leaves at 0.

    Raises
    ------
    UsageError
        If it lacks a part.
    """
    middle_mm, rotation = labels.pose.place(centre_mm), labels.pose.rotation
    box, affine = _box_around(labels, middle_mm, np.asarray(wish.size_mm) / 2 + MARGIN_MM)
    data = labels.data[box]
    if head is not None:
        data = _filled(data, affine, labels.pose, head)
    for numbers, name in zip(wish.parts, wish.names, strict=True):
        if not among(data, numbers).any():
            raise UsageError(
                f"{labels.name}: found no voxel of the {name} (label {', '.join(map(str, sorted(numbers)))}); expected "
                "it in every label map. Leave the map out in the recipe (left_out), or correct maps_to."
            )
    inverse = np.linalg.inv(affine)
    codes, table = coded(data, wish.parts, np.linalg.norm(affine[:3, :3], axis=0))
    return PlacedMap(
        labels.name, codes, table, inverse[:3, :3] @ rotation, apply_affine(inverse, middle_mm),
        tuple(_side(data, [wish.parts[k] for k in side], affine, middle_mm, rotation) for side in wish.sides),
    )  # fmt: skip


def _box_around(labels: LabelMap, middle_mm: np.ndarray, half_mm: np.ndarray) -> tuple[tuple[slice, ...], np.ndarray]:
    """The box of voxels that holds a box of the pose's frame, and the affine of what it cuts out."""
    corners = (np.indices((2, 2, 2)).reshape(3, 8).T * 2 - 1) * half_mm @ labels.pose.rotation.T + middle_mm
    at = apply_affine(np.linalg.inv(labels.affine), corners)
    low = np.clip(np.floor(at.min(0)), 0, None).astype(int)
    high = np.minimum(np.ceil(at.max(0)).astype(int) + 1, labels.data.shape)
    affine = labels.affine.copy()
    affine[:3, 3] = apply_affine(affine, low)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)), affine


def _side(
    data: np.ndarray, parts: list[frozenset[int]], affine: np.ndarray, middle_mm: np.ndarray, rotation: np.ndarray
) -> tuple[np.ndarray, float]:
    points = apply_affine(affine, np.argwhere(among(data, frozenset().union(*parts))))
    centre = points.mean(axis=0)
    radius = float(np.percentile(np.linalg.norm(points - centre, axis=1), 90))
    return (centre - middle_mm) @ rotation, radius


def without_deep_structures(head: LabelMap, wish: Wish, centre_mm: np.ndarray) -> LabelMap:
    """What a head has around the region, with the nearest other tissue in place of ventricles and deep structures."""
    box, affine = _box_around(head, head.pose.place(centre_mm), np.asarray(wish.size_mm) / 2 + 2 * MARGIN_MM)
    data = head.data[box]
    deep = among(data, SHAPES_INSTEAD_OF)
    nearest = ndimage.distance_transform_edt(deep, return_distances=False, return_indices=True)
    return LabelMap(head.name, data[tuple(nearest)], affine, head.pose)


def _filled(data: np.ndarray, affine: np.ndarray, pose: Pose, head: LabelMap) -> np.ndarray:
    """Labels with the head's in place of 0; the head is brought to the size and place of these by its pose."""
    turn = head.pose.rotation @ pose.rotation.T * (head.pose.scale / pose.scale)
    to_head = np.eye(4)
    to_head[:3, :3] = turn
    to_head[:3, 3] = head.pose.translation_mm - turn @ pose.translation_mm
    whole = np.linalg.inv(head.affine) @ to_head @ affine
    at = np.nonzero(data == 0)
    index = []
    for axis, size in enumerate(head.data.shape):
        row = whole[axis].astype(np.float32)
        steps = [np.arange(n, dtype=np.float32) * row[k] for k, n in enumerate(data.shape)]
        where = steps[0][at[0]] + steps[1][at[1]] + steps[2][at[2]] + (row[3] + np.float32(0.5))
        index.append(np.clip(where, 0, size - 1).astype(np.intp))
    filled = data.copy()
    filled[at] = head.data[tuple(index)]
    return filled
