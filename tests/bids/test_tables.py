"""Reading the tables of a study: volumes, participants, sessions, ratings."""

import json

import pandas as pd
import pytest

from bids_hypo.bids.people import read_levels, read_participants, read_sessions
from bids_hypo.bids.ratings import read_ratings
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.tables import read_volumes
from bids_hypo.bids.tsv import TableError
from bids_hypo.errors import NoInputError, NothingSelectedError
from tests.group_cohorts import add_scan, write_participants


@pytest.fixture
def folders(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    add_scan(raw, out, "sub-01", 800, 1.5e6)
    add_scan(raw, out, "sub-02_ses-1_run-2", 700, None, ["asymmetric"], left=400, icv_flags=["skull_stripped"])
    return raw, out


def test_volumes_of_every_scan(folders):
    _, out = folders
    (out / "sub-01.html").write_text("page")
    found = read_volumes(out, Selection())
    first, second = found.table.to_dict("records")
    assert found.problems == ()
    assert first["source_file"] == "sub-01/anat/sub-01_T1w.nii.gz"
    assert (first["volume_mm3"], first["icv_mm3"], first["flags"]) == (800, 1.5e6, ())
    assert first["report"] == "sub-01.html"
    assert pd.isna(second["report"])
    assert second["source_file"] == "sub-02/ses-1/anat/sub-02_ses-1_run-2_T1w.nii.gz"
    assert (second["participant_id"], second["session_id"], second["run"]) == ("sub-02", "ses-1", "2")
    assert (second["left_mm3"], second["right_mm3"]) == (400, 300)
    assert pd.isna(second["icv_mm3"])
    assert second["flags"] == ("asymmetric", "skull_stripped")
    assert second["models"] == "anatomy 1.0.0; hypothalamus 1.0.0"


def test_selection(folders):
    _, out = folders
    chosen = read_volumes(out, Selection(session_labels=("1",))).table
    assert chosen["participant_id"].tolist() == ["sub-02"]
    told = read_volumes(out, Selection(participant_labels=("2", "02"), session_labels=("1", "9"))).unmatched
    assert "participants asked for: 2. There are 01, 02. Did you mean 02 for 2?" in told[0]
    assert "sessions asked for: 9. There are 1." in told[1] and len(told) == 2
    with pytest.raises(NothingSelectedError, match="sub-01, sub-02"):
        read_volumes(out, Selection(participant_labels=("77",)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("structure\themisphere\tvolume_mm3\nhypothalamus\tL\tmany\n", "many"),
        ("structure\themisphere\tvolume_mm3\nhypothalamus\tL\t-5\n", "-5"),
        ("structure\themisphere\tvolume_mm3\nICV\tB\t1500000\n", "no volume of a structure"),
        ("a\tb\n1\t2\n", "structure"),
    ],
)
def test_a_broken_table_is_left_out_and_named(folders, text, words):
    raw, out = folders
    path = add_scan(raw, out, "sub-03", 800, 1.5e6)
    path.write_text(text)
    found = read_volumes(out, Selection())
    assert len(found.table) == 2
    assert path.name in found.problems[0]
    assert words in found.problems[0]


def test_a_table_changed_after_it_was_written_is_flagged_and_told(folders, caplog):
    raw, out = folders
    path = add_scan(raw, out, "sub-03", 800, 1.5e6, ["asymmetric"])
    assert not caplog.records
    path.write_text(path.read_text().replace("1500000", "1600000"))
    rows = {row["scan"]: row for row in read_volumes(out, Selection()).table.to_dict("records")}
    assert rows["sub-03_T1w"]["icv_mm3"] == 1.6e6
    assert rows["sub-03_T1w"]["flags"] == ("asymmetric", "table_changed")
    assert rows["sub-01_T1w"]["flags"] == ()
    (told,) = caplog.messages
    assert str(path) in told and "Run participant level again" in told


def test_tables_of_earlier_versions_have_no_checksum_to_compare_with(folders, caplog):
    raw, out = folders
    path = add_scan(raw, out, "sub-03", 800, 1.5e6)
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(record | {"Files": list(record["Files"])}))
    path.write_text(path.read_text() + "\n")
    assert read_volumes(out, Selection()).table["flags"].tolist()[-1] == () and not caplog.records


def test_an_unfinished_scan_is_left_out(folders):
    raw, out = folders
    path = add_scan(raw, out, "sub-03", 800, 1.5e6)
    path.with_suffix(".json").unlink()
    assert "not finished" in read_volumes(out, Selection()).problems[0]


def test_no_results(tmp_path, folders):
    with pytest.raises(NoInputError, match="participant level first"):
        read_volumes(tmp_path / "nowhere", Selection())
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoInputError, match="morph"):
        read_volumes(tmp_path / "empty", Selection())
    for path in folders[1].rglob("*.json"):
        path.unlink()
    with pytest.raises(TableError, match="none of 2"):
        read_volumes(folders[1], Selection())


def test_participants(tmp_path):
    write_participants(tmp_path, [{"participant_id": "sub-01", "age": 60, "group": "ALS"},
                                  {"participant_id": "02", "age": None, "group": "CON"}])  # fmt: skip
    table = read_participants(tmp_path)
    assert table["participant_id"].tolist() == ["sub-01", "sub-02"]
    assert table["age"].isna().tolist() == [False, True]


def test_participants_twice(tmp_path):
    rows = [{"participant_id": "sub-01", "session_id": s} for s in ("ses-1", "2", "1")]
    write_participants(tmp_path, rows[:2])
    assert len(read_participants(tmp_path)) == 2  # a row for every session is allowed
    write_participants(tmp_path, rows)
    with pytest.raises(TableError, match="sub-01 ses-1"):
        read_participants(tmp_path)


def test_no_participants_file(tmp_path):
    with pytest.raises(NoInputError, match=r"participants\.tsv"):
        read_participants(tmp_path)
    (tmp_path / "participants.tsv").write_text("id,group\nsub-01,ALS\n")
    with pytest.raises(TableError, match="separated by tabs"):
        read_participants(tmp_path)
    (tmp_path / "participants.tsv").write_text("")
    with pytest.raises(TableError, match="cannot be read"):
        read_participants(tmp_path)


def test_sessions(tmp_path):
    (tmp_path / "sub-01").mkdir()
    path = tmp_path / "sub-01" / "sub-01_sessions.tsv"
    path.write_text("session_id\tacq_time\nses-1\t2020-01-01\n2\tn/a\n")
    table = read_sessions(tmp_path, ["sub-01", "sub-02"])
    assert table["session_id"].tolist() == ["ses-1", "ses-2"]
    assert table["acq_time"].isna().tolist() == [False, True]
    path.write_text("session_id\nses-1\n1\n")
    with pytest.raises(TableError, match="listed twice"):
        read_sessions(tmp_path, ["sub-01"])
    assert read_sessions(tmp_path, ["sub-02"]).empty


def test_levels(tmp_path):
    assert read_levels(tmp_path) == {}
    (tmp_path / "participants.json").write_text(json.dumps({"a": {"Levels": {"1": "x"}}, "b": {"Units": "year"}}))
    assert read_levels(tmp_path) == {"a": {"1"}}


def test_ratings(tmp_path):
    path = tmp_path / "ratings.tsv"
    path.write_text(
        "source_file\trating\tnote\nsub-01/anat/x.nii.gz\tBad\tmotion\nbids:raw:y.nii.gz\tgood\tn/a\nz\tn/a\t\n"
    )
    table = read_ratings(path)
    assert table["rating"].tolist() == ["bad", "good"]
    assert table["image"].tolist() == ["x", "y"]
    path.write_text("source_file\trating\nx\tawful\n")
    with pytest.raises(TableError, match="awful"):
        read_ratings(path)
    path.write_text("source_file\trating\nx\tgood\n./x.nii\tbad\n")
    with pytest.raises(TableError, match="two different ratings"):
        read_ratings(path)
    path.write_text("source_file\trating\nx\tgood\n\nn/a\tbad\n")
    with pytest.raises(TableError, match="line 4 has a rating and no source_file"):
        read_ratings(path)
    path.write_text("source_file\trating\nx\tgood\nx\tgood\n")
    assert len(read_ratings(path)) == 1
    with pytest.raises(NoInputError):
        read_ratings(tmp_path / "none.tsv")


def test_a_scan_without_a_volume_is_left_out_and_told_but_has_a_page(folders):
    _, out = folders
    table = sorted(out.glob("sub-*/**/*_morph.tsv"))[0]
    lines = [line.split("\t") for line in table.read_text().splitlines()]
    at, name = lines[0].index("volume_mm3"), lines[1][0]
    for line in lines[1:]:
        line[at] = "n/a" if line[0] == name else line[at]
    table.write_text("".join("\t".join(line) + "\n" for line in lines))
    found = read_volumes(out, Selection())
    assert any(str(table) in problem and "gives no" in problem for problem in found.problems)
    every = read_volumes(out, Selection(), with_missing=True)
    assert every.problems == () and len(every.table) > len(found.table)
    assert every.table["volume_mm3"].isna().sum() == len(every.table) - len(found.table)
