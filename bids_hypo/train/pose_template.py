"""The pose template: where brain structures lie in an average head, in a frame close to AC-PC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bids_hypo.segmentation.pose import fit_pose
from bids_hypo.train.headmaps import CLASS_NAMES, HeadMap, class_centroids

# Rounded centres of structures in MNI152 coordinates (mm), right side; they only fix where the axes point (the AC-PC
# line lies along y, the origin near the anterior commissure), within about 2 degrees.
MNI_CENTRES_MM: dict[str, tuple[float, float, float]] = {
    "thalamus": (11, -19, 7),
    "caudate": (13, 10, 11),
    "putamen": (25, 1, 0),
    "hippocampus": (26, -22, -14),
    "cerebellum": (24, -63, -35),
    "ventral diencephalon": (10, -14, -9),
}
ITERATIONS = 5


def make_pose_template(heads: Sequence[HeadMap]) -> dict[str, list[float]]:
    """Average the structures' centroids over heads (generalised Procrustes, made left-right symmetric).

    Parameters
    ----------
    heads : sequence of HeadMap
        Training maps only.

    Returns
    -------
    dict of str to [x, y, z]
        mm; the first two classes (background, intracranial) left out.
    """
    shapes = [_named(class_centroids(h)) for h in heads]
    shapes += [_mirrored(s) for s in shapes]
    mean = shapes[0]
    for _ in range(ITERATIONS):
        aligned = []
        for shape in shapes:
            pose = fit_pose(shape, mean)
            aligned.append({n: pose.rotation.T @ (p - pose.translation_mm) for n, p in shape.items()})
        mean = {n: np.mean([a[n] for a in aligned], axis=0) for n in mean}
    anchor = {
        f"{side} {name}": np.array(point) * (sign, 1, 1)
        for name, point in MNI_CENTRES_MM.items()
        for side, sign in (("left", -1), ("right", 1))
    }
    to_mni = fit_pose({n: mean[n] for n in anchor}, anchor)
    # heads' own mean size is kept: only the turn and the origin are taken over
    return {n: np.round(to_mni.rotation.T @ (p - to_mni.translation_mm), 2).tolist() for n, p in mean.items()}


def _named(centroids: np.ndarray) -> dict[str, np.ndarray]:
    return {name: c for name, c in zip(CLASS_NAMES, centroids, strict=True) if np.isfinite(c).all()}


def _mirrored(shape: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    swapped = {}
    for name, point in shape.items():
        for one, other in (("left ", "right "), ("right ", "left ")):
            if name.startswith(one):
                name = name.replace(one, other)
                break
        swapped[name] = point * np.array([-1, 1, 1])
    return swapped
