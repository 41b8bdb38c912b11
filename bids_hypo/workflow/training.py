"""From a recipe to trained weights: the steps of training each shipped model, or a user's own."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from bids_hypo.bids.reading import read_scan
from bids_hypo.errors import UsageError
from bids_hypo.image.volume import Volume, write_bytes
from bids_hypo.models.bundle import ModelBundle, load_bundle
from bids_hypo.segmentation.anatomy import find_anatomy, pose_template
from bids_hypo.segmentation.pose import Pose, fit_pose
from bids_hypo.train.anatomy import AnatomyBatches, load_training_heads
from bids_hypo.train.fit import fit
from bids_hypo.train.folds import Division, Start, plan_folds, set_aside, write_division
from bids_hypo.train.labelled import LabelledScan, read_classes
from bids_hypo.train.pose_template import make_pose_template
from bids_hypo.train.recipe import in_phases, resolved_schedule
from bids_hypo.train.regions import (
    LabelledRegion,
    RegionBatches,
    cut_region,
    label_centre_mm,
    store_grid,
)
from bids_hypo.train.settings import Recipe

logger = logging.getLogger(__name__)

Network = Callable[[np.ndarray], np.ndarray]
Heads = Mapping[str, tuple[ModelBundle, Network]]


@dataclass(frozen=True)
class Prepared:
    """Labelled scans, ready to be trained on by any recipe of the same structure and grid.

    Attributes
    ----------
    regions : dict of str to LabelledRegion
        By the name of the scan.
    region_centre_mm : tuple of float
        Middle of the network's grid in the pose template's frame.
    """

    regions: dict[str, LabelledRegion]
    region_centre_mm: tuple[float, ...]


Prepare = Callable[[Recipe, Sequence[LabelledScan]], Prepared]


@dataclass(frozen=True)
class TrainingOptions:
    """What a user may change about a recipe.

    Attributes
    ----------
    n_folds : int
        1 trains one network; more train one for each fold.
    only_fold : int or None
        Train this fold alone (from 1), for instance each as a job of its own.
    encoder_weights : str, Path or None
        ``imagenet``, a Keras file, a bundle's folder (of one trained in the same folds each fold goes on from its own
        network), or None to start from random weights.
    only_phase : str or None
        Train this phase of the recipe alone, from ``encoder_weights``.
    """

    n_folds: int = 1
    only_fold: int | None = None
    encoder_weights: str | Path | None = None
    only_phase: str | None = None


def train_anatomy(
    recipe: Recipe, label_maps: Path, folder: Path, *, encoder_weights: str | Path | None = None,
    only_phase: str | None = None,
) -> Path:  # fmt: skip
    """Train the anatomy network on heads synthesised from label maps; returns the weights file.

    The recipe's ``phases`` follow each other, each from the weights of the one before, the first ones on a coarser
    grid, where a step costs less. The pose template is written to ``constants.json`` in ``folder`` before training
    starts; that of a bundle is kept, because other models were trained in its frame.

    Parameters
    ----------
    recipe : Recipe
    label_maps : Path
        Folder of label maps.
    folder : Path
        Gets a folder for each phase with its checkpoints, and the final ``weights.npz``.
    encoder_weights : {None, "imagenet"} or Path
        Start of the first phase; see `bids_hypo.models.network.build_unet`.
    only_phase : str, optional
        Train this phase alone, from ``encoder_weights``.

    Raises
    ------
    UsageError
        If there is no such phase.
    """
    weights: Path | None = None
    for phase in in_phases(recipe, only_phase):
        logger.info("preparing the label maps of %s for phase '%s'", label_maps, phase.name)
        heads = load_training_heads(
            label_maps, list(recipe.validation_maps), n_varied=phase.varied_fluid_copies,
            nuclei=phase.synthesis.get("susceptibility", 0) > 0,
        )  # fmt: skip
        if weights is None:
            kept = load_bundle(encoder_weights).constants if _is_bundle(encoder_weights) else {}
            template = kept.get("pose_template_mm") or make_pose_template(heads)
            write_constants(folder, {"pose_template_mm": template})
        source = AnatomyBatches(heads, dict(phase.content))
        weights = fit(source, phase.architecture, phase.loss, phase.training, folder / phase.name,
                      encoder_weights=None if weights else encoder_weights, initial_weights=weights)  # fmt: skip
    assert weights is not None
    return Path(shutil.copyfile(weights, folder / "weights.npz"))


def _is_bundle(weights: str | Path | None) -> TypeGuard[Path]:
    return isinstance(weights, Path) and weights.is_dir()


def train_labelled(
    recipe: Recipe, items: Sequence[LabelledScan], prepare: Prepare, folder: Path, options: TrainingOptions
) -> None:
    """Train a delineation network on labelled scans; in folds if asked for.

    Where the recipe has phases, each goes on from the weights of the one before.

    Parameters
    ----------
    recipe : Recipe
    items : sequence of LabelledScan
        All there are; the recipe says who is set aside for testing.
    prepare : callable
        `prepare_regions` with what finds the poses; several trainings on the same scans may share what it returns.
    folder : Path
        Gets ``fold-1/`` ... with checkpoints, curves and weights (phases before the last in a folder of their own in
        it), ``constants.json`` and ``division.json``.
    options : TrainingOptions

    Raises
    ------
    UsageError
        If there is no such phase, or one has another grid than the recipe, on which the scans are cut.
    """
    phases = in_phases(recipe, options.only_phase)
    if any(phase.preprocessing != recipe.preprocessing for phase in phases):
        raise UsageError(
            f"the recipe '{recipe.name}' learns from labelled scans: expected phases without spacing_mm and shape."
        )
    plan = plan_folds(items, recipe, options.n_folds, options.encoder_weights)
    divisions = [division for division, _ in plan]
    write_division(folder, divisions, set_aside(items, recipe.test))
    by_name = {item.name: item for d in divisions for item in (*d.training, *d.validation)}
    everyone = [by_name[name] for name in sorted(by_name)]
    prepared = prepare(recipe, everyone)
    write_constants(folder, {"region_centre_mm": list(prepared.region_centre_mm)})
    for number, (division, start) in enumerate(plan, start=1):
        if options.only_fold in (None, number):
            logger.info("fold %d: %d training, %d validation", number, len(division.training), len(division.validation))
            for phase in phases:
                own = folder / f"fold-{number}" / ("" if phase is phases[-1] else phase.name)
                start = _fit_fold(phase, division, prepared.regions, own, start, seed_offset=number - 1)


def _fit_fold(
    recipe: Recipe, division: Division, regions: dict[str, LabelledRegion], folder: Path, start: Start, *,
    seed_offset: int,
) -> Path:  # fmt: skip
    training = resolved_schedule(recipe, len(division.training))
    training = replace(training, seed=training.seed + seed_offset)
    source = RegionBatches(tuple(regions[item.name] for item in division.training), replace(recipe, training=training))
    validation = source.validation(regions[item.name] for item in division.validation)
    whole = start if isinstance(start, Path) and start.suffix == ".npz" else None
    return fit(source, recipe.architecture, recipe.loss, training, folder, validation=validation,
               encoder_weights=None if whole else start, initial_weights=whole)  # fmt: skip


def pose_of(volume: Volume, head: ModelBundle, network: Network, *, what: str) -> Pose:
    """The pose of a scan by the network that sees a whole head."""
    found = find_anatomy(volume, head, network, what=what)
    return fit_pose(found.centroids_mm, pose_template(head), what=what)


def prepare_regions(recipe: Recipe, items: Sequence[LabelledScan], heads: Heads) -> Prepared:
    """Pose every scan and cut its region.

    The middle of the network's grid is the recipe's, or the mean centre of the structure. With random shifts in
    training the region lies around each scan's own labels; without, where participant level will look for it.

    Parameters
    ----------
    recipe : Recipe
    items : sequence of LabelledScan
    heads : mapping of str to (ModelBundle, callable)
        What finds the pose, by the suffix of the images, and its network.
    """
    poses, centres = [], []
    for item in items:
        pose = pose_of(read_scan(item.scan), *heads[item.scan.suffix], what=str(item.scan.path))
        centre = label_centre_mm(read_classes(item, recipe))
        poses.append(pose)
        centres.append(pose.rotation.T @ (centre - pose.translation_mm) / pose.scale)
        logger.info("read %s; middle of its labels in the frame of the pose: %s", item.name, np.round(centres[-1], 1))
    told = recipe.constants.get("region_centre_mm")
    middle = np.asarray(np.mean(centres, axis=0).round(2) if told is None else told)
    regions = {}
    for item, pose, own in zip(items, poses, centres, strict=True):
        grid = store_grid(pose.place(own if recipe.augmentation.deforms else middle), pose.rotation, recipe)
        scan = read_scan(item.scan)
        regions[item.name] = cut_region(item.name, scan, read_classes(item, recipe), pose, grid, weight=item.weight)
    return Prepared(regions, tuple(float(value) for value in middle))


def write_constants(folder: Path, constants: dict[str, Any]) -> None:
    """Write what training finds and its bundle needs."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "constants.json", (json.dumps(constants, indent=2) + "\n").encode())
