"""Pairing the scans of two folders by the entities in their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bids_hypo.bids.entities import join_name, shorten


@dataclass(frozen=True)
class Match:
    """A reference and what was found for it.

    Attributes
    ----------
    reference : dict of str to str
        Entities that were looked for.
    index : int or None
        Position among the candidates; None if there is none, or more than one.
    reason : str
        Why there is none; empty if there is one.
    """

    reference: dict[str, str]
    index: int | None
    reason: str = ""


def scan_name(entities: Mapping[str, str]) -> str:
    """``sub-01_ses-1_run-1`` of a scan's entities."""
    return join_name(entities, "").rstrip("_")


def match_scans(references: Sequence[Mapping[str, str]], candidates: Sequence[Mapping[str, str]]) -> list[Match]:
    """Match scans by their entities.

    Equal entities match; else those that contradict each other nowhere (a run named on one side only), if there is
    exactly one such candidate and no other reference could have it.

    Parameters
    ----------
    references, candidates : sequence of mapping of str to str

    Returns
    -------
    list of Match
        In the order of the references.
    """
    fitting = [[i for i, c in enumerate(candidates) if _agree(r, c)] for r in references]
    equal = [[i for i in fit if dict(candidates[i]) == dict(r)] for r, fit in zip(references, fitting, strict=True)]
    taken = {fit[0] for fit in equal if fit}
    wanted = [[i for i in fit if i not in taken] for fit in fitting]
    matches = []
    for n, reference in enumerate(references):
        index, reason = None, "no file for this scan"
        if equal[n]:
            index, reason = equal[n][0], ""
        elif len(wanted[n]) > 1:
            reason = f"several files fit: {shorten(scan_name(candidates[i]) for i in wanted[n])}"
        elif wanted[n]:
            only = wanted[n][0]
            rivals = [scan_name(r) for m, r in enumerate(references) if m != n and not equal[m] and only in wanted[m]]
            index, reason = (None, f"one file fits this scan and {shorten(rivals)}") if rivals else (only, "")
        matches.append(Match(dict(reference), index, reason))
    return matches


def _agree(a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    return a.get("sub") == b.get("sub") and all(a[key] == b[key] for key in a.keys() & b.keys())
