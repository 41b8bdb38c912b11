"""Normalisation, the choice of scans, outliers and groups."""

import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids.columns import natural
from bids_hypo.bids.tsv import TableError
from bids_hypo.errors import UsageError
from bids_hypo.stats.groups import choose_groups
from bids_hypo.stats.outliers import acceptance, icv_doubtful, iqr_bounds, mark_outliers
from bids_hypo.stats.table import choose_tested, design_matrix, normalise, samples


def _volumes(whole, icv, left=None):
    whole = np.asarray(whole, dtype=float)
    left = whole / 2 if left is None else np.asarray(left, dtype=float)
    return pd.DataFrame({"volume_mm3": whole, "left_mm3": left, "right_mm3": whole - left,
                         "icv_mm3": np.asarray(icv, dtype=float)})  # fmt: skip


def test_normalised_volume_is_equation_1():
    table = _volumes([800, 900, 850], [1.4e6, 1.6e6, np.nan], left=[410, 450, 425])
    out, mean_icv = normalise(table, pd.Series([True, True, True]))
    assert mean_icv == 1.5e6
    assert out["normalised_mm3"].tolist()[:2] == pytest.approx([800 / 1.4e6 * 1.5e6, 900 / 1.6e6 * 1.5e6])
    assert np.isnan(out["normalised_mm3"][2])
    assert out["ratio"][0] == pytest.approx(800 / 1.4e6)
    assert out["asymmetry_percent"][0] == pytest.approx(100 * 20 / 400)
    assert out["residual_mm3"].isna().all()  # two controls give no slope


def test_residual_method_takes_out_the_slope_of_the_controls():
    icv = np.array([1.3e6, 1.4e6, 1.5e6, 1.6e6])
    table = _volumes([700, 750, 800, 600], icv)  # controls: 0.0005 mm3 per mm3, mean ICV 1.4e6
    out, _ = normalise(table, pd.Series([True, True, True, False]))
    assert out["residual_mm3"].tolist() == pytest.approx([750, 750, 750, 600 - 0.0005 * 0.2e6])


def test_without_any_icv_of_controls_there_is_no_normalised_volume():
    out, mean_icv = normalise(_volumes([800, 900], [np.nan, 1.5e6]), pd.Series([True, False]))
    assert mean_icv is None
    assert out["normalised_mm3"].isna().all()


def _scans(rows):
    columns = ["participant_id", "session_id", "run", "years", "flagged", "not_tested"]
    table = pd.DataFrame(rows, columns=columns)
    table["scan"] = [f"{r[0]}_{r[1]}_{r[2]}" for r in rows]
    table["not_tested"] = table["not_tested"].astype(object)
    return table


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([("a", "ses-10", None, np.nan, False, None), ("a", "ses-2", None, np.nan, False, None)], 1),
        ([("a", "ses-1", None, 2.0, False, None), ("a", "ses-2", None, 0.0, False, None)], 1),
        ([("a", None, "1", np.nan, True, None), ("a", None, "2", np.nan, False, None)], 1),
        ([("a", None, "10", np.nan, False, None), ("a", None, "9", np.nan, False, None)], 1),
        ([("a", "ses-1", None, np.nan, False, "rated bad"), ("a", "ses-2", None, np.nan, True, None)], 1),
        ([("a", "ses-1", None, np.nan, True, None), ("a", "ses-2", None, np.nan, False, None)], 0),
    ],
    ids=["number of the label", "time before label", "no flags first", "number of the run", "not bad", "session first"],
)
def test_one_scan_a_person_by_the_rule(rows, chosen):
    out = choose_tested(_scans(rows))
    assert out["tested"].tolist() == [i == chosen for i in range(len(rows))]
    assert out["not_tested"].notna().tolist() == [i != chosen for i in range(len(rows))]


def test_why_a_scan_is_not_tested():
    rows = [("a", "ses-1", "1", np.nan, False, None), ("a", "ses-1", "2", np.nan, False, None),
            ("a", "ses-2", "1", np.nan, False, None), ("b", "ses-1", "1", np.nan, False, "rated bad")]  # fmt: skip
    out = choose_tested(_scans(rows))
    assert out["not_tested"].tolist()[1:] == ["another scan of the session", "later session", "rated bad"]


def test_natural_order():
    assert sorted(["ses-10", "ses-2", "ses-b", "ses-a"], key=natural) == ["ses-2", "ses-10", "ses-a", "ses-b"]
    assert natural(None) == natural(np.nan) == ()


def test_iqr_bounds_by_hand():
    assert iqr_bounds([1, 2, 3, 4, 5]) == (2 - 3, 4 + 3)
    assert iqr_bounds([1, 2, 3]) is None
    assert iqr_bounds([1, 2, 3, 4, 5, np.nan]) == (-1, 7)


def _grouped():
    table = _volumes([100, 101, 102, 103, 104, 160, 160, 161, 162, 163], np.full(10, 1.0e6))
    table.loc[9, "icv_mm3"] = 2.0e6
    out, _ = normalise(table, pd.Series([True] * 10))
    return out.assign(group=["x"] * 6 + ["y"] * 4, tested=True, flagged=False, icv_doubtful=False, rating=None,
                      participant_id=[f"sub-{i}" for i in range(10)])  # fmt: skip


def test_outliers_are_sought_within_groups():
    out = mark_outliers(_grouped(), "iqr")
    assert out["outlier"].tolist() == [False] * 5 + [True] + [False] * 3 + [True]  # 160 is common in the other group
    assert out["outlier_of"][5] == "volume_mm3;normalised_mm3"
    assert out["outlier_of"][9] == "icv_mm3;normalised_mm3"
    assert not mark_outliers(_grouped(), "none")["outlier"].any()


def test_acceptance_counts():
    table = mark_outliers(_grouped(), "iqr")
    extra = table.iloc[[0]].assign(participant_id="sub-bad", rating="bad", tested=False)
    rows = acceptance(pd.concat([table, extra], ignore_index=True), ["x", "y"]).set_index("group")
    assert rows.loc["x", ["tested", "outliers", "accepted", "rated_bad"]].tolist() == [6, 1, 5, 1]
    assert rows.loc["x", "acceptance_percent"] == pytest.approx(100 * 5 / 7)
    assert rows.loc["y", "acceptance_percent"] == 75


def test_icv_that_differs_within_a_person_is_doubtful():
    table = pd.DataFrame({
        "participant_id": ["a", "a", "b", "b", "c", "c", "c", "d", "e"],
        "icv_mm3": [1.50e6, 1.56e6, 1.50e6, 1.58e6, 1.5e6, 1.5e6, 1.6e6, 1.5e6, np.nan],
        "icv_sd_mm3": [np.nan] * 7 + [0.04e6, np.nan],
    })  # fmt: skip
    assert icv_doubtful(table).tolist() == [False, False, True, True, False, False, True, True, False]


def test_samples():
    table = pd.DataFrame({"flagged": [True, False, False], "outlier": [False, True, False]})
    assert {k: list(v.index) for k, v in samples(table, outliers_removed=True).items()} == {
        "all": [0, 1, 2], "no_outliers": [0, 2], "no_flagged": [1, 2], "no_outliers_no_flagged": [2],
    }  # fmt: skip
    assert set(samples(table, outliers_removed=False)) == {"all", "no_flagged"}


def test_design_matrix_drops_what_adds_nothing():
    table = pd.DataFrame({"age": [50.0, 60, 70, 80], "months": [600.0, 720, 840, 960], "sex": ["F", "F", "F", "M"],
                          "hand": ["R"] * 4})  # fmt: skip
    matrix = design_matrix(table, ["age", "months", "sex", "hand"])
    assert list(matrix) == ["age", "sex: M"]
    assert matrix["age"].tolist() == [-15, -5, 5, 15]
    assert matrix["sex: M"].tolist() == [0, 0, 0, 1]
    assert design_matrix(table, []).shape == (4, 0)


@pytest.mark.parametrize(
    ("labels", "cases", "control", "expected"),
    [
        (["ALS", "CON"], (), None, (("ALS",), "CON")),
        (["HC", "ALS", "PLS"], (), None, (("ALS", "PLS"), "HC")),
        (["HC", "ALS", "PLS"], ("ALS",), None, (("ALS",), "HC")),
        (["a", "b"], (), "a", (("b",), "a")),
        (["control", "hc", "x"], ("control",), None, (("control",), "hc")),
        (["ALS", "Healthy  Control"], ("als",), "healthy control", (("ALS",), "Healthy  Control")),
        (["ALS", "als"], ("als",), "ALS", (("als",), "ALS")),
    ],
)
def test_groups(labels, cases, control, expected):
    groups = choose_groups(labels, cases, control, column="group")
    assert (groups.cases, groups.control) == expected
    assert groups.rule


@pytest.mark.parametrize(
    ("labels", "cases", "control", "error", "words"),
    [
        (["a", "b"], (), None, TableError, "--control"),
        (["control", "HC", "ALS"], (), None, TableError, "more than one"),
        (["ALS", "CON"], ("PLS",), None, TableError, "'ALS' \\(1\\), 'CON' \\(1\\)"),
        (["ALS", "CON"], (), "HC", TableError, "'HC'"),
        (["ALS", "ALS"], (), None, TableError, "at least two groups"),
        (["ALS", "CON"], ("CON",), "CON", UsageError, "different groups"),
        (["ALS", "CON"], ("ALS", "ALS"), "CON", UsageError, "different groups"),
    ],
)
def test_groups_that_cannot_be_settled(labels, cases, control, error, words):
    with pytest.raises(error, match=words):
        choose_groups(labels, cases, control, column="group")


def test_pairs_put_the_controls_second():
    groups = choose_groups(["HC", "A", "B"], (), "HC", column="group")
    assert groups.pairs == [("A", "HC"), ("B", "HC"), ("A", "B")]
