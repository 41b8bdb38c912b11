"""Rates of change, worsening by logistic regression and the size of a trial, against data made to have the answer."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.power import TTestIndPower

from bids_hypo.bids.columns import yes_or_no
from bids_hypo.bids.tsv import TableError
from bids_hypo.stats.groups import Groups
from bids_hypo.stats.rates import RATE, add_rates, compare_rates, person_rates
from bids_hypo.stats.trial import trial_sizes
from bids_hypo.stats.worsening import worsening

GROUPS = Groups(("MS",), "HC", (), "")


def _followed(rates, group, years=(0.0, 0.9, 2.0), start=0):
    """People whose volumes change by exactly these percentages a year."""
    rows = [(f"sub-{start + i:02d}", f"ses-{k}", group, t, 14000.0 * (1 + i / 50) * (1 + rate / 100) ** t)
            for i, rate in enumerate(rates) for k, t in enumerate(years)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["participant_id", "session_id", "group", "years", "volume_mm3"])
    later = table["session_id"] != "ses-0"
    return table.assign(flagged=False, scan=table["participant_id"] + "_" + table["session_id"],
                        not_tested=np.where(later, "later session", None))  # fmt: skip


@pytest.fixture
def study():
    """Thirty patients of whom the change is -1.2 +- 0.8 % a year, twenty controls of whom it is -0.3 +- 0.3."""
    rng, rates = np.random.default_rng(3), []
    for mean, sd, n in ((-1.2, 0.8, 30), (-0.3, 0.3, 20)):
        z = rng.normal(size=n)
        rates.append(mean + sd * (z - z.mean()) / z.std(ddof=1))
    return pd.concat([_followed(rates[0], "MS"), _followed(rates[1], "HC", start=50)], ignore_index=True), rates


def test_the_rate_of_each_person_is_found_and_groups_are_compared(study):
    table, rates = study
    found = person_rates(table)
    np.testing.assert_allclose(found.to_numpy(), np.concatenate(rates), atol=1e-9)
    single = pd.concat([table, _followed([0.0], "HC", years=(0.0,), start=90)], ignore_index=True)
    with_rates = add_rates(single)
    assert with_rates[RATE].notna().sum() == len(table) and with_rates.loc[with_rates["years"] == 2, RATE].notna().all()
    (row,) = [r for r in compare_rates(table, GROUPS) if r.chosen]
    assert row.analysis == "rate_comparison" and row.percent is None
    pooled = np.sqrt((29 * 0.8**2 + 19 * 0.3**2) / 48)
    assert row.hedges_g == pytest.approx(-0.9 / pooled * (1 - 3 / (4 * 50 - 9)), rel=1e-3)
    assert row.hedges_g_low < row.hedges_g < row.hedges_g_high < 0


def test_a_trial_has_as_many_people_as_its_power_needs(study):
    table, _ = study
    rows = {(r.term, r.power): r for r in trial_sizes(table, ("MS",), "HC")}
    assert len(rows) == 8
    half = rows["50 % of all of the change", 0.9]
    assert (half.estimate, half.hedges_g) == pytest.approx((0.6, 0.75)) and half.n_per_arm == 39  # G*Power gives 39
    excess = rows["25 % of what exceeds HC", 0.8]
    assert excess.hedges_g == pytest.approx(0.25 * 0.9 / 0.8)
    solver = TTestIndPower()
    for row in rows.values():
        reached = [solver.power(row.hedges_g, row.n_per_arm - k, 0.05) for k in (0, 1)]
        assert reached[0] >= row.power > reached[1]
        least, most = row.note.split(" for ")[0].split(" to ")
        assert int(least) < row.n_per_arm < int(most)
    assert trial_sizes(_followed([0.5, 0.4, 0.6, 0.7, 0.3], "MS"), ("MS",), "HC") == []  # nothing to slow


def test_odds_of_worsening_are_found_with_covariates_held_equal():
    rng, n = np.random.default_rng(0), 4000
    age = rng.normal(45, 10, n)
    volume = 14000 - 60 * (age - 45) + rng.normal(0, 900, n)
    log_odds = -0.3 - 0.7 * (volume - volume.mean()) / volume.std(ddof=1) + 0.05 * (age - 45)
    table = pd.DataFrame({"group": "MS", "v": volume, "age": age, "worse": rng.random(n) < 1 / (1 + np.exp(-log_odds))})
    table["worse"] = table["worse"].astype(float)
    (row,) = worsening(table, "v", "worse", "MS", ["age"])
    assert row.estimate_low < np.exp(0.7) < row.estimate_high and row.estimate == pytest.approx(np.exp(0.7), rel=0.1)
    assert (row.n_a + row.n_b, row.adjusted_for, row.note) == (n, "age", None) and row.hedges_g < 0
    (few,) = worsening(table.head(40), "v", "worse", "MS", ["age"])
    assert "of the rarer answer" in few.note
    separating = table.head(400).assign(hand=lambda rows: np.where(rows["worse"] == 1, "L", "R"))
    (row,) = worsening(separating, "v", "worse", "MS", ["hand"])
    assert row.p is not None and row.adjusted_for is None and row.note.startswith("hand separate the answers")


@pytest.mark.parametrize(("worse", "why"), [([1.0] * 3 + [0.0] * 17, "3 have got worse and 17 have not"),
                                            ([1.0] * 10 + [0.0] * 10, "the measure separates")])  # fmt: skip
def test_why_there_are_no_odds_is_told(worse, why):
    table = pd.DataFrame({"group": "MS", "v": np.arange(20.0), "worse": worse})
    (row,) = worsening(table, "v", "worse", "MS", [])
    assert row.p is None and why in row.note


def test_answers_are_read_in_usual_spellings():
    words = pd.Series(["Yes", "no", "1", "0.0", "n/a", None, " TRUE ", "stable", "unknown"])
    source = pd.Series("participants.tsv", index=words.index)
    assert yes_or_no(words, "worse", source).fillna(9).tolist() == [1, 0, 1, 0, 9, 9, 1, 0, 9]
    with pytest.raises(TableError, match=r"participants.tsv: column worse holds 'perhaps' in 1 rows; expected yes"):
        yes_or_no(pd.Series(["perhaps", "no"]), "worse", source[:2])
