"""Tables of clinical scores."""

import numpy as np
import pytest

from bids_hypo.bids.scores import read_scores
from bids_hypo.bids.tsv import TableError
from bids_hypo.errors import NoInputError, UsageError

TABLE = """participant_id\tage\tsex\tEDSS\tnote
sub-01\t30\tf\t1.5\tx
02\t40\tm\tn/a\ty
sub-03\t50\tf\t6\tn/a
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "scores.tsv").write_text(TABLE)
    return tmp_path / "scores.tsv"


def test_columns_of_numbers_are_scores(path):
    scores = read_scores(path)
    assert scores.names == ("age", "EDSS") and scores.left_out == ("sex", "note")
    assert list(scores.table["sub"]) == ["01", "02", "03"] and not scores.has_sessions
    assert np.isnan(scores.table["EDSS"][1])


def test_chosen_scores_and_covariates(path):
    scores = read_scores(path, ["EDSS"], ["age", "sex"])
    assert scores.names == ("EDSS",)
    assert scores.table["age"].dtype == float or scores.table["age"].dtype == int
    assert list(scores.table["sex"]) == ["f", "m", "f"]
    assert read_scores(path, covariates=["age"]).names == ("EDSS",)


def test_sessions(tmp_path):
    (tmp_path / "s.tsv").write_text("participant_id\tsession_id\tEDSS\nsub-01\tses-1\t1\nsub-01\tses-2\t2\n")
    scores = read_scores(tmp_path / "s.tsv")
    assert scores.has_sessions and list(scores.table["ses"]) == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "names", "covariates", "error", "message"),
    [
        (TABLE, ["ALSFRS"], [], UsageError, "no column ALSFRS; there are EDSS, age"),
        (TABLE, ["note"], [], TableError, "note holds 'x', 'y'"),
        (TABLE, None, ["site"], UsageError, "no column site"),
        (TABLE + "sub-01\t1\tf\t1\tz\n", None, [], UsageError, "01 come"),
        ("id\tEDSS\n1\t2\n", None, [], UsageError, "participant_id"),
        ("participant_id\tsex\nsub-01\tf\n", None, [], UsageError, "no column of scores"),
        (TABLE + "n/a\t1\tf\t1\tz\n\t1\tf\t1\tz\n", None, [], TableError, "2 rows have no participant_id"),
        (None, None, [], NoInputError, "absent.tsv"),
    ],
)
def test_tables_that_cannot_be_used(text, names, covariates, error, message, tmp_path):
    path = tmp_path / ("absent.tsv" if text is None else "s.tsv")
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=message):
        read_scores(path, names, covariates)


def test_ages_that_nobody_has_are_missing_and_numbers_far_off_are_told(tmp_path, caplog):
    values = zip([999, *range(60, 66), "89+"], [*range(7), 500], strict=True)
    lines = [f"sub-{k}\t{age}\t{score}\n" for k, (age, score) in enumerate(values)]
    (tmp_path / "s.tsv").write_text("participant_id\tage\tEDSS\n" + "".join(lines))
    table = read_scores(tmp_path / "s.tsv", covariates=["age"]).table
    assert table["age"].isna().sum() == 1 and table["age"].max() == 89
    assert "Column age of s.tsv: 999 (sub-0) taken for missing" in caplog.text
    assert "Column EDSS: 500 (sub-7) lies more than 6" in caplog.text
