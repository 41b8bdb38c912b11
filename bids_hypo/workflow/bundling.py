"""From a training folder to a model bundle with its model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bids_hypo.errors import UsageError
from bids_hypo.models.bundle import ModelBundle, save_bundle
from bids_hypo.train.card import Fold, model_card
from bids_hypo.train.curves import Curves
from bids_hypo.train.folds import DIVISION

WEIGHTS = "weights.npz"


def make_bundle(recipe: dict[str, Any], folder: Path, target: Path) -> ModelBundle:
    """Turn a training folder into a bundle with a model card of what was measured.

    Parameters
    ----------
    recipe : dict
    folder : Path
        With ``constants.json`` and ``weights.npz``, or ``fold-1/weights.npz`` and so on; folds that are not trained yet
        are left out, of the division as well.
    target : Path
        Bundle folder to write.

    Raises
    ------
    UsageError
        If nothing was trained yet.
    """
    whole = (folder / WEIGHTS).is_file()
    trained = (path.parent for path in folder.glob(f"fold-*/{WEIGHTS}"))
    parts = [folder] if whole else sorted(trained, key=_fold_number)
    weights = [part / WEIGHTS for part in parts]
    if not weights or not (folder / "constants.json").is_file():
        raise UsageError(f"{folder}: no trained weights; run 'bids_hypo_train fit' with this work folder first.")
    constants = json.loads((folder / "constants.json").read_text(encoding="utf-8"))
    bundle = save_bundle(target, bundle_description(recipe, constants), weights)
    measured = [Fold.of(part.name, Curves(part)) for part in parts if (part / "curves.csv").is_file()]
    division = folder / DIVISION
    people = None
    if division.is_file():
        people = json.loads(division.read_text(encoding="utf-8"))
        if not whole:
            people["folds"] = [people["folds"][_fold_number(part) - 1] for part in parts]
        (target / DIVISION).write_text(json.dumps(people, indent=2) + "\n", encoding="utf-8")
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
