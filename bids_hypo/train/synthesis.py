"""Images made from head label maps: random anatomy, contrast, artefacts and fields of view.

After the idea of SynthSeg (Billot et al. 2023, Med Image Anal): an image is a random intensity for each label,
blurred, biased and noisy. Contrast is drawn around T1w unless the options ask for other kinds of images, and tissues
outside the skull are drawn apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from bids_hypo.image.grid import as_shape
from bids_hypo.image.volume import Volume
from bids_hypo.train.artefacts import add_noise, bias_and_gamma, cut_field_of_view, thick_slices
from bids_hypo.train.contrasts import MILD, SynthesisOptions, tissue_means
from bids_hypo.train.deform import random_affine, smooth_field
from bids_hypo.train.headmaps import CLASS_NAMES, STRIP_RINGS_MM, HeadMap, is_inside
from bids_hypo.train.susceptibility import add_inversion, brain_mask, susceptibility_means


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


def codes_at(codes: np.ndarray, where: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Look codes up at places, and at some points around each, so that shares of a voxel can be told.

    Parameters
    ----------
    codes : (A, B, C) int
    where : (3, X, Y, Z) float32, voxels of ``codes``
        Beyond their edge the outermost codes go on.
    offsets : (S, 3) float, voxels
        Of the points from each place.

    Returns
    -------
    (S, X, Y, Z), type of ``codes``
    """
    found = np.empty((len(offsets), *where.shape[1:]), codes.dtype)
    for number, offset in enumerate(offsets):
        flat: np.ndarray | int = 0
        for axis, size in enumerate(codes.shape):
            at = where[axis] + np.float32(offset[axis] + 0.5)
            flat = flat * size + np.clip(at, 0, size - 0.5, out=at).astype(np.int32)
        np.take(codes.ravel(), flat, out=found[number])
    return found


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
    elif options.noisy_air and rng.random() < options.noisy_air:
        air = (head.label == 0).astype(np.float32) * np.float32(rng.uniform(0.1, 1.2))
        return means[codes] + air[codes] * rng.random(codes.shape, dtype=np.float32)
    return means[codes]


def magnitude_image(
    head: HeadMap, codes: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator, options: SynthesisOptions
) -> np.ndarray:
    """An image of any contrast that is not a susceptibility map, on a grid of twice the spacing of the codes.

    Parameters
    ----------
    head : HeadMap
    codes : (2X, 2Y, 2Z) uint16
    spacing_mm : (3,) float
        Of the image.
    rng : numpy Generator
    options : SynthesisOptions

    Returns
    -------
    (X, Y, Z) float32
    """
    image = add_noise(_halve(render(head, codes, rng, options)), rng, noise_max=options.noise_max)
    blur_mm = rng.uniform(0, options.blur_max_mm, 3)
    if rng.random() < 0.2:
        blur_mm[rng.integers(3)] = rng.uniform(1.0, 2.4)
    image = bias_and_gamma(image, rng, bias_max=options.bias_max)
    if options.thick and rng.random() < options.thick:
        image = thick_slices(image, spacing_mm, rng, max_mm=options.thick_max_mm)
    return ndimage.gaussian_filter(image, blur_mm / spacing_mm, truncate=2.5)


def susceptibility_map(
    head: HeadMap, codes: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator, options: SynthesisOptions
) -> np.ndarray:
    """A susceptibility map in ppm, as `magnitude_image`: signed, and exactly 0 outside of a brain mask.

    The outermost ring is all that lies further from the brain: one map in twelve is of the whole head, without a mask.
    """
    image = _halve(susceptibility_means(head.label, rng)[codes])
    kept = head.ring <= rng.integers(1, len(STRIP_RINGS_MM) + 1)
    if rng.random() < 0.6:
        kept &= is_inside(head.label)
    mask = brain_mask(_halve(kept.astype(np.float32)[codes]), spacing_mm, rng)
    image = add_inversion(image, rng)
    if options.thick and rng.random() < options.thick:
        image = thick_slices(image, spacing_mm, rng, max_mm=options.thick_max_mm)
    blur_mm = rng.uniform(0, options.blur_max_mm, 3)
    return ndimage.gaussian_filter(image, blur_mm / spacing_mm, truncate=2.5) * mask


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


def deformed(
    head: HeadMap, shape: tuple[int, int, int], spacing_mm: np.ndarray, rng: np.random.Generator,
    options: SynthesisOptions,
) -> tuple[HeadMap, np.ndarray]:  # fmt: skip
    """A head, mirrored or not, and its codes after a random deformation, on a grid of half the spacing.

    Returns
    -------
    head : HeadMap
    codes : (2X, 2Y, 2Z) uint16
    """
    if rng.random() < 0.5:
        head = mirror(head)
    return head, warp_codes(head, as_shape(2 * n for n in shape), rng, options, spacing_mm=spacing_mm / 2)


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
    head, codes = deformed(head, shape, spacing_mm, rng, options)
    fraction = _halve((head.target > 0).astype(np.float32)[codes])
    examples = []
    for _ in range(n_contrasts):
        signed = options.susceptibility > 0 and rng.random() < options.susceptibility
        image = (susceptibility_map if signed else magnitude_image)(head, codes, spacing_mm, rng, options)
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
