"""``bids_hypo_demo DIR``: write the demo dataset."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bids_hypo import __version__
from bids_hypo.cli.parser import Parser
from bids_hypo.cli.running import run_command, say
from bids_hypo.errors import ExitCode


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = Parser(
        prog="bids_hypo_demo",
        description="Write a small BIDS dataset of synthetic T1w heads whose hypothalamus and intracranial volumes are "
        "known (sourcedata/truth.tsv). A complete demo of the same options is kept as it is.",
    )
    parser.add_argument("folder", metavar="DIR", help="where to write it: a new or an empty folder")
    parser.add_argument("--subjects", type=int, default=8, metavar="N", help="how many subjects (default: 8)")
    parser.add_argument("--patients", type=int, metavar="N",
                        help="write tables of N simulated patients and N/2 controls, followed for two years, in place "
                        "of heads: DIR/raw and DIR/derivatives, for the group level")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same bytes (default: 0)")
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
        An `ExitCode`: 0 done, 64 usage, 73 the folder cannot be made.
    """
    return run_command(build_parser(), argv, _write)


def _write(args: argparse.Namespace) -> int:
    if args.patients is not None:
        return _write_patients(args)
    from bids_hypo.demo import DemoSettings, write_demo_dataset

    written = write_demo_dataset(args.folder, DemoSettings(n_subjects=args.subjects, seed=args.seed))
    say(f"{args.folder}: {'written' if written else 'already complete, kept'}")
    return ExitCode.OK


def _write_patients(args: argparse.Namespace) -> int:
    from bids_hypo.demo.patients import write_patients
    from bids_hypo.workflow.ensemble import write_ensembles

    sessions = write_patients(args.folder, args.patients, args.seed)
    folder = Path(args.folder).resolve()
    write_ensembles(folder / "derivatives", folder / "raw", sessions)
    say(f"{args.folder}: tables of {len(sessions)} sessions written to {args.folder}/derivatives")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
