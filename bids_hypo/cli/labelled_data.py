"""The labelled scans that `bids_hypo_train` was told of, and what they are trained with."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bids_hypo.cli.checks import need
from bids_hypo.errors import UsageError

if TYPE_CHECKING:
    from bids_hypo.image.label_numbers import Wanted
    from bids_hypo.models.bundle import ModelBundle
    from bids_hypo.train.labelled import LabelledScan
    from bids_hypo.train.settings import Recipe
    from bids_hypo.workflow.scan import Models
    from bids_hypo.workflow.training import Heads

logger = logging.getLogger("bids_hypo")

RECIPE_HELP = "the name of a shipped recipe (anatomy, locator, hypothalamus, ...), or a recipe file (.json)"


def add_labelled(command: argparse.ArgumentParser) -> None:
    """Options that say where scans, labels and models are, and where to compute."""
    command.add_argument("--data", type=Path, nargs=2, action="append", metavar=("BIDS_DIR", "LABELS_DIR"),
                         help="a dataset and the folder of its labels; may be given several times")  # fmt: skip
    command.add_argument("--pattern", metavar="GLOB",
                         help="where they are in LABELS_DIR, such as '{subject}/anat/*_dseg.nii.gz'")  # fmt: skip
    command.add_argument("--label-certainty", type=_probability, metavar="P",
                         help="soft labels (the mean of several predictions): move their outlines to where they "
                         "would be if all were equally sure, with a mean probability of P inside")  # fmt: skip
    command.add_argument("--stratify", metavar="COLUMN", help="balance folds by this column of participants.tsv")
    command.add_argument("--models", type=Path, help="folder of bundles to use instead of the shipped ones")
    command.add_argument("--device", default="auto", metavar="{auto,cpu,gpu,gpu:N}", help="where to compute")


def add_set(command: argparse.ArgumentParser) -> None:
    """The option that changes entries of a recipe."""
    command.add_argument("--set", nargs="+", action="extend", default=[], metavar="ENTRY=VALUE",
                         help="other values for entries of the recipe, such as training.steps=600")  # fmt: skip


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a probability between 0.5 and 1, such as 0.87")
    return value


def configure(args: argparse.Namespace, *recipes: Recipe) -> None:
    """Check the encoders and choose the device, before any network is made."""
    from bids_hypo.models.device import parse_device
    from bids_hypo.models.hardware import configure_device
    from bids_hypo.models.network import check_backbone

    for recipe in recipes:
        check_backbone(recipe.architecture["backbone"])
    logger.info("device: %s", configure_device(parse_device(args.device), args.omp_nthreads))


def find_heads(args: argparse.Namespace, items: Sequence[LabelledScan]) -> dict[str, ModelBundle]:
    """What finds the poses of scans, by the suffix of the images."""
    from bids_hypo.models.catalog import find_models

    catalog = find_models(args.models, ())
    return {suffix: catalog.head_for(suffix) for suffix in dict.fromkeys(item.scan.suffix for item in items)}


def load_heads(heads: Mapping[str, ModelBundle]) -> Heads:
    """The same with their networks."""
    from bids_hypo.models.inference import load_network

    networks = {head.folder: load_network(head) for head in {head.folder: head for head in heads.values()}.values()}
    return {suffix: (head, networks[head.folder]) for suffix, head in heads.items()}


def labelled(args: argparse.Namespace, recipe: Recipe) -> list[LabelledScan]:
    """Labelled scans for a recipe, of all ``--data``."""
    return _find_labelled(args, recipe.wanted, recipe.suffixes, recipe)


def labelled_as_measured(args: argparse.Namespace, models: Models) -> list[LabelledScan]:
    """Labels of what a model measures; the recipe, if there is one, says whose are left out."""
    from bids_hypo.image.label_numbers import Wanted

    bundle, recipe = models.catalog.structures[args.structure], recipe_of(args)
    return _find_labelled(args, Wanted(args.structure, bundle.structure), bundle.suffixes, recipe)


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The recipe that was named, or a shipped one of the structure, or else an error."""
    recipe = _recipe_of(args)
    if recipe is None:
        raise UsageError(
            f"--structure {args.structure}: no shipped recipe says who is set aside for --part {args.part}. Name the "
            "recipe that it was trained with (--recipe), or measure with --part folds."
        )
    return recipe


def _recipe_of(args: argparse.Namespace) -> Recipe | None:
    """The recipe that was named, or a shipped one of the structure; None if there is none."""
    from bids_hypo.train.recipe import RECIPES, load_recipe

    if args.recipe or (RECIPES / f"{args.structure}.json").is_file():
        return load_recipe(args.recipe or args.structure)
    return None


def aside(args: argparse.Namespace, items: list[LabelledScan]) -> list[LabelledScan]:
    """The people that the recipe sets aside."""
    from bids_hypo.train.folds import set_aside

    return set_aside(items, recipe_of(args).aside(args.part))


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
