"""``bids_hypo_evaluate TRUTH OUT --prediction NAME=FOLDER``: compare segmentations with the truth."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bids_hypo import __version__
from bids_hypo.cli.parser import Parser
from bids_hypo.cli.running import run_command, say
from bids_hypo.errors import ExitCode, UsageError
from bids_hypo.structures import BOTH, HYPOTHALAMUS, WHOLE
from bids_hypo.untrusted import is_plain_name

if TYPE_CHECKING:
    from bids_hypo.image.label_numbers import Labels, Wanted
    from bids_hypo.workflow.evaluate import Evaluation
    from bids_hypo.workflow.evaluation_plan import EvaluateOptions

_RESERVED = ("truth", "structure", "part", "hemisphere", "metric", "unit", "n")  # columns of the summary
_EPILOG = """\
Examples:
  bids_hypo_evaluate manual/ out/ --prediction bids_hypo=derivatives/bids_hypo --images dataset/
  bids_hypo_evaluate manual/ out/ --prediction FreeSurfer=$SUBJECTS_DIR --prediction FastSurfer=fastsurfer/
  bids_hypo_evaluate manual/ out/ --prediction mine=results/ --pattern 'mine={subject}/*_seg.nii.gz' \\
      --labels mine:L=1-5,R=6-10 --truth-pattern '{subject}_{hemi}.nii.gz'
  bids_hypo_evaluate manual/ out/ --structure thalamus --models models/ --prediction bids_hypo=derivatives/bids_hypo \\
      --prediction FIRST=first/ --pattern 'FIRST={subject}/*_all_fast_firstseg.nii.gz' --labels FIRST:fsl

A segmentation may be labels (dseg), a mask or a probability for each side, a 4-D probability (a frame a part, or left
and right) or one mask; .nii, .nii.gz or .mgz. Without a pattern, BIDS names and the folders of FreeSurfer and
FastSurfer are understood.
Exit codes: 0 done (missing predictions are listed), 1 some files could not be read, 18 nothing selected, 64 usage,
65 bad data, 66 no input, 73 cannot create the output, 74 input/output error.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = Parser(
        prog="bids_hypo_evaluate",
        description="Compare segmentations of a structure with the truth: overlap, distances, agreement of "
        "volumes, ranking of methods; tables, figures and a page.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="folder of the true segmentations")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for tables, figures and evaluation.html")
    parser.add_argument("--prediction", action="append", required=True, metavar="NAME=FOLDER",
                        help="segmentations of a method; again for each further method")  # fmt: skip
    parser.add_argument("--structure", default=HYPOTHALAMUS, metavar="NAME",
                        help="what to compare (default: %(default)s)")  # fmt: skip
    parser.add_argument("--models", type=Path, metavar="DIR",
                        help="folder with the model of the structure, which says what its parts are")  # fmt: skip
    files = parser.add_argument_group("where the files are and what their numbers mean")
    files.add_argument("--truth-pattern", metavar="GLOB",
                       help="names of the truth's files: {subject} and, if needed, {session}, {hemi}")  # fmt: skip
    files.add_argument("--pattern", action="append", default=[], metavar="NAME=GLOB", help="likewise for a method")
    files.add_argument("--truth-labels", metavar="SPEC",
                       help="numbers in the truth: L=801-805,R=806-810 (B= for parts without a side), or the program "
                       "that wrote them: bids_hypo, freesurfer, fastsurfer, fsl, synthseg, dbsegment, dentateseg; "
                       "default: 1 left, 2 right, or those of the structure or a program, where they can be "
                       "recognised")  # fmt: skip
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
    wanted = find_wanted(args.structure, args.models)
    given = [_named(text, folders, "--labels", ":=") for text in args.labels]
    labels = {name: parse_labels(spec, wanted) for name, spec in given}
    return EvaluateOptions(
        truth=Source("truth", args.truth, args.truth_pattern, parse_labels(args.truth_labels, wanted)),
        methods=tuple(Source(n, folder, patterns.get(n), labels.get(n)) for n, folder in folders.items()),
        out=args.out,
        wanted=wanted,
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


def parse_labels(spec: str | None, wanted: Wanted) -> Labels | None:
    """Turn ``L=801-805,R=806-810``, or the name of a program, into label numbers.

    Parameters
    ----------
    spec : str or None
        Keys L, R and B (parts without a side, or everything); numbers and ranges with commas between, such as
        ``L=1,3-5,R=2``. Or the name of a program whose numbers are known for the structure.
    wanted : Wanted
        The structure.

    Returns
    -------
    Labels or None
        None if there is no specification.

    Raises
    ------
    UsageError
        If it is not of that form, names one side only, or a number twice, or the program's numbers are not known.
    """
    from bids_hypo.image.label_numbers import Labels, known_tools, parse_numbers

    if spec is None:
        return None
    tool, presets = spec.strip().lower(), wanted.presets
    if tool in presets:
        return presets[tool]
    if tool in known_tools():
        whose = f"; known are those of {', '.join(presets)}" if presets else ""
        raise UsageError(
            f"labels '{spec}': the numbers of {tool} for the structure {wanted.name} are not known{whose}. Give the "
            "numbers (--labels L=..,R=.. or --truth-labels L=..,R=..; B=.. without sides)."
        )
    try:
        return Labels(parse_numbers(spec))
    except ValueError as error:
        named = f", or one of {', '.join(presets)}" if presets else ""
        raise UsageError(f"labels '{spec}': expected such as L=801-805,R=806-810{named}; {error}") from error


def find_wanted(name: str, models_dir: Path | None) -> Wanted:
    """The structure to evaluate, with its parts where a model of it is at hand.

    Raises
    ------
    UsageError
        If a folder of models was given and holds none of this structure.
    ModelError
        If a bundle cannot be read.
    """
    from bids_hypo.image.label_numbers import Wanted
    from bids_hypo.models.catalog import find_structures

    try:
        return Wanted(name, find_structures(models_dir, (name,))[name].structure)
    except UsageError:
        if models_dir is not None or not name.isalnum():
            raise
        return Wanted(name)


def _report(evaluation: Evaluation, options: EvaluateOptions) -> ExitCode:
    summary = evaluation.tables["summary"]
    whole = summary[(summary["part"] == WHOLE) & (summary["hemisphere"] == BOTH)]
    whole = whole.drop(columns=["structure", "part", "hemisphere"])
    say(whole.to_string(index=False, na_rep=""), table=True)
    counts = {status: evaluation.count(status) for status in ("compared", "missing", "unreadable")}
    told = ", ".join(f"{n} {status}" for status, n in counts.items() if n or status == "compared")
    n_common, n_truths = len(evaluation.common), len(evaluation.plan.truths)
    say(f"bids_hypo {__version__}: {told}; {n_common} of {n_truths} scans are common to all methods and summarised.")
    say(f"Results: {options.out / 'evaluation.html'}")
    return ExitCode.SCANS_FAILED if counts["unreadable"] else ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
