"""Who trains, who validates and who is set aside for the test: once or in folds, always by person."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sklearn.model_selection import StratifiedGroupKFold

from bids_hypo.errors import ModelError, UsageError
from bids_hypo.files import DAMAGED, read_json
from bids_hypo.image.volume import write_bytes
from bids_hypo.models.bundle import DESCRIPTION, load_bundle
from bids_hypo.train.labelled import LabelledScan
from bids_hypo.train.settings import Recipe

DIVISION = "division.json"  # in a training folder and in its bundle: who trained, validated and tested


def read_folds(folder: Path) -> list[dict[str, list[str]]]:
    """Names of the scans that trained and validated in each fold of a bundle; empty if it does not say."""
    path = folder / DIVISION
    if not path.is_file():
        return []
    try:
        return [{"training": list(fold["training"]), "validation": list(fold["validation"])} for fold in
                read_json(path)["folds"]]  # fmt: skip
    except DAMAGED as error:
        raise ModelError(
            f"{path}: cannot be read as a division into folds ({error}); expected an object with 'folds', a list of "
            "objects with 'training' and 'validation'. Install the model again."
        ) from error


def set_aside(items: Sequence[LabelledScan], people: Mapping[str, Sequence[str]]) -> list[LabelledScan]:
    """Those of the people that a recipe lists by dataset (``sub-`` labels)."""
    wanted = {f"{dataset}/{subject}" for dataset, subjects in people.items() for subject in subjects}
    return [item for item in items if item.person in wanted]


@dataclass(frozen=True)
class Division:
    """Who trains and who validates."""

    training: tuple[LabelledScan, ...]
    validation: tuple[LabelledScan, ...]


def divide(items: Sequence[LabelledScan], recipe: Recipe, n_folds: int) -> list[Division]:
    """Divide people into training and validation, once or in folds; those of the recipe's ``test`` are in neither.

    Parameters
    ----------
    items : sequence of LabelledScan
    recipe : Recipe
        ``test`` and ``validation`` list people by dataset; without ``validation``, ``validation_share`` of the people
        are drawn, by the seed of the training.
    n_folds : int
        1 for a single division; more for cross-validation, where the recipe's ``validation`` list is not used.

    Returns
    -------
    list of Division

    Raises
    ------
    UsageError
        If there are fewer people than folds.

    See Also
    --------
    divide_like : as an earlier training did.
    """
    test = {item.person for item in set_aside(items, recipe.test)}
    pool = [item for item in items if item.person not in test]
    listed = {item.person for item in set_aside(pool, recipe.validation)}
    if n_folds == 1 and listed:
        return [_division(pool, listed)]
    parts = n_folds if n_folds > 1 else max(2, round(1 / recipe.validation_share))
    people = sorted({item.person for item in pool})
    if len(people) < parts:
        raise UsageError(
            f"found {len(people)} labelled people ({', '.join(people)}) for {parts} parts of the data; expected at "
            "least one person in each. Use fewer folds or more scans."
        )
    # balanced by group as far as the groups' sizes allow; a group smaller than the folds goes where there is room
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=recipe.training.seed)
    order = sorted(pool, key=lambda item: item.name)
    divisions = [
        _division(order, {order[i].person for i in held_out})
        for _, held_out in splitter.split(order, [item.group for item in order], [item.person for item in order])
    ]
    return divisions if n_folds > 1 else divisions[:1]


def divide_like(items: Sequence[LabelledScan], recipe: Recipe, held_out: Sequence[Sequence[str]]) -> list[Division]:
    """Divide people as an earlier training did, so that each of its networks has still not seen who is set aside.

    Parameters
    ----------
    items : sequence of LabelledScan
    recipe : Recipe
        ``test`` lists people by dataset, who are in no part.
    held_out : sequence of sequence of str
        For each fold the names of the scans set aside in it. People of none of them are dealt to the folds in turn.

    Returns
    -------
    list of Division
    """
    test = {item.person for item in set_aside(items, recipe.test)}
    pool = sorted((item for item in items if item.person not in test), key=lambda item: item.name)
    people = [{item.person for item in pool if item.name in set(names)} for names in held_out]
    new = sorted({item.person for item in pool}.difference(*people))
    return [_division(pool, known | set(new[n :: len(people)])) for n, known in enumerate(people)]


def _division(items: Sequence[LabelledScan], validation: set[str]) -> Division:
    return Division(
        tuple(item for item in items if item.person not in validation),
        tuple(item for item in items if item.person in validation),
    )


Start = str | Path | None


def plan_folds(
    items: Sequence[LabelledScan], recipe: Recipe, n_folds: int, weights: Start
) -> list[tuple[Division, Start]]:
    """Who trains and validates in each fold, and what its network starts from.

    Folds that go on from a bundle of folds keep its division, each with its own network, so that no network has seen
    who is set aside.

    Parameters
    ----------
    items : sequence of LabelledScan
    recipe : Recipe
    n_folds : int
    weights : str, Path or None
        What to start from: ``imagenet``, a Keras file, a bundle's folder, or None for random weights.

    Returns
    -------
    list of (Division, str or Path or None)
        A file ``.npz`` holds a whole network; the rest as in `bids_hypo.models.network.build_unet`.

    Raises
    ------
    UsageError
        If the bundle has another number of folds, or does not say who was set aside in them.
    """
    if n_folds > 1 and isinstance(weights, Path) and (weights / DESCRIPTION).is_file():
        bundle = load_bundle(weights)
        if len(bundle.weights) > 1:
            held_out = [fold["validation"] for fold in read_folds(weights)]
            if not len(held_out) == len(bundle.weights) == n_folds:
                raise UsageError(
                    f"--encoder-weights {weights}: found {len(bundle.weights)} networks, {len(held_out)} folds in its "
                    f"{DIVISION}; expected {n_folds}. Train as many folds, or start from 'anatomy'."
                )
            divisions = divide_like(items, recipe, held_out)
            return list(zip(divisions, (weights / name for name, _ in bundle.weights), strict=True))
    return [(division, weights) for division in divide(items, recipe, n_folds)]


def write_division(folder: Path, divisions: Sequence[Division], test: Sequence[LabelledScan]) -> None:
    """Write down in `DIVISION` who trains and validates in each fold, and who is set aside for the test."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "test": sorted(item.name for item in test),
        "folds": [
            {
                "training": sorted(item.name for item in d.training),
                "validation": sorted(item.name for item in d.validation),
            }
            for d in divisions
        ],
    }
    write_bytes(folder / DIVISION, (json.dumps(content, indent=2) + "\n").encode())
