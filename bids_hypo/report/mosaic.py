"""Mosaics: slices through the hypothalamus and the head, each a grey picture and a layer of outlines over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours

from bids_hypo.image.grid import Grid, Shape, apply_affine, bounding_box, box_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume

LEFT, RIGHT, ICV = "left", "right", "icv"
COLOURS = {LEFT: "#E69F00", RIGHT: "#56B4E9", ICV: "#F0E442"}  # safe for colour-blind readers (Okabe and Ito)
SAGITTAL, CORONAL, AXIAL = 0, 1, 2
CLOSE_MM, CLOSE_SPACING_MM = 40.0, 0.22
FAR_MM, FAR_SPACING_MM = 220.0, 1.1
_FRONT_AND_BACK_MM = 1.0  # a slice beyond each end, to see that nothing is left out
_TOLERANCE_SHARE = 0.25  # of a pixel: how far an outline may be simplified
_NO_AXES = np.eye(3)


@dataclass(frozen=True)
class Panel:
    """One slice to draw.

    Attributes
    ----------
    plane : int
        0 sagittal, 1 coronal, 2 axial.
    centre_mm : (3,) float, RAS mm
    label : str
        Where it lies, to be written into it.
    """

    plane: int
    centre_mm: np.ndarray
    label: str


@dataclass(frozen=True)
class Tile:
    """A slice, drawn.

    Attributes
    ----------
    panel : Panel
    grey : (N, N) uint8
        First row at the bottom (superior is up, anterior is up on axial slices), the subject's left on the left,
        anterior on the right of sagittal slices.
    outlines : dict of str to list of (M, 2) float
        For each structure its closed outlines: mm from the left and from the bottom of the tile.
    size_mm : float
        Edge of the tile.
    """

    panel: Panel
    grey: np.ndarray
    outlines: dict[str, list[np.ndarray]]
    size_mm: float


@dataclass(frozen=True)
class Mosaic:
    """Tiles of one kind.

    Attributes
    ----------
    name : str
        ``coronal``, ``sagittal``, ``axial`` or ``head``.
    tiles : tuple of Tile
    """

    name: str
    tiles: tuple[Tile, ...]


def make_mosaics(volume: Volume, parts: Mapping[str, Volume], axes: np.ndarray = _NO_AXES) -> list[Mosaic]:
    """Cut and outline the slices of a scan.

    Parameters
    ----------
    volume : Volume
        The scan on its own grid.
    parts : mapping of str to Volume
        By `structures`; at least one voxel of the hypothalamus.
    axes : (3, 3) float
        Columns are the head's right, anterior and superior directions in RAS; the scanner's if they are not known.

    Returns
    -------
    list of Mosaic
        Coronal, sagittal and axial through the hypothalamus, then the head.
    """
    sides, head = {side: parts[side] for side in (LEFT, RIGHT)}, parts[ICV]
    near = _near_panels(list(sides.values()), axes)
    curve = _spline(volume, near[0][1][0].centre_mm)
    close = [(name, [_tile(curve, sides, p, axes) for p in panels]) for name, panels in near]
    centre = head.grid.centre_mm() if head.data.any() else volume.grid.centre_mm()
    far = [_tile(volume, {ICV: head}, p, axes, size_mm=FAR_MM, spacing_mm=FAR_SPACING_MM)
           for p in _far_panels(centre, axes)]  # fmt: skip
    near_range = _range([_middle(grey) for _, tiles in close for _, grey, _ in tiles], (3, 99.5))
    far_range = _range([grey for _, grey, _ in far], (0.5, 99.7))
    mosaics = [Mosaic(name, tuple(_finish(t, near_range, CLOSE_MM) for t in tiles)) for name, tiles in close]
    return [*mosaics, Mosaic("head", tuple(_finish(t, far_range, FAR_MM) for t in far))]


def structures(labels: np.ndarray, icv: np.ndarray, affine: np.ndarray) -> dict[str, Volume]:
    """The masks of a scan, each cut out as a volume of its own, so that resampling it costs little.

    Parameters
    ----------
    labels : (X, Y, Z) int
        1 left, 2 right hypothalamus.
    icv : (X, Y, Z) bool
    affine : (4, 4) float, voxel to RAS mm

    Returns
    -------
    dict of str to Volume
        ``left``, ``right``, ``icv``; a mask without voxels is a small empty volume.
    """
    near = _cut(Volume(labels, affine), bounding_box(labels))
    whole = Volume(icv, affine)
    return {LEFT: _in_box(near, near.data == 1), RIGHT: _in_box(near, near.data == 2), ICV: _in_box(whole, icv)}


def voxels_mm(sides: Sequence[Volume]) -> np.ndarray:
    """Centres of the voxels of `structures`: (n, 3) float, RAS mm."""
    return np.concatenate([apply_affine(side.affine, np.argwhere(side.data)) for side in sides])


def _in_box(volume: Volume, mask: np.ndarray) -> Volume:
    """The box of a mask, with two empty voxels around it."""
    box = bounding_box(mask)
    if box[0].stop == 0:
        return Volume(np.zeros((2, 2, 2), np.float32), volume.affine)
    found = _cut(Volume(mask, volume.affine), box)
    affine = found.affine.copy()
    affine[:3, 3] = apply_affine(affine, np.full(3, -2))
    return Volume(np.pad(found.data.astype(np.float32), 2), affine)


def _cut(volume: Volume, box: tuple[slice, ...]) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] = apply_affine(volume.affine, np.array([s.start for s in box]))
    return Volume(volume.data[box], affine)


def _near_panels(sides: Sequence[Volume], axes: np.ndarray) -> list[tuple[str, list[Panel]]]:
    points = voxels_mm(sides) @ axes
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    back, front = points[:, 1].min() - _FRONT_AND_BACK_MM, points[:, 1].max() + _FRONT_AND_BACK_MM
    lateral = np.percentile(np.abs(points[:, 0] - centre[0]), [35, 80])
    low, high = np.percentile(points[:, 2], [10, 90])
    steps = {
        "coronal": (CORONAL, np.linspace(back, front, 8)),
        "sagittal": (SAGITTAL, centre[0] + np.array([-lateral[1], -lateral[0], lateral[0], lateral[1]])),
        "axial": (AXIAL, np.linspace(low, high, 4)),
    }
    return [
        (name, [_panel(centre, plane, float(at - centre[plane]), axes) for at in places])
        for name, (plane, places) in steps.items()
    ]


def _far_panels(centre_mm: np.ndarray, axes: np.ndarray) -> list[Panel]:
    centre = centre_mm @ axes
    steps = [(CORONAL, -40.0), (CORONAL, 0.0), (CORONAL, 40.0), (SAGITTAL, -30.0), (SAGITTAL, 3.0), (AXIAL, -35.0),
             (AXIAL, 0.0), (AXIAL, 30.0)]  # fmt: skip
    return [_panel(centre, plane, step, axes) for plane, step in steps]


def _panel(centre: np.ndarray, plane: int, step_mm: float, axes: np.ndarray) -> Panel:
    """A panel at a distance from a centre that is given in the head's frame."""
    direction = (("left", "right"), ("behind", "in front"), ("below", "above"))[plane][step_mm > 0]
    where = f"{abs(step_mm):.1f} mm {direction}" if abs(step_mm) >= 0.05 else "middle"
    return Panel(plane, axes @ (centre + np.eye(3)[plane] * step_mm), where)


def _spline(volume: Volume, centre_mm: np.ndarray) -> Volume:
    """Cubic spline coefficients of the surroundings of the hypothalamus: smooth slices at little cost."""
    radius = CLOSE_MM / np.sqrt(2) + 14.0
    index = apply_affine(np.linalg.inv(volume.affine), centre_mm)
    reach = radius / volume.grid.voxel_sizes_mm
    low = np.clip(np.floor(index - reach), 0, None).astype(int)
    high = np.minimum(np.ceil(index + reach).astype(int) + 1, volume.data.shape)
    near = _cut(volume, tuple(slice(a, b) for a, b in zip(low, high, strict=True)))
    return Volume(ndimage.spline_filter(near.data.astype(np.float32), order=3, output=np.float32), near.affine)


def _tile(
    source: Volume, parts: Mapping[str, Volume], panel: Panel, axes: np.ndarray, *, size_mm: float = CLOSE_MM,
    spacing_mm: float = CLOSE_SPACING_MM,
) -> tuple[Panel, np.ndarray, dict[str, list[np.ndarray]]]:  # fmt: skip
    """Slice and outlines; near slices come from spline coefficients, those of the head from the image itself."""
    grid = _slice_grid(panel, axes, size_mm, spacing_mm)
    matrix = np.linalg.inv(source.affine) @ grid.affine
    order = 3 if size_mm == CLOSE_MM else 1
    values = ndimage.affine_transform(
        source.data, matrix[:3, :3], matrix[:3, 3], output_shape=grid.shape, order=order, prefilter=False
    )
    outlines = {name: outlines_of(resample(part, grid).data.squeeze(), spacing_mm) for name, part in parts.items()}
    return panel, values.squeeze().T, outlines


def _slice_grid(panel: Panel, axes: np.ndarray, size_mm: float, spacing_mm: float) -> Grid:
    n = round(size_mm / spacing_mm)
    shape: Shape = (1 if panel.plane == 0 else n, 1 if panel.plane == 1 else n, 1 if panel.plane == 2 else n)
    return box_grid(panel.centre_mm, axes, shape, np.full(3, spacing_mm))


def outlines_of(values: np.ndarray, spacing_mm: float) -> list[np.ndarray]:
    """Closed lines where an interpolated mask crosses one half.

    Parameters
    ----------
    values : (N, N) float
        0 to 1; axes to the right and upwards.
    spacing_mm : float

    Returns
    -------
    list of (M, 2) float
        mm from the left and from the bottom; the last point is the first.
    """
    if values.max() <= 0.5:
        return []
    padded = np.pad(values, 1)  # closed outlines also where a mask ends at the edge of the tile
    lines = (approximate_polygon(line, _TOLERANCE_SHARE) for line in find_contours(padded, 0.5))
    return [(line - 1 + 0.5) * spacing_mm for line in lines if len(line) > 3]


def _middle(picture: np.ndarray) -> np.ndarray:
    """The middle 60 % of a picture, so that its grey levels serve the structure and not fat or vessels far off."""
    edge = picture.shape[0] // 5
    return picture[edge:-edge, edge:-edge]


def _range(pictures: Sequence[np.ndarray], percentiles: tuple[float, float]) -> tuple[float, float]:
    values = np.concatenate([p[p > 0] for p in pictures])
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, percentiles)
    return float(low), float(max(high, low + 1e-6))


def _finish(
    tile: tuple[Panel, np.ndarray, dict[str, list[np.ndarray]]], window: tuple[float, float], size_mm: float
) -> Tile:
    panel, values, outlines = tile
    low, high = window
    grey = np.clip((values - low) / (high - low), 0, 1) * 255
    return Tile(panel, np.round(grey).astype(np.uint8), outlines, size_mm)
