"""Susceptibility maps simulated from head label maps, with dentate nuclei whose shape is known.

A map is made as a real one is: susceptibilities of tissues, the field that they make, noise and errors in it, and an
inversion back. How and why is told in docs/lab/dentate.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_hypo.image.grid import Grid, as_shape, box_grid
from bids_hypo.image.segmentation import open_labels
from bids_hypo.image.volume import Volume
from bids_hypo.segmentation.pose import Pose, fit_pose
from bids_hypo.train.acquisition import Acquisition, acquire, draw_acquisition
from bids_hypo.train.cerebellum import FOURTH_VENTRICLE, paint_vessels, textured, with_lesions, with_small_nuclei
from bids_hypo.train.deform import smooth_field
from bids_hypo.train.dentate import REACH_MM, Dentate, draw_dentates, share_of_voxels
from bids_hypo.train.headmaps import ANATOMY_CLASSES, is_inside
from bids_hypo.train.susceptibility import susceptibility_means

WARP_MM = 2.0
_NO_DENTATE, _ONE_DENTATE = 0.06, 0.02  # how often none is visible, or one only
_FAINT_PPM = 0.03
_FADING_MM = 2.5  # the rim is dimmer than the middle to this depth


@dataclass(frozen=True)
class MappedHead:
    """A head label map and its pose.

    Attributes
    ----------
    name : str
    labels : (X, Y, Z) int16
        FreeSurfer numbers; 1 mm, RAS axes, so that an index is a place in mm.
    pose : Pose
        From the template to the map.
    ventricle_mm : (3,) float
        Centre of the fourth ventricle, in the axes of the pose and mm from its origin.
    """

    name: str
    labels: np.ndarray
    pose: Pose
    ventricle_mm: np.ndarray

    def in_pose(self, points_mm: np.ndarray) -> np.ndarray:
        """Places of the map, (..., 3), in the axes of the pose: mm, not scaled."""
        return (points_mm - self.pose.translation_mm) @ self.pose.rotation

    def in_map(self, points_mm: np.ndarray) -> np.ndarray:
        """The other way round."""
        return points_mm @ self.pose.rotation.T + self.pose.translation_mm


@dataclass(frozen=True)
class SimulatedMap:
    """A susceptibility map and the truth.

    Attributes
    ----------
    image : Volume
        In ppm, exactly 0 outside of the brain mask; its affine leads to the head map.
    truth : tuple of Volume
        Share of each voxel that is left and right dentate nucleus, on a finer grid.
    contrast_ppm : tuple of float
        Of the left and the right nucleus, above white matter; 0 where none is to be seen.
    """

    image: Volume
    truth: tuple[Volume, Volume]
    contrast_ppm: tuple[float, float]


def read_mapped_head(path: Path, template: dict[str, np.ndarray]) -> MappedHead:
    """Read a head label map of 1 mm and fit the pose template to its structures.

    Parameters
    ----------
    path : Path
    template : dict of str to (3,) float
        See `bids_hypo.segmentation.anatomy.pose_template`.
    """
    image = nib.as_closest_canonical(open_labels(path))
    labels = np.asanyarray(image.dataobj).astype(np.int16)
    classes = np.zeros(int(labels.max()) + 1, np.uint8)
    for number, numbers in enumerate(ANATOMY_CLASSES.values()):
        classes[[n for n in numbers if n < len(classes)]] = number
    of_voxels = classes[labels]
    known = [k for k, name in enumerate(ANATOMY_CLASSES) if name in template and (of_voxels == k).any()]
    names = list(ANATOMY_CLASSES)
    centres = ndimage.center_of_mass(of_voxels > 0, of_voxels, known)
    pose = fit_pose({names[k]: np.array(c) for k, c in zip(known, centres, strict=True)}, template, what=str(path))
    middle = np.array(ndimage.center_of_mass(labels == FOURTH_VENTRICLE))
    return MappedHead(path.name.split(".")[0], labels, pose, (middle - pose.translation_mm) @ pose.rotation)


def simulate(
    head: MappedHead, centre_mm: np.ndarray, extent_mm: np.ndarray, rng: np.random.Generator,
    *, spacing_mm: float | None = None,
) -> SimulatedMap:  # fmt: skip
    """Simulate a map of a part of a head, or of all of it.

    Parameters
    ----------
    head : MappedHead
    centre_mm, extent_mm : (3,) float
        The part, in the axes of the pose; it is turned with the slices.
    rng : numpy Generator
    spacing_mm : float, optional
        In the slices, if it must not be drawn.

    Returns
    -------
    SimulatedMap
    """
    scan = draw_acquisition(rng, spacing_mm)
    fine = _fine_grid(head, centre_mm, extent_mm, scan)
    points = _warped_points(head, fine, rng)
    labels = _look_up(head, points)
    numbers, codes = np.unique(labels, return_inverse=True)
    means = susceptibility_means(numbers, rng)
    outside = ~is_inside(numbers)
    means[outside] = 0
    _bring_together(numbers, means, rng)
    chi = ndimage.gaussian_filter(means[codes.reshape(labels.shape)], 0.5)
    chi = textured(chi, points, labels, fine.voxel_sizes_mm, rng)
    chi = with_small_nuclei(chi, points, head.ventricle_mm, rng)
    shares, contrast = _paint_dentates(chi, points, head, fine, rng)
    chi = paint_vessels(chi, points, labels, fine.voxel_sizes_mm, head.ventricle_mm, rng)
    chi = with_lesions(chi, fine.voxel_sizes_mm, rng)
    image, affine = acquire(chi, labels, fine.affine, scan, rng)
    left, right = (Volume(share, fine.affine) for share in shares)
    return SimulatedMap(Volume(image, affine), (left, right), contrast)


def _bring_together(numbers: np.ndarray, means: np.ndarray, rng: np.random.Generator) -> None:
    """White matter and cortex of the cerebellum differ less than those of the cerebrum, in place."""
    share = rng.uniform(0, 0.7)
    for white, cortex in ((7, 8), (46, 47)):
        if white in numbers and cortex in numbers:
            at = numbers == white
            means[at] = means[numbers == cortex] + share * (means[at] - means[numbers == cortex])


def _fine_grid(head: MappedHead, centre_mm: np.ndarray, extent_mm: np.ndarray, scan: Acquisition) -> Grid:
    """Voxels of the scan, each slice divided into thinner ones; whole slices."""
    n = np.ceil(np.asarray(extent_mm) / scan.fine_mm)
    n[2] = np.ceil(n[2] / scan.layers) * scan.layers
    n[:2] += n[:2] % 2
    return box_grid(head.in_map(np.asarray(centre_mm)), head.pose.rotation @ scan.turn, as_shape(n), scan.fine_mm)


def _warped_points(head: MappedHead, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Where the voxels of a grid come from, (X, Y, Z, 3) float32 in the axes of the pose, a little deformed."""
    matrix = (head.pose.rotation.T @ grid.affine[:3, :3]).astype(np.float32)
    start = head.in_pose(grid.affine[:3, 3]).astype(np.float32)
    x, y, z = (np.arange(n, dtype=np.float32) for n in grid.shape)
    points = np.empty((*grid.shape, 3), np.float32)
    controls = tuple(max(5, int(n * mm / 25)) for n, mm in zip(grid.shape, grid.voxel_sizes_mm, strict=True))
    size = np.exp(rng.normal(0, 0.04, 3)).astype(np.float32)
    middle = head.ventricle_mm.astype(np.float32)
    strength = np.float32(rng.uniform(0, WARP_MM))
    for axis in range(3):
        row = matrix[axis]
        line = (row[0] * x)[:, None, None] + (row[1] * y)[None, :, None] + row[2] * z + start[axis]
        points[..., axis] = (line - middle[axis]) * size[axis] + middle[axis]
        points[..., axis] += strength * smooth_field(grid.shape, controls, rng)
    return points


def _look_up(head: MappedHead, points: np.ndarray) -> np.ndarray:
    """Labels at places in the axes of the pose; 0 beyond the map."""
    flat = np.zeros(points.shape[:3], np.int32)
    valid = np.ones(points.shape[:3], bool)
    for axis, n in enumerate(head.labels.shape):
        row = head.pose.rotation[axis].astype(np.float32)
        index = np.rint(points @ row + np.float32(head.pose.translation_mm[axis])).astype(np.int32)
        valid &= (index >= 0) & (index < n)
        flat = flat * n + np.clip(index, 0, n - 1)
    return np.where(valid, head.labels.ravel()[flat], 0)


def _paint_dentates(
    chi: np.ndarray, points: np.ndarray, head: MappedHead, grid: Grid, rng: np.random.Generator
) -> tuple[list[np.ndarray], tuple[float, float]]:
    """Put both nuclei into a map, in place; their shares of voxels and their contrast."""
    base = np.exp(rng.uniform(np.log(_FAINT_PPM), np.log(0.2)))
    none, one = rng.random() < _NO_DENTATE, rng.random() < _ONE_DENTATE
    hidden = (-1, 1) if none else ((int(rng.choice((-1, 1))),) if one else ())
    pattern, uneven, fading = rng.uniform(0, 0.3), rng.uniform(0, 0.25), rng.uniform(0, 0.5)
    shares, contrasts = [], []
    for nucleus in draw_dentates(head.ventricle_mm, rng):
        share = np.zeros(chi.shape, np.float32)
        box = _box_around(points, nucleus)
        contrast = 0.0 if nucleus.side in hidden else float(base * np.exp(rng.normal(0, 0.08)))
        if box is not None and contrast:
            here = points[box]
            depth = nucleus.depth_mm(here)
            share[box] = share_of_voxels(depth, float(grid.voxel_sizes_mm.mean()))
            inside = 1 - fading * (1 - np.clip(depth / _FADING_MM, 0, 1)) + pattern * nucleus.pattern(here)
            inside += uneven * smooth_field(inside.shape, tuple(max(4, n // 6) for n in inside.shape), rng)
            chi[box] += (share[box] * contrast * np.clip(inside, 0.4, 1.6)).astype(np.float32)
        shares.append(share)
        contrasts.append(contrast)
    return shares, (contrasts[0], contrasts[1])


def _box_around(points: np.ndarray, nucleus: Dentate) -> tuple[slice, ...] | None:
    coarse = points[::4, ::4, ::4]
    near = (np.abs(coarse - nucleus.centre_mm.astype(np.float32)) < REACH_MM + 4).all(axis=-1)
    if not near.any():
        return None
    found = ndimage.find_objects(near.astype(np.uint8))[0]
    return tuple(slice(max(4 * s.start - 4, 0), 4 * s.stop) for s in found)
