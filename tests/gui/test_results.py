"""Tables and zips: the numbers of the core to the last digit."""

import zipfile

import pandas as pd
import pytest

from bids_hypo.gui import html, results
from tests.finished import finished_dataset

ROWS = [
    {"structure": "hypothalamus", "part": "whole", "hemisphere": "L", "volume_mm3": "400.125", "volume_sd_mm3": "n/a",
     "flags": "n/a"},
    {"structure": "hypothalamus", "part": "whole", "hemisphere": "R", "volume_mm3": "410.0", "volume_sd_mm3": "n/a",
     "flags": "asymmetric;small_volume"},
    {"structure": "hypothalamus", "part": "whole", "hemisphere": "B", "volume_mm3": "810.125", "volume_sd_mm3": "9.1",
     "flags": "asymmetric"},
    {"structure": "ICV", "part": "whole", "hemisphere": "B", "volume_mm3": "1500000.0", "volume_sd_mm3": "n/a",
     "flags": "n/a"},
]  # fmt: skip
TITLES = ["<left>", "right", "both", "ICV"]


def test_normalised_volumes_by_hand():
    # V / V_ICV * reference: 810.125 / 1500 cm3 * 1532 cm3
    found = results.normalised_mm3(ROWS, 1532.0)
    assert found[2] == pytest.approx(827.4076667) and found[0] == pytest.approx(400.125 * 1532 / 1500)
    assert found[3] is None
    assert results.normalised_mm3(ROWS, None) == [None] * 4
    without = [*ROWS[:3], ROWS[3] | {"volume_mm3": "n/a"}]
    assert results.normalised_mm3(without, 1532.0) == [None] * 4


@pytest.mark.parametrize(("given", "expected"), [(1532, 1532.0), (0, None), (-5, None), (9999, None), (None, None)])
def test_a_reference_must_be_the_size_of_a_head(given, expected):
    assert results.checked_reference(given) == expected


def test_the_table_shows_what_is_written_and_flags_in_words():
    page = html.volumes("sub-<b>", ROWS, TITLES, 1532.0)
    for shown in (
        "400.125",
        "810.125",
        "1500000.0",
        "9.1",
        "827.4",
        "Asymmetric",
        "Too small",
        "sub-&lt;b&gt;",
        "&lt;left&gt;",
    ):
        assert shown in page
    assert page.count("<li>") == 2
    assert "No flags" in html.volumes("x", [row | {"flags": "n/a"} for row in ROWS], TITLES, None)


def test_messages_are_escaped():
    assert "<script>" not in html.alert(["<script>alert(1)</script>"]) + html.good("<script>")
    assert "<img" not in html.table("<img>", ["<img>"], [["<img>"]])
    assert "<b>" not in html.report_frame('<b>"x"</b>', "<b>")


def test_the_batch_table_holds_every_scan_and_the_names_of_the_files(tmp_path):
    _, out, names = finished_dataset(tmp_path, [{"sub": "01"}, {"sub": "02"}], flags={"02": ("asymmetric",)})
    results.write_batch_table(out, {"sub-02_T1w": "Scan B.nii"}, tmp_path / "volumes.tsv")
    table = pd.read_csv(tmp_path / "volumes.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert list(table.columns) == list(results.BATCH_COLUMNS)
    assert table["file"].tolist() == ["n/a", "Scan B.nii"] and table["flags"].tolist() == ["n/a", "asymmetric"]
    written = results.read_morph(names[1].morph)
    shown = ["left_mm3", "right_mm3", "volume_mm3", "icv_mm3"]
    assert [float(table[c][1]) for c in shown] == [float(row["volume_mm3"]) for row in written]


def test_a_zip_holds_the_whole_folder_or_a_part(tmp_path):
    folder = tmp_path / "derivatives"
    (folder / "sub-1" / "anat").mkdir(parents=True)
    (folder / "sub-1" / "anat" / "a.nii.gz").write_bytes(b"1")
    (folder / ".bidsignore").write_text("x")
    (folder / "group_report.html").write_text("y")
    with zipfile.ZipFile(results.zip_folder(folder, tmp_path / "all.zip")) as archive:
        assert set(archive.namelist()) == {
            "derivatives/.bidsignore", "derivatives/group_report.html", "derivatives/sub-1/anat/a.nii.gz"
        }  # fmt: skip
    with zipfile.ZipFile(results.zip_folder(folder, tmp_path / "some.zip", only=("group_*",))) as archive:
        assert archive.namelist() == ["derivatives/group_report.html"]
