"""The reader and the writer of all tables."""

import json
import logging

import pandas as pd
import pytest

from bids_hypo.bids.dataset import write_described_tsv, write_tsv
from bids_hypo.bids.selection import normalise_labels
from bids_hypo.bids.tsv import LONGEST_FIELD, TableError, formula_like, read_table

TEXT = "participant_id\tgroup\tnote\nsub-01\tALS\tMüller\nsub-02\tCON\tn/a\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "participants.tsv"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-32"),
        TEXT.replace("\n", "\t\t\n").encode(),
        TEXT.replace("\n", "\n\n \t\n").encode(),
        TEXT.rstrip("\n").replace("n/a", "").encode(),
        TEXT.replace("ALS", ' "ALS" ').replace("participant_id", '"participant_id"').encode(),
        ("\t" + TEXT.replace("\n", "\n1\t").removesuffix("1\t")).encode(),
    ],
    ids=["plain", "mark", "CRLF", "CR", "UTF-16", "UTF-32", "tabs at the end", "blank lines", "empty for n/a",
         "whole fields in quotes", "a column of row numbers without a name"],
)  # fmt: skip
def test_what_is_forgiven(path, data):
    path.write_bytes(data)
    table = read_table(path, ("participant_id",))
    assert table.to_dict("list") == {"participant_id": ["sub-01", "sub-02"], "group": ["ALS", "CON"],
                                     "note": ["Müller", None]}  # fmt: skip


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"a\tb\n1\t2\n1\n", "line 3 has 1 fields; the header has 2"),
        (b"a\tb\n\n1\t2\t3\n", "line 3 has 3 fields"),
        (b'a\tb\n1\t"x\ty"\n', "quotes do not help"),
        (b"a\tb\ta\n1\t2\t3\n", "more than one column a"),
        (b"x,y\n1,2\n", "no column a; there are: x,y. .* ',' instead"),
        (b"a\tb\n1\t2\nM\xfcller\t2\n", r"line 3 is not UTF-8 \(byte 0xFC; read as Latin-1 it is 'Müller'\)"),
        ("a\tb\n1\t2\n".encode("utf-16-le"), "UTF-16 without its mark"),
        ("a\tb\n1\t2\n".encode("utf-16") + b"\x00", "is not UTF-16"),
        (b"a\tb\n1\t" + b"x" * (LONGEST_FIELD + 1), f"line 2, column b: a field of {LONGEST_FIELD + 1} characters"),
    ],
)
def test_what_is_told(path, data, words):
    path.write_bytes(data)
    with pytest.raises(TableError, match=rf"participants\.tsv: .*{words}") as error:
        read_table(path, ("a",))
    assert len(str(error.value)) < 500


def test_an_open_quote_swallows_nobody(path, caplog):
    notes = ["x", "x", '"open', *"xxxxxx"]
    path.write_text("participant_id\tnote\n" + "".join(f"sub-{i}\t{note}\n" for i, note in enumerate(notes)))
    with caplog.at_level(logging.WARNING):
        table = read_table(path)
    assert table["participant_id"].tolist() == [f"sub-{i}" for i in range(9)]
    assert table["note"][2] == '"open'
    assert "line 4" in caplog.text


def test_labels_are_never_missing(path):
    path.write_text("participant_id\tx\nsub-NA\tNA\nnan\tnull\n")
    assert read_table(path).to_numpy().tolist() == [["sub-NA", "NA"], ["nan", "null"]]
    assert normalise_labels([str(path)], "sub") == ("NA", "nan")


def test_what_is_written_can_be_read(tmp_path):
    table = pd.DataFrame({"a\tb": ["x\ty", 'say "x"', '"', "", None, " z\r\n"], "n": [1.5, None, 2.0, 3.0, 4.0, 5.0]})
    write_tsv(tmp_path / "x.tsv", table)
    found = read_table(tmp_path / "x.tsv")
    assert found.to_dict("list") == {"a b": ["x y", 'say "x"', '"', None, None, "z"],
                                     "n": ["1.5", None, "2.0", "3.0", "4.0", "5.0"]}  # fmt: skip


def test_a_list_of_labels_is_read_like_a_table(path):
    path.write_bytes("age\tparticipant_id\n50\tsub-01\n60\t02\n".encode("utf-16"))
    assert normalise_labels([str(path)], "sub") == ("01", "02")
    path.write_text("participant_id\tage\nsub-01\n")
    with pytest.raises(TableError, match="line 2 has 1 fields"):
        normalise_labels([str(path)], "sub")


def test_cells_that_a_spreadsheet_takes_for_formulas_stay_as_they_are_and_are_marked(tmp_path, caplog):
    table = pd.DataFrame({
        "group": ["=cmd|' /C calc'!A0", "+1 a", "@SUM(A1)", "control", None],
        "change": ["-1.5", "+2", "-3e-2", "n/a", "0"],
        "mm3": [-1.0, 2.0, -3.0, 4.0, 5.0],
        "-note": ["a-b", "x=1", "\t=tab", "\r-cr", "a@b"],
    })  # fmt: skip
    assert formula_like(table) == {"group": 3, "-note": 3}
    columns = {str(name): {"Description": "x"} for name in table}
    write_described_tsv(tmp_path / "t.tsv", table, columns)
    assert read_table(tmp_path / "t.tsv")["group"].tolist()[:4] == table["group"].tolist()[:4]
    content = json.loads((tmp_path / "t.json").read_text())
    assert {k: v.get("FormulaLikeCells") for k, v in content.items()} == {
        "group": 3, "change": None, "mm3": None, "-note": 3}  # fmt: skip
    assert "6 cells (in group, -note) begin with" in caplog.text
