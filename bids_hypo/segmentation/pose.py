"""The pose of a head: the rigid frame that its structures' centroids define, close to AC-PC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bids_hypo.errors import SegmentationError

MIN_STRUCTURES = 5
MAX_RESIDUAL_MM = 7.0
SCALE_BOUNDS = (0.7, 1.35)  # brains of 0.5 and 3.5 litres: an apple, a melon


@dataclass(frozen=True)
class Pose:
    """Where the head is and how it is turned.

    Attributes
    ----------
    rotation : (3, 3) float
        Columns are the head's right, anterior and superior directions in RAS mm of the scanner.
    translation_mm : (3,) float
        The template's origin in RAS mm of the scanner.
    scale : float
        Size of the head relative to the template; it places structures, the frame itself stays in mm.
    residual_mm : float
        Root mean square distance of the centroids from the template after the fit.
    structures : tuple of str
        The structures used.
    """

    rotation: np.ndarray
    translation_mm: np.ndarray
    scale: float
    residual_mm: float
    structures: tuple[str, ...]

    def place(self, point_mm: np.ndarray) -> np.ndarray:
        """Map a point of the template (mm) to the scanner (RAS mm)."""
        return self.scale * self.rotation @ np.asarray(point_mm, dtype=float) + self.translation_mm


def fit_pose(
    centroids_mm: Mapping[str, np.ndarray], template_mm: Mapping[str, np.ndarray], *, what: str = "scan"
) -> Pose:
    """Fit the template's centroids to those found, by rotation, shift and one scale.

    Kabsch's solution with Umeyama's scale (Umeyama 1991, IEEE PAMI 13:376, eqs. 38 to 43), after which structures
    that lie more than three times the median distance away are dropped once.

    Parameters
    ----------
    centroids_mm : mapping of str to (3,) float
        Found structures, RAS mm of the scanner.
    template_mm : mapping of str to (3,) float
        All structures of the template, mm.
    what : str
        Named in errors.

    Returns
    -------
    Pose

    Raises
    ------
    SegmentationError
        If fewer than five structures were found, or they do not lie as in a head.
    """
    names = [n for n in template_mm if n in centroids_mm]
    if len(names) < MIN_STRUCTURES:
        raise SegmentationError(
            f"{what}: found {len(names)} of {len(template_mm)} brain structures; expected at least {MIN_STRUCTURES}. "
            "Is there a head in the image, does it hold the middle of the brain, and are the voxel sizes in its header "
            "right?"
        )
    pose = _umeyama(names, centroids_mm, template_mm)
    distances = {n: np.linalg.norm(pose.place(template_mm[n]) - centroids_mm[n]) for n in names}
    limit = max(3 * float(np.median(list(distances.values()))), 4.0)
    kept = [n for n in names if distances[n] <= limit]
    if MIN_STRUCTURES <= len(kept) < len(names):
        pose = _umeyama(kept, centroids_mm, template_mm)
    if pose.residual_mm > MAX_RESIDUAL_MM:
        raise SegmentationError(
            f"{what}: the structures found do not lie as in a human head (residual {pose.residual_mm:.1f} mm, expected "
            f"at most {MAX_RESIDUAL_MM}; size {pose.scale:.2f} times the template's). Is this a head, in a "
            "contrast that the model is for, and are affine and voxel sizes in its header right?"
        )
    if not SCALE_BOUNDS[0] <= pose.scale <= SCALE_BOUNDS[1]:
        raise SegmentationError(
            f"{what}: by its header the brain is {pose.scale:.2f} times as long and wide as an average one; expected "
            f"{SCALE_BOUNDS[0]} to {SCALE_BOUNDS[1]}. Are the voxel sizes in the header right (pixdim, sform, qform)?"
        )
    return pose


def _umeyama(names: list[str], found: Mapping[str, np.ndarray], template: Mapping[str, np.ndarray]) -> Pose:
    target = np.array([found[n] for n in names], dtype=float)
    source = np.array([template[n] for n in names], dtype=float)
    target_mean, source_mean = target.mean(0), source.mean(0)
    u, s, vt = np.linalg.svd((target - target_mean).T @ (source - source_mean) / len(names))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = float(np.trace(np.diag(s) @ sign) / ((source - source_mean) ** 2).sum() * len(names))
    translation = target_mean - scale * rotation @ source_mean
    residual = target - (scale * source @ rotation.T + translation)
    return Pose(rotation, translation, scale, float(np.sqrt((residual**2).sum(1).mean())), tuple(names))
