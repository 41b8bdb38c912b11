"""A folder that cannot be looked into costs what is in it, and is told; the rest is found."""

import logging

import pytest

from bids_hypo.bids import Selection, find_scans
from bids_hypo.bids.folders import closed_folders
from bids_hypo.bids.segmentations import find_segmentations
from bids_hypo.bids.subjects import check_dataset, subjects_in
from bids_hypo.bids.tables import read_volumes
from bids_hypo.errors import ScanReadError
from bids_hypo.image.label_numbers import Wanted
from bids_hypo.image.volume import check_scan
from bids_hypo.structures import HYPOTHALAMUS
from tests.group_cohorts import add_scan

HYPO = Wanted(HYPOTHALAMUS)
SCANS = (
    "sub-01/anat/sub-01_T1w.nii", "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii", "sub-02/ses-2/anat/sub-02_ses-2_T1w.nii",
)  # fmt: skip


@pytest.fixture
def dataset(permissions_hold):
    root = permissions_hold / "raw"
    for name in SCANS:
        (root / name).parent.mkdir(parents=True)
        (root / name).touch()
    (root / "dataset_description.json").write_text('{"Name": "s", "BIDSVersion": "1.9.0"}')
    return root


CLOSED = {
    "sub-01": ("01", SCANS[1:]),
    "sub-02/ses-2": ("02", SCANS[:2]),
    "sub-02/ses-2/anat": ("02", SCANS[:2]),
}


@pytest.mark.parametrize("mode", [0o444, 0o111])
@pytest.mark.parametrize("folder", CLOSED)
@pytest.mark.parametrize("index", [None, "new", "stored"])
def test_a_closed_folder_makes_its_subject_a_missing_one(dataset, caplog, folder, mode, index):
    label, others = CLOSED[folder]
    database = None if index is None else dataset.parent / "index"
    if index == "stored":
        find_scans(dataset, Selection(), database_dir=database)
    (dataset / folder).chmod(mode)
    check_dataset(dataset)
    scans, missing = find_scans(dataset, Selection(), database_dir=database)
    assert [str(scan.path.relative_to(dataset)) for scan in scans] == list(others)
    (only,) = missing
    assert only.subject == label
    assert str(dataset / folder) in only.reason and "Permission denied" in only.reason
    assert any(r.levelno == logging.WARNING and str(dataset / folder) in r.message for r in caplog.records)


def test_where_everything_is_closed_everybody_is_missing(dataset):
    for label in ("01", "02"):
        (dataset / f"sub-{label}").chmod(0)
    scans, missing = find_scans(dataset, Selection())
    assert scans == [] and [m.subject for m in missing] == ["01", "02"]


def test_a_closed_session_that_was_not_asked_for_is_no_failure(dataset):
    (dataset / "sub-02" / "ses-2").chmod(0)
    scans, missing = find_scans(dataset, Selection(participant_labels=("02",), session_labels=("1",)))
    assert len(scans) == 1 and missing == []


def test_a_subject_behind_a_closed_folder_is_a_closed_one(dataset):
    hidden = dataset.parent / "hidden"
    (hidden / "sub-03").mkdir(parents=True)
    (dataset / "sub-03").symlink_to(hidden / "sub-03")
    hidden.chmod(0)
    assert subjects_in(dataset) == ["01", "02", "03"]
    assert [m.subject for m in find_scans(dataset, Selection())[1]] == ["03"]


@pytest.mark.parametrize("index", [None, "index"])
def test_an_image_behind_a_closed_folder_is_one_that_fails_alone(dataset, index):
    hidden = dataset.parent / "hidden"
    hidden.mkdir()
    image = dataset / SCANS[0]
    image.rename(hidden / "object")
    image.symlink_to(hidden / "object")
    hidden.chmod(0)
    scans, missing = find_scans(dataset, Selection(), database_dir=index and dataset.parent / index)
    assert len(scans) == len(SCANS) and missing == []
    with pytest.raises(ScanReadError, match="Permission denied"):
        check_scan(image)


def test_a_link_to_itself_is_one_that_leads_nowhere(dataset):
    (dataset / "sub-03").symlink_to("sub-03")
    scans, missing = find_scans(dataset, Selection())
    assert len(scans) == len(SCANS)
    assert "a link to a folder that is not there" in missing[0].reason


def test_names_that_are_not_utf_8_cost_nobody_else(dataset):
    odd = dataset / b"sub-04\xff".decode(errors="surrogateescape") / "anat"
    odd.mkdir(parents=True)
    (odd / "sub-04_T1w.nii").touch()
    (dataset / "sub-01" / "anat" / b"sub-01_run-\xff_T1w.nii".decode(errors="surrogateescape")).touch()
    for database in (None, dataset.parent / "index"):
        scans, missing = find_scans(dataset, Selection(), database_dir=database)
        assert len(scans) == len(SCANS) and len(missing) == 1


def test_settings_of_pybids_in_a_folder_of_the_data_are_not_read(dataset):
    (dataset / "sub-01" / "layout_config.json").write_text("[" * 100_000)
    assert len(find_scans(dataset, Selection())[0]) == len(SCANS)


def test_open_folders_are_not_closed(dataset):
    assert closed_folders(dataset, ["01", "02", "99"]) == {}


def test_group_level_tells_the_subject_that_it_cannot_read(permissions_hold):
    raw, out = permissions_hold / "raw", permissions_hold / "out"
    for name in ("sub-01", "sub-02"):
        add_scan(raw, out, name, 800, 1.5e6)
    (out / "sub-02" / "anat").chmod(0)
    found = read_volumes(out, Selection())
    assert list(found.table["participant_id"]) == ["sub-01"]
    (problem,) = found.problems
    assert str(out / "sub-02" / "anat") in problem and "left out" in problem
    assert read_volumes(out, Selection(participant_labels=("01",))).problems == ()


def test_evaluation_and_training_tell_it_too(permissions_hold, caplog):
    for label in ("01", "02"):
        path = permissions_hold / f"sub-{label}" / "anat" / f"sub-{label}_dseg.nii.gz"
        path.parent.mkdir(parents=True)
        path.touch()
    (permissions_hold / "sub-02").chmod(0)
    assert [files.name for files in find_segmentations(permissions_hold, HYPO)] == ["sub-01"]
    assert str(permissions_hold / "sub-02") in caplog.text and "not used" in caplog.text
