"""The group level on made-up derivatives: joins, times, who is tested, what is written."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids.tsv import TableError
from bids_hypo.errors import ExitCode
from bids_hypo.stats.analysis import followed
from bids_hypo.workflow.cohort import load_cohort
from bids_hypo.workflow.group import run_group
from bids_hypo.workflow.group_options import GroupOptions
from tests.group_cohorts import add_scan, write_cohort, write_participants


def read(path):
    return pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=False)


@pytest.fixture
def small(tmp_path):
    """Three cases and four controls with two sessions of one and two runs of another."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    rows = []
    for i in range(7):
        label = f"sub-{i + 1}"
        name = f"{label}_ses-1" if i == 0 else f"{label}_run-1" if i == 1 else label
        add_scan(raw, out, name, 800 + 10 * i, 1.4e6 + 2e4 * i, left=401 + 4 * i)
        rows.append({"participant_id": label, "group": "ALS" if i < 3 else "CON", "age": 50 + i * i, "sex": "FM"[i % 2],
                     "site": "AB"[i % 2], "score": 40 - i})  # fmt: skip
    add_scan(raw, out, "sub-1_ses-2", 790, 1.4e6)
    add_scan(raw, out, "sub-2_run-2", 811, 1.42e6)
    write_participants(raw, rows)
    return raw, out, rows


def test_the_table_of_all_scans(small):
    raw, out, _ = small
    result = run_group(GroupOptions(raw, out))
    assert result.exit_code == ExitCode.OK
    table = read(out / "group_volumes.tsv").set_index("scan")
    assert len(table) == 9
    assert table["tested"].sum() == 7
    assert table.loc["sub-1_ses-2_T1w", "not_tested"] == "later session"
    assert table.loc["sub-2_run-2_T1w", "not_tested"] == "another scan of the session"
    mean_icv = np.mean([1.4e6 + 2e4 * i for i in range(3, 7)])
    assert table.loc["sub-3_T1w", "normalised_mm3"] == pytest.approx(820 / 1.44e6 * mean_icv, abs=1e-3)
    assert table.loc["sub-3_T1w", "source_file"] == "sub-3/anat/sub-3_T1w.nii.gz"
    about = json.loads((out / "group_volumes.json").read_text())
    assert set(about) == set(table.reset_index().columns)
    assert about["normalised_mm3"]["MeanControlICV"] == mean_icv


def test_every_row_of_the_statistics_can_be_told_apart(small):
    raw, out, _ = small
    run_group(GroupOptions(raw, out, scores=("score",), site_column="site"))
    table = read(out / "group_statistics.tsv")
    key = ["analysis", "measure", "test", "sample", "group_a", "group_b", "term", "adjusted_for", "note"]
    assert not table.duplicated(key).any()
    assert set(table["sample"]) == {"all", "no_outliers", "no_flagged", "no_outliers_no_flagged"}
    assert set(json.loads((out / "group_statistics.json").read_text())) == set(table.columns)


def test_a_dry_run_writes_nothing_and_a_second_run_the_same_bytes(small):
    raw, out, _ = small
    before = sorted(out.rglob("*"))
    run_group(GroupOptions(raw, out, dry_run=True))
    assert sorted(out.rglob("*")) == before
    written = []
    for _ in range(2):
        run_group(GroupOptions(raw, out))
        written.append({p: p.read_bytes() for p in sorted([*out.glob("group*"), *out.glob("figures/*")])})
    assert len(written[0]) == 11
    assert written[0] == written[1]


def test_ratings_and_flags_leave_scans_out(small, tmp_path):
    raw, out, _ = small
    add_scan(raw, out, "sub-4", 830, 1.46e6, ["asymmetric"])
    ratings = tmp_path / "ratings.tsv"
    ratings.write_text("source_file\trating\tnote\nsub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz\tbad\tmotion\n"
                       "sub-5/anat/sub-5_T1w.nii.gz\tdoubtful\t\nsub-99/anat/x.nii.gz\tgood\t\n")  # fmt: skip
    result = run_group(GroupOptions(raw, out, ratings=ratings, exclude_flagged=True))
    table = read(out / "group_volumes.tsv").set_index("scan")
    assert table.loc["sub-1_ses-1_T1w", "not_tested"] == "rated bad"
    assert table.loc["sub-1_ses-1_T1w", "rating_note"] == "motion"
    assert pd.isna(table.loc["sub-1_ses-2_T1w", "not_tested"])  # the second session takes its place
    assert table.loc["sub-4_T1w", "not_tested"].startswith("flagged")
    assert pd.isna(table.loc["sub-5_T1w", "not_tested"])
    assert any("sub-99" in remark for remark in result.remarks)


def test_people_in_only_one_place_are_told(small):
    raw, out, rows = small
    add_scan(raw, out, "sub-8", 800, 1.5e6)
    write_participants(raw, [*rows, {**rows[0], "participant_id": "sub-9"}])
    result = run_group(GroupOptions(raw, out))
    assert any("sub-8" in r and "not in participants.tsv" in r for r in result.remarks)
    assert any("sub-9" in r and "no results" in r for r in result.remarks)
    table = read(out / "group_volumes.tsv").set_index("scan")
    assert table.loc["sub-8_T1w", "not_tested"] == "not in participants.tsv"


def test_scans_without_icv(small):
    raw, out, rows = small
    for i in (3, 4):
        add_scan(raw, out, f"sub-{i}", 800 + i, None, icv_flags=["skull_stripped"])
    result = run_group(GroupOptions(raw, out))
    assert any("2 of 7 tested scans have no ICV" in r for r in result.remarks)
    table = read(out / "group_statistics.tsv")
    rows = table[(table["analysis"] == "comparison") & (table["sample"] == "all")].drop_duplicates("measure")
    counts = rows.set_index("measure")[["n_a", "n_b"]]
    assert counts.loc["volume_mm3"].tolist() == [3, 4]
    assert counts.loc["normalised_mm3"].tolist() == [2, 3]


def test_no_icv_at_all_still_compares_volumes(tmp_path):
    rows = []
    for i in range(6):
        add_scan(tmp_path / "raw", tmp_path / "out", f"sub-{i}", 800 + i, None, icv_flags=["skull_stripped"])
        rows.append({"participant_id": f"sub-{i}", "group": "depr" if i < 3 else "control"})
    write_participants(tmp_path / "raw", rows)
    result = run_group(GroupOptions(tmp_path / "raw", tmp_path / "out", cases=("depr",), control="control"))
    assert "The hypothalamus was" in result.sentences[0]
    assert "normalised_mm3" not in set(read(tmp_path / "out/group_statistics.tsv")["measure"])


def test_a_broken_scan_is_recorded_and_the_others_go_on(small):
    raw, out, _ = small
    add_scan(raw, out, "sub-3", 800, 1.5e6).write_text("nothing")
    result = run_group(GroupOptions(raw, out))
    assert result.exit_code == ExitCode.SCANS_FAILED
    assert "sub-3" in result.problems[0]


@pytest.mark.parametrize(
    ("files", "years"),
    [
        (
            {"sub-1": "session_id\tacq_time\nses-1\t2020-01-01T10:00:00\nses-2\t2021-01-01T10:00:00\n"},
            [0, 366 / 365.25],
        ),
        ({"sub-1": "session_id\tage\nses-1\t50.5\nses-2\t52\n"}, [0, 1.5]),
        ({"sub-1": "session_id\tacq_time\tage\nses-1\t2020-01-01\t50\nses-2\tn/a\t53\n"}, [0, 3]),
        ({}, [np.nan, np.nan]),
    ],
    ids=["acq_time", "age", "acq_time incomplete", "labels are no times"],
)
def test_times(small, files, years):
    raw, out, _ = small
    for label, text in files.items():
        (raw / label).mkdir(exist_ok=True)
        (raw / label / f"{label}_sessions.tsv").write_text(text)
    table = load_cohort(GroupOptions(raw, out)).table.set_index("scan")
    found = table.loc[["sub-1_ses-1_T1w", "sub-1_ses-2_T1w"], "years"].tolist()
    assert found == pytest.approx(years, abs=1e-3, nan_ok=True)


def test_what_a_session_says_comes_before_the_participant(small):
    raw, out, _ = small
    (raw / "sub-1").mkdir(exist_ok=True)
    (raw / "sub-1" / "sub-1_sessions.tsv").write_text("session_id\tage\tscore\nses-1\t50\t40\nses-2\t51\t31\n")
    table = load_cohort(GroupOptions(raw, out, scores=("score",))).table.set_index("scan")
    assert table.loc["sub-1_ses-2_T1w", ["age", "score"]].tolist() == [51, 31]
    assert table.loc["sub-2_run-1_T1w", ["age", "score"]].tolist() == [51, 39]


@pytest.mark.parametrize(
    ("column", "values", "options", "words"),
    [
        ("age", ["89 or more", *range(50, 56)], {}, "age holds '89 or more'"),
        ("age", ["old"] * 7, {}, "age holds 'old' in 9 rows"),
        ("score", ["12,5", *range(6)], {"scores": ("score",)}, "12,5"),
    ],
)
def test_text_where_numbers_are_needed(small, column, values, options, words):
    raw, out, rows = small
    write_participants(raw, [{**row, column: value} for row, value in zip(rows, values, strict=True)])
    with pytest.raises(TableError, match=words):
        load_cohort(GroupOptions(raw, out, **options))


def test_numbers_that_are_names_stay_categories(small):
    raw, out, rows = small
    write_participants(raw, [{**row, "scanner": 1 + i % 2, "unit": 1 + i % 2} for i, row in enumerate(rows)])
    (raw / "participants.json").write_text(json.dumps({"unit": {"Levels": {"1": "old", "2": "new"}}}))
    table = load_cohort(GroupOptions(raw, out, covariates=("scanner", "unit", "age"))).table
    assert [pd.api.types.is_numeric_dtype(table[c]) for c in ("scanner", "unit", "age")] == [False, False, True]


def test_a_shrunken_hypothalamus_is_no_outlier_over_time():
    table = pd.DataFrame({
        "participant_id": ["a", "a", "b", "b", "c", "c"], "session_id": ["1", "2"] * 3, "years": [0.0, 1.0] * 3,
        "scan": list("abcdef"), "flagged": False, "tested": [True, False] * 3,
        "not_tested": [None, "later session"] * 3, "outlier": [False, True, True, False, False, True],
        "outlier_of": [None, "volume_mm3", "volume_mm3", None, None, "icv_mm3;normalised_mm3"],
    })  # fmt: skip
    assert followed(table)["outlier"].tolist() == [False, False, True, True, False, True]


def test_three_groups_are_compared_pair_by_pair(tmp_path):
    raw, out = write_cohort(tmp_path, 12, 8, seed=1)
    table = pd.read_csv(raw / "participants.tsv", sep="\t", keep_default_na=False)
    table.loc[:5, "group"] = "PLS"
    table.to_csv(raw / "participants.tsv", sep="\t", index=False)
    run_group(GroupOptions(raw, out))
    statistics = read(out / "group_statistics.tsv")
    main = statistics[(statistics["sample"] == "all") & (statistics["measure"] == "normalised_mm3")]
    assert set(main.loc[main["analysis"] == "omnibus", "test"]) == {"ANOVA", "Welch ANOVA", "Kruskal-Wallis H"}
    pairs = main.loc[main["analysis"] == "comparison", ["group_a", "group_b"]].drop_duplicates()
    assert set(pairs.itertuples(index=False, name=None)) == {("ALS", "CON"), ("PLS", "CON"), ("ALS", "PLS")}
    run_group(GroupOptions(raw, out, cases=("PLS",)))
    assert set(read(out / "group_statistics.tsv")["group_a"].dropna()) == {"PLS", "CON"}
    assert (read(out / "group_volumes.tsv")["not_tested"] == "in a group that is not compared").sum() == 6


@pytest.fixture
def followed_up(tmp_path):
    """Three cases and three controls with two sessions each, of which nothing tells the time."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    rows = []
    for i in range(6):
        for session, loss in ((1, 0), (2, 30 if i < 3 else 0)):
            add_scan(raw, out, f"sub-{i}_ses-{session}", 800 + 10 * i - loss - i % 2, 1.5e6 + 1e4 * i)
            (raw / f"sub-{i}" / f"ses-{session}").mkdir(parents=True)
        rows.append({"participant_id": f"sub-{i}", "group": "ALS" if i < 3 else "CON"})
    write_participants(raw, rows)
    return raw, out


def _times(raw, first, second, *, where="scans", people=range(6)):
    for i in people:
        for session, time in ((1, first), (2, second)):
            if where == "scans":
                path = raw / f"sub-{i}" / f"ses-{session}" / f"sub-{i}_ses-{session}_scans.tsv"
                path.write_text(f"filename\tacq_time\nanat/sub-{i}_ses-{session}_T1w.nii.gz\t{time}\n")
        if where != "scans":
            path = raw / f"sub-{i}" / f"sub-{i}_sessions.tsv"
            path.write_text(f"session_id\t{where}\nses-1\t{first}\nses-2\t{second}\n")


def _years(cohort):
    return cohort.table.set_index("scan")["years"]


@pytest.mark.parametrize(("first", "second"), [("2019-03-01T08:00:00", "2021-03-01T08:00:00"),
                                               ("1619-03-01T08:00:00.5Z", "1621-03-01T08:00:00Z"),
                                               ("2419-03-01", "2421-03-01")])  # fmt: skip
def test_times_of_scans_tsv_in_any_century(followed_up, first, second):
    raw, out = followed_up
    _times(raw, first, second)
    result = run_group(GroupOptions(raw, out))
    found = read(out / "group_statistics.tsv")
    assert set(found.loc[found["analysis"] == "longitudinal", "group_a"]) == {"ALS", "CON"}
    assert not [r for r in result.remarks if "time" in r]
    assert read(out / "group_volumes.tsv")["years"].max() == pytest.approx(2, abs=0.01)


def test_sessions_tsv_comes_first_and_a_contradiction_is_told(followed_up):
    raw, out = followed_up
    _times(raw, "2019-03-01", "2021-03-01")
    _times(raw, "2019-03-01", "2020-03-01", where="acq_time", people=[0])
    cohort = load_cohort(GroupOptions(raw, out))
    assert _years(cohort)["sub-0_ses-2_T1w"] == pytest.approx(1, abs=0.01)
    assert _years(cohort)["sub-1_ses-2_T1w"] == pytest.approx(2, abs=0.01)
    assert any("disagree for 1 sessions" in r and "sub-0 ses-2" in r for r in cohort.remarks)


def test_a_change_that_cannot_be_timed_is_told_on_the_page_and_in_the_log(followed_up, caplog):
    raw, out = followed_up
    result = run_group(GroupOptions(raw, out))
    said = [r for r in result.remarks if "Change over time" in r]
    assert "leaves out 6 participant(s)" in said[0] and "sub-0 (ses-1, ses-2)" in said[0] and "Add acq_time" in said[0]
    assert {r.split(" is not estimated")[0] for r in said[1:]} == {"Change over time of ALS", "Change over time of CON"}
    page = (out / "group_report.html").read_text()
    assert all(r in caplog.text for r in said)
    assert "Change over time leaves out 6 participant(s)" in page


@pytest.mark.parametrize(
    ("first", "second", "where", "words"),
    [
        ("01/02/2010", "01/02/2012", "scans", "12 times cannot be read .*sub-0_ses-1_scans.tsv has '01/02/2010'"),
        ("01/02/2010", "01/02/2012", "acq_time", "sub-0_sessions.tsv has '01/02/2010' for ses-1"),
        ("1619-03-01", "2021-03-01", "scans", "6 participants have sessions more than 100 years apart"),
        ("50", "50", "age", r"6 participant\(s\) whose sessions all have the same time or age"),
        ("fifty", "51", "age", "6 ages .*sub-0 ses-1 'fifty'"),
    ],
)
def test_times_that_cannot_be_used_are_told_and_not_guessed(followed_up, first, second, where, words):
    raw, out = followed_up
    _times(raw, first, second, where=where)
    result = run_group(GroupOptions(raw, out, covariates=()))
    assert any(re.search(words, remark) for remark in result.remarks)
    assert "longitudinal" not in set(read(out / "group_statistics.tsv")["analysis"])
    assert any("Change over time of ALS is not estimated" in remark for remark in result.remarks)


def test_ages_and_labels_that_contradict_the_times_are_told(followed_up):
    raw, out = followed_up
    _times(raw, "2021-03-01", "2019-03-01")
    _times(raw, "50", "55", where="age")
    cohort = load_cohort(GroupOptions(raw, out, covariates=()))
    assert _years(cohort)["sub-0_ses-1_T1w"] == pytest.approx(2, abs=0.01)
    assert any("6 participants have sessions in another order by time than by label" in r for r in cohort.remarks)
    assert any("ages of 6 participants disagree" in r for r in cohort.remarks)


def test_a_broken_scans_tsv_is_told_and_fails_nothing(followed_up):
    raw, out = followed_up
    _times(raw, "2019-03-01", "2021-03-01")
    (raw / "sub-0" / "ses-1" / "sub-0_ses-1_scans.tsv").write_text("filename\tacq_time\nx\n")
    cohort = load_cohort(GroupOptions(raw, out))
    told = next(r for r in cohort.remarks if "1 tables of scans are not used. First: sub-0/ses-1" in r)
    assert "line 2 has 1 fields" in told
    assert any("leaves out 1 participant(s)" in r and "sub-0 (ses-1)" in r for r in cohort.remarks)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("sub-0/ses-1/anat/sub-0_ses-1_T1w.nii.gz\t2019-03-01", ()),
        ("anat\\sub-0_ses-1_T1w.nii\t2019-03-01\nanat/sub-0_ses-1_bold.nii.gz\t2018-03-01", ()),
        ("anat/sub-0_ses-1_T1w.nii.gz\t2019-03-01\nanat/sub-0_ses-1_T1w.nii.gz\t2011-03-01",
         ("gives 1 images more than one time; the first is used: sub-0_ses-1_T1w",)),
        ("anat/sub-0_ses-1_T1.nii.gz\t2019-03-01",
         (r"leaves out 1 participant\(s\)", "other images than .*sub-0_ses-1_T1 of sub-0_ses-1_scans.tsv")),
    ],
    ids=["from the root", "backslashes", "two times", "another name"],
)  # fmt: skip
def test_images_that_scans_tsv_names_in_other_ways(followed_up, lines, said):
    raw, out = followed_up
    _times(raw, "2019-03-01", "2021-03-01")
    (raw / "sub-0" / "ses-1" / "sub-0_ses-1_scans.tsv").write_text(f"filename\tacq_time\n{lines}\n")
    cohort = load_cohort(GroupOptions(raw, out))
    known = not any("leaves out" in words for words in said)
    assert _years(cohort)["sub-0_ses-2_T1w"] == pytest.approx(2 if known else np.nan, abs=0.01, nan_ok=True)
    assert len(cohort.remarks) == len(said)
    assert all(any(re.search(words, remark) for remark in cohort.remarks) for words in said)


def test_spellings_are_folded_and_told(small):
    raw, out, rows = small
    sexes, groups = ["M", "m", "male", "F", "unknown", "f", "Female"], ["ALS", "als", "ALS", "CON", "Con", "CON", "NA"]
    write_participants(raw, [{**row, "sex": sex, "group": group}
                             for row, sex, group in zip(rows, sexes, groups, strict=True)])  # fmt: skip
    result = run_group(GroupOptions(raw, out, cases=("als",), control="con", site_column="site"))
    table = read(out / "group_volumes.tsv")
    assert set(table["group"].dropna()) == {"als", "CON"}  # as it was asked for
    assert table["sex"].nunique() == 2 and table["sex"].isna().sum() == 1
    page = (out / "group_report.html").read_text()
    for words in ("Column group: ", "'ALS' (2 participants) read as 'als'", "'NA' (1 participants) taken for missing"):
        assert any(words in remark for remark in result.remarks)
        assert words.replace("'", "&#39;") in page
    assert table.loc[table["participant_id"] == "sub-7", "not_tested"].item() == "no group in participants.tsv"


def test_levels_that_differ_only_in_their_spelling_stay_apart(small):
    raw, out, rows = small
    groups = ["ALS", "ALS", "als", "als", "CON", "CON", "CON"]
    write_participants(raw, [{**row, "group": group} for row, group in zip(rows, groups, strict=True)])
    (raw / "participants.json").write_text(json.dumps({"group": {"Levels": {"ALS": "a", "als": "b", "CON": "c"}}}))
    assert load_cohort(GroupOptions(raw, out)).table["group"].nunique() == 3
    with pytest.raises(TableError, match="it could be ALS or als"):
        run_group(GroupOptions(raw, out, cases=("Als",)))


def test_a_covariate_that_leaves_nobody_is_told(small):
    raw, out, rows = small
    write_participants(raw, [{**row, "bmi": 20 + i if i < 3 else None} for i, row in enumerate(rows)])
    result = run_group(GroupOptions(raw, out, covariates=("bmi",), scores=("score",)))
    assert any("ALS and CON are not compared with bmi held equal" in r for r in result.remarks)
    assert any("score is not correlated with the volumes of ALS: 3 participants" in r for r in result.remarks)


@pytest.mark.parametrize(
    ("names", "covariates", "said"),
    [
        ({"age": "Age", "sex": "SEX"}, ("age", "sex"), ("Column Age of participants.tsv is taken as age.", "SEX")),
        ({"sex": "Gender"}, ("age", "gender"), ("Column Gender of participants.tsv is taken as gender.",)),
        ({}, ("age", "sex"), ()),
    ],
)
def test_the_usual_covariates_are_found_in_capital_letters_too(small, names, covariates, said):
    raw, out, rows = small
    write_participants(raw, [{names.get(name, name): value for name, value in row.items()} for row in rows])
    cohort = load_cohort(GroupOptions(raw, out))
    assert cohort.covariates == covariates
    assert sum("is taken as" in remark for remark in cohort.remarks) == len(said)
    assert all(any(words in remark for remark in cohort.remarks) for words in said)
    asked = tuple(names.values())
    assert load_cohort(GroupOptions(raw, out, covariates=asked)).covariates == asked  # by its own name as well


def test_ages_and_times_of_sessions_are_found_in_capital_letters_too(followed_up):
    raw, out = followed_up
    _times(raw, "50", "52", where="Age", people=[0])
    _times(raw, "2010-02-01", "2012-02-01", where="Acq_Time", people=range(1, 6))
    cohort = load_cohort(GroupOptions(raw, out))
    assert cohort.table["years"].tolist() == pytest.approx([0, 2] * 6, abs=0.01)
    assert {r.partition(" of sub-*")[0] for r in cohort.remarks} >= {"Column Age", "Column Acq_Time"}


def test_ages_that_nobody_has_are_missing_and_numbers_far_off_are_told(small):
    raw, out, rows = small
    ages, scores = [999, -9, 70, 71, 72, 73, 74], [40, 41, 42, 43, 44, 45, 999]
    write_participants(raw, [{**row, "age": age, "score": score}
                             for row, age, score in zip(rows, ages, scores, strict=True)])  # fmt: skip
    cohort = load_cohort(GroupOptions(raw, out, scores=("score",)))
    assert cohort.table["age"].isna().sum() == 4  # of two people with two scans each
    assert cohort.table["score"].max() == 999
    told = "Column age of participants.tsv: -9 (sub-2), 999 (sub-1) taken for missing; an age is 0 to 120 years."
    assert told in cohort.remarks
    assert any(r.startswith("Column score: 999 (sub-7) lies more than 6 robust standard") for r in cohort.remarks)


def test_the_file_that_holds_a_wrong_age_is_named(small):
    raw, out, _ = small
    (raw / "sub-1").mkdir()
    (raw / "sub-1" / "sub-1_sessions.tsv").write_text("session_id\tage\nses-1\told\n")
    with pytest.raises(TableError, match=r"sub-\*_sessions\.tsv: column age holds 'old' in 1 rows"):
        load_cohort(GroupOptions(raw, out))


def test_equal_numbers_are_one_group_and_others_than_the_levels_are_told(small):
    raw, out, rows = small
    groups = ["1", "1.0", "1", "0", "0.0", "0.0", "3"]
    write_participants(raw, [{**row, "group": group} for row, group in zip(rows, groups, strict=True)])
    (raw / "participants.json").write_text(json.dumps({"group": {"Levels": {"0": "control", "1": "patient"}}}))
    cohort = load_cohort(GroupOptions(raw, out))
    assert set(cohort.table["group"]) == {"0", "1", "3"}
    assert any("'0.0' (2 participants) read as '0'" in remark for remark in cohort.remarks)
    assert "Column group: '3' (1 participants) is none of the Levels that participants.json gives." in cohort.remarks


@pytest.mark.parametrize("form", ["./{}", "/data/raw/{}", "bids::{}", "windows", "{}.gz"])
def test_a_rating_counts_in_whatever_form_its_path_is(small, tmp_path, form):
    raw, out, _ = small
    plain = "sub-1/ses-1/anat/sub-1_ses-1_T1w.nii"
    path = plain.replace("/", "\\") if form == "windows" else form.format(plain)
    ratings = tmp_path / "ratings.tsv"
    ratings.write_text(f"source_file\trating\n{path}\tbad\n")
    cohort = load_cohort(GroupOptions(raw, out, ratings=ratings))
    assert cohort.table.set_index("scan").loc["sub-1_ses-1_T1w", "not_tested"] == "rated bad"
    assert not any("belong to no scan" in remark for remark in cohort.remarks)


def test_ratings_of_other_scans_only_are_an_error(small, tmp_path):
    raw, out, _ = small
    ratings = tmp_path / "ratings.tsv"
    ratings.write_text("source_file\trating\nsub-99/anat/sub-99_T1w.nii\tbad\n")
    with pytest.raises(TableError, match=r"ratings\.tsv: none of its ratings counts: 1 ratings .*sub-99_T1w.nii"):
        load_cohort(GroupOptions(raw, out, ratings=ratings))


def test_images_of_another_kind_are_a_series_with_the_icv_of_their_session(tmp_path):
    raw, out = write_cohort(tmp_path, 8, 8)
    for number in range(1, 16):  # the last one has no FLAIR
        add_scan(raw, out, f"sub-{number:03d}", 700.0 + number, None, suffix="FLAIR")
    add_scan(raw, out, "sub-017", 800.0, None, suffix="FLAIR")
    assert run_group(GroupOptions(raw, out)).exit_code == ExitCode.OK
    table = pd.read_csv(out / "group_volumes.tsv", sep="\t", na_values="n/a").set_index(["image", "participant_id"])
    assert list(table.index.get_level_values("image").unique()) == ["T1w", "FLAIR"]
    flair, t1 = table.loc["FLAIR"], table.loc["T1w"]
    assert len(t1) == 16 and len(flair) == 16
    with_t1 = flair.drop("sub-017")
    assert (with_t1["icv_mm3"] == t1.loc[with_t1.index, "icv_mm3"]).all()
    assert (with_t1["icv_source"] == [f"{name}_T1w" for name in with_t1.index]).all()
    assert pd.isna(flair.loc["sub-017", "icv_mm3"]) and pd.isna(flair.loc["sub-017", "normalised_mm3"])
    statistics = pd.read_csv(out / "group_statistics.tsv", sep="\t", na_values="n/a")
    assert set(statistics["image"]) == {"T1w", "FLAIR"}
    chosen = statistics[(statistics["image"] == "FLAIR") & (statistics["measure"] == "volume_mm3")]
    assert len(chosen)
    report = (out / "group_report.html").read_text()
    assert report.count('<h2 class="series"') == 2 and "FLAIR" in report
