"""A structure inside a translucent intracranial surface, as meshes that a browser can turn."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from bids_hypo.image.grid import Grid, apply_affine, as_shape, box_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume
from bids_hypo.report.drawn import ICV_KEY, DrawnPart

# Coarse on purpose: a few thousand triangles turn smoothly on a laptop without a graphics card.
FAR_SPACING_MM = 5.0
STEPS = 50  # of the grid of a structure's mesh, along the edge of its slices on the page
_SMOOTH_SD, _FAR_SMOOTH_SD = 0.6, 0.7  # in steps of the mesh's grid; takes the steps of the voxels away
_SCRIPT_FOLDERS = ("_assets/js", "plotting/data/js")  # newer and older releases of nilearn
_SCRIPT_PATTERN = ("plotly-gl3d", ".min.js")


@dataclass(frozen=True)
class Mesh:
    """A closed surface of triangles.

    Attributes
    ----------
    name, colour : str
    vertices_mm : (N, 3) float, RAS mm
    faces : (M, 3) int
        Indices of vertices.
    """

    name: str
    colour: str
    vertices_mm: np.ndarray
    faces: np.ndarray


def make_meshes(parts: Sequence[DrawnPart], view_mm: float) -> dict[str, Mesh]:
    """Surfaces of the parts of a structure and of the intracranial volume.

    Parameters
    ----------
    parts : sequence of DrawnPart
    view_mm : float
        Edge of the structure's slices, which says how finely it is drawn.

    Returns
    -------
    dict of str to Mesh
        By the keys of the parts; without those that are empty.
    """
    found = {}
    for part in parts:
        far = part.key == ICV_KEY
        surface = part_mesh(
            part.mask, FAR_SPACING_MM if far else view_mm / STEPS, _FAR_SMOOTH_SD if far else _SMOOTH_SD
        )
        if surface is not None:
            found[part.key] = Mesh(part.name, part.colour, *surface)
    return found


def part_mesh(part: Volume, spacing_mm: float, smooth_sd: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Surface of a mask by marching cubes on a grid of its own; None if there is nothing to draw.

    Parameters
    ----------
    part : Volume
        0 to 1.
    spacing_mm : float
        Of the grid that the surface is drawn on.
    smooth_sd : float
        Gaussian before drawing, in steps of that grid.

    Returns
    -------
    vertices_mm : (N, 3) float, RAS mm
    faces : (M, 3) int
    """
    grid = _around(part, spacing_mm)
    values = ndimage.gaussian_filter(resample(part, grid).data, smooth_sd)
    if values.max() <= 0.5:
        return None
    vertices, faces, _, _ = marching_cubes(values, 0.5)
    return apply_affine(grid.affine, vertices), faces.astype(int)


def _around(part: Volume, spacing_mm: float) -> Grid:
    """A grid in scanner axes that holds a part with room to spare."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in part.data.shape])).reshape(3, -1).T
    points = apply_affine(part.affine, corners)
    low, high = points.min(axis=0), points.max(axis=0)
    shape = as_shape(np.ceil((high - low) / spacing_mm) + 6)
    return box_grid((low + high) / 2, np.eye(3), shape, np.full(3, spacing_mm))


def pack_meshes(meshes: dict[str, Mesh]) -> bytes:
    """Meshes as compressed JSON: vertices in tenths of a millimetre, and name and colour of each."""
    content = {
        key: {
            "name": mesh.name,
            "colour": mesh.colour,
            "tenths": np.round(mesh.vertices_mm * 10).astype(int).T.tolist(),
            "faces": mesh.faces.T.tolist(),
        }
        for key, mesh in meshes.items()
    }
    return gzip.compress(json.dumps(content, separators=(",", ":")).encode(), compresslevel=9, mtime=0)


@lru_cache(maxsize=1)
def viewer_script() -> bytes | None:
    """The 3-D viewer as nilearn's installed package carries it (plotly.js, MIT), gzip-compressed; None if it has none.

    Compressed, it takes a third of its size; the page unpacks it when the surface comes into view.
    """
    start, end = _SCRIPT_PATTERN
    for folder in _SCRIPT_FOLDERS:
        place = resources.files("nilearn").joinpath(folder)
        if not place.is_dir():
            continue
        for entry in sorted(place.iterdir(), key=lambda e: e.name):
            if entry.name.startswith(start) and entry.name.endswith(end):
                return gzip.compress(entry.read_bytes(), compresslevel=9, mtime=0)
    return None
