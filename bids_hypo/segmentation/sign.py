"""Whether a susceptibility map has the usual sign: deep grey nuclei, rich in iron, are bright."""

from __future__ import annotations

import numpy as np

from bids_hypo.errors import SegmentationError
from bids_hypo.image.grid import apply_affine, box_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume
from bids_hypo.segmentation.pose import Pose

# Middle of the right one in the frame of the pose, and a radius that stays in it where the pose is not exact (mm)
NUCLEI_MM = {
    "pallidum": ((19.0, -4.0, -1.0), 5.0),
    "putamen": ((25.7, 1.0, 0.3), 5.0),
    "caudate": ((14.0, 10.0, 9.0), 4.0),
    "substantia nigra and red nucleus": ((10.7, -14.0, -8.0), 5.0),
}
DARK = -0.75  # below, in half the width of the middle 68 % of the values around; upright maps had 1.7 and more
_MIDDLE_MM, _SHAPE, _SPACING_MM = (0.0, -4.0, -2.0), (60, 50, 30), 1.5
_MIN_VOXELS = 1000


def nuclei_over_surroundings(volume: Volume, pose: Pose) -> float:
    """Mean of the deep grey nuclei above the median of what surrounds them, relative to the spread there.

    Parameters
    ----------
    volume : Volume
        0 outside of the brain.
    pose : Pose

    Returns
    -------
    float
        NaN if the image does not hold enough of that place.
    """
    grid = box_grid(pose.place(np.array(_MIDDLE_MM)), pose.rotation, _SHAPE, np.full(3, _SPACING_MM))
    data = resample(volume, grid).data
    inside = data != 0
    if inside.sum() < _MIN_VOXELS:
        return float("nan")
    low, middle, high = np.percentile(data[inside], [16, 50, 84])
    points = apply_affine(grid.affine, np.moveaxis(np.indices(grid.shape), 0, -1))
    means = []
    for (x, y, z), radius_mm in NUCLEI_MM.values():
        centres = [pose.place(np.array((side * x, y, z))) for side in (-1, 1)]
        near = np.logical_or.reduce([((points - c) ** 2).sum(axis=-1) < radius_mm**2 for c in centres]) & inside
        if near.any():
            means.append(data[near].mean() - middle)
    return float(np.mean(means) / max((high - low) / 2, 1e-9)) if means else float("nan")


def check_sign(volume: Volume, pose: Pose, *, what: str) -> None:
    """Refuse a map in which deep grey nuclei are dark.

    Parameters
    ----------
    volume : Volume
    pose : Pose
    what : str
        Named in the error.

    Raises
    ------
    SegmentationError
        If pallidum, putamen, caudate and the nuclei of the midbrain lie clearly below their surroundings.
    """
    found = nuclei_over_surroundings(volume, pose)
    if found < DARK:
        raise SegmentationError(
            f"{what}: deep grey nuclei are darker than what surrounds them ({found:.1f} times its spread; expected "
            "more than 0), so the sign of the map seems inverted. Multiply its values by -1: iron has to be positive. "
            "(Is it a map of diamagnetic sources? Name it so: desc-diamagnetic.)"
        )
