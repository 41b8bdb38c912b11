"""Labels that were asked for and that nothing has: one sentence each kind, with what may have been meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from bids_hypo.bids.entities import SHORT_NAMES, labels_equal, shorten
from bids_hypo.bids.selection import NUMBERED_ENTITIES, Selection

_WORDS = {"sub": "participants", "ses": "sessions", "run": "runs", "acq": "acquisitions"}
_LOOSE = re.compile(r"[a-z+]*?0*(\d+)")
_LABEL = re.compile(r"[0-9A-Za-z+]+")


def unmatched(selection: Selection, found: Iterable[Mapping[str, str]], where: object) -> list[str]:
    """Say which labels of a selection nothing has.

    Parameters
    ----------
    selection : Selection
    found : iterable of mapping of str to str
        Entities of all scans. Sessions, runs and the like are looked for among those of the chosen participants.
    where : object
        Named at the beginning: a file or folder.

    Returns
    -------
    list of str
        A sentence for each kind of label.
    """
    every = list(found)
    chosen = [entities for entities in every if selection.accepts_subject(entities["sub"])]
    told = []
    for key, wanted in _asked_for(selection).items():
        there = {entities[key] for entities in (every if key == "sub" else chosen) if key in entities}
        number = key in NUMBERED_ENTITIES
        lacking = [label for label in wanted if not any(labels_equal(label, t, as_number=number) for t in there)]
        if lacking:
            told.append(
                f"{where}: no scan for {len(lacking)} of the {_WORDS.get(key, f'labels of {key}-')} asked for: "
                f"{shorten(lacking)}. There are {shorten(there)}.{near_hint(lacking, there)}"
            )
    return told


def _asked_for(selection: Selection) -> dict[str, list[str]]:
    """Labels by entity: those of the command line, and those that a filter file names."""
    asked = {
        "sub": list(selection.participant_labels), "ses": list(selection.session_labels),
        "run": list(selection.run_labels), "acq": list(selection.acquisitions),
    }  # fmt: skip
    for key, value in selection.filters.items():
        if key in SHORT_NAMES or key in SHORT_NAMES.values():
            items = value if isinstance(value, list | tuple) else [value]
            labels = [str(item) for item in items if item is not None and _LABEL.fullmatch(str(item))]
            asked.setdefault(SHORT_NAMES.get(key, key), []).extend(labels)
    return {key: list(dict.fromkeys(labels)) for key, labels in asked.items()}


def near_hint(lacking: Iterable[str], there: Collection[str]) -> str:
    """A sentence on labels that differ from existing ones in leading zeros, letters in front or case; else empty."""
    pairs = [f"{' or '.join(near)} for {label}" for label in lacking if (near := near_labels(label, there))]
    return f" Did you mean {shorten(pairs, at_most=3)}?" if pairs else ""


def near_labels(label: str, there: Collection[str]) -> list[str]:
    """Existing labels that differ in leading zeros, letters in front or case only, at most three."""
    return sorted(other for other in there if _loose(other) == _loose(label))[:3]


def _loose(label: str) -> str:
    match = _LOOSE.fullmatch(label.lower())
    return match[1] if match else label.lower()
