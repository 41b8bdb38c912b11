"""Networks that see a whole head: the anatomy network (intracranial volume and coarse structures) and the locator."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_hypo.errors import SegmentationError
from bids_hypo.image.grid import Grid, apply_affine, bounding_box, box_grid
from bids_hypo.image.intensity import INTENSITY_RULES, has_both_signs
from bids_hypo.image.resample import resample
from bids_hypo.image.slices import stack_neighbours
from bids_hypo.image.volume import Volume
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.segmentation.cleanup import largest_component

logger = logging.getLogger(__name__)

NO_STRUCTURES = ("background", "intracranial")  # classes whose centroid says nothing of the pose
MIN_STRUCTURE_MM3 = 150.0
TOP_MARGIN_MM = 8.0
MIN_CUT_MM2 = 300.0  # of intracranial volume on a face of the grid: more than a spinal canal or a stray voxel
LEAK_RADIUS_MM = 6.0
WIDENED_MM = 3.0
EDGE_MM = 4.0
TISSUE = 0.3  # of the mean of the bright part of the image
SLAB = 48  # slices whose class probabilities are in memory at a time
MIN_TISSUE_PIXELS = 30  # below, a slice cannot hold a part of the brain that counts
MAX_CUT_SHARE = 0.02  # of a structure's voxels near the edge of the field of view

Network = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Anatomy:
    """What the anatomy network says of a head.

    Attributes
    ----------
    icv_probability : (X, Y, Z) float32
    labels : (X, Y, Z) uint8
        Most probable class.
    grid : Grid
        The network's grid.
    centroids_mm : dict of str to (3,) float
        Centroid of each structure that was found, RAS mm.
    image : (X, Y, Z) float32
        The scan on ``grid``, after the bundle's intensity rule.
    """

    icv_probability: np.ndarray
    labels: np.ndarray
    grid: Grid
    centroids_mm: dict[str, np.ndarray]
    image: np.ndarray


def pose_template(bundle: ModelBundle) -> dict[str, np.ndarray]:
    """The pose template of a bundle that sees a whole head: (3,) float, mm, of each structure."""
    return {name: np.array(point) for name, point in bundle.constants["pose_template_mm"].items()}


def icv_threshold(bundle: ModelBundle) -> float:
    """The probability above which the volumes of a bundle's training maps are right on average; 0.5 if unknown."""
    return float(bundle.constants.get("icv_threshold", 0.5))


def head_grid(volume: Volume, bundle: ModelBundle) -> Grid:
    """The network's grid in scanner axes, laid over the head.

    The head is what is brighter than the mean of the image; in a map with values of both signs (if that is what the
    bundle is for) it is what is not 0. Tall fields of view (neck, shoulders) are cut from below.

    Parameters
    ----------
    volume : Volume
    bundle : ModelBundle

    Returns
    -------
    Grid
    """
    shape = bundle.preprocessing.shape
    spacing = np.asarray(bundle.preprocessing.spacing_mm)
    step = np.maximum(np.round(4.0 / volume.grid.voxel_sizes_mm), 1).astype(int)
    coarse = volume.data[:: step[0], :: step[1], :: step[2]]
    signed = bundle.preprocessing.intensity == "signed" and has_both_signs(coarse)
    bright = coarse != 0 if signed else coarse > coarse.mean()
    bright = largest_component(ndimage.binary_opening(bright)) if bright.sum() > 500 else bright
    points = apply_affine(volume.affine, np.argwhere(bright) * step)
    if not len(points):
        raise SegmentationError("found nothing that is brighter than the rest; expected a scan of a head.")
    low, high = np.percentile(points, 0.5, axis=0), np.percentile(points, 99.5, axis=0)
    centre = (low + high) / 2
    extent = np.asarray(shape) * spacing
    if high[2] - low[2] + 2 * TOP_MARGIN_MM > extent[2]:
        centre[2] = high[2] + TOP_MARGIN_MM - extent[2] / 2
    if high[2] - low[2] > 1.15 * (high[1] - low[1]):  # a long neck pulls the middle; take the upper 180 mm for the rest
        top = points[points[:, 2] > high[2] - 180.0]
        centre[:2] = (np.percentile(top, 0.5, axis=0)[:2] + np.percentile(top, 99.5, axis=0)[:2]) / 2
    return box_grid(centre, np.eye(3), shape, spacing)


def find_anatomy(volume: Volume, bundle: ModelBundle, network: Network, *, what: str = "scan") -> Anatomy:
    """Segment the head in a scan, wherever it lies.

    The grid is laid by `head_grid`. Should the intracranial volume reach the edge of the grid where the scan goes on
    (a hand above the head, a very tall field of view), the grid is moved to its middle and the head segmented again.

    Parameters
    ----------
    volume : Volume
        The scan on its own grid.
    bundle : ModelBundle
        The anatomy network's, or the locator's, of which only the centroids are good for anything.
    network : callable
        (N, H, W, C) to (N, H, W, K).
    what : str
        Named in errors.

    Returns
    -------
    Anatomy

    Raises
    ------
    SegmentationError
        If nothing intracranial was found.
    """
    found = run_anatomy(volume, head_grid(volume, bundle), bundle, network, what=what)
    if not _cut_by_grid(found, volume.grid):
        return found
    centre = apply_affine(found.grid.affine, np.array(ndimage.center_of_mass(found.icv_probability > 0.5)))
    pre = bundle.preprocessing
    moved: Grid = box_grid(centre, np.eye(3), pre.shape, np.asarray(pre.spacing_mm))
    logger.debug("%s: the head reaches the edge of the grid; laid again around %s mm", what, np.round(centre))
    again = run_anatomy(volume, moved, bundle, network, what=what)
    return again if again.icv_probability.sum() > found.icv_probability.sum() else found


def _cut_by_grid(found: Anatomy, native: Grid) -> bool:
    """Whether the intracranial volume reaches a face of the grid that lies inside the scan's field of view."""
    inside = found.icv_probability > 0.5
    spacing = found.grid.voxel_sizes_mm
    outside_view = _near_edge_of_view(native, found.grid)
    for axis in range(3):
        area_mm2 = float(np.prod(np.delete(spacing, axis)))
        for end in (0, -1):
            face = inside.take(end, axis) & ~outside_view.take(end, axis)
            if face.sum() * area_mm2 > MIN_CUT_MM2:
                return True
    return False


def run_anatomy(volume: Volume, grid: Grid, bundle: ModelBundle, network: Network, *, what: str = "scan") -> Anatomy:
    """Segment a head on a grid.

    Parameters
    ----------
    volume : Volume
        The scan on its own grid.
    grid : Grid
        Of the bundle's shape; scanner axes or the pose's.
    bundle : ModelBundle
    network : callable
        (N, H, W, C) to (N, H, W, K).
    what : str
        Named in errors.

    Returns
    -------
    Anatomy

    Raises
    ------
    SegmentationError
        If nothing intracranial was found.
    """
    pre = bundle.preprocessing
    image = INTENSITY_RULES[pre.intensity](resample(volume, grid, sharp=True).data, pre.spacing_mm)
    icv, classes = _segment(image, pre.slice_offsets, network)
    head = largest_component(icv > 0.5)
    if head.sum() * grid.voxel_volume_mm3 < 50e3:
        raise SegmentationError(
            f"{what}: found no brain in the image; expected a scan ({', '.join(bundle.suffixes)}) "
            "that holds the middle of a head. Look at it."
        )
    labels = classes * head
    near = without_leaks(head, grid.voxel_sizes_mm)
    centroids = _centroids(labels, grid, bundle.labels, _near_edge_of_view(volume.grid, grid))
    return Anatomy(np.where(near, icv, 0).astype(np.float32), labels, grid, centroids, image)


def _segment(image: np.ndarray, offsets: tuple[int, ...], network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the intracranial volume and the most probable class, both (X, Y, Z).

    Slices without tissue are background and need no network; the others are worked on in slabs, because the
    probabilities of all classes in a whole head would take more memory than everything else.
    """
    icv, classes = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.uint8)
    occupied = np.flatnonzero((np.abs(image) > TISSUE).sum(axis=(0, 2)) >= MIN_TISSUE_PIXELS)
    for start in range(0, len(occupied), SLAB):
        slices = occupied[start : start + SLAB]
        found = network(stack_neighbours(image, offsets, slices))
        icv[:, slices] = np.moveaxis(1 - found[..., 0], 0, 1)
        classes[:, slices] = np.moveaxis(found.argmax(axis=-1), 0, 1)
    return icv, classes


def without_leaks(mask: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """A mask opened by a ball and widened a little: what leaks out of the skull by a narrow way is not in it.

    Parameters
    ----------
    mask : (X, Y, Z) bool
    spacing_mm : (3,) float

    Returns
    -------
    (X, Y, Z) bool
        Up to 3 mm wider than the opened mask, so that the border itself is left as it is.
    """
    reach = LEAK_RADIUS_MM + WIDENED_MM
    near = np.zeros(mask.shape, bool)
    if not mask.any():
        return near
    box = bounding_box(mask, np.ceil(reach / np.asarray(spacing_mm)))  # work in the mask's box: it is half the grid
    core = largest_component(ndimage.distance_transform_edt(mask[box], sampling=spacing_mm) > LEAK_RADIUS_MM)
    near[box] = ndimage.distance_transform_edt(~core, sampling=spacing_mm) <= reach
    return near


def _near_edge_of_view(native: Grid, grid: Grid) -> np.ndarray:
    """Where the grid lies outside the scan's field of view, or within 4 mm of its edge: (X, Y, Z) bool."""
    to_native = np.linalg.inv(native.affine) @ grid.affine
    margin = EDGE_MM / native.voxel_sizes_mm
    near = np.zeros(grid.shape, bool)
    steps = [np.arange(n) for n in grid.shape]
    for axis in range(3):
        row = to_native[axis]
        x, y, z = (row[k] * steps[k] for k in range(3))
        index = x[:, None, None] + y[None, :, None] + z[None, None, :] + row[3]
        near |= (index < margin[axis]) | (index > native.shape[axis] - 1 - margin[axis])
    return near


def _centroids(labels: np.ndarray, grid: Grid, names: tuple[str, ...], near_edge: np.ndarray) -> dict[str, np.ndarray]:
    """Centroids of structures that are whole: one cut by the field of view would pull the pose."""
    found = {}
    boxes = ndimage.find_objects(labels, max_label=len(names))
    for number, name in enumerate(names):
        box = boxes[number - 1]
        if name in NO_STRUCTURES or box is None:
            continue
        part = largest_component(labels[box] == number)
        if part.sum() * grid.voxel_volume_mm3 < MIN_STRUCTURE_MM3 or near_edge[box][part].mean() > MAX_CUT_SHARE:
            continue
        centre = np.argwhere(part).mean(0) + [s.start for s in box]
        found[name] = apply_affine(grid.affine, centre)
    return found
