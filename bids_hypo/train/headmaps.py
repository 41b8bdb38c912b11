"""Anatomical label maps of whole heads, from which T1w-like images are synthesised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_hypo.image.segmentation import open_labels
from bids_hypo.segmentation.cleanup import largest_component
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
MAX_CHANGE_MM = {"sulci wider": 2.0, "sulci filled": 2.5, "cortex from skull": 5.0, "cerebellum from skull": 14.0,
                 "ventricles": 5.0}  # fmt: skip
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


def vary_fluid(labels: np.ndarray, rngs: Sequence[np.random.Generator]) -> Iterator[np.ndarray]:
    """The same skull with less brain in it, as in an older person, or with more, as in a younger one.

    Each by an amount that varies smoothly over the head: sulci widen by up to 2 mm or fill with up to 2.5 mm of cortex;
    fluid below the skull becomes up to 5 mm deep over the cortex and 14 mm over the cerebellum (a large cisterna magna
    is common in healthy people); up to 5 mm of white matter around the lateral ventricles become ventricle.

    A network that sees each skull with one depth of fluid only learns where bone usually begins, and is drawn to that
    depth where fluid and bone are hard to tell apart.

    Parameters
    ----------
    labels : (X, Y, Z) int
        FreeSurfer numbers, 1 mm.
    rngs : sequence of numpy Generator
        One for each copy; distances in the head are computed once for all of them.

    Yields
    ------
    (X, Y, Z) int
    """
    if not rngs:
        return
    cortex, fluid = np.isin(labels, CORTEX), labels == CSF
    from_cortex, nearest = ndimage.distance_transform_edt(~cortex, return_indices=True)
    filling = labels[tuple(nearest)]
    from_fluid = ndimage.distance_transform_edt(~fluid)
    from_skull = ndimage.distance_transform_edt(is_inside(labels) | (labels == SINUS))
    beside = {
        ventricle: np.where(labels == white, ndimage.distance_transform_edt(labels != ventricle), np.inf)
        for ventricle, white in zip(LATERAL_VENTRICLES, WHITE_MATTER, strict=True)
    }
    for rng in rngs:
        varied = labels.copy()
        sulci = np.clip(_unit_field(labels.shape, rng) + np.float32(rng.uniform(-1.0, 0.2)), -1, 1)
        filled = fluid & (from_cortex <= -MAX_CHANGE_MM["sulci filled"] * sulci)
        varied[filled] = filling[filled]
        varied[cortex & (from_fluid <= MAX_CHANGE_MM["sulci wider"] * sulci)] = CSF
        for brain, name, least in ((CORTEX, "cortex from skull", -1.0), (CEREBELLUM, "cerebellum from skull", -0.3)):
            depth = MAX_CHANGE_MM[name] * rng.uniform(least, 1.0) * _unit_field(labels.shape, rng)
            varied[np.isin(varied, brain) & (from_skull <= depth)] = CSF
        ventricles = MAX_CHANGE_MM["ventricles"] * rng.uniform(0.0, 1.0) * _unit_field(labels.shape, rng)
        for ventricle, distance in beside.items():
            varied[distance <= ventricles] = ventricle
        yield varied


def _unit_field(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A smooth random field from 0 to 1."""
    field = smooth_field(shape, (5, 6, 5), rng)
    field -= field.min()
    return field / field.max()


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


def load_head_maps(path: Path, varied_fluid: Sequence[np.random.Generator] = ()) -> tuple[HeadMap, ...]:
    """Read a label map as `load_head_map` does, and make copies of it with other spaces of fluid.

    Parameters
    ----------
    path : Path
    varied_fluid : sequence of numpy Generator
        One for each copy, in which `vary_fluid` changes them inside the same intracranial volume.

    Returns
    -------
    tuple of HeadMap
        The map as it is, then the copies.
    """
    image = nib.as_closest_canonical(open_labels(path))
    labels = np.asanyarray(image.dataobj).astype(np.int16)
    labels = np.pad(labels[_box(labels > 0)], 2)
    icv, name = intracranial_mask(labels), path.name.split(".")[0]
    labels = painted_to(labels, icv)
    return tuple(_prepared(some, icv, name) for some in chain([labels], vary_fluid(labels, varied_fluid)))


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
