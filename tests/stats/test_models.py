"""Linear and mixed models, correlations and change over time, against data made to have the answer."""

import numpy as np
import pandas as pd
import pytest

from bids_hypo.stats.ancova import ancova
from bids_hypo.stats.association import PEARSON, SPEARMAN, associate
from bids_hypo.stats.longitudinal import change_over_time, choose_repeated
from bids_hypo.stats.mixed import fit_mixed, site_model

PAIR = ("ALS", "CON")


def _exact(seed=0, n=40):
    """Values whose residuals are orthogonal to the model, so that its coefficients are known exactly."""
    rng = np.random.default_rng(seed)
    group = np.repeat(PAIR, n // 2)
    age = rng.normal(60, 9, n)
    sex = np.where(rng.random(n) < 0.5, "F", "M")
    design = np.column_stack([np.ones(n), group == "ALS", age, sex == "M"]).astype(float)
    noise = rng.normal(0, 30, n)
    noise -= design @ np.linalg.lstsq(design, noise, rcond=None)[0]
    value = design @ [1000, -40, -3, 25] + noise
    return pd.DataFrame({"group": group, "age": age, "sex": sex, "v": value}), noise, design


def test_ancova_finds_the_coefficients_and_their_errors():
    table, noise, design = _exact()
    rows = {r.term: r for r in ancova(table, "v", PAIR, ["age", "sex"])}
    group, age = rows["group"], rows["age"]
    assert (group.estimate, age.estimate) == pytest.approx((-40, -3))
    assert group.df == 36
    error = np.sqrt((noise @ noise / 36) * np.linalg.inv(design.T @ design)[1, 1])  # the textbook's standard error
    assert group.statistic == pytest.approx(-40 / error)
    assert group.estimate_low < -40 < group.estimate_high
    assert (group.analysis, age.analysis) == ("ancova", "ancova_covariate")
    assert group.adjusted_for == "age; sex"
    controls_at_mean = 1000 - 3 * table["age"].mean()
    sex = 25 if table["sex"].value_counts().idxmax() == "M" else 0
    assert group.percent == pytest.approx(100 * -40 / (controls_at_mean + sex))


def test_ancova_leaves_out_incomplete_rows_and_useless_covariates():
    table, _, _ = _exact()
    table.loc[[0, 1, 39], "age"] = np.nan
    table["hand"] = "R"
    row = ancova(table, "v", PAIR, ["age", "hand"])[0]
    assert (row.n_a, row.n_b) == (18, 19)
    assert "hand" in row.note


def test_ancova_says_nothing_where_nothing_can_be_said():
    table, _, _ = _exact()
    table["scanner"] = table["group"]  # one scanner a group
    assert ancova(table, "v", PAIR, ["scanner"]) == []
    assert ancova(table[table["group"] == "ALS"], "v", PAIR, ["age"]) == []
    assert ancova(table.assign(v=1.0), "v", PAIR, ["age"]) == []


def test_unequal_slopes_are_told():
    rng = np.random.default_rng(1)
    age = rng.normal(60, 9, 80)
    group = np.repeat(PAIR, 40)
    value = 800 + np.where(group == "ALS", -6, 6) * (age - 60) + rng.normal(0, 10, 80)
    row = ancova(pd.DataFrame({"group": group, "age": age, "v": value}), "v", PAIR, ["age"])[0]
    assert float(row.note.rpartition("= ")[2]) < 1e-6


def test_sites_are_taken_out():
    rng = np.random.default_rng(2)
    n = 240
    site = np.array(["A", "B", "C", "D"])[np.arange(n) % 4]
    offset = {"A": -60.0, "B": 0.0, "C": 20.0, "D": 40.0}
    case = rng.random(n) < np.where(site == "A", 0.8, 0.3)  # the small site has most of the cases
    value = 850 - 20 * case + np.array([offset[s] for s in site]) + rng.normal(0, 30, n)
    table = pd.DataFrame({"group": np.where(case, *PAIR), "v": value, "site": site})
    rows, found = site_model(table, "v", PAIR, [], "site")
    crude = value[case].mean() - value[~case].mean()
    assert crude < -30
    assert rows[0].estimate_low < -20 < rows[0].estimate_high
    assert abs(rows[0].estimate + 20) < abs(crude + 20)
    assert found["D"] - found["A"] == pytest.approx(100, abs=20)


def test_a_mixed_model_without_variance_between_groups_is_the_linear_one():
    rng = np.random.default_rng(4)
    x = rng.normal(size=60)
    groups = np.repeat(["a", "b", "c"], 20)
    noise = rng.normal(size=60)
    noise -= np.array([noise[groups == g].mean() for g in groups])  # no group differs
    design = np.column_stack([np.ones(60), x])
    fit = fit_mixed(100 + 2 * x + noise, design, groups)
    expected = np.linalg.lstsq(design, 100 + 2 * x + noise, rcond=None)[0]
    assert fit.coefficients == pytest.approx(expected, rel=1e-3)
    assert set(fit.effects) == {"a", "b", "c"}
    assert max(abs(e) for e in fit.effects.values()) < 0.1


def test_partial_correlation_by_the_formula():
    rng = np.random.default_rng(5)
    z = rng.normal(60, 9, 50)
    x, y = 40 - 0.2 * z + rng.normal(0, 2, 50), 900 - 3 * z + rng.normal(0, 30, 50)
    table = pd.DataFrame({"group": "ALS", "score": x, "v": y, "age": z})
    rows = {r.test: r for r in associate(table, "v", "score", "ALS", ["age"])}
    r = np.corrcoef([x, y, z])
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    pearson = rows[PEARSON]
    assert pearson.estimate == pytest.approx(expected)
    half = 1.959964 / np.sqrt(50 - 1 - 3)  # Fisher's z with one covariate
    ends = np.tanh([np.arctanh(expected) - half, np.arctanh(expected) + half])
    assert (pearson.estimate_low, pearson.estimate_high) == pytest.approx(ends, abs=1e-5)
    assert pearson.n_a == 50
    assert pearson.chosen != rows[SPEARMAN].chosen


def test_correlation_without_covariates_and_without_data():
    table = pd.DataFrame({"group": "ALS", "score": [1.0, 2, 3, 4, 9], "v": [2.0, 1, 4, 3, 5]})
    rows = {r.test: r for r in associate(table, "v", "score", "ALS", [])}
    assert rows[SPEARMAN].estimate == pytest.approx(0.8)  # 1 - 6 * 4 / (5 * 24)
    few = associate(table.head(3), "v", "score", "ALS", [])
    assert len(few) == 1
    assert few[0].p is None
    assert "too few" in few[0].note
    assert "different values" in associate(table.assign(score=1.0), "v", "score", "ALS", [])[0].note


def _followed(n=30, seed=6, visits=(0.0, 1.0, 2.0)):
    """Cases lose 5 % a year, controls 1 %."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(2 * n):
        group, rate = ("ALS", 0.95) if i < n else ("CON", 0.99)
        first = rng.normal(850, 80)
        rows += [{"participant_id": f"sub-{i:02d}", "session_id": f"ses-{k}", "years": t, "group": group,
                  "v": first * rate**t * np.exp(rng.normal(0, 0.01)), "flagged": False, "scan": f"sub-{i:02d}_ses-{k}",
                  "not_tested": None if k == 0 else "later session", "age": 60.0 + i % 7}
                 for k, t in enumerate(visits)]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("visits", [(0.0, 1.0), (0.0, 1.0, 2.0)])
def test_change_a_year_is_found(visits):
    table = choose_repeated(_followed(visits=visits))
    rows = {(r.group_a, r.term): r for r in change_over_time(table, "v", ("ALS",), "CON", ["age"])}
    for key, planted in {("ALS", "years"): -5, ("CON", "years"): -1, ("ALS", "group x years"): 100 * (0.95 / 0.99 - 1)
                         }.items():  # fmt: skip
        row = rows[key]
        assert row.estimate == pytest.approx(planted, abs=0.5)
        assert row.estimate_low < planted < row.estimate_high
    assert rows["ALS", "group x years"].p < 1e-6
    assert "random intercept" in rows["ALS", "years"].test


def test_only_people_with_two_known_times_are_followed():
    table = _followed(n=2)
    table.loc[table["participant_id"] == "sub-00", "years"] = np.nan
    table.loc[(table["participant_id"] == "sub-01") & (table["session_id"] != "ses-0"), "not_tested"] = "rated bad"
    chosen = choose_repeated(table)
    assert set(chosen["participant_id"]) == {"sub-02", "sub-03"}
    rows = change_over_time(chosen, "v", ("ALS",), "CON", [])
    assert [(r.group_a, r.term) for r in rows] == [("CON", "years")]
    assert change_over_time(chosen[:0], "v", ("ALS",), "CON", []) == []


def test_one_scan_a_session_is_followed():
    table = _followed(n=2, visits=(0.0, 1.0))
    twice = pd.concat([table, table.assign(scan=table["scan"] + "_run-2", not_tested="another scan of the session")])
    twice.loc[twice["scan"] == "sub-00_ses-0", "flagged"] = True
    chosen = choose_repeated(twice.reset_index(drop=True))
    assert len(chosen) == 8
    assert "sub-00_ses-0_run-2" in set(chosen["scan"])


def test_only_what_varies_is_said_to_be_held_equal():
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"group": ["ALS"] * 10 + ["CON"] * 10, "v": rng.normal(800, 30, 20), "sex": "F",
                          "age": rng.normal(60, 5, 20)})  # fmt: skip
    group = ancova(table, "v", ("ALS", "CON"), ["age", "sex"])[0]
    assert group.adjusted_for == "age" and "sex does not vary" in group.note
    assert ancova(table, "v", ("ALS", "CON"), ["sex"])[0].adjusted_for is None
