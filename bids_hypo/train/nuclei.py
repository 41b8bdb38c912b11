"""Nuclei rich in iron that head label maps do not have: substantia nigra, red nucleus and dentate nucleus."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bids_hypo.segmentation.pose import fit_pose
from bids_hypo.train.contrasts import DENTATE, RED_NUCLEUS, SUBSTANTIA_NIGRA
from bids_hypo.train.headmaps import CLASS_NAMES, HeadMap, class_centroids
from bids_hypo.train.pose_template import MNI_CENTRES_MM

# Centre of the right one in MNI152 (mm), half axes (mm), labels that it may lie in. A rough place is enough: these only
# teach that something bright lies there.
_ELLIPSOIDS = (
    (SUBSTANTIA_NIGRA, (10.0, -17.0, -12.0), (4.5, 6.0, 3.0), (16, 28, 60)),
    (RED_NUCLEUS, (5.0, -20.5, -9.0), (3.0, 3.2, 4.0), (10, 16, 28, 49, 60)),
    (DENTATE, (14.0, -56.0, -36.0), (7.5, 9.5, 6.5), (7, 8, 46, 47)),
)
_HILUS = ((-3.0, 3.5, 0.0), (5.5, 8.0, 4.5))  # what the crescent of the dentate leaves open, from its centre


def with_nuclei(head: HeadMap) -> HeadMap:
    """The same head with the nuclei painted in, at their mean place after a fit of its structures to MNI152.

    Parameters
    ----------
    head : HeadMap

    Returns
    -------
    HeadMap
        With more codes; classes stay as they are.
    """
    found = {n: c for n, c in zip(CLASS_NAMES, class_centroids(head), strict=True) if np.isfinite(c).all()}
    anchor = {
        f"{side} {name}": np.array(point) * (sign, 1, 1)
        for name, point in MNI_CENTRES_MM.items()
        for side, sign in (("left", -1), ("right", 1))
    }
    pose = fit_pose(found, anchor, what=head.name)
    codes, old = head.codes.copy(), list(range(len(head.label)))  # for each new code the one that it was
    label = head.label.tolist()
    for numbers, centre, axes, hosts in _ELLIPSOIDS:
        for number, sign in zip(numbers, (-1, 1), strict=True):
            place = pose.place(np.array(centre) * (sign, 1, 1))
            box = tuple(slice(max(int(p) - 14, 0), int(p) + 15) for p in place)
            here = head.codes[box]
            at = np.indices(here.shape).transpose(1, 2, 3, 0) + [s.start for s in box]
            offset = (at - place) @ pose.rotation / pose.scale * (sign, 1, 1)
            mask = _in_ellipsoid(offset, (0, 0, 0), axes) & np.isin(head.label[here], hosts)
            if numbers == DENTATE:
                mask &= ~_in_ellipsoid(offset, *_HILUS)
            for code in np.unique(here[mask]):
                codes[box][mask & (here == code)] = len(old)
                old.append(int(code))
                label.append(number)
    return replace(
        head, codes=codes, label=np.array(label, head.label.dtype), target=head.target[old], ring=head.ring[old]
    )


def _in_ellipsoid(offset: np.ndarray, centre: tuple[float, ...], axes: tuple[float, ...]) -> np.ndarray:
    return (((offset - np.array(centre)) / np.array(axes)) ** 2).sum(-1) < 1
