"""`bids_hypo BIDS_DIR OUTPUT_DIR group`: options, and what is said at the end."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bids_hypo import __version__
from bids_hypo.cli.running import say
from bids_hypo.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bids_hypo.workflow.group_options import GroupOptions

_ONLY_PARTICIPANT = ("reports_only", "overwrite", "fast", "use_edited")


def add_group_options(group: argparse._ArgumentGroup) -> None:
    """The options of the group level."""
    group.add_argument("--images", nargs="+", action="extend", default=[], metavar="IMAGE",
                       help="kinds of image to compare: T1w, FLAIR, R1map ..., or ensemble, the mean over the kinds of "
                       "a session (default: all that were measured, each by itself)")  # fmt: skip
    group.add_argument("--parts", action="store_true", help="compare the parts of each structure too")
    group.add_argument("--group-column", default="group", metavar="COLUMN",
                       help="column of participants.tsv that names the groups (default: group)")  # fmt: skip
    group.add_argument("--case", nargs="+", action="extend", default=[], metavar="LABEL",
                       help="the group or groups of patients (default: all but the control)")  # fmt: skip
    group.add_argument("--control", metavar="LABEL",
                       help="the control group (default: the one called control, CON, HC, healthy ...)")  # fmt: skip
    group.add_argument("--covariates", nargs="*", action="extend", metavar="COLUMN",
                       help="columns to hold equal (default: age and sex where they exist; no name: none)")  # fmt: skip
    group.add_argument("--scores", nargs="+", action="extend", default=[], metavar="COLUMN",
                       help="clinical scores to correlate with the volumes of the patients")  # fmt: skip
    group.add_argument("--worsened", metavar="COLUMN",
                       help="column of yes and no, who has got worse: logistic regression")  # fmt: skip
    group.add_argument("--site-column", metavar="COLUMN", help="column that names the scanner or centre: harmonise")
    group.add_argument("--ratings", type=Path, metavar="FILE",
                       help="ratings saved on the report pages; scans rated bad are left out")  # fmt: skip
    group.add_argument("--exclude-flagged", action="store_true", help="leave scans with quality flags out of all tests")
    group.add_argument("--outlier-rule", choices=("iqr", "none"), default="iqr",
                       help="iqr (default): set aside what lies 1.5 IQR outside its group's quartiles")  # fmt: skip


def make_group_options(args: argparse.Namespace) -> GroupOptions:
    """Turn parsed arguments into `GroupOptions`.

    Raises
    ------
    UsageError
        For options that only the participant level has.
    """
    from bids_hypo.bids.selection import Selection, normalise_labels
    from bids_hypo.workflow.group_options import GroupOptions

    for name in _ONLY_PARTICIPANT:
        if getattr(args, name, False):
            option = name.replace("_", "-")
            raise UsageError(f"--{option} belongs to the participant level; group only reads its results.")
    if args.bids_filter_file:
        raise UsageError("--bids-filter-file belongs to the participant level; choose scans with --session-label etc.")
    return GroupOptions(
        bids_dir=args.bids_dir.resolve(),
        output_dir=args.output_dir.resolve(),
        selection=Selection(
            participant_labels=normalise_labels(args.participant_label, "sub"),
            session_labels=normalise_labels(args.session_label, "ses"),
            run_labels=normalise_labels(args.run_label, "run"),
            acquisitions=normalise_labels(args.acquisition, "acq"),
        ),
        structures=tuple(dict.fromkeys(args.structures or ())),
        images=tuple(dict.fromkeys(args.images)),
        parts=args.parts,
        group_column=args.group_column,
        cases=tuple(args.case),
        control=args.control,
        covariates=None if args.covariates is None else tuple(args.covariates),
        scores=tuple(args.scores),
        site_column=args.site_column,
        worsened=args.worsened,
        ratings=args.ratings,
        exclude_flagged=args.exclude_flagged,
        outlier_rule=args.outlier_rule,
        dry_run=args.dry_run,
    )


def run(args: argparse.Namespace) -> ExitCode:
    """Run the group level and say what was found."""
    options = make_group_options(args)
    from bids_hypo.workflow.group import run_group

    result = run_group(options)
    say(result.counts.to_string(index=False, float_format=lambda x: f"{x:.1f}"), table=True)
    for sentence in result.sentences:
        say(sentence)
    where = "dry run, nothing written" if options.dry_run else f"see {result.report}"
    say(f"bids_hypo {__version__}: {where}")
    for problem in result.problems:
        say(f"FAILED {problem}", file=sys.stderr)
    return result.exit_code
