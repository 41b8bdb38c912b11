"""``bids_hypo_evaluate TRUTH OUT --prediction NAME=FOLDER``: compare segmentations with the truth."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bids_hypo import __version__
from bids_hypo.cli.parser import Parser
from bids_hypo.cli.running import run_command, say
from bids_hypo.errors import ExitCode, UsageError
from bids_hypo.untrusted import is_plain_name

if TYPE_CHECKING:
    from bids_hypo.image.segmentation import Labels
    from bids_hypo.workflow.evaluate import Evaluation
    from bids_hypo.workflow.evaluation_plan import EvaluateOptions

_RESERVED = ("truth", "hemisphere", "metric", "unit", "n")  # columns of the summary
_EPILOG = """\
Examples:
  bids_hypo_evaluate manual/ out/ --prediction bids_hypo=derivatives/bids_hypo --images dataset/
  bids_hypo_evaluate manual/ out/ --prediction FreeSurfer=$SUBJECTS_DIR --prediction FastSurfer=fastsurfer/
  bids_hypo_evaluate manual/ out/ --prediction mine=results/ --pattern 'mine={subject}/*_seg.nii.gz' \\
      --labels mine:L=1-5,R=6-10 --truth-pattern '{subject}_{hemi}.nii.gz'

A segmentation may be labels (dseg), a mask or a probability for each side, a 4-D probability (left, right) or one
mask; .nii, .nii.gz or .mgz. Without a pattern, BIDS names and the folders of FreeSurfer and FastSurfer are understood.
Exit codes: 0 done (missing predictions are listed), 1 some files could not be read, 18 nothing selected, 64 usage,
65 bad data, 66 no input, 73 cannot create the output, 74 input/output error.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = Parser(
        prog="bids_hypo_evaluate",
        description="Compare segmentations of the hypothalamus with the truth: overlap, distances, agreement of "
        "volumes, ranking of methods; tables, figures and a page.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="folder of the true segmentations")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for tables, figures and evaluation.html")
    parser.add_argument("--prediction", action="append", required=True, metavar="NAME=FOLDER",
                        help="segmentations of a method; again for each further method")  # fmt: skip
    files = parser.add_argument_group("where the files are and what their numbers mean")
    files.add_argument("--truth-pattern", metavar="GLOB",
                       help="names of the truth's files: {subject} and, if needed, {session}, {hemi}")  # fmt: skip
    files.add_argument("--pattern", action="append", default=[], metavar="NAME=GLOB", help="likewise for a method")
    files.add_argument("--truth-labels", metavar="SPEC",
                       help="numbers in the truth: L=801-805,R=806-810 (B= for parts without a side), or one of "
                       "bids_hypo, freesurfer, fastsurfer; default: 1 left, 2 right, or a tool's own")  # fmt: skip
    files.add_argument("--labels", action="append", default=[], metavar="NAME:SPEC", help="likewise for a method")
    files.add_argument("--images", type=Path, metavar="BIDS_DIR", help="T1w images to draw the outlines on")
    scans = parser.add_argument_group("which scans")
    scans.add_argument("--participant-label", "--participant_label", "--participants", nargs="+", action="extend",
                       metavar="LABEL",
                       help="subjects, with or without sub-; or a text file (a participants.tsv will do)")  # fmt: skip
    scans.add_argument("--session-label", nargs="+", action="extend", metavar="LABEL",
                       help="sessions, with or without ses-")  # fmt: skip
    scores = parser.add_argument_group("clinical scores")
    scores.add_argument("--associate", type=Path, metavar="SCORES.tsv",
                        help="correlate each method's volumes with scores: participant_id, maybe session_id, and "
                        "columns of numbers")  # fmt: skip
    scores.add_argument("--scores", nargs="+", action="extend", default=[], metavar="COLUMN", help="only these columns")
    scores.add_argument("--covariates", nargs="+", action="extend", default=[], metavar="COLUMN",
                        help="adjust the correlations for these columns, such as age sex")  # fmt: skip
    parser.add_argument("-v", "--verbose", action="count", default=0, help="tell what is being done")
    parser.add_argument("--version", action="version", version=f"bids_hypo {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process unless told.

    Returns
    -------
    int
        An `ExitCode`.
    """
    return run_command(build_parser(), argv, _evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    options = make_options(args)
    from bids_hypo.workflow.evaluate import evaluate

    return _report(evaluate(options), options)


def make_options(args: argparse.Namespace) -> EvaluateOptions:
    """Turn parsed arguments into `EvaluateOptions`.

    Raises
    ------
    UsageError
        For names, labels or columns that cannot be used.
    """
    from bids_hypo.bids.selection import normalise_labels
    from bids_hypo.workflow.evaluation_plan import EvaluateOptions, Source

    if (args.scores or args.covariates) and args.associate is None:
        raise UsageError("--scores and --covariates are about --associate SCORES.tsv, which is not given.")
    folders = _folders(args.prediction)
    patterns = dict(_named(text, folders, "--pattern", "=") for text in args.pattern)
    labels = {name: parse_labels(spec) for name, spec in (_named(t, folders, "--labels", ":=") for t in args.labels)}
    return EvaluateOptions(
        truth=Source("truth", args.truth, args.truth_pattern, parse_labels(args.truth_labels)),
        methods=tuple(Source(n, folder, patterns.get(n), labels.get(n)) for n, folder in folders.items()),
        out=args.out,
        images=args.images,
        participant_labels=normalise_labels(args.participant_label, "sub"),
        session_labels=normalise_labels(args.session_label, "ses"),
        scores=args.associate,
        score_names=tuple(args.scores),
        covariates=tuple(args.covariates),
    )


def _folders(texts: Sequence[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals:
            name, folder = Path(text).resolve().name, text
        if not folder or not is_plain_name(name) or name.lower() in _RESERVED:
            raise UsageError(
                f"--prediction {text}: expected NAME=FOLDER; a name has letters, digits and + . _ -, and is none of "
                f"{', '.join(_RESERVED)}."
            )
        if name in folders:
            raise UsageError(f"--prediction {text}: the name {name} comes twice; give each method its own.")
        folders[name] = Path(folder)
    return folders


def _named(text: str, methods: dict[str, Path], option: str, separators: str) -> tuple[str, str]:
    """Take ``NAME:VALUE`` apart; the name may be left out if there is one method."""
    for separator in separators:
        name, found, value = text.partition(separator)
        if found and name.strip() in methods:
            return name.strip(), value.strip()
    if len(methods) == 1:
        return next(iter(methods)), text
    raise UsageError(
        f"{option} {text}: expected NAME{separators[0]}... with the name of a method; there are {', '.join(methods)}."
    )


def parse_labels(spec: str | None) -> Labels | None:
    """Turn ``L=801-805,R=806-810`` into label numbers.

    Parameters
    ----------
    spec : str or None
        Keys L, R and B (parts without a side, or everything); numbers and ranges with commas between, such as
        ``L=1,3-5,R=2``. Or the name of a preset: bids_hypo, freesurfer, fastsurfer.

    Returns
    -------
    dict of str to frozenset of int, or None
        None if there is no specification.

    Raises
    ------
    UsageError
        If it is not of that form, names one side only, or a number twice.
    """
    from bids_hypo.image.segmentation import LABEL_PRESETS

    if spec is None:
        return None
    if spec.strip().lower() in LABEL_PRESETS:
        return LABEL_PRESETS[spec.strip().lower()]
    help_text = f"labels '{spec}': expected such as L=801-805,R=806-810, or one of {', '.join(LABEL_PRESETS)}"
    labels: dict[str, set[int]] = {}
    side = ""
    for part in spec.replace(" ", "").split(","):
        key, equals, numbers = part.rpartition("=")
        side = key.upper() if equals else side
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", numbers)
        if side not in ("L", "R", "B") or match is None or int(match[2] or match[1]) < int(match[1]):
            raise UsageError(f"{help_text}; '{part}' is not of this form.")
        labels.setdefault(side, set()).update(range(int(match[1]), int(match[2] or match[1]) + 1))
    if ("L" in labels) != ("R" in labels):
        raise UsageError(f"{help_text}; found one side only.")
    if sum(map(len, labels.values())) != len(set().union(*labels.values())):
        raise UsageError(f"{help_text}; a number comes twice.")
    return {key: frozenset(numbers) for key, numbers in labels.items()}


def _report(evaluation: Evaluation, options: EvaluateOptions) -> ExitCode:
    summary = evaluation.tables["summary"]
    whole = summary[summary["hemisphere"] == "B"].drop(columns=["hemisphere"])
    say(whole.to_string(index=False, na_rep=""), table=True)
    counts = {status: evaluation.count(status) for status in ("compared", "missing", "unreadable")}
    told = ", ".join(f"{n} {status}" for status, n in counts.items() if n or status == "compared")
    n_common, n_truths = len(evaluation.common), len(evaluation.plan.truths)
    say(f"bids_hypo {__version__}: {told}; {n_common} of {n_truths} scans are common to all methods and summarised.")
    say(f"Results: {options.out / 'evaluation.html'}")
    return ExitCode.SCANS_FAILED if counts["unreadable"] else ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
