"""Anatomical label maps of whole heads, from which T1w-like images are synthesised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_hypo.segment.cleanup import largest_component
from bids_hypo.train.deform import smooth_field

# FreeSurfer numbers of each class of the anatomy network; what else lies inside the skull is "intracranial".
ANATOMY_CLASSES: dict[str, tuple[int, ...]] = {
    "background": (),
    "intracranial": (),
    "left thalamus": (10,),
    "right thalamus": (49,),
    "brainstem": (16,),
    "left lateral ventricle": (4,),
    "right lateral ventricle": (43,),
    "third ventricle": (14,),
    "left caudate": (11,),
    "right caudate": (50,),
    "left putamen": (12,),
    "right putamen": (51,),
    "left hippocampus": (17,),
    "right hippocampus": (53,),
    "left cerebellum": (7, 8),
    "right cerebellum": (46, 47),
    "left ventral diencephalon": (28,),
    "right ventral diencephalon": (60,),
}
CLASS_NAMES = tuple(ANATOMY_CLASSES)
CEREBELLUM = (7, 8, 46, 47)
CORTEX = (3, 42)
WHITE_MATTER = (2, 41)
LATERAL_VENTRICLES = (4, 43)
CSF = 24
SINUS = 514  # the dural venous sinuses, and large veins of the neck
MAX_WIDENING_MM = {"cortex": 2.0, "cerebellum": 8.0, "ventricles": 5.0}
FIRST_OUTSIDE = 500
STRIP_RINGS_MM = (0.0, 1.0, 2.0, 3.5, 5.0)
SINUS_NOTCH_MM = 10.0
SINUS_BULGE_MM = 4.0
SPILL_MM = 2.0


@dataclass(frozen=True)
class HeadMap:
    """A head as one code per voxel, with tables that say what each code is.

    Attributes
    ----------
    codes : (X, Y, Z) uint16
        1 mm, RAS axes.
    label : (n,) int
        FreeSurfer number of each code (0 outside the head).
    target : (n,) uint8
        Class of the anatomy network of each code.
    ring : (n,) uint8
        0 in the brain, otherwise 1 + the index of the ring around the brain (`STRIP_RINGS_MM`) the code lies in.
    centre : (3,) float, voxels
        Middle of the intracranial volume.
    name : str
    """

    codes: np.ndarray
    label: np.ndarray
    target: np.ndarray
    ring: np.ndarray
    centre: np.ndarray
    name: str

    @property
    def icv(self) -> np.ndarray:
        """(X, Y, Z) bool, the intracranial volume by the rule of `intracranial_mask`."""
        return (self.target > 0)[self.codes]


def is_inside(labels: np.ndarray) -> np.ndarray:
    """Where labels (any shape, FreeSurfer numbers) are of brain, ventricles or CSF: bool, same shape."""
    return (labels > 0) & (labels < FIRST_OUTSIDE)


def intracranial_mask(labels: np.ndarray) -> np.ndarray:
    """The intracranial volume of a label map, by one stated rule.

    Everything inside the inner table of the skull: labels 1 to 499 (brain, ventricles, CSF); the spinal canal cut off
    2 mm below the lowest voxel of the cerebellum; leaks thinner than 4 mm opened; largest component; dural venous
    sinuses that lie in a notch of it or bulge from it by up to 4 mm; gaps closed and holes filled; border smoothed by
    1 mm.

    The sinuses count because some maps, mostly of older people, do not tell them from CSF: without them the same
    skull would be 0.3 to 2.3 % smaller in one map than in another.

    Parameters
    ----------
    labels : (X, Y, Z) int
        FreeSurfer numbers, 1 mm, RAS axes.

    Returns
    -------
    (X, Y, Z) bool
    """
    inside = is_inside(labels)
    lowest = np.flatnonzero(largest_component(np.isin(labels, CEREBELLUM)).any(axis=(0, 1)))[0]
    inside[:, :, : max(lowest - 2, 0)] = False
    inside = largest_component(_by_distance(_by_distance(inside, -2.0), 2.0) & inside)
    inside |= _closed(inside, SINUS_NOTCH_MM, SINUS_BULGE_MM) & (labels == SINUS)
    inside = _by_distance(_by_distance(inside, 3.0), -3.0) | inside
    inside = ndimage.binary_fill_holes(inside)
    inside[:, :, : max(lowest - 2, 0)] = False
    return largest_component(ndimage.gaussian_filter(inside.astype(np.float32), 1.0) > 0.5)


def painted_to(labels: np.ndarray, icv: np.ndarray) -> np.ndarray:
    """The same head with tissues that end where the intracranial volume does.

    The rule of `intracranial_mask` closes gaps and smooths a border that was drawn voxel by voxel. Where it departs
    from the labels (1.1 to 1.6 % of the volume), an image would show bone inside of it and CSF just outside of it, and
    the border that is seen would not be the one that counts. So bone and other tissue inside becomes CSF (sinuses
    stay), and CSF or brain within 2 mm outside becomes the nearest tissue outside. Canals that lead further out stay.

    Parameters
    ----------
    labels : (X, Y, Z) int
        FreeSurfer numbers, 1 mm.
    icv : (X, Y, Z) bool

    Returns
    -------
    (X, Y, Z) int
    """
    painted = labels.copy()
    outer = ~is_inside(labels)
    painted[icv & outer & (labels != SINUS)] = CSF
    spill = ~icv & ~outer & _by_distance(icv, SPILL_MM)
    spill[:, :, : np.flatnonzero(icv.any(axis=(0, 1)))[0]] = False  # the spinal canal goes on below
    nearest = ndimage.distance_transform_edt(icv | ~outer, return_distances=False, return_indices=True)
    painted[spill] = labels[tuple(axis[spill] for axis in nearest)]
    return painted


def widen_fluid(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same head with less brain in it, as in an older person: wider sulci, ventricles and cisterns.

    Brain next to fluid becomes fluid to a depth that varies smoothly over the head: up to 2 mm of cortex, 8 mm of
    cerebellum (a large cisterna magna is common in healthy people) and 5 mm of white matter around the lateral
    ventricles. The skull stays where it is.

    Parameters
    ----------
    labels : (X, Y, Z) int
        FreeSurfer numbers, 1 mm.
    rng : numpy Generator

    Returns
    -------
    (X, Y, Z) int
    """
    wider = labels.copy()
    field = smooth_field(labels.shape, (5, 6, 5), rng)
    field -= field.min()
    field /= field.max()
    strength = {name: mm * rng.uniform(0.2, 1.0) for name, mm in MAX_WIDENING_MM.items()}
    from_csf = ndimage.distance_transform_edt(labels != CSF)
    wider[np.isin(labels, CORTEX) & (from_csf <= strength["cortex"] * field)] = CSF
    wider[np.isin(labels, CEREBELLUM) & (from_csf <= strength["cerebellum"] * field)] = CSF
    for ventricle, white in zip(LATERAL_VENTRICLES, WHITE_MATTER, strict=True):
        near = ndimage.distance_transform_edt(labels != ventricle) <= strength["ventricles"] * field
        wider[(labels == white) & near] = ventricle
    return wider


def load_head_map(path: Path) -> HeadMap:
    """Read a label map (any orientation, 1 mm) and prepare it for synthesis.

    Parameters
    ----------
    path : Path
        NIfTI with FreeSurfer numbers inside the skull, 500 and above outside of it.

    Returns
    -------
    HeadMap
    """
    return load_head_maps(path)[0]


def load_head_maps(path: Path, wider_fluid: Sequence[np.random.Generator] = ()) -> tuple[HeadMap, ...]:
    """Read a label map as `load_head_map` does, and make copies of it with wider spaces of fluid.

    Parameters
    ----------
    path : Path
    wider_fluid : sequence of numpy Generator
        One for each copy, in which `widen_fluid` widens them inside the same intracranial volume.

    Returns
    -------
    tuple of HeadMap
        The map as it is, then the copies.
    """
    image = nib.as_closest_canonical(nib.load(path))
    labels = np.asanyarray(image.dataobj).astype(np.int16)
    labels = np.pad(labels[_box(labels > 0)], 2)
    icv, name = intracranial_mask(labels), path.name.split(".")[0]
    labels = painted_to(labels, icv)
    return tuple(_prepared(some, icv, name) for some in (labels, *(widen_fluid(labels, rng) for rng in wider_fluid)))


def _prepared(labels: np.ndarray, icv: np.ndarray, name: str) -> HeadMap:
    target = icv.astype(np.uint8)
    for number, numbers in enumerate(ANATOMY_CLASSES.values()):
        if numbers:
            target[np.isin(labels, numbers) & icv] = number
    brain = largest_component(is_inside(labels) & (labels != CSF) & icv)
    distance = ndimage.distance_transform_edt(~ndimage.binary_fill_holes(_by_distance(_by_distance(brain, 2.0), -2.0)))
    ring = np.searchsorted(STRIP_RINGS_MM, distance, side="left").astype(np.uint8)
    packed = labels.astype(np.int32) * 1024 + target.astype(np.int32) * 16 + ring
    table, codes = np.unique(packed, return_inverse=True)
    return HeadMap(
        codes=codes.reshape(labels.shape).astype(np.uint16),
        label=table // 1024,
        target=((table % 1024) // 16).astype(np.uint8),
        ring=(table % 16).astype(np.uint8),
        centre=np.array(ndimage.center_of_mass(icv)),
        name=name,
    )


def class_centroids(head: HeadMap) -> np.ndarray:
    """(K, 3) float, centroid in mm (RAS axes, 1 mm voxels) of each anatomy class; NaN for the first two."""
    target = head.target[head.codes]
    found = np.full((len(CLASS_NAMES), 3), np.nan)
    numbers = np.arange(2, len(CLASS_NAMES))
    found[2:] = ndimage.center_of_mass(np.ones_like(target), target, numbers)
    return found


def _by_distance(mask: np.ndarray, mm: float) -> np.ndarray:
    """Dilate (mm > 0) or erode (mm < 0) by a ball, through the distance transform."""
    if mm > 0:
        return ndimage.distance_transform_edt(~mask) <= mm
    return ndimage.distance_transform_edt(mask) > -mm


def _closed(mask: np.ndarray, mm: float, wider_mm: float) -> np.ndarray:
    """Close by a ball, also at the faces of the grid, and then dilate by ``wider_mm``, which is less than ``mm``."""
    margin = int(np.ceil(mm)) + 1
    widened = _by_distance(np.pad(mask, margin), mm)
    return _by_distance(widened, wider_mm - mm)[(slice(margin, -margin),) * 3]


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    return ndimage.find_objects(mask.astype(np.uint8))[0]
