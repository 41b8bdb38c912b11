"""A whole head painted around nilearn's skull-stripped MNI152 template: CSF, skull, scalp, face and neck.

The template (a real averaged T1w image) is kept as it is inside the brain; everything else is drawn, so that the inside
of the skull, and with it the intracranial volume, is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from scipy import ndimage

from bids_hypo.demo.lattice import noise_field
from bids_hypo.demo.shapes import Coordinates, blend, ellipsoid, paired, tube
from bids_hypo.image.grid import Grid

HEAD_GRID = Grid((213, 257, 247), np.array([[1.0, 0, 0, -106], [0, 1, 0, -132], [0, 0, 1, -142], [0, 0, 0, 1]]))
"""MNI152 space, 1 mm: the template's grid enlarged to hold a head and a neck."""
FORAMEN_MAGNUM_Z_MM = -63.0
"""The intracranial volume ends at this plane; below it the spinal canal begins."""
CAPSULE_CENTRE_MM = (79.5, 28.0, 28.0)
"""An oil capsule on the RIGHT temple, as laboratories tape it on: the template itself is left-right symmetric."""


class Tissue(IntEnum):
    """What a painted voxel is made of."""

    AIR = 0
    BRAIN = 1
    CSF = 2
    CORTICAL_BONE = 3
    MARROW = 4
    FAT = 5
    SKIN = 6
    MUSCLE = 7
    EYE = 8
    BLOOD = 9
    CORD = 10
    OIL = 11


TYPICAL_T1W = {
    Tissue.AIR: 0.0,
    Tissue.BRAIN: 1.0,
    Tissue.CSF: 0.17,
    Tissue.CORTICAL_BONE: 0.07,
    Tissue.MARROW: 0.48,
    Tissue.FAT: 1.15,
    Tissue.SKIN: 0.55,
    Tissue.MUSCLE: 0.42,
    Tissue.EYE: 0.16,
    Tissue.BLOOD: 0.45,
    Tissue.CORD: 0.78,
    Tissue.OIL: 1.3,
}
"""Intensities relative to white matter at about 0.9; the brain's entry multiplies the template's own values."""


@dataclass(frozen=True)
class Head:
    """A painted head in template space.

    Attributes
    ----------
    tissue : (X, Y, Z) uint8
        Values of `Tissue` on `HEAD_GRID`, as all arrays here.
    brain : (X, Y, Z) float32
        The template's intensities, 0 outside the brain.
    texture : (X, Y, Z) float32
        Factor about 1 for the painted tissues.
    icv : (X, Y, Z) bool
        Inside of the skull above the foramen magnum.
    """

    tissue: np.ndarray
    brain: np.ndarray
    texture: np.ndarray
    icv: np.ndarray

    @property
    def icv_mm3(self) -> float:
        """Intracranial volume in template space, in mm3."""
        return float(self.icv.sum()) * HEAD_GRID.voxel_volume_mm3


@lru_cache(maxsize=1)
def build_head() -> Head:
    """Paint the head (some seconds; kept for the life of the process).

    Returns
    -------
    Head
        The same at every call and on every run.
    """
    rng = np.random.default_rng(152)
    at = _coordinates()
    brain = _template_on_head_grid()
    cavity = _cranial_cavity(at, brain > 0, rng)
    from_cavity = _distance_to(cavity, margin=45)
    skull_mm = _skull_thickness_mm(at, rng)
    depth = -_outer_surface(at, from_cavity, skull_mm)
    sheets = noise_field(rng, HEAD_GRID.shape, 6.0)
    tissue = _soft_tissue(at, depth, sheets)
    _paint_face(at, tissue, depth)
    _paint_skull(at, tissue, from_cavity, skull_mm, sheets)
    _paint_spine(at, tissue)
    _paint_cavity(at, tissue, cavity, brain)
    tissue[(ellipsoid(at, CAPSULE_CENTRE_MM, (6, 6, 9)) < 0) & (tissue == Tissue.AIR) & (depth < 0)] = Tissue.OIL
    texture = 1 + 0.07 * noise_field(rng, HEAD_GRID.shape, 3.0) + 0.05 * sheets
    icv = cavity & (at[2] > FORAMEN_MAGNUM_Z_MM)
    return Head(tissue, brain, texture.astype(np.float32), icv)


def t1w_intensity(head: Head, contrast: dict[Tissue, float], brain_gamma: float = 1.2) -> np.ndarray:
    """T1-weighted intensities of a head.

    Parameters
    ----------
    head : Head
    contrast : mapping of Tissue to float
        As `TYPICAL_T1W`.
    brain_gamma : float
        Exponent on the template's values; above 1 it widens the contrast between grey and white matter.

    Returns
    -------
    (213, 257, 247) float32, about 0 to 1.3, slightly smoothed so that borders have partial volume
    """
    table = np.array([contrast[tissue] for tissue in Tissue], dtype=np.float32)
    image = table[head.tissue]
    image *= head.texture
    inside = head.brain > 0
    image[inside] = contrast[Tissue.BRAIN] * head.brain[inside] ** np.float32(brain_gamma)
    smooth = ndimage.gaussian_filter(image, 0.6, truncate=2.5)
    core = ndimage.binary_erosion(inside, iterations=2)
    smooth[core] = image[core]  # the template is an average and soft enough already
    return smooth


def _coordinates() -> Coordinates:
    origin = HEAD_GRID.affine[:3, 3]
    x, y, z = (np.arange(n, dtype=np.float32) + np.float32(o) for n, o in zip(HEAD_GRID.shape, origin, strict=True))
    return x[:, None, None], y[None, :, None], z[None, None, :]


def _template_on_head_grid() -> np.ndarray:
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    template = image.get_fdata(dtype=np.float32)
    keep = ndimage.find_objects((template > 0).astype(np.uint8))[0]
    start = np.round(image.affine[:3, 3] + [s.start for s in keep] - HEAD_GRID.affine[:3, 3]).astype(int)
    brain = np.zeros(HEAD_GRID.shape, dtype=np.float32)
    part = template[keep]
    brain[tuple(slice(a, a + n) for a, n in zip(start, part.shape, strict=True))] = part
    return brain


def _cranial_cavity(at: Coordinates, brain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brain closed by 12 mm (fissures, cisterns) plus a gap of CSF that varies from place to place."""
    closed = _closed(brain, 12)
    closed |= ellipsoid(at, (0, 2, -20), (13, 12, 9)) < 0  # suprasellar cistern
    closed &= at[2] > FORAMEN_MAGNUM_Z_MM - 4
    gap_mm = 2.6 + 0.8 * noise_field(rng, HEAD_GRID.shape, 18.0) + 0.8 * np.clip(at[2] / 60, 0, 1)
    gap_mm = np.clip(gap_mm, 1.2, 5.0)
    cavity = _distance_to(closed, margin=8) <= gap_mm
    cavity = ndimage.gaussian_filter(cavity.astype(np.float32), 2.0) > 0.5
    return np.asarray((cavity | brain) & (at[2] > FORAMEN_MAGNUM_Z_MM - 4))


def _distance_to(body: np.ndarray, margin: int) -> np.ndarray:
    """Distance in voxels (1 mm) to a body; where farther than a margin from its bounding box, the margin."""
    distance = np.full(body.shape, margin, dtype=np.float32)
    box = _bounding_box(body, margin)
    distance[box] = ndimage.distance_transform_edt(~body[box])
    return distance


def _closed(body: np.ndarray, radius: int) -> np.ndarray:
    box = _bounding_box(body, radius + 2)
    closed = np.zeros_like(body)
    closed[box] = ndimage.distance_transform_edt(ndimage.distance_transform_edt(~body[box]) <= radius) > radius
    return closed


def _bounding_box(body: np.ndarray, margin: int) -> tuple[slice, ...]:
    box = ndimage.find_objects(body.astype(np.uint8))[0]
    return tuple(slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, n in zip(box, body.shape, strict=True))


def _skull_thickness_mm(at: Coordinates, rng: np.random.Generator) -> np.ndarray:
    thickness = 6.8 + 1.1 * noise_field(rng, HEAD_GRID.shape, 24.0) + 1.5 * np.clip((-at[1] - 60) / 40, 0, 1)
    temple = np.clip((np.abs(at[0]) - 50) / 15, 0, 1) * np.clip((35 - at[2]) / 20, 0, 1)
    return np.clip(thickness * (1 - 0.45 * temple), 3.0, 10.0)


def _outer_surface(at: Coordinates, from_cavity: np.ndarray, skull_mm: np.ndarray) -> np.ndarray:
    """Signed distance of the skin's surface."""
    jaw_muscle = 7 * np.clip((np.abs(at[0]) - 40) / 20, 0, 1) * np.clip((40 - at[2]) / 30, 0, 1)
    jaw_muscle = jaw_muscle * np.clip((at[1] + 35) / 15, 0, 1) * np.clip((65 - at[1]) / 15, 0, 1)
    scalp = ndimage.gaussian_filter(from_cavity - skull_mm - 6.5 - jaw_muscle, 1.5)
    face = ellipsoid(at, (0, 36, -58), (66, 58, 62))
    chin = ellipsoid(at, (0, 56, -102), (42, 40, 28))
    nose = blend(ellipsoid(at, (0, 98, -50), (12, 15, 13)), ellipsoid(at, (0, 92, -36), (7, 12, 20)), 10)
    neck = tube(at, (0, -38, -300), (0, -22, -60), (58, 60))
    ear = paired(at, (84, -26, -28), (7, 16, 28))
    surface = blend(blend(scalp, face, 18), chin, 14)
    surface = blend(surface, neck, 24)
    return blend(blend(surface, nose, 10), ear, 4)


def _soft_tissue(at: Coordinates, depth: np.ndarray, sheets: np.ndarray) -> np.ndarray:
    """Skin, the fat below it and muscle with sheets of fat between."""
    fat_ends = 6.3 + 0.7 * sheets + 5 * np.clip((-at[1] - 40) / 40, 0, 1) * np.clip((-at[2] - 60) / 20, 0, 1)
    tissue = np.zeros(depth.shape, dtype=np.uint8)
    tissue[depth > 0] = Tissue.SKIN
    tissue[depth > 2] = Tissue.FAT
    inner = depth > fat_ends
    tissue[inner] = Tissue.MUSCLE
    tissue[inner & (np.abs(sheets) < 0.09)] = Tissue.FAT
    return tissue


def _paint_face(at: Coordinates, tissue: np.ndarray, depth: np.ndarray) -> None:
    """Orbits, jaws, sinuses and airways, in place."""
    inside = depth > 2
    maxilla = ellipsoid(at, (0, 60, -58), (44, 32, 24))
    jaw = ellipsoid(at, (0, 50, -104), (46, 48, 200))
    arch = (jaw > -14) & (jaw < -5) & (at[1] > 20)
    _bone(tissue, np.where(inside, maxilla, 9.0), rim_mm=1.8)
    tissue[inside & arch & (np.abs(at[2] + 88) < 11)] = Tissue.CORTICAL_BONE  # teeth
    mandible = np.maximum(np.abs(jaw + 9.5) - 5, np.abs(at[2] + 110) - 9)
    ramus = np.maximum(paired(at, (47, 14, -75), (5, 16, 42)), at[2] + 48)
    lower_jaw = np.minimum(np.where(at[1] > 20, mandible, 9.0), ramus)
    _bone(tissue, np.where(inside & (at[1] > 0), lower_jaw, 9.0), rim_mm=1.6)
    orbit = paired(at, (30, 54, -34), (18, 32, 17))
    eye = paired(at, (32, 70, -34), (12, 12, 12))
    tissue[inside & (orbit < 1.5)] = Tissue.CORTICAL_BONE
    tissue[inside & (orbit < 0)] = Tissue.FAT
    nerve_x = 32 - (70 - at[1]) * 0.36
    nerve = np.hypot(np.abs(at[0]) - nerve_x, at[2] + 34)
    behind = inside & (orbit < 0) & (at[1] < 62)
    tissue[behind & ((nerve < 2.2) | (np.abs(nerve - 9) < 1.6))] = Tissue.MUSCLE
    tissue[(depth > 0) & (eye < 1.2)] = Tissue.MUSCLE
    tissue[(depth > 0) & (eye < 0)] = Tissue.EYE
    nasal = np.maximum(paired(at, (7.5, 56, -54), (6, 36, 20)), 2 - np.abs(at[0]))
    turbinate = paired(at, (10, 54, -58), (4, 26, 5))
    tissue[inside & (nasal < 2)] = Tissue.BLOOD
    tissue[inside & (nasal < 0) & (turbinate > 0)] = Tissue.AIR
    for centre, radii in (((27, 58, -56), (11, 14, 14)), ((11, 26, -40), (9, 10, 8)), ((9, 82, -8), (8, 3, 8))):
        tissue[inside & (paired(at, centre, radii) < 0)] = Tissue.AIR
    throat = blend(tube(at, (0, 2, -300), (0, 12, -62), (11, 6)), ellipsoid(at, (0, 18, -62), (11, 10, 12)), 6)
    tissue[inside & (throat < 1.5)] = Tissue.BLOOD
    tissue[inside & (throat < 0)] = Tissue.AIR


def _bone(tissue: np.ndarray, distance: np.ndarray, rim_mm: float) -> None:
    tissue[distance < 0] = Tissue.CORTICAL_BONE
    tissue[distance < -rim_mm] = Tissue.MARROW


def _paint_skull(
    at: Coordinates, tissue: np.ndarray, from_cavity: np.ndarray, skull_mm: np.ndarray, sheets: np.ndarray
) -> None:
    """Inner table, diploe and outer table, the sphenoid and the temporal bones, in place."""
    sphenoid = ellipsoid(at, (0, 4, -36), (22, 26, 13))
    body = (sphenoid < 0) & (tissue != Tissue.AIR)
    tissue[body] = np.where(sphenoid[body] < -1.5, Tissue.MARROW, Tissue.CORTICAL_BONE)
    mastoid = paired(at, (55, -36, -48), (11, 15, 20)) < 0
    tissue[mastoid] = np.where(sheets[mastoid] > 0.2, Tissue.MARROW, Tissue.AIR)
    petrous = paired(at, (34, -22, -44), (26, 9, 9)) < 0
    tissue[petrous] = np.where(sheets[petrous] > 0.9, Tissue.MARROW, Tissue.CORTICAL_BONE)
    shell = from_cavity <= skull_mm
    middle = shell & (from_cavity > 0.33 * skull_mm) & (from_cavity < 0.72 * skull_mm) & (skull_mm > 4.2)
    keep_air = (tissue == Tissue.AIR) & (from_cavity > 2)
    tissue[shell & ~keep_air] = Tissue.CORTICAL_BONE
    tissue[middle & ~keep_air] = Tissue.MARROW


def _paint_spine(at: Coordinates, tissue: np.ndarray) -> None:
    """Vertebrae, canal and cord below the foramen magnum, in place."""
    below = at[2] < FORAMEN_MAGNUM_Z_MM - 2
    body = tube(at, (0, -14, -300), (0, -22, -72), (14, 10))
    disc = np.mod(at[2] + 78, 19.0) < 4
    _bone(tissue, np.where(below & ~disc, body, 9.0), rim_mm=1.5)
    tissue[below & disc & (body < 0)] = Tissue.MUSCLE
    arch = tube(at, (0, -44, -300), (0, -46, -72), (14, 14))
    _bone(tissue, np.where(below & ~disc, arch, 9.0), rim_mm=1.5)
    spine_process = np.maximum(tube(at, (0, -66, -300), (0, -68, -84), (4, 14)), np.mod(at[2] + 78, 19.0) - 11)
    _bone(tissue, np.where(below, spine_process, 9.0), rim_mm=1.2)
    canal = tube(at, (0, -44, -300), (0, -46, FORAMEN_MAGNUM_Z_MM), (10, 9))
    tissue[below & (canal < 0)] = Tissue.CSF
    cord = tube(at, (0, -43, -300), (0, -45, -70), (6.5, 5))
    tissue[cord < 0] = Tissue.CORD


def _paint_cavity(at: Coordinates, tissue: np.ndarray, cavity: np.ndarray, brain: np.ndarray) -> None:
    """CSF with the sagittal sinus, then the brain, in place."""
    tissue[cavity & (at[2] > FORAMEN_MAGNUM_Z_MM - 2)] = Tissue.CSF
    near_bone = ndimage.binary_erosion(cavity, iterations=4)
    sinus = cavity & ~near_bone & (np.abs(at[0]) < 4) & ((at[2] > 30) | ((at[1] < -60) & (at[2] > 0)))
    tissue[sinus] = Tissue.BLOOD
    tissue[brain > 0] = Tissue.BRAIN
