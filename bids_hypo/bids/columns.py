"""What the words in a column of a study mean: spellings of one category, missing values, numbers, their order."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bids_hypo.bids.entities import shorten
from bids_hypo.bids.tsv import TableError, brief

# What pandas takes for missing, folded, what people write instead, and the errors of spreadsheets. Not "none": a person
# may take no drug, or have no diagnosis.
MISSING_WORDS = frozenset({
    "", "n/a", "na", "n.a.", "nan", "-nan", "null", "<na>", "#n/a", "#na", "#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan",
    "-1.#qnan", "unknown", "missing", "not available", "?", "??", "???", "-", "--", "---", "\u2013", "\u2014", ".",
    "..", "...", "_", "#value!", "#ref!", "#div/0!", "#num!", "#name?", "#null!", "#error!",
})  # fmt: skip
_MISSING_NUMBERS = MISSING_WORDS | {"none"}
_SEX = {"m": "male", "f": "female", "o": "other"}
_HAND = {"l": "left", "r": "right", "a": "ambidextrous"}
_SYNONYMS = {"sex": _SEX, "gender": _SEX, "hand": _HAND, "handedness": _HAND}  # as BIDS defines them
_YES = ("yes", "y", "1", "true", "worse", "worsened", "worsening", "progressed", "progression", "progressive")
_NO = ("no", "n", "0", "false", "stable", "not worsened", "not progressed", "improved")
_PLAIN_NUMBER = re.compile(r"\+?(-?)0*(\d+)(?:\.(\d*?)0*)?")
_AND_ABOVE = re.compile(r"(\d+(?:\.\d+)?)\s*\+")  # 89+: what BIDS recommends so that the oldest cannot be recognised
_COMMA = re.compile(r"[+-]?\d+,\d+")
_WITH_UNIT = re.compile(r"[+-]?\d+(?:[.,]\d+)?\s*[^\W\d_%°]*[%°]?")


@dataclass(frozen=True)
class Folding:
    """What spellings of a column become.

    Attributes
    ----------
    became : dict of str to (str or None)
        Spellings that are read as another one; None where they are taken for missing.
    unclear : tuple of str
        Spellings that could be more than one of those that are kept apart, and stay categories of their own.
    """

    became: dict[str, str | None]
    unclear: tuple[str, ...] = ()

    def apply(self, column: pd.Series) -> pd.Series:
        """The column with every spelling replaced."""
        return column.map(lambda text: self.became.get(text, text)).astype(object)

    def remark(self, name: str, counts: Counter[str], unit: str) -> str:
        """What was folded, in a sentence with numbers; empty if nothing was."""
        parts = []
        for target in dict.fromkeys(self.became.values()):
            spellings = sorted(s for s, became in self.became.items() if became == target)
            listed = shorten((f"'{brief(s)}' ({counts[s]} {unit})" for s in spellings), at_most=12)
            parts.append(f"{listed} {'taken for missing' if target is None else f'read as {target!r}'}")
        if self.unclear:
            parts.append(f"{shorten(f'{s!r}' for s in self.unclear)} left as it is, for it could be more than one")
        return f"Column {name}: {'; '.join(parts)}." if parts else ""


def fold(text: str) -> str:
    """A text without the differences that do not count: capital letters, spaces, forms of a letter, quotes around."""
    return " ".join(unicodedata.normalize("NFKC", text).strip("\"' ").casefold().split())


def natural(text: object) -> tuple:
    """Sort key under which ses-2 comes before ses-10 and a missing label first."""
    if text is None or (isinstance(text, float) and np.isnan(text)):
        return ()
    parts = re.split(r"(\d+)", str(text))
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part)


def is_missing(text: str | None) -> bool:
    """Whether a value says that nothing is known."""
    return pd.isna(text) or fold(str(text)) in MISSING_WORDS


def category_key(text: str, column: str) -> str:
    """What all spellings of a category in a column have in common; equal numbers, such as 1 and 1.0, are the same."""
    key = fold(text)
    number = _PLAIN_NUMBER.fullmatch(key)
    if number:
        sign, whole, decimals = number.groups()
        return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"
    return _SYNONYMS.get(fold(column), {}).get(key, key)


def fold_categories(spellings: Iterable[str], name: str, keep: Collection[str] = ()) -> Folding:
    """Find spellings of the same category, and words that say that nothing is known.

    Parameters
    ----------
    spellings : iterable of str
        The values of the column that are not missing.
    name : str
        Of the column: sex and handedness have synonyms, as BIDS defines them.
    keep : collection of str
        Spellings that stay as they are: others become these, and two of them are never joined.

    Returns
    -------
    Folding
        Without one to keep, the most frequent spelling stands for all.
    """
    counts = Counter(spellings)
    alike: dict[str, list[str]] = {}
    for spelling in sorted(counts, key=lambda s: (-counts[s], s)):
        alike.setdefault(category_key(spelling, name), []).append(spelling)
    became: dict[str, str | None] = {}
    unclear: list[str] = []
    missing = MISSING_WORDS - {"-"} if "+" in alike else MISSING_WORDS  # negative, where there is a positive
    for key, found in alike.items():
        kept = [s for s in found if s in keep]
        others = [s for s in found if s not in keep]
        if len(kept) > 1:
            unclear += others
            continue
        target = kept[0] if kept else None if key in missing else found[0]
        became |= {s: target for s in others if s != target}
    return Folding(became, tuple(unclear))


def yes_or_no(column: pd.Series, name: str, source: pd.Series) -> pd.Series:
    """Read a column of answers.

    Parameters
    ----------
    column : Series of str or None
    name : str
    source : Series of Path
        The file of each row, named in messages.

    Returns
    -------
    Series of float
        1 yes, 0 no, NaN where missing.

    Raises
    ------
    TableError
        If there are other words.
    """
    answers = {**dict.fromkeys(_YES, 1.0), **dict.fromkeys(_NO, 0.0)}
    known = column.dropna()
    known = known[~known.map(is_missing)]
    found = known.map(lambda text: answers.get(category_key(str(text), name)))
    odd = known[found.isna()]
    if len(odd):
        example = shorten({f"'{brief(t)}'" for t in odd}, at_most=5)
        files = ", ".join(sorted({str(s) for s in source[odd.index]}))
        raise TableError(f"{files}: column {name} holds {example} in {len(odd)} rows; expected yes or no (also 1 or 0, "
                         "true or false, worse or stable), n/a where unknown. Correct them.")  # fmt: skip
    return found.astype(float).reindex(column.index)


def numbers_or_words(
    column: pd.Series, name: str, source: Path | pd.Series, *, must: bool = False
) -> tuple[pd.Series, str]:
    """Read a column as numbers, or leave it as words.

    Parameters
    ----------
    column : Series of str or None
    name : str
    source : Path, or Series of it
        Named in messages; a Series tells the file of each row.
    must : bool
        Whether it has to be numbers, with ``89+`` as one; else it is words if more than half cannot be read as such.

    Returns
    -------
    Series
        Of float, or the column as it was.
    str
        What a reader has to know about it; empty if nothing.

    Raises
    ------
    TableError
        If single values are no numbers, or they are written with a comma or with units.
    """
    text = column.astype(object).where(column.notna(), None)
    absent = text.map(lambda t: pd.isna(t) or fold(t) in _MISSING_NUMBERS).astype(bool)
    values = pd.to_numeric(text.where(~absent, None), errors="coerce").astype(float)
    values = values.where(np.isfinite(values))
    became = _above(text[values.isna() & ~absent]) if must else {}
    values = values.where(~text.isin(list(became)), text.map(became).astype(float))
    odd = text[values.isna() & ~absent]
    if odd.empty:
        lost = text[absent].dropna()
        folding = Folding(dict.fromkeys(lost) | {t: t.rstrip("+ ") for t in became})
        return values, folding.remark(name, Counter(text.dropna()), "rows")
    present = int((~absent).sum())
    comma = odd.map(lambda t: _COMMA.fullmatch(t) is not None)
    unit = odd.map(lambda t: _WITH_UNIT.fullmatch(t) is not None)
    measured = bool(comma.any()) or (bool(unit.any()) and 2 * odd[unit].nunique() > int(unit.sum()))
    if must or measured or 2 * len(odd) <= present:
        raise TableError(_no_numbers(name, odd, source))
    if unit.any() or len(odd) < present:
        example = shorten({f"'{brief(t)}'" for t in text[~absent]}, at_most=5)
        return text, f"Column {name} holds numbers and words ({example}); it is a category, not a number."
    return text, ""


def _above(odd: pd.Series) -> dict[str, float]:
    """Numbers of texts such as ``89+``."""
    found = {text: _AND_ABOVE.fullmatch(text.strip()) for text in odd}
    return {text: float(match[1]) for text, match in found.items() if match}


def _no_numbers(name: str, odd: pd.Series, source: Path | pd.Series) -> str:
    example = shorten({f"'{brief(t)}'" for t in odd}, at_most=5)
    files = ", ".join(sorted({str(s) for s in source[odd.index]})) if isinstance(source, pd.Series) else source
    return (
        f"{files}: column {name} holds {example} in {len(odd)} rows; expected numbers (a point for the decimals, no "
        f"units, n/a where unknown). Correct them, or leave the column out."
    )
