"""Scans joined with what participants.tsv and sessions.tsv say of their people and sessions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bids_hypo.bids.columns import category_key, is_missing
from bids_hypo.bids.entities import shorten
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.tsv import TableError

SESSIONS = "sub-*_sessions.tsv"
NO_GROUP = "no group in participants.tsv"
NOT_LISTED = "not in participants.tsv"
SESSION_NOT_LISTED = "session not in participants.tsv"


@dataclass(frozen=True)
class Joined:
    """Scans with the columns of their people.

    Attributes
    ----------
    table : DataFrame
        The scans with group, the columns that were wanted, acq_time and session_age (text), and not_tested with the
        reason where one is known already.
    origin : dict of str to Series
        For each column that was wanted the file that a value comes from.
    remarks : tuple of str
        Who is in only one of the places, and what was taken from other rows.
    """

    table: pd.DataFrame
    origin: dict[str, pd.Series]
    remarks: tuple[str, ...]


def join_people(
    scans: pd.DataFrame, participants: pd.DataFrame, sessions: pd.DataFrame, columns: Sequence[str],
    selection: Selection, source: Path,
) -> Joined:  # fmt: skip
    """Add what the tables say about the person and the session of each scan.

    What sessions.tsv says comes first. Where participants.tsv has a row for each session and lists a person, but not
    the session of a scan, what all rows of the person have in common counts for it.

    Parameters
    ----------
    scans, participants, sessions : DataFrame
        Text, missing as None; participants with a column ``group``.
    columns : sequence of str
        To be added, beside the group.
    selection : Selection
        People that it leaves out are not reported as lacking results.
    source : Path
        participants.tsv, for messages.

    Raises
    ------
    TableError
        If participants.tsv lists none of the people.
    """
    wanted = list(dict.fromkeys(columns))
    own, session_age = _of_people(scans, participants, ["group", *(c for c in wanted if c in participants)])
    by_session = _of_sessions(scans, sessions, ["acq_time", "age", *wanted])
    table, origin = scans.assign(group=own["group"]), {}
    for name in wanted:
        there = by_session.get(name, pd.Series(None, index=scans.index, dtype=object))
        table[name] = there.where(there.notna(), own.get(name))
        origin[name] = there.notna().map({True: str(source.parent / "sub-*" / SESSIONS), False: str(source)})
    table["acq_time"] = by_session.get("acq_time")
    table["session_age"] = by_session.get("age", session_age)
    reason = pd.Series(None, index=table.index, dtype=object)
    reason[table["group"].isna()] = NO_GROUP
    reason[table["group"].isna() & ~own["session_listed"]] = SESSION_NOT_LISTED
    reason[~own["listed"]] = NOT_LISTED
    table["not_tested"] = reason
    remarks = [*_unmatched(table, participants, selection, source), *_unlisted(table, own, participants),
               *_other_zeros(table, sessions)]  # fmt: skip
    return Joined(table, origin, tuple(remarks))


def _of_people(
    scans: pd.DataFrame, participants: pd.DataFrame, columns: list[str]
) -> tuple[pd.DataFrame, pd.Series | None]:
    """Columns of participants.tsv for each scan, and the age where it is given for each session.

    ``listed`` and ``session_listed`` tell whether the person, and this session of the person, have a row.
    """
    keys = ["participant_id", *(["session_id"] if "session_id" in participants else [])]
    known = participants[list(dict.fromkeys([*keys, *columns]))].assign(session_listed=True)
    own = scans[["participant_id", "session_id"]].merge(known, on=keys, how="left").set_axis(scans.index)
    own["session_listed"] = own["session_listed"].notna()
    own["listed"] = own["participant_id"].isin(participants["participant_id"])
    if "session_id" not in participants:
        return own, None
    age = own.get("age")
    usual = pd.DataFrame(
        {person: {c: _common(rows[c], c) for c in columns} for person, rows in known.groupby("participant_id")},
        dtype=object,
    ).T.reindex(scans["participant_id"]).set_axis(scans.index)  # fmt: skip
    for name in columns:
        lacking = own[name].isna() if name == "group" else ~own["session_listed"]
        own[name] = own[name].where(~lacking, usual[name])
    return own, None if age is None else age.copy()


def _common(values: pd.Series, name: str) -> str | None:
    """The one value that a column has in all rows of a person; None if there is none, or more than one."""
    found = {category_key(text, name): text for text in values if not is_missing(text)}
    return next(iter(found.values())) if len(found) == 1 else None


def _of_sessions(scans: pd.DataFrame, sessions: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    keys = ["participant_id", "session_id"]
    extra = [c for c in dict.fromkeys(columns) if c in sessions]
    return scans[keys].merge(sessions[[*keys, *extra]], on=keys, how="left").set_axis(scans.index)


def _unmatched(table: pd.DataFrame, participants: pd.DataFrame, selection: Selection, source: Path) -> list[str]:
    """Who is in only one of the two places."""
    with_scan, listed = set(table["participant_id"]), set(participants["participant_id"])
    hint = _zeros(with_scan - listed, listed - with_scan, "participants.tsv")
    if not with_scan & listed:
        raise TableError(
            f"{source}: lists none of the participants with results. Listed: {shorten(listed, at_most=5)}; "
            f"with results: {shorten(with_scan, at_most=5)}. {hint or 'Is it the participants.tsv of this dataset?'}"
        )
    remarks = [hint] if hint else []
    unlisted = sorted(with_scan - listed)
    without = sorted(p for p in listed - with_scan if selection.accepts_subject(p.removeprefix("sub-")))
    if unlisted:
        remarks.append(f"{len(unlisted)} participants with results are not in participants.tsv and take no part in any "
                       f"test: {shorten(unlisted)}.")  # fmt: skip
    if without:
        remarks.append(f"{len(without)} participants of participants.tsv have no results: {shorten(without)}.")
    ungrouped = sorted(set(table.loc[table["not_tested"] == NO_GROUP, "participant_id"]))
    if ungrouped:
        remarks.append(f"{len(ungrouped)} participants have no group and are not tested: {shorten(ungrouped)}.")
    return remarks


def _unlisted(table: pd.DataFrame, own: pd.DataFrame, participants: pd.DataFrame) -> list[str]:
    """Sessions that a participants.tsv with a row for each session does not list."""
    unlisted = table[own["listed"] & ~own["session_listed"]]
    if unlisted.empty:
        return []
    names = set(_labels(unlisted))
    told = (
        f"{len(unlisted)} scans of {unlisted['participant_id'].nunique()} participants belong to sessions that "
        f"participants.tsv does not list: {shorten(names)}. What all rows of the person have in common, such as the "
        "group, counts for them too."
    )
    remarks = [told]
    lost = unlisted[unlisted["not_tested"] == SESSION_NOT_LISTED]
    if len(lost):
        remarks.append(
            f"{len(lost)} of them, of {lost['participant_id'].nunique()} participants, are in no test and in no "
            f"analysis of change: the rows of the person name no group, or more than one ({shorten(set(_labels(lost)))}"
            "). Add a row for each session to participants.tsv."
        )
    hint = _zeros(names, set(_labels(participants)), "participants.tsv")
    return [*remarks, hint] if hint else remarks


def _other_zeros(table: pd.DataFrame, sessions: pd.DataFrame) -> list[str]:
    """Sessions that sessions.tsv names with other zeros than the scans."""
    scans, listed = set(_labels(table)), set(_labels(sessions))
    hint = _zeros(scans - listed, listed - scans, SESSIONS)
    return [hint] if hint else []


def _labels(table: pd.DataFrame) -> list[str]:
    """Participant and session of each row."""
    rows = zip(table["participant_id"], table["session_id"], strict=True)
    return [person if pd.isna(session) else f"{person} {session}" for person, session in rows]


def _zeros(lacking: Iterable[str], listed: Iterable[str], file: str) -> str:
    """A sentence about labels that would be the same without leading zeros; empty if there are none."""
    plain = {_without_zeros(label): label for label in sorted(listed)}
    pairs = [f"{plain[key]} for {label}" for label in sorted(lacking) if (key := _without_zeros(label)) in plain]
    if not pairs:
        return ""
    return (f"Labels differ in leading zeros, so they are not the same: {file} has {shorten(pairs, at_most=5)}. "
            "Write them as the scans do.")  # fmt: skip


def _without_zeros(label: str) -> str:
    return re.sub(r"-0+(?=\d)", "-", label)
