"""The entries of a recipe, each checked when it is taken; unknown ones are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from bids_hypo.models.bundle import ROLES, STRUCTURE, read_architecture, read_constants, read_preprocessing
from bids_hypo.models.entries import Entries
from bids_hypo.models.measured import read_published, read_structure
from bids_hypo.train.headmaps import FIRST_OUTSIDE
from bids_hypo.train.region_options import read_region_options
from bids_hypo.train.settings import (
    ALL_SLICES,
    LABELLED,
    NEAR_STRUCTURE,
    SIMULATED,
    SYNTHESIS,
    Augmentation,
    Recipe,
    Schedule,
)
from bids_hypo.untrusted import plain_name

GRID = ("spacing_mm", "shape")  # what a phase may have of the preprocessing
OF_STRUCTURE = ("structure", "title", "parts", "sums", "plausible", "published", "methods", "view")
IN_PHASES = ("augmentation", "label_slope", "loss", "sampling", "synthesis", "training", "varied_fluid_copies")
KNOWN = (
    "name", "version", "role", "examples", "suffixes", "citation", "licence", "training_data", *OF_STRUCTURE,
    "architecture", "labels", "preprocessing", "label_numbers", "mirror_pairs", "maps_to", "mixed_precision",
    "constants", "encoder_weights", "folds", "left_out", "validation", "validation_share", "test", "phases", *IN_PHASES,
)  # fmt: skip
_PREPROCESSING = (*GRID, "slice_axis", "slice_offsets", "slice_orientation", "intensity")
_ARCHITECTURE = ("type", "backbone", "input_shape", "classes", "decoder_filters", "detail_filters", "spread_dark")
_LOSS = ("type", "class_weights", "jaccard_groups", "jaccard_weight")
_LOSS_TYPES = ("soft labels", "cross entropy + jaccard")
_MANY = 10**9


def read_recipe(entries: Entries) -> Recipe:
    """A recipe from the content of its file.

    Parameters
    ----------
    entries : Entries
        With everything that another recipe lends filled in.

    Raises
    ------
    UsageError
        If an entry is missing, unknown, or cannot be; it is named.
    UnsafeNameError
        If folders cannot have its name, or that of a phase.
    """
    plain_name(entries.content.get("name"), f"{entries.path}: 'name'")
    phases = _phases(entries)
    entries.only(KNOWN)
    now = entries.like({**_first(entries.content, phases), **entries.content})
    labels = now.texts("labels", least=2)
    if (role := now.text("role")) not in ROLES:
        now.refuse("role", f"one of {', '.join(ROLES)}")
    if (examples := now.text("examples", LABELLED)) not in (SYNTHESIS, SIMULATED, LABELLED):
        now.refuse("examples", f"{SYNTHESIS}, {SIMULATED} or {LABELLED}")
    read_published(now)
    recipe = Recipe(
        content=entries.content,
        name=now.text("name"),
        version=now.text("version"),
        role=role,
        examples=examples,
        suffixes=now.texts("suffixes"),
        labels=labels,
        structure=read_structure(now, labels) if role == STRUCTURE else None,
        folds=now.whole_number("folds", 1, 1000, default=1),
        encoder_weights=now.text("encoder_weights", "none"),
        constants=read_constants(_object(now, "constants")),
        phases=tuple(phases),
        **_network(now, len(labels)),
        **_examples(now, len(labels)),
        **_from_maps(now, labels, of_structure=examples == SYNTHESIS and role == STRUCTURE),
        **_set_aside(now, by_map=examples != LABELLED),
    )
    _check_mirror(now, recipe)
    return recipe


def _network(entries: Entries, n_labels: int) -> dict[str, Any]:
    """Its grid, what it is made of, and how it is fitted."""
    preprocessing = read_preprocessing(entries.object("preprocessing").only(_PREPROCESSING))
    architecture = entries.object("architecture").only(_ARCHITECTURE)
    return {
        "preprocessing": preprocessing,
        "architecture": read_architecture(architecture, preprocessing, n_labels),
        "loss": _loss(entries.object("loss"), n_labels),
        "training": _schedule(entries.object("training")),
    }


def _examples(entries: Entries, n_labels: int) -> dict[str, Any]:
    """How examples are made of scans and labels, or of head maps."""
    return {
        "synthesis": _object(entries, "synthesis").content,
        "varied_fluid_copies": entries.whole_number("varied_fluid_copies", 0, 1000, default=0),
        "augmentation": _augmentation(_object(entries, "augmentation")),
        "sampling": _sampling(entries),
        "label_slope": entries.number("label_slope", 0.1, 100, default=1.0),
        "label_numbers": _label_numbers(entries, n_labels - 1),
    }


def _from_maps(entries: Entries, labels: tuple[str, ...], *, of_structure: bool) -> dict[str, Any]:
    """Which numbers of a label map are which class, and how images are made of them; for a structure alone."""
    if not of_structure:
        if "maps_to" in entries.content:
            entries.refuse("maps_to", f"no such entry: it is for recipes of role {STRUCTURE} with {SYNTHESIS}")
        return {"maps_to": None, "region": None}
    numbers = entries.object("maps_to").only(labels[1:])
    groups = tuple(frozenset(numbers.whole_numbers(name, 1, FIRST_OUTSIDE - 1)) for name in labels[1:])
    if len(frozenset().union(*groups)) < sum(map(len, groups)):
        entries.refuse("maps_to", "each number of a label map for one class only")
    return {"maps_to": groups, "region": read_region_options(_object(entries, "synthesis"))}


def _set_aside(entries: Entries, *, by_map: bool) -> dict[str, Any]:
    """Who, or which head maps, do not train."""
    return {
        "validation": {} if by_map else _people(entries, "validation"),
        "test": _people(entries, "test"),
        "left_out": {} if by_map else _people(entries, "left_out"),
        "validation_maps": _texts(entries, "validation") if by_map else (),
        "left_out_maps": _texts(entries, "left_out") if by_map else (),
        "validation_share": entries.number("validation_share", 0.001, 0.5, default=0.2),
    }


def _phases(entries: Entries) -> dict[str, Entries]:
    """The phases by their names."""
    if not entries.content.get("phases"):
        return {}
    phases = {}
    for phase in entries.objects("phases"):
        name = plain_name(phase.content.get("name"), f"{entries.path}: 'name' of a phase")
        phases[name] = phase.only(("name", *GRID, *IN_PHASES))
    return phases


def _first(content: Mapping[str, Any], phases: Mapping[str, Entries]) -> dict[str, Any]:
    """What the first phase has that the recipe as a whole lacks."""
    first = next(iter(phases.values())).content if phases else {}
    return {key: value for key, value in first.items() if key in IN_PHASES and key not in content}


def _object(entries: Entries, name: str) -> Entries:
    """An object, empty where there is none."""
    return entries.object(name) if name in entries.content else entries.like({})


def _texts(entries: Entries, name: str) -> tuple[str, ...]:
    """A list of texts that may be empty, or absent."""
    if not isinstance(entries.content.get(name, []), list):
        entries.refuse(name, "a list of texts")
    return entries.texts(name, least=0)


def _people(entries: Entries, name: str) -> dict[str, tuple[str, ...]]:
    listed = _object(entries, name)
    return {dataset: _texts(listed, dataset) for dataset in listed.content}


def _schedule(entries: Entries) -> Schedule:
    entries.only(field.name for field in fields(Schedule))
    epochs = entries.content.get("epochs") is not None
    if (schedule := entries.text("schedule", "cosine")) not in ("cosine", "constant"):
        entries.refuse("schedule", "cosine or constant")
    return Schedule(
        batch_size=entries.whole_number("batch_size", 1, 10_000),
        learning_rate=entries.number("learning_rate", 0.0, 100.0),
        seed=entries.whole_number("seed", 0, 2**31),
        steps=None if epochs else entries.whole_number("steps", 1, _MANY),
        epochs=entries.whole_number("epochs", 1, _MANY) if epochs else None,
        warmup_steps=entries.whole_number("warmup_steps", 0, _MANY, default=0),
        checkpoint_every=entries.whole_number("checkpoint_every", 1, _MANY, default=500),
        batches_per_chunk=entries.whole_number("batches_per_chunk", 1, 100_000, default=24),
        stop_at=_optional_number(entries, "stop_at"),
        patience=_optional_number(entries, "patience"),
        schedule=schedule,
        clip_norm=_clip_norm(entries),
        average=entries.flag("average", default=True),
        mixed_precision=entries.flag("mixed_precision", default=True),
    )


def _optional_number(entries: Entries, name: str) -> int | None:
    return None if entries.content.get(name) is None else entries.whole_number(name, 1, _MANY)


def _clip_norm(entries: Entries) -> float | None:
    if "clip_norm" in entries.content and entries.content["clip_norm"] is None:
        return None
    return entries.number("clip_norm", 1e-6, 1e6, default=5.0)


def _augmentation(entries: Entries) -> Augmentation:
    entries.only(field.name for field in fields(Augmentation))
    values: dict[str, Any] = {}
    for name in entries.content:
        if name in ("contrast", "contrast_after"):
            values[name] = entries.numbers(name, 2, 1e-3, 1e3)
        else:
            values[name] = entries.number(name, 0.0, 1000.0)
    return Augmentation(**values)


def _sampling(entries: Entries) -> str:
    if (sampling := entries.text("sampling", NEAR_STRUCTURE)) not in (NEAR_STRUCTURE, ALL_SLICES):
        entries.refuse("sampling", f"{NEAR_STRUCTURE} or {ALL_SLICES}")
    return sampling


def _loss(entries: Entries, n_labels: int) -> Mapping[str, Any]:
    entries.only(_LOSS)
    kind = entries.text("type", _LOSS_TYPES[0])
    if kind not in _LOSS_TYPES:
        entries.refuse("type", " or ".join(_LOSS_TYPES))
    if kind == _LOSS_TYPES[0]:
        entries.numbers("class_weights", n_labels, 0.0, 1e6)
        entries.number("jaccard_weight", 0.0, 1e6)
        groups = entries.content.get("jaccard_groups")
        of_classes = isinstance(groups, list) and all(
            isinstance(group, list) and group and all(type(n) is int and 0 <= n < n_labels for n in group)
            for group in groups
        )
        if not of_classes or not groups:
            entries.refuse("jaccard_groups", f"lists of classes from 0 to {n_labels - 1}")
    return entries.content


def _label_numbers(entries: Entries, n_classes: int) -> tuple[frozenset[int], ...] | None:
    if "label_numbers" not in entries.content:
        return None
    groups = entries.content["label_numbers"]
    fits = isinstance(groups, list) and len(groups) == n_classes
    if not fits or not all(isinstance(g, list) and g and all(type(n) is int for n in g) for g in groups):
        entries.refuse("label_numbers", f"{n_classes} lists of whole numbers, one for each class but the background")
    return tuple(frozenset(group) for group in groups)


def _check_mirror(entries: Entries, recipe: Recipe) -> None:
    """An older recipe says which classes a mirror image swaps; the parts of the structure have to say the same."""
    pairs = entries.content.get("mirror_pairs")
    if pairs is None:
        return
    swapped = {frozenset((k + 1, other + 1)) for k, other in enumerate(recipe.mirrored) if k != other}
    if not isinstance(pairs, list) or {frozenset(p) for p in pairs if isinstance(p, list)} != swapped:
        told = sorted(sorted(pair) for pair in swapped)
        entries.refuse("mirror_pairs", f"{told}, as the parts have it; it may be left out")
