"""The table of a comparison: ours and the paper's figures in their places."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bids_hypo.workflow.comparison_table import HERE, comparison_columns, comparison_page, comparison_table
from bids_hypo.workflow.evaluation_tables import all_tables

DICE = {"vgg16": [0.7, 0.8, 0.75, 0.85], "mobilenet": [0.6, 0.72, 0.65, 0.73]}


@pytest.fixture
def table():
    true = np.array([700.0, 800.0, 900.0, 1000.0])
    rows = []
    for method, dices in DICE.items():
        found = true + np.array([-30, -11, 20, 1] if method == "vgg16" else [12, 7, -40, 3])
        for n, dice in enumerate(dices):
            rows.append(
                {
                    "scan": f"sub-{n}", "method": method, "structure": "hypothalamus", "part": "whole",
                    "hemisphere": "B", "true_mm3": true[n], "volume_mm3": found[n], "dice": dice,
                    "iou": dice / (2 - dice), "precision": 0.9, "recall": 0.8, "hausdorff95_mm": 2 - dice,
                    "mean_surface_distance_mm": 1 - dice, "volume_error_percent": 100 * (found[n] / true[n] - 1),
                }
            )  # fmt: skip
    scans = pd.DataFrame(rows)
    segmented, ms = {"vgg16": 5, "mobilenet": 4, "none": 0}, dict.fromkeys(("vgg16", "mobilenet", "none"), 12.5)
    return comparison_table({**all_tables(scans, None, ()), "scans": scans}, list(segmented), 6, segmented, ms)


def test_every_encoder_has_a_row_and_known_ones_the_papers_beside(table):
    assert list(table.columns) == list(comparison_columns())
    assert table["method"].tolist() == ["vgg16", "mobilenet", "none", "vgg16"]
    ours, other, none, paper = table.to_dict("records")
    assert ours["source"] == other["source"] == none["source"] == HERE != paper["source"]
    assert (ours["dice_mean"], ours["dice_sd"]) == pytest.approx((0.775, np.std(DICE["vgg16"], ddof=1)))
    assert (ours["n_scans"], ours["n_segmented"], ours["n"], none["n_segmented"], none["n"]) == (6, 5, 4, 0, 0)
    assert ours["bias_mm3"] == pytest.approx(-5) and ours["test"] == "paired t" and ours["true_mm3_mean"] == 850
    assert np.isnan(none["dice_mean"])
    assert (paper["dice_mean"], paper["dice_sd"], paper["volume_mm3_mean"], paper["ms_per_slice"]) == (
        0.83,
        0.07,
        850,
        42,
    )


def test_the_page_is_laid_out_like_table_1(table):
    lines = comparison_page(table, ["About."]).splitlines()
    assert lines[0] == "|  | VGG16 | paper | mobilenet | none |"
    cells = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines[2:15]}
    assert cells["Dice"][:3] == ["0.78 ± 0.06", "0.83 ± 0.07", "0.67 ± 0.06"]
    assert cells["Time a slice, ms"] == ["12.5", "42.0", "12.5", "12.5"]
    assert cells["Volume, mm³"][:2] == ["845 ± 146", "850 ± 160"]
    assert cells["True volume, mm³"][1] == "820 ± 100"
    assert cells["Volume minus truth, mm³ (limits of agreement)"][0] == "-5 (-46 to 36)"
    assert cells["Scans segmented"] == ["5 of 6", "30 of 30", "4 of 6", "0 of 6"]
    assert cells["Scans above"] == ["4", "30", "4", "0"]
    assert "- About." in lines
