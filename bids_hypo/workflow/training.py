"""From a recipe to a bundle: the steps of training each shipped model, or a user's own."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.errors import NoInputError, UsageError
from bids_hypo.image.volume import Volume, read_volume
from bids_hypo.models.bundle import DESCRIPTION, ModelBundle, load_bundle, save_bundle
from bids_hypo.segment.anatomy import find_anatomy, pose_template
from bids_hypo.segment.pose import Pose, fit_pose
from bids_hypo.train.anatomy import AnatomyBatches, load_training_heads
from bids_hypo.train.card import Fold, model_card
from bids_hypo.train.curves import Curves
from bids_hypo.train.fit import fit
from bids_hypo.train.labelled import (
    DIVISION,
    Division,
    LabelledScan,
    divide,
    divide_like,
    read_classes,
    read_folds,
    set_aside,
)
from bids_hypo.train.pose_template import make_pose_template
from bids_hypo.train.regions import (
    SUBJECTS_PER_CHUNK,
    LabelledRegion,
    RegionBatches,
    cut_region,
    is_deformed,
    label_centre_mm,
    store_grid,
)

logger = logging.getLogger(__name__)

RECIPES = Path(str(files("bids_hypo") / "train" / "recipes"))
Network = Callable[[np.ndarray], np.ndarray]


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
    """

    n_folds: int = 1
    only_fold: int | None = None
    encoder_weights: str | Path | None = None


def load_recipe(name: str, *, backbone: str | None = None) -> dict[str, Any]:
    """Read a shipped recipe by name, or a recipe file.

    Parameters
    ----------
    name : str
    backbone : str, optional
        Instead of the recipe's.
    """
    path = Path(name) if name.endswith(".json") else RECIPES / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.json")))
        raise NoInputError(f"{path}: no such recipe; shipped ones are: {known}. Or name a .json file.")
    recipe: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if backbone is not None:
        recipe["architecture"]["backbone"] = backbone
    return recipe


def train_anatomy(recipe: dict[str, Any], label_maps: Path, folder: Path) -> Path:
    """Train the anatomy network on heads synthesised from label maps; returns the weights file.

    The recipe's ``phases`` follow each other, each from the weights of the one before, the first ones on a coarser
    grid, where a step costs less. The pose template is written
    to ``constants.json`` in ``folder`` before training starts.

    Parameters
    ----------
    recipe : dict
    label_maps : Path
        Folder of label maps.
    folder : Path
        Gets a folder for each phase with its checkpoints, and the final ``weights.npz``.
    """
    weights: Path | None = None
    for phase in recipe["phases"]:
        logger.info("preparing the label maps of %s for phase '%s'", label_maps, phase["name"])
        heads = load_training_heads(label_maps, recipe["validation"], n_wider=phase.get("wider_fluid_copies", 0))
        if weights is None:
            _write_constants(folder, {"pose_template_mm": make_pose_template(heads)})
        changed = in_phase(recipe, phase)
        source = AnatomyBatches(heads, changed)
        weights = fit(source, changed["architecture"], changed["loss"], changed["training"], folder / phase["name"],
                      initial_weights=weights)  # fmt: skip
    assert weights is not None
    return Path(shutil.copyfile(weights, folder / "weights.npz"))


def in_phase(recipe: dict[str, Any], phase: dict[str, Any]) -> dict[str, Any]:
    """A recipe as it is in one of its phases.

    A phase may have a ``spacing_mm`` and ``shape`` of its own, because the same weights serve any grid.
    """
    pre = {**recipe["preprocessing"], **{key: phase[key] for key in ("spacing_mm", "shape") if key in phase}}
    x, _, z = pre["shape"]
    architecture = {**recipe["architecture"], "input_shape": [x, z, recipe["architecture"]["input_shape"][2]]}
    return {**recipe, **phase, "preprocessing": pre, "architecture": architecture}


def train_labelled(
    recipe: dict[str, Any], items: Sequence[LabelledScan], anatomy: ModelBundle, network: Network, folder: Path,
    options: TrainingOptions,
) -> None:  # fmt: skip
    """Train a delineation network on labelled scans, posed by the anatomy network; in folds if asked for.

    Parameters
    ----------
    recipe : dict
    items : sequence of LabelledScan
        All there are; the recipe says who is set aside for testing.
    anatomy : ModelBundle
    network : callable
        Its network.
    folder : Path
        Gets ``fold-1/`` ... with checkpoints, curves and weights, ``constants.json`` and ``division.json``.
    options : TrainingOptions
    """
    plan = plan_folds(items, recipe, options)
    divisions = [division for division, _ in plan]
    _write_division(folder, divisions, set_aside(items, recipe.get("test", {})))
    everyone = sorted({item.name: item for d in divisions for item in (*d.training, *d.validation)}.values(), key=_name)
    regions = prepare_regions(recipe, everyone, anatomy, network, folder)
    for number, (division, start) in enumerate(plan, start=1):
        if options.only_fold in (None, number):
            logger.info("fold %d: %d training, %d validation", number, len(division.training), len(division.validation))
            _fit_fold(recipe, division, regions, folder / f"fold-{number}", start, seed_offset=number - 1)


def _name(item: LabelledScan) -> str:
    return item.name


Start = str | Path | None


def plan_folds(
    items: Sequence[LabelledScan], recipe: dict[str, Any], options: TrainingOptions
) -> list[tuple[Division, Start]]:
    """Who trains and validates in each fold, and what its network starts from.

    Folds that go on from a bundle of folds keep its division, each with its own network, so that no network has seen
    who is set aside.

    Parameters
    ----------
    items : sequence of LabelledScan
    recipe : dict
    options : TrainingOptions

    Returns
    -------
    list of (Division, str or Path or None)
        A file ``.npz`` holds a whole network; the rest as in `bids_hypo.models.network.build_unet`.

    Raises
    ------
    UsageError
        If the bundle has another number of folds, or does not say who was set aside in them.
    """
    weights = options.encoder_weights
    if options.n_folds > 1 and isinstance(weights, Path) and (weights / DESCRIPTION).is_file():
        bundle = load_bundle(weights)
        if len(bundle.weights) > 1:
            held_out = [fold["validation"] for fold in read_folds(weights)]
            if not len(held_out) == len(bundle.weights) == options.n_folds:
                raise UsageError(
                    f"--encoder-weights {weights}: found {len(bundle.weights)} networks, {len(held_out)} folds in its "
                    f"{DIVISION}; expected {options.n_folds}. Train as many folds, or start from 'anatomy'."
                )
            divisions = divide_like(items, recipe, held_out)
            return list(zip(divisions, (weights / name for name, _ in bundle.weights), strict=True))
    return [(division, weights) for division in divide(items, recipe, options.n_folds)]


def _fit_fold(
    recipe: dict[str, Any], division: Division, regions: dict[str, LabelledRegion], folder: Path, start: Start, *,
    seed_offset: int,
) -> None:  # fmt: skip
    training = resolved_schedule(recipe, len(division.training))
    training["seed"] += seed_offset
    changed = {**recipe, "training": training}
    source = RegionBatches(tuple(regions[item.name] for item in division.training), changed)
    validation = source.validation(regions[item.name] for item in division.validation)
    whole = start if isinstance(start, Path) and start.suffix == ".npz" else None
    fit(source, recipe["architecture"], recipe["loss"], training, folder, validation=validation,
        encoder_weights=None if whole else start, initial_weights=whole)  # fmt: skip


def resolved_schedule(recipe: dict[str, Any], n_scans: int) -> dict[str, Any]:
    """The schedule in steps: a recipe may give ``epochs`` over all slices, with a checkpoint after each.

    Parameters
    ----------
    recipe : dict
    n_scans : int
        Scans that train.
    """
    training = dict(recipe["training"])
    if "epochs" in training:
        n_slices = recipe["preprocessing"]["shape"][1]
        per_epoch = max(n_scans * n_slices // training["batch_size"], 1)
        training |= {
            "steps": training["epochs"] * per_epoch,
            "checkpoint_every": per_epoch,
            "batches_per_chunk": max(min(n_scans, SUBJECTS_PER_CHUNK) * n_slices // training["batch_size"], 1),
        }
    return training


def pose_of(volume: Volume, anatomy: ModelBundle, network: Network, *, what: str) -> Pose:
    """The pose of a scan by the anatomy network."""
    found = find_anatomy(volume, anatomy, network, what=what)
    return fit_pose(found.centroids_mm, pose_template(anatomy), what=what)


def prepare_regions(
    recipe: dict[str, Any], items: Sequence[LabelledScan], anatomy: ModelBundle, network: Network, folder: Path
) -> dict[str, LabelledRegion]:
    """Pose every scan and cut its region; writes the mean centre of the structure to ``constants.json``.

    With random shifts in training the region lies around each scan's own labels; without, where participant level
    will look for it: around the mean centre.
    """
    poses, centres = [], []
    for item in items:
        pose = pose_of(read_volume(item.scan.path), anatomy, network, what=str(item.scan.path))
        centre = label_centre_mm(read_classes(item, recipe))
        poses.append(pose)
        centres.append(pose.rotation.T @ (centre - pose.translation_mm) / pose.scale)
        logger.info("posed %s; centre in the template %s", item.name, np.round(centres[-1], 1))
    mean = np.mean(centres, axis=0)
    _write_constants(folder, {"region_centre_mm": np.round(mean, 2).tolist()})
    regions = {}
    for item, pose, own in zip(items, poses, centres, strict=True):
        grid = store_grid(pose.place(own if is_deformed(recipe) else mean), pose.rotation, recipe)
        scan = read_volume(item.scan.path)
        regions[item.name] = cut_region(item.name, scan, read_classes(item, recipe), pose, grid, weight=item.weight)
    return regions


def make_bundle(recipe: dict[str, Any], folder: Path, target: Path) -> ModelBundle:
    """Turn a training folder into a bundle with a model card of what was measured.

    Parameters
    ----------
    recipe : dict
    folder : Path
        With ``constants.json`` and ``weights.npz``, or ``fold-1/weights.npz`` and so on.
    target : Path
        Bundle folder to write.

    Raises
    ------
    UsageError
        If nothing was trained yet.
    """
    parts = [folder] if (folder / "weights.npz").is_file() else sorted(folder.glob("fold-*"), key=_fold_number)
    weights = [part / "weights.npz" for part in parts if (part / "weights.npz").is_file()]
    if not weights or not (folder / "constants.json").is_file():
        raise UsageError(f"{folder}: no trained weights; run 'bids_hypo_train fit' with this work folder first.")
    constants = json.loads((folder / "constants.json").read_text(encoding="utf-8"))
    bundle = save_bundle(target, bundle_description(recipe, constants), weights)
    measured = [Fold.of(part.name, Curves(part)) for part in parts if (part / "curves.csv").is_file()]
    division = folder / DIVISION
    people = None
    if division.is_file():
        people = json.loads(division.read_text(encoding="utf-8"))
        shutil.copyfile(division, target / DIVISION)
    (target / "MODEL_CARD.md").write_text(model_card(recipe, measured, people), encoding="utf-8")
    return bundle


def bundle_description(recipe: dict[str, Any], constants: dict[str, Any]) -> dict[str, Any]:
    """The fields of bundle.json that a recipe and the training data decide."""
    kept = ("name", "version", "structure", "suffixes", "labels", "architecture", "preprocessing")
    return {
        **{key: recipe[key] for key in kept},
        **({"mixed_precision": True} if recipe.get("mixed_precision") else {}),
        "constants": {**constants, **recipe.get("constants", {})},
        "licence": recipe.get("licence", "Apache-2.0"),
        "citation": recipe.get("citation", "Vernikouskaya et al. 2023, Sci Rep; see CITATION.cff"),
    }


def _fold_number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _write_division(folder: Path, divisions: Sequence[Division], test: Sequence[LabelledScan]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "test": sorted(item.name for item in test),
        "folds": [
            {"training": sorted(map(_name, d.training)), "validation": sorted(map(_name, d.validation))}
            for d in divisions
        ],
    }
    (folder / DIVISION).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_constants(folder: Path, constants: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "constants.json").write_text(json.dumps(constants, indent=2) + "\n", encoding="utf-8")
