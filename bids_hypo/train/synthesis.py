"""T1w-like images made from head label maps: random anatomy, contrast, artefacts and fields of view.

After the idea of SynthSeg (Billot et al. 2023, Med Image Anal): an image is a random intensity for each label,
blurred, biased and noisy. Contrast here is drawn around T1w, and tissues outside the skull are drawn apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from bids_hypo.image.grid import as_shape
from bids_hypo.image.volume import Volume
from bids_hypo.train.artefacts import add_noise, bias_and_gamma, cut_field_of_view
from bids_hypo.train.deform import random_affine, smooth_field
from bids_hypo.train.headmaps import CLASS_NAMES, SINUS, STRIP_RINGS_MM, HeadMap, is_inside

WHITE = (2, 7, 41, 46)
GREY = (3, 8, 17, 18, 26, 42, 47, 53, 54, 58, 25, 57, 136, 137, 163, 164)
FLUID = (4, 5, 14, 15, 24, 43, 44, 72)
PAIRS = {41: 2, 42: 3, 43: 4, 44: 5, 46: 7, 47: 8, 49: 10, 50: 11, 51: 12, 52: 13, 53: 17, 54: 18, 57: 25, 58: 26,
         60: 28, 62: 30}  # fmt: skip
BONE, MARROW, SOFT, SKIN = 515, 516, 507, 511
# Relative to white matter, as found on twelve whole-head T1w scans (ds000011), widened on both sides.
MEASURED_CONTRAST = {"grey": (0.52, 0.78), "fluid": (0.08, 0.25), BONE: (0.01, 0.07), MARROW: (0.1, 1.0),
                     SOFT: (0.22, 0.65), SKIN: (0.3, 1.3), SINUS: (0.25, 0.65)}  # fmt: skip


@dataclass(frozen=True)
class SynthesisOptions:
    """Strength of each random effect; `mild` is used to make validation scans.

    Lengths in mm, angles in degrees, intensities relative to white matter. ``noise_max`` bounds the standard deviation
    in a voxel of the network's grid, where a scan of 1 mm has less than half of its own noise; ``blur_max_mm`` that of
    the blur. ``fluid_range`` bounds the mean of CSF;
    ``bone_like_fluid`` is how often bone is drawn about as bright as CSF, which hides the border of the ICV: T1w images
    are not like that, but it teaches shape. ``measured_contrast`` is how often grey matter, CSF and the tissues outside
    the brain are drawn from `MEASURED_CONTRAST` instead.
    """

    max_rotation_deg: float = 22.0
    scale_sd: float = 0.07
    max_shear: float = 0.08
    max_shift_mm: float = 12.0
    warp_mm: float = 3.5
    any_contrast: float = 0.12
    fluid_range: tuple[float, float] = (0.05, 0.42)
    bone_like_fluid: float = 0.4
    measured_contrast: float = 0.0
    noise_max: float = 0.06
    blur_max_mm: float = 1.1
    bias_max: float = 0.35
    strip: float = 0.22
    deface: float = 0.2
    crop: float = 0.35


MILD = SynthesisOptions(
    max_rotation_deg=8.0,
    scale_sd=0.03,
    max_shear=0.02,
    warp_mm=1.0,
    any_contrast=0.0,
    fluid_range=(0.15, 0.42),
    bone_like_fluid=0.0,
    noise_max=0.05,
    bias_max=0.2,
    strip=0.0,
    deface=0.0,
    crop=0.0,
)


T1W = replace(MILD, measured_contrast=1.0)


def warp_codes(
    head: HeadMap,
    shape: tuple[int, int, int],
    rng: np.random.Generator,
    options: SynthesisOptions,
    *,
    spacing_mm: np.ndarray | None = None,
) -> np.ndarray:
    """Deform a head onto a grid of the given shape, the middle of the ICV near its middle.

    Parameters
    ----------
    head : HeadMap
    shape : (3,) int
    rng : numpy Generator
    options : SynthesisOptions
    spacing_mm : (3,) float, optional
        Of the grid; 1 mm by default.

    Returns
    -------
    shape uint16
        Codes of ``head``; those of the background where the head ends.
    """
    affine = random_affine(
        rng,
        max_rotation_deg=options.max_rotation_deg,
        scale_sd=options.scale_sd,
        max_shear=options.max_shear,
        max_shift=options.max_shift_mm,
    )
    flat = np.zeros(shape, np.int32)
    valid = np.ones(shape, bool)
    mm = np.ones(3) if spacing_mm is None else np.asarray(spacing_mm, float)
    grid = [(np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2)) * np.float32(mm[k]) for k, n in enumerate(shape)]
    size = head.codes.shape
    controls = tuple(max(5, int(n * m) // 32) for n, m in zip(shape, mm, strict=True))
    for axis in range(3):
        where = smooth_field(shape, controls, rng)
        where *= np.float32(rng.uniform(0, options.warp_mm))
        row = affine[axis, :3].astype(np.float32)
        where += (row[0] * grid[0])[:, None, None] + (row[1] * grid[1])[None, :, None] + (row[2] * grid[2])
        where += np.float32(head.centre[axis] + affine[axis, 3] + 0.5)
        index = where.astype(np.int32)
        valid &= (where >= 0) & (index < size[axis])
        np.clip(index, 0, size[axis] - 1, out=index)
        flat = flat * size[axis] + index
    codes = head.codes.ravel()[flat]
    codes[~valid] = np.flatnonzero((head.label == 0) & (head.target == 0))[-1]
    return codes


def tissue_means(labels: np.ndarray, rng: np.random.Generator, options: SynthesisOptions) -> np.ndarray:
    """Draw a mean intensity for each label; white matter is 1.

    Parameters
    ----------
    labels : (n,) int
        FreeSurfer numbers; 500 and above outside the skull.
    rng : numpy Generator
    options : SynthesisOptions

    Returns
    -------
    (n,) float32
    """
    present = np.unique(labels)
    if rng.random() < options.any_contrast:
        drawn = {int(n): rng.uniform(0, 1.1) for n in present}
        drawn[0] = rng.uniform(0, 0.1)
    else:
        drawn = _t1w_means(present, rng, options)
    for right, left in PAIRS.items():
        if right in drawn and left in drawn:
            drawn[right] = drawn[left] * rng.normal(1, 0.01)
    return np.array([drawn[int(n)] for n in labels], np.float32)


def _t1w_means(present: np.ndarray, rng: np.random.Generator, options: SynthesisOptions) -> dict[int, float]:
    measured = options.measured_contrast > 0 and rng.random() < options.measured_contrast
    grey = rng.uniform(*MEASURED_CONTRAST["grey"]) if measured else rng.uniform(0.5, 0.88)
    fluid = rng.uniform(*(MEASURED_CONTRAST["fluid"] if measured else options.fluid_range))
    fluid = min(fluid, grey - 0.15)
    between = lambda low, high: grey + (1 - grey) * rng.uniform(low, high)  # noqa: E731
    drawn: dict[int, float] = {int(n): rng.uniform(0.1, 1.3) for n in present}
    drawn |= {n: rng.normal(1, 0.02) for n in WHITE}
    drawn |= {n: grey * rng.normal(1, 0.03) for n in GREY}
    drawn |= {n: max(fluid * rng.normal(1, 0.12), 0.0) for n in FLUID}
    drawn |= {16: between(0.5, 1.0), 28: between(0.3, 0.95), 10: between(0.2, 0.8), 13: between(0.4, 1.0)}
    drawn |= {11: grey * rng.uniform(0.95, 1.1), 12: grey * rng.uniform(1.0, 1.15), 85: between(0.0, 1.0)}
    drawn[0] = rng.uniform(0, 0.06)
    drawn[BONE] = (
        rng.uniform(0.01, 0.16) if rng.random() < 1 - options.bone_like_fluid else fluid * rng.uniform(0.2, 1.3)
    )
    drawn[MARROW] = rng.uniform(0.1, 1.1)
    drawn[SOFT] = rng.uniform(0.3, 1.1)
    drawn[SKIN] = rng.uniform(0.4, 1.6)
    if measured:
        drawn |= {n: rng.uniform(*MEASURED_CONTRAST[n]) for n in (BONE, MARROW, SOFT, SKIN, SINUS)}
        drawn[SOFT] = max(drawn[SOFT], 1.3 * fluid)
    return drawn


def render(head: HeadMap, codes: np.ndarray, rng: np.random.Generator, options: SynthesisOptions) -> np.ndarray:
    """Turn codes into an image without noise: tissue means and skull stripping.

    Returns
    -------
    codes.shape float32
    """
    means = tissue_means(head.label, rng, options)
    if rng.random() < options.strip:
        # keep the brain and a rim of random width; a part of the strips keep what touches the brain outside the skull
        means[head.ring > rng.integers(1, len(STRIP_RINGS_MM) + 1)] = 0.0
        if rng.random() < 0.7:
            means[~is_inside(head.label)] = 0.0
    return means[codes]


def _halve(data: np.ndarray) -> np.ndarray:
    """Mean over blocks of 2 x 2 x 2."""
    data = data[0::2] + data[1::2]
    data = data[:, 0::2] + data[:, 1::2]
    return (data[:, :, 0::2] + data[:, :, 1::2]) / np.float32(8)


@dataclass(frozen=True)
class Example:
    """A synthesised image on the anatomy network's grid with what the network should say of it.

    Attributes
    ----------
    image : (X, Y, Z) float32
    icv_fraction : (X, Y, Z) float32
        Share of the voxel that is intracranial.
    target : (X, Y, Z) uint8
        Class of one of the voxel's eight parts, drawn at random; at least 1 where ``icv_fraction`` is above 0.
    """

    image: np.ndarray
    icv_fraction: np.ndarray
    target: np.ndarray


def make_examples(
    head: HeadMap, shape: tuple[int, int, int], spacing_mm: np.ndarray, n_contrasts: int, rng: np.random.Generator,
    options: SynthesisOptions | None = None,
) -> list[Example]:  # fmt: skip
    """One deformed head rendered with several contrasts.

    Parameters
    ----------
    head : HeadMap
    shape : (3,) int
    spacing_mm : (3,) float
        Of the examples; the head is rendered at half of it.
    n_contrasts : int
    rng : numpy Generator
    options : SynthesisOptions, optional

    Returns
    -------
    list of Example
    """
    options = options or SynthesisOptions()
    full = as_shape(2 * n for n in shape)
    if rng.random() < 0.5:
        head = mirror(head)
    codes = warp_codes(head, full, rng, options, spacing_mm=spacing_mm / 2)
    fraction = _halve((head.target > 0).astype(np.float32)[codes])
    examples = []
    for _ in range(n_contrasts):
        image = add_noise(_halve(render(head, codes, rng, options)), rng, noise_max=options.noise_max)
        blur_mm = rng.uniform(0, options.blur_max_mm, 3)
        if rng.random() < 0.2:
            blur_mm[rng.integers(3)] = rng.uniform(1.0, 2.4)
        image = bias_and_gamma(image, rng, bias_max=options.bias_max)
        image = ndimage.gaussian_filter(image, blur_mm / spacing_mm, truncate=2.5)
        image, seen = cut_field_of_view(
            image, fraction > 0.5, spacing_mm, rng, deface=options.deface, crop=options.crop
        )
        i, j, k = rng.integers(0, 2, 3)
        target = head.target[codes[i::2, j::2, k::2]]
        share = fraction * seen
        target = np.where(share > 0, np.maximum(target, 1), 0).astype(np.uint8)
        examples.append(Example(image.astype(np.float32), share.astype(np.float32), target))
    return examples


def synthesise_scan(head: HeadMap, rng: np.random.Generator, options: SynthesisOptions = MILD) -> tuple[Volume, Volume]:
    """A whole synthetic T1w scan at 1 mm with its true intracranial volume, for validation.

    Returns
    -------
    scan, icv : Volume, Volume
        1 mm, RAS; ``icv.data`` is 0 or 1.
    """
    shape = (192, 232, 256)
    codes = warp_codes(head, shape, rng, options)
    image = ndimage.gaussian_filter(render(head, codes, rng, options), rng.uniform(0.3, 0.7), truncate=2.5)
    image = bias_and_gamma(add_noise(image, rng, noise_max=options.noise_max), rng, bias_max=options.bias_max)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 for n in shape]
    icv = (head.target > 0)[codes].astype(np.float32)
    return Volume((image * 500).astype(np.float32), affine), Volume(icv, affine)


def mirror(head: HeadMap) -> HeadMap:
    """The same head flipped left-right, with left and right structures swapped."""
    swap = np.arange(256, dtype=np.uint8)
    for number, name in enumerate(CLASS_NAMES):
        if name.startswith("left "):
            other = CLASS_NAMES.index(name.replace("left ", "right "))
            swap[number], swap[other] = other, number
    centre = head.centre.copy()
    centre[0] = head.codes.shape[0] - 1 - centre[0]
    return replace(head, codes=np.ascontiguousarray(head.codes[::-1]), target=swap[head.target], centre=centre)
