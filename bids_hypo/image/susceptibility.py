"""The values of a susceptibility map: in ppm, and 0 outside of the brain."""

from __future__ import annotations

import numpy as np

from bids_hypo.image.faces import on_faces

PPM, PPB = "ppm", "ppb"
_LARGEST_PPM = 1.0  # of the median size: in a brain it is 0.01 to 0.05 ppm, which is 10 to 50 ppb
_MIN_BLANK = 0.5  # of the voxels on the faces of an image, that have one and the same value


def in_ppm(data: np.ndarray) -> tuple[np.ndarray, str]:
    """Bring a map to ppm, told from ppb by the size of its values, with 0 where it is blank.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Finite; changed in place.

    Returns
    -------
    data : (X, Y, Z) float32, ppm
    unit : str
        That the values were in: ``ppm`` or ``ppb``.
    """
    faces = data[on_faces(data.shape)]
    values, counts = np.unique(faces, return_counts=True)
    if counts.max() > _MIN_BLANK * faces.size:
        data[data == values[counts.argmax()]] = 0
    sizes = np.abs(data[::2, ::2, ::2])
    sizes = sizes[sizes > 0]
    if not sizes.size or np.median(sizes) < _LARGEST_PPM:
        return data, PPM
    data /= np.float32(1000)
    return data, PPB
