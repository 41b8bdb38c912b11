"""Who is compared with whom: the rule that names the case groups and the control group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bids_hypo.bids.columns import category_key, fold
from bids_hypo.bids.tsv import TableError
from bids_hypo.errors import UsageError, comma_hint

CONTROL_NAMES = frozenset({
    "control", "controls", "con", "cont", "ctrl", "ctl", "hc", "hcs", "healthy", "healthy control",
    "healthy controls", "healthycontrol", "healthy_control", "healthy_controls", "healthy-control", "nc", "normal",
    "hv", "healthy volunteer",
})  # fmt: skip


@dataclass(frozen=True)
class Groups:
    """The groups of a comparison.

    Attributes
    ----------
    cases : tuple of str
        One or more.
    control : str
    left_out : tuple of str
        Levels of the column that take no part.
    rule : str
        How they were found, in a sentence.
    """

    cases: tuple[str, ...]
    control: str
    left_out: tuple[str, ...]
    rule: str

    @property
    def all(self) -> tuple[str, ...]:
        """Cases, then the control group."""
        return (*self.cases, self.control)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every pair: each case group with the controls first, then the case groups with each other."""
        cases = self.cases
        return [(c, self.control) for c in cases] + [(a, b) for i, a in enumerate(cases) for b in cases[i + 1 :]]


def choose_groups(labels: Iterable[str], cases: Sequence[str], control: str | None, *, column: str) -> Groups:
    """Settle the groups, from the command line or from well-known names of control groups.

    Parameters
    ----------
    labels : iterable of str
        The group of every participant.
    cases : sequence of str
        As asked for; empty for all levels but the control. Where no level is written like that, the one that differs
        only in capital letters and spaces is meant.
    control : str or None
        As asked for, in the same way; None looks for exactly one level in `CONTROL_NAMES`.
    column : str
        Named in messages; that of the sex and of the hand have synonyms.

    Raises
    ------
    TableError
        If a level asked for does not exist, there is only one, or no control group can be recognised.
    UsageError
        If a level is both case and control, or named twice.
    """
    counts = Counter(labels)
    there = f"There are: {_list(counts)}."
    cases = [_meant(label, counts, column) for label in cases]
    control = None if control is None else _meant(control, counts, column)
    if len(set(cases)) < len(cases) or control in cases:
        raise UsageError(f"--case {' '.join(cases)} --control {control}: expected different groups. {there}")
    if len(counts) < 2:
        raise TableError(f"column {column}: expected at least two groups to compare. {there}")
    if control is None:
        control = _recognised_control(counts, cases, column)
        rule = f"The control group is '{control}', recognised by its name; "
    else:
        rule = f"The control group is '{control}', as asked for; "
    others = sorted(set(counts) - {control})
    chosen = tuple(cases) or tuple(others)
    rule += "the case groups were named on the command line." if cases else "all other groups are cases."
    return Groups(chosen, control, tuple(x for x in others if x not in chosen), rule)


def _meant(label: str, counts: Counter[str], column: str) -> str:
    """The level that is written like this, or else the one that differs only in its spelling."""
    alike = [level for level in counts if category_key(level, column) == category_key(label, column)]
    if label not in counts and len(alike) != 1:
        why = f"it could be {' or '.join(sorted(alike))}" if alike else f"There are: {_list(counts)}"
        text = f"column {column}: no participant with a scan has the group '{label}'. {why}."
        raise TableError(text + comma_hint([label]))
    return label if label in counts else alike[0]


def _recognised_control(counts: Counter[str], cases: Sequence[str], column: str) -> str:
    known = [label for label in counts if fold(label) in CONTROL_NAMES and label not in cases]
    if len(known) != 1:
        found = f"more than one ({', '.join(sorted(known))})" if known else "none"
        raise TableError(
            f"column {column}: looked for one level with the name of a control group (control, CON, HC, healthy ...), "
            f"found {found}. Name it with --control. There are: {_list(counts)}."
        )
    return known[0]


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"'{label}' ({n})" for label, n in sorted(counts.items())) or "none"
