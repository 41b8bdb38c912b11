"""A pool of simulated susceptibility maps on disk, cut around the dentate nuclei, from which batches are drawn.

Simulating a map takes a second or two, longer than a step of the training. So each is made once, and changed at
random each time that it is drawn.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bids_hypo.ending import end_with_parent
from bids_hypo.errors import UsageError
from bids_hypo.files import read_json
from bids_hypo.image.grid import as_shape, box_grid
from bids_hypo.image.volume import write_bytes
from bids_hypo.models.bundle import Preprocessing
from bids_hypo.train.dentate import FROM_FOURTH_VENTRICLE_MM
from bids_hypo.train.fit import Batch
from bids_hypo.train.regions import DRAWS_PER_CHUNK, STORE_MARGIN_MM, LabelledRegion, RegionBatches, cut_region
from bids_hypo.train.settings import Recipe
from bids_hypo.train.simulated_maps import MappedHead, read_mapped_head, simulate

logger = logging.getLogger(__name__)

SIMULATION = 2  # raised whenever maps are simulated otherwise, so that no pool mixes two ways
SPACING_MM = 0.7
TURNED_MM = 6.0  # by which a simulated part is larger than what is cut from it, because its slices are turned
Template = dict[str, np.ndarray]


def middle_between_nuclei(head: MappedHead) -> np.ndarray:
    """(3,) float, mm: the mean place between both nuclei of a head, in the axes of its pose."""
    return head.ventricle_mm + np.array(FROM_FOURTH_VENTRICLE_MM) * (0, 1, 1)


def simulated_region(head: MappedHead, pre: Preprocessing, rng: np.random.Generator, name: str) -> LabelledRegion:
    """Simulate a map around the nuclei of a head and cut it along the axes of the pose.

    Parameters
    ----------
    head : MappedHead
    pre : Preprocessing
        What the network sees; more is kept, for turns and shifts.
    rng : numpy Generator
    name : str
    """
    extent = np.asarray(pre.shape) * pre.spacing_mm + STORE_MARGIN_MM
    middle = middle_between_nuclei(head)
    made = simulate(head, middle, extent + TURNED_MM, rng)
    shape = as_shape(np.ceil(extent / SPACING_MM))
    grid = box_grid(head.in_map(middle), head.pose.rotation, shape, np.full(3, SPACING_MM))
    return cut_region(name, made.image, made.truth, head.pose, grid)


def make_pool(
    paths: Sequence[Path], n_maps: int, template: Template, recipe: Recipe, folder: Path, *, n_workers: int | None
) -> tuple[tuple[Path, ...], np.ndarray]:
    """Simulate maps from each head, except those that an interrupted run left in the folder.

    Parameters
    ----------
    paths : sequence of Path
        Label maps.
    n_maps : int
        In all, divided among the heads.
    template : dict of str to (3,) float
        See `bids_hypo.segmentation.anatomy.pose_template`.
    recipe : Recipe
    folder : Path
    n_workers : int or None
        Processes; as many as there are CPUs if not given.

    Returns
    -------
    files : tuple of Path
    middles : (n, 3) float
        Of each head the place between its nuclei in the frame of the template.
    """
    _check_same(folder, recipe, n_maps)
    each = [n_maps // len(paths) + (k < n_maps % len(paths)) for k in range(len(paths))]
    files = [[folder / f"{path.name.split('.')[0]}-{number}.npz" for number in range(n)]
             for path, n in zip(paths, each, strict=True)]  # fmt: skip
    jobs = [(path, wanted, template, recipe, k) for k, (path, wanted) in enumerate(zip(paths, files, strict=True))]
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        middles = list(tqdm(pool.map(_simulate_head, *zip(*jobs, strict=True)), total=len(jobs), unit="head"))
    return tuple(path for some in files for path in some), np.array(middles)


def _simulate_head(path: Path, files: list[Path], template: Template, recipe: Recipe, number: int) -> np.ndarray:
    head = read_mapped_head(path, template)
    for k, file in enumerate(files):
        if not file.is_file():
            rng = np.random.default_rng([recipe.training.seed, number, k])
            _write_region(file, simulated_region(head, recipe.preprocessing, rng, file.stem))
    return middle_between_nuclei(head) / head.pose.scale


def _check_same(folder: Path, recipe: Recipe, n_maps: int) -> None:
    """Refuse maps that another recipe left in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pre = recipe.preprocessing
    wanted = {
        "simulation": SIMULATION,
        "maps": n_maps,
        "seed": recipe.training.seed,
        "extent": [list(pre.shape), list(pre.spacing_mm)],
    }
    told = folder / "pool.json"
    if told.is_file() and read_json(told) != json.loads(json.dumps(wanted)):
        raise UsageError(
            f"{folder}: holds maps that were simulated otherwise (pool.json); expected {wanted}. Remove this "
            "folder, or give another work folder."
        )
    write_bytes(told, json.dumps(wanted).encode())


def _write_region(path: Path, region: LabelledRegion) -> None:
    held = io.BytesIO()
    np.savez(held, image=region.image, labels=region.labels, labels_at=np.array(region.labels_at),
             spacing_mm=region.spacing_mm, native_voxel_mm=region.native_voxel_mm)  # fmt: skip
    write_bytes(path, held.getvalue())


def read_region(path: Path) -> LabelledRegion:
    """Read a map of the pool."""
    with np.load(path) as held:
        x, y, z = (int(n) for n in held["labels_at"])
        return LabelledRegion(path.stem, held["image"], held["labels"], (x, y, z), held["spacing_mm"],
                              held["native_voxel_mm"], 1.0)  # fmt: skip


@dataclass(frozen=True)
class PoolBatches:
    """Batches from a pool, of which a chunk reads only what it draws.

    Attributes
    ----------
    files : tuple of Path
    recipe : Recipe
    """

    files: tuple[Path, ...]
    recipe: Recipe

    def chunk(self, number: int) -> list[Batch]:
        """Make the batches of one chunk; the same number gives the same batches."""
        rng = np.random.default_rng([self.recipe.training.seed, number, 1])
        drawn = rng.choice(len(self.files), min(DRAWS_PER_CHUNK, len(self.files)), replace=False)
        regions = tuple(read_region(self.files[k]) for k in drawn)
        return RegionBatches(regions, self.recipe).chunk(number)
