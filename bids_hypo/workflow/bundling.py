"""From a training folder to a model bundle with its model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.ending import temporary_folder
from bids_hypo.errors import UsageError
from bids_hypo.files import read_json
from bids_hypo.image.volume import write_bytes
from bids_hypo.models.archive import read_arrays
from bids_hypo.models.bundle import ModelBundle, load_bundle, save_bundle
from bids_hypo.train.card import Fold, model_card
from bids_hypo.train.curves import Curves
from bids_hypo.train.folds import DIVISION, read_folds
from bids_hypo.train.recipe_entries import OF_STRUCTURE
from bids_hypo.train.settings import Recipe

WEIGHTS = "weights.npz"


def make_bundle(recipe: Recipe, folder: Path, target: Path, *, average_with: Path | None = None) -> ModelBundle:
    """Turn a training folder into a bundle with a model card of what was measured.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        With ``constants.json`` and ``weights.npz``, or ``fold-1/weights.npz`` and so on; folds that are not trained yet
        are left out, of the division as well.
    target : Path
        Bundle folder to write.
    average_with : Path, optional
        A bundle that the training went on from. The weights become the mean of both, which generalises better than
        either where a training brings networks closer to their scans (Wortsman et al. 2022, CVPR, WiSE-FT).

    Raises
    ------
    UsageError
        If nothing was trained yet, or the other bundle holds other networks or another division of the people.
    """
    whole = (folder / WEIGHTS).is_file()
    trained = (path.parent for path in folder.glob(f"fold-*/{WEIGHTS}"))
    parts = [folder] if whole else sorted(trained, key=_fold_number)
    weights = [part / WEIGHTS for part in parts]
    if not weights or not (folder / "constants.json").is_file():
        raise UsageError(f"{folder}: no trained weights; run 'bids_hypo_train fit' with this work folder first.")
    constants = _read_own(folder / "constants.json")
    people = None
    if (folder / DIVISION).is_file():
        people = _read_own(folder / DIVISION)
        if not whole:
            people["folds"] = [people["folds"][_fold_number(part) - 1] for part in parts]
    with temporary_folder() as scratch:
        if average_with is not None:
            folds = people["folds"] if people else []
            weights = _averaged(weights, folds, load_bundle(average_with), scratch)
        bundle = save_bundle(target, bundle_description(recipe, constants), weights)
    if people:
        write_bytes(target / DIVISION, (json.dumps(people, indent=2) + "\n").encode())
    measured = [Fold.of(part.name, Curves(part)) for part in parts if (part / "curves.csv").is_file()]
    card = model_card(recipe, measured, people, averaged=average_with is not None)
    write_bytes(target / "MODEL_CARD.md", card.encode())
    return bundle


def _read_own(path: Path) -> dict[str, Any]:
    """A JSON object that training wrote."""
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as JSON ({error}). Run 'bids_hypo_train fit' again.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected an object. Run 'bids_hypo_train fit' again.")
    return content


def _averaged(weights: list[Path], folds: list[dict[str, Any]], other: ModelBundle, target: Path) -> list[Path]:
    """Files with the mean of each network's weights and those of the same fold of another bundle."""
    ours, theirs = ([sorted(fold["validation"]) for fold in each] for each in (folds, read_folds(other.folder)))
    if len(weights) != len(other.weights) or ours != theirs:
        raise UsageError(
            f"{other.folder}: found {len(other.weights)} networks; expected {len(weights)}, with the same people set "
            f"aside in each ({DIVISION}). Average with the bundle that this training went on from."
        )
    made = []
    for path, (name, _) in zip(weights, other.weights, strict=True):
        one, two = read_arrays(path), read_arrays(other.folder / name)
        if [(k, one[k].shape) for k in one] != [(k, two[k].shape) for k in two]:
            raise UsageError(f"{other.folder / name}: not a network like {path}; the two have no mean.")
        mean: dict[str, Any] = {k: ((one[k].astype(np.float32) + two[k]) / 2).astype(one[k].dtype) for k in one}
        made.append(target / name)
        np.savez_compressed(made[-1], **mean)
    return made


def bundle_description(recipe: Recipe, constants: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of bundle.json that a recipe and the training data decide."""
    told, kept = recipe.content, ("name", "version", "role", "suffixes", "labels", "architecture", "preprocessing")
    return {
        **{key: told[key] for key in kept},
        **{key: told[key] for key in OF_STRUCTURE if key in told},
        **({"mixed_precision": True} if told.get("mixed_precision") else {}),
        "constants": {**constants, **told.get("constants", {})},
        "licence": told.get("licence", "Apache-2.0"),
        "citation": told.get("citation", "Vernikouskaya et al. 2023, Sci Rep; see CITATION.cff"),
    }


def _fold_number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
