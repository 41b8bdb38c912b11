"""Which numbers a structure has in label images: those of this program, and of others by the name of the program.

The numbers of other programs stand in ``label_numbers.json`` under ``tools``: for each program and structure
``labels`` of the whole, and where known its ``parts``, the ``file`` of a subject (or several, to try in order),
numbers that the image may hold besides (``among``), and where the numbers were found (``source``). A program without
a structure is listed because it gives none that is known here. Under ``names`` stands what else a structure is called
in names of files, as a regular expression.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from bids_hypo.structures import BOTH, LEFT, RIGHT, Structure

OURS = "bids_hypo"
_KEYS = (LEFT, RIGHT, BOTH)
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class Labels:
    """Numbers of a structure in a label image, or frames (from 1) of a 4-D one.

    Attributes
    ----------
    of : mapping of str to frozenset of int
        Of the whole structure, by side: ``L``, ``R``, ``M``, and ``B`` for what has no side.
    kinds : mapping of str to mapping of str to frozenset of int
        The same for each kind of part; empty where the structure is one piece, or parts are not told apart.
    """

    of: Mapping[str, frozenset[int]]
    kinds: Mapping[str, Mapping[str, frozenset[int]]] = field(default_factory=dict)

    @property
    def numbers(self) -> frozenset[int]:
        """All of them, also those of parts that do not count in the whole."""
        every = [*self.of.values(), *(numbers for sides in self.kinds.values() for numbers in sides.values())]
        return frozenset().union(*every)

    @classmethod
    def of_structure(cls, structure: Structure, *, frames: bool = False) -> Labels:
        """The numbers of a structure's parts; with ``frames`` their places in a 4-D image."""
        whole: dict[str, frozenset[int]] = {}
        kinds: dict[str, dict[str, frozenset[int]]] = {}
        for place, part in enumerate(structure.parts, start=1):
            side, number = part.hemisphere or BOTH, frozenset({place if frames else part.index})
            if part.in_whole:
                whole[side] = whole.get(side, frozenset()) | number
            if structure.kinds:
                kinds.setdefault(part.kind, {})[side] = number
        return cls(whole, kinds)


LEFT_RIGHT = Labels({LEFT: frozenset({1}), RIGHT: frozenset({2})})


@dataclass(frozen=True)
class Wanted:
    """A structure that is looked for in the images of any program.

    Attributes
    ----------
    name : str
        Such as ``thalamus``.
    structure : Structure or None
        Its parts, where a model or a record describes them.
    """

    name: str
    structure: Structure | None = None

    @property
    def title(self) -> str:
        """In texts."""
        return self.structure.title if self.structure else self.name

    @property
    def has_sides(self) -> bool:
        """Whether left and right are to be expected: unless its parts say that there are none."""
        return self.structure is None or self.structure.is_paired

    @property
    def presets(self) -> dict[str, Labels]:
        """Numbers by the name of the program, ours first; programs without this structure are left out."""
        ours = {OURS: Labels.of_structure(self.structure)} if self.structure else {}
        return {**ours, **{tool: labels_of(entry) for tool, entry in self._known().items()}}

    @property
    def places(self) -> list[tuple[str, str]]:
        """Where programs leave their images: the name of the program and a pattern, in the order to try them."""
        known = [(tool, entry["file"]) for tool, entry in self._known().items() if "file" in entry]
        return [(tool, one) for tool, found in known for one in ([found] if isinstance(found, str) else found)]

    def recognised(self, found: set[int]) -> Labels | None:
        """What the numbers in an image mean that nothing is said about; None if that is not known."""
        if self.has_sides and found <= LEFT_RIGHT.numbers:
            return LEFT_RIGHT
        for labels in self.presets.values():
            if found <= labels.numbers:
                return labels
        for entry in self._known().values():
            if "among" in entry and found <= parse_numbers(f"{BOTH}={entry['among']}")[BOTH]:
                return labels_of(entry)
        if not self.has_sides and len(found) == 1:
            return Labels({BOTH: frozenset(found)})
        return None

    def is_named(self, label: str) -> bool:
        """Whether a label in the name of a file means the structure: it begins alike, or is another name of it."""
        others = [pattern for name, pattern in _content()["names"].items() if self.name.lower().startswith(name)]
        return any(re.search(pattern, label, re.IGNORECASE) for pattern in others or [f"^{self.name[:4]}"])

    def _known(self) -> dict[str, Any]:
        name = self.name.lower()
        return {
            tool: entry
            for tool, known in _content()["tools"].items()
            for of, entry in known.items()
            if name.startswith(of)
        }


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((files("bids_hypo") / "image" / "label_numbers.json").read_text("utf-8"))
    return content


def known_tools() -> tuple[str, ...]:
    """Names of the programs whose numbers are known for some structure or other, ours first."""
    return (OURS, *_content()["tools"])


def labels_of(entry: Mapping[str, Any]) -> Labels:
    """The numbers in an entry of ``label_numbers.json``."""
    return Labels(parse_numbers(entry["labels"]), {k: parse_numbers(v) for k, v in entry.get("parts", {}).items()})


def parse_numbers(spec: str) -> dict[str, frozenset[int]]:
    """Turn ``L=801-805,R=806-810`` into numbers by side.

    Parameters
    ----------
    spec : str
        Keys L, R and B (what has no side, or everything); numbers and ranges with commas between.

    Raises
    ------
    ValueError
        If it is not of that form, names one side only, or a number twice; with a sentence for the user.
    """
    labels: dict[str, set[int]] = {}
    side = ""
    for part in spec.replace(" ", "").split(","):
        key, equals, numbers = part.rpartition("=")
        side = key.upper() if equals else side
        match = _RANGE.fullmatch(numbers)
        if side not in _KEYS or match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"'{part}' is not of this form.")
        labels.setdefault(side, set()).update(range(int(match[1]), int(match[2] or match[1]) + 1))
    if (LEFT in labels) != (RIGHT in labels):
        raise ValueError("found one side only.")
    if sum(map(len, labels.values())) != len(set().union(*labels.values())):
        raise ValueError("a number comes twice.")
    return {key: frozenset(numbers) for key, numbers in labels.items()}
