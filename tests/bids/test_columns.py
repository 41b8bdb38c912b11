"""Spellings of categories, missing values and numbers in the columns of a study."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from bids_hypo.bids.columns import fold_categories, numbers_or_words
from bids_hypo.bids.tsv import TableError

SOURCE = Path("participants.tsv")


@pytest.mark.parametrize(
    ("values", "name", "keep", "expected"),
    [
        (["M", "m", "male", "Male", "MALE", "M", "F", "f", "female", "o", "Other"], "sex", (),
         ["M"] * 6 + ["F"] * 3 + ["Other"] * 2),
        (["F", "f", "f"], "gender", (), ["f"] * 3),
        (["r", "R", "right", "R", "a", "ambidextrous", "L"], "handedness", (), ["R"] * 4 + ["a"] * 2 + ["L"]),
        (["m", "male"], "team", (), ["m", "male"]),
        (["Ulm  A", "ulm a", "Ulm  A", '"Ulm a'], "site", (), ["Ulm  A"] * 4),
        (["NA", "N/A", "unknown", "#N/A", "null", "Nan", "none"], "group", (), [None] * 6 + ["none"]),
        (["ALS", "als", "als"], "group", (), ["als"] * 3),
        (["ALS", "als", "als"], "group", ("ALS",), ["ALS"] * 3),
        (["ALS", "als", "als"], "group", ("ALS", "als"), ["ALS", "als", "als"]),
        (["NA", "na", "x"], "group", ("NA",), ["NA", "NA", "x"]),
        (["1", "1.0", "1", "0.0", "0", "0.0", "01", "10"], "group", (), ["1"] * 3 + ["0.0"] * 3 + ["1", "10"]),
        (["0.0", "0.0", "0", "1.00", "1"], "group", ("0", "1"), ["0"] * 3 + ["1"] * 2),
        (["?", "-", "--", ".", "Missing", "not available", "#VALUE!", "#REF!", "#DIV/0!", "F"], "sex", (),
         [None] * 9 + ["F"]),
        (["+", "-", "?"], "carrier", (), ["+", "-", None]),
    ],
)  # fmt: skip
def test_folding(values, name, keep, expected):
    folding = fold_categories(values, name, keep)
    found = folding.apply(pd.Series(values, dtype=object))
    assert found.where(found.notna(), None).tolist() == expected
    changed = [value for value, became in zip(values, expected, strict=True) if value != became]
    remark = folding.remark(name, Counter(values), "rows")
    assert bool(remark) == bool(changed)
    assert all(f"'{value}' ({values.count(value)} rows)" in remark for value in changed)


def test_a_spelling_of_two_categories_is_told():
    folding = fold_categories(["ALS", "als", "Als"], "group", ("ALS", "als"))
    assert (folding.became, folding.unclear) == ({}, ("Als",))
    assert "'Als' left as it is" in folding.remark("group", Counter(), "rows")


def test_numbers():
    found, told = numbers_or_words(pd.Series(["1", "2.5e1", None, "NA", "none"], dtype=object), "x", SOURCE)
    assert found.tolist()[:2] == [1, 25]
    assert found.isna().tolist() == [False, False, True, True, True]
    assert told == "Column x: 'NA' (1 rows), 'none' (1 rows) taken for missing."


@pytest.mark.parametrize(
    ("values", "must"),
    [
        (["70", "71", "72", "x"], False),
        (["70,5", "71,5", "72,1", "70"], False),
        (["70 kg", "71 kg", "65kg", "80.5 kg"], False),
        (["70", "71", "inf"], False),
        (["89+", "x", "y"], True),
    ],
    ids=["one stray word", "decimal commas", "units", "infinite", "must"],
)
def test_numbers_that_cannot_be_read_are_an_error(values, must):
    with pytest.raises(TableError, match=r"participants\.tsv: column x holds '.*expected numbers"):
        numbers_or_words(pd.Series(values, dtype=object), "x", SOURCE, must=must)


def test_ages_above_a_limit_are_read_as_the_limit():
    found, told = numbers_or_words(pd.Series(["88", "89+", "#REF!"], dtype=object), "age", SOURCE, must=True)
    assert found.tolist()[:2] == [88, 89] and pd.isna(found[2])
    assert told == "Column age: '#REF!' (1 rows) taken for missing; '89+' (1 rows) read as '89'."


def test_the_file_that_holds_the_value_is_named():
    files = pd.Series([Path("participants.tsv"), Path("sub-1_sessions.tsv")])
    with pytest.raises(TableError, match=r"^sub-1_sessions\.tsv: column age holds 'old' in 1 rows"):
        numbers_or_words(pd.Series(["60", "old"], dtype=object), "age", files, must=True)


@pytest.mark.parametrize(
    ("values", "told"),
    [(["a", "b", "a"], False), (["3T", "1.5T", "3T", "3T", "1.5T"], True), (["1", "old", "new", "old"], True)],
)
def test_words_that_look_like_numbers_are_told(values, told):
    column = pd.Series(values, dtype=object)
    found, remark = numbers_or_words(column, "x", SOURCE)
    assert found.tolist() == values
    assert ("it is a category" in remark) == told
