"""Years between the sessions of a person, from times or ages, and what speaks against them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from bids_hypo.bids.columns import is_missing, natural
from bids_hypo.bids.entities import image_name, shorten
from bids_hypo.bids.plausible import OLDEST_YEARS, is_age
from bids_hypo.bids.times import EXPECTED_TIME, ScanTime, days_of, read_scan_times
from bids_hypo.bids.tsv import brief

DAYS_PER_YEAR = 365.25
LONGEST_YEARS = 100.0  # between two sessions of a person
_AGE_TOLERANCE = 1.1  # years; ages are often given in whole years
_TIME_TOLERANCE = 1.5  # days; the two tables may differ in the zone
_SHOWN = 5
Times = Mapping[str, Sequence[ScanTime]]  # see read_scan_times


@dataclass
class _Notes:
    """What was noticed, to be told once for all people."""

    unreadable: list[str] = field(default_factory=list)
    about: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def sentences(self) -> list[str]:
        out = []
        if self.unreadable:
            n = len(self.unreadable)
            examples = shorten(self.unreadable, at_most=_SHOWN)
            out.append(f"{n} times cannot be read and are not used: {examples}. {EXPECTED_TIME}")
        told = {text: who for text, who in self.about.items() if who}
        return out + [text.format(n=len(who), who=shorten(who, at_most=_SHOWN)) for text, who in told.items()]


_TOO_LONG = (f"{{n}} participants have sessions more than {LONGEST_YEARS:g} years apart; these times are not used. "
             "Were all sessions of a person shifted alike? {who}.")  # fmt: skip
_NO_TIME = (
    "Change over time leaves out {n} participant(s) with several sessions, because the time of a "
    "session is not known: {who}. Add acq_time for every session in sub-*_sessions.tsv or for every image in "
    "sub-*_scans.tsv, or age in sub-*_sessions.tsv. Their first session is the one with the lowest label."
)
_SAME_TIME = (
    "Change over time leaves out {n} participant(s) whose sessions all have the same time or age: "
    "{who}. Add acq_time, or ages with decimals, in sub-*_sessions.tsv."
)
_AGES = (
    "The ages of {n} participants disagree with the times of their sessions by more than a year; the times are used: "
    "{who}."
)
_TABLES = "acq_time in sessions.tsv and in scans.tsv disagree for {n} sessions; that of sessions.tsv is used: {who}."
_TWICE = "scans.tsv gives {n} images more than one time; the first is used: {who}."
_OTHERS = (
    "scans.tsv of {n} participants without known times gives times of other images than the measured ones, which "
    "do not count: {who}. Check the file names there."
)
_ORDER = (
    "{n} participants have sessions in another order by time than by label; time decides which is the first: {who}."
)
_ODD_AGE = (
    f"{{n}} ages in sub-*_sessions.tsv or participants.tsv are no numbers from 0 to {OLDEST_YEARS:g} and give no time: "
    "{who}."
)


def add_years(table: pd.DataFrame, bids_dir: Path) -> tuple[pd.DataFrame, list[str]]:
    """Add ``years`` between a scan's session and the first session of the same person.

    From acq_time: that of sessions.tsv, where it has none the earliest that scans.tsv gives for the measured images of
    the session. If not all the person's sessions have one, from the ages given for each session (in sessions.tsv, or in
    a participants.tsv with a row for every session); else unknown (NaN). Labels of sessions are never read as times.

    Parameters
    ----------
    table : DataFrame
        Scans with participant_id, session_id, source_file, acq_time and session_age (text, missing as None).
    bids_dir : Path

    Returns
    -------
    table : DataFrame
    remarks : list of str
        Times that cannot be read or contradict each other, and who is left out of the analysis over time, and why.
    """
    sessions = table.groupby("participant_id")["session_id"].nunique()
    several = sorted(sessions[sessions > 1].index)
    times, problems = read_scan_times(bids_dir, several)
    years, notes = pd.Series(np.nan, index=table.index), _Notes()
    for person, rows in table.groupby("participant_id"):
        told = notes if person in several else _Notes()  # nobody needs the time of an only session
        found = _years_of(rows, times, told)
        years[rows.index] = pd.Series([found.get(key, np.nan) for key in _keys(rows)], index=rows.index)
    first = problems[0].removeprefix(f"{bids_dir}/") if problems else ""
    remarks = [f"{len(problems)} tables of scans are not used. First: {first}"] if problems else []
    return table.assign(years=years), remarks + notes.sentences()


def _keys(rows: pd.DataFrame) -> list[str]:
    return ["" if pd.isna(session) else str(session) for session in rows["session_id"]]


def _years_of(rows: pd.DataFrame, times: Times, notes: _Notes) -> dict[str, float]:
    """Years of each session of one person since the first; empty if they are not known."""
    person = str(rows["participant_id"].iloc[0])
    keys = list(dict.fromkeys(_keys(rows)))
    own, of_scans = _session_days(rows, person, notes), _scan_days(rows, times, notes)
    notes.about[_TABLES] += [f"{person} {k}" for k in own.keys() & of_scans.keys()
                             if abs(own[k] - of_scans[k]) > _TIME_TOLERANCE]  # fmt: skip
    by_time = _since_first({k: v / DAYS_PER_YEAR for k, v in (of_scans | own).items()}, keys)
    by_age = _since_first(_ages(rows, person, notes), keys)
    if by_time and max(by_time.values()) > LONGEST_YEARS:
        notes.about[_TOO_LONG].append(person)
        by_time = {}
    if by_time and by_age and max(abs(by_time[k] - by_age[k]) for k in keys) > _AGE_TOLERANCE:
        notes.about[_AGES].append(person)
    years = by_time or by_age
    if len(keys) > 1:
        lacking = [k for k in keys if k not in (of_scans | own)]
        _check(years, keys, lacking, person, notes)
        measured = {image_name(str(source)) for source in rows["source_file"]}
        others = sorted(name for name in times if name.startswith(f"{person}_") and name not in measured)
        if not years and lacking and others:
            notes.about[_OTHERS].append(f"{others[0]} of {times[others[0]][0].file}")
    return years


def _since_first(values: Mapping[str, float], keys: Sequence[str]) -> dict[str, float]:
    """Empty unless all sessions have a value."""
    if not all(key in values for key in keys):
        return {}
    return {key: values[key] - min(values.values()) for key in keys}


def _session_days(rows: pd.DataFrame, person: str, notes: _Notes) -> dict[str, float]:
    """Times in sessions.tsv, in days."""
    out = {}
    for key, text in dict(zip(_keys(rows), rows["acq_time"], strict=True)).items():
        days = None if is_missing(text) else _days(text, f"{person}_sessions.tsv has", key, notes)
        if days is not None:
            out[key] = days
    return out


def _scan_days(rows: pd.DataFrame, times: Times, notes: _Notes) -> dict[str, float]:
    """The earliest times of the measured images of each session in scans.tsv, in days."""
    out: dict[str, float] = {}
    for key, source in zip(_keys(rows), rows["source_file"], strict=True):
        image = image_name(str(source))
        told = [_days(text, f"{file} has", image, notes) for text, file in times.get(image, ())]
        known = [days for days in told if days is not None]
        if known:
            out[key] = min(known[0], out.get(key, known[0]))
        if len(set(known)) > 1:
            notes.about[_TWICE].append(image)
    return out


def _days(text: str, where: str, what: str, notes: _Notes) -> float | None:
    """A time in days; one that cannot be read is noted."""
    days = days_of(text)
    if days is None:
        notes.unreadable.append(f"{where} '{brief(text)}' for {what}")
    return days


def _ages(rows: pd.DataFrame, person: str, notes: _Notes) -> dict[str, float]:
    """Ages of the sessions in years."""
    known = dict(zip(_keys(rows), rows["session_age"], strict=True))
    ages = {key: pd.to_numeric(text, errors="coerce") for key, text in known.items() if not is_missing(text)}
    notes.about[_ODD_AGE] += [f"{person} {k} '{brief(known[k])}'" for k, age in ages.items() if not is_age(age)]
    return {key: float(age) for key, age in ages.items() if is_age(age)}


def labels_have_order(labels: Sequence[str]) -> bool:
    """Whether labels of sessions differ in their numbers only; others, such as pre and post, have no order."""
    return len({re.sub(r"\d+", "0", label) for label in labels}) == 1


def _check(years: Mapping[str, float], keys: Sequence[str], lacking: list[str], person: str, notes: _Notes) -> None:
    """Note why a person with several sessions cannot be followed, or whose labels and times disagree."""
    if not years:
        notes.about[_NO_TIME].append(f"{person} ({', '.join(sorted(lacking)) or 'times not used'})")
        return
    if max(years.values()) == 0:
        notes.about[_SAME_TIME].append(person)
    ordered = [years[key] for key in sorted(keys, key=natural)]
    if labels_have_order(keys) and any(b < a for a, b in pairwise(ordered)):
        notes.about[_ORDER].append(person)
