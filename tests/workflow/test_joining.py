"""Scans joined with people and sessions: what the rows of a participants.tsv with sessions say of the others."""

import pytest

from bids_hypo.bids.tsv import TableError
from bids_hypo.stats.analysis import followed
from bids_hypo.stats.groups import choose_groups
from bids_hypo.workflow.cohort import load_cohort
from bids_hypo.workflow.group import prepare_table
from bids_hypo.workflow.group_options import GroupOptions
from tests.group_cohorts import add_scan, write_participants

ALL = ("ses-1", "ses-2", "ses-10")


@pytest.fixture
def three_sessions(tmp_path):
    """Four people with three sessions at known times; returns what writes participants.tsv and reads it."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    for i in range(4):
        folder = raw / f"sub-{i}"
        folder.mkdir(parents=True)
        lines = [f"{session}\t{2010 + k}-03-04\n" for k, session in enumerate(ALL)]
        (folder / f"sub-{i}_sessions.tsv").write_text("session_id\tacq_time\n" + "".join(lines))
        for k, session in enumerate(ALL):
            add_scan(raw, out, f"sub-{i}_{session}", 800 + 10 * i - k, 1.5e6)

    def write(sessions, **changes):
        rows = [{"participant_id": f"sub-{i}", "session_id": session, "group": "ALS" if i < 2 else "CON", "sex": "F",
                 "age": 60 + i} for i in range(4) for session in sessions(i)]  # fmt: skip
        write_participants(raw, [row | changes.get(row["session_id"], {}) for row in rows])
        return load_cohort(GroupOptions(raw, out))

    return write


def _followed(cohort):
    groups = choose_groups(cohort.table["group"].dropna(), (), None, column="group")
    table, _ = prepare_table(cohort.table, groups, GroupOptions(None, None))
    return followed(table).groupby("group")["participant_id"].nunique().to_dict(), table


@pytest.mark.parametrize(
    ("sessions", "said"),
    [
        (lambda i: ALL, ()),
        (lambda i: ["ses-1"], ("8 scans of 4 participants belong to sessions that participants.tsv does not list",)),
        (lambda i: ["ses-1"] if i else ALL, ("6 scans of 3 participants", "sub-1 ses-10")),
        (lambda i: ["ses-01", "ses-02", "ses-10"], ("8 scans of 4", "sub-0 ses-01 for sub-0 ses-1")),
        (lambda i: [None], ()),
    ],
    ids=["all", "the first", "some", "leading zeros", "none named"],
)
def test_sessions_that_are_not_listed_keep_their_person(three_sessions, sessions, said):
    cohort = three_sessions(sessions)
    people, table = _followed(cohort)
    assert people == {"ALS": 2, "CON": 2}
    assert set(table.loc[table["tested"], "session_id"]) == {"ses-1"}
    assert table["age"].tolist() == [60] * 3 + [61] * 3 + [62] * 3 + [63] * 3
    assert all(any(words in remark for remark in cohort.remarks) for words in said)
    assert any("not list" in r for r in cohort.remarks) == bool(said)


def test_what_differs_between_the_rows_of_a_person_is_not_guessed(three_sessions):
    cohort = three_sessions(lambda i: ALL[:2], **{"ses-2": {"group": "PLS", "age": 70}})
    rest = cohort.table[cohort.table["session_id"] == "ses-10"]
    assert set(rest["not_tested"]) == {"session not in participants.tsv"} and rest["age"].isna().all()
    assert any("4 of them, of 4 participants, are in no test and in no analysis of change" in r for r in cohort.remarks)


def test_a_group_that_only_one_row_of_a_person_names_counts_for_all(three_sessions):
    cohort = three_sessions(lambda i: ALL, **{"ses-2": {"group": None}, "ses-10": {"group": None}})
    assert cohort.table["not_tested"].isna().all()


def test_zeros_that_keep_everybody_out_are_in_the_message(tmp_path):
    add_scan(tmp_path / "raw", tmp_path / "out", "sub-1", 800, 1.5e6)
    write_participants(tmp_path / "raw", [{"participant_id": "sub-001", "group": "ALS"}])
    with pytest.raises(TableError, match=r"participants\.tsv has sub-001 for sub-1"):
        load_cohort(GroupOptions(tmp_path / "raw", tmp_path / "out"))
