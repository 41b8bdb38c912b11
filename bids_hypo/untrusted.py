"""Names and texts that come from data, made safe to show, to quote and to put into a path."""

from __future__ import annotations

import logging
import re
import shlex
import textwrap
from collections.abc import Iterable
from typing import Any

from bids_hypo.errors import BidsHypoError, ExitCode

# What a terminal, an editor or the reader of a log does not show as a sign of its own: control characters (escape
# sequences begin with one), marks that turn the direction of text, line ends of Unicode, and bytes that are not UTF-8.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NAME = re.compile(r"[^\W_][\w+. -]*")
_MARKUP = re.compile(r"[<\[\]]")
_MAX_NAME = 255


class UnsafeNameError(BidsHypoError):
    """A name in a file cannot become the name of a file or folder."""

    exit_code = ExitCode.BAD_DATA


def is_plain_name(name: object) -> bool:
    """Whether a text can be one part of a path: letters, digits, ``+ . _ -`` and spaces, a letter or digit first."""
    return isinstance(name, str) and len(name) <= _MAX_NAME and _NAME.fullmatch(name) is not None


def plain_name(name: Any, what: str) -> str:
    """A name that was read from a file, if it can be a part of a path.

    Parameters
    ----------
    name : any
    what : str
        Begins the message: the file, and whose name it is.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    UnsafeNameError
    """
    if not is_plain_name(name):
        raise UnsafeNameError(
            f"{what} is {str(name)[:60]!r}; expected letters, digits and + . _ -, beginning with one of the "
            "first two, for a file or folder gets this name. Correct it."
        )
    return str(name)


def visible(text: str, *, keep: str = "") -> str:
    r"""A text in which what hides is written out: a line end as ``\n``, the start of an escape sequence as ``\x1b``.

    Parameters
    ----------
    text : str
    keep : str
        Characters to leave as they are.
    """
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def markdown(text: str) -> str:
    """A text in Markdown in which nothing becomes an element of a page, a link or a picture."""
    return _MARKUP.sub(r"\\\g<0>", visible(text, keep="\n"))


def shell_words(words: Iterable[str]) -> str:
    """A command for bash on one line, whatever is in its words: in a comment, too, it stays one.

    Words without control characters are quoted as by `shlex.join`, others as ``$'...'``.
    """
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if not _HIDDEN.search(word):
        return shlex.quote(word)
    plain = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _HIDDEN.sub(lambda found: "".join(f"\\x{byte:02x}" for byte in _bytes(found[0])), plain) + "'"


def _bytes(character: str) -> bytes:
    return character.encode("utf-8", "surrogateescape")


class OneLine(logging.Formatter):
    """Each message on one line, so that no name in it looks like another message; tracebacks below it, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        """Write out what hides in the message."""
        record.message = visible(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Write out what hides in the traceback, but for its line ends."""
        return textwrap.indent(visible(super().formatException(ei), keep="\n"), "    ")


def log_on_one_line() -> None:
    """Make all handlers of this process's log write `OneLine` messages, with the level before them."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(OneLine("%(levelname)s: %(message)s"))
