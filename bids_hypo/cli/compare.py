"""`bids_hypo_train compare`: the comparisons of Vernikouskaya et al. (2023), on one's own labelled scans."""

from __future__ import annotations

import argparse
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_hypo.cli.checks import need
from bids_hypo.cli.labelled_data import (
    RECIPE_HELP,
    add_labelled,
    add_set,
    configure,
    find_heads,
    labelled,
    load_heads,
)
from bids_hypo.cli.running import say
from bids_hypo.errors import UsageError

if TYPE_CHECKING:
    from bids_hypo.train.settings import Recipe

logger = logging.getLogger("bids_hypo")

PAPER_ENCODERS = ("efficientnetb0", "vgg16", "resnet50", "inceptionv3")
WITH, WITHOUT = "with-contrast", "without-contrast"


def add_compare(commands: Any) -> None:
    """Add the command to those of ``bids_hypo_train``."""
    compare = commands.add_parser(
        "compare", help="train encoders, or with and without contrast augmentation, on the same scans; compare them"
    )
    compare.set_defaults(run=_compare)
    compare.add_argument("what", choices=("encoders", "contrast"),
                         help="encoders: a table like that of the paper; contrast: how many scans of low contrast are "
                         "found with and without contrast augmentation")  # fmt: skip
    compare.add_argument("recipe", help=RECIPE_HELP)
    compare.add_argument("-w", "--work-dir", type=Path, required=True,
                         help="gets everything; the same command goes on from what is there")  # fmt: skip
    compare.add_argument("--backbones", nargs="+", action="extend", metavar="NAME",
                         help=f"encoders; default: {' '.join(PAPER_ENCODERS)}; contrast: the recipe's")  # fmt: skip
    compare.add_argument("--steps", type=_steps, metavar="N", help="train each for so many steps, such as 600")
    compare.add_argument("--folds", type=int, default=1, metavar="N",
                         help="networks of each, one for each of N divisions (default: %(default)s)")  # fmt: skip
    compare.add_argument("--phase", metavar="NAME", help="of a recipe in phases (default: the first)")
    compare.add_argument("--encoder-weights", choices=("none", "imagenet"), default="none",
                         help="start of the encoders; ImageNet (downloaded) needs three channels")  # fmt: skip
    compare.add_argument("--omp-nthreads", type=int, metavar="N", help="threads")
    add_set(compare)
    add_labelled(compare)


def _compare(args: argparse.Namespace) -> None:
    need(args, "data")
    if args.folds < 1:
        raise UsageError(f"--folds {args.folds}: expected 1 or more.")
    variants = _variants(args)
    items = labelled(args, next(iter(variants.values())))
    heads = find_heads(args, items)
    configure(args, *variants.values())
    from bids_hypo.execute.comparison import compare_contrast, compare_encoders
    from bids_hypo.workflow.comparison import Comparison

    weights = None if args.encoder_weights == "none" else args.encoder_weights
    comparison = Comparison(variants, tuple(items), args.work_dir, args.folds, weights)
    compare = compare_encoders if args.what == "encoders" else compare_contrast
    path, text = compare(comparison, partial(load_heads, heads), device=args.device)
    say(text, table=True)
    say(f"Results: {path}")


def _variants(args: argparse.Namespace) -> dict[str, Recipe]:
    """The recipes to compare, by their names: alike but for one thing."""
    from bids_hypo.train.recipe import load_recipe, single_phase, without_contrast
    from bids_hypo.train.settings import SYNTHESIS

    def adapted(backbone: str | None) -> Recipe:
        recipe = load_recipe(args.recipe, backbone=backbone, changes=args.set)
        if recipe.examples == SYNTHESIS:
            raise UsageError(
                f"'{recipe.name}' learns from label maps; expected a recipe that learns from labelled scans."
            )
        return single_phase(recipe, args.phase, args.steps)

    if args.what == "encoders":
        return {name: adapted(name) for name in args.backbones or PAPER_ENCODERS}
    if len(args.backbones or ()) > 1:
        raise UsageError("--backbones: expected one encoder to compare contrast augmentation with.")
    recipe = adapted(*(args.backbones or (None,)))
    return {WITH: recipe, WITHOUT: without_contrast(recipe)}


def _steps(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of steps, such as 300")
    return int(text)
