"""Figures and sentences of an evaluation."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from bids_hypo.image.volume import Volume
from bids_hypo.report.agreement_figures import associations_figure, bland_altman_figure, metrics_figure
from bids_hypo.report.evaluation_page import EvaluationPage, headline, write_evaluation_page
from bids_hypo.report.evaluation_rows import p_text
from bids_hypo.report.outline_figures import FOUND_COLOUR, TRUTH_COLOUR, OutlineCase, outline_figure
from bids_hypo.workflow.evaluation_tables import METRICS, RANKED, all_tables
from tests.phantoms import affine_for, inside_ellipsoid, world_mm

AFFINE = affine_for("RAS", (1, 1, 1), (30, 30, 30))


@pytest.fixture
def scans():
    rng = np.random.default_rng(0)
    rows = []
    for number in range(8):
        true = 800.0 + 20 * number
        for method, factor in (("A", 1.1), ("<B>", 0.8)):
            values = {"iou": 0.8, "precision": 0.9, "recall": 0.9}
            values |= {"hausdorff95_mm": 1.0, "mean_surface_distance_mm": 0.3}
            found = true * factor + rng.normal(0, 5)
            rows.append(
                {"participant_id": f"sub-{number}", "session_id": None, "scan": f"sub-{number}", "method": method}
                | {
                    "structure": "x",
                    "part": "whole",
                    "hemisphere": "B",
                    "status": "compared",
                    "true_mm3": true,
                    "volume_mm3": found,
                }
                | {"resampled": "no", "grid_dice": 1.0}
                | {"volume_error_mm3": found - true, "volume_error_percent": 100 * (found - true) / true}
                | {"dice": 0.8 + 0.02 * number, "note": None, "truth_file": "t", "prediction_file": "p"}
                | values
            )
    return pd.DataFrame(rows)


def test_bland_altman_lines_stand_where_the_table_says(scans):
    agreement = all_tables(scans, None, ())["agreement"]
    figure = bland_altman_figure(scans, agreement, "B")
    ax = figure.axes[1]
    row = agreement.iloc[1]
    at = {float(line.get_ydata()[0]) for line in ax.lines}
    assert at == {0.0, row["bias_mm3"], row["lower_limit_mm3"], row["upper_limit_mm3"]}
    points = np.asarray(ax.collections[-1].get_offsets())
    part = scans[scans["method"] == "<B>"]
    assert np.sort(points[:, 1]) == pytest.approx(np.sort((part["volume_mm3"] - part["true_mm3"]).to_numpy()))
    assert len(ax.patches) == 3  # a band for each line


def test_every_scan_is_a_point(scans):
    figure = metrics_figure(scans, [("dice", "Dice"), ("volume_error_percent", "Volume error")], ["B"])
    assert [ax.get_title() for ax in figure.axes] == ["Dice", "Volume error"]
    for ax in figure.axes:
        assert sum(len(c.get_offsets()) for c in ax.collections) == len(scans)


def test_scores_without_an_estimate_are_left_out():
    table = pd.DataFrame(
        {"analysis": "cross-sectional", "hemisphere": "B", "method": ["truth", "A"] * 2, "score": ["x", "x", "y", "y"],
         "pearson_r": [0.5, 0.4, np.nan, np.nan], "pearson_r_low": [0.1, 0.0, np.nan, np.nan],
         "pearson_r_high": [0.8, 0.7, np.nan, np.nan]}
    )  # fmt: skip
    labels = [text.get_text() for text in associations_figure(table, "cross-sectional").axes[0].get_yticklabels()]
    assert labels == ["x"]


def _ball(centre, radius):
    points = world_mm((30, 30, 30), AFFINE)
    return Volume(inside_ellipsoid(points, centre, (radius,) * 3).astype(np.float32), AFFINE)


@pytest.mark.parametrize("with_image", [True, False])
def test_outlines_of_both_are_drawn(with_image):
    image = Volume(np.full((30, 30, 30), 50, np.float32), AFFINE) if with_image else None
    figure = outline_figure([OutlineCase("best", _ball((-2, 0, 0), 6), _ball((2, 0, 0), 6), image)])
    assert len(figure.axes) == 7 and figure.axes[0].get_title(loc="left") == "best"
    colours = [tuple(c.get_edgecolor()[0][:3]) for c in figure.axes[1].collections]
    assert colours == [to_rgb(TRUTH_COLOUR), to_rgb(FOUND_COLOUR)]
    # the sagittal slice on the left misses nothing of the truth, and the subject's left is on the left
    truth_path, found_path = (c.get_paths()[0].vertices[:, 0].mean() for c in figure.axes[1].collections)
    assert truth_path < found_path


def _page(scans, out):
    made = all_tables(scans, None, ())
    return EvaluationPage(
        out, "thalamus", "truth", scans, scans, made, METRICS, RANKED[:3], {"A": []}, {"A": ["sub-77"]}
    )


def test_the_sentences_say_larger_and_smaller(scans, tmp_path):
    first, second = headline(_page(scans, tmp_path))
    assert first.startswith("A: Dice 0.87 ± 0.05") and "% larger" in first
    assert second.startswith("<B>:") and "% smaller" in second


def test_names_are_escaped(scans, tmp_path):
    write_evaluation_page(_page(scans, tmp_path))
    page = (tmp_path / "evaluation.html").read_text()
    assert "<B>" not in page and "&lt;B&gt;" in page
    assert "sub-77" in page and "Left side" not in page and "Whole thalamus" in page


def test_each_part_has_its_section(scans, tmp_path):
    both = pd.concat([scans, scans.assign(part="outer <shell>")], ignore_index=True)
    write_evaluation_page(_page(both, tmp_path))
    page = (tmp_path / "evaluation.html").read_text()
    assert page.count("Agreement of volumes</h") == 2 and "Outer &lt;shell&gt;</h2>" in page
    figures = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert figures == {
        "metrics",
        "bland-altman_whole",
        "part-outer-shell-_metrics",
        "part-outer-shell-_bland-altman_whole",
    }


def test_p_values_as_in_papers():
    assert [p_text(p) for p in (0.5, 0.0004, 0.04999, float("nan"))] == ["0.500", "< 0.001", "0.050", "n/a"]
