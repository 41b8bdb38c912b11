"""Training of a delineation network on simulated maps alone, whose truth is known."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from bids_hypo.errors import NoInputError
from bids_hypo.train.fit import fit
from bids_hypo.train.recipe import in_phases
from bids_hypo.train.regions import RegionBatches
from bids_hypo.train.settings import Recipe
from bids_hypo.train.simulated_pool import PoolBatches, make_pool, read_region
from bids_hypo.workflow.training import write_constants

logger = logging.getLogger(__name__)


def train_simulated(
    recipe: Recipe, label_maps: Path, template: dict[str, np.ndarray], folder: Path, *,
    encoder_weights: str | Path | None = None, only_phase: str | None = None, n_workers: int | None = None,
) -> None:  # fmt: skip
    """Simulate a pool of maps from head label maps, and train a network on it.

    Parameters
    ----------
    recipe : Recipe
        ``synthesis`` says how many maps there are (``training_maps``, ``validation_maps``); ``validation`` which heads
        are only for validation.
    label_maps : Path
        Folder of head label maps.
    template : dict of str to (3,) float
        Of what finds the pose.
    folder : Path
        Gets ``simulated/`` with the maps, ``constants.json``, checkpoints, curves and ``weights.npz``.
    encoder_weights : {None, "imagenet"} or Path
    only_phase : str, optional
    n_workers : int, optional
        Processes that simulate.

    Raises
    ------
    NoInputError
        If there is no label map for one of the two.
    """
    phases = in_phases(recipe, only_phase)
    paths = sorted(label_maps.glob("*.nii.gz"))
    aside = [path for path in paths if path.name.split(".")[0] in recipe.validation_maps]
    others = [path for path in paths if path not in aside]
    if not aside or not others:
        raise NoInputError(
            f"{label_maps}: found {len(others)} label maps (*.nii.gz) to train on and {len(aside)} of those set aside "
            f"({', '.join(recipe.validation_maps)}); expected some of both. Is it the folder of head label maps?"
        )
    pool = folder / "simulated"
    wanted = recipe.synthesis
    logger.info("simulating %s maps, unless they are in %s", wanted["training_maps"], pool)
    files, middles = make_pool(others, wanted["training_maps"], template, recipe, pool / "training",
                               n_workers=n_workers)  # fmt: skip
    seen, _ = make_pool(aside, wanted["validation_maps"], template, recipe, pool / "validation", n_workers=n_workers)
    middle = recipe.constants.get("region_centre_mm") or (middles.mean(axis=0) * (0, 1, 1)).round(2).tolist()
    write_constants(folder, {"region_centre_mm": list(middle)})
    weights: Path | None = None
    for phase in phases:
        source = PoolBatches(files, phase)
        regions = [read_region(path) for path in seen]
        validation = RegionBatches(tuple(regions), phase).validation(regions)
        own = folder if phase is phases[-1] else folder / phase.name
        weights = fit(source, phase.architecture, phase.loss, phase.training, own, validation=validation,
                      encoder_weights=None if weights else encoder_weights, initial_weights=weights)  # fmt: skip
