"""Overlays of a scan's segmentation: the hypothalamus from near, the intracranial outline from afar."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage

from bids_hypo.image.grid import Grid, Shape, apply_affine, box_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume, write_bytes

LEFT_COLOUR, RIGHT_COLOUR, ICV_COLOUR = "#E69F00", "#56B4E9", "#F0E442"  # safe for colour-blind readers (Okabe-Ito)
CLOSE_MM, CLOSE_SPACING_MM = 46.0, 0.35
FAR_MM, FAR_SPACING_MM = 240.0, 1.8
N_PANELS = 6
SAGITTAL, CORONAL, AXIAL = 0, 1, 2


@dataclass(frozen=True)
class Panel:
    """A slice to draw.

    Attributes
    ----------
    axis : int
        0 sagittal, 1 coronal, 2 axial.
    centre_mm : (3,) float, RAS mm
    """

    axis: int
    centre_mm: np.ndarray


def overlay_figure(volume: Volume, labels: np.ndarray, icv: np.ndarray, path: Path, title: str) -> None:
    """Draw the scan with outlines and write it as PNG.

    The first row shows coronal slices from back to front, the second sagittal (left side, right side) and axial ones;
    the third the whole head.

    Parameters
    ----------
    volume : Volume
        The scan on its own grid.
    labels : (X, Y, Z) uint8
        1 left, 2 right hypothalamus.
    icv : (X, Y, Z) bool
    path : Path
    title : str
    """
    sides = [_part(volume, labels == side) for side in (1, 2)]
    figure = Figure(figsize=(13.2, 7.2), facecolor="black")
    FigureCanvasAgg(figure)
    near = _near_panels(volume, labels)
    for row, panels in enumerate((near[:N_PANELS], near[N_PANELS:])):
        _draw(_row_axes(figure, row), volume, sides, (LEFT_COLOUR, RIGHT_COLOUR), panels, CLOSE_MM, CLOSE_SPACING_MM)
    head = _part(volume, icv)
    _draw(_row_axes(figure, 2), volume, [head], (ICV_COLOUR,), _far_panels(head), FAR_MM, FAR_SPACING_MM)
    figure.text(
        0.5, 0.985, f"{title}: hypothalamus left (orange), right (blue); intracranial volume (yellow); "
        "the subject's left is on the left", color="white", fontsize=9, ha="center", va="top",
    )  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, facecolor="black", pil_kwargs={"compress_level": 3})
    write_bytes(path, buffer.getvalue())


def _part(volume: Volume, mask: np.ndarray) -> Volume:
    """The box of a mask as a volume of its own, so that resampling it costs little."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return Volume(np.zeros((2, 2, 2), np.float32), volume.affine)
    box = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in found[0])
    affine = volume.affine.copy()
    affine[:3, 3] = apply_affine(volume.affine, np.array([s.start for s in box]))
    return Volume(mask[box].astype(np.float32), affine)


def _near_panels(volume: Volume, labels: np.ndarray) -> list[Panel]:
    points = apply_affine(volume.affine, np.argwhere(labels > 0))
    centre = points.mean(axis=0)
    back, front = np.percentile(points[:, 1], [2, 98])
    coronal = [Panel(CORONAL, np.array([centre[0], y, centre[2]])) for y in np.linspace(back, front, N_PANELS)]
    steps = [(SAGITTAL, -4.0), (SAGITTAL, -2.5), (SAGITTAL, 2.5), (SAGITTAL, 4.0), (AXIAL, -3.0), (AXIAL, 2.0)]
    return coronal + [Panel(axis, centre + np.eye(3)[axis] * step) for axis, step in steps]


def _far_panels(head: Volume) -> list[Panel]:
    centre = head.grid.centre_mm()
    steps = [(CORONAL, -30.0), (CORONAL, 0.0), (CORONAL, 30.0), (SAGITTAL, 5.0), (AXIAL, -30.0), (AXIAL, 15.0)]
    return [Panel(axis, centre + np.eye(3)[axis] * step) for axis, step in steps]


def _row_axes(figure: Figure, row: int) -> Axes:
    return figure.add_axes((0.0, (2 - row) * 0.318, 1.0, 0.316))


def _draw(
    ax: Axes, volume: Volume, masks: list[Volume], colours: Sequence[str], panels: Sequence[Panel], mm: float,
    spacing_mm: float,
) -> None:  # fmt: skip
    """Draw a row of panels as one picture: far quicker than an axes for each."""
    grids = [_slice_grid(panel, mm, spacing_mm) for panel in panels]
    image = _side_by_side(volume, grids)
    low, high = np.percentile(image[image > 0], [1, 99.7]) if (image > 0).any() else (0, 1)
    ax.imshow(image, cmap="gray", origin="lower", interpolation="bilinear", vmin=low, vmax=high, aspect="equal")
    for mask, colour in zip(masks, colours, strict=True):
        outline = _side_by_side(mask, grids)
        if outline.max() > 0.5:
            ax.contour(outline, [0.5], colors=colour, linewidths=1.1)
    ax.set_axis_off()


def _slice_grid(panel: Panel, mm: float, spacing_mm: float) -> Grid:
    n = round(mm / spacing_mm)
    shape: Shape = (1 if panel.axis == 0 else n, 1 if panel.axis == 1 else n, 1 if panel.axis == 2 else n)
    return box_grid(panel.centre_mm, np.eye(3), shape, np.full(3, spacing_mm))


def _side_by_side(volume: Volume, grids: Sequence[Grid]) -> np.ndarray:
    return np.hstack([resample(volume, grid).data.squeeze().T for grid in grids])
