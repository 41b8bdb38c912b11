"""Overlays of a scan's segmentation: the hypothalamus from near, the intracranial outline from afar."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage

from bids_hypo.image.grid import Grid, apply_affine, box_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume, write_bytes

LEFT_COLOUR, RIGHT_COLOUR, ICV_COLOUR = "#E69F00", "#56B4E9", "#F0E442"  # safe for colour-blind readers (Okabe-Ito)
CLOSE_MM, CLOSE_SPACING_MM = 48.0, 0.4
FAR_MM, FAR_SPACING_MM = 256.0, 1.6
N_CORONAL = 6
PLANES = {"coronal": 1, "sagittal": 0, "axial": 2}


def overlay_figure(volume: Volume, labels: np.ndarray, icv: np.ndarray, path: Path, title: str) -> None:
    """Draw the scan with outlines and write it as PNG.

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
    found = np.argwhere(labels > 0)
    centre = apply_affine(volume.affine, found.mean(axis=0))
    extent_mm = apply_affine(volume.affine, found)[:, 1]
    figure = Figure(figsize=(15, 8.2), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, N_CORONAL)
    _draw_close(axes, volume, labels, centre, float(extent_mm.min()), float(extent_mm.max()))
    _draw_far(axes[2], volume, icv)
    figure.suptitle(
        f"{title}   hypothalamus left (orange) and right (blue); intracranial volume (yellow); image left is the "
        "subject's left",
        color="white", fontsize=10,
    )  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, facecolor="black")
    write_bytes(path, buffer.getvalue())


def _draw_close(axes: np.ndarray, volume: Volume, labels: np.ndarray, centre: np.ndarray, back: float, front: float
                ) -> None:  # fmt: skip
    n = round(CLOSE_MM / CLOSE_SPACING_MM)
    grid = box_grid(centre, np.eye(3), (n, n, n), np.full(3, CLOSE_SPACING_MM))
    image = resample(volume, grid).data
    masks = [resample(Volume((labels == side).astype(np.float32), volume.affine), grid).data for side in (1, 2)]
    shown = (float(np.percentile(image, 1)), float(np.percentile(image, 99.7)))
    at = np.linspace(back + 1.0, front - 1.0, N_CORONAL)
    for ax, y in zip(axes[0], at, strict=True):
        _panel(ax, image, masks, "coronal", _index(grid, 1, y), shown, f"y {y:.0f} mm")
    offsets = {"sagittal": (-4.0, -2.0, 2.0, 4.0), "axial": (-3.0, 2.0)}
    panels = [(plane, d) for plane, ds in offsets.items() for d in ds]
    for ax, (plane, offset) in zip(axes[1], panels, strict=True):
        axis = PLANES[plane]
        _panel(ax, image, masks, plane, _index(grid, axis, centre[axis] + offset), shown, plane)


def _draw_far(axes: np.ndarray, volume: Volume, icv: np.ndarray) -> None:
    centre = apply_affine(volume.affine, np.array(ndimage.center_of_mass(icv)) if icv.any() else np.zeros(3))
    n = round(FAR_MM / FAR_SPACING_MM)
    grid = box_grid(centre, np.eye(3), (n, n, n), np.full(3, FAR_SPACING_MM))
    image = resample(volume, grid).data
    mask = [resample(Volume(icv.astype(np.float32), volume.affine), grid).data]
    shown = (0.0, float(np.percentile(image, 99.5)))
    wanted = [("coronal", -25), ("coronal", 0), ("coronal", 25), ("sagittal", 4), ("axial", -30), ("axial", 10)]
    for ax, (plane, offset) in zip(axes, wanted, strict=True):
        axis = PLANES[plane]
        _panel(ax, image, mask, plane, _index(grid, axis, centre[axis] + offset), shown, plane)


def _index(grid: Grid, axis: int, at_mm: float) -> int:
    place = (at_mm - grid.affine[axis, 3]) / grid.affine[axis, axis]
    return int(np.clip(round(place), 0, grid.shape[axis] - 1))


def _panel(
    ax: Axes, image: np.ndarray, masks: list[np.ndarray], plane: str, index: int, shown: tuple[float, float], text: str
) -> None:
    axis = PLANES[plane]
    section = image.take(index, axis=axis).T
    ax.imshow(section, cmap="gray", origin="lower", interpolation="bilinear", vmin=shown[0], vmax=shown[1])
    colours = (LEFT_COLOUR, RIGHT_COLOUR) if len(masks) == 2 else (ICV_COLOUR,)
    for mask, colour in zip(masks, colours, strict=True):
        plane_mask = mask.take(index, axis=axis).T
        if plane_mask.max() > 0.5:
            ax.contour(plane_mask, [0.5], colors=colour, linewidths=1.1)
    ax.set_axis_off()
    ax.set_title(text, color="white", fontsize=8, pad=2)
