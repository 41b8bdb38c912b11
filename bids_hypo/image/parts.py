"""A structure by its sides and kinds of parts, and its masks on a common grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from bids_hypo.image.grid import Grid, apply_affine, as_shape
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume
from bids_hypo.structures import BOTH, LEFT, RIGHT, Structure

SIDES = (LEFT, RIGHT)
THRESHOLD = 0.5


@dataclass(frozen=True)
class Parts:
    """A structure as an image of 0..1 for each of its sides, cut to the box where it is not 0.

    Attributes
    ----------
    of : dict of str to Volume
        ``L`` and ``R``, ``M`` on the midline, and ``B`` for what has no side; at least one of them. Masks are 0 and 1.
    kinds : dict of str to dict of str to Volume
        The same for each kind of part, where they are told apart.
    """

    of: dict[str, Volume]
    kinds: dict[str, dict[str, Volume]] = field(default_factory=dict)

    @property
    def has_sides(self) -> bool:
        """Whether left and right are told apart."""
        return LEFT in self.of and RIGHT in self.of

    @property
    def grid(self) -> Grid:
        """Grid of the first part."""
        return next(iter(self.of.values())).grid

    @classmethod
    def of_frames(cls, frames: np.ndarray, affine: np.ndarray, structure: Structure) -> Parts:
        """Parts from probabilities, (X, Y, Z, P) with a frame for each part of a structure."""
        sides = {side or BOTH: [k for k, p in enumerate(structure.parts) if p.hemisphere == side and p.in_whole]
                 for side in structure.sides}  # fmt: skip
        whole = {side: cropped(_sum_of(frames, which), affine) for side, which in sides.items() if which}
        kinds: dict[str, dict[str, Volume]] = {}
        for k, part in enumerate(structure.parts if structure.kinds else ()):
            kinds.setdefault(part.kind, {})[part.hemisphere or BOTH] = cropped(frames[..., k], affine)
        return cls(whole, kinds)

    def kind(self, name: str) -> Parts:
        """One kind of part, on all its sides."""
        return Parts(self.kinds[name])

    def each(self, structure: Structure) -> list[Volume]:
        """One image for each part of a structure, in their order.

        Raises
        ------
        KeyError
            If a part is not told apart.
        """
        many = bool(structure.kinds)
        return [(self.kinds[p.kind] if many else self.of)[p.hemisphere or BOTH] for p in structure.parts]

    def changed(self, change: Callable[[Volume], Volume]) -> Parts:
        """Every image as a function makes it."""
        kinds = {kind: {side: change(v) for side, v in sides.items()} for kind, sides in self.kinds.items()}
        return Parts({side: change(v) for side, v in self.of.items()}, kinds)

    @property
    def images(self) -> list[Volume]:
        """All images, those of the kinds of parts too."""
        return [*self.of.values(), *(volume for sides in self.kinds.values() for volume in sides.values())]

    def volumes_mm3(self) -> dict[str, float]:
        """Volume above 0.5 of ``L`` and ``R`` (if told apart) and of ``B``, the whole, on the parts' own grids."""
        each = {k: float((v.data > THRESHOLD).sum()) * v.grid.voxel_volume_mm3 for k, v in self.of.items()}
        sides = {k: each[k] for k in SIDES} if self.has_sides else {}
        return {**sides, BOTH: sum(each.values())}


def _sum_of(frames: np.ndarray, which: Sequence[int]) -> np.ndarray:
    """Sum of some frames, 1 at most."""
    if len(which) == 1:
        return frames[..., which[0]]
    return np.minimum(frames[..., list(which)].sum(axis=-1), 1)


def cropped(data: np.ndarray, affine: np.ndarray) -> Volume:
    """Cut to the box that is not 0 (one voxel if everything is), so that large images cost little.

    Parameters
    ----------
    data : (X, Y, Z) array
        Probabilities or a mask.
    affine : (4, 4) float
    """
    inside = np.nonzero(data > 0)
    low = np.array([i.min() if i.size else 0 for i in inside])
    high = np.array([i.max() if i.size else 0 for i in inside]) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    moved = affine.copy()
    moved[:3, 3] = apply_affine(affine, low)
    return Volume(np.ascontiguousarray(data[box], dtype=np.float32), moved)


def common_grid(truth: Parts, *others: Parts, margin: int = 2) -> Grid:
    """The truth's lattice of voxels, wide enough to hold all.

    Parameters
    ----------
    truth : Parts
        Its lattice is kept: voxel sizes, directions and offsets.
    *others : Parts
    margin : int
        Voxels around.

    Returns
    -------
    Grid
    """
    affine = truth.grid.affine
    volumes = [v for parts in (truth, *others) for v in parts.images if v.data.any()]
    corners = [apply_affine(np.linalg.inv(affine) @ v.affine, _corners(v)) for v in volumes] or [np.zeros((1, 3))]
    points = np.concatenate(corners)
    low = np.floor(points.min(axis=0) + 1e-3).astype(int) - margin
    high = np.ceil(points.max(axis=0) - 1e-3).astype(int) + margin + 1
    moved = affine.copy()
    moved[:3, 3] = apply_affine(affine, low)
    return Grid(as_shape(high - low), moved)


def _corners(volume: Volume) -> np.ndarray:
    return np.array(list(product(*[(0.0, n - 1.0) for n in volume.data.shape])))


def masks_on(parts: Parts, grid: Grid) -> dict[str, np.ndarray]:
    """Masks on a grid: parts interpolated linearly, above 0.5; untouched where the voxels coincide.

    Parameters
    ----------
    parts : Parts
    grid : Grid

    Returns
    -------
    dict of str to (X, Y, Z) bool
        ``L`` and ``R`` if told apart, and ``B``, the union of everything.
    """
    masks = {key: _on(volume, grid) for key, volume in parts.of.items()}
    sides = {k: masks[k] for k in SIDES} if parts.has_sides else {}
    return {**sides, BOTH: np.logical_or.reduce(list(masks.values()))}


def likeliest(parts: Parts, grid: Grid) -> Parts:
    """The kinds of parts as masks on a grid: each voxel where all together are above 0.5 is of the likeliest part.

    Where several parts meet, none of them may be above 0.5: taken one by one they would leave gaps.

    Parameters
    ----------
    parts : Parts
    grid : Grid

    Returns
    -------
    Parts
        With the sides as they were.
    """
    each = [(kind, side, volume) for kind, sides in parts.kinds.items() for side, volume in sides.items()]
    if not each:
        return parts
    values = np.stack([_values_on(volume, grid) for _, _, volume in each])
    chosen = np.where(values.sum(axis=0) > THRESHOLD, values.argmax(axis=0), -1)
    kinds: dict[str, dict[str, Volume]] = {}
    for k, (kind, side, _) in enumerate(each):
        kinds.setdefault(kind, {})[side] = cropped(chosen == k, grid.affine)
    return Parts(parts.of, kinds)


def _on(volume: Volume, grid: Grid) -> np.ndarray:
    return _values_on(volume, grid) > THRESHOLD


def _values_on(volume: Volume, grid: Grid) -> np.ndarray:
    if not same_lattice(volume.grid, grid):
        return resample(padded(volume, 8), grid).data
    start = np.rint(apply_affine(np.linalg.inv(grid.affine), volume.affine[:3, 3])).astype(int)
    out = np.zeros(grid.shape, np.float32)
    low, high = np.maximum(start, 0), np.minimum(start + volume.data.shape, grid.shape)
    if (high > low).all():
        to = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        of = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        out[to] = volume.data[of]
    return out


def padded(volume: Volume, n: int) -> Volume:
    """With ``n`` voxels of 0 on every side: room for the smoothing that goes before a coarser grid."""
    moved = volume.affine.copy()
    moved[:3, 3] = apply_affine(volume.affine, np.full(3, -float(n)))
    return Volume(np.pad(volume.data, n), moved)


def carried(parts: Parts, like: Parts) -> Parts:
    """The parts as masks on the lattice of others: what a perfect segmentation on that grid would be.

    Parameters
    ----------
    parts : Parts
    like : Parts
        Their voxels are taken.

    Returns
    -------
    Parts
    """
    grid = common_grid(like, parts)
    return Parts({key: cropped(_on(volume, grid), grid.affine) for key, volume in parts.of.items()})


def same_lattice(a: Grid, b: Grid, *, tolerance: float = 0.02) -> bool:
    """Whether the voxels of one grid coincide with those of another, wherever the two boxes lie.

    Parameters
    ----------
    a, b : Grid
    tolerance : float
        In voxels of ``b``; headers are rounded.
    """
    to_b = np.linalg.inv(b.affine) @ a.affine
    if not np.allclose(to_b[:3, :3], np.eye(3), atol=0.01):
        return False
    corners = apply_affine(to_b, _corners(Volume(np.empty(a.shape, bool), a.affine)))
    return bool(np.abs(corners - np.rint(corners)).max() < tolerance)
