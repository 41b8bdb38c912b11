"""Recipes: JSON files that say what is trained, on which grid, with which examples, loss and schedule."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from bids_hypo.errors import NoInputError, UsageError
from bids_hypo.files import read_json
from bids_hypo.train.regions import SUBJECTS_PER_CHUNK
from bids_hypo.untrusted import plain_name

_KINDS = {dict: "an object", list: "a list"}
RECIPES = Path(str(files("bids_hypo") / "train" / "recipes"))


def load_recipe(name: str, *, backbone: str | None = None, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Read a shipped recipe by name, or a recipe file.

    Parameters
    ----------
    name : str
    backbone : str, optional
        Instead of the recipe's.
    changes : sequence of str
        See `changed`.

    Raises
    ------
    NoInputError
        If there is no such recipe.
    UnsafeNameError
        If folders cannot have its name, or that of a phase.
    UsageError
        If a change is not to be understood.
    """
    path = Path(name) if name.endswith(".json") else RECIPES / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.json")))
        raise NoInputError(f"{path}: no such recipe; shipped ones are: {known}. Or name a .json file.")
    try:
        recipe: dict[str, Any] = read_json(path)
        if not isinstance(recipe, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as a recipe in JSON ({error}). Correct the file.") from error
    for entry, kind in (("architecture", dict), ("preprocessing", dict), ("labels", list)):
        if not isinstance(recipe.get(entry), kind):
            found = repr(recipe.get(entry))[:60]
            raise UsageError(f"{path}: the entry '{entry}' is {found}; expected {_KINDS[kind]}. Correct the file.")
    plain_name(recipe.get("name"), f"{path}: 'name'")
    for phase in recipe.get("phases", []):
        plain_name(phase.get("name"), f"{path}: 'name' of a phase")
    if backbone is not None:
        recipe["architecture"]["backbone"] = backbone
    return changed(recipe, changes) if changes else recipe


def changed(recipe: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A recipe with other values; the network's input follows the grid and the channels.

    Parameters
    ----------
    recipe : dict
    changes : sequence of str
        Each ``training.steps=600``: where it is in the recipe, and the new value as JSON. What a phase names itself
        is at ``phases.mild.training.steps``.

    Raises
    ------
    UsageError
        If the recipe has no such entry, or the value is not JSON, or an entry gets two values.
    """
    recipe = copy.deepcopy(recipe)
    given: dict[str, str] = {}
    for change in changes:
        where, _, text = change.partition("=")
        before = given.setdefault(where, text)
        if before != text:
            raise UsageError(f"--set {change}: {where} is given twice, as {before} and as {text}; give it once.")
        *parents, key = where.split(".")
        place: Any = recipe
        for parent in parents:
            if isinstance(place, list):  # the phases, by their names
                place = {entry["name"]: entry for entry in place if isinstance(entry, dict)}
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or key not in place:
            raise UsageError(
                f"--set {change}: the recipe has no entry '{where}'; expected one such as training.steps=600 or "
                f"architecture.decoder_filters=[64,32,24,16,8]. At the top it has {', '.join(recipe)}."
            )
        try:
            place[key] = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(
                f"--set {change}: {text!r} is not JSON; expected a number, a list such as [1,2] or a word in double "
                "quotes."
            ) from error
    return _with_input_shape(recipe)


def in_phases(recipe: dict[str, Any], only: str | None = None) -> list[dict[str, Any]]:
    """A recipe as it is in each of its phases, each under the phase's name; as it is, if it has none.

    What a phase does not name is as in the phase before it. It may have a ``spacing_mm`` and ``shape`` of its own,
    because the same weights serve any grid; without them it has the recipe's.

    Parameters
    ----------
    recipe : dict
    only : str, optional
        The name of one phase, which is returned alone.

    Raises
    ------
    UsageError
        If there is no such phase.
    """
    named = recipe.get("phases", [])
    if only is not None and only not in (phase["name"] for phase in named):
        has = f"has the phases {', '.join(phase['name'] for phase in named)}" if named else "has no phases"
        raise UsageError(f"--phase {only}: the recipe '{recipe['name']}' {has}.")
    if not named:
        return [recipe]
    phases, so_far = [], recipe
    for phase in named:
        so_far = {**so_far, **phase}
        pre = {**recipe["preprocessing"], **{key: phase[key] for key in ("spacing_mm", "shape") if key in phase}}
        phases.append(_with_input_shape({**so_far, "preprocessing": pre}))
    return [phase for phase in phases if only in (None, phase["name"])]


def _with_input_shape(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe whose network takes coronal slices of its grid, with as many channels as there are neighbours."""
    pre = recipe["preprocessing"]
    x, _, z = pre["shape"]
    return {**recipe, "architecture": {**recipe["architecture"], "input_shape": [x, z, len(pre["slice_offsets"])]}}


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
