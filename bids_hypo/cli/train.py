"""`bids_hypo_train`: make the shipped models, or one's own, from a recipe; measure them on scans set aside."""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_hypo.cli.checks import check_files, check_new_folder, need, refuse
from bids_hypo.cli.compare import add_compare
from bids_hypo.cli.labelled_data import (
    RECIPE_HELP,
    add_labelled,
    add_set,
    aside,
    configure,
    find_heads,
    labelled,
    labelled_as_measured,
    load_heads,
    recipe_of,
)
from bids_hypo.cli.parser import Parser
from bids_hypo.cli.running import run_command, say
from bids_hypo.errors import ExitCode, UsageError
from bids_hypo.structures import HYPOTHALAMUS

if TYPE_CHECKING:
    import pandas as pd

    from bids_hypo.models.bundle import ModelBundle
    from bids_hypo.train.settings import Recipe
    from bids_hypo.workflow.scan import Models

logger = logging.getLogger("bids_hypo")


def main(argv: list[str] | None = None) -> int:
    """Train or measure models; see ``bids_hypo_train --help``."""
    return run_command(_parser(), argv, _work, quiet=logging.INFO)


def _work(args: argparse.Namespace) -> int:
    for name in ("work_dir", "bundle"):
        check_new_folder(getattr(args, name, None), f"--{name.replace('_', '-')}")
    args.run(args)
    return ExitCode.OK


def _fit(args: argparse.Namespace) -> None:
    from bids_hypo.train.recipe import in_phases, load_recipe
    from bids_hypo.train.settings import SIMULATED, SYNTHESIS

    recipe = load_recipe(args.recipe, backbone=args.backbone, changes=args.set)
    in_phases(recipe, args.phase)  # a mistyped phase is told before anything is loaded
    from bids_hypo.workflow.bundling import make_bundle
    from bids_hypo.workflow.training import train_anatomy

    if recipe.examples == SYNTHESIS:
        need(args, "label_maps")
        why = f"'{recipe.name}' learns from --label-maps, in phases"
        refuse(args, why, "folds", "fold", "data", "pattern", "stratify", "label_certainty")
        configure(args, recipe)
        start = _start(args, recipe)
        if recipe.maps_to is not None:
            from bids_hypo.models.catalog import ANATOMY, find_bundle
            from bids_hypo.workflow.map_training import train_from_maps

            train_from_maps(recipe, args.label_maps, args.shapes, args.work_dir, find_bundle(ANATOMY, args.models),
                            encoder_weights=start, only_phase=args.phase)  # fmt: skip
        else:
            refuse(args, f"'{recipe.name}' learns from whole heads alone", "shapes")
            train_anatomy(recipe, args.label_maps, args.work_dir, encoder_weights=start, only_phase=args.phase)
    elif recipe.examples == SIMULATED and not args.data:
        _fit_simulated(args, recipe)
    else:
        _fit_labelled(args, recipe)
    if args.bundle:
        bundle = _with_graph(make_bundle(recipe, args.work_dir, args.bundle))
        logger.info("bundle %s %s written to %s", bundle.name, bundle.version, bundle.folder)


def _fit_simulated(args: argparse.Namespace, recipe: Recipe) -> None:
    need(args, "label_maps")
    why = f"'{recipe.name}' learns from maps simulated from --label-maps, unless there are labelled scans (--data)"
    refuse(args, why, "folds", "fold", "pattern", "stratify", "label_certainty")
    from bids_hypo.models.catalog import find_models
    from bids_hypo.segmentation.anatomy import pose_template
    from bids_hypo.workflow.simulated_training import train_simulated

    template = pose_template(find_models(args.models, ()).head_for(recipe.suffixes[0]))
    configure(args, recipe)
    train_simulated(recipe, args.label_maps, template, args.work_dir, encoder_weights=_start(args, recipe),
                    only_phase=args.phase, n_workers=args.omp_nthreads)  # fmt: skip


def _fit_labelled(args: argparse.Namespace, recipe: Recipe) -> None:
    refuse(args, f"'{recipe.name}' learns from labelled scans (--data)", "label_maps", "shapes")
    n_folds = args.folds or recipe.folds
    if n_folds < 1 or (args.fold is not None and not 1 <= args.fold <= n_folds):
        raise UsageError(
            f"--folds {n_folds} --fold {args.fold}: expected --folds of 1 or more, and --fold from 1 to that number."
        )
    items = labelled(args, recipe)
    from bids_hypo.workflow.training import TrainingOptions, prepare_regions, train_labelled

    heads = find_heads(args, items)
    options = TrainingOptions(n_folds, args.fold, _start(args, recipe), args.phase)
    configure(args, recipe)
    train_labelled(recipe, items, partial(prepare_regions, heads=load_heads(heads)), args.work_dir, options)


def _start(args: argparse.Namespace, recipe: Recipe) -> str | Path | None:
    from bids_hypo.models.catalog import ANATOMY, find_bundle

    start = args.encoder_weights or recipe.encoder_weights
    if start == ANATOMY:
        return find_bundle(ANATOMY, args.models).folder
    return {"none": None, "imagenet": "imagenet"}.get(start, Path(start))


def _bundle(args: argparse.Namespace) -> None:
    from bids_hypo.train.recipe import load_recipe
    from bids_hypo.workflow.bundling import make_bundle

    recipe = load_recipe(args.recipe, backbone=args.backbone, changes=args.set)
    _with_graph(make_bundle(recipe, args.work_dir, args.bundle, average_with=args.average_with))


def _with_graph(bundle: ModelBundle) -> ModelBundle:
    """The bundle with its graph, so that it starts without Keras."""
    from bids_hypo.models.graph import add_graph

    return add_graph(bundle)


def _import(args: argparse.Namespace) -> None:
    from bids_hypo.train.recipe import load_recipe
    from bids_hypo.workflow.importing import import_keras

    recipe = load_recipe(args.recipe, backbone=args.backbone)
    target = args.models / recipe.name
    import_keras(args.file, recipe, target, slice_orientation=args.slice_orientation)
    logger.info("bundle written to %s; use it with: bids_hypo ... --models %s", target, args.models)


def _review(args: argparse.Namespace) -> None:
    from bids_hypo.execute.worker import load_models
    from bids_hypo.workflow.label_review import review_labels

    check_new_folder(args.out, "--out")
    models = load_models(args.device, None, args.models, 16, (args.structure,))
    items = labelled_as_measured(args, models)
    table = review_labels(items, models, args.out, structure=args.structure, trusted=args.keep)
    say(table[table["doubts"].fillna("") != ""].to_string(index=False, float_format=lambda x: f"{x:.3f}"), table=True)
    logger.info("%s: %s", args.out, table["action"].value_counts().to_dict())


def _measure(args: argparse.Namespace) -> None:
    from bids_hypo.execute.worker import load_models
    from bids_hypo.workflow import accuracy, shrinking, steadiness

    maps = _maps(args)
    check_files(args.scans, "--scans")
    if args.what == "pose":
        from bids_hypo.workflow.pose_accuracy import measure_pose

        _report(measure_pose(maps, args.scans, args.models, args.device, args.n_contrasts), args.out)
        return
    wanted, structure = (args.structure,), args.structure
    models = load_models(args.device, None, args.models, 16, wanted, mixed=False if args.what == "precision" else None)
    if args.what == "icv":
        table = accuracy.icv_accuracy(
            maps, models, n_contrasts=args.n_contrasts, contrast=args.contrast, varied_voxels=args.varied_voxels
        )
    elif args.what == "structure" and maps:
        table = _of_maps(args, models, maps)
    elif args.what == "structure":
        items = labelled_as_measured(args, models)
        if args.part == "folds":
            table = accuracy.fold_accuracy(items, models, structure=structure)
        else:
            table = accuracy.structure_accuracy(aside(args, items), models, structure=structure, fast=args.fast)
        say(accuracy.volume_agreement(table), table=True)
    elif args.what == "shrinking":
        table = shrinking.shrinking(aside(args, labelled_as_measured(args, models)), models, structure=structure)
        say(f"slope {shrinking.slope(table['true_percent'], table['found_percent']):.3f}")
    else:
        need(args, "scans")
        if args.what == "steadiness":
            table = steadiness.steadiness(args.scans, models)
            say(steadiness.variation_percent(table).to_string(float_format=lambda x: f"{x:.2f}"), table=True)
        else:
            mixed = load_models(args.device, None, args.models, 16, wanted, mixed=True)
            table = steadiness.precision_changes(args.scans, models, mixed)
    _report(table, args.out)


def _of_maps(args: argparse.Namespace, models: Models, maps: list[Path]) -> pd.DataFrame:
    """Outlines in scans made from label maps, in the way of the recipe."""
    recipe = recipe_of(args)
    if recipe.maps_to is None:
        from bids_hypo.workflow.simulated_accuracy import simulated_accuracy, summary

        table = simulated_accuracy(maps, models, structure=args.structure, n_scans=args.n_contrasts)
        say(summary(table), table=True)
        return table
    from bids_hypo.workflow.map_accuracy import synthesised_accuracy

    table = synthesised_accuracy(
        maps, models, recipe, structure=args.structure, suffixes=args.suffixes, n_scans=args.n_contrasts
    )
    numbers = table.drop(columns=["map", "number"]).groupby("suffix").mean()
    say(numbers.to_string(float_format=lambda x: f"{x:.3f}"), table=True)
    return table


def _maps(args: argparse.Namespace) -> list[Path]:
    """The label maps to measure on; none unless they are needed (of a pose, where there are no scans)."""
    from bids_hypo.train.recipe import load_recipe
    from bids_hypo.train.settings import LABELLED

    of_maps = args.what == "structure" and args.label_maps is not None and not args.data
    if not (of_maps or args.what == "icv" or (args.what == "pose" and not args.scans)):
        return []
    need(args, "label_maps")
    recipe = recipe_of(args) if of_maps else load_recipe("anatomy")
    if of_maps and recipe.examples == LABELLED:
        raise UsageError(
            f"--structure {args.structure} --label-maps: its recipe does not learn from label maps; expected labelled "
            "scans (--data)."
        )
    names = args.maps or recipe.validation_maps
    maps = [args.label_maps / f"{name}.nii.gz" for name in names]
    if of_maps and not args.maps:  # the recipe sets shapes aside as well, which lie elsewhere
        maps = [path for path in maps if path.is_file()] or maps
    check_files(maps, "--maps")
    return maps


def _report(table: pd.DataFrame, out: Path | None) -> None:
    from bids_hypo.bids.dataset import write_tsv

    numbers: Any = table.select_dtypes("number")
    say(table.to_string(index=False, float_format=lambda x: f"{x:.3f}"), table=True)
    say(numbers.agg(["mean", "std", "min", "max"]).to_string(float_format=lambda x: f"{x:.3f}"), table=True)
    say(f"mean absolute {numbers.abs().mean().round(3).to_dict()}")
    if out:
        write_tsv(out, table)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("bids_hypo_train", description=__doc__)
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more (-vv: everything)")
    commands = parser.add_subparsers(required=True)
    fit = commands.add_parser("fit", help="train from a recipe, going on from the newest checkpoint of the work folder")
    fit.set_defaults(run=_fit)
    fit.add_argument("recipe", help=RECIPE_HELP)
    fit.add_argument("--folds", type=int, metavar="N", help="cross-validation: a network for each of N divisions")
    fit.add_argument("--fold", type=int, metavar="K", help="train only fold K, for instance each as a job of its own")
    fit.add_argument("--phase", metavar="NAME", help="recipes in phases: train only this one, from --encoder-weights")
    fit.add_argument("--encoder-weights", metavar="{none,imagenet,anatomy,FILE,BUNDLE}",
                     help="start of the network: random, ImageNet (downloaded), the anatomy network, a Keras .h5 of "
                     "the encoder, or a bundle; default: as the recipe says, otherwise none")  # fmt: skip
    fit.add_argument("--omp-nthreads", type=int, metavar="N",
                     help="threads; on CPUs two folds side by side with half of them each are faster than one after the"
                     " other with all")  # fmt: skip
    bundle = commands.add_parser("bundle", help="turn a training folder (finished or not) into a bundle")
    bundle.set_defaults(run=_bundle)
    bundle.add_argument("recipe", help=RECIPE_HELP)
    bundle.add_argument(
        "--average-with",
        type=Path,
        metavar="BUNDLE",
        help="the bundle that the training went on from; the weights are the mean of both",
    )
    for command in (fit, bundle):
        command.add_argument("-w", "--work-dir", type=Path, required=True, help="checkpoints, curves and weights")
        add_set(command)
        command.add_argument("--bundle", type=Path, required=command is bundle, help="where the bundle goes")
    importing = commands.add_parser("import", help="make a bundle of a model that segmentation-models saved (.h5)")
    importing.set_defaults(run=_import)
    importing.add_argument("file", type=Path, help="Keras .h5, whole model or weights")
    importing.add_argument("--recipe", required=True, help=RECIPE_HELP)
    importing.add_argument("--models", type=Path, required=True, help="folder of bundles that it is added to")
    importing.add_argument("--slice-orientation", type=_orientation, metavar="{RS,IL,...}",
                           help="where the axes of its training slices ran to: rows, then columns; default: as the "
                           "recipe says")  # fmt: skip
    for command in (fit, bundle, importing):
        command.add_argument("--backbone", help="encoder instead of the recipe's: efficientnetb0, vgg16, resnet50, ...")
    review = commands.add_parser("review", help="find labels that networks which did not see them doubt; correct them")
    review.set_defaults(run=_review)
    review.add_argument("--out", type=Path, required=True, help="gets all labels, a table, pictures of doubtful ones")
    review.add_argument("--keep", nargs="+", action="extend", default=[], metavar="DATASET/sub-XX",
                        help="people whose labels stay as they are, once you have seen the pictures")  # fmt: skip
    measure = commands.add_parser("measure", help="measure the models on scans set aside")
    _add_measure(measure)
    _add_data(fit, review, measure)
    add_compare(commands)
    return parser


def _add_measure(measure: argparse.ArgumentParser) -> None:
    measure.set_defaults(run=_measure)
    measure.add_argument("what", choices=("icv", "structure", "pose", "steadiness", "shrinking", "precision"))
    measure.add_argument("--part", choices=("validation", "test", "folds"), default="validation",
                         help="people set aside; folds: all but those of the test, each by the network that did not see"
                         " them")  # fmt: skip
    measure.add_argument("--fast", action="store_true", help="one network, as participant level with --fast")
    measure.add_argument("--n-contrasts", type=int, default=6, help="synthetic scans of each head map")
    measure.add_argument("--contrast", choices=("measured", "wide"), default="measured",
                         help="tissue contrasts as on real T1w scans, or wider")  # fmt: skip
    measure.add_argument("--suffixes", nargs="+", action="extend", default=[], metavar="SUFFIX",
                         help="structure, with --label-maps: kinds of synthetic scans, not all")  # fmt: skip
    measure.add_argument("--maps", nargs="+", action="extend", metavar="NAME", help="label maps, not those set aside")
    measure.add_argument("--varied-voxels", action="store_true", help="synthetic scans of 0.8 to 1.6 mm, not only 1 mm")
    measure.add_argument("--scans", type=Path, nargs="+", action="extend", default=[], help="images; pose: T1w")
    measure.add_argument("--out", type=Path, help="write the rows as TSV")


def _add_data(fit: argparse.ArgumentParser, review: argparse.ArgumentParser, measure: argparse.ArgumentParser) -> None:
    for command in (fit, measure):
        command.add_argument("--label-maps", type=Path, help="folder of head label maps (FreeSurfer numbers, 1 mm)")
    fit.add_argument("--shapes", type=Path, help="folder of label maps of deep structures alone, with dseg.tsv")
    for command in (review, measure):
        command.add_argument("--structure", default=HYPOTHALAMUS, metavar="NAME", help="which structure")
        command.add_argument("--recipe", help="that says who is set aside; by default the one named as the structure")
    for command in (fit, review, measure):
        add_labelled(command)


def _orientation(text: str) -> str:
    code = text.upper()
    if len(code) != 2 or {code[0] in "RL", code[1] in "RL"} != {True, False} or not set(code) <= set("RLSI"):
        raise argparse.ArgumentTypeError(f"{text}: expected one of R, L and one of S, I, such as RS or IL")
    return code


if __name__ == "__main__":
    sys.exit(main())
