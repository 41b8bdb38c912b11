"""Comparisons of trainings: train each, segment the people set aside with each, evaluate, write the tables.

Everything lies in the work folder, and what is finished is not done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from bids_hypo.bids.dataset import write_described_tsv
from bids_hypo.bids.selection import Selection
from bids_hypo.errors import NoInputError
from bids_hypo.execute.participant import run_participant
from bids_hypo.image.volume import write_bytes
from bids_hypo.workflow.comparison import (
    TRUTH,
    Comparison,
    milliseconds_per_slice,
    train_variants,
    write_people,
)
from bids_hypo.workflow.comparison_table import comparison_columns, comparison_page, comparison_table
from bids_hypo.workflow.evaluate import evaluate
from bids_hypo.workflow.evaluation_columns import column_dictionary
from bids_hypo.workflow.evaluation_plan import EvaluateOptions, Source, make_plan
from bids_hypo.workflow.evaluation_scans import compare_all
from bids_hypo.workflow.low_contrast import CHANGES, FOUND_COLUMNS, UNCHANGED, found_page, found_table
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.result import Status
from bids_hypo.workflow.training import Heads

LoadHeads = Callable[[], Heads]


def compare_encoders(comparison: Comparison, load_heads: LoadHeads, *, device: str = "auto") -> tuple[Path, str]:
    """Compare encoders as Table 1 of Vernikouskaya et al. (2023) does.

    Parameters
    ----------
    comparison : Comparison
        The variants have the names of their encoders.
    load_heads : callable
        See `bids_hypo.workflow.comparison.train_variants`.
    device : str
        As participant level takes it.

    Returns
    -------
    path : Path
        ``evaluation/comparison.tsv``; beside it are ``comparison.md`` and the page of the evaluation.
    text : str
        The table in Markdown.

    Raises
    ------
    NoInputError
        If no scan was segmented, or none by all encoders that segmented any.
    UsageError
        See `bids_hypo.workflow.comparison.Comparison.people` and `train_variants`.
    """
    n_scans = len(comparison.people())
    train_variants(comparison, load_heads)
    segmented = _segment(comparison, UNCHANGED, device)
    if not any(segmented.values()):
        raise NoInputError(
            f"{comparison.work_dir}: none of {', '.join(segmented)} found the {comparison.structure} in any of the "
            f"{n_scans} scans set aside, so that there is nothing to compare. Train for more steps, in another folder."
        )
    options = _evaluation(comparison, UNCHANGED, segmented)
    found = evaluate(options)
    table = comparison_table(
        {**found.tables, "scans": found.scans[found.scans["scan"].isin(found.common)]}, list(comparison.variants),
        n_scans, segmented, milliseconds_per_slice(comparison),
    )  # fmt: skip
    text = comparison_page(table, [_about(comparison)])
    write_described_tsv(options.out / "comparison.tsv", table.round(6), comparison_columns())
    write_bytes(options.out / "comparison.md", text.encode())
    return options.out / "comparison.tsv", text


def compare_contrast(comparison: Comparison, load_heads: LoadHeads, *, device: str = "auto") -> tuple[Path, str]:
    """Count the scans of low contrast that are still found by each of several trainings.

    Parameters
    ----------
    comparison : Comparison
        The variants are a recipe with and without contrast augmentation.
    load_heads, device
        See `compare_encoders`.

    Returns
    -------
    path : Path
        ``evaluation/contrast.tsv``; beside it are ``contrast.md`` and ``contrast_scans.tsv``.
    text : str
        The table in Markdown.
    """
    n_scans = len(comparison.people())
    train_variants(comparison, load_heads)
    scans: dict[str, pd.DataFrame | None] = {}
    for change in CHANGES:
        segmented = _segment(comparison, change, device)
        options = _evaluation(comparison, change, segmented)
        scans[change] = compare_all(make_plan(options), options) if options.methods else None
    out, table = options.out, found_table(scans, list(comparison.variants), n_scans)
    text = found_page(table, _about(comparison))
    every = [each.assign(change=change) for change, each in scans.items() if each is not None]
    if every:
        columns = {**column_dictionary("scans"), "change": FOUND_COLUMNS["change"]}
        write_described_tsv(out / "contrast_scans.tsv", pd.concat(every, ignore_index=True).round(6), columns)
    write_described_tsv(out / "contrast.tsv", table.round(6), FOUND_COLUMNS)
    write_bytes(out / "contrast.md", text.encode())
    return out / "contrast.tsv", text


def _segment(comparison: Comparison, change: str, device: str) -> dict[str, int]:
    """Run participant level on the people set aside with each variant; how many scans each segmented."""
    dataset = comparison.work_dir / "people" / change
    write_people(comparison, dataset, CHANGES[change])
    subjects = tuple(dict.fromkeys(item.scan.subject for item in comparison.people()))
    segmented = {}
    for name in comparison.variants:
        options = RunOptions(
            dataset, _derivatives(comparison, name, change), Selection(participant_labels=subjects),
            structures=(comparison.structure,), models_dir=comparison.models_dir(name), device=device,
            skip_bids_validation=True, no_reports=True,
        )  # fmt: skip
        _, results = run_participant(options)
        segmented[name] = sum(result.status != Status.FAILED for result in results)
    return segmented


def _derivatives(comparison: Comparison, name: str, change: str) -> Path:
    return comparison.work_dir / "derivatives" / name / change


def _evaluation(comparison: Comparison, change: str, segmented: Mapping[str, int]) -> EvaluateOptions:
    """What is evaluated: all variants that segmented anything."""
    return EvaluateOptions(
        truth=Source(TRUTH, comparison.work_dir / TRUTH),
        methods=tuple(Source(name, _derivatives(comparison, name, change)) for name, n in segmented.items() if n),
        out=comparison.work_dir / "evaluation",
        wanted=comparison.recipe.wanted,
        images=comparison.work_dir / "people" / change,
        participant_labels=tuple(dict.fromkeys(item.scan.subject for item in comparison.people())),
    )


def _about(comparison: Comparison) -> str:
    recipe, n_folds = comparison.recipe, comparison.n_folds
    length = f"{recipe.training.epochs} epochs" if recipe.training.epochs else f"{recipe.training.last_step} steps"
    in_folds = f" in each of {n_folds} folds" if n_folds > 1 else ""
    return (
        f"Recipe {recipe.name} {recipe.version}, {length}{in_folds}, encoders from "
        f"{comparison.encoder_weights or 'random weights'}; {len(comparison.people())} of {len(comparison.items)} "
        "labelled scans are of people set aside, who judge."
    )
