"""`bids_hypo BIDS OUT group` from its command line: a planted difference, wrong input, what the page holds."""

import re
import subprocess
import sys

import pandas as pd
import pytest

from bids_hypo.cli.main import main
from tests.group_cohorts import add_scan, write_cohort, write_participants


def statistics(out, **wanted):
    table = pd.read_csv(out / "group_statistics.tsv", sep="\t", na_values=["n/a"], keep_default_na=False)
    for name, value in wanted.items():
        table = table[table[name] == value]
    return table


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """As many people as in Vernikouskaya 2023, with its means after the removal of outliers, and 6 failures."""
    raw, out = write_cohort(tmp_path_factory.mktemp("published"), 432, 112, seed=0, outliers=6)
    arguments = [str(raw), str(out), "group", "--case", "ALS", "--control", "CON", "--scores", "ALSFRS-R"]
    assert main(arguments) == 0
    return out


def test_the_planted_difference_is_found(published):
    row = statistics(published, analysis="comparison", measure="normalised_mm3", sample="no_outliers", chosen=True)
    assert len(row) == 1
    row = row.iloc[0]
    planted = 100 * (823 / 852 - 1)
    assert row["percent_low"] < planted < row["percent_high"] < 0
    assert row["p_holm"] < 0.05
    assert row["primary"]
    assert row["estimate"] == pytest.approx(823 - 852, abs=25)


def test_failed_scans_are_outliers_and_the_tests_are_given_with_them_too(published):
    table = pd.read_csv(published / "group_volumes.tsv", sep="\t", na_values=["n/a"], keep_default_na=False)
    assert table.loc[:5, "outlier"].all()
    assert 0.95 < 1 - table["outlier"].mean() < 1
    question = {"analysis": "comparison", "measure": "normalised_mm3", "test": "Welch t"}
    with_them, without = (statistics(published, sample=name, **question) for name in ("all", "no_outliers"))
    assert with_them.iloc[0]["n_a"] == 432
    assert without.iloc[0]["n_a"] < 427
    assert with_them.iloc[0]["sd_a"] > without.iloc[0]["sd_a"]


def test_the_planted_correlation_is_found(published):
    rows = statistics(published, analysis="association", measure="volume_mm3", sample="no_outliers", chosen=True)
    assert set(rows["term"]) == {"ALSFRS-R"}
    assert (rows["estimate_high"] < -0.3).all()


def test_the_page_stands_alone(published):
    page = (published / "group_report.html").read_text()
    assert not re.search(r"<(script|img|iframe)[^>]+src=.?(https?:)?//|<link\b", page)
    assert "showSendToCloud: false" in page  # plotly's button would send the data away
    for words in ("Vernikouskaya", "statsmodels", "sub-001", "Student", "outliers"):
        assert words in page
    assert (published / "figures" / "group_boxes.svg").read_text().startswith("<?xml")


def test_pages_of_subjects_are_linked_where_they_exist(tmp_path):
    raw, out = write_cohort(tmp_path, 6, 6, outliers=1)
    (out / "sub-001.html").write_text("page")
    assert main([str(raw), str(out), "group"]) == 0
    page = (out / "group_report.html").read_text()
    assert '<a href="sub-001.html">sub-001</a>' in page
    assert 'href="sub-002.html"' not in page


def test_covariates_correct_a_planted_effect_of_age(tmp_path):
    """Cases are 12 years older and nothing else is different."""
    same = {"case_mean": 850, "control_mean": 850, "sd": 60}
    raw, out = write_cohort(tmp_path, 120, 120, seed=3, age_slope=-4, case_age=66, control_age=54, **same)
    assert main([str(raw), str(out), "group", "--outlier-rule", "none"]) == 0
    crude = statistics(out, analysis="comparison", measure="normalised_mm3", sample="all", chosen=True).iloc[0]
    held = statistics(out, analysis="ancova", measure="normalised_mm3", sample="all").iloc[0]
    age = statistics(out, analysis="ancova_covariate", measure="normalised_mm3", sample="all", term="age").iloc[0]
    assert crude["p"] < 0.001
    assert crude["estimate"] < -25
    assert held["estimate_low"] < 0 < held["estimate_high"]
    assert abs(held["estimate"]) < abs(crude["estimate"]) / 2
    assert age["estimate_low"] < -4 < age["estimate_high"]
    assert main([str(raw), str(out), "group", "--covariates"]) == 0  # none at all
    assert set(statistics(out, analysis="ancova")["adjusted_for"]) == {"icv_mm3"}


def test_change_over_time(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    rows = []
    for i in range(12):
        label, rate = f"sub-{i:02d}", 0.94 if i < 6 else 1.0
        for session, years in (("1", 0), ("2", 2)):
            add_scan(raw, out, f"{label}_ses-{session}", (800 + 7 * i + i % 3) * rate**years, 1.5e6 + 1e4 * i)
        (raw / label).mkdir(parents=True)
        (raw / label / f"{label}_sessions.tsv").write_text(
            "session_id\tacq_time\nses-1\t2019-03-01T08:00:00\nses-2\t2021-03-01T08:00:00\n"
        )
        rows.append({"participant_id": label, "group": "ALS" if i < 6 else "HC"})
    write_participants(raw, rows)
    assert main([str(raw), str(out), "group"]) == 0
    found = statistics(out, analysis="longitudinal", sample="all", measure="volume_mm3")
    found = found.set_index(["group_a", "term"])
    assert found.loc[("ALS", "years"), "estimate"] == pytest.approx(-6, abs=0.1)
    assert found.loc[("ALS", "group x years"), "p"] < 0.001
    assert "% a year" in (out / "group_report.html").read_text()


@pytest.fixture
def study(tmp_path):
    return write_cohort(tmp_path, 4, 4)


def _rewrite(raw, change):
    table = pd.read_csv(raw / "participants.tsv", sep="\t", keep_default_na=False, dtype=str)
    change(table).to_csv(raw / "participants.tsv", sep="\t", index=False)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--group-column", "diagnosis"], 65, "There are: participant_id, group, age, sex"),
        (["--group-column", "grupo"], 65, "Did you mean group?"),
        (["--case", "PLS"], 65, "There are: 'ALS' (4), 'CON' (4)"),
        (["--control", "healthy"], 65, "'CON' (4)"),
        (["--case", "CON", "--control", "CON"], 64, "different groups"),
        (["--covariates", "weight"], 65, "no column weight"),
        (["--covariates", "age,sex"], 65, "Separate names by spaces"),
        (["--case", "ALS,PLS"], 65, "Separate names by spaces"),
        (["--scores", "sex"], 65, "expected numbers"),
        (["--site-column", "centre"], 65, "no column centre"),
        (["--ratings", "nowhere.tsv"], 66, "nowhere.tsv"),
        (["--outlier-rule", "sigma"], 64, "sigma"),
        (["--participant-label", "77"], 18, "no scan passes"),
        (["--reports-only"], 64, "--reports-only"),
    ],
)
def test_wrong_options(study, capsys, options, code, words):
    raw, out = study
    assert main([str(raw), str(out), "group", *options]) == code
    assert words in capsys.readouterr().err
    assert not (out / "group_volumes.tsv").exists()


@pytest.mark.parametrize(
    ("change", "options", "code", "words"),
    [
        (lambda t: t.assign(group=["ALS"] + ["CON"] * 7), [], 65, "group 'ALS': 1 participants can be tested"),
        (lambda t: t.assign(group="ALS"), [], 65, "at least two groups"),
        (lambda t: t.assign(group=["a"] * 4 + ["b"] * 4), [], 65, "Name it with --control"),
        (lambda t: t.assign(age=["old"] + ["60"] * 7), [], 65, "age holds 'old'"),
        (lambda t: pd.concat([t, t.head(1)]), [], 65, "more than one row for sub-001"),
        (lambda t: t.assign(participant_id=[f"sub-x{i}" for i in range(8)]), [], 65, "none of the participants"),
        (lambda t: t.drop(columns="participant_id"), [], 65, "no column participant_id"),
        (lambda t: t.assign(age="60,5"), [], 65, "a point for the decimals"),
        (lambda t: t.assign(weight=[f"{70 + i} kg" for i in range(8)]), ["--covariates", "weight"], 65, "no units"),
        (lambda t: t.assign(participant_id=["n/a", *t["participant_id"][1:]]), [], 65, "no participant_id (line 2)"),
        (lambda t: t.rename(columns={"site": "age"}), [], 65, "more than one column age"),
        (lambda t: t.assign(group=["ALS\tx", *t["group"][1:]]), [], 65, "line 2 has 7 fields; the header has 6"),
    ],
    ids=[
        "one member",
        "one group",
        "no known control",
        "age",
        "duplicates",
        "unknown people",
        "no ids",
        "commas",
        "units",
        "a row without a name",
        "a column twice",
        "a tab in a quoted field",
    ],
)
def test_wrong_participants(study, capsys, change, options, code, words):
    raw, out = study
    _rewrite(raw, change)
    assert main([str(raw), str(out), "group", *options]) == code
    assert words in capsys.readouterr().err
    assert not (out / "group_volumes.tsv").exists()


def test_an_open_quote_and_unequal_spellings_lose_nobody(study, capsys):
    raw, out = study
    spelled = ["als", "ALS", "Als ", "ALS", "con", "Con", "CON", "CON"]
    _rewrite(raw, lambda t: t.assign(group=spelled, sex=["M", "m", "male", "F"] * 2))
    text = (raw / "participants.tsv").read_text().replace("Jena", '"Jena', 1)
    (raw / "participants.tsv").write_text(text)
    assert main([str(raw), str(out), "group", "--case", "als", "--control", "con"]) == 0
    table = pd.read_csv(out / "group_volumes.tsv", sep="\t", na_values=["n/a"], keep_default_na=False)
    assert table["tested"].sum() == 8 and table["group"].nunique() == 2 and table["sex"].nunique() == 2
    said = capsys.readouterr().err
    assert "line 3: a field begins with a double quote" in said and "Column sex: 'm' (2 participants)" in said


def test_a_huge_field_fails_its_table_only(study, capsys):
    raw, out = study
    path = add_scan(raw, out, "sub-009", 800, 1.5e6)
    path.write_text(path.read_text().replace("n/a", "x" * 200_000, 1))
    assert main([str(raw), str(out), "group"]) == 1
    said = capsys.readouterr().err
    assert "a field of 200000 characters" in said and len(said) < 2000
    assert (out / "group_report.html").exists()


def test_only_flagged_scans(tmp_path, capsys):
    raw, out = tmp_path / "raw", tmp_path / "out"
    rows = [{"participant_id": f"sub-{i}", "group": "ALS" if i < 3 else "CON"} for i in range(6)]
    for row in rows:
        add_scan(raw, out, row["participant_id"], 800, 1.5e6, ["asymmetric"])
    write_participants(raw, rows)
    assert main([str(raw), str(out), "group", "--exclude-flagged"]) == 65
    assert "3 flagged, left out as asked for" in capsys.readouterr().err


def test_kinds_of_image_are_told_apart_and_mixing_them_is_said(study, capsys):
    raw, out = study
    add_scan(raw, out, "sub-001", 700, 1.5e6, suffix="UNIT1")
    assert main([str(raw), str(out), "group"]) == 0
    assert "Images of different kinds" not in capsys.readouterr().err  # of a person's scans, the T1w is tested
    (out / "sub-001" / "anat" / "sub-001_desc-volumetric_morph.tsv").unlink()
    assert main([str(raw), str(out), "group"]) == 0
    assert "Images of different kinds are compared (7 T1w, 1 UNIT1)" in capsys.readouterr().err
    table = pd.read_csv(out / "group_volumes.tsv", sep="\t", dtype=str)
    assert table["scan"].tolist()[0] == "sub-001_UNIT1"
    assert table["source_file"].tolist()[0] == "sub-001/anat/sub-001_UNIT1.nii.gz"


def test_nothing_to_read(study, tmp_path, capsys):
    raw, out = study
    assert main([str(raw), str(tmp_path / "none"), "group"]) == 66
    assert "participant level first" in capsys.readouterr().err
    (raw / "participants.tsv").unlink()
    assert main([str(raw), str(out), "group"]) == 66
    assert "participants.tsv" in capsys.readouterr().err


def test_no_network_is_loaded(study):
    raw, out = study
    code = (
        "import sys; from bids_hypo.cli.main import main; "
        f"code = main([{str(raw)!r}, {str(out)!r}, 'group']); "
        "sys.exit(code or int(bool({'tensorflow', 'tf_keras', 'segmentation_models'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (out / "group_report.html").exists()
