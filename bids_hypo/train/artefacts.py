"""What happens to an image on its way from the head: noise, bias field, gamma, and a field of view that ends early."""

from __future__ import annotations

import numpy as np

from bids_hypo.train.deform import smooth_field


def add_noise(image: np.ndarray, rng: np.random.Generator, *, noise_max: float) -> np.ndarray:
    """Noise everywhere, in tissue only (masked background), or proportional to the intensity.

    Parameters
    ----------
    image : (X, Y, Z) float32
        White matter is 1.
    rng : numpy Generator
    noise_max : float
        Largest standard deviation.

    Returns
    -------
    (X, Y, Z) float32
    """
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(rng.uniform(0.003, noise_max))
    kind = rng.random()
    if kind < 0.15:
        return image * (1 + noise)
    return image + noise * (1 if kind < 0.6 else image > 0)


def bias_and_gamma(image: np.ndarray, rng: np.random.Generator, *, bias_max: float) -> np.ndarray:
    """A smooth bias field, texture that is coarser than noise, and a random gamma.

    Parameters
    ----------
    image : (X, Y, Z) float32
    rng : numpy Generator
    bias_max : float
        Largest amplitude of the field's logarithm.

    Returns
    -------
    (X, Y, Z) float32
    """
    bias = smooth_field(image.shape, (5, 5, 5), rng)
    bias *= np.float32(rng.uniform(0, bias_max))
    image = np.abs(image) * np.exp(bias)
    texture = smooth_field(image.shape, tuple(max(4, n // 4) for n in image.shape), rng)
    image *= 1 + np.float32(rng.uniform(0, 0.05)) * texture
    return image ** np.float32(np.exp(rng.uniform(-0.3, 0.3)))


def cut_field_of_view(
    image: np.ndarray, inside: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator,
    *, deface: float, crop: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Remove the face, and let the image end at the neck or in a box around the middle of the brain.

    Parameters
    ----------
    image : (X, Y, Z) float32
    inside : (X, Y, Z) bool
        The intracranial volume.
    spacing_mm : (3,) float
    rng : numpy Generator
    deface, crop : float
        How often.

    Returns
    -------
    image : (X, Y, Z) float32
    seen : (X, Y, Z) bool
        Where it still has data.
    """
    seen = np.ones(image.shape, bool)
    x, y, z = (np.arange(n, dtype=np.float32) * np.float32(mm) for n, mm in zip(image.shape, spacing_mm, strict=True))
    axes = range(3)
    occupied = [np.flatnonzero(inside.any(axis=tuple(a for a in axes if a != k))) * spacing_mm[k] for k in axes]
    if rng.random() < deface:
        slope = rng.uniform(0.3, 1.2)
        front, low = occupied[1][-1] + rng.uniform(-12, 6), occupied[2][0] + rng.uniform(10, 44)
        face = (y[None, :, None] - front) * slope + (low - z[None, None, :]) > rng.uniform(0, 24)
        image = np.where(face & ~inside & (x[:, None, None] > -1), 0, image)
    if rng.random() < crop:
        if rng.random() < 0.6:  # the neck ends at the edge of the image
            seen[:, :, z < occupied[2][0] + rng.uniform(-24, 16)] = False
        else:  # a box around the middle of the brain
            for axis, positions in enumerate((x, y, z)):
                middle = occupied[axis].mean() + rng.uniform(-12, 12)
                outside = np.abs(positions - middle) > rng.uniform(44, 120)
                seen[tuple(outside if a == axis else slice(None) for a in axes)] = False
        image = np.where(seen, image, 0)
    return image, seen


def thick_slices(image: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator, *, max_mm: float) -> np.ndarray:
    """An image as if acquired in slices of up to ``max_mm``, mostly axial, and interpolated back.

    Parameters
    ----------
    image : (X, Y, Z) float32
    spacing_mm : (3,) float
    rng : numpy Generator
    max_mm : float
        Not less than the spacing.

    Returns
    -------
    (X, Y, Z) float32
    """
    axis = rng.choice(3, p=(0.15, 0.2, 0.65))
    thick = rng.uniform(spacing_mm[axis], max_mm) / spacing_mm[axis]  # in voxels
    n = image.shape[axis]
    middles = np.arange(rng.uniform(-thick, 0), n + thick, thick)
    at = np.arange(n)
    overlap = np.minimum(at + 0.5, middles[:, None] + thick / 2) - np.maximum(at - 0.5, middles[:, None] - thick / 2)
    means = np.clip(overlap, 0, None)
    means /= np.maximum(means.sum(1, keepdims=True), 1e-6)
    back = np.clip(1 - np.abs(at[:, None] - middles) / thick, 0, None)
    both = back @ means
    both = (both / both.sum(1, keepdims=True)).astype(np.float32)  # slices beyond the image count for nothing
    return np.ascontiguousarray(np.moveaxis(np.tensordot(both, image, axes=(1, axis)), 0, axis))


def moved_head(image: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image of a head that moved: mixed with itself at other places along one axis, or with a faint ghost.

    Parameters
    ----------
    image : (X, Y, Z) float32
    spacing_mm : (3,) float
    rng : numpy Generator

    Returns
    -------
    (X, Y, Z) float32
    """
    axis = int(rng.integers(3))
    far = rng.random() < 0.4
    shifts_mm = rng.uniform(8, 25, 1) if far else rng.uniform(-2.5, 2.5, 3)
    shares = rng.uniform(0.02, 0.1, 1) if far else rng.uniform(0.05, 0.3, 3)
    moved = image * np.float32(1 - shares.sum())
    for shift, share in zip(np.rint(shifts_mm / spacing_mm[axis]).astype(int), shares, strict=True):
        moved += np.roll(image, shift, axis) * np.float32(share)
    return moved
