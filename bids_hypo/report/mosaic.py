"""Mosaics: slices through a structure and the head, each a grey picture and a layer of outlines over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from skimage.measure import approximate_polygon, find_contours

from bids_hypo.image.grid import Grid, Shape, box_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume
from bids_hypo.report.cutting import grey_levels, grey_window, near_spline, sample_linear, sample_spline
from bids_hypo.report.drawn import DrawnPart, voxels_mm
from bids_hypo.structures import LEFT, RIGHT

SAGITTAL, CORONAL, AXIAL = 0, 1, 2
CLOSE_STEPS = 182  # pixels of a close slice
FAR_MM, FAR_SPACING_MM = 220.0, 1.1
_EMPTY_VIEW_MM = 170.0
_AROUND_MM = 14.0  # beyond the corner of a slice: the border of a spline is not used
_FRONT_AND_BACK_MM = 1.0  # a slice beyond each end, to see that nothing is left out
_TOLERANCE_SHARE = 0.25  # of a pixel: how far an outline may be simplified
_NO_AXES = np.eye(3)


@dataclass(frozen=True)
class Outline:
    """The outline of a part in a slice.

    Attributes
    ----------
    key, colour : str
    lines : list of (M, 2) float
        Closed: mm from the left and from the bottom of the tile.
    """

    key: str
    colour: str
    lines: list[np.ndarray]


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
    outlines : tuple of Outline
    size_mm : float
        Edge of the tile.
    """

    panel: Panel
    grey: np.ndarray
    outlines: tuple[Outline, ...]
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


def structure_mosaics(
    volume: Volume, parts: Sequence[DrawnPart], size_mm: float, axes: np.ndarray = _NO_AXES
) -> list[Mosaic]:
    """Cut and outline slices through a structure.

    Parameters
    ----------
    volume : Volume
        The scan on its own grid.
    parts : sequence of DrawnPart
        By `bids_hypo.report.drawn.drawn_parts`. Where none has a voxel, because nothing was found, the middle of the
        head is shown, to look for it.
    size_mm : float
        Edge of the tiles.
    axes : (3, 3) float
        Columns are the head's right, anterior and superior directions in RAS; the scanner's if they are not known.

    Returns
    -------
    list of Mosaic
        Coronal, sagittal and axial.
    """
    empty = not any(part.mask.data.any() for part in parts)
    size_mm = max(size_mm, _EMPTY_VIEW_MM) if empty else size_mm
    spacing_mm = size_mm / CLOSE_STEPS
    panels = _panels_about(volume, axes) if empty else _near_panels(parts, axes)
    curve = near_spline(volume, panels[0][1][0].centre_mm, size_mm / np.sqrt(2) + _AROUND_MM)
    tiles = {
        name: [_tile(lambda grid: sample_spline(curve, grid), parts, p, axes, size_mm, spacing_mm) for p in of_plane]
        for name, of_plane in panels
    }
    window = grey_window([_middle(grey) for some in tiles.values() for _, grey, _ in some], (3, 99.5))
    return [Mosaic(name, tuple(_finish(t, window, size_mm) for t in some)) for name, some in tiles.items()]


def head_mosaic(volume: Volume, parts: Sequence[DrawnPart], axes: np.ndarray = _NO_AXES) -> Mosaic:
    """Cut slices through the head and outline parts in them; see `structure_mosaics`."""
    inside = [part.mask for part in parts if part.mask.data.any()]
    centre = (inside[0] if inside else volume).grid.centre_mm()
    far = [_tile(lambda grid: sample_linear(volume, grid), parts, p, axes, FAR_MM, FAR_SPACING_MM)
           for p in _far_panels(centre, axes)]  # fmt: skip
    window = grey_window([grey for _, grey, _ in far], (0.5, 99.7))
    return Mosaic("head", tuple(_finish(t, window, FAR_MM) for t in far))


def _near_panels(parts: Sequence[DrawnPart], axes: np.ndarray) -> list[tuple[str, list[Panel]]]:
    """Slices through a structure: so many of each plane that every part is cut."""
    points = voxels_mm(parts) @ axes
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    back, front = points[:, 1].min() - _FRONT_AND_BACK_MM, points[:, 1].max() + _FRONT_AND_BACK_MM
    low, high = np.percentile(points[:, 2], [10, 90])
    return _panels(centre, (back, front), _lateral(parts, axes, float(centre[0])), (low, high), axes)


def _panels_about(volume: Volume, axes: np.ndarray) -> list[tuple[str, list[Panel]]]:
    """Slices through the middle of a head."""
    centre = volume.grid.centre_mm() @ axes
    around = ((centre[k] - mm, centre[k] + mm) for k, mm in ((1, 60.0), (2, 40.0)))
    return _panels(centre, next(around), (8.0, 25.0), next(around), axes)


def _panels(
    centre: np.ndarray, along: tuple[float, float], lateral: tuple[float, float], up: tuple[float, float],
    axes: np.ndarray,
) -> list[tuple[str, list[Panel]]]:  # fmt: skip
    (back, front), (low, high) = along, up
    steps = {
        "coronal": (CORONAL, np.linspace(back, front, 8)),
        "sagittal": (SAGITTAL, centre[0] + np.array([-lateral[1], -lateral[0], *lateral])),
        "axial": (AXIAL, np.linspace(low, high, 4)),
    }
    return [
        (name, [_panel(centre, plane, float(at - centre[plane]), axes) for at in places])
        for name, (plane, places) in steps.items()
    ]


def _lateral(parts: Sequence[DrawnPart], axes: np.ndarray, middle: float) -> tuple[float, float]:
    """How far from the middle the inner and the outer sagittal slices lie, mm."""
    sides = [part for part in parts if part.hemisphere in (LEFT, RIGHT) and part.mask.data.any()]
    between = [part for part in parts if part.hemisphere not in (LEFT, RIGHT) and part.mask.data.any()]

    def away(some: Sequence[DrawnPart], percent: int) -> float:
        return float(np.percentile(np.abs((voxels_mm(some) @ axes)[:, 0] - middle), percent))

    if sides and between:  # one slice through each side, two through what lies between them
        return away(between, 35), away(sides, 50)
    return away(parts, 35), away(parts, 80)


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


def _tile(
    cut: Callable[[Grid], np.ndarray], parts: Sequence[DrawnPart], panel: Panel, axes: np.ndarray, size_mm: float,
    spacing_mm: float,
) -> tuple[Panel, np.ndarray, tuple[Outline, ...]]:  # fmt: skip
    """A slice of the image, by a function that samples it on a grid, and the outlines in it."""
    grid = _slice_grid(panel, axes, size_mm, spacing_mm)
    outlines = tuple(
        Outline(part.key, part.colour, outlines_of(resample(part.mask, grid).data.squeeze(), spacing_mm))
        for part in parts
    )
    return panel, cut(grid).squeeze().T, outlines


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


def _finish(tile: tuple[Panel, np.ndarray, tuple[Outline, ...]], window: tuple[float, float], size_mm: float) -> Tile:
    panel, values, outlines = tile
    return Tile(panel, grey_levels(values, window), outlines, size_mm)
