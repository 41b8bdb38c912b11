"""The labelled scans that `bids_hypo_train` was told of."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bids_hypo.cli.checks import need
from bids_hypo.errors import UsageError

if TYPE_CHECKING:
    from bids_hypo.image.label_numbers import Wanted
    from bids_hypo.train.labelled import LabelledScan
    from bids_hypo.train.settings import Recipe
    from bids_hypo.workflow.scan import Models


def labelled(args: argparse.Namespace, recipe: Recipe) -> list[LabelledScan]:
    """Labelled scans for a recipe, of all ``--data``."""
    return _find_labelled(args, recipe.wanted, recipe.suffixes, recipe)


def labelled_as_measured(args: argparse.Namespace, models: Models) -> list[LabelledScan]:
    """Labels of what a model measures; the recipe, if there is one, says whose are left out."""
    from bids_hypo.image.label_numbers import Wanted

    bundle, recipe = models.catalog.structures[args.structure], _recipe_of(args)
    return _find_labelled(args, Wanted(args.structure, bundle.structure), bundle.suffixes, recipe)


def _recipe_of(args: argparse.Namespace) -> Recipe | None:
    """The recipe that was named, or a shipped one of the structure; None if there is none."""
    from bids_hypo.train.recipe import RECIPES, load_recipe

    if args.recipe or (RECIPES / f"{args.structure}.json").is_file():
        return load_recipe(args.recipe or args.structure)
    return None


def aside(args: argparse.Namespace, items: list[LabelledScan]) -> list[LabelledScan]:
    """The people that the recipe sets aside."""
    from bids_hypo.train.folds import set_aside

    recipe = _recipe_of(args)
    if recipe is None:
        raise UsageError(
            f"--structure {args.structure}: no shipped recipe says who is set aside for --part {args.part}. Name the "
            "recipe that it was trained with (--recipe), or measure with --part folds."
        )
    return set_aside(items, recipe.aside(args.part))


def _find_labelled(
    args: argparse.Namespace, wanted: Wanted, suffixes: Sequence[str], recipe: Recipe | None
) -> list[LabelledScan]:
    need(args, "data")
    from bids_hypo.train.folds import set_aside
    from bids_hypo.train.labelled import find_labelled, label_weights

    items: list[LabelledScan] = []
    for bids_dir, labels_dir in args.data:
        items += find_labelled(
            bids_dir, labels_dir, wanted, suffixes=suffixes, pattern=args.pattern, stratify=args.stratify,
            weights=label_weights(labels_dir), level=args.label_certainty,
        )  # fmt: skip
    left_out = set_aside(items, recipe.left_out) if recipe else []
    return [item for item in items if item not in left_out]
