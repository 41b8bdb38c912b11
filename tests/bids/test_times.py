"""Times of sessions and scans."""

import pytest

from bids_hypo.bids.entities import image_name
from bids_hypo.bids.times import days_of, read_scan_times


@pytest.mark.parametrize(
    ("first", "second", "days"),
    [
        ("2009-06-15T13:45:30", "2009-06-16T13:45:30", 1),
        ("2009-06-15T13:45:30.500000Z", "2009-06-15T13:45:31", 0.5 / 86400),
        ("2009-06-15T00:00:00+02:00", "2009-06-15T00:00:00Z", 2 / 24),
        ("1625-03-01", "1626-03-01", 365),
        ("2400-02-28 08:00", "2400-03-01 08:00", 2),
        ("0001-01-01T00:00:00+02:00", "0001-01-01", 2 / 24),
        ("20090615T134530", "2009-06-15T13:45:30", 0),
    ],
)
def test_times_of_any_century(first, second, days):
    assert days_of(second) - days_of(first) == pytest.approx(days, abs=1e-6)


@pytest.mark.parametrize("text", ["01/02/2010", "2010-02", "2010", "15.06.2009", "13:45:30", "2009-13-01", "soon"])
def test_what_is_no_time_is_not_guessed(text):
    assert days_of(text) is None


def test_scan_times(tmp_path):
    inside = tmp_path / "sub-01" / "ses-1"
    inside.mkdir(parents=True)
    (inside / "sub-01_ses-1_scans.tsv").write_text(
        "filename\tAcq_Time\nanat/sub-01_ses-1_T1w.nii\t2010-01-01\nsub-01_b.nii.gz\tn/a\nsub-02_c.nii\t2010-01-01\n"
    )
    (tmp_path / "sub-01/sub-01_scans.tsv").write_text("filename\tacq_time\nses-2/anat/sub-01_d.nii.gz\t2011-01-01\n")
    (tmp_path / "sub-02").mkdir()
    (tmp_path / "sub-02" / "sub-02_scans.tsv").write_text("file\nx\n")
    found, problems = read_scan_times(tmp_path, ["sub-01", "sub-02", "sub-03"])
    assert found == {"sub-01_ses-1_T1w": [("2010-01-01", "sub-01_ses-1_scans.tsv")],
                     "sub-01_d": [("2011-01-01", "sub-01_scans.tsv")]}  # fmt: skip
    assert len(problems) == 1 and "no column filename" in problems[0]


@pytest.mark.parametrize(
    "path",
    ["anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_T1w.nii", "./anat/sub-1_T1w.nii.gz", "anat\\sub-1_T1w.nii.gz",
     "/data/raw/sub-1/anat/sub-1_T1w.nii.gz", "bids::sub-1/anat/sub-1_T1w.nii.gz", "bids:raw:sub-1_T1w.nii.gz",
     "C:\\data\\sub-1_T1w.nii.gz", "sub-1_T1w"],
)  # fmt: skip
def test_an_image_is_known_by_its_name(path):
    assert image_name(path) == "sub-1_T1w"
