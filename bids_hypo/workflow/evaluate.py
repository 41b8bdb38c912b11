"""Segmentations against the truth: find, pair, compare, summarise, draw."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bids_hypo.bids.dataset import write_described_tsv
from bids_hypo.bids.entities import shorten
from bids_hypo.bids.matching import match_scans
from bids_hypo.bids.query import check_dataset, find_scans
from bids_hypo.bids.reading import read_scan
from bids_hypo.bids.scores import Scores, read_scores
from bids_hypo.bids.segmentations import SegmentationFiles
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.unmatched import near_hint
from bids_hypo.errors import NoInputError, NothingSelectedError, ScanReadError, UsageError
from bids_hypo.image.parts import common_grid, masks_on
from bids_hypo.image.volume import Volume
from bids_hypo.report.evaluation_page import EvaluationPage, write_evaluation_page
from bids_hypo.report.outline_figures import OutlineCase
from bids_hypo.structures import BOTH, WHOLE
from bids_hypo.workflow.evaluation_associations import session_keys
from bids_hypo.workflow.evaluation_columns import column_dictionary
from bids_hypo.workflow.evaluation_plan import EvaluateOptions, Plan, Source, check_output, make_plan
from bids_hypo.workflow.evaluation_scans import COMPARED, common_scans, compare_all
from bids_hypo.workflow.evaluation_sessions import Days, days_of_dataset, order_remarks
from bids_hypo.workflow.evaluation_tables import METRICS, RANKED, all_tables, common_to_part, parts_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes
    ----------
    plan : Plan
    scans : DataFrame
        One row a scan, method, part and hemisphere; see `evaluation_columns`.
    common : list of str
        Scans that all methods have; the other tables are about these.
    tables : dict of str to DataFrame
        See `bids_hypo.workflow.evaluation_tables.all_tables`.
    """

    plan: Plan
    scans: pd.DataFrame
    common: list[str]
    tables: dict[str, pd.DataFrame]

    def count(self, status: str) -> int:
        """Pairs of scan and method with a status."""
        return int(self.scans.drop_duplicates(["scan", "method"])["status"].eq(status).sum())


def evaluate(options: EvaluateOptions) -> Evaluation:
    """Compare every method with the truth and write tables, figures and the page.

    Parameters
    ----------
    options : EvaluateOptions

    Returns
    -------
    Evaluation

    Raises
    ------
    BidsHypoError
        If a folder, a pattern or the table of scores cannot be used, or nothing can be compared.
    """
    scores = read_scores(options.scores, options.score_names or None, options.covariates) if options.scores else None
    if options.images is not None:
        check_dataset(options.images, validate=False)
    plan = make_plan(options)
    _check_scores(scores, plan, options)
    check_output(options)
    scans = compare_all(plan, options)
    write_table(options.out, "scans", scans)
    common = common_scans(scans)
    if not common:
        raise NoInputError(_nothing_common(options, scans))
    compared = scans[scans["scan"].isin(common)]
    compared = pd.concat([common_to_part(compared, part) for part in parts_of(compared)])
    days, remarks = _session_order(compared, scores, options)
    made = all_tables(compared, scores, options.covariates, days)
    for name, table in made.items():
        write_table(options.out, name, table)
    write_evaluation_page(
        EvaluationPage(
            out=options.out,
            title=options.wanted.title,
            truth=options.truth.name,
            scans=scans,
            compared=compared,
            tables=made,
            metrics=METRICS,
            boxes=RANKED[:3] + tuple(m for m in METRICS if m.name == "volume_error_percent"),
            outlines=outline_cases(plan, compared, options),
            unused=plan.unused,
            covariates=options.covariates,
            remarks=remarks,
        )
    )
    return Evaluation(plan, scans, common, made)


def _session_order(compared: pd.DataFrame, scores: Scores | None, options: EvaluateOptions) -> tuple[Days, list[str]]:
    """Times of sessions that order the scans for scores, and what has to be said about the order."""
    if scores is None:
        return {}, []
    sessions = session_keys(compared).drop_duplicates()
    days: Days = scores.days
    if options.images is not None and sessions["ses"].ne("").any():
        days = days_of_dataset(options.images, sorted(set(sessions["sub"]))) | scores.days
    if scores.has_sessions and not sessions["ses"].ne("").all():  # the first row of a person counts
        sessions = scores.table.loc[scores.table["sub"].isin(sessions["sub"]), ["sub", "ses"]]
    remarks = order_remarks(sessions, days)
    for remark in remarks:
        logger.warning("%s", remark)
    return days, remarks


def _check_scores(scores: Scores | None, plan: Plan, options: EvaluateOptions) -> None:
    if scores is None:
        return
    people, listed = {t.entities["sub"] for t in plan.truths}, set(scores.table["sub"])
    lacking = sorted(people - listed)
    if not people & listed:
        raise UsageError(
            f"{options.scores}: holds none of the participants of the truth ({shorten(people)}); found "
            f"{shorten(scores.table['sub'])}. Check participant_id."
            f"{near_hint(lacking, listed)}"
        )
    if lacking:
        logger.warning(
            "%s: no row for %d of %d participants of the truth, who are not correlated: %s.%s", options.scores,
            len(lacking), len(people), shorten(lacking), near_hint(lacking, listed),
        )  # fmt: skip
    if scores.has_sessions:
        _check_sessions(scores, plan, options)
    if scores.left_out:
        logger.warning("%s: left out, no numbers: %s.", options.scores, shorten(scores.left_out, at_most=20))


def _check_sessions(scores: Scores, plan: Plan, options: EvaluateOptions) -> None:
    """Say which sessions of the truth have no scores; people without any row are told already."""
    listed = set(zip(scores.table["sub"], scores.table["ses"], strict=True))
    people, labels = ({key[n] for key in listed} for n in (0, 1))
    keys = {(t.entities["sub"], t.entities["ses"]) for t in plan.truths if "ses" in t.entities}
    lacking = sorted((sub, ses) for sub, ses in keys - listed if sub in people)
    if lacking:
        hint = near_hint(sorted({ses for _, ses in lacking} - labels), labels)
        logger.warning(
            "%s: no row for %d of %d sessions of the truth, which are not correlated: %s.%s", options.scores,
            len(lacking), len(keys), shorten(f"sub-{sub} ses-{ses}" for sub, ses in lacking), hint,
        )  # fmt: skip


def _nothing_common(options: EvaluateOptions, scans: pd.DataFrame) -> str:
    done = scans[scans["status"] == COMPARED]
    counts = [f"{m.name}: {done[done['method'] == m.name]['scan'].nunique()}" for m in options.methods]
    notes = [str(note) for note in scans["note"].dropna().unique()[:3]]
    return (
        f"{options.truth.folder}: no scan of the truth could be compared with all methods (of "
        f"{scans['scan'].nunique()}: {', '.join(counts)}). {'; '.join(notes)}. "
        f"See {options.out / 'evaluation_scans.tsv'}."
    )


def write_table(out: Path, name: str, table: pd.DataFrame) -> None:
    """Write ``evaluation_<name>.tsv`` and, beside it, the JSON that explains its columns."""
    path = out / f"evaluation_{name}.tsv"
    known = column_dictionary(name, methods=[str(c) for c in table.columns])
    write_described_tsv(path, table.round(6), {str(c): known[str(c)] for c in table.columns})


def outline_cases(plan: Plan, compared: pd.DataFrame, options: EvaluateOptions) -> dict[str, list[OutlineCase]]:
    """For each method the scans with the best, the median and the worst Dice, ready to draw.

    Parameters
    ----------
    plan : Plan
    compared : DataFrame
        The scans that all methods have.
    options : EvaluateOptions

    Returns
    -------
    dict of str to list of OutlineCase
    """
    names = [t.name for t in plan.truths]
    cases: dict[str, list[OutlineCase]] = {}
    is_whole = compared["part"] == WHOLE
    for method in options.methods:
        whole = compared[(compared["method"] == method.name) & (compared["hemisphere"] == BOTH) & is_whole]
        dice = pd.Series(whole["dice"].to_numpy(float), index=whole["scan"])
        chosen = _best_median_worst(dice)
        images = _find_images(options, [plan.truths[names.index(scan)] for scan in chosen.values()])
        cases[method.name] = []
        for word, scan in chosen.items():
            truth, files = plan.truths[names.index(scan)], plan.predictions[method.name][names.index(scan)]
            if files is not None:
                title = f"{word}: {scan}, Dice {dice[scan]:.2f}"
                cases[method.name].append(_outline_case(title, truth, files, method, options, images.get(scan)))
    return cases


def _best_median_worst(dice: pd.Series) -> dict[str, str]:
    ordered = [str(scan) for scan in dice.sort_values(ascending=False, kind="stable").index]
    if len(ordered) < 3:
        return dict(zip(("best", "worst"), ordered, strict=False))
    return {"best": ordered[0], "median": ordered[len(ordered) // 2], "worst": ordered[-1]}


def _outline_case(
    title: str, truth: SegmentationFiles, files: SegmentationFiles, method: Source, options: EvaluateOptions,
    image: Volume | None,
) -> OutlineCase:  # fmt: skip
    true, found = options.truth.read(truth, options.wanted), method.read(files, options.wanted)
    grid = common_grid(true, found)
    masks = [Volume(masks_on(parts, grid)[BOTH].astype("float32"), grid.affine) for parts in (true, found)]
    return OutlineCase(title, truth=masks[0], found=masks[1], image=image)


def _find_images(options: EvaluateOptions, truths: Iterable[SegmentationFiles]) -> Mapping[str, Volume]:
    """The T1w image of each scan, where there is exactly one that can be read."""
    truths = list(truths)
    if options.images is None or not truths:
        return {}
    found: dict[str, Volume] = {}
    subjects = tuple(dict.fromkeys(t.entities["sub"] for t in truths))
    try:
        scans, _ = find_scans(options.images, Selection(participant_labels=subjects))
    except NothingSelectedError as error:
        logger.warning("outlines are drawn without scans: %s", error)
        return {}
    for truth, match in zip(
        truths, match_scans([t.entities for t in truths], [s.entities for s in scans]), strict=True
    ):
        try:
            if match.index is None:
                logger.warning("%s: no T1w image to draw for %s (%s).", options.images, truth.name, match.reason)
            else:
                found[truth.name] = read_scan(scans[match.index])
        except ScanReadError as error:
            logger.warning("%s", error)
    return found
