"""The outer faces of an image, where the surroundings of the head are."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def on_faces(shape: tuple[int, ...]) -> np.ndarray:
    """Where the outermost voxels of an image of this shape are: bool of that shape."""
    outer = np.ones(shape, bool)
    outer[1:-1, 1:-1, 1:-1] = False
    return outer


def connected_with_faces(mask: np.ndarray) -> np.ndarray:
    """The face-connected components of a mask that reach the outermost voxels: (X, Y, Z) bool."""
    parts, n = ndimage.label(mask)
    reaching = np.zeros(n + 1, bool)
    reaching[np.unique(parts[on_faces(parts.shape)])] = True
    reaching[0] = False
    return reaching[parts]
