"""The group level on several structures, kinds of image and parts."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_hypo.errors import ExitCode, UsageError
from bids_hypo.measure.inference import FDR, HOLM, corrected_p
from bids_hypo.measure.volumes import PartVolume, icv_volume
from bids_hypo.report.norms import Measure
from bids_hypo.stats.results import FAMILIES
from bids_hypo.structures import HYPOTHALAMUS, ICV, WHOLE
from bids_hypo.workflow.cohort import load_cohort
from bids_hypo.workflow.group import ordered_series, run_group
from bids_hypo.workflow.group_options import GroupOptions
from bids_hypo.workflow.reports import scan_rows, value_of
from tests.group_cohorts import write_participants
from tests.many_structures import add_tables, as_of_version_0_1, sides, trident, write_two_structures

SERIES = ["structure", "image", "part"]
WHOLES = [["hypothalamus", "T1w", "whole"], ["trident", "T1w", "whole"], ["trident", "FLAIR", "whole"]]
OF_TRIDENT = [["trident", image, part] for image in ("T1w", "FLAIR") for part in ("whole", "prong", "shaft")]


def read(path):
    return pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=False)


def series_of(table):
    return table[SERIES].drop_duplicates().to_numpy().tolist()


@pytest.fixture
def two(tmp_path):
    return write_two_structures(tmp_path)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The output folder of a run with everything."""
    raw, out = write_two_structures(tmp_path_factory.mktemp("parts"))
    result = run_group(GroupOptions(raw, out, parts=True, scores=("score",)))
    assert result.exit_code == ExitCode.OK
    return out, result


def test_a_series_for_each_structure_and_kind_of_image(two):
    raw, out = two
    result = run_group(GroupOptions(raw, out, outlier_rule="none"))
    volumes, statistics = read(out / "group_volumes.tsv"), read(out / "group_statistics.tsv")
    assert series_of(volumes) == series_of(statistics) == WHOLES
    assert len(volumes) == 3 * 16 and volumes["tested"].all()
    assert [s.split(" was ")[0] for s in result.sentences] == [
        "The normalised hypothalamus", "The normalised trident of Poseidon",
        "The normalised trident of Poseidon on FLAIR"]  # fmt: skip
    assert result.counts["what"].drop_duplicates().tolist() == [
        "hypothalamus", "trident of Poseidon", "trident of Poseidon on FLAIR"]  # fmt: skip


def test_parts_are_asked_for(parts):
    volumes = read(parts[0] / "group_volumes.tsv")
    assert series_of(volumes) == [WHOLES[0], *OF_TRIDENT]
    assert not volumes.duplicated(["scan", *SERIES[::2]]).any()
    one = volumes[volumes["scan"] == "sub-01_T1w"].set_index(["structure", "part"])
    whole, prong, shaft = (one.loc[("trident", part)] for part in ("whole", "prong", "shaft"))
    assert prong["volume_mm3"] == pytest.approx(prong["left_mm3"] + prong["right_mm3"], abs=2e-3)
    assert whole["volume_mm3"] == pytest.approx(prong["volume_mm3"], abs=2e-3)
    assert shaft[["left_mm3", "right_mm3", "asymmetry_percent"]].isna().all() and shaft["volume_mm3"] < 200
    assert whole["volume_sd_mm3"] == 5 and np.isnan(prong["volume_sd_mm3"])  # what two sides share is not known
    about = json.loads((parts[0] / "group_volumes.json").read_text())
    assert set(about) == set(volumes) and len(about["normalised_mm3"]["MeanControlICV"]) == 7


def test_the_planted_difference_is_in_the_shaft_alone(parts):
    table = read(parts[0] / "group_statistics.tsv")
    rows = table[(table["analysis"] == "comparison") & table["chosen"] & table["primary"]]
    rows = rows[rows["measure"] == "normalised_mm3"].set_index(SERIES)
    for image in ("T1w", "FLAIR"):
        shaft = rows.loc[("trident", image, "shaft")]
        assert shaft["p_holm"] < 0.005 and shaft["percent"] == pytest.approx(-20, abs=8)
    assert (rows.drop([("trident", image, "shaft") for image in ("T1w", "FLAIR")])["p_holm"] > 0.05).all()
    shaft = table[table["part"] == "shaft"]
    assert not {"left_mm3", "right_mm3", "asymmetry_percent"} & set(shaft["measure"])
    assert set(table["analysis"]) - set(shaft["analysis"]) == {"asymmetry"}


def test_corrections_stay_within_a_series(parts):
    table = read(parts[0] / "group_statistics.tsv")
    table = table[table["chosen"] & table["analysis"].isin(FAMILIES) & table["p"].notna()]
    families = list(table.groupby([*SERIES, "analysis", "sample"]))
    assert {key[:3] for key, _ in families} == {tuple(s) for s in (WHOLES[0], *OF_TRIDENT)}
    for _, family in families:
        for column, method in (("p_holm", HOLM), ("p_fdr", FDR)):
            assert family[column].tolist() == pytest.approx(corrected_p(family["p"].tolist(), method), rel=1e-4)
    about = json.loads((parts[0] / "group_statistics.json").read_text())
    assert "of one structure on one kind of image, of the whole or one part" in about["p_holm"]["Description"]
    assert "not across them" in (parts[0] / "group_report.html").read_text()


def test_the_page_has_a_section_and_the_folder_figures_for_each(parts):
    out, result = parts
    page = (out / "group_report.html").read_text()
    headings = ["Hypothalamus", "Trident of Poseidon", "Trident of Poseidon (prong)",
                "Trident of Poseidon (shaft) on FLAIR"]  # fmt: skip
    assert page.count('<h2 class="series"') == 7
    assert all(f">{heading}</h2>" in page for heading in headings)
    assert 'id="trident-shaft-FLAIR-boxes"' in page and 'href="#trident-shaft-FLAIR-top"' in page
    assert "The normalised trident of Poseidon (shaft) on FLAIR was" in " ".join(result.sentences)
    assert "Hypothalamus, trident of Poseidon and intracranial volume (ICV) were measured" in page
    names = {path.stem for path in (out / "figures").glob("group_boxes*.svg")}
    assert names == {f"group_boxes_{key}" for key in (
        "hypothalamus", "trident", "trident-FLAIR", "trident-prong", "trident-prong-FLAIR", "trident-shaft",
        "trident-shaft-FLAIR")}  # fmt: skip


def test_structures_are_chosen_and_come_in_that_order(two):
    raw, out = two

    def chosen(*names):
        return [list(s) for s in ordered_series(load_cohort(GroupOptions(raw, out, structures=names)).table, names)]

    assert chosen() == WHOLES == chosen("hypothalamus", "trident")
    assert chosen("trident", "hypothalamus") == [*WHOLES[1:], WHOLES[0]]
    assert chosen("hypothalamus") == WHOLES[:1]
    with pytest.raises(UsageError, match=r"thalamus: not measured in .*; there are hypothalamus, trident"):
        chosen("thalamus")


def test_other_structures_change_nothing_and_tables_of_0_1_are_read(two, parts):
    raw, out = two
    for path in sorted(out.rglob("*_morph.tsv")):
        if "FLAIR" in path.name:
            path.unlink()
            continue
        table = read(path)
        table[table["structure"] != "trident"].to_csv(path, sep="\t", index=False, na_rep="n/a")
        as_of_version_0_1(path)
    assert "part" not in (out / "sub-01" / "anat" / "sub-01_desc-volumetric_morph.tsv").read_text()
    result = run_group(GroupOptions(raw, out, scores=("score",)))
    among_others = read(parts[0] / "group_statistics.tsv")
    among_others = among_others[among_others["structure"] == HYPOTHALAMUS].reset_index(drop=True)
    pd.testing.assert_frame_equal(read(out / "group_statistics.tsv"), among_others, check_dtype=False)
    assert result.sentences[0].startswith("The normalised hypothalamus was")
    assert (out / "figures" / "group_boxes.svg").is_file()  # of a single series, without its name


def test_an_image_without_icv_takes_that_of_a_scan_of_its_session(two, tmp_path):
    raw, out = two
    rows = {"trident": (trident(400, 400, 150), ())}
    add_tables(raw, out, "sub-01_run-10_T1w", rows | {ICV: (icv_volume(1.41e6), ())})
    add_tables(raw, out, "sub-01_run-2_T1w", rows | {ICV: (icv_volume(1.42e6), ())})
    add_tables(raw, out, "sub-01_T1w", rows | {ICV: (icv_volume(1.43e6), ("icv_edge",))})
    (out / "sub-02" / "anat" / "sub-02_desc-volumetric_morph.tsv").unlink()
    add_tables(raw, out, "sub-03_T1w", rows | {ICV: (icv_volume(None), ("skull_stripped",))})
    options = GroupOptions(raw, out, structures=("trident",), outlier_rule="none", dry_run=True)
    table = load_cohort(options).table.set_index("scan")
    one = table.loc["sub-01_FLAIR"]
    assert (one["icv_mm3"], one["icv_source"]) == (1.42e6, "sub-01_run-2_T1w")  # the first that has no flag
    assert table.loc["sub-01_T1w", "icv_source"] == "sub-01_T1w"
    assert table.loc[["sub-02_FLAIR", "sub-03_FLAIR"], ["icv_mm3", "icv_source"]].isna().all(axis=None)
    said = "trident of Poseidon on FLAIR: 2 of 16 tested scans have no ICV (it is measured on T1-weighted scans"
    assert any(remark.startswith(said) for remark in run_group(options).remarks)
    ratings = tmp_path / "ratings.tsv"
    ratings.write_text("source_file\trating\nsub-01/anat/sub-01_run-2_T1w.nii.gz\tbad\n")
    table = load_cohort(replace(options, ratings=ratings)).table.set_index("scan")
    assert table.loc["sub-01_FLAIR", "icv_source"] == "sub-01_run-10_T1w"


def test_a_series_that_cannot_be_compared_is_told_and_the_others_go_on(two):
    raw, out = two
    for path in out.rglob("*FLAIR*_morph.tsv"):
        if "sub-01" not in path.name:
            path.unlink()
    result = run_group(GroupOptions(raw, out, structures=("trident",), outlier_rule="none", dry_run=True))
    assert len(result.sentences) == 1
    assert any(r.startswith("Not compared: trident, FLAIR, whole. group 'ALS': 1 participants") for r in result.remarks)


def test_a_part_that_is_empty_in_one_session_does_not_end_the_run(tmp_path):
    raw, out = write_two_structures(tmp_path, 6)
    for i in range(1, 13):
        label = f"sub-{i:02d}"
        for path in (out / label / "anat").glob("*_morph.tsv"):
            path.unlink()
        for session in (1, 2):
            shaft = 0 if i == 3 and session == 1 else 150 - 5 * session + i
            rows = trident(400 + i - session * (i % 4), 395 + i % 3, shaft)
            measured = {"trident": (rows, ()), ICV: (icv_volume(1.5e6 + 1e4 * i), ())}
            add_tables(raw, out, f"{label}_ses-{session}_T1w", measured)
        (raw / label).mkdir()
        (raw / label / f"{label}_sessions.tsv").write_text("session_id\tage\nses-1\t50\nses-2\t52\n")
    options = GroupOptions(raw, out, structures=("trident",), parts=True, covariates=(), outlier_rule="none")
    said = run_group(options).sentences[-1]
    assert "The normalised trident of Poseidon (shaft) was" in said and "n/a" not in said
    table = read(out / "group_statistics.tsv")
    rows = table[(table["analysis"] == "longitudinal") & (table["part"] == "shaft") & (table["measure"] == "volume_mm3")
                 & (table["sample"] == "all") & (table["term"] == "years")].set_index("group_a")  # fmt: skip
    assert rows["n_a"].to_dict() == {"ALS": 5, "CON": 6} and np.isfinite(rows["estimate"]).all()


def test_sides_with_a_part_between_them_add_up(tmp_path):
    raw, out = write_two_structures(tmp_path, 3)
    nuclei = PartVolume("nucleus", "L", 50), PartVolume("nucleus", "R", 40), PartVolume("nucleus", "M", 7)
    alone = PartVolume("stem", None, 9, 1.5)
    for i in range(1, 7):
        rows = (*nuclei, alone, PartVolume(WHOLE, "B", 97))
        add_tables(raw, out, f"sub-{i:02d}_T1w", {"trident": (rows, ()), HYPOTHALAMUS: (sides(800 + i, 400), ())})
    table = load_cohort(GroupOptions(raw, out, parts=True)).table
    found = table[table["scan"] == "sub-01_T1w"].set_index(["structure", "part"])["volume_mm3"]
    assert (found["trident", "nucleus"], found["trident", "stem"], found["trident", "whole"]) == (97, 9, 97)
    rows = scan_rows(out)["sub-01_T1w"]
    for side, expected in {"L": 50, "R": 40, "M": 7}.items():  # what the page of another scan is told of this one
        assert value_of(rows, Measure(("trident", "nucleus", side), "", "mm³", 1.0, 1, None)) == expected


def test_susceptibility_is_compared_beside_the_volume_and_a_scan_without_a_nucleus_is_told(tmp_path):
    """Hypothalamus on T1w, the trident on maps; cases have less iron, and in one nothing is to be seen."""
    raw, out, rng, rows = tmp_path / "raw", tmp_path / "out", np.random.default_rng(0), []
    for i in range(12):
        label, case = f"sub-{i + 1:02d}", i < 6
        left, right = rng.normal(800, 40, 2)
        ppm = rng.normal(0.06 if case else 0.1, 0.005)
        halves = sides(left + right, left)
        seen = tuple(replace(one, mean_ppm=ppm, contrast_ppm=ppm + 0.01) for one in halves)
        lost = tuple(replace(one, volume_mm3=None, mean_ppm=np.nan, contrast_ppm=np.nan) for one in halves)
        add_tables(raw, out, f"{label}_T1w", {HYPOTHALAMUS: (halves, ()), ICV: (icv_volume(1.5e6), ())})
        of_map = lost if i == 0 else seen
        add_tables(raw, out, f"{label}_Chimap", {"trident": (of_map, ("not_visible",) if i == 0 else ())})
        rows.append({"participant_id": label, "group": "ALS" if case else "CON", "age": 50 + i % 5})
    write_participants(raw, rows)
    run_group(GroupOptions(raw, out, outlier_rule="none"))
    volumes, statistics = read(out / "group_volumes.tsv"), read(out / "group_statistics.tsv")
    assert volumes["mean_ppm"].notna().sum() == 11 == (volumes["image"] == "Chimap").sum()
    both = ["mean_ppm", "contrast_ppm"]
    found = statistics[statistics["measure"].isin(both) & (statistics["analysis"] == "comparison")]
    assert set(found["image"]) == {"Chimap"} and set(found["measure"]) == set(both)
    assert (found.loc[found["chosen"], "p"] < 1e-4).all() and (found["estimate"].abs() > 0.03).all()
    page = (out / "group_report.html").read_text("utf-8")
    assert "susceptibility of the trident of Poseidon on Chimap" in page and "gives no left_mm3" in page
