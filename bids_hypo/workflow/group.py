"""Group level: collect the volumes, normalise, set outliers aside, test, report. Needs no image and no network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bids_hypo.bids.dataset import write_described_tsv
from bids_hypo.bids.entities import PLAIN_SUFFIX
from bids_hypo.bids.links import check_writes_stay
from bids_hypo.bids.names import FIGURES_FOLDER
from bids_hypo.bids.ratings import BAD
from bids_hypo.bids.tables import (
    GROUP_REPORT,
    GROUP_STATISTICS,
    GROUP_VOLUMES,
    dataset_name,
)
from bids_hypo.bids.tsv import TableError
from bids_hypo.errors import ExitCode
from bids_hypo.report.group import GroupStudy, write_group_report
from bids_hypo.report.group_plots import write_figures
from bids_hypo.report.group_text import summary_sentences
from bids_hypo.stats import results
from bids_hypo.stats.analysis import SMALLEST_GROUP, Design, analyse, harmonise, undone
from bids_hypo.stats.groups import Groups, choose_groups
from bids_hypo.stats.outliers import acceptance, icv_doubtful, mark_outliers
from bids_hypo.stats.rates import add_rates
from bids_hypo.stats.table import choose_tested, normalise
from bids_hypo.structures import WHOLE
from bids_hypo.workflow.cohort import Cohort, load_cohort
from bids_hypo.workflow.group_dictionary import VOLUME_COLUMNS, volumes_dictionary
from bids_hypo.workflow.group_options import GroupOptions
from bids_hypo.workflow.group_remarks import remarks_on

logger = logging.getLogger(__name__)

SERIES = ("structure", "image", "part")
FLAGGED = "flagged, left out as asked for"
OTHER_GROUP = "in a group that is not compared"


@dataclass(frozen=True)
class GroupResult:
    """What a group-level run tells its caller.

    Attributes
    ----------
    exit_code : ExitCode
        1 if a table of volumes had to be left out.
    counts : DataFrame
        One row a group: scans, outliers, acceptance.
    sentences : tuple of str
        The result in plain language.
    remarks, problems : tuple of str
    report : Path
        The page.
    """

    exit_code: ExitCode
    counts: pd.DataFrame
    sentences: tuple[str, ...]
    remarks: tuple[str, ...]
    problems: tuple[str, ...]
    report: Path


def run_group(options: GroupOptions) -> GroupResult:
    """Run the group level.

    Parameters
    ----------
    options : GroupOptions

    Returns
    -------
    GroupResult
        Tables, figures and page are written beside the derivatives unless it is a dry run.

    Raises
    ------
    BidsHypoError
        For input that is missing or cannot be used.
    """
    cohort = load_cohort(options)
    groups = choose_groups(cohort.table["group"].dropna(), options.cases, options.control, column=options.group_column)
    design = Design(
        groups, cohort.covariates, options.scores, options.site_column, options.worsened, options.outlier_rule
    )
    studies, left_out = _studies(cohort, design, options)
    several = len(studies) > 1
    about = [f"{study.what}: {remark}" if several else remark for study in studies for remark in study.remarks]
    remarks = (*cohort.remarks, *left_out, *about)
    for remark in remarks:
        logger.warning("%s", remark)
    if not options.dry_run:
        write_outputs(studies, options, (*cohort.problems, *cohort.remarks, *left_out))
    code = ExitCode.SCANS_FAILED if cohort.problems else ExitCode.OK
    counts = studies[0].counts
    if several:
        counts = pd.concat([study.counts.assign(what=study.what) for study in studies], ignore_index=True)
    return GroupResult(
        code, counts, tuple(sentence for study in studies for sentence in summary_sentences(study)),
        remarks, cohort.problems, options.output_dir / GROUP_REPORT,
    )  # fmt: skip


def _studies(cohort: Cohort, design: Design, options: GroupOptions) -> tuple[list[GroupStudy], list[str]]:
    """A study for each structure, kind of image and part, and a sentence on each that cannot be compared.

    Raises
    ------
    TableError
        If none can be.
    """
    studies, failed = [], []
    for series in ordered_series(cohort.table, options.structures):
        of_series = (cohort.table[list(SERIES)] == list(series)).all(axis=1)
        try:
            studies.append(_study(cohort.table[of_series].reset_index(drop=True), cohort, design, options))
        except TableError as error:
            failed.append((", ".join(series), error))
    if not studies:
        raise failed[0][1]
    return studies, [f"Not compared: {what}. {error}" for what, error in failed]


def ordered_series(table: pd.DataFrame, structures: Sequence[str] = ()) -> list[tuple[str, str, str]]:
    """Structure, image and part of each series: structures in the order asked for, T1w before others, wholes first.

    Parameters
    ----------
    table : DataFrame
        With structure, image and part.
    structures : sequence of str
        As asked for; else they come in the order of the table.
    """
    names, parts = (list(dict.fromkeys([*first, *table[column]]))
                    for first, column in ((structures, "structure"), ((WHOLE,), "part")))  # fmt: skip
    known = set(table[list(SERIES)].itertuples(index=False, name=None))
    return sorted(known, key=lambda s: (names.index(s[0]), s[1] != PLAIN_SUFFIX, s[1], parts.index(s[2])))


def _study(table: pd.DataFrame, cohort: Cohort, design: Design, options: GroupOptions) -> GroupStudy:
    """Everything about one series."""
    table, mean_icv = prepare_table(table, design.groups, options)
    check_groups(table, design.groups)
    table = add_rates(harmonise(table, design))
    statistics = analyse(table, design)
    first = table.iloc[0]
    return GroupStudy(
        name=dataset_name(options.bids_dir), structure=first["structure"], title=first["title"], part=first["part"],
        image=first["image"], group_column=options.group_column, design=design, table=table, statistics=statistics,
        counts=acceptance(table, design.groups.all), mean_icv_mm3=mean_icv, exclude_flagged=options.exclude_flagged,
        rated=options.ratings is not None,
        remarks=(*remarks_on(table, design.groups, design), *undone(statistics, table, design)),
    )  # fmt: skip


def prepare_table(table: pd.DataFrame, groups: Groups, options: GroupOptions) -> tuple[pd.DataFrame, float | None]:
    """Add everything that is computed for a scan; which one of a person is tested, and why others are not.

    Returns
    -------
    table : DataFrame
    mean_icv_mm3 : float or None
        Of the tested controls.
    """
    table = table.copy()
    kept = table[table["rating"] != BAD]
    table["icv_doubtful"] = icv_doubtful(kept).reindex(table.index, fill_value=False)
    table["flagged"] = table["icv_doubtful"] | (table["flags"].map(len) > 0)
    free = table["not_tested"].isna()
    table.loc[free & ~table["group"].isin(groups.all), "not_tested"] = OTHER_GROUP
    if options.exclude_flagged:
        table.loc[table["not_tested"].isna() & table["flagged"], "not_tested"] = FLAGGED
    table = choose_tested(table)
    table, mean_icv = normalise(table, table["tested"] & (table["group"] == groups.control))
    return mark_outliers(table, options.outlier_rule), mean_icv


def check_groups(table: pd.DataFrame, groups: Groups) -> None:
    """Refuse groups that cannot be compared.

    Raises
    ------
    TableError
        If a group has fewer than two participants whose scan may be tested; the message says what became of the rest.
    """
    tested = table.loc[table["tested"], "group"].value_counts()
    for name in groups.all:
        n = int(tested.get(name, 0))
        if n >= SMALLEST_GROUP:
            continue
        here = table[table["group"] == name]
        reasons = here.loc[~here["tested"], "not_tested"].value_counts()
        fate = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "no other scans"
        counts = ", ".join(f"'{g}' {int(tested.get(g, 0))}" for g in groups.all)
        raise TableError(
            f"group '{name}': {n} participants can be tested; expected at least {SMALLEST_GROUP}. Of its "
            f"{len(here)} scans: {fate}. Participants per group: {counts}. Process more scans, or name other groups "
            "with --case and --control."
        )


def write_outputs(studies: Sequence[GroupStudy], options: GroupOptions, remarks: Sequence[str] = ()) -> None:
    """Write both tables with their dictionaries, the figures and the page, with remarks that concern all series."""
    folder, first = options.output_dir, studies[0]
    check_writes_stay(folder / FIGURES_FOLDER, folder)
    volumes = pd.concat([export_volumes(study.table, extra_columns(study)) for study in studies], ignore_index=True)
    means = {study.key: study.mean_icv_mm3 for study in studies}
    control = first.design.groups.control
    described = volumes_dictionary(list(volumes.columns), first.group_column, means, control)
    write_described_tsv(folder / GROUP_VOLUMES, volumes, described)
    statistics = pd.concat([_told(study) for study in studies], ignore_index=True)
    described = {name: {"Description": text} for name, text in (results.SERIES_COLUMNS | results.COLUMNS).items()}
    write_described_tsv(folder / GROUP_STATISTICS, _rounded(statistics), described)
    for study in studies:
        write_figures(study, folder / FIGURES_FOLDER, alone=len(studies) == 1)
    write_group_report(studies, folder / GROUP_REPORT, remarks)


def _told(study: GroupStudy) -> pd.DataFrame:
    """The statistics of a study with what they are about."""
    about = {name: getattr(study, name) for name in results.SERIES_COLUMNS}
    return pd.concat([pd.DataFrame(about, index=study.statistics.index), study.statistics], axis=1)


def extra_columns(study: GroupStudy) -> list[str]:
    """Columns joined from participants.tsv and sessions.tsv."""
    design = study.design
    known = [
        *design.covariates,
        *design.scores,
        *([design.site] if design.site else []),
        *([design.worsened] if design.worsened else []),
        "age",
        "sex",
        "gender",
    ]
    return [name for name in dict.fromkeys(known) if name in study.table]


def export_volumes(table: pd.DataFrame, extra: Sequence[str]) -> pd.DataFrame:
    """The table of scans as it is written: columns in order, volumes to a thousandth of a mm3."""
    first = [name for name in VOLUME_COLUMNS if name in table]
    split = first.index("group") + 1
    out = table[[*first[:split], *extra, *first[split:]]].copy()
    out["flags"] = [";".join(flags) or None for flags in out["flags"]]
    return _rounded(out)


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Volumes to a thousandth, other numbers to six significant digits, and true or false in small letters."""
    out = table.copy()
    for name in out:
        column = out[name]
        if pd.api.types.is_bool_dtype(column):
            out[name] = column.map({True: "true", False: "false"})
        elif pd.api.types.is_float_dtype(column):
            volume = str(name).endswith("_mm3")
            out[name] = column.round(3) if volume else [float(f"{value:.6g}") for value in column]
    return out
