"""The delineation network: left and right hypothalamus in a region of the pose's frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_hypo.errors import SegmentationError
from bids_hypo.image.grid import Grid, box_grid
from bids_hypo.image.intensity import INTENSITY_RULES
from bids_hypo.image.resample import resample, resample_probability
from bids_hypo.image.slices import stack_neighbours, through, unstack
from bids_hypo.image.volume import Volume
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.segment.cleanup import largest_component, volume_matched_mask
from bids_hypo.segment.pose import Pose

LEFT, RIGHT = 1, 2
MIN_SIDE_MM3 = 60.0
KEEP_WITHIN_MM = 2.0
SEEN = 0.05  # probability
SLICES_MARGIN_MM = 2.0  # what further folds look at beyond what the first one sees

Network = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Delineation:
    """The hypothalamus on the scan's own grid.

    Attributes
    ----------
    probability : (X, Y, Z, 2) float32
        Left and right.
    labels : (X, Y, Z) uint8
        0, 1 = left, 2 = right; as many voxels a side as its probabilities sum to.
    volumes_mm3 : (2,) tuple of float
        Left and right: voxels of ``labels`` times their volume.
    volume_sd_mm3 : (3,) tuple of float or None
        Standard deviation between the folds of left, right and both; None with a single fold.
    region : Grid
        Where the network looked.
    touches_border : bool
        Whether the structure reaches the edge of the region.
    """

    probability: np.ndarray
    labels: np.ndarray
    volumes_mm3: tuple[float, float]
    volume_sd_mm3: tuple[float, float, float] | None
    region: Grid
    touches_border: bool


def region_grid(pose: Pose, bundle: ModelBundle) -> Grid:
    """The grid around the hypothalamus in the pose's frame.

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
    if len(bundle.labels) == 2:  # a model without sides: the region's middle must be the head's midplane
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
        Each (N, H, W, C) to (N, H, W, K), K = 3 (background, left, right) or 2 (background, both sides).
    mirrored : bool
        False leaves the mirror image out: less steady.

    Returns
    -------
    (F, X, Y, Z, 3) float32
        For each network background, left, right.
    """
    pre = bundle.preprocessing
    image = INTENSITY_RULES[pre.intensity](resample(volume, region).data)
    stack = stack_neighbours(image, pre.slice_offsets)
    views: list[tuple[bool, ...]] = [(False, True)] if len(networks) == 1 else [(False,), (True,)]
    if not mirrored:
        views = [(False,)]
    first = _seen_by(networks[0], stack, pre.slice_orientation, views[0])
    near = _slices_near_structure(first, region)
    folds = [first]
    for number, network in enumerate(networks[1:], start=1):
        found = np.zeros_like(first)
        found[..., 0] = 1
        found[:, near] = _seen_by(network, stack[near], pre.slice_orientation, views[number % len(views)])
        folds.append(found)
    return np.stack(folds)


def _seen_by(network: Network, stack: np.ndarray, code: str, views: tuple[bool, ...]) -> np.ndarray:
    """Mean over the views (False: as it is, True: mirrored), (Y, X, Z, C) to (X, Y, Z, 3)."""
    images = np.concatenate([stack[:, ::-1] if mirrored else stack for mirrored in views])
    parts = np.split(through(network, images, code), len(views))
    back = [_mirrored_back(part) if mirrored else part for part, mirrored in zip(parts, views, strict=True)]
    found = unstack(sum(back[1:], back[0]) / len(back))
    return found if found.shape[-1] == 3 else _divided_at_midplane(found)


def _mirrored_back(part: np.ndarray) -> np.ndarray:
    flipped = part[:, ::-1]
    return flipped[..., [0, RIGHT, LEFT]] if flipped.shape[-1] == 3 else flipped


def _slices_near_structure(first: np.ndarray, region: Grid) -> slice:
    """Slices where the first network sees anything and `SLICES_MARGIN_MM` around them; all if it sees nothing."""
    seen = np.flatnonzero((first[..., 0] < 1 - SEEN).any(axis=(0, 2)))
    if not len(seen):
        return slice(None)
    margin = int(np.ceil(SLICES_MARGIN_MM / region.voxel_sizes_mm[1]))
    return slice(max(int(seen[0]) - margin, 0), int(seen[-1]) + margin + 1)


def _divided_at_midplane(probabilities: np.ndarray) -> np.ndarray:
    """Give a model without sides its left and right: (X, Y, Z, 2) to (X, Y, Z, 3), the midplane halfway along X."""
    n = probabilities.shape[0]
    left = np.clip(n / 2 - np.arange(n, dtype=np.float32), 0, 1)[:, None, None]  # an odd middle plane is shared
    both = probabilities[..., 1]
    return np.stack([probabilities[..., 0], both * left, both * (1 - left)], axis=-1)


def delineate(folds: np.ndarray, region: Grid, native: Grid, *, what: str = "scan") -> Delineation:
    """Average the folds, clean the probabilities and bring them onto the scan's own grid.

    Parameters
    ----------
    folds : (F, X, Y, Z, 3) float
        On ``region``, of each fold: background, left, right.
    region, native : Grid
    what : str
        Named in errors.

    Returns
    -------
    Delineation

    Raises
    ------
    SegmentationError
        If a side is missing.
    """
    kept = clean_region(folds.mean(axis=0), region, what=what)
    touches = _touches_border(kept)
    near, box = resample_probability(kept, region.affine, native)
    np.clip(near, 0, 1, out=near)
    labels = np.zeros(native.shape, np.uint8)
    volumes = []
    for side in range(2):
        own = near[..., side] * _ahead(near, side)
        mask, volume = volume_matched_mask(own, near[..., side], native.voxel_volume_mm3)
        labels[box][mask] = side + 1
        volumes.append(volume)
    probability = np.zeros((*native.shape, 2), np.float32, order="F")  # as it will lie in the file
    probability[box] = near
    spread = fold_spread_mm3(folds, kept > 0, region)
    return Delineation(probability, labels, (volumes[0], volumes[1]), spread, region, touches)


def fold_spread_mm3(folds: np.ndarray, near: np.ndarray, region: Grid) -> tuple[float, float, float] | None:
    """Standard deviation over the folds of the left, right and whole volume, None with a single fold.

    Parameters
    ----------
    folds : (F, X, Y, Z, 3) float
    near : (X, Y, Z, 2) bool
        Where the structure's probabilities count, by the average of the folds.
    region : Grid
    """
    if len(folds) < 2:
        return None
    sides = (folds[..., 1:] * near).sum(axis=(1, 2, 3), dtype=np.float64) * region.voxel_volume_mm3
    left, right = sides.std(axis=0, ddof=1)
    return float(left), float(right), float(sides.sum(axis=1).std(ddof=1))


def clean_region(probabilities: np.ndarray, region: Grid, *, what: str = "scan") -> np.ndarray:
    """Keep, for each side, the largest component above 0.5 and the probabilities within 2 mm of it.

    Returns
    -------
    (X, Y, Z, 2) float32

    Raises
    ------
    SegmentationError
        If a side has less than 60 mm3.
    """
    kept = np.zeros((*probabilities.shape[:3], 2), np.float32)
    spacing = region.voxel_sizes_mm
    for side, name in ((0, "left"), (1, "right")):
        core = largest_component(probabilities[..., side + 1] > 0.5)
        volume_mm3 = float(core.sum()) * region.voxel_volume_mm3
        if volume_mm3 < MIN_SIDE_MM3:
            raise SegmentationError(
                f"{what}: the {name} hypothalamus was not found (best candidate {volume_mm3:.0f} mm3, expected at "
                f"least {MIN_SIDE_MM3:.0f}). Look at the scan: is the region in the image, and is it T1w?"
            )
        near = ndimage.distance_transform_edt(~core, sampling=spacing) <= KEEP_WITHIN_MM
        kept[..., side] = np.where(near, probabilities[..., side + 1], 0)
    return kept


def _ahead(probability: np.ndarray, side: int) -> np.ndarray:
    """Where a side is the likelier one; a tie goes to the left, so that no voxel has two labels."""
    left, right = probability[..., 0], probability[..., 1]
    return left >= right if side == 0 else right > left


def _touches_border(kept: np.ndarray) -> bool:
    inside = kept.max(-1) > 0.5
    return any(bool(inside.take(i, axis=a).any()) for a in range(3) for i in (0, -1))
