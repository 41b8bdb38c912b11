"""Dentate nuclei as shapes: folded crescents with a hilus that opens forwards and inwards.

Lengths are in mm along the axes of the pose's frame (right, anterior, superior). What counts is the bright body; the
hilus is not filled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from bids_hypo.train.deform import smooth_field

FROM_FOURTH_VENTRICLE_MM = (13.8, -11.0, -2.0)  # to the right one
REACH_MM = 19.0  # beyond this from its centre there is nothing of it
_ATROPHIED, _VOLUMES_MM3, _SMALL_MM3 = 0.22, (450.0, 1200.0), (250.0, 500.0)
_LATTICE = 40


@dataclass(frozen=True)
class Dentate:
    """One nucleus.

    Attributes
    ----------
    side : int
        1 on the right, -1 on the left.
    centre_mm : (3,) float
    rotation : (3, 3) float
        Columns: outwards, front and up of the nucleus.
    axes_mm : (3,) float
        Semi-axes outwards, to the front and up.
    taper, bow : float
        How much narrower the front is than the back, and how far the ends lie inwards, in semi-axes.
    hilus : (2, 3) float, or None
        Centre and semi-axes of what is cut out, in semi-axes of the nucleus.
    wobble : (n, n, n) float32
        By how much the surface departs from an ellipsoid, in the box of `REACH_MM`.
    folds : (3,) float
        Number of folds around the hilus, their phase and how deep they are.
    """

    side: int
    centre_mm: np.ndarray
    rotation: np.ndarray
    axes_mm: np.ndarray
    taper: float
    bow: float
    hilus: np.ndarray | None
    wobble: np.ndarray
    folds: np.ndarray

    def depth_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """How deep below the surface places lie, about: (...) float, negative outside.

        Parameters
        ----------
        points_mm : (..., 3) float
        """
        return self._depth_mm(self._own(points_mm))

    def pattern(self, points_mm: np.ndarray) -> np.ndarray:
        """Stripes of the folds, (...) float from -1 to 1, that run from the hilus outwards."""
        return self._stripes(self._own(points_mm) / self.axes_mm)

    def _stripes(self, unit: np.ndarray) -> np.ndarray:
        angle = np.arctan2(unit[..., 1] - 0.2, unit[..., 0] + 0.8)
        return np.sin(self.folds[0] * angle + self.folds[1] + 1.5 * unit[..., 2])

    def _own(self, points_mm: np.ndarray) -> np.ndarray:
        return (np.asarray(points_mm) - self.centre_mm) @ self.rotation

    def _depth_mm(self, at: np.ndarray) -> np.ndarray:
        unit = at / self.axes_mm
        across = (unit[..., 0] + self.bow * unit[..., 1] ** 2) / np.clip(1 - self.taper * unit[..., 1], 0.3, 2)
        radius = np.sqrt(across**2 + unit[..., 1] ** 2 + unit[..., 2] ** 2)
        n = len(self.wobble)
        index = np.clip(((at / REACH_MM + 1) * (n / 2)).astype(int), 0, n - 1)
        folded = self.folds[2] * self._stripes(unit)
        surface = 1 + self.wobble[index[..., 0], index[..., 1], index[..., 2]] + folded
        depth = (surface - radius) * float(np.min(self.axes_mm[[0, 2]]))
        if self.hilus is not None:
            of_hilus = (unit - self.hilus[0]) / self.hilus[1]
            inside = np.sqrt((of_hilus**2).sum(-1))
            depth = np.minimum(depth, (inside - 1) * float(np.min(self.hilus[1] * self.axes_mm)))
        return depth


def share_of_voxels(depth_mm: np.ndarray, voxel_mm: float) -> np.ndarray:
    """How much of a voxel is nucleus, 0 to 1, by the depth of its middle below the surface."""
    return np.clip(depth_mm / voxel_mm + 0.5, 0, 1).astype(np.float32)


def draw_dentates(middle_mm: np.ndarray, rng: np.random.Generator) -> tuple[Dentate, Dentate]:
    """A left and a right nucleus: alike, but not the same.

    Parameters
    ----------
    middle_mm : (3,) float
        The centre of the fourth ventricle.
    rng : numpy Generator
    """
    common = {
        "axes": np.array([rng.uniform(3.8, 6.2), rng.uniform(7.5, 10.5), rng.uniform(4.6, 7.2)]),
        "angles": np.array([rng.normal(18, 9), rng.normal(15, 10), rng.normal(0, 8)]),
        "shift": rng.normal(0, (1.0, 1.8, 1.8)),
        "open": rng.random() < 0.8,
    }
    small = rng.random() < _ATROPHIED
    volume = rng.uniform(*(_SMALL_MM3 if small else _VOLUMES_MM3))
    left, right = (_draw(side, middle_mm, common, volume * np.exp(rng.normal(0, 0.08)), rng) for side in (-1, 1))
    return left, right


def _draw(side: int, middle_mm: np.ndarray, common: dict, volume_mm3: float, rng: np.random.Generator) -> Dentate:
    offset = np.array(FROM_FOURTH_VENTRICLE_MM) + common["shift"] + rng.normal(0, 0.6, 3)
    outwards, tilt, roll = common["angles"] + rng.normal(0, 4, 3)
    # the back turned outwards, the front down; mirrored on the left
    turn = Rotation.from_euler("zxy", [outwards, -tilt, roll], degrees=True).as_matrix()
    mirror = np.diag([side, 1, 1])
    cut = np.array([[rng.uniform(-1.25, -0.8), rng.uniform(0.1, 0.55), rng.uniform(-0.25, 0.25)],
                    [rng.uniform(0.5, 1.0), rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.85)]])  # fmt: skip
    wobble = smooth_field((_LATTICE,) * 3, (10,) * 3, rng) * rng.uniform(0.05, 0.16)
    wobble += smooth_field((_LATTICE,) * 3, (20,) * 3, rng) * rng.uniform(0, 0.06)
    drawn = Dentate(
        side=side,
        centre_mm=middle_mm + mirror @ offset,
        rotation=mirror @ turn,
        axes_mm=common["axes"] * np.exp(rng.normal(0, 0.05, 3)),
        taper=rng.uniform(0.0, 0.6),
        bow=rng.uniform(0.0, 0.6),
        hilus=cut if common["open"] else None,
        wobble=wobble,
        folds=np.array([rng.uniform(9, 22), rng.uniform(0, 6.3), rng.uniform(0, 0.1)]),
    )
    return _of_volume(drawn, volume_mm3)


def _of_volume(nucleus: Dentate, volume_mm3: float) -> Dentate:
    """The same shape in another size."""
    step = 0.8
    points = np.stack(np.meshgrid(*[np.arange(-REACH_MM, REACH_MM, step)] * 3, indexing="ij"), axis=-1)
    for _ in range(2):  # wobble and border do not grow with it
        found = float(share_of_voxels(nucleus.depth_mm(points + nucleus.centre_mm), step).sum()) * step**3
        factor = np.clip((volume_mm3 / max(found, 50.0)) ** (1 / 3), 0.6, 1.5)
        nucleus = replace(nucleus, axes_mm=nucleus.axes_mm * factor)
    return nucleus
