"""`bids_hypo_train`: make the shipped models, or one's own, from a recipe; measure them on scans set aside."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_hypo.errors import BidsHypoError, ExitCode, UsageError

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("bids_hypo")


def main(argv: list[str] | None = None) -> int:
    """Train or measure models; see ``bids_hypo_train --help``."""
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:
        return int(ExitCode.USAGE) if stop.code not in (0, None) else 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        args.run(args)
    except BidsHypoError as error:
        logger.error("%s", error)
        return int(error.exit_code)
    return 0


def _fit(args: argparse.Namespace) -> None:
    from bids_hypo.workflow.training import load_recipe, make_bundle, train_anatomy, train_hypothalamus

    recipe = load_recipe(args.recipe)
    if recipe["examples"] == "synthesis":
        _need(args, "label_maps")
        train_anatomy(recipe, args.label_maps, args.work_dir)
    else:
        _need(args, "images", "labels")
        from bids_hypo.models.catalog import ANATOMY, find_bundle
        from bids_hypo.models.network import load_network

        anatomy = find_bundle(ANATOMY, args.models)
        train_hypothalamus(recipe, args.images, args.labels, anatomy, load_network(anatomy), args.work_dir)
    if args.bundle:
        bundle = make_bundle(recipe, args.work_dir, args.bundle)
        logger.info("bundle %s %s written to %s", bundle.name, bundle.version, bundle.folder)


def _bundle(args: argparse.Namespace) -> None:
    from bids_hypo.workflow.training import load_recipe, make_bundle

    make_bundle(load_recipe(args.recipe), args.work_dir, args.bundle)


def _measure(args: argparse.Namespace) -> None:
    from bids_hypo.execute.worker import load_models
    from bids_hypo.workflow import accuracy
    from bids_hypo.workflow.training import load_recipe

    models = load_models("cpu", None, args.models, 16)
    if args.what == "icv":
        _need(args, "label_maps")
        table = accuracy.icv_accuracy(load_recipe("anatomy"), args.label_maps, models, n_contrasts=args.n_contrasts)
    elif args.what == "hypothalamus":
        _need(args, "images", "labels")
        recipe = load_recipe("hypothalamus")
        table = accuracy.hypothalamus_accuracy(recipe, args.part, args.images, args.labels, models)
    else:
        if not args.scans:
            raise UsageError("measure steadiness: name the T1w images with --scans.")
        table = accuracy.steadiness(args.scans, models)
    _report(table, args.out)


def _report(table: pd.DataFrame, out: Path | None) -> None:
    numbers: Any = table.select_dtypes("number")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    print(numbers.agg(["mean", "std", "min", "max"]).to_string(float_format=lambda x: f"{x:.3f}"))
    print("mean absolute", numbers.abs().mean().round(3).to_dict())
    if out:
        table.to_csv(out, sep="\t", index=False, na_rep="n/a")


def _need(args: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(args, name) is None:
            raise UsageError(f"--{name.replace('_', '-')} is needed here; see bids_hypo_train --help.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bids_hypo_train", description=__doc__)
    commands = parser.add_subparsers(required=True)
    fit = commands.add_parser("fit", help="train from a recipe, going on from the newest checkpoint of the work folder")
    fit.set_defaults(run=_fit)
    bundle = commands.add_parser("bundle", help="turn a training folder (finished or not) into a bundle")
    bundle.set_defaults(run=_bundle)
    for command in (fit, bundle):
        command.add_argument("recipe", help="anatomy, hypothalamus, or a recipe file (.json)")
        command.add_argument("-w", "--work-dir", type=Path, required=True, help="checkpoints and the log of the loss")
        command.add_argument("--bundle", type=Path, required=command is bundle, help="where the bundle goes")
    measure = commands.add_parser("measure", help="measure the models on scans set aside")
    measure.set_defaults(run=_measure)
    measure.add_argument("what", choices=("icv", "hypothalamus", "steadiness"))
    measure.add_argument("--part", choices=("validation", "test"), default="validation")
    measure.add_argument("--n-contrasts", type=int, default=4, help="synthetic scans of each head map")
    measure.add_argument("--scans", type=Path, nargs="+", default=[], help="T1w images")
    measure.add_argument("--out", type=Path, help="write the rows as TSV")
    for command in (fit, measure):
        command.add_argument("--label-maps", type=Path, help="folder of head label maps (FreeSurfer numbers, 1 mm)")
        command.add_argument("--images", type=Path, help="folder of BIDS datasets")
        command.add_argument("--labels", type=Path, help="folder with labels.tsv and label images")
        command.add_argument("--models", type=Path, help="folder of bundles to use instead of the shipped ones")
    return parser


if __name__ == "__main__":
    sys.exit(main())
