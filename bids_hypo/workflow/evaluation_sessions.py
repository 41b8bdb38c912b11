"""Which session of a person is the first: by time where that is known, else by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bids_hypo.bids.columns import is_missing, natural
from bids_hypo.bids.entities import T1_SUFFIXES, shorten, split_name
from bids_hypo.bids.people import read_sessions
from bids_hypo.bids.times import days_of, read_scan_times
from bids_hypo.workflow.session_times import labels_have_order

_SHOWN = 5
Days = Mapping[tuple[str, str], float]  # by subject and session, without prefix


def days_of_dataset(bids_dir: Path, subjects: Sequence[str]) -> dict[tuple[str, str], float]:
    """Times of sessions in days: of sessions.tsv, where it has none the earliest of an image to measure in scans.tsv.

    Parameters
    ----------
    bids_dir : Path
    subjects : sequence of str
        Without ``sub-``.

    Returns
    -------
    dict of (str, str) to float
        By subject and session, without prefix; only those that have a time.
    """
    people = [f"sub-{label}" for label in subjects]
    of_scans: dict[tuple[str, str], float] = {}
    for image, times_of_image in read_scan_times(bids_dir, people)[0].items():
        days = days_of(times_of_image[0].text)
        try:
            entities, suffix, _ = split_name(image)
        except ValueError:
            continue
        if days is not None and suffix in T1_SUFFIXES and "ses" in entities:
            key = (entities["sub"], entities["ses"])
            of_scans[key] = min(days, of_scans.get(key, days))
    sessions = read_sessions(bids_dir, people)
    times = sessions.get("acq_time", pd.Series(None, index=sessions.index, dtype=object))
    own = {
        (person.removeprefix("sub-"), str(session).removeprefix("ses-")): None if is_missing(text) else days_of(text)
        for person, session, text in zip(sessions["participant_id"], sessions["session_id"], times, strict=True)
    }
    return of_scans | {key: days for key, days in own.items() if days is not None}


def in_order(table: pd.DataFrame, days: Days) -> pd.DataFrame:
    """Rows by person and session: by time if all sessions of the person have one, else by label, 2 before 10.

    Parameters
    ----------
    table : DataFrame
        With ``sub`` and ``ses``.
    days : Days
    """
    timed = {sub: all((sub, ses) in days for ses in sessions) for sub, sessions in table.groupby("sub")["ses"]}

    def rank(row: tuple) -> tuple:
        _, sub, ses = row
        return (sub, days[sub, ses] if timed[sub] else 0.0, natural(ses))

    rows = sorted(zip(table.index, table["sub"], table["ses"], strict=True), key=rank)
    return table.loc[[index for index, _, _ in rows]]


def order_remarks(sessions: pd.DataFrame, days: Days) -> list[str]:
    """What a reader has to know about the order of sessions.

    Parameters
    ----------
    sessions : DataFrame
        One row a session, with ``sub`` and ``ses``.
    days : Days
    """
    by_label: dict[str, list[str]] = {}
    by_time = []
    for sub, rows in sessions.groupby("sub"):
        ordered = list(in_order(rows, days)["ses"])
        timed = all((sub, ses) in days for ses in ordered)
        if timed and ordered != sorted(ordered, key=natural):
            by_time.append(f"sub-{sub}")
        elif not timed and len(ordered) > 1 and not labels_have_order(ordered):
            by_label.setdefault(", ".join(ordered), []).append(f"sub-{sub}")
    remarks = [
        f"The labels of sessions tell no order and not all have a time: {labels} of {len(people)} participants "
        f"({shorten(people, at_most=_SHOWN)}) are taken by alphabet, so {labels.split(', ')[0]} is the first. "
        "If that is wrong, changes have the wrong sign: give each session an acq_time, in SCORES.tsv or in the "
        "sub-*_sessions.tsv of --images."
        for labels, people in by_label.items()
    ]
    if by_time:
        remarks.append(f"{len(by_time)} participants have sessions in another order by time than by label; time "
                       f"decides which is the first: {shorten(by_time, at_most=_SHOWN)}.")  # fmt: skip
    return remarks
