"""From susceptibility to the field that a scanner measures, and back, as in quantitative susceptibility mapping."""

from __future__ import annotations

import numpy as np
from scipy import fft

THRESHOLD, SMOOTHED = "threshold", "smoothed"


def dipole_kernel(shape: tuple[int, ...], spacing_mm: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The unit dipole in k-space, ``1/3 - (k.b)^2 / k^2``, and 0 in the middle.

    Marques and Bowtell 2005 (Concepts Magn Reson B 25:65), eq. 6; Salomir et al. 2003, eq. 20.

    Parameters
    ----------
    shape : (3,) int
    spacing_mm : (3,) float
    direction : (3,) float
        Of the main field along the grid's axes; of unit length.

    Returns
    -------
    (X, Y, Z // 2 + 1) float32
        For a real Fourier transform.
    """
    x, y = (fft.fftfreq(n, mm).astype(np.float32) for n, mm in zip(shape[:2], spacing_mm[:2], strict=True))
    z = fft.rfftfreq(shape[2], spacing_mm[2]).astype(np.float32)
    b = np.asarray(direction, np.float32)
    along = (b[0] * x)[:, None, None] + (b[1] * y)[None, :, None] + b[2] * z
    square = (x**2)[:, None, None] + (y**2)[None, :, None] + z**2
    square[0, 0, 0] = 1
    kernel = np.float32(1 / 3) - along**2 / square
    kernel[0, 0, 0] = 0
    return kernel


def field_of(susceptibility: np.ndarray, spacing_mm: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The field that a map of susceptibilities makes, both (X, Y, Z) in ppm; see `dipole_kernel`."""
    return _filtered(susceptibility, dipole_kernel(susceptibility.shape, spacing_mm, direction))


def invert(
    field: np.ndarray, spacing_mm: np.ndarray, direction: np.ndarray, *, method: str, strength: float
) -> np.ndarray:
    """A map of susceptibilities from a field, with the streaks that such an inversion leaves.

    Parameters
    ----------
    field : (X, Y, Z) float32, ppm
    spacing_mm, direction
        See `dipole_kernel`.
    method : str
        ``threshold``: division in k-space, where the kernel is smaller than ``strength`` by ``strength`` with its sign
        (Shmueli et al. 2009, Magn Reson Med 62:1510, eq. 5). ``smoothed``: the least squares solution with an L2
        penalty of ``strength`` squared on the map.
    strength : float

    Returns
    -------
    (X, Y, Z) float32, ppm
    """
    kernel = dipole_kernel(field.shape, spacing_mm, direction)
    if method == THRESHOLD:
        inverse = np.where(kernel < 0, -1, 1) / np.maximum(np.abs(kernel), np.float32(strength))
    elif method == SMOOTHED:
        inverse = kernel / (kernel**2 + np.float32(strength**2))
    else:
        raise ValueError(f"method: found {method!r}; expected {THRESHOLD!r} or {SMOOTHED!r}")
    inverse[0, 0, 0] = 0
    return _filtered(field, inverse.astype(np.float32))


def _filtered(image: np.ndarray, factor: np.ndarray) -> np.ndarray:
    spectrum = fft.rfftn(np.asarray(image, np.float32))
    spectrum *= factor
    return fft.irfftn(spectrum, s=image.shape).astype(np.float32)
