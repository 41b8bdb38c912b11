"""Every error that bids_hypo raises on purpose, each with the exit code it ends a run with.

A message names the file, what was found, what was expected and what to do. Code in the core raises;
only `bids_hypo.cli` catches and turns an error into an exit code.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line (draft BIDS execution specification and sysexits)."""

    OK = 0
    SCANS_FAILED = 1
    INVALID_BIDS = 16
    INVALID_LEVEL = 17
    NOTHING_SELECTED = 18
    USAGE = 64
    BAD_DATA = 65
    NO_INPUT = 66
    CANNOT_CREATE = 73
    IO_ERROR = 74


class BidsHypoError(Exception):
    """Base of all deliberate errors.

    Parameters
    ----------
    message : str
        What was found, what was expected, what to do.
    """

    exit_code: ExitCode = ExitCode.SCANS_FAILED


class UsageError(BidsHypoError):
    """Options that contradict each other or a value that cannot be used."""

    exit_code = ExitCode.USAGE


class InvalidBidsError(BidsHypoError):
    """The input folder is not a BIDS dataset, or one of its dataset-level files is broken."""

    exit_code = ExitCode.INVALID_BIDS


class NothingSelectedError(BidsHypoError):
    """The dataset is fine but no scan passed the filters."""

    exit_code = ExitCode.NOTHING_SELECTED


class NoInputError(BidsHypoError):
    """The input folder or file does not exist."""

    exit_code = ExitCode.NO_INPUT


class CannotCreateError(BidsHypoError):
    """The output folder cannot be made or written."""

    exit_code = ExitCode.CANNOT_CREATE


class ScanReadError(BidsHypoError):
    """An image file cannot be read as a 3-D head scan."""

    exit_code = ExitCode.BAD_DATA


class SegmentationError(BidsHypoError):
    """The image could be read, but no head, pose or structure was found in it."""

    exit_code = ExitCode.BAD_DATA


class ModelError(BidsHypoError):
    """A model bundle is missing, damaged or does not fit."""

    exit_code = ExitCode.BAD_DATA


def comma_hint(names: Iterable[str]) -> str:
    """A sentence for messages about names that do not exist, if one of them may be a list with commas; else empty."""
    return " Separate names by spaces, not by commas." if any("," in name for name in names) else ""
