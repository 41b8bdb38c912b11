"""Training examples of a delineation network, synthesised from label maps around a structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_hypo.image.intensity import INTENSITY_RULES
from bids_hypo.image.slices import through_slices
from bids_hypo.train.artefacts import moved_head, thick_slices
from bids_hypo.train.augment import augment_intensity, random_places
from bids_hypo.train.contrasts import WHITE
from bids_hypo.train.deform import smooth_field, source_stretch
from bids_hypo.train.fit import Batch, mixed_batches
from bids_hypo.train.lesions import add_lesions
from bids_hypo.train.map_folders import Maps
from bids_hypo.train.placed_maps import PlacedMap
from bids_hypo.train.region_contrasts import Rendering, draw_rendering, widened_ventricles
from bids_hypo.train.region_options import RegionOptions
from bids_hypo.train.regions import choose_slices, image_slices, target_slices
from bids_hypo.train.settings import Recipe
from bids_hypo.train.synthesis import codes_at
from bids_hypo.train.tissue_codes import FAR_MM, CodeTable

SLICES_PER_EXAMPLE = 20
SHARPEST_MM, BLUNTEST_MM = 0.25, 0.6  # what a voxel of a scan blurs, standard deviation
# Four points of a voxel that lie like the corners of a tetrahedron, in voxels of the network
POINTS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 4


@dataclass(frozen=True)
class Anatomy:
    """A map as it lies after a random deformation, before it gets a contrast.

    Attributes
    ----------
    codes : (S, X, Y, Z) int
        At some points of each voxel.
    table : CodeTable
        What they are, with ventricles as wide as they have become.
    target : (X, Y, Z, K) float32
        Share of each class in a voxel, background first.
    """

    codes: np.ndarray
    table: CodeTable
    target: np.ndarray


def deformed_anatomy(placed: PlacedMap, recipe: Recipe, options: RegionOptions, rng: np.random.Generator) -> Anatomy:
    """Turn, shift, warp and age a map on the network's grid."""
    spacing = np.asarray(recipe.preprocessing.spacing_mm, float)
    places = random_places(recipe.preprocessing.shape, spacing, recipe.augmentation, rng)
    if rng.random() < 0.7:
        common = rng.uniform(*options.volume)
        for centre, radius in placed.sides_mm:
            _shrink(places, centre, common * rng.normal(1, 0.03), radius)
    turned = np.tensordot(placed.to_voxels.astype(np.float32), places, axes=1)
    turned += placed.middle.astype(np.float32).reshape(3, 1, 1, 1)
    codes = codes_at(placed.codes, turned, POINTS * spacing @ placed.to_voxels.T)
    wide = rng.random() < 0.4
    table = widened_ventricles(
        placed.table,
        rng.uniform(0, options.third_mm) if wide else 0.0,
        rng.uniform(0, options.lateral_mm) if wide else 0.0,
    )
    share = [(table.part == k).astype(np.float32)[codes].mean(axis=0) for k in range(1, recipe.n_classes + 1)]
    target = np.stack([1 - sum(share), *share], axis=-1)
    return Anatomy(codes, table, target)


def _shrink(places: np.ndarray, centre: np.ndarray, factor: float, radius: float) -> None:
    """Let a side of the structure shrink about its centre, by moving where voxels look (mm), in place."""
    away = places - centre.astype(np.float32).reshape(3, 1, 1, 1)
    distance = np.sqrt((away**2).sum(axis=0))
    places += away * (source_stretch(distance, factor, radius) - 1).astype(np.float32)


def region_image(
    anatomy: Anatomy, kind: str, recipe: Recipe, options: RegionOptions, rng: np.random.Generator
) -> np.ndarray:
    """An image of an anatomy, before the recipe's intensity rule.

    Returns
    -------
    (X, Y, Z) float32
    """
    spacing = np.asarray(recipe.preprocessing.spacing_mm, float)
    drawn = draw_rendering(anatomy.table, kind, options.strip, rng)
    image = drawn.means[anatomy.codes].mean(axis=0)
    image = _grained(image, anatomy, drawn, rng)
    if rng.random() < options.lesions:
        image = add_lesions(image, _places_of_lesions(anatomy), drawn.lesion, spacing, rng)
    image = ndimage.gaussian_filter(image, rng.uniform(SHARPEST_MM, BLUNTEST_MM) / spacing, truncate=2.5)
    if rng.random() < options.motion:
        image = moved_head(image, spacing, rng)
    if rng.random() < options.thick:
        image = thick_slices(image, spacing, rng, max_mm=options.thick_max_mm)
    if not drawn.kept.all():
        image = image * (drawn.kept[anatomy.codes].mean(axis=0) >= 0.5)
    native = spacing * rng.uniform(0.8, 1.4, 3)
    if recipe.augmentation.contrast is not None:
        image = augment_intensity(image, spacing, native, recipe.augmentation, rng)
    return image


def _places_of_lesions(anatomy: Anatomy) -> list[np.ndarray]:
    """White matter beside a ventricle, any white matter, the structure: flat indices of voxels."""
    first, white = anatomy.codes[0].ravel(), np.isin(anatomy.table.label, WHITE)
    wanted = (white & (anatomy.table.lateral_mm < FAR_MM), white, anatomy.table.part > 0)
    return [np.flatnonzero(of[first]) for of in wanted]


def _grained(image: np.ndarray, anatomy: Anatomy, drawn: Rendering, rng: np.random.Generator) -> np.ndarray:
    """Tissue that is not even, nuclei of the structure that differ a little, and maps that are wild where it is wet."""
    shape = image.shape
    texture = smooth_field(shape, tuple(max(4, n // 5) for n in shape), rng)
    contrast = abs(1 - float(np.median(drawn.means[anatomy.table.part > 0])))
    inside = (1 - anatomy.target[..., 0]) * np.float32(rng.uniform(0, 0.25) * max(contrast, 0.05))
    image = image * (1 + np.float32(rng.uniform(0, 0.03)) * texture) + inside * texture
    if drawn.kind.wild and rng.random() < 0.6:
        wild = drawn.empty.astype(np.float32)[anatomy.codes].mean(axis=0) * np.float32(rng.uniform(0, drawn.kind.wild))
        image = np.abs(image + wild * rng.standard_normal(shape, dtype=np.float32))
    return np.asarray(image, np.float32)


def synthesised(
    placed: PlacedMap, recipe: Recipe, options: RegionOptions, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Several images of one deformed map, each with what the network should say of it.

    Returns
    -------
    list of (X, Y, Z) float32, (X, Y, Z, K) float32
        Images after the intensity rule; shares of the classes, background first.
    """
    anatomy = deformed_anatomy(placed, recipe, options, rng)
    names, weights = list(options.kinds), np.array(list(options.kinds.values()))
    target, swapped = anatomy.target, [0, *(k + 1 for k in recipe.mirrored)]
    made = []
    for kind in rng.choice(names, options.contrasts, p=weights / weights.sum()):
        image = region_image(anatomy, str(kind), recipe, options, rng)
        image = INTENSITY_RULES[recipe.preprocessing.intensity](image, recipe.preprocessing.spacing_mm)
        mirrored = rng.random() < 0.5
        made.append((image[::-1], target[::-1][..., swapped]) if mirrored else (image, target))
    return made


@dataclass(frozen=True)
class SynthesisedBatches:
    """Batches of slices from regions that are synthesised as they are needed.

    Attributes
    ----------
    maps : Maps
    recipe : Recipe
    options : RegionOptions
    """

    maps: Maps
    recipe: Recipe
    options: RegionOptions

    def chunk(self, number: int) -> list[Batch]:
        """Make the batches of one chunk; the same number gives the same batches."""
        training = self.recipe.training
        rng = np.random.default_rng([training.seed, number])
        n_slices = training.batches_per_chunk * training.batch_size
        x: list[np.ndarray] = []
        y: list[np.ndarray] = []
        for _ in range(-(-n_slices // (SLICES_PER_EXAMPLE * self.options.contrasts))):
            of_shapes = bool(self.maps.shapes) and rng.random() < self.options.shapes
            group = self.maps.shapes if of_shapes else self.maps.heads
            self._add(group[rng.integers(len(group))], rng, x, y)
        return mixed_batches(x, y, training.batch_size, training.batches_per_chunk, rng)

    def _add(self, placed: PlacedMap, rng: np.random.Generator, x: list[np.ndarray], y: list[np.ndarray]) -> None:
        pre = self.recipe.preprocessing
        for image, target in synthesised(placed, self.recipe, self.options, rng):
            image, target = through_slices(image, pre.slice_axis), through_slices(target, pre.slice_axis)
            chosen = choose_slices(target, SLICES_PER_EXAMPLE, rng)
            x.append(image_slices(image, chosen, pre))
            y.append(target_slices(target, chosen, pre))

    def validation(self) -> list[Batch]:
        """Batches from the maps that are set aside, always the same."""
        size = self.recipe.training.batch_size
        x: list[np.ndarray] = []
        y: list[np.ndarray] = []
        for number, placed in enumerate(self.maps.validation):
            self._add(placed, np.random.default_rng([0, number]), x, y)
        return mixed_batches(x, y, size, sum(map(len, x)) // size, np.random.default_rng(0)) if x else []
