"""Training examples of the networks that see a whole head, synthesised on the fly from head label maps."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.ending import end_with_parent
from bids_hypo.errors import NoInputError
from bids_hypo.image.intensity import INTENSITY_RULES
from bids_hypo.image.slices import stack_neighbours
from bids_hypo.train.contrasts import SynthesisOptions
from bids_hypo.train.fit import shuffled_batches
from bids_hypo.train.headmaps import HeadMap, load_head_maps
from bids_hypo.train.nuclei import with_nuclei
from bids_hypo.train.synthesis import make_examples

DRAWS_PER_CHUNK = 4
CONTRASTS_PER_DRAW = 2


@dataclass(frozen=True)
class AnatomyBatches:
    """Batches of coronal slices from freshly synthesised heads.

    Attributes
    ----------
    heads : tuple of HeadMap
        Training maps only.
    recipe : dict
    """

    heads: tuple[HeadMap, ...]
    recipe: dict[str, Any]

    def chunk(self, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Make the batches of one chunk; the same number gives the same batches."""
        recipe = self.recipe
        rng = np.random.default_rng([recipe["training"]["seed"], number])
        options = SynthesisOptions(**recipe.get("synthesis", {}))
        x, y = [], []
        n_slices = recipe["training"]["batches_per_chunk"] * recipe["training"]["batch_size"]
        per_example = -(-n_slices // (DRAWS_PER_CHUNK * CONTRASTS_PER_DRAW))
        for _ in range(DRAWS_PER_CHUNK):
            head = self.heads[rng.integers(len(self.heads))]
            pre = recipe["preprocessing"]
            spacing = np.asarray(pre["spacing_mm"], float)
            for example in make_examples(head, tuple(pre["shape"]), spacing, CONTRASTS_PER_DRAW, rng, options):
                chosen = _choose_slices(example.icv_fraction, per_example, rng)
                image = INTENSITY_RULES[pre["intensity"]](example.image, pre["spacing_mm"])
                x.append(stack_neighbours(image, tuple(pre["slice_offsets"]), chosen).astype(np.float16))
                y.append(
                    soft_targets(
                        np.moveaxis(example.target[:, chosen], 1, 0),
                        np.moveaxis(example.icv_fraction[:, chosen], 1, 0),
                        len(recipe["labels"]),
                    )
                )
        return shuffled_batches(x, y, recipe["training"], rng)


def _choose_slices(icv: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Nine in ten slices from where the head's inside is (and 8 mm around), the rest from anywhere."""
    occupied = np.flatnonzero((icv > 0).any(axis=(0, 2)))
    near = np.arange(max(occupied[0] - 4, 0), min(occupied[-1] + 5, icv.shape[1])) if len(occupied) else np.arange(2)
    anywhere = rng.integers(0, icv.shape[1], n)
    return np.where(rng.random(n) < 0.9, rng.choice(near, n), anywhere)


def soft_targets(target: np.ndarray, icv_fraction: np.ndarray, n_classes: int) -> np.ndarray:
    """Class probabilities times 255: the background has the share outside the skull, the voxel's class the rest.

    Parameters
    ----------
    target : (...) uint8
    icv_fraction : (...) float
    n_classes : int

    Returns
    -------
    (..., K) uint8
    """
    share = np.round(255 * icv_fraction).astype(np.uint8)
    y = np.zeros((*target.shape, n_classes), np.uint8)
    np.put_along_axis(y, target[..., None].astype(np.int64), share[..., None], axis=-1)
    y[..., 0] = 255 - share
    return y


def load_training_heads(
    folder: Path, left_out: list[str], *, n_varied: int = 0, nuclei: bool = False
) -> tuple[HeadMap, ...]:
    """Read every label map of a folder except those set aside.

    Parameters
    ----------
    folder : Path
    left_out : list of str
        Names without ending.
    n_varied : int
        Additional copies of each head with other spaces of fluid (`bids_hypo.train.headmaps.vary_fluid`).
    nuclei : bool
        Paint nuclei rich in iron into them (`bids_hypo.train.nuclei`), for susceptibility maps.

    Raises
    ------
    NoInputError
        If there is none.
    """
    paths = sorted(p for p in folder.glob("*.nii.gz") if p.name.split(".")[0] not in left_out)
    if not paths:
        raise NoInputError(f"{folder}: found no label maps (*.nii.gz); expected FreeSurfer-numbered head maps of 1 mm.")
    numbers = range(1, n_varied + 1)
    copies = [[np.random.default_rng([head, number]) for number in numbers] for head in range(len(paths))]
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        heads = tuple(head for heads in pool.map(load_head_maps, paths, copies) for head in heads)
    return tuple(map(with_nuclei, heads)) if nuclei else heads
