"""Slices with outlines at any position, and the surface that can be turned, from the files of one finished scan."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from scipy import ndimage

from bids_hypo.bids.names import FIGURES, OutputNames
from bids_hypo.gui.texts import text
from bids_hypo.image.grid import apply_affine, box_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume
from bids_hypo.report.figures import jpeg_bytes
from bids_hypo.report.html import data_uri
from bids_hypo.report.mosaic import COLOURS, ICV, LEFT, RIGHT, outlines_of, structures, voxels_mm
from bids_hypo.workflow.edited import read_counted

CLOSE, FAR = "close", "far"
SIZE_MM = {CLOSE: 44.0, FAR: 230.0}
SPACING_MM = {CLOSE: 0.4, FAR: 1.15}
_WINDOW = {CLOSE: (3.0, 99.5), FAR: (0.5, 99.7)}  # percentiles
PLANES = ("sagittal", "coronal", "axial")  # by the axis that a slice stands on
_MASKS = {CLOSE: (LEFT, RIGHT), FAR: (ICV, LEFT, RIGHT)}
_SPLINE_MARGIN_MM = 8.0
_FULL = 255


@dataclass(frozen=True)
class Stack:
    """A cube around the head or the hypothalamus, in the head's own directions.

    Attributes
    ----------
    grey : (N, N, N) uint8
        Axes to the right, to the front, upwards.
    masks : dict of str to (N, N, N) uint8
        255 inside, 0 outside, between them at the border.
    spacing_mm : float
    middle_mm : (3,) tuple of float
        From the cube's centre to the middle of the hypothalamus, along the axes.
    """

    grey: np.ndarray
    masks: dict[str, np.ndarray]
    spacing_mm: float
    middle_mm: tuple[float, float, float]

    def span_mm(self, plane: int) -> tuple[float, float]:
        """First and last position of a plane's slices, whole steps from the middle of the hypothalamus."""
        half, step, middle = (len(self.grey) - 1) / 2, self.spacing_mm, self.middle_mm[plane] / self.spacing_mm
        return round(np.ceil(-half - middle) * step, 2), round(np.floor(half - middle) * step, 2)

    def index(self, plane: int, at_mm: float) -> int:
        """Number of the slice nearest to a position."""
        n = len(self.grey)
        return int(np.clip(round((at_mm + self.middle_mm[plane]) / self.spacing_mm + (n - 1) / 2), 0, n - 1))

    def widest_mm(self, plane: int) -> float:
        """Position of the slice in which the hypothalamus is largest; its middle lies in the third ventricle."""
        low, high = self.span_mm(plane)
        others = tuple(axis for axis in range(3) if axis != plane)
        areas = sum(np.count_nonzero(self.masks[side] > _FULL // 2, axis=others) for side in (LEFT, RIGHT))
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
    volume, labels, icv, found = read_counted(names)
    axes = np.eye(3) if found is None else found
    parts = structures(labels, icv, volume.affine)
    points = voxels_mm([parts[LEFT], parts[RIGHT]]) @ axes
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    centre = {CLOSE: middle, FAR: (parts[ICV] if icv.any() else volume).grid.centre_mm() @ axes}
    about: dict[str, list[float]] = {}
    for name, size in SIZE_MM.items():
        n = round(size / SPACING_MM[name] / 2) * 2 + 1  # odd: a slice lies in the middle, none between two positions
        grid = box_grid(axes @ centre[name], axes, (n, n, n), np.full(3, SPACING_MM[name]))
        values = _smooth(volume, axes @ middle, grid.affine, n) if name == CLOSE else resample(volume, grid).data
        np.save(folder / f"{name}-grey.npy", _eight_bits(values, _WINDOW[name]))
        for mask in _MASKS[name]:
            np.save(folder / f"{name}-{mask}.npy", np.round(resample(parts[mask], grid).data * _FULL).astype(np.uint8))
        about[name] = (middle - centre[name]).tolist()
    (folder / "about.json").write_text(json.dumps(about))


def _smooth(volume: Volume, centre_mm: np.ndarray, affine: np.ndarray, n: int) -> np.ndarray:
    """The close cube by cubic splines, computed from its surroundings only."""
    index = apply_affine(np.linalg.inv(volume.affine), centre_mm)
    reach = (SIZE_MM[CLOSE] * np.sqrt(3) / 2 + _SPLINE_MARGIN_MM) / volume.grid.voxel_sizes_mm
    low = np.clip(np.floor(index - reach), 0, None).astype(int)
    high = np.minimum(np.ceil(index + reach).astype(int) + 1, volume.data.shape)
    near = volume.data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    matrix = np.linalg.inv(volume.affine) @ affine
    return ndimage.affine_transform(
        near, matrix[:3, :3], matrix[:3, 3] - low, output_shape=(n, n, n), output=np.float32, order=3
    )


def _eight_bits(values: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    edge = len(values) // 5
    inner = values[edge:-edge, edge:-edge, edge:-edge]
    bright = inner[inner > 0]
    low, high = np.percentile(bright, percentiles) if bright.size else (0.0, 1.0)
    return np.round(np.clip((values - low) / max(high - low, 1e-6), 0, 1) * _FULL).astype(np.uint8)


def read_stack(folder: Path, name: str) -> Stack:
    """Open a cube that `write_stacks` wrote; its slices are read from disk when they are looked at."""
    masks = {mask: np.load(folder / f"{name}-{mask}.npy", mmap_mode="r") for mask in _MASKS[name]}
    about = json.loads((folder / "about.json").read_text())
    return Stack(np.load(folder / f"{name}-grey.npy", mmap_mode="r"), masks, SPACING_MM[name], tuple(about[name]))


def slice_svg(stack: Stack, plane: int, at_mm: float, *, outlines: bool = True, radiological: bool = False) -> str:
    """One slice as an SVG picture, in mm.

    Parameters
    ----------
    stack : Stack
    plane : int
        0 sagittal, 1 coronal, 2 axial.
    at_mm : float
        From the middle of the hypothalamus.
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
        paths = "".join(
            f'<path d="{_path(_cut(mask, plane, where, turned), stack.spacing_mm)}" stroke="{COLOURS[name]}"/>'
            for name, mask in stack.masks.items()
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


def _path(mask: np.ndarray, spacing_mm: float) -> str:
    """Outlines of a slice of a mask as the data of an SVG path, y downwards."""
    size = len(mask) * spacing_mm
    lines = outlines_of(mask.T / np.float32(_FULL), spacing_mm)
    return "".join("M" + " ".join(f"{x:.2f},{size - y:.2f}" for x, y in line[:-1]) + "Z" for line in lines)


def surface_figure(names: OutputNames) -> go.Figure | None:
    """The surfaces that the core drew of a scan, as a figure that can be turned; None if there are none."""
    packed = names.figure(*FIGURES["surface"])
    if not packed.is_file():
        return None
    figure = go.Figure()
    for name, mesh in json.loads(gzip.decompress(packed.read_bytes())).items():
        x, y, z = np.asarray(mesh["tenths"]) / 10
        i, j, k = mesh["faces"]
        outer = name == ICV
        figure.add_trace(
            go.Mesh3d(
                x=x.tolist(), y=y.tolist(), z=z.tolist(), i=i, j=j, k=k, name=text(f"views.{name}"),
                color="#9aa4ad" if outer else mesh["colour"], opacity=0.18 if outer else 1.0,
                hoverinfo="skip" if outer else "name", lighting={"ambient": 0.55, "diffuse": 0.7, "specular": 0.15},
            )
        )  # fmt: skip
    hidden = {"visible": False}
    figure.update_layout(
        margin={"l": 0, "r": 0, "t": 0, "b": 0}, showlegend=False, height=420, paper_bgcolor="rgba(0,0,0,0)",
        scene={"aspectmode": "data", "dragmode": "orbit", "xaxis": hidden, "yaxis": hidden, "zaxis": hidden,
               "camera": {"eye": {"x": -1.15, "y": 0.75, "z": 0.4}}},
    )  # fmt: skip
    return figure
