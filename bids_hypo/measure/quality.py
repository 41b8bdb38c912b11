"""Quality flags: reasons to look at a scan. They warn; they never stop a scan.

Two of them say that the ICV cannot be measured, and then no number is given for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

from bids_hypo.bids.checksums import TABLE_CHANGED
from bids_hypo.image.background import NOISY_AIR, UNCERTAIN
from bids_hypo.image.grid import Grid, bounding_box
from bids_hypo.image.placement import HEADER_INCONSISTENT, TEMPLATE_SPACE
from bids_hypo.image.values import UNDEFINED
from bids_hypo.measure.image_quality import ImageQuality, RegionQuality
from bids_hypo.measure.volumes import PartVolume, whole_mm3
from bids_hypo.structures import BOTH, LEFT, RIGHT, WHOLE, Plausible

SKULL_STRIPPED = "skull_stripped"
ICV_CUT = "icv_cut_by_field_of_view"
BORDER = "touches_region_border"
ASYMMETRIC = "asymmetric"
SMALL = "small_volume"
LARGE = "large_volume"
POSE = "pose_uncertain"
COARSE = "coarse_voxels"
FOLDS = "folds_disagree"
CONTRAST = "poor_contrast"
MOTION = "possible_motion"
DEFACED = "defaced_into_brain"
SMALL_HEAD = "small_head"
LARGE_HEAD = "large_head"
SMALL_PART = "small_part"
CORRECTION_FAR = "correction_far"
NOT_VISIBLE = "not_visible"
LOW_CONFIDENCE = "low_confidence"
SIDES_SWAPPED = "correction_sides_swapped"
IMAGES_DISAGREE = "images_disagree"

FLAG_TEXTS: dict[str, str] = {
    SKULL_STRIPPED: "the skull was removed: the intracranial volume cannot be measured",
    ICV_CUT: "the image ends inside the skull: the intracranial volume cannot be measured",
    BORDER: "the structure reaches the edge of the region that was searched",
    ASYMMETRIC: "left and right differ by more than is plausible for the structure",
    SMALL: "the volume is below what is plausible for the structure",
    LARGE: "the volume is above what is plausible for the structure",
    SMALL_PART: "a part of the structure is missing, or smaller than it can be",
    POSE: "brain structures do not lie as expected (tilt, pathology or poor contrast)",
    COARSE: "voxels coarser than those of the scans that the model was made for",
    FOLDS: "the networks of the model differ in the volume by more than 5 % (standard deviation)",
    CONTRAST: "poor contrast or much noise around the structure",
    MOTION: "structured signal in the air around the head, as motion during the scan leaves it",
    DEFACED: "the image was blanked up to or into the intracranial volume (defacing?)",
    SMALL_HEAD: "less than 1.0 litre inside the skull, which is less than adults and children above two years have",
    LARGE_HEAD: "more than 2.1 litres inside the skull, which is more than adults and children have",
    HEADER_INCONSISTENT: "sform, qform, voxel sizes or unit in the header do not quite agree, or the axes are sheared",
    UNCERTAIN: "what surrounds the head is as bright as some of the tissue, so the ICV is uncertain",
    UNDEFINED: "some voxels inside the head have no value (NaN) and were taken for 0",
    NOISY_AIR: "noise stands in place of air and bone (UNIT1): outlines, that of the ICV above all, are less certain",
    TEMPLATE_SPACE: "the header says that the image lies in a template's space, where volumes are not the person's",
    NOT_VISIBLE: "a side of the structure is not to be seen in the image, so that it has no outline and no volume",
    LOW_CONFIDENCE: "the structure hardly stands out from its surroundings, or the network is not sure of it",
    CORRECTION_FAR: "the mask corrected by hand hardly overlaps with the automatic one, or lies apart from it",
    SIDES_SWAPPED: "left and right of the mask corrected by hand lie where the automatic one has right and left",
    IMAGES_DISAGREE: "the images of an ensemble differ in the volume by more than 5 % (standard deviation)",
    TABLE_CHANGED: "the table of volumes was changed after it was written",
}
ICV_NOT_MEASURABLE = (SKULL_STRIPPED, ICV_CUT)

# Mean - 3 SD to mean + 3 SD of the 544 people of Vernikouskaya et al. (2023) is 0.99 to 1.98 litres.
ICV_RANGE_MM3 = (1.0e6, 2.1e6)
MAX_POSE_RESIDUAL_MM = 4.5
MAX_FOLD_SD = 0.05
MAX_IMAGE_SD = 0.05  # of an ensemble
MIN_CONFIDENCE = 0.65  # mean probability inside the outline
# Set on real scans and degraded copies of them; docs/reference/reports.md has the figures.
MIN_CONTRAST = 0.6
MIN_CONTRAST_TO_NOISE = 12.0
MAX_GHOSTING = 0.06
MAX_REMOVED_SHARE = 0.006
_SHELL_MM = (6.0, 18.0)
_MIN_TISSUE_OUTSIDE = 0.25
_MAX_CUT_MM2 = 150.0


def structure_flags(
    volumes: Sequence[PartVolume], plausible: Plausible, *, touches_border: bool, pose_residual_mm: float,
    voxel_sizes_mm: np.ndarray,
) -> tuple[str, ...]:  # fmt: skip
    """Flags of a structure.

    Parameters
    ----------
    volumes : sequence of PartVolume
        Of its parts, sides and of the whole.
    plausible : Plausible
    touches_border : bool
        Whether it reaches the edge of its region.
    pose_residual_mm : float
        See `bids_hypo.segmentation.pose.Pose`.
    voxel_sizes_mm : (3,) float

    Returns
    -------
    tuple of str
        Keys of `FLAG_TEXTS`.
    """
    border = (BORDER,) if touches_border else ()
    of_whole = next(v for v in volumes if (v.part, v.hemisphere) == (WHOLE, BOTH))
    sd, volume = of_whole.volume_sd_mm3, of_whole.volume_mm3
    checks = {
        POSE: pose_residual_mm > MAX_POSE_RESIDUAL_MM,
        COARSE: round(float(np.max(voxel_sizes_mm)), 2) > plausible.max_voxel_mm,
        FOLDS: sd is not None and volume is not None and sd > MAX_FOLD_SD * volume,
    }
    return border + volume_flags(volumes, plausible) + tuple(name for name, raised in checks.items() if raised)


def volume_flags(volumes: Sequence[PartVolume], plausible: Plausible) -> tuple[str, ...]:
    """Flags that follow from the volumes of a structure alone; keys of `FLAG_TEXTS`."""
    left, right = (whole_mm3(volumes, side) for side in (LEFT, RIGHT))
    whole = whole_mm3(volumes) or 0.0
    parts = [v.volume_mm3 for v in volumes if v.part != WHOLE and v.volume_mm3 is not None]
    missing = any(v.volume_mm3 is None for v in volumes)
    uneven = False
    if left is not None and right is not None:
        uneven = abs(left - right) > plausible.max_asymmetry * (left + right) / 2
    checks = {
        ASYMMETRIC: uneven,
        NOT_VISIBLE: missing,
        SMALL: whole < plausible.whole_mm3[0] and not missing,
        LARGE: whole > plausible.whole_mm3[1],
        SMALL_PART: any(part < plausible.min_part_mm3 for part in parts),
    }
    return tuple(name for name, raised in checks.items() if raised)


VOLUME_FLAGS = (ASYMMETRIC, SMALL, LARGE, SMALL_PART)  # those that `volume_flags` gives


def ensemble_flags(volumes: Sequence[PartVolume], plausible: Plausible, of_images: Iterable[str]) -> tuple[str, ...]:
    """Flags of volumes that were averaged over images: what follows from them, and what else the images have.

    Parameters
    ----------
    volumes : sequence of PartVolume
        Their SD is that between the images.
    plausible : Plausible
    of_images : iterable of str
        Flags of the structure in each image.
    """
    whole = next(v for v in volumes if (v.part, v.hemisphere) == (WHOLE, BOTH))
    sd, volume = whole.volume_sd_mm3, whole.volume_mm3
    apart = sd is not None and volume is not None and sd > MAX_IMAGE_SD * volume
    kept = [flag for flag in of_images if flag not in VOLUME_FLAGS]
    return tuple(dict.fromkeys([*volume_flags(volumes, plausible), *([IMAGES_DISAGREE] if apart else []), *kept]))


def confidence_flags(
    volumes: Sequence[PartVolume], plausible: Plausible, probability: np.ndarray, labels: np.ndarray
) -> tuple[str, ...]:
    """Whether a structure that may be missing is only just there.

    Parameters
    ----------
    volumes : sequence of PartVolume
    plausible : Plausible
    probability : (X, Y, Z, P) float
        Of each part.
    labels : (X, Y, Z) int

    Returns
    -------
    tuple of str
        Keys of `FLAG_TEXTS`.
    """
    if not plausible.may_be_missing:
        return ()
    contrasts = [v.contrast_ppm for v in volumes if v.contrast_ppm is not None and np.isfinite(v.contrast_ppm)]
    faint = any(contrast < plausible.min_contrast_ppm for contrast in contrasts)
    box = bounding_box(labels)
    inside = probability[box].max(axis=-1)[labels[box] > 0]
    unsure = bool(inside.size) and float(inside.mean()) < MIN_CONFIDENCE
    return (LOW_CONFIDENCE,) if faint or unsure else ()


def contrast_flags(quality: RegionQuality) -> tuple[str, ...]:
    """Flags of the image around a structure, set on T1w images; what could not be measured (NaN) raises none."""
    poor = quality.contrast < MIN_CONTRAST or quality.contrast_to_noise < MIN_CONTRAST_TO_NOISE
    return (CONTRAST,) if poor else ()


def icv_flags(image: np.ndarray, icv_probability: np.ndarray, grid: Grid, native_icv: np.ndarray, native: Grid
              ) -> tuple[str, ...]:  # fmt: skip
    """Flags of an intracranial volume.

    Parameters
    ----------
    image : (X, Y, Z) float
        The scan on the anatomy network's grid, background near 0.
    icv_probability : (X, Y, Z) float
        On the same grid.
    grid : Grid
        That grid.
    native_icv : (x, y, z) bool
        The mask on the scan's own grid.
    native : Grid

    Returns
    -------
    tuple of str
        Keys of `FLAG_TEXTS`.
    """
    flags = list(icv_size_flags(float(native_icv.sum()) * native.voxel_volume_mm3))
    if tissue_outside(image, icv_probability > 0.5, grid) < _MIN_TISSUE_OUTSIDE:
        flags.append(SKULL_STRIPPED)
    if cut_area_mm2(native_icv, native) > _MAX_CUT_MM2:
        flags = [*(flag for flag in flags if flag != SMALL_HEAD), ICV_CUT]
    return tuple(flags)


def icv_size_flags(icv_mm3: float) -> tuple[str, ...]:
    """Flags that follow from the size of the intracranial space alone; keys of `FLAG_TEXTS`."""
    checks = {SMALL_HEAD: icv_mm3 < ICV_RANGE_MM3[0], LARGE_HEAD: icv_mm3 > ICV_RANGE_MM3[1]}
    return tuple(name for name, raised in checks.items() if raised)


def image_flags(quality: ImageQuality, *, skull_stripped: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Flags of the image itself; what could not be measured (NaN) raises none.

    Parameters
    ----------
    quality : ImageQuality
    skull_stripped : bool
        Then the image is blank around the brain on purpose.

    Returns
    -------
    of_structures, of_icv : tuple of str
        Keys of `FLAG_TEXTS`: those that concern every structure, and the ICV.
    """
    motion = (MOTION,) if quality.ghosting > MAX_GHOSTING else ()
    defaced = quality.removed_share > MAX_REMOVED_SHARE and not skull_stripped
    return motion, ((DEFACED,) if defaced else ())


def tissue_outside(image: np.ndarray, icv: np.ndarray, grid: Grid) -> float:
    """Share of the shell 6 to 18 mm outside the upper half of the ICV that is tissue.

    Tissue is what is brighter than a fifth of the median inside the ICV. Scalp and marrow fill a good part of that
    shell in a whole head; after skull stripping hardly anything does. The lower half is left out, where masks may keep
    eyes and neck, or defacing takes them away.
    """
    if not icv.any():
        return 0.0
    reach = np.ceil(_SHELL_MM[1] / grid.voxel_sizes_mm).astype(int)
    x, y, z = bounding_box(icv, reach)
    levels = bounding_box(icv)[2]
    middle = (levels.start + levels.stop - 1) // 2
    z = slice(max(middle - reach[2], 0), z.stop)
    distance = ndimage.distance_transform_edt(~icv[x, y, z], sampling=grid.voxel_sizes_mm)
    shell = (distance > _SHELL_MM[0]) & (distance < _SHELL_MM[1])
    shell[:, :, : middle - z.start] = False
    if not shell.any():
        return 0.0
    return float((image[x, y, z][shell] > 0.2 * np.median(image[icv])).mean())


def cut_area_mm2(mask: np.ndarray, grid: Grid) -> float:
    """Area of a mask on the outermost faces of its image, the largest of the six, in mm2."""
    sizes = grid.voxel_sizes_mm
    areas = []
    for axis in range(3):
        face = float(np.prod(np.delete(sizes, axis)))
        areas += [face * int(mask.take(index, axis=axis).sum()) for index in (0, -1)]
    return max(areas)
