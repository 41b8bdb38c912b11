"""Training examples of the hypothalamus network: labelled scans in the pose's frame, strongly augmented."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from bids_hypo.image.grid import Grid, box_grid
from bids_hypo.image.intensity import INTENSITY_RULES
from bids_hypo.image.resample import resample
from bids_hypo.image.slices import stack_neighbours
from bids_hypo.image.volume import Volume
from bids_hypo.segment.pose import Pose
from bids_hypo.train.augment import augment_intensity, random_sampling
from bids_hypo.train.fit import shuffled_batches

logger = logging.getLogger(__name__)

STORE_SPACING_MM = 0.5
STORE_SHAPE = (148, 148, 148)
DRAWS_PER_CHUNK = 16


@dataclass(frozen=True)
class LabelledRegion:
    """A scan and its labels around the hypothalamus, in the pose's frame.

    Attributes
    ----------
    name : str
    image : (X, Y, Z) float16
        0.5 mm, scaled to a bright-tissue mean of 1.
    labels : (X, Y, Z, 2) uint8
        Left and right probability times 255.
    native_voxel_mm : (3,) float
        Extent of a native voxel along the region's axes.
    weight : float
        How often it is drawn.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    native_voxel_mm: np.ndarray
    weight: float


def sharpen(probability: np.ndarray, slope: float) -> np.ndarray:
    """Steepen soft labels about 0.5, so that their sum equals the volume inside their 0.5 outline.

    The mean of several predictions has a long low tail outside and is cut off at 1 inside: its sum is about 9 % larger
    than the outline it draws.
    """
    return np.clip((probability - 0.5) * slope + 0.5, 0, 1)


def label_centre_mm(left: Volume, right: Volume) -> np.ndarray:
    """(3,) float, RAS mm: the centre of both sides' labels."""
    both = left.data + resample(right, left.grid).data
    centre = np.array(ndimage.center_of_mass(both > 0.5))
    return left.affine[:3, :3] @ centre + left.affine[:3, 3]


def cut_region(
    name: str, scan: Volume, left: Volume, right: Volume, pose: Pose, centre_mm: np.ndarray, weight: float
) -> LabelledRegion:
    """Resample a scan and its labels around a centre into the pose's frame, at 0.5 mm.

    Parameters
    ----------
    name : str
    scan, left, right : Volume
    pose : Pose
    centre_mm : (3,) float
        RAS mm of the scanner.
    weight : float

    Returns
    -------
    LabelledRegion
    """
    grid: Grid = box_grid(centre_mm, pose.rotation, STORE_SHAPE, np.full(3, STORE_SPACING_MM))
    image = resample(scan, grid).data
    image = image / max(float(image[image > image.mean()].mean()), 1e-6)
    labels = np.stack([resample(v, grid).data for v in (left, right)], axis=-1)
    native = np.abs(pose.rotation.T @ scan.affine[:3, :3]).max(axis=1)
    return LabelledRegion(
        name, image.astype(np.float16), np.round(255 * np.clip(labels, 0, 1)).astype(np.uint8), native, weight
    )


@dataclass(frozen=True)
class HypothalamusBatches:
    """Batches of coronal slices from augmented regions.

    Attributes
    ----------
    regions : tuple of LabelledRegion
        Training scans only.
    recipe : dict
    """

    regions: tuple[LabelledRegion, ...]
    recipe: dict[str, Any]

    def chunk(self, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Make the batches of one chunk; the same number gives the same batches."""
        training = self.recipe["training"]
        rng = np.random.default_rng([training["seed"], number])
        n_slices = training["batches_per_chunk"] * training["batch_size"]
        per_draw = -(-n_slices // DRAWS_PER_CHUNK)
        weights = np.array([r.weight for r in self.regions])
        x, y = [], []
        for index in rng.choice(len(self.regions), DRAWS_PER_CHUNK, p=weights / weights.sum()):
            image, target = augmented_example(self.regions[index], self.recipe, rng)
            chosen = _choose_slices(target, per_draw, rng)
            x.append(
                stack_neighbours(image, tuple(self.recipe["preprocessing"]["slice_offsets"]), chosen).astype(np.float16)
            )
            y.append(np.round(255 * np.moveaxis(target[:, chosen], 1, 0)).astype(np.uint8))
        return shuffled_batches(x, y, training, rng)


def augmented_example(
    region: LabelledRegion, recipe: dict[str, Any], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One randomly placed, deformed and recoloured view of a region on the network's grid.

    Returns
    -------
    image : (X, Y, Z) float32
        After the recipe's intensity rule.
    target : (X, Y, Z, 3) float32
        Background, left, right.
    """
    pre, options = recipe["preprocessing"], recipe["augmentation"]
    shape = tuple(pre["shape"])
    spacing = np.asarray(pre["spacing_mm"])
    where = random_sampling(shape, spacing / STORE_SPACING_MM, STORE_SHAPE, options, rng)
    image = ndimage.map_coordinates(region.image.astype(np.float32), where, order=1, mode="constant", cval=0.0)
    sides = []
    for side in range(2):
        values = ndimage.map_coordinates(region.labels[..., side].astype(np.float32), where, order=1, mode="constant")
        sides.append(sharpen(values / 255, recipe["label_slope"]))
    left, right = sides
    if rng.random() < 0.5:  # mirrored heads have their left and right swapped
        image, left, right = image[::-1], right[::-1], left[::-1]
    total = np.maximum(left + right, 1)
    target = np.stack([1 - (left + right) / total, left / total, right / total], axis=-1)
    image = augment_intensity(np.ascontiguousarray(image), spacing, region.native_voxel_mm, options, rng)
    return INTENSITY_RULES[pre["intensity"]](image), target


def _choose_slices(target: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Three in four slices from the structure and two beyond each end, the rest from anywhere."""
    occupied = np.flatnonzero((target[..., 0] < 0.5).any(axis=(0, 2)))
    count = target.shape[1]
    near = np.arange(max(occupied[0] - 3, 0), min(occupied[-1] + 4, count)) if len(occupied) else np.arange(count)
    return np.where(rng.random(n) < 0.75, rng.choice(near, n), rng.integers(0, count, n))
