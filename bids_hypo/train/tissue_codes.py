"""Label maps as codes: each tells the label of a voxel, and how far it lies from what shapes its look.

A table then says for all voxels of a code at once how bright they are, or that a wide ventricle has taken them; an
example is made by looking codes up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_hypo.image.grid import bounding_box
from bids_hypo.train.contrasts import WHITE
from bids_hypo.train.headmaps import LATERAL_VENTRICLES

THIRD_VENTRICLE = (14,)
# What wide ventricles may take: white and grey matter, deep nuclei, diencephalon
MAY_BE_TAKEN = (2, 3, 10, 11, 12, 13, 17, 18, 26, 28, 41, 42, 49, 50, 51, 52, 53, 54, 58, 60)
FAR_MM = 99.0
# Upper ends of the classes of distance, mm; what lies further is FAR_MM
DEPTH_MM = (1.1, 2.1, 3.2, 4.6, 6.5, 9.0)  # inside the structure, from white matter
RIM_MM = (1.1, 2.1, 3.5, 5.5)  # outside, from the structure
WET_MM = (0.75, 1.1, 1.5, 2.1, 2.9, 4.0)  # from the third or from a lateral ventricle
_NEAR_MM = 7.0


@dataclass(frozen=True)
class CodeTable:
    """What each code of a map is.

    Attributes
    ----------
    label : (n,) int
        FreeSurfer number.
    part : (n,) uint8
        0, or 1 + the position of the part of the structure.
    depth_mm : (n,) float
        Inside the structure the distance from white matter; `FAR_MM` elsewhere.
    rim_mm : (n,) float
        Outside the structure the distance from it.
    third_mm, lateral_mm : (n,) float
        Distance from the third and from the nearest lateral ventricle.
    behind : (n,) bool
        In the posterior third of the structure.
    """

    label: np.ndarray
    part: np.ndarray
    depth_mm: np.ndarray
    rim_mm: np.ndarray
    third_mm: np.ndarray
    lateral_mm: np.ndarray
    behind: np.ndarray


def coded(labels: np.ndarray, parts: Sequence[frozenset[int]], voxel_mm: np.ndarray) -> tuple[np.ndarray, CodeTable]:
    """Turn labels into codes.

    Parameters
    ----------
    labels : (X, Y, Z) int
        FreeSurfer numbers; axes right, anterior, superior, at least roughly.
    parts : sequence of frozenset of int
        Numbers of each part of the structure.
    voxel_mm : (3,) float

    Returns
    -------
    codes : (X, Y, Z) uint8 or uint16
    table : CodeTable
    """
    part = np.zeros(int(labels.max()) + 1, np.uint8)
    for position, numbers in enumerate(parts, start=1):
        part[[n for n in numbers if n < len(part)]] = position
    structure = part[labels] > 0
    near = bounding_box(structure, np.ceil(_NEAR_MM / voxel_mm).astype(int))
    inside, around = structure[near], labels[near]
    classes = [np.full(labels.shape, len(edges), np.uint8) for edges in (DEPTH_MM, RIM_MM, WET_MM, WET_MM)]
    white = among(around, WHITE)
    depth, rim, third, lateral = classes
    depth[near] = np.where(inside, _classes(white, DEPTH_MM, voxel_mm), len(DEPTH_MM))
    rim[near] = np.where(inside, len(RIM_MM), _classes(inside, RIM_MM, voxel_mm))
    third[near] = _classes(among(around, THIRD_VENTRICLE), WET_MM, voxel_mm)
    lateral[...] = _classes(among(labels, LATERAL_VENTRICLES), WET_MM, voxel_mm)
    kept = ~among(labels, MAY_BE_TAKEN)
    third[kept], lateral[kept] = len(WET_MM), len(WET_MM)
    behind = np.zeros(labels.shape, np.uint8)
    rows = np.flatnonzero(structure.any(axis=(0, 2)))
    behind[:, : rows[0] + (rows[-1] - rows[0]) // 3] = 1 if len(rows) else 0
    behind *= structure
    packed = labels.astype(np.int32)
    for level, n in ((depth, 8), (rim, 8), (third, 8), (lateral, 8), (behind, 2)):
        packed = packed * n + level
    return _unpacked(packed, part)


def among(labels: np.ndarray, numbers: Iterable[int]) -> np.ndarray:
    """Where labels (any shape, not negative) are some of the numbers: a look-up, much cheaper than `numpy.isin`."""
    wanted = np.zeros(int(labels.max()) + 1, bool)
    wanted[[n for n in numbers if n < len(wanted)]] = True
    return np.asarray(wanted[labels])


def _classes(mask: np.ndarray, edges: tuple[float, ...], voxel_mm: np.ndarray) -> np.ndarray:
    """The class of distance from a mask of each voxel; the last where there is no mask."""
    if not mask.any():
        return np.full(mask.shape, len(edges), np.uint8)
    distance = ndimage.distance_transform_edt(~mask, sampling=voxel_mm)
    return np.searchsorted(edges, distance, side="left").astype(np.uint8)


def _unpacked(packed: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, CodeTable]:
    present = np.flatnonzero(np.bincount(packed.ravel()))
    code_of = np.zeros(present[-1] + 1, np.uint8 if len(present) <= 256 else np.uint16)
    code_of[present] = np.arange(len(present))
    rest, behind = np.divmod(present, 2)
    levels = []
    for _ in range(4):
        rest, level = np.divmod(rest, 8)
        levels.append(level)
    lateral, third, rim, depth = levels
    mm = lambda edges, level: np.array([*edges, FAR_MM])[level]  # noqa: E731
    table = CodeTable(
        label=rest, part=part[rest], depth_mm=mm(DEPTH_MM, depth), rim_mm=mm(RIM_MM, rim), third_mm=mm(WET_MM, third),
        lateral_mm=mm(WET_MM, lateral), behind=behind > 0,
    )  # fmt: skip
    return code_of[packed], table
