"""``bids_hypo_demo DIR``: write the demo dataset."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from bids_hypo import __version__
from bids_hypo.errors import BidsHypoError, ExitCode


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="bids_hypo_demo",
        description="Write a small BIDS dataset of synthetic T1w heads whose hypothalamus and intracranial volumes are "
        "known (sourcedata/truth.tsv). A complete demo of the same options is kept as it is.",
    )
    parser.add_argument("folder", metavar="DIR", help="where to write it: a new or an empty folder")
    parser.add_argument("--subjects", type=int, default=8, metavar="N", help="how many subjects (default: 8)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same bytes (default: 0)")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what is being done")
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
    try:
        options = build_parser().parse_args(argv)
    except SystemExit as stop:  # argparse ends with 2 on bad usage
        return int(ExitCode.OK if not stop.code else ExitCode.USAGE)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    from bids_hypo.demo import DemoSettings, write_demo_dataset

    try:
        written = write_demo_dataset(options.folder, DemoSettings(n_subjects=options.subjects, seed=options.seed))
    except BidsHypoError as error:
        print(f"bids_hypo_demo: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(f"{options.folder}: {'written' if written else 'already complete, kept'}")
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
