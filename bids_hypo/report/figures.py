"""Figures of one scan: mosaics as SVG (grey pictures under a layer of outlines), an overview as PNG, a thumbnail."""

from __future__ import annotations

import io
from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.lines import Line2D

from bids_hypo.report.html import data_uri
from bids_hypo.report.mosaic import SAGITTAL, Mosaic, Tile

N_COLUMNS = 4
JPEG_QUALITY = 88
THUMBNAIL_QUALITY = 75
THUMBNAIL_CUT = 0.18  # of the edges of the close slice
_MOST_IN_A_ROW = 6  # names in the legend beside the title
_GAP = 0.02  # of a tile's edge
_SIDES = "the subject's left is on the left"


def mosaic_svg(mosaic: Mosaic, title: str) -> bytes:
    """A mosaic as SVG: each tile a JPEG with its outlines as paths, in mm.

    Outlines are in groups of class ``outline``; what has to turn when left and right are swapped is in groups of class
    ``turn``, so that a page can hide the one and mirror the other.

    Parameters
    ----------
    mosaic : Mosaic
    title : str
        Read out by screen readers.
    """
    size = mosaic.tiles[0].size_mm
    step = size * (1 + _GAP)
    n_rows = -(-len(mosaic.tiles) // N_COLUMNS)
    width, height = N_COLUMNS * step - size * _GAP, n_rows * step - size * _GAP
    tiles = [
        _tile_svg(tile, column=k % N_COLUMNS * step, row=k // N_COLUMNS * step) for k, tile in enumerate(mosaic.tiles)
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.6g} {height:.6g}" role="img" class="mosaic" '
        f'font-family="sans-serif" font-size="{size * 0.048:.3g}" fill="#fff" stroke="#000" '
        f'stroke-width="{size * 0.008:.3g}" paint-order="stroke"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="#000" stroke="none"/>'
    )
    return "\n".join([head, *tiles, "</svg>\n"]).encode()


def _tile_svg(tile: Tile, *, column: float, row: float) -> str:
    size = tile.size_mm
    picture = data_uri(jpeg_bytes(tile.grey[::-1]), "image/jpeg")
    paths = "".join(
        f'<path d="{path_data(one.lines, size)}" stroke="{one.colour}"/>' for one in tile.outlines if one.lines
    )
    swap = "" if tile.panel.plane == SAGITTAL else " lr"
    ends = ("P", "A") if tile.panel.plane == SAGITTAL else ("L", "R")
    edge, base = size * 0.025, size * 0.975
    return (
        f'<svg x="{column:.6g}" y="{row:.6g}" width="{size:g}" height="{size:g}" viewBox="0 0 {size:g} {size:g}" '
        f'class="tile{swap}"><g class="turn"><image width="{size:g}" height="{size:g}" href="{picture}"/>'
        f'<g class="outline" fill="none" stroke-width="{size * 0.0075:.3g}" stroke-linejoin="round">{paths}</g></g>'
        f'<text x="{edge:.4g}" y="{base:.4g}">{escape(tile.panel.label)}</text>'
        f'<text class="end first" x="{edge:.4g}" y="{size / 2:.4g}">{ends[0]}</text>'
        f'<text class="end last" x="{base:.4g}" y="{size / 2:.4g}" text-anchor="end">{ends[1]}</text></svg>'
    )


def path_data(lines: Sequence[np.ndarray], size_mm: float) -> str:
    """Closed outlines as the data of an SVG path, y downwards, to a hundredth of a mm."""
    parts = []
    for line in lines:
        points = " ".join(f"{x:.2f},{size_mm - y:.2f}" for x, y in line[:-1])
        parts.append(f"M{points}Z")
    return "".join(parts)


def jpeg_bytes(grey: np.ndarray, *, quality: int = JPEG_QUALITY) -> bytes:
    """A grey (H, W) or coloured (H, W, 3) uint8 picture, first row on top, as JPEG."""
    buffer = io.BytesIO()
    imsave(buffer, grey, format="jpg", cmap="gray", vmin=0, vmax=255, pil_kwargs={"quality": quality})
    return buffer.getvalue()


def thumbnail_jpeg(coronal: Sequence[Tile], head: Sequence[Tile]) -> bytes:
    """Two small pictures beside each other: a coronal slice near the middle of a structure, and the head."""
    figure = Figure(figsize=(3.2, 1.6), facecolor="black")
    FigureCanvasAgg(figure)
    for k, (tile, cut) in enumerate(((coronal[len(coronal) // 2], THUMBNAIL_CUT), (head[4], 0.0))):
        ax = figure.add_axes((k * 0.5, 0, 0.5, 1))
        _draw_row(ax, [tile], line_width=1.4)
        ax.set_xlim(cut * tile.size_mm, (1 - cut) * tile.size_mm)
        ax.set_ylim(cut * tile.size_mm, (1 - cut) * tile.size_mm)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpg", dpi=100, facecolor="black", pil_kwargs={"quality": THUMBNAIL_QUALITY})
    return buffer.getvalue()


def overview_png(mosaics: Sequence[Mosaic], title: str, legend: Sequence[tuple[str, str]]) -> bytes:
    """All tiles in one picture: the first row coronal from back to front, then sagittal and axial, then the head.

    Parameters
    ----------
    mosaics : sequence of Mosaic
        Those of a structure (`bids_hypo.report.mosaic.structure_mosaics`), then that of the head.
    title : str
    legend : sequence of (str, str)
        Colours and what has them.
    """
    coronal, sagittal, axial, head = (list(m.tiles) for m in mosaics)
    rows = [coronal, sagittal + axial, head]
    n = max(len(r) for r in rows)
    in_a_row = min(len(legend), _MOST_IN_A_ROW)
    n_lines = 1 if len(legend) <= _MOST_IN_A_ROW else 1 + -(-len(legend) // in_a_row)  # the title has one of its own
    total = 1.6 * len(rows) + 0.2 * n_lines
    figure = Figure(figsize=(1.6 * n, total), facecolor="black")
    FigureCanvasAgg(figure)
    height = 1.6 / total
    for k, row in enumerate(rows):
        _draw_row(figure.add_axes((0, (len(rows) - 1 - k) * height, 1, height * 0.995)), row, line_width=1.1)
    figure.text(0.004, 0.995, f"{title}; {_SIDES}", color="white", fontsize=8, ha="left", va="top")
    marks = [Line2D([], [], color=colour, linewidth=2) for colour, _ in legend]
    top = 1.004 if n_lines == 1 else 1 - 0.2 / total
    figure.legend(marks, [name for _, name in legend], loc="upper right", bbox_to_anchor=(1, top), fontsize=7,
                  ncols=in_a_row, frameon=False, labelcolor="white", borderpad=0, handlelength=1)  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, facecolor="black", pil_kwargs={"compress_level": 3},
                   metadata={"Software": None})  # fmt: skip
    return buffer.getvalue()


def _draw_row(ax: Axes, tiles: Sequence[Tile], *, line_width: float) -> None:
    """Draw tiles as one picture: far quicker than an axes for each."""
    size = tiles[0].size_mm
    ax.imshow(np.hstack([t.grey for t in tiles]), cmap="gray", vmin=0, vmax=255, origin="lower",
              interpolation="bilinear", extent=(0, size * len(tiles), 0, size))  # fmt: skip
    for k, tile in enumerate(tiles):
        for outline in tile.outlines:
            for line in outline.lines:
                ax.plot(line[:, 0] + k * size, line[:, 1], color=outline.colour, linewidth=line_width)
    ax.set_xlim(0, size * len(tiles))
    ax.set_ylim(0, size)
    ax.set_axis_off()
