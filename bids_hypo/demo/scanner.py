"""From a deformed head to the voxels of a scan file: grid, shading, noise, number type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_hypo.demo.deform import Deformation, template_coordinates
from bids_hypo.demo.head import HEAD_GRID
from bids_hypo.demo.lattice import noise_field
from bids_hypo.image.grid import Grid, box_grid

FIELD_OF_VIEW_MM = {"R": 186.0, "A": 236.0, "S": 204.0}
"""Extent of a scan along left-right, back-front, bottom-top."""
_DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
_OPPOSITE = {"L": "R", "P": "A", "I": "S"}
_WHITE_MATTER = {"uint8": 150.0, "int16": 180.0, "float32": 100.0}
_FLOAT_STEP = 0.5


@dataclass(frozen=True)
class Protocol:
    """How a scan is stored.

    Attributes
    ----------
    orientation : str
        Axis codes towards which the voxel axes run, e.g. "LPS".
    voxel_mm : (3,) float
        Voxel sizes along the file's own axes.
    tilt_deg : float
        Angle by which the grid is turned out of the scanner's axes.
    extension : {".nii", ".nii.gz"}
    dtype : {"uint8", "int16", "float32"}
    """

    orientation: str
    voxel_mm: tuple[float, float, float]
    tilt_deg: float
    extension: str
    dtype: str


def scan_grid(protocol: Protocol, centre_mm: np.ndarray) -> Grid:
    """Grid of a scan around a centre.

    Parameters
    ----------
    protocol : Protocol
    centre_mm : (3,) float, RAS mm

    Returns
    -------
    Grid
        Of the same field of view whatever the orientation and voxel sizes.
    """
    axes = np.array([_DIRECTIONS[code] for code in protocol.orientation], dtype=float).T
    turn = Rotation.from_rotvec(np.radians(protocol.tilt_deg) * np.array([0.9, 0.3, np.sqrt(0.1)])).as_matrix()
    extents = [FIELD_OF_VIEW_MM[_OPPOSITE.get(code, code)] for code in protocol.orientation]
    nx, ny, nz = (round(extent / size) for extent, size in zip(extents, protocol.voxel_mm, strict=True))
    return box_grid(centre_mm, turn @ axes, (nx, ny, nz), np.array(protocol.voxel_mm))


def resample_to_grid(image: np.ndarray, deformation: Deformation, grid: Grid) -> np.ndarray:
    """Bring an image from the head's template grid to a subject's grid, linearly.

    Parameters
    ----------
    image : (213, 257, 247) array on `HEAD_GRID`
    deformation : Deformation
    grid : Grid, subject space

    Returns
    -------
    (X, Y, Z) float32
        Beyond the template grid its border goes on: the neck reaches the edge of every scan.
    """
    where = template_coordinates(deformation, grid)
    where -= HEAD_GRID.affine[:3, 3].astype(np.float32).reshape(3, 1, 1, 1)  # 1 mm voxels along R, A, S
    sampled = np.empty(grid.shape, dtype=np.float32)
    ndimage.map_coordinates(image.astype(np.float32, copy=False), where, output=sampled, order=1, mode="nearest")
    return sampled


def acquire(image: np.ndarray, protocol: Protocol, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Add what a scanner adds: smooth shading, Rician noise, rounding to the number type.

    Parameters
    ----------
    image : (X, Y, Z) float32
        White matter at about 0.85.
    protocol : Protocol
    grid : Grid
        Of the image.
    rng : numpy Generator

    Returns
    -------
    (X, Y, Z) array of the protocol's dtype; floats are multiples of 0.5 so that the file compresses
    """
    shading = noise_field(rng, grid.shape, 55.0 / float(np.mean(grid.voxel_sizes_mm)))
    shading *= np.float32(0.09)
    np.exp(shading, out=shading)
    noise_sd = np.float32(rng.uniform(0.014, 0.022))
    signal = image * shading
    signal += noise_sd * rng.standard_normal(grid.shape, dtype=np.float32)
    imaginary = noise_sd * rng.standard_normal(grid.shape, dtype=np.float32)
    magnitude = np.hypot(signal, imaginary) * np.float32(_WHITE_MATTER[protocol.dtype] / 0.85)
    if protocol.dtype == "float32":
        return np.asarray(np.round(magnitude / _FLOAT_STEP) * _FLOAT_STEP, dtype=np.float32)
    top = np.iinfo(protocol.dtype).max
    return np.clip(np.round(magnitude), 0, top).astype(protocol.dtype)
