"""What every command does around its work: reading its arguments, and turning errors into exit codes."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bids_hypo.cli.scratch import choose_scratch
from bids_hypo.errors import BidsHypoError, ExitCode

logger = logging.getLogger("bids_hypo")

NOISY = ("matplotlib", "bids", "h5py", "tensorflow", "absl")
INTERRUPTED = 130


def run_command(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, work: Callable[[argparse.Namespace], int],
    *, quiet: int = logging.WARNING,
) -> int:  # fmt: skip
    """Parse the arguments, set up logging and do the work of a command.

    Parameters
    ----------
    parser : ArgumentParser
        May have ``-v``, counted, as ``verbose``.
    argv : sequence of str or None
        Arguments after the program's name; those of the process if None.
    work : callable
        Takes the parsed arguments, returns an exit code.
    quiet : int
        Level of logging without ``-v``.

    Returns
    -------
    int
        An `ExitCode`, or 130 after an interruption.
    """
    try:
        args = parser.parse_args(argv)
    except SystemExit as stop:  # argparse says 2 for misuse; ours is 64
        return int(ExitCode.OK if not stop.code else ExitCode.USAGE)
    level = max(quiet - 10 * getattr(args, "verbose", 0), logging.DEBUG)
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr, force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    try:
        choose_scratch(None, Path())
        return int(work(args))
    except BidsHypoError as error:
        logger.error("%s", error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        logger.error("interrupted; what was finished is kept, run the same command again to go on")
        return INTERRUPTED
    except OSError as error:
        logger.error("%s", error)
        return int(ExitCode.IO_ERROR)
