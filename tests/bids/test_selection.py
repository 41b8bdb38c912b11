"""Labels and filter files as users write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bids_hypo.bids import Selection, normalise_labels, read_filter_file
from bids_hypo.bids.entities import join_name, split_name
from bids_hypo.bids.unmatched import unmatched
from bids_hypo.errors import NoInputError, UsageError


@pytest.mark.parametrize(
    ("values", "prefix", "expected"),
    [
        (None, "sub", ()),
        (["01", "sub-02"], "sub", ("01", "02")),
        (["sub-01", "01"], "sub-", ("01",)),
        (["ses-pre", "post"], "ses", ("pre", "post")),
        (["run-01", "1"], "run", ("01", "1")),
        (["acq-mprage+x"], "acq", ("mprage+x",)),
        (["01,sub-02", "03,", "01"], "sub", ("01", "02", "03")),
        (["ses-1,ses-2"], "ses", ("1", "2")),
    ],
)
def test_prefix_is_optional(values: list[str] | None, prefix: str, expected: tuple[str, ...]) -> None:
    assert normalise_labels(values, prefix) == expected


@pytest.mark.parametrize(
    "text",
    [
        "01\nsub-02\n",
        "\ufeff01\r\n02\r\n",
        "# chosen\n01\n\n  sub-02  \n01\n",
        "participant_id\tage\nsub-01\t3\n02\t4",
        "sub-01 sub-02\n",
        "01\t02\n",
        "01, 02\n",
        "participant_id\n01 # old\n02",
        "participant_id\n01 02",
        "participant_id age\n01 3.5\n02 n/a",
    ],
)
def test_labels_from_a_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    assert normalise_labels([str(path)], "sub") == ("01", "02")


@pytest.mark.parametrize(
    ("value", "prefix", "error", "said"),
    [
        ("a_b", "sub", UsageError, "'a_b'"),
        ("", "sub", UsageError, "not a BIDS label"),
        ("ses-01", "sub", UsageError, "'ses-01'"),
        ("absent.txt", "sub", NoInputError, "absent.txt"),
        ("labels.txt", "ses", UsageError, "labels.txt"),
        ("01,a_b", "sub", UsageError, "'a_b'"),
        (",", "sub", UsageError, "','"),
        ("01,absent.txt", "sub", NoInputError, "absent.txt"),
    ],
)
def test_bad_labels(value: str, prefix: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        normalise_labels([value], prefix)


def test_a_file_whose_name_has_a_comma(tmp_path: Path) -> None:
    (tmp_path / "a,b.txt").write_text("01\n")
    (tmp_path / "c.txt").write_text("02\n")
    assert normalise_labels([str(tmp_path / "a,b.txt")], "sub") == ("01",)
    assert normalise_labels([f"{tmp_path / 'c.txt'},03"], "sub") == ("02", "03")


@pytest.mark.parametrize(
    ("text", "said"),
    [("", ""), ("# nothing\n", ""), ("01\nsub_02\n", ", line 2,"), ("01\n02 3.5\n", "'3.5' in .* line 2,")],
)
def test_bad_label_files(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"(?=.*list\.txt).*{said}"):
        normalise_labels([str(path)], "sub")


def test_filter_file_gives_its_t1w_entry(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "filter.json"
    entry = {"datatype": "anat", "suffix": "T1w", "session": "02", "acquisition": None, "run": [1, 2]}
    path.write_text(json.dumps({"t1w": entry, "bold": {"task": "rest", "nonsense": 1}}))
    assert read_filter_file(path) == entry
    path.write_text('{"bold": {}}')
    assert read_filter_file(path) == {}
    assert "filters nothing here, it has no entry 't1w' but 'bold'" in caplog.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "expected an object"),
        ({"t1w": "x"}, "expected an object"),
        ({"T1w": {"session": "1"}}, "found the entry 'T1w'; expected 't1w'"),
        ({"t1w": {"sesion": "1"}}, "'sesion' is not an entity"),
        ({"t1w": {"suffix": "T2w"}}, "reads only 'T1w' and 'UNIT1'"),
        ({"t1w": {"session": {"a": 1}}}, "'session' is"),
        ({"t1w": {"session": "ses-1"}}, "without its prefix"),
        ({"t1w": {"session": "1,2"}}, "Give a list"),
    ],
)
def test_bad_filter_files(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "filter.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=said) as caught:
        read_filter_file(path)
    assert str(path) in str(caught.value)


def test_unreadable_filter_files(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="none"):
        read_filter_file(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UsageError, match="broken"):
        read_filter_file(tmp_path / "broken.json")


def test_selection_takes_lists_and_nothing() -> None:
    selection = Selection(participant_labels=["01"], session_labels=None, filters=None)  # type: ignore[arg-type]
    assert selection == Selection(participant_labels=("01",))


@pytest.mark.parametrize(
    "name", ["sub-01_T1w.nii.gz", "sub-01_ses-1_task-x_acq-a_ce-b_rec-c_run-01_echo-2_part-mag_chunk-3_T1w.nii"]
)
def test_names_survive_a_round_trip(name: str) -> None:
    entities, suffix, extension = split_name(name)
    assert join_name(entities, suffix) + extension == name


@pytest.mark.parametrize("name", ["sub-01_T1w_.nii", "sub-01_x_T1w.nii", "sub-01_run-_T1w.nii", "sub-1_sub-2_T1w.nii"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ValueError, match=r"not|twice"):
        split_name(name)


def test_labels_that_nothing_has_are_named_with_what_may_be_meant() -> None:
    found = [{"sub": "01", "ses": "1", "run": "02"}, {"sub": "02", "ses": "pre"}]
    selection = Selection(("01", "2", "77"), ("01", "1", "pre"), ("2", "3"), filters={"acquisition": ["a", None]})
    sub, ses, run, acq = unmatched(selection, found, "data")
    assert sub == ("data: no scan for 2 of the participants asked for: 2, 77. There are 01, 02. Did you mean 02 for 2?")
    assert "2 of the sessions asked for: 01, pre. There are 1. Did you mean 1 for 01?" in ses
    assert "1 of the runs asked for: 3. There are 02." in run and "acquisitions asked for: a. There are none." in acq
    assert unmatched(Selection(("01",), ("1",), ("2",)), found, "data") == []
