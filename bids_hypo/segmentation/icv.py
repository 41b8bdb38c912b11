"""The intracranial volume on the scan's own grid, also by a model of its own such as that of Vernikouskaya 2023."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from bids_hypo.errors import SegmentationError
from bids_hypo.image.grid import Grid, apply_affine, box_grid
from bids_hypo.image.intensity import INTENSITY_RULES
from bids_hypo.image.resample import resample, resample_probability
from bids_hypo.image.slices import stack_neighbours, through
from bids_hypo.image.volume import Volume
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.segmentation.cleanup import fill_holes, largest_component
from bids_hypo.segmentation.pose import Pose

POSSIBLE_MM3 = (0.5e6, 3.5e6)
SLAB = 32  # slices in memory at a time: such models work on fine grids of the whole head

Network = Callable[[np.ndarray], np.ndarray]


def native_icv(probability: np.ndarray, grid: Grid, native: Grid, *, threshold: float = 0.5) -> np.ndarray:
    """The intracranial volume on the scan's own grid: what is probable enough, largest component, holes filled.

    Parameters
    ----------
    probability : (X, Y, Z) float
    grid, native : Grid
        Of the probability, and of the scan.
    threshold : float
        Probability above which a voxel may be inside; see `bids_hypo.segmentation.anatomy.icv_threshold`.

    Returns
    -------
    (X, Y, Z) bool
    """
    values, box = resample_probability(probability, grid.affine, native, threshold=0.3)
    mask = np.zeros(native.shape, bool)
    mask[box] = fill_holes(largest_component(values > threshold))
    return mask


def icv_by_own_model(
    volume: Volume, pose: Pose, about: np.ndarray, bundle: ModelBundle, network: Network
) -> np.ndarray:
    """Segment the intracranial volume on coronal slices of the head's own frame.

    Parameters
    ----------
    volume : Volume
        The scan on its own grid.
    pose : Pose
    about : (X, Y, Z) bool
        The intracranial volume as the anatomy network sees it, on the scan's grid; the slices are laid around its
        centre, if the bundle does not say where.
    bundle : ModelBundle
        Classes: background, intracranial. ``constants`` may have the ``region_centre_mm`` in the pose template's frame.
    network : callable
        (N, H, W, C) to (N, H, W, 2).

    Returns
    -------
    (X, Y, Z) bool
        On the scan's own grid.
    """
    pre = bundle.preprocessing
    if (where := bundle.constants.get("region_centre_mm")) is not None:
        centre = pose.place(where)
    else:
        centre = apply_affine(volume.affine, np.array(ndimage.center_of_mass(about)))
    grid: Grid = box_grid(centre, pose.rotation, pre.shape, np.asarray(pre.spacing_mm))
    image = INTENSITY_RULES[pre.intensity](resample(volume, grid).data, pre.spacing_mm)
    probability = np.empty(grid.shape, np.float32)
    for start in range(0, grid.shape[1], SLAB):
        wanted = np.arange(start, min(start + SLAB, grid.shape[1]))
        found = through(network, stack_neighbours(image, pre.slice_offsets, wanted), pre.slice_orientation)
        probability[:, wanted] = np.moveaxis(found[..., 1], 0, 1)
    return native_icv(probability, grid, volume.grid)


def check_possible(icv_mm3: float, native: Grid, *, cut: bool, what: str = "scan") -> None:
    """Refuse what no head holds: the size of an apple or a melon points to wrong voxel sizes.

    Parameters
    ----------
    icv_mm3 : float
        Of the mask, also where it is no measurement (skull-stripped).
    native : Grid
    cut : bool
        Whether the image ends inside the skull; then any small volume is possible.
    what : str

    Raises
    ------
    SegmentationError
    """
    low, high = POSSIBLE_MM3
    if icv_mm3 > high or (icv_mm3 < low and not cut):
        sizes = " x ".join(f"{size:.2f}" for size in native.voxel_sizes_mm)
        raise SegmentationError(
            f"{what}: by its header the head holds {icv_mm3 / 1e6:.2f} litres; expected {low / 1e6:g} to "
            f"{high / 1e6:g}. Are voxels of {sizes} mm right (pixdim, sform, qform)?"
        )
