"""What a delineation network says of a structure, in a region of the pose's frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bids_hypo.image.grid import Grid, box_grid
from bids_hypo.image.intensity import INTENSITY_RULES
from bids_hypo.image.resample import resample
from bids_hypo.image.slices import SLICE_AXES, stack_neighbours, through, through_slices, unstack
from bids_hypo.image.volume import Volume
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.segmentation.pose import Pose
from bids_hypo.structures import LEFT, Structure

SEEN = 0.05  # probability
SLICES_MARGIN_MM = 2.0  # what further folds look at beyond what the first one sees

Network = Callable[[np.ndarray], np.ndarray]


def structure_of(bundle: ModelBundle) -> Structure:
    """What a bundle measures.

    Raises
    ------
    ValueError
        If its role is another.
    """
    if bundle.structure is None:
        raise ValueError(f"{bundle.folder}: a bundle of role {bundle.role} measures no structure.")
    return bundle.structure


def is_without_sides(bundle: ModelBundle) -> bool:
    """Whether its network gives left and right as one, to be divided at the midplane."""
    return 2 * (len(bundle.labels) - 1) == len(structure_of(bundle).parts)


def region_grid(pose: Pose, bundle: ModelBundle) -> Grid:
    """The grid around a structure in the pose's frame.

    Parameters
    ----------
    pose : Pose
    bundle : ModelBundle
        ``constants["region_centre_mm"]`` is the centre in the pose template's frame.

    Returns
    -------
    Grid
        Axes: head's right, anterior, superior.
    """
    centre_mm = np.asarray(bundle.constants["region_centre_mm"], dtype=float)
    if is_without_sides(bundle):  # the region's middle must be the head's midplane
        centre_mm = centre_mm * [0.0, 1.0, 1.0]
    centre = pose.place(centre_mm)
    pre = bundle.preprocessing
    return box_grid(centre, pose.rotation, pre.shape, np.asarray(pre.spacing_mm))


def region_probabilities(
    volume: Volume, region: Grid, bundle: ModelBundle, networks: Sequence[Network], *, mirrored: bool = True
) -> np.ndarray:
    """Class probabilities in the region by each network (fold).

    A single network sees the image and its mirror image, and the two are averaged. Of several networks every other one
    sees the mirror image, the rest the image itself, so that their average favours neither side and each costs one
    pass. Further networks look only at the slices near what the first one sees; elsewhere they say background.

    Parameters
    ----------
    volume : Volume
        The scan on its own grid.
    region : Grid
        Made by `region_grid`, so that the middle of its first axis is the head's midplane.
    bundle : ModelBundle
    networks : sequence of callable
        Each (N, H, W, C) to (N, H, W, K): background, then the parts, or each pair of parts as one.
    mirrored : bool
        False leaves the mirror image out: less steady.

    Returns
    -------
    (F, X, Y, Z, 1 + P) float32
        For each network background, then the parts.
    """
    pre = bundle.preprocessing
    image = through_slices(
        INTENSITY_RULES[pre.intensity](resample(volume, region).data, pre.spacing_mm), pre.slice_axis
    )
    stack = stack_neighbours(image, pre.slice_offsets)
    views: list[tuple[bool, ...]] = [(False, True)] if len(networks) == 1 else [(False,), (True,)]
    if not mirrored:
        views = [(False,)]
    first = _seen_by(networks[0], stack, bundle, views[0])
    near = _slices_near_structure(first, float(region.voxel_sizes_mm[SLICE_AXES[pre.slice_axis][1]]))
    folds = [first]
    for number, network in enumerate(networks[1:], start=1):
        found = np.zeros_like(first)
        found[..., 0] = 1
        found[:, near] = _seen_by(network, stack[near], bundle, views[number % len(views)])
        folds.append(found)
    return np.stack([through_slices(fold, pre.slice_axis) for fold in folds])


def _seen_by(network: Network, stack: np.ndarray, bundle: ModelBundle, views: tuple[bool, ...]) -> np.ndarray:
    """Mean over the views (False: as it is, True: mirrored), slices (N, X, W, C) to (X, N, W, 1 + P)."""
    swapped = _mirrored_classes(bundle)
    images = np.concatenate([stack[:, ::-1] if mirrored else stack for mirrored in views])
    parts = np.split(through(network, images, bundle.preprocessing.slice_orientation), len(views))
    back = [part[:, ::-1][..., swapped] if mirrored else part for part, mirrored in zip(parts, views, strict=True)]
    found = unstack(sum(back[1:], back[0]) / len(back))
    return _divided_at_midplane(found, structure_of(bundle)) if is_without_sides(bundle) else found


def _mirrored_classes(bundle: ModelBundle) -> list[int]:
    """Which class of a mirror image stands for which class of the image, background first."""
    if is_without_sides(bundle):
        return list(range(len(bundle.labels)))
    return [0, *(position + 1 for position in structure_of(bundle).mirrored())]


def _slices_near_structure(first: np.ndarray, step_mm: float) -> slice:
    """Slices where the first network sees anything and `SLICES_MARGIN_MM` around them; all if it sees nothing."""
    seen = np.flatnonzero((first[..., 0] < 1 - SEEN).any(axis=(0, 2)))
    if not len(seen):
        return slice(None)
    margin = int(np.ceil(SLICES_MARGIN_MM / step_mm))
    return slice(max(int(seen[0]) - margin, 0), int(seen[-1]) + margin + 1)


def _divided_at_midplane(probabilities: np.ndarray, structure: Structure) -> np.ndarray:
    """Give a model without sides its left and right: (X, N, W, 1 + K) to (X, N, W, 1 + P).

    The midplane lies halfway along X. The classes stand for the kinds of parts in the order of the left ones.
    """
    n = probabilities.shape[0]
    left = np.clip(n / 2 - np.arange(n, dtype=np.float32), 0, 1)[:, None, None]  # an odd middle plane is shared
    kinds = [part.kind for part in structure.of(LEFT)]
    share = {True: left, False: 1 - left}
    parts = [probabilities[..., 1 + kinds.index(p.kind)] * share[p.hemisphere == LEFT] for p in structure.parts]
    return np.stack([probabilities[..., 0], *parts], axis=-1)
