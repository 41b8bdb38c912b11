"""The entries of a JSON file, each checked when it is taken: others may have written or changed the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

from bids_hypo.errors import BidsHypoError, ModelError

_NOTHING = object()
_LONGEST_SHOWN = 80


@dataclass(frozen=True)
class Entries:
    """An object in a JSON file.

    Attributes
    ----------
    path : Path
        Of the file, named in errors.
    content : mapping
    where : str
        Where the object lies in the file: empty, or names with a dot after each.
    error : type
        Of the errors about entries.
    advice : str
        Their last sentence.
    """

    path: Path
    content: Mapping[str, Any]
    where: str = ""
    error: type[BidsHypoError] = ModelError
    advice: str = "Install the model again."

    def like(self, content: Mapping[str, Any]) -> Entries:
        """Other content in the place of this one."""
        return replace(self, content=content)

    def only(self, known: Iterable[str]) -> Entries:
        """The same, after any entry that is not known was refused."""
        names = tuple(known)
        unknown = [name for name in self.content if name not in names]
        if unknown:
            raise self.error(
                f"{self.path}: the entry {self.where}{unknown[0]} is not known; expected only {', '.join(names)}. "
                f"{self.advice}"
            )
        return self

    def refuse(self, name: str, expected: str) -> NoReturn:
        """Raise the error about an entry, which says what was found."""
        found = repr(self.content[name]) if name in self.content else "nothing"
        shown = found if len(found) <= _LONGEST_SHOWN else f"{found[:_LONGEST_SHOWN]}..."
        raise self.error(f"{self.path}: the entry {self.where}{name} is {shown}; expected {expected}. {self.advice}")

    def object(self, name: str) -> Entries:
        """An object in this one."""
        value = self.content.get(name)
        if not isinstance(value, dict):
            self.refuse(name, "an object")
        return replace(self, content=value, where=f"{self.where}{name}.")

    def objects(self, name: str) -> list[Entries]:
        """A list of objects, of one at least."""
        value = self.content.get(name)
        if not (isinstance(value, list) and value and all(isinstance(item, dict) for item in value)):
            self.refuse(name, "a list of objects, not empty")
        return [replace(self, content=item, where=f"{self.where}{name}[{n}].") for n, item in enumerate(value)]

    def text(self, name: str, default: str | None = None) -> str:
        """A text that is not empty."""
        value = self.content.get(name, default)
        if not (isinstance(value, str) and value):
            self.refuse(name, "a text")
        return value

    def texts(self, name: str, least: int = 1) -> tuple[str, ...]:
        """A list of different texts, of `least` at least."""
        value = self._items(name)
        fits = all(isinstance(item, str) and item for item in value)
        if not (fits and len(value) >= least and len(set(value)) == len(value)):
            self.refuse(name, f"a list of {least} or more different texts")
        return tuple(value)

    def number(self, name: str, low: float, high: float, default: Any = _NOTHING) -> float:
        """A number between two."""
        value = self.content.get(name, default)
        if not _is_number(value) or not low <= value <= high:
            self.refuse(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def whole_number(self, name: str, low: int, high: int, default: Any = _NOTHING) -> int:
        """A whole number between two."""
        value = self.content.get(name, default)
        if not isinstance(value, int) or not _is_number(value) or not low <= value <= high:
            self.refuse(name, f"a whole number from {low} to {high}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.content.get(name, default)
        if not isinstance(value, bool):
            self.refuse(name, "true or false")
        return value

    def numbers(self, name: str, n: int, low: float, high: float) -> tuple[float, ...]:
        """A list of so many numbers."""
        value = self._items(name)
        fits = len(value) == n and all(map(_is_number, value))
        if not fits or not all(low <= item <= high for item in value):
            self.refuse(name, f"{n} numbers from {low:g} to {high:g}")
        return tuple(value)

    def whole_numbers(self, name: str, low: int, high: int, *, n: int | None = None) -> tuple[int, ...]:
        """A list of whole numbers: of `n`, or of one at least."""
        value = self._items(name)
        fits = value and all(isinstance(item, int) and _is_number(item) for item in value)
        if not fits or n not in (None, len(value)) or not all(low <= item <= high for item in value):
            self.refuse(name, f"{'a list of' if n is None else n} whole numbers from {low} to {high}")
        return tuple(value)

    def _items(self, name: str) -> list[Any]:
        """The items of a list; none where there is something else."""
        value = self.content.get(name)
        return value if isinstance(value, list) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value)
