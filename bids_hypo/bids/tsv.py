"""The one reader and the one writer of tables: a tab between columns, UTF-8, and nothing quoted."""

from __future__ import annotations

import codecs
import csv
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from bids_hypo.bids.entities import shorten
from bids_hypo.errors import BidsHypoError, ExitCode
from bids_hypo.files import read_bytes

_log = logging.getLogger(__name__)

MISSING = "n/a"
MOST_BYTES = 500_000_000  # of a file
LONGEST_FIELD = 50_000  # characters; more is no table, or a quote of another program that was never closed
_LINE_END = re.compile(r"\r\n|\n|\r")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


class TableError(BidsHypoError):
    """A table is there, but what it holds cannot be used."""

    exit_code = ExitCode.BAD_DATA


def read_table(path: Path, needed: Iterable[str] = ()) -> pd.DataFrame:
    """Read a TSV as text, missing values (``n/a`` and empty) as None; see `read_rows`."""
    names, rows = read_rows(path, needed)
    return pd.DataFrame(rows, columns=names, dtype=object)


def read_rows(path: Path, needed: Iterable[str] = ()) -> tuple[list[str], list[dict[str, str | None]]]:
    """Read a TSV without the cost of a DataFrame: for tables of a few rows, of which a study has hundreds.

    A quote is a character like others, but a field that is quoted as a whole loses its quotes. Blank lines and tabs at
    the end of a line do not count; columns without a name are left out.

    Parameters
    ----------
    path : Path
        UTF-8, or UTF-16 and UTF-32 with their mark at the beginning.
    needed : iterable of str
        Columns that have to be there.

    Returns
    -------
    names : list of str
        Of the columns.
    rows : list of dict
        Text by the name of the column, None for missing values (``n/a`` and empty).

    Raises
    ------
    TableError
        If it cannot be read, a line has more or fewer fields than the header, a column comes twice or a needed one is
        missing; the message names the line.
    """
    lines = [(n, line.split("\t")) for n, line in enumerate(read_lines(path), 1) if line.strip()]
    if not lines:
        raise TableError(f"{path}: cannot be read as a table: it is empty; expected a line with the names of columns.")
    names = _header(path, lines[0][1], needed)
    rows = [_fields(path, n, cells, names) for n, cells in lines[1:]]
    open_quotes = [str(n) for (n, _), row in zip(lines[1:], rows, strict=True) if any(_opens(cell) for cell in row)]
    if open_quotes:
        _log.warning("%s: line %s: a field begins with a double quote and does not end with one; it is taken as a "
                     "character, for tables have no quotes.", path, shorten(open_quotes))  # fmt: skip
    named = [name for name in names if name]
    return named, [{name: text for name, text in zip(names, row, strict=True) if name} for row in rows]


def lines_of_rows(path: Path, rows: Iterable[int]) -> str:
    """Numbers of the lines that hold some rows of a table, for a message; the first row is 0."""
    numbers = [n for n, line in enumerate(read_lines(path), 1) if line.strip()][1:]
    return ", ".join(str(numbers[row]) for row in list(rows)[:5])


def check_named(table: pd.DataFrame, column: str, path: Path) -> None:
    """Refuse a table with rows that do not say whom or what they are about.

    Parameters
    ----------
    table : DataFrame
        As `read_table` gives it.
    column : str
        The one that says so, such as ``participant_id``.
    path : Path

    Raises
    ------
    TableError
    """
    nameless = [row for row, absent in enumerate(table[column].isna()) if absent]
    if nameless:
        where = lines_of_rows(path, nameless)
        raise TableError(
            f"{path}: {len(nameless)} rows have no {column} (line {where}); expected one each. Add it, or remove them."
        )


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without what ends them.

    Raises
    ------
    TableError
        If it cannot be read or is in another encoding than UTF-8, UTF-16 or UTF-32; the message shows where.
    """
    try:
        data = read_bytes(path, at_most=MOST_BYTES)
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror or error}).") from error
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError(_undecoded(path, data, error)) from error
    if "\0" in text:
        raise TableError(
            f"{path}: cannot be read as text: it holds bytes of value 0, as UTF-16 without its mark and files that are "
            "no tables do. Save it as text with tabs between the columns, in UTF-8."
        )
    return _LINE_END.split(text)


def table_text(table: pd.DataFrame) -> str:
    """A table as BIDS wants it and `read_table` reads it: tabs, LF, ``n/a``; tabs and line ends in texts become spaces.

    Parameters
    ----------
    table : DataFrame
        Its index is not written.
    """
    plain = table.apply(lambda column: column if pd.api.types.is_numeric_dtype(column) else column.map(_one_line))
    plain.columns = [_one_line(str(name)) for name in table.columns]
    return plain.to_csv(sep="\t", index=False, na_rep=MISSING, lineterminator="\n", quoting=csv.QUOTE_NONE)


def formula_like(table: pd.DataFrame) -> dict[str, int]:
    """How many cells of each column a spreadsheet would take for formulas: texts that begin with ``= + - @``.

    Numbers are none. Columns without such a cell are left out; the name of a column counts as one of its cells.
    """
    counts = {str(name): sum(map(_is_formula, (str(name), *table[name]))) for name in table}
    return {name: count for name, count in counts.items() if count}


def _is_formula(value: Any) -> bool:
    text = value.strip() if isinstance(value, str) else ""
    if not text.startswith(("=", "+", "-", "@")):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def brief(text: object, at_most: int = 60) -> str:
    """A value for a message, cut if it is long."""
    shown = str(text)
    return shown if len(shown) <= at_most else f"{shown[:at_most]}... ({len(shown)} characters)"


def _one_line(value: Any) -> Any:
    """A text without tabs and line ends; None if nothing is left."""
    return re.sub(r"[\t\r\n]+", " ", value).strip() or None if isinstance(value, str) else value


def _header(path: Path, cells: list[str], needed: Iterable[str]) -> list[str]:
    names = [_unquoted(cell) for cell in cells]
    while names and not names[-1]:
        names.pop()
    found = brief(", ".join(name for name in names if name), 500)
    lacking = [name for name in needed if name not in names]
    if lacking:
        other = next((mark for mark in ",;" if len(names) == 1 and mark in names[0]), "")
        hint = f"Is it separated by tabs? It seems to have '{other}' instead." if other else "Is it separated by tabs?"
        raise TableError(f"{path}: no column {', '.join(lacking)}; there are: {found}. {hint}")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise TableError(f"{path}: more than one column {', '.join(twice)}; expected one each. Rename or remove it.")
    if "" in names:
        _log.warning("%s: column %d has no name and is left out.", path, names.index("") + 1)
    return names


def _fields(path: Path, number: int, cells: list[str], names: list[str]) -> list[str | None]:
    """The fields of a line, as many as there are names."""
    n = len(names)
    if len(cells) > n and not any(cell.strip() for cell in cells[n:]):
        cells = cells[:n]
    if len(cells) != n:
        raise TableError(
            f"{path}: line {number} has {len(cells)} fields; the header has {n}. The line begins with "
            f"'{brief(' | '.join(cells))}'. Put one tab between fields, none inside a field (quotes do not help), and "
            "n/a where a value is missing."
        )
    longest = max(cells, key=len)
    if len(longest) > LONGEST_FIELD:
        column = names[cells.index(longest)]
        raise TableError(
            f"{path}: line {number}, column {column}: a field of {len(longest)} characters; expected at most "
            f"{LONGEST_FIELD}. Is the file damaged?"
        )
    return [None if text.lower() in ("", MISSING) else text for text in map(_unquoted, cells)]


def _unquoted(cell: str) -> str:
    """Without spaces around it, and without quotes if they enclose it as a whole, as R and older versions write it."""
    text = cell.strip()
    inner = text[1:-1].replace('""', "")
    if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in inner:
        return text[1:-1].replace('""', '"').strip()
    return text


def _opens(cell: str | None) -> bool:
    return cell is not None and cell.startswith('"')


def _undecoded(path: Path, data: bytes, error: UnicodeDecodeError) -> str:
    before = data[: error.start]
    line = before.count(b"\n") + 1
    start = max(before.rfind(b"\t"), before.rfind(b"\n")) + 1
    found = re.split(rb"[\t\r\n]", data[start:], maxsplit=1)[0]
    perhaps = f"; read as Latin-1 it is '{brief(found.decode('latin-1'))}'" if error.encoding == "utf-8" else ""
    byte = f"byte 0x{data[error.start]:02X}{perhaps}"
    return f"{path}: cannot be read: line {line} is not {error.encoding.upper()} ({byte}). Save it as UTF-8."
