"""The evaluation from folders to tables and the page."""

import json
import re
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, stats

from bids_hypo.bids.scores import Scores
from bids_hypo.errors import CannotCreateError, NoInputError, NothingSelectedError, UsageError
from bids_hypo.image.label_numbers import Wanted
from bids_hypo.structures import HYPOTHALAMUS
from bids_hypo.workflow.evaluate import evaluate
from bids_hypo.workflow.evaluation_associations import association_comparisons_table, associations_table
from bids_hypo.workflow.evaluation_columns import column_dictionary
from bids_hypo.workflow.evaluation_plan import EvaluateOptions, Source
from bids_hypo.workflow.evaluation_sessions import days_of_dataset, order_remarks
from tests.finished import TRIDENT, finished_dataset
from tests.phantoms import affine_for, inside_ellipsoid, make_bids_dataset, phantom_head, world_mm, write_scan

SHAPE = (26, 22, 20)
AFFINE = affine_for("RAS", (1.0, 1.0, 1.0), SHAPE)
N = 6
HYPO = Wanted(HYPOTHALAMUS)


def _truth(number):
    points = world_mm(SHAPE, AFFINE)
    radii = (3.2 + 0.15 * number, 6.0, 4.2 + 0.1 * number)
    left = inside_ellipsoid(points, (-6, 0, 0), radii)
    right = inside_ellipsoid(points, (6, 0, 0), np.array(radii) * 0.95)
    return left * 1 + right * 2


@pytest.fixture
def folders(tmp_path):
    """See `_write_folders`."""
    return _write_folders(tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folders after a complete evaluation with scores; only read it."""
    folder = _write_folders(tmp_path_factory.mktemp("done"))
    return folder, evaluate(replace(_options(folder), scores=_scores(folder)))


@pytest.fixture
def no_page(monkeypatch):
    """Without figures, which take most of the time."""
    monkeypatch.setattr("bids_hypo.workflow.evaluate.write_evaluation_page", lambda page: None)


def _write_folders(tmp_path):
    """Truth and three methods: exact, with FreeSurfer's numbers; moved by a voxel; too thin, one subject missing."""
    for number in range(N):
        labels = _truth(number)
        name = f"sub-{number:02d}"
        write_scan(tmp_path / f"truth/{name}_seg-hypothalamus_dseg.nii.gz", labels, AFFINE)
        moved = np.roll(labels, 1, axis=1)
        write_scan(tmp_path / f"moved/{name}/anat/{name}_seg-hypothalamus_dseg.nii.gz", moved, AFFINE)
        folder = tmp_path / f"subjects/{name}/mri"
        folder.mkdir(parents=True)
        numbers = np.where(labels == 1, 801 + number % 5, np.where(labels == 2, 806 + number % 5, 0))
        nib.save(nib.MGHImage(numbers.astype(np.int32), AFFINE), folder / "hypothalamic_subunits_seg.v1.mgz")
        if number:
            thin = ndimage.binary_erosion(labels > 0)
            for side, label in (("L", 1), ("R", 2)):
                write_scan(tmp_path / f"thin/{name}_label-{side}_mask.nii", (labels == label) & thin, AFFINE, np.uint8)
    return tmp_path


def _options(folder, **methods):
    names = methods or {"FreeSurfer": "subjects", "moved": "moved", "thin": "thin"}
    sources = tuple(Source(name, folder / where) for name, where in names.items())
    return EvaluateOptions(Source("truth", folder / "truth"), sources, folder / "out", HYPO)


def _read(folder, name):
    return pd.read_csv(folder / f"out/evaluation_{name}.tsv", sep="\t", na_values=["n/a"], keep_default_na=False)


def test_tables_of_three_methods(done):
    folders, evaluation = done
    scans = _read(folders, "scans")
    assert len(evaluation.common) == N - 1
    assert evaluation.count("compared") == 3 * N - 1
    missing = scans[scans["status"] == "missing"]
    assert missing[["scan", "method"]].to_numpy().tolist() == [["sub-00", "thin"]]
    exact = scans[(scans["method"] == "FreeSurfer") & (scans["hemisphere"] == "L")]
    assert (exact["dice"] == 1).all() and (exact[["hausdorff95_mm", "volume_error_mm3"]] == 0).all(axis=None)
    assert exact["true_mm3"].tolist() == [(_truth(n) == 1).sum() for n in range(N)]
    one = scans[(scans["method"] == "moved") & (scans["scan"] == "sub-03") & (scans["hemisphere"] == "R")].iloc[0]
    true, found = _truth(3) == 2, np.roll(_truth(3), 1, axis=1) == 2
    assert one["dice"] == pytest.approx(2 * (true & found).sum() / (true.sum() + found.sum()), abs=1e-6)
    compared = scans[scans["status"] == "compared"]
    assert (compared["resampled"] == "no").all() and (compared["grid_dice"] == 1).all()
    assert set(scans["hemisphere"]) == {"L", "R", "B"}


def test_ranking_and_comparisons_find_the_order(done):
    folders, _ = done
    ranking = _read(folders, "ranking")
    dice = ranking[(ranking["metric"] == "dice") & (ranking["hemisphere"] == "B")]
    assert dice["method"].tolist() == ["FreeSurfer", "moved", "thin"]
    assert dice["mean_rank"].tolist() == [1, 2, 3] and dice["rank"].tolist() == [1, 2, 3]
    assert (dice["n"] == N - 1).all() and (dice["friedman_p"] < 0.01).all()
    pairs = _read(folders, "comparisons")
    pair = pairs[(pairs["metric"] == "dice") & (pairs["hemisphere"] == "B") & (pairs["second"] == "thin")]
    assert (pair["difference"] > 0).all() and (pair["p_corrected"] >= pair["p"]).all()


def test_the_summary_is_laid_out_like_the_papers_table(done):
    folders, _ = done
    summary = _read(folders, "summary").set_index(["structure", "part", "hemisphere", "metric"])
    summary = summary.loc[HYPOTHALAMUS].loc["whole"]
    assert list(summary.columns) == ["unit", "n", "truth", "FreeSurfer", "moved", "thin"]
    assert summary.loc[("B", "dice"), "FreeSurfer"] == "1.00 ± 0.00"
    values = np.array([(_truth(n) > 0).sum() for n in range(1, N)])
    assert summary.loc[("B", "volume_mm3"), "truth"] == f"{values.mean():.0f} ± {values.std(ddof=1):.0f}"
    agreement = _read(folders, "agreement").set_index(["method", "hemisphere"])
    assert agreement.loc[("moved", "B"), "icc_2_1"] == 1
    assert agreement.loc[("thin", "B"), "bias_mm3"] < -50
    assert agreement.loc[("thin", "B"), "bias_mm3_high"] < 0


def test_every_table_has_its_dictionary(done):
    folders, _ = done
    tables = sorted((folders / "out").glob("*.tsv"))
    assert len(tables) == 8
    for path in tables:
        columns = path.read_text().splitlines()[0].split("\t")
        known = json.loads(path.with_suffix(".json").read_text())
        assert list(known) == columns
        assert all(entry["Description"] for entry in known.values())


def test_the_page_stands_alone_and_says_what_is_missing(done):
    folders, _ = done
    page = (folders / "out/evaluation.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert not re.search(r"https?:", re.sub(r"data:image/png;base64,[^\"]+", "", page))
    assert "5 scans that\nall methods have" in page and "Not compared: 1 of" in page
    figures = {p.stem for p in (folders / "out/figures").iterdir()}
    assert figures >= {"metrics", "bland-altman_whole", "outlines_1", "associations_1"}


def test_the_same_input_gives_the_same_bytes(done, tmp_path):
    folders, _ = done
    evaluate(replace(_options(folders), scores=_scores(folders), out=tmp_path))
    first, second = ({p.name: p.read_bytes() for p in o.rglob("*.*")} for o in (folders / "out", tmp_path))
    assert len(first) > 20 and first == second


def test_one_method_is_not_ranked(folders, no_page):
    evaluation = evaluate(_options(folders, moved="moved"))
    assert set(evaluation.tables) == {"summary", "metrics", "agreement"}
    assert len(evaluation.common) == N


def test_outlines_are_drawn_on_the_scans(folders):
    make_bids_dataset(folders / "data", [{"sub": f"{n:02d}"} for n in range(N)], phantom_head())
    evaluate(_options(folders, moved="moved"))
    plain = (folders / "out/figures/outlines_1.png").read_bytes()
    evaluate(replace(_options(folders, moved="moved"), images=folders / "data"))
    assert (folders / "out/figures/outlines_1.png").read_bytes() != plain


def test_an_unreadable_file_is_told_and_the_others_go_on(folders, no_page):
    (folders / "moved/sub-02/anat/sub-02_seg-hypothalamus_dseg.nii.gz").write_bytes(b"broken")
    evaluation = evaluate(_options(folders))
    assert evaluation.count("unreadable") == 1 and len(evaluation.common) == N - 2
    row = evaluation.scans[evaluation.scans["status"] == "unreadable"].iloc[0]
    assert row["scan"] == "sub-02" and "sub-02_seg-hypothalamus_dseg.nii.gz" in row["note"]


def test_another_grid_is_told_with_what_it_costs(folders, caplog):
    affine = affine_for("LAS", (1.4, 1.3, 1.5), (20, 18, 14))
    points = world_mm((20, 18, 14), affine)
    for number in range(N):
        left, right = (inside_ellipsoid(points, (x, 0, 0), (3.5, 6, 4.4)) for x in (-6, 6))
        write_scan(folders / f"coarse/sub-{number:02d}_dseg.nii.gz", left + 2 * right, affine)
    evaluation = evaluate(_options(folders, coarse="coarse", moved="moved"))
    rows = evaluation.scans[evaluation.scans["method"] == "coarse"]
    assert (rows["resampled"] == "yes").all() and rows["grid_dice"].between(0.7, 0.99).all()
    assert "coarse: 6 scan(s) lay on another grid" in caplog.text and "moved" not in caplog.text
    assert "(coarse: 6 scans)" in (folders / "out/evaluation.html").read_text()


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda labels: np.select([labels == 1, labels == 2], [2, 1]), "left and right seem to be swapped"),
        (lambda labels: np.roll(labels, 10, axis=2), "no overlap: are both in the same space?"),
    ],
)
def test_swapped_sides_and_another_space_are_noticed(change, note, folders, no_page, caplog):
    write_scan(folders / "moved/sub-01/anat/sub-01_seg-hypothalamus_dseg.nii.gz", change(_truth(1)), AFFINE)
    scans = evaluate(_options(folders, moved="moved")).scans
    assert (scans["note"] == note).groupby(scans["scan"]).all().to_dict() == {f"sub-{n:02d}": n == 1 for n in range(N)}
    assert f"moved: {note} (1 scan(s): sub-01)" in caplog.text


def test_images_of_others_are_done_without(folders, caplog):
    make_bids_dataset(folders / "data", [{"sub": "77"}], phantom_head())
    evaluate(replace(_options(folders, moved="moved"), images=folders / "data"))
    assert "drawn without scans" in caplog.text
    with pytest.raises(NoInputError, match="nowhere"):
        evaluate(replace(_options(folders), images=folders / "nowhere"))


def test_an_empty_prediction_counts(folders, no_page):
    path = folders / "moved/sub-02/anat/sub-02_seg-hypothalamus_dseg.nii.gz"
    write_scan(path, np.zeros(SHAPE), AFFINE)
    evaluation = evaluate(_options(folders))
    row = evaluation.scans.query("scan == 'sub-02' and method == 'moved' and hemisphere == 'B'").iloc[0]
    assert row["dice"] == 0 and np.isnan(row["hausdorff95_mm"]) and row["note"] == "the prediction is empty"
    ranking = evaluation.tables["ranking"].query("metric == 'hausdorff95_mm' and hemisphere == 'B'").set_index("method")
    assert ranking.loc["moved", "mean_rank"] > 2 - 1e-9


def test_a_method_without_sides_is_compared_as_a_whole(folders, no_page):
    for number in range(N):
        write_scan(folders / f"whole/sub-{number:02d}_mask.nii.gz", _truth(number) > 0, AFFINE, np.uint8)
    evaluation = evaluate(_options(folders, whole="whole", moved="moved"))
    scans = evaluation.scans
    assert set(scans.loc[scans["method"] == "whole", "hemisphere"]) == {"B"}
    summary = evaluation.tables["summary"].set_index(["hemisphere", "metric"])
    assert pd.isna(summary.loc[("L", "dice"), "whole"]) and summary.loc[("L", "dice"), "moved"] < "1"
    assert set(evaluation.tables["comparisons"]["hemisphere"]) == {"B"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"participant_labels": ("77",)}, NothingSelectedError, "sub-00"),
        ({"out": "truth"}, UsageError, "one of the inputs"),
        ({"out": "truth/sub-00_seg-hypothalamus_dseg.nii.gz/out"}, CannotCreateError, "cannot be made"),
        ({"scores": "strangers"}, UsageError, "none of the participants"),
    ],
)
def test_what_cannot_be_evaluated(change, error, message, folders):
    (folders / "strangers").write_text("participant_id\tEDSS\nsub-x\t1\n")
    paths = {k: folders / v if isinstance(v, str) else v for k, v in change.items()}
    with pytest.raises(error, match=message):
        evaluate(replace(_options(folders), **paths))


def test_no_scan_in_common_is_an_error_that_counts(folders):
    shutil.rmtree(folders / "thin")
    write_scan(folders / "thin/sub-99_mask.nii.gz", _truth(0) > 0, AFFINE, np.uint8)
    with pytest.raises(NoInputError, match="FreeSurfer: 6, moved: 6, thin: 0"):
        evaluate(_options(folders))


def _scores(folder):
    path = folder / "scores.tsv"
    path.write_text("participant_id\tEDSS\n" + "".join(f"sub-{n:02d}\t{10 - n}\n" for n in range(N)))
    return path


def test_volumes_are_correlated_with_scores(folders, no_page):
    evaluate(replace(_options(folders, FreeSurfer="subjects", moved="moved"), scores=_scores(folders)))
    table = _read(folders, "associations").query("hemisphere == 'B'").set_index("method")
    assert list(table.index) == ["truth", "FreeSurfer", "moved"]
    expected = stats.pearsonr([(_truth(n) > 0).sum() for n in range(N)], [10 - n for n in range(N)])
    assert table.loc["truth", "pearson_r"] == pytest.approx(expected.statistic, abs=1e-6)
    assert table.loc["truth", "pearson_p"] == pytest.approx(expected.pvalue, abs=1e-6)
    assert (table["analysis"] == "cross-sectional").all() and (table["n"] == N).all()


def test_people_that_no_row_or_no_truth_names_are_told(folders, no_page, caplog):
    (folders / "scores.tsv").write_text("participant_id\tEDSS\nsub-0\t1\nsub-01\t2\nsub-02\t5\nsub-03\t4\n")
    options = replace(_options(folders, moved="moved"), scores=folders / "scores.tsv")
    evaluate(replace(options, participant_labels=("00", "01", "02", "03", "99"), session_labels=("1",)))
    assert "participants asked for: 99. There are 00, 01" in caplog.text
    assert "sessions asked for: 1. There are none." in caplog.text
    assert "no row for 1 of 4 participants of the truth, who are not correlated: 00. Did you mean 0" in caplog.text


def test_which_scores_are_taken_for_scans_without_sessions_is_told(folders, no_page, caplog):
    rows = [f"sub-{n:02d}\t{s}\t{n}\n" for n in range(N) for s in ("pre", "post")]
    (folders / "scores.tsv").write_text("participant_id\tsession_id\tEDSS\n" + "".join(rows))
    evaluate(replace(_options(folders, moved="moved"), scores=folders / "scores.tsv"))
    assert f"post, pre of {N} participants" in caplog.text and "so post is the first" in caplog.text


def test_sessions_without_scores_are_told(tmp_path, no_page, caplog):
    for n in range(4):
        for session in ("1", "2"):
            name = f"sub-{n:02d}_ses-{session}_dseg.nii.gz"
            write_scan(tmp_path / "truth" / name, _truth(n), AFFINE)
    rows = [f"sub-{n:02d}\t{s}\t{n}\n" for n in range(4) for s in (("1", "02") if n else ("1", "2"))]
    (tmp_path / "scores.tsv").write_text("participant_id\tsession_id\tEDSS\n" + "".join(rows))
    evaluate(replace(_options(tmp_path, same="truth"), scores=tmp_path / "scores.tsv"))
    assert "no row for 3 of 8 sessions of the truth, which are not correlated: sub-01 ses-2, sub-02" in caplog.text


def _two_sessions(n=12):
    rng = np.random.default_rng(5)
    rows, scores = [], []
    for person in range(n):
        start, loss = 800 + rng.normal(0, 40), person
        for session, volume in (("1", start), ("2", start * (1 - loss / 100))):
            scan = f"sub-{person:02d}_ses-{session}"
            rows.append((f"sub-{person:02d}", f"ses-{session}", scan, "A", "B", volume, volume * 1.1))
            scores.append((f"{person:02d}", session, 40.0 - (loss * 2 if session == "2" else 0) + person % 3))
    columns = ["participant_id", "session_id", "scan", "method", "hemisphere", "true_mm3", "volume_mm3"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(scores, columns=["sub", "ses", "ALSFRS"])


def test_change_between_two_sessions():
    scans, scores = _two_sessions()
    table = associations_table(scans, Scores(scores, ("ALSFRS",))).set_index(["analysis", "method"])
    # the volume falls by as many percent as half of what the score falls
    assert table.loc[("change", "A"), "pearson_r"] == pytest.approx(1)
    assert table.loc[("change", "truth"), "n"] == 12
    assert table.loc[("cross-sectional", "A"), "n"] == 12
    assert abs(table.loc[("cross-sectional", "A"), "pearson_r"]) < 0.9


def test_methods_are_compared_by_their_correlations_with_change():
    scans, scores = _two_sessions()
    noise = np.random.default_rng(1).normal(0, 60, len(scans))
    noisy = scans.assign(method="C", volume_mm3=scans["volume_mm3"] + noise)
    both = pd.concat([scans, noisy], ignore_index=True)
    table = association_comparisons_table(both, Scores(scores, ("ALSFRS",))).set_index(["analysis", "first", "second"])
    assert len(table) == 2 * 3 and set(table.columns) <= set(column_dictionary("association_comparisons"))
    same, other = (table.loc[("change", "truth", name)] for name in ("A", "C"))
    assert same["difference"] == 0 and same["p"] == 1 and same["n"] == 12
    assert other["difference"] > 0 and other["p"] < 0.05 and other["p_corrected"] >= other["p"]


def test_change_against_scores_without_sessions():
    scans, _ = _two_sessions()
    once = pd.DataFrame({"sub": [f"{n:02d}" for n in range(12)], "duration": np.arange(12.0)})
    table = associations_table(scans, Scores(once, ("duration",))).set_index(["analysis", "method"])
    assert table.loc[("change and first score", "A"), "pearson_r"] == pytest.approx(-1)


def test_every_column_written_is_explained():
    assert "dice" in column_dictionary("scans")
    assert column_dictionary("summary", ["mine"])["mine"]["Description"].endswith("mine")


def _two_labels(first, second, days=None):
    scans, scores = _two_sessions()
    renamed = {"1": first, "2": second}
    scans["session_id"] = "ses-" + scans["session_id"].str[-1].map(renamed)
    scans["scan"] = scans["participant_id"] + "_" + scans["session_id"]
    scores["ses"] = scores["ses"].map(renamed)
    table = associations_table(scans, Scores(scores, ("ALSFRS",), days=days or {}))
    only_first = Scores(scores[scores["ses"] == first].drop(columns="ses"), ("ALSFRS",))
    return table, associations_table(scans, only_first, days=days)


@pytest.mark.parametrize(
    ("first", "second", "days"),
    [("1", "2", {}), ("2", "10", {}),
     ("pre", "post", {(f"{n:02d}", ses): day for n in range(12) for ses, day in (("pre", 3.0), ("post", 90.0))})],
)  # fmt: skip
def test_the_first_session_is_by_time_or_by_number(first, second, days):
    table, change_only = _two_labels(first, second, days)
    expected, expected_change = _two_labels("1", "2")
    pd.testing.assert_frame_equal(table, expected)
    pd.testing.assert_frame_equal(change_only, expected_change)
    assert change_only.query("analysis == 'change and first score'")["n"].tolist() == [12, 12]


def test_an_order_that_labels_do_not_tell_is_told(tmp_path):
    sessions = pd.DataFrame([("01", "pre"), ("01", "post"), ("02", "2"), ("02", "10")], columns=["sub", "ses"])
    (remark,) = order_remarks(sessions, {})
    assert "post, pre of 1 participants (sub-01)" in remark and "so post is the first" in remark
    for session, day in (("pre", "2010-01-01"), ("post", "2011-01-01")):
        folder = tmp_path / f"sub-01/ses-{session}"
        folder.mkdir(parents=True)
        table = f"filename\tacq_time\nanat/sub-01_ses-{session}_T1w.nii.gz\t{day}T10:00:00\n"
        (folder / f"sub-01_ses-{session}_scans.tsv").write_text(table)
    days = days_of_dataset(tmp_path, ["01", "02"])
    assert [key for key, _ in sorted(days.items(), key=lambda item: item[1])] == [("01", "pre"), ("01", "post")]
    (told,) = order_remarks(sessions, days)
    assert "another order by time than by label" in told and "sub-01" in told


def test_a_structure_of_three_parts_that_no_code_knows(tmp_path):
    """Read by the numbers that are recorded beside it; the part on the midline does not count in the whole."""
    raw, out, names = finished_dataset(
        tmp_path, [{"sub": "01"}, {"sub": "02"}, {"sub": "03"}], structures=[HYPOTHALAMUS, TRIDENT.name]
    )
    moved = tmp_path / "moved"
    for scan in names:
        image = nib.load(scan.structures[TRIDENT.name].dseg)
        labels = np.roll(np.asarray(image.dataobj), 1, axis=1)
        write_scan(moved / f"sub-{scan.scan.subject}_seg-trident_dseg.nii.gz", labels, image.affine)
    for wanted, parts in ((Wanted(TRIDENT.name, TRIDENT), ["whole", "prong", "shaft"]), (Wanted(TRIDENT.name), None)):
        options = EvaluateOptions(
            Source("truth", out), (Source("self", out), Source("moved", moved)), tmp_path / "e", wanted, images=raw
        )
        if parts is None:  # the moved labels have no record, and nobody says what 31 to 33 mean
            with pytest.raises(NoInputError, match="Say which numbers are the trident"):
                evaluate(options)
            continue
        tables = evaluate(options).tables
        scans = pd.read_csv(tmp_path / "e/evaluation_scans.tsv", sep="\t").set_index(["method", "part", "hemisphere"])
        scans = scans.sort_index()
        assert list(tables["agreement"]["part"].unique()) == parts
        sides = {part: set(scans.loc["self"].loc[part].index) for part in parts}
        assert sides == {"whole": {"L", "R", "B"}, "prong": {"L", "R", "B"}, "shaft": {"B"}}
        assert (scans.loc["self", "dice"] == 1).all() and (scans.loc["moved", "dice"] < 1).all()
        volume = scans.loc["self"].groupby(["part", "hemisphere"])["volume_mm3"].first()
        assert volume["whole", "B"] == volume["prong", "L"] + volume["prong", "R"] == volume["prong", "B"]
        assert volume["shaft", "B"] > 0 and set(scans["structure"]) == {"trident"}
        page = (tmp_path / "e/evaluation.html").read_text()
        assert "Whole trident of Poseidon" in page and "<h2>Prong</h2>" in page and "<h2>Shaft</h2>" in page
