"""Slices with outlines at any position, and surfaces that can be turned, from the files of one finished scan."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from bids_hypo.bids.names import STRUCTURE_FIGURES, OutputNames
from bids_hypo.gui.texts import text
from bids_hypo.image.grid import Grid, box_grid
from bids_hypo.image.resample import resample
from bids_hypo.report.cutting import FULL, grey_levels, grey_window, near_spline, sample_spline
from bids_hypo.report.drawn import ICV_KEY, ICV_NAME, DrawnPart, drawn_icv, drawn_parts, voxels_mm
from bids_hypo.report.figures import jpeg_bytes, path_data
from bids_hypo.report.html import data_uri
from bids_hypo.report.mosaic import outlines_of
from bids_hypo.workflow.edited import read_counted

FAR = "far"  # the whole head; the other cubes are called like their structure
FAR_MM, FAR_SPACING_MM = 230.0, 1.15
CLOSE_STEPS, MARGIN = 110, 1.1  # of a structure's cube; its edge is that of the slices on the scan's page and a margin
_WINDOWS = {False: (3.0, 99.5), True: (0.5, 99.7)}  # percentiles: of a structure, of the head
PLANES = ("sagittal", "coronal", "axial")  # by the axis that a slice stands on
_SPLINE_MARGIN_MM = 8.0


@dataclass(frozen=True)
class Mask:
    """A part in a cube: its key, name and colour, and (N, N, N) uint8, 255 inside, 0 outside, between at the border."""

    key: str
    name: str
    colour: str
    inside: np.ndarray


@dataclass(frozen=True)
class Stack:
    """A cube around the head or a structure, in the head's own directions.

    Attributes
    ----------
    grey : (N, N, N) uint8
        Axes to the right, to the front, upwards.
    masks : tuple of Mask
    spacing_mm : float
    middle_mm : (3,) tuple of float
        From the cube's centre to the middle of the structure, along the axes.
    """

    grey: np.ndarray
    masks: tuple[Mask, ...]
    spacing_mm: float
    middle_mm: tuple[float, float, float]

    def span_mm(self, plane: int) -> tuple[float, float]:
        """First and last position of a plane's slices, whole steps from the middle of the structure."""
        half, step, middle = (len(self.grey) - 1) / 2, self.spacing_mm, self.middle_mm[plane] / self.spacing_mm
        return round(np.ceil(-half - middle) * step, 2), round(np.floor(half - middle) * step, 2)

    def index(self, plane: int, at_mm: float) -> int:
        """Number of the slice nearest to a position."""
        n = len(self.grey)
        return int(np.clip(round((at_mm + self.middle_mm[plane]) / self.spacing_mm + (n - 1) / 2), 0, n - 1))

    def widest_mm(self, plane: int) -> float:
        """Position of the slice in which the structure is largest; the middle of two sides may lie in neither."""
        low, high = self.span_mm(plane)
        others = tuple(axis for axis in range(3) if axis != plane)
        inner = [mask.inside for mask in self.masks if mask.key != ICV_KEY]
        areas = sum(np.count_nonzero(inside > FULL // 2, axis=others) for inside in inner)
        places = low + self.spacing_mm * np.arange(round((high - low) / self.spacing_mm) + 1)
        return float(max(np.round(places, 2), key=lambda at_mm: areas[self.index(plane, at_mm)]))


def write_stacks(names: OutputNames, folder: Path) -> None:
    """Cut both cubes of a finished scan and keep them on disk, so that a slice costs no memory between two looks.

    Parameters
    ----------
    names : OutputNames
        Complete outputs.
    folder : Path
        Is made whole beside its place and then renamed.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    _write_cubes(names, part)
    part.rename(folder)


def _write_cubes(names: OutputNames, folder: Path) -> None:
    volume, counted, found = read_counted(names)
    axes = np.eye(3) if found is None else found
    icv = [] if counted.icv is None else [drawn_icv(counted.icv, volume.affine)]
    about: dict[str, Any] = {}
    every: list[DrawnPart] = []
    for name, (structure, labels) in counted.labels.items():
        parts = drawn_parts(structure, labels, volume.affine)
        every += parts
        middle = _middle(parts, axes)
        size = structure.view_mm * MARGIN
        grid = _cube(axes @ middle, axes, size, size / CLOSE_STEPS)
        spline = near_spline(volume, axes @ middle, size * np.sqrt(3) / 2 + _SPLINE_MARGIN_MM)
        _save(folder, name, sample_spline(spline, grid), parts, grid)
        about[name] = _about(structure.title, grid, np.zeros(3), parts)
    inside = icv[0].mask if icv and icv[0].mask.data.any() else volume
    centre, middle = inside.grid.centre_mm() @ axes, _middle(every, axes)
    grid = _cube(axes @ centre, axes, FAR_MM, FAR_SPACING_MM)
    _save(folder, FAR, resample(volume, grid).data, [*icv, *every], grid)
    about[FAR] = _about("", grid, middle - centre, [*icv, *every])
    (folder / "about.json").write_text(json.dumps(about))


def _middle(parts: Sequence[DrawnPart], axes: np.ndarray) -> np.ndarray:
    """The middle of the box of some parts, in the head's frame."""
    points = voxels_mm(parts) @ axes
    return np.asarray((points.min(axis=0) + points.max(axis=0)) / 2)


def _cube(centre_mm: np.ndarray, axes: np.ndarray, size_mm: float, spacing_mm: float) -> Grid:
    n = round(size_mm / spacing_mm / 2) * 2 + 1  # odd: a slice lies in the middle, none between two positions
    return box_grid(centre_mm, axes, (n, n, n), np.full(3, spacing_mm))


def _save(folder: Path, name: str, values: np.ndarray, parts: Sequence[DrawnPart], grid: Grid) -> None:
    np.save(folder / f"{name}-grey.npy", _eight_bits(values, _WINDOWS[name == FAR]))
    for number, part in enumerate(parts):
        inside = np.round(resample(part.mask, grid).data * FULL).astype(np.uint8)
        np.save(folder / f"{name}-{number}.npy", inside)


def _about(title: str, grid: Grid, middle_mm: np.ndarray, parts: Sequence[DrawnPart]) -> dict[str, Any]:
    return {
        "title": title,
        "spacing_mm": float(grid.voxel_sizes_mm[0]),
        "size_mm": float(grid.voxel_sizes_mm[0] * (grid.shape[0] - 1)),
        "middle_mm": middle_mm.tolist(),
        "parts": [[part.key, part.name, part.colour] for part in parts],
    }


def _eight_bits(values: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    edge = len(values) // 5
    return grey_levels(values, grey_window([values[edge:-edge, edge:-edge, edge:-edge]], percentiles))


def cubes(folder: Path) -> dict[str, tuple[str, float]]:
    """The cubes that `write_stacks` wrote: for each the title of its structure (empty for the head), its edge in mm."""
    about = json.loads((folder / "about.json").read_text())
    return {name: (entry["title"], entry["size_mm"]) for name, entry in about.items()}


def read_stack(folder: Path, name: str) -> Stack:
    """Open a cube that `write_stacks` wrote; its slices are read from disk when they are looked at.

    Raises
    ------
    KeyError
        If there is no such cube.
    """
    about = json.loads((folder / "about.json").read_text())[name]
    masks = tuple(
        Mask(key, title, colour, np.load(folder / f"{name}-{number}.npy", mmap_mode="r"))
        for number, (key, title, colour) in enumerate(about["parts"])
    )
    grey = np.load(folder / f"{name}-grey.npy", mmap_mode="r")
    return Stack(grey, masks, about["spacing_mm"], tuple(about["middle_mm"]))


def slice_svg(stack: Stack, plane: int, at_mm: float, *, outlines: bool = True, radiological: bool = False) -> str:
    """One slice as an SVG picture, in mm.

    Parameters
    ----------
    stack : Stack
    plane : int
        0 sagittal, 1 coronal, 2 axial.
    at_mm : float
        From the middle of the structure.
    outlines : bool
    radiological : bool
        Whether the subject's left is on the right.
    """
    where = stack.index(plane, at_mm)
    turned = radiological and plane != 0
    grey = _cut(stack.grey, plane, where, turned)
    size = len(grey) * stack.spacing_mm
    paths = ""
    if outlines:
        cuts = [(mask.colour, _cut(mask.inside, plane, where, turned).T / np.float32(FULL)) for mask in stack.masks]
        paths = "".join(
            f'<path d="{path_data(outlines_of(cut, stack.spacing_mm), size)}" stroke="{colour}"/>'
            for colour, cut in cuts
        )
    ends = ("P", "A") if plane == 0 else ("R", "L") if turned else ("L", "R")
    picture = data_uri(jpeg_bytes(grey[::-1]), "image/jpeg")
    label = escape(text("views.alt", plane=text(f"views.{PLANES[plane]}_plane"), at=f"{at_mm:.1f}"))
    return (
        f'<svg class="slice" viewBox="0 0 {size:g} {size:g}" role="img" aria-label="{label}" font-weight="600" '
        f'font-family="sans-serif" font-size="{size * 0.055:.3g}" fill="#fff">'
        f'<image width="{size:g}" height="{size:g}" href="{picture}"/>'
        f'<g fill="none" stroke-width="{size * 0.006:.3g}" stroke-linejoin="round">{paths}</g>'
        f'<text x="{size * 0.02:.4g}" y="{size / 2:.4g}">{ends[0]}</text>'
        f'<text x="{size * 0.98:.4g}" y="{size / 2:.4g}" text-anchor="end">{ends[1]}</text></svg>'
    )


def _cut(cube: np.ndarray, plane: int, where: int, turned: bool) -> np.ndarray:
    """A slice with its first row at the bottom."""
    picture = cube[(slice(None),) * plane + (where,)].T
    return picture[:, ::-1] if turned else picture


def surface_figure(names: OutputNames, structure: str) -> go.Figure | None:
    """The surfaces that the core drew of a structure in a scan, to be turned; None if there are none."""
    packed = names.figure(*STRUCTURE_FIGURES["surface"], structure=structure)
    if not packed.is_file():
        return None
    figure = go.Figure()
    for key, mesh in json.loads(gzip.decompress(packed.read_bytes())).items():
        x, y, z = np.asarray(mesh["tenths"]) / 10
        i, j, k = mesh["faces"]
        outer = key == ICV_KEY
        figure.add_trace(
            go.Mesh3d(
                x=x.tolist(), y=y.tolist(), z=z.tolist(), i=i, j=j, k=k, name=mesh["name"],
                color="#9aa4ad" if outer else mesh["colour"], opacity=0.18 if outer else 1.0,
                hoverinfo="skip" if outer else "name", lighting={"ambient": 0.55, "diffuse": 0.7, "specular": 0.15},
            )
        )  # fmt: skip
    hidden, away = {"visible": False}, 1.0 if any(trace.name == ICV_NAME for trace in figure.data) else 1.6
    figure.update_layout(
        margin={"l": 0, "r": 0, "t": 0, "b": 0}, showlegend=False, height=420, paper_bgcolor="rgba(0,0,0,0)",
        scene={"aspectmode": "data", "dragmode": "orbit", "xaxis": hidden, "yaxis": hidden, "zaxis": hidden,
               "camera": {"eye": {"x": -1.15 * away, "y": 0.75 * away, "z": 0.4 * away}}},
    )  # fmt: skip
    return figure
