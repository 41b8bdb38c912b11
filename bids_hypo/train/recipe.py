"""Recipes: JSON files that say what is trained, on which grid, with which examples, loss and schedule."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from bids_hypo.errors import NoInputError
from bids_hypo.train.regions import SUBJECTS_PER_CHUNK

RECIPES = Path(str(files("bids_hypo") / "train" / "recipes"))


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


def in_phase(recipe: dict[str, Any], phase: dict[str, Any]) -> dict[str, Any]:
    """A recipe as it is in one of its phases.

    A phase may have a ``spacing_mm`` and ``shape`` of its own, because the same weights serve any grid.
    """
    pre = {**recipe["preprocessing"], **{key: phase[key] for key in ("spacing_mm", "shape") if key in phase}}
    x, _, z = pre["shape"]
    architecture = {**recipe["architecture"], "input_shape": [x, z, recipe["architecture"]["input_shape"][2]]}
    return {**recipe, **phase, "preprocessing": pre, "architecture": architecture}


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
