"""Outlines of the truth and of a prediction on slices of the scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bids_hypo.image.grid import Grid, apply_affine, as_shape, box_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume

TRUTH_COLOUR, FOUND_COLOUR = "#F0E442", "#56B4E9"
_LEAST_WIDTH_MM, _MARGIN_MM = 44.0, 10.0
_VOXELS = 110  # along an edge of a slice
_N_CORONAL = 4
_TITLE_INCH = 0.26
_SAGITTAL, _CORONAL, _AXIAL = 0, 1, 2


@dataclass(frozen=True)
class OutlineCase:
    """A scan to draw.

    Attributes
    ----------
    title : str
    truth, found : Volume
        Masks on one grid.
    image : Volume or None
        The scan; outlines stand on grey without it.
    """

    title: str
    truth: Volume
    found: Volume
    image: Volume | None


def outline_figure(cases: Sequence[OutlineCase]) -> Figure:
    """One row a case: four coronal slices from back to front, two sagittal (left, right), one axial.

    Parameters
    ----------
    cases : sequence of OutlineCase

    Returns
    -------
    Figure
        Truth yellow, prediction blue; wide enough for both, 44 mm at least; the subject's left is on the left.
    """
    n = _N_CORONAL + 3
    figure = Figure(figsize=(2.0 * n, (2.0 + _TITLE_INCH) * len(cases)), facecolor="black")
    panels = figure.subplots(len(cases), n, squeeze=False)
    share = _TITLE_INCH / (2.0 + _TITLE_INCH)
    figure.subplots_adjust(left=0, right=1, top=1 - share / len(cases), bottom=0, wspace=0.01, hspace=_TITLE_INCH / 2.0)
    for row, case in zip(panels, cases, strict=True):
        _draw_row(row, case)
        row[0].set_title(case.title, color="white", fontsize=10, loc="left", pad=3, x=0.02)
    return figure


def _slices(case: OutlineCase) -> list[Grid]:
    points = np.concatenate([_points_mm(case.truth), _points_mm(case.found)])
    centre = points.mean(axis=0)
    back, front = np.percentile(points[:, 1], [8, 92])
    at = [(_CORONAL, y) for y in np.linspace(back, front, _N_CORONAL)]
    aside = float(np.median(np.abs(points[:, 0] - centre[0])))
    at += [(_SAGITTAL, centre[0] - aside), (_SAGITTAL, centre[0] + aside), (_AXIAL, centre[2])]
    width = max(_LEAST_WIDTH_MM, float((points.max(axis=0) - points.min(axis=0)).max()) + 2 * _MARGIN_MM)
    grids = []
    for normal, position in at:
        middle = centre.copy()
        middle[normal] = position
        shape = as_shape(1 if k == normal else _VOXELS for k in range(3))
        grids.append(box_grid(middle, np.eye(3), shape, np.full(3, width / _VOXELS)))
    return grids


def _points_mm(mask: Volume) -> np.ndarray:
    return apply_affine(mask.affine, np.argwhere(mask.data > 0.5))


def _draw_row(panels: Sequence[Axes], case: OutlineCase) -> None:
    """All slices of a case with one grey scale."""
    grids = _slices(case)
    if case.image is None:
        backgrounds, low, high = [np.full(grid.shape, 0.25, np.float32) for grid in grids], 0.0, 1.0
    else:
        backgrounds = [resample(case.image, grid).data for grid in grids]
        bright = np.concatenate([b[b > 0] for b in backgrounds])
        low, high = (float(x) for x in np.percentile(bright, [1, 99])) if bright.size else (0.0, 1.0)
    for ax, grid, background in zip(panels, grids, backgrounds, strict=True):
        ax.set_axis_off()
        ax.imshow(background.squeeze().T, cmap="gray", origin="lower", interpolation="bilinear", vmin=low, vmax=high)
        for mask, line in ((case.truth, TRUTH_COLOUR), (case.found, FOUND_COLOUR)):
            outline = resample(mask, grid).data.squeeze().T
            if outline.max() > 0.5:
                ax.contour(outline, [0.5], colors=line, linewidths=1.2)
