"""Training examples of a delineation network: labelled scans in the pose's frame, augmented as a recipe says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from bids_hypo.image.grid import Grid, apply_affine, box_grid
from bids_hypo.image.intensity import INTENSITY_RULES, OF_SIGNED_MAPS
from bids_hypo.image.resample import resample
from bids_hypo.image.slices import orient, stack_neighbours, through_slices
from bids_hypo.image.volume import Volume
from bids_hypo.models.bundle import Preprocessing
from bids_hypo.segmentation.pose import Pose
from bids_hypo.train.augment import augment_intensity, augment_signed, random_places
from bids_hypo.train.fit import Batch, mixed_batches
from bids_hypo.train.recipe import SCANS_PER_CHUNK
from bids_hypo.train.settings import ALL_SLICES, Augmentation, Recipe

STORE_MARGIN_MM = 25.0
STORE_SPACING_MM = 0.5
DRAWS_PER_CHUNK = 16


@dataclass(frozen=True)
class LabelledRegion:
    """A scan and its labels around the structure, in the pose's frame.

    Attributes
    ----------
    name : str
    image : (X, Y, Z) float16
        Scaled to a bright-tissue mean of 1.
    labels : (A, B, C, K - 1) uint8
        Probability of each foreground class times 255, in the box that holds them all.
    labels_at : (3,) tuple of int
        Where in the image that box begins.
    spacing_mm : (3,) float
        Of ``image``.
    native_voxel_mm : (3,) float
        Extent of a native voxel along the region's axes.
    weight : float
        How often it is drawn.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    labels_at: tuple[int, int, int]
    spacing_mm: np.ndarray
    native_voxel_mm: np.ndarray
    weight: float


def sharpen(classes: np.ndarray, slope: float) -> np.ndarray:
    """Steepen the outer border of soft labels about 0.5; classes that meet keep their shares of what is inside.

    Soft labels may have a long low tail outside and be cut off at 1 inside: then their sum is larger than the outline
    that they draw. Masks of 0 and 1 are left as they are but for their interpolated rim.

    Parameters
    ----------
    classes : (..., K) float
        Probability of each foreground class.
    slope : float
        1 leaves them as they are.
    """
    total = classes.sum(axis=-1, keepdims=True)
    wanted = np.clip((np.minimum(total, 1) - 0.5) * slope + 0.5, 0, 1)
    return classes * (wanted / np.maximum(total, 1e-6))


def label_centre_mm(labels: Sequence[Volume]) -> np.ndarray:
    """(3,) float, RAS mm: the centre of all foreground labels together, each on its own grid."""
    points = [apply_affine(label.affine, np.argwhere(label.data > 0.5)) for label in labels]
    weights = [len(inside) * label.grid.voxel_volume_mm3 for inside, label in zip(points, labels, strict=True)]
    return np.average([inside.mean(axis=0) for inside in points], axis=0, weights=weights)


def store_grid(centre_mm: np.ndarray, rotation: np.ndarray, recipe: Recipe) -> Grid:
    """Where a region is kept: the network's own grid, or 0.5 mm with room for random deformation.

    Parameters
    ----------
    centre_mm : (3,) float
        RAS mm of the scanner.
    rotation : (3, 3) float
        Of the pose.
    recipe : Recipe
    """
    pre = recipe.preprocessing
    spacing, shape = np.asarray(pre.spacing_mm, float), np.asarray(pre.shape)
    if recipe.augmentation.deforms:
        shape = np.full(3, round((float((spacing * shape).max()) + STORE_MARGIN_MM + 1) / STORE_SPACING_MM))
        spacing = np.full(3, STORE_SPACING_MM)
    return box_grid(centre_mm, rotation, (int(shape[0]), int(shape[1]), int(shape[2])), spacing)


def cut_region(
    name: str, scan: Volume, labels: Sequence[Volume], pose: Pose, grid: Grid, *, weight: float = 1.0
) -> LabelledRegion:
    """Resample a scan and its labels onto a grid in the pose's frame.

    Parameters
    ----------
    name : str
    scan : Volume
    labels : sequence of Volume
        Probability (or mask) of each foreground class.
    pose : Pose
    grid : Grid
        See `store_grid`.
    weight : float

    Returns
    -------
    LabelledRegion
    """
    image = resample(scan, grid).data
    size = np.abs(image)
    image = image / max(float(size[size > size.mean()].mean()), 1e-6)
    stacked = np.stack([resample(v, grid).data for v in labels], axis=-1)
    native = np.abs(pose.rotation.T @ scan.affine[:3, :3]).max(axis=1)
    coded = np.round(255 * np.clip(stacked, 0, 1)).astype(np.uint8)
    box = (ndimage.find_objects(coded.any(axis=-1).astype(int)) or [(slice(0, 1),) * 3])[0]
    inside, at = np.ascontiguousarray(coded[box]), (box[0].start, box[1].start, box[2].start)
    return LabelledRegion(name, image.astype(np.float16), inside, at, grid.voxel_sizes_mm, native, weight)


@dataclass(frozen=True)
class RegionBatches:
    """Batches of slices from regions, coronal or axial and laid as the recipe says.

    Attributes
    ----------
    regions : tuple of LabelledRegion
        Training scans only.
    recipe : Recipe
        Its schedule in steps, see `bids_hypo.train.recipe.resolved_schedule`.
    """

    regions: tuple[LabelledRegion, ...]
    recipe: Recipe

    def chunk(self, number: int) -> list[Batch]:
        """Make the batches of one chunk; the same number gives the same batches."""
        training = self.recipe.training
        rng = np.random.default_rng([training.seed, number])
        everything = self.recipe.sampling == ALL_SLICES
        drawn = self._part_of_epoch(number) if everything else self._weighted_draw(rng)
        n_slices = training.batches_per_chunk * training.batch_size
        x, y = [], []
        for region in drawn:
            image, target = self._example(region, self.recipe, rng)
            count = target.shape[1]
            chosen = np.arange(count) if everything else choose_slices(target, -(-n_slices // DRAWS_PER_CHUNK), rng)
            x.append(image_slices(image, chosen, self.recipe.preprocessing))
            y.append(target_slices(target, chosen, self.recipe.preprocessing))
        return mixed_batches(x, y, training.batch_size, training.batches_per_chunk, rng)

    def _weighted_draw(self, rng: np.random.Generator) -> list[LabelledRegion]:
        weights = np.array([r.weight for r in self.regions])
        return [self.regions[i] for i in rng.choice(len(self.regions), DRAWS_PER_CHUNK, p=weights / weights.sum())]

    def _part_of_epoch(self, number: int) -> list[LabelledRegion]:
        parts = chunks_per_epoch(len(self.regions))
        epoch, part = divmod(number, parts)
        order = np.random.default_rng([self.recipe.training.seed, 0, epoch]).permutation(len(self.regions))
        return [self.regions[i] for i in np.array_split(order, parts)[part]]

    def _example(
        self, region: LabelledRegion, recipe: Recipe, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """An example with the second axis through the slices."""
        image, target = augmented_example(region, recipe, rng)
        axis = recipe.preprocessing.slice_axis
        return through_slices(image, axis), through_slices(target, axis)

    def validation(self, regions: Iterable[LabelledRegion]) -> list[Batch]:
        """Every slice of other regions as it is, without augmentation."""
        plain = replace(self.recipe, augmentation=Augmentation())
        size = self.recipe.training.batch_size
        batches = []
        for region in regions:
            image, target = self._example(region, plain, np.random.default_rng(0))
            every = np.arange(target.shape[1])
            x = image_slices(image, every, self.recipe.preprocessing)
            y = target_slices(target, every, self.recipe.preprocessing)
            # whole batches only: a last one of another size would be a second graph
            batches += [(x[i : i + size], y[i : i + size]) for i in range(0, len(every) - size + 1, size)]
        return batches


def chunks_per_epoch(n_regions: int) -> int:
    """In how many parts an epoch of ``all slices`` is made."""
    return -(-n_regions // SCANS_PER_CHUNK)


def augmented_example(
    region: LabelledRegion, recipe: Recipe, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One view of a region on the network's grid, placed, deformed and recoloured as the recipe says.

    Parameters
    ----------
    region : LabelledRegion
    recipe : Recipe
        In a mirror image parts change places with their twins. ``contrast_after`` multiplies after the intensity
        rule, as in Vernikouskaya 2023.
    rng : numpy Generator

    Returns
    -------
    image : (X, Y, Z) float32
        After the recipe's intensity rule.
    target : (X, Y, Z, K) float32
        Background first.
    """
    pre, options = recipe.preprocessing, recipe.augmentation
    spacing = np.asarray(pre.spacing_mm, float)
    image, classes = _on_network_grid(region, pre.shape, spacing, options, rng)
    classes = sharpen(classes / 255, recipe.label_slope)
    if options.deforms and rng.random() < 0.5:
        image, classes = image[::-1], classes[::-1][..., recipe.mirrored]
    target = np.concatenate([1 - classes.sum(-1, keepdims=True), classes], axis=-1)
    if options.contrast is not None:
        augment = augment_signed if pre.intensity in OF_SIGNED_MAPS else augment_intensity
        image = augment(np.ascontiguousarray(image), spacing, region.native_voxel_mm, options, rng)
    image = INTENSITY_RULES[pre.intensity](image, pre.spacing_mm)
    if options.contrast_after is not None:
        image = image * np.float32(rng.uniform(*options.contrast_after))
    return image, target


def _on_network_grid(
    region: LabelledRegion, shape: tuple[int, int, int], spacing: np.ndarray, options: Augmentation,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Image and labels of a region on the network's grid about its middle; as they are if they lie there already."""
    image, labels = region.image.astype(np.float32), region.labels.astype(np.float32)
    classes = np.zeros((*shape, labels.shape[-1]), np.float32)
    begin, size = np.array(region.labels_at), np.array(labels.shape[:3])
    if image.shape == shape:
        classes[tuple(map(slice, begin, begin + size))] = labels
        return image, classes
    places = random_places(shape, spacing, options, rng)
    middle = (np.array(image.shape, np.float32) - 1) / 2
    where = places / np.float32(region.spacing_mm[0]) + middle.reshape(3, 1, 1, 1)
    in_box = where - begin.reshape(3, 1, 1, 1).astype(np.float32)
    near = ((in_box > -1) & (in_box < size.reshape(3, 1, 1, 1))).all(axis=0)
    points = in_box[:, near] + 1  # of labels with a rim of 0, which is what lies around their box
    for k in range(labels.shape[-1]):
        classes[near, k] = ndimage.map_coordinates(np.pad(labels[..., k], 1), points, order=1, mode="constant")
    return ndimage.map_coordinates(image, where, order=1, mode="constant", cval=0.0), classes


def image_slices(image: np.ndarray, chosen: np.ndarray, pre: Preprocessing) -> np.ndarray:
    """Slices of an example with their neighbours, laid as the network takes them: (N, H, W, C) float16.

    Parameters
    ----------
    image : (X, N', Z) float
        The second axis runs through the slices.
    chosen : (N,) int
    pre : Preprocessing
    """
    return orient(stack_neighbours(image, pre.slice_offsets, chosen), pre.slice_orientation).astype(np.float16)


def target_slices(target: np.ndarray, chosen: np.ndarray, pre: Preprocessing) -> np.ndarray:
    """The same of what the network should say: (X, N', Z, K) to (N, H, W, K) uint8, probabilities times 255."""
    return np.round(255 * orient(np.moveaxis(target[:, chosen], 1, 0), pre.slice_orientation)).astype(np.uint8)


def choose_slices(target: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Three in four slices from the structure and two beyond each end, the rest from anywhere."""
    occupied = np.flatnonzero((target[..., 0] < 0.5).any(axis=(0, 2)))
    count = target.shape[1]
    near = np.arange(max(occupied[0] - 3, 0), min(occupied[-1] + 4, count)) if len(occupied) else np.arange(count)
    return np.where(rng.random(n) < 0.75, rng.choice(near, n), rng.integers(0, count, n))
