"""What every command does around its work: reading its arguments, and turning errors into exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from bids_hypo.cli.scratch import choose_scratch
from bids_hypo.ending import ending_on_signals, exit_status
from bids_hypo.errors import BidsHypoError, ExitCode
from bids_hypo.models.quiet import LEVEL_VARIABLE
from bids_hypo.untrusted import log_on_one_line, visible

logger = logging.getLogger("bids_hypo")

NOBODY_READS = 141  # as a program that SIGPIPE ends


def run_command(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, work: Callable[[argparse.Namespace], int],
    *, quiet: int = logging.WARNING,
) -> int:  # fmt: skip
    """Parse the arguments, set up logging and do the work of a command.

    Parameters
    ----------
    parser : ArgumentParser
        May have ``-v``, counted, as ``verbose``, and ``--dry-run``.
    argv : sequence of str or None
        Arguments after the program's name; those of the process if None.
    work : callable
        Takes the parsed arguments, returns an exit code.
    quiet : int
        Level of logging without ``-v``.

    Returns
    -------
    int
        An `ExitCode`, 130 after an interruption, or 141 if nobody reads what is printed any more (``| head``). After
        Ctrl-C (130), SIGTERM (143) and SIGHUP (129) the process ends at once, with nothing half written.
    """
    _open_closed_streams()
    with suppress(AttributeError):  # not a file; names that are no UTF-8 are printed with their bytes spelled out
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with ending_on_signals(_tell_of_signal):
            code = _run(parser, argv, work, quiet)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BrokenPipeError as error:
        gone = [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream)]
        if not gone:
            logger.error("%s", error)
            return int(ExitCode.IO_ERROR)
        for stream in gone:  # what is left in its buffer would fail again when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return NOBODY_READS
    return code


def _run(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, work: Callable[[argparse.Namespace], int], quiet: int
) -> int:
    try:
        args = parser.parse_args(argv)
    except SystemExit as stop:  # argparse says 2 for misuse; ours is 64
        return int(ExitCode.OK if not stop.code else ExitCode.USAGE)
    _set_up_logging(quiet, getattr(args, "verbose", 0))
    try:
        choose_scratch(None, None if getattr(args, "dry_run", False) else Path())
        return int(work(args))
    except BidsHypoError as error:
        logger.error("%s", error)
        return int(error.exit_code)
    except KeyboardInterrupt:  # of a caller that is no command, or not in its main thread
        _tell_of_signal(signal.SIGINT)
        return exit_status(signal.SIGINT)
    except BrokenPipeError:
        raise
    except OSError as error:
        logger.error("%s", error)
        return int(ExitCode.IO_ERROR)


def say(text: object, *, table: bool = False, file: TextIO | None = None) -> None:
    """Print a result on one line, or several if it is a table; a terminal takes nothing in it for a command."""
    print(visible(str(text), keep="\n" if table else ""), file=file)


def _tell_of_signal(number: int) -> None:
    what = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    logger.error("%s; what was finished is kept, run the same command again to go on", what)


def _set_up_logging(quiet: int, verbose: int) -> None:
    """Our own lines from the level that was asked for; of other packages errors only, with ``-vv`` warnings too."""
    level = max(quiet - 10 * verbose, logging.DEBUG)
    os.environ.setdefault(LEVEL_VARIABLE, "0" if verbose > 1 else "3")
    logging.captureWarnings(True)  # those of Python count as lines of other packages
    others = logging.WARNING if verbose > 1 else logging.ERROR
    logging.basicConfig(level=level, stream=sys.stderr, force=True)
    log_on_one_line()
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: record.name.partition(".")[0] == "bids_hypo" or record.levelno >= others)


def _open_closed_streams() -> None:
    """Put /dev/null where standard input, output or error is closed (``2>&-``).

    Else the next file that is opened takes its number, and what a library writes to standard error lands in that file.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            os.set_inheritable(number, True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - as long as the process lasts


def _is_unread(stream: TextIO | None) -> bool:
    """Whether a stream leads to a pipe that nobody reads from any more."""
    if stream is None:
        return False
    poll = select.poll()
    with suppress(OSError, ValueError):  # not a file
        poll.register(stream.fileno(), 0)
    return bool(poll.poll(0))
