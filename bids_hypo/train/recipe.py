"""Recipes: JSON files that say what is trained, on which grid, with which examples, loss and schedule."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from bids_hypo.errors import NoInputError, UsageError
from bids_hypo.files import read_json
from bids_hypo.image.slices import SLICE_AXES
from bids_hypo.models.entries import Entries
from bids_hypo.train.recipe_entries import GRID, OF_STRUCTURE, read_recipe
from bids_hypo.train.settings import Recipe, Schedule

RECIPES = Path(str(files("bids_hypo") / "train" / "recipes"))
SAME_STRUCTURE = "same_structure_as"  # the recipe that says what the structure is
SCANS_PER_CHUNK = 8  # of an epoch over all slices


def load_recipe(name: str, *, backbone: str | None = None, changes: Sequence[str] = ()) -> Recipe:
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
        If an entry of it cannot be, or a change is not to be understood.
    """
    path, content = read_content(name)
    if backbone is not None and isinstance(content.get("architecture"), dict):
        content["architecture"]["backbone"] = backbone
    if changes:
        parse_recipe(content, path)  # so that a change is not blamed for what the file has
        content = changed(content, changes)
    return parse_recipe(content, path)


def read_content(name: str) -> tuple[Path, dict[str, Any]]:
    """What the file of a recipe says, with the structure that it takes from another; and the file.

    Raises
    ------
    NoInputError, UsageError
        See `load_recipe`.
    """
    path = Path(name) if name.endswith(".json") else RECIPES / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.json")))
        raise NoInputError(f"{path}: no such recipe; shipped ones are: {known}. Or name a .json file.")
    try:
        content = read_json(path)
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as a recipe in JSON ({error}). Correct the file.") from error
    if SAME_STRUCTURE not in content:
        return path, content
    other = _entries(content, path).text(SAME_STRUCTURE)
    lender = RECIPES / f"{other}.json"
    if not other.isalnum() or not lender.is_file() or lender == path:
        _entries(content, path).refuse(SAME_STRUCTURE, "the name of another shipped recipe")
    lent = {key: value for key, value in read_json(lender).items() if key in OF_STRUCTURE}
    return path, {**lent, **{key: value for key, value in content.items() if key != SAME_STRUCTURE}}


def parse_recipe(content: Mapping[str, Any], path: Path) -> Recipe:
    """Check what a recipe says.

    Parameters
    ----------
    content : mapping
    path : Path
        Its file, named in errors.

    Raises
    ------
    UsageError, UnsafeNameError
        See `load_recipe`.
    """
    return read_recipe(_entries(content, path))


def _entries(content: Mapping[str, Any], path: Path) -> Entries:
    return Entries(path, content, error=UsageError, advice="Correct the file.")


def changed(content: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The content of a recipe with other values; the network's input follows the grid and the channels.

    Parameters
    ----------
    content : mapping
        Of a recipe that was checked.
    changes : sequence of str
        Each ``training.steps=600``: where it is in the recipe, and the new value as JSON. What a phase names itself
        is at ``phases.mild.training.steps``.

    Raises
    ------
    UsageError
        If the recipe has no such entry, or the value is not JSON, or an entry gets two values.
    """
    recipe = copy.deepcopy(dict(content))
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
    return with_input_shape(recipe)


def in_phases(recipe: Recipe, only: str | None = None) -> list[Recipe]:
    """A recipe as it is in each of its phases, each under the phase's name; as it is, if it has none.

    What a phase does not name is as in the phase before it. It may have a ``spacing_mm`` and ``shape`` of its own,
    because the same weights serve any grid; without them it has the recipe's.

    Parameters
    ----------
    recipe : Recipe
    only : str, optional
        The name of one phase, which is returned alone.

    Raises
    ------
    UsageError
        If there is no such phase, or one cannot be.
    """
    if only is not None and only not in recipe.phases:
        has = f"has the phases {', '.join(recipe.phases)}" if recipe.phases else "has no phases"
        raise UsageError(f"--phase {only}: the recipe '{recipe.name}' {has}.")
    if not recipe.phases:
        return [recipe]
    phases, whole = [], {key: value for key, value in recipe.content.items() if key != "phases"}
    so_far = whole
    for phase in recipe.content["phases"]:
        so_far = {**so_far, **{key: value for key, value in phase.items() if key not in GRID}}
        grid = {**whole["preprocessing"], **{key: phase[key] for key in GRID if key in phase}}
        content = with_input_shape({**so_far, "preprocessing": grid})
        phases.append(parse_recipe(content, Path(f"{recipe.name}, phase {phase['name']}")))
    return [phase for phase in phases if only in (None, phase.name)]


def single_phase(recipe: Recipe, phase: str | None = None, steps: int | None = None) -> Recipe:
    """A recipe as it is in one of its phases, maybe for so many steps: what encoders are compared with.

    Parameters
    ----------
    recipe : Recipe
    phase : str, optional
        The first if not given.
    steps : int, optional
        The schedule is shortened: at most a tenth is warm-up, there are five checkpoints at least, and training does
        not stop early, so that all that are compared get the same steps.

    Raises
    ------
    UsageError
        See `in_phases`.
    """
    content = {**in_phases(recipe, phase)[0].content, "name": recipe.name}
    if steps is not None:
        content["training"] = _shortened(recipe, content["training"], steps)
    return parse_recipe(content, Path(recipe.name))


def _shortened(recipe: Recipe, training: Mapping[str, Any], steps: int) -> dict[str, Any]:
    kept = {key: value for key, value in training.items() if key not in ("epochs", "patience", "stop_at")}
    if "epochs" in training:  # its chunks follow from the slices
        n_slices = recipe.preprocessing.n_slices
        kept["batches_per_chunk"] = max(SCANS_PER_CHUNK * n_slices // kept["batch_size"], 1)
    return {
        **kept,
        "steps": steps,
        "warmup_steps": min(kept.get("warmup_steps", 0), steps // 10),
        "checkpoint_every": max(min(kept.get("checkpoint_every", steps), steps // 5), 1),
    }


def without_contrast(recipe: Recipe) -> Recipe:
    """A recipe that does not vary the contrast of its examples; bias field, blur, noise and shape vary as before.

    What varies it is ``gamma_sd``, ``remap`` and ``contrast_after``; the factor ``contrast`` is 1.

    Parameters
    ----------
    recipe : Recipe

    Raises
    ------
    UsageError
        If the recipe does not vary the contrast anyway.
    """
    old = recipe.augmentation
    if old.contrast_after is None and (old.contrast is None or not (old.gamma_sd or old.remap)):
        raise UsageError(
            f"the recipe '{recipe.name}' does not vary the contrast of its examples; expected one with 'gamma_sd', "
            "'remap' or 'contrast_after' in its augmentation."
        )
    varied = ("gamma_sd", "remap", "contrast_after")
    augmentation = {key: value for key, value in recipe.content["augmentation"].items() if key not in varied}
    if old.contrast is not None:
        augmentation["contrast"] = [1.0, 1.0]
    return parse_recipe({**recipe.content, "augmentation": augmentation}, Path(recipe.name))


def with_input_shape(content: dict[str, Any]) -> dict[str, Any]:
    """A recipe whose network takes slices of its grid as they lie, with as many channels as there are neighbours."""
    pre = content["preprocessing"]
    try:
        height, _, width = (pre["shape"][axis] for axis in SLICE_AXES[pre["slice_axis"]])
        if pre.get("slice_orientation", "R")[0] not in "RL":
            height, width = width, height
        shape = [height, width, len(pre["slice_offsets"])]
    except (TypeError, ValueError, LookupError):  # told when the recipe is checked
        return content
    return {**content, "architecture": {**content["architecture"], "input_shape": shape}}


def resolved_schedule(recipe: Recipe, n_scans: int) -> Schedule:
    """The schedule in steps: a recipe may give ``epochs`` over all slices, with a checkpoint after each.

    Parameters
    ----------
    recipe : Recipe
    n_scans : int
        Scans that train.
    """
    training = recipe.training
    if training.epochs is None:
        return training
    n_slices = recipe.preprocessing.n_slices
    per_epoch = max(n_scans * n_slices // training.batch_size, 1)
    return replace(
        training,
        steps=training.epochs * per_epoch,
        checkpoint_every=per_epoch,
        batches_per_chunk=max(min(n_scans, SCANS_PER_CHUNK) * n_slices // training.batch_size, 1),
    )
