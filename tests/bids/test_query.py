"""Finding scans: what is selected, what is reported missing, what is indexed."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bids_hypo.bids import Selection, check_dataset, find_scans, normalise_labels, select_subjects
from bids_hypo.bids import index as index_module
from bids_hypo.bids.checksums import stamp_of
from bids_hypo.bids.index import build_index
from bids_hypo.bids.stored_index import DATABASE_FILE
from bids_hypo.errors import InvalidBidsError, NoInputError, NothingSelectedError, UsageError

FILES = (
    "sub-01_ses-1_T1w.nii.gz",
    "sub-01_ses-2_acq-mprage_run-01_T1w.nii.gz",
    "sub-01_ses-2_acq-mprage_run-02_T1w.nii",
    "sub-02_T1w.nii.gz",
    "sub-03_ce-gad_rec-norm_T1w.nii",
    "sub-04_T2w.nii.gz",
)
T1W = tuple(name for name in FILES if "T1w" in name)


def names(scans: list[Any]) -> list[str]:
    return [scan.path.name for scan in scans]


class FilterCase(NamedTuple):
    selection: Selection
    expected: tuple[str, ...]


FILTER_CASES = {
    "all": FilterCase(Selection(), T1W),
    "one subject": FilterCase(Selection(participant_labels=("02",)), T1W[3:4]),
    "session": FilterCase(Selection(session_labels=("2",)), T1W[1:3]),
    "two sessions": FilterCase(Selection(session_labels=("1", "2")), T1W[:3]),
    "run, padded": FilterCase(Selection(run_labels=("01",)), T1W[1:2]),
    "run, as a number": FilterCase(Selection(run_labels=("2",)), T1W[2:3]),
    "acquisition": FilterCase(Selection(acquisitions=("mprage",)), T1W[1:3]),
    "file: label": FilterCase(Selection(filters={"session": "1"}), T1W[:1]),
    "file: number": FilterCase(Selection(filters={"run": 1}), T1W[1:2]),
    "file: list": FilterCase(Selection(filters={"run": [1, "02"]}), T1W[1:3]),
    "file: absent": FilterCase(Selection(filters={"session": None}), T1W[3:]),
    "file: absent or one": FilterCase(Selection(filters={"run": [None, 2]}), (T1W[0], *T1W[2:])),
    "file: present": FilterCase(Selection(filters={"ceagent": "*"}), T1W[4:]),
    "file: query words": FilterCase(Selection(filters={"session": "Query.NONE", "rec": "Query.ANY"}), T1W[4:]),
    "file: subject": FilterCase(Selection(filters={"subject": ["02", "03"]}), T1W[3:]),
    "file: extension": FilterCase(Selection(filters={"extension": ".nii", "datatype": "anat"}), (T1W[2], T1W[4])),
    "both": FilterCase(Selection(session_labels=("2",), filters={"run": 2}), T1W[2:3]),
}


@pytest.mark.parametrize("case", FILTER_CASES.values(), ids=FILTER_CASES.keys())
def test_filters_select(make_dataset, case: FilterCase) -> None:
    scans, _ = find_scans(make_dataset(FILES), case.selection)
    assert names(scans) == list(case.expected)


def test_scan_keeps_labels_and_order(make_dataset) -> None:
    root = make_dataset(["sub-01_ses-b_run-01_acq-x_T1w.nii.gz", "sub-01_ses-b_acq-x_run-1_echo-2_T1w.nii.gz"])
    second, first = find_scans(root, Selection())[0]
    assert list(first.entities.items()) == [("sub", "01"), ("ses", "b"), ("acq", "x"), ("run", "01")]
    assert first.name == "sub-01_ses-b_acq-x_run-01_T1w"
    assert second.entities["run"] == "1" and all(type(label) is str for label in second.entities.values())
    assert first.path.is_absolute() and first.dataset_root == root and first.suffix == "T1w"


def test_missing_subjects_are_recorded(make_dataset) -> None:
    root = make_dataset(FILES)
    scans, missing = find_scans(root, Selection())
    assert [record.subject for record in missing] == ["04"]
    assert "sub-04" in missing[0].reason and "no T1w" in missing[0].reason

    selection = Selection(participant_labels=("01", "02", "04", "1"), session_labels=("1",))
    scans, missing = find_scans(root, selection)
    assert names(scans) == ["sub-01_ses-1_T1w.nii.gz"]
    reasons = {record.subject: record.reason for record in missing}
    assert set(reasons) == {"02", "04", "1"}
    assert "passes the filters" in reasons["02"] and "sub-02_T1w.nii.gz" in reasons["02"]
    assert "no such folder" in reasons["1"] and "01" in reasons["1"]


def test_subject_without_the_session_is_not_missing_unless_asked_for(make_dataset, caplog) -> None:
    root = make_dataset(["sub-01_ses-1_T1w.nii.gz", "sub-02_ses-2_T1w.nii.gz"])
    assert find_scans(root, Selection(session_labels=("1",)))[1] == []
    _, missing = find_scans(root, Selection(participant_labels=("01", "02"), session_labels=("1", "01", "9")))
    assert "sessions asked for: 01, 9. There are 1" in caplog.text and "Did you mean 1 for 01?" in caplog.text
    assert [record.subject for record in missing] == ["02"]


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(participant_labels=("99",)), ["99", "01, 02, 03, 04"]),
        (Selection(session_labels=("9",)), ["sessions: (none), 1, 2", "5 T1w or UNIT1 image(s) of 3 subject(s)"]),
        (Selection(participant_labels=("04",)), ["no T1w or UNIT1 image found", "04"]),
    ],
)
def test_nothing_selected_says_what_there_is(make_dataset, selection: Selection, said: list[str]) -> None:
    with pytest.raises(NothingSelectedError) as caught:
        find_scans(make_dataset(FILES), selection)
    assert all(text in str(caught.value) for text in said)


def test_both_extensions_of_one_scan(make_dataset, caplog: pytest.LogCaptureFixture) -> None:
    root = make_dataset(["sub-01_T1w.nii", "sub-01_T1w.nii.gz"])
    with caplog.at_level(logging.WARNING):
        scans, _ = find_scans(root, Selection())
    assert names(scans) == ["sub-01_T1w.nii.gz"]
    assert "sub-01_T1w.nii" in caplog.text and "only the first is used" in caplog.text


@pytest.mark.parametrize(
    "stray",
    [
        "sub-01/anat/sub-02_T1w.nii.gz",
        "sub-01/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/anat/sub-01_copy_T1w.nii.gz",
        "sub-01/anat/sub-01_space-MNI152_T1w.nii.gz",
        "sub-01/anat/sub-01_run-1_run-2_T1w.nii.gz",
        "sub-01/anat/._sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T1w_old.nii.gz",
        "sub-01/anat/old/sub-01_run-9_T1w.nii.gz",
        "sub-01/func/sub-01_run-9_T1w.nii.gz",
        "sub-01_T1w.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_run-9_T1w.nii.gz",
        "sourcedata/sub-01/anat/sub-01_run-9_T1w.nii.gz",
        "code/sub-01/anat/sub-01_run-9_T1w.nii.gz",
    ],
)
def test_stray_files_are_left_out(make_dataset, stray: str) -> None:
    root = make_dataset(["sub-01_T1w.nii.gz"])
    (root / stray).parent.mkdir(parents=True, exist_ok=True)
    (root / stray).touch()
    assert names(find_scans(root, Selection())[0]) == ["sub-01_T1w.nii.gz"]


@pytest.mark.parametrize("database", [None, "db"])
def test_links_are_followed_and_dangling_ones_listed(make_dataset, tmp_path: Path, database: str | None) -> None:
    """Datasets of DataLad: an image that was not fetched must fail as a scan, not vanish."""
    root = make_dataset(["sub-01_T1w.nii.gz"])
    (root / "sub-02" / "anat").mkdir(parents=True)
    (root / "sub-02" / "anat" / "sub-02_T1w.nii.gz").symlink_to("../../.git/annex/objects/nowhere")
    elsewhere = tmp_path / "elsewhere" / "anat"
    elsewhere.mkdir(parents=True)
    (elsewhere / "sub-03_T1w.nii.gz").touch()
    (root / "sub-03").symlink_to(tmp_path / "elsewhere")
    scans, missing = find_scans(root, Selection(), database_dir=database and tmp_path / database)
    assert [scan.subject for scan in scans] == ["01", "02", "03"]
    assert missing == []
    assert stamp_of(scans[1].path) is None
    assert all(scan.path.is_relative_to(root) for scan in scans)


def test_dataset_below_folders_with_bids_like_names(make_dataset) -> None:
    nested = make_dataset([], "sub-77") / "func" / "ses-9" / "data"
    (nested / "sub-05" / "anat").mkdir(parents=True)
    (nested / "sub-05" / "anat" / "sub-05_T1w.nii").touch()
    scans, missing = find_scans(nested, Selection())
    assert [scan.subject for scan in scans] == ["05"] and missing == []


def test_only_selected_subjects_are_indexed(make_dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 subjects x 2 sessions: the index of one of them holds its two images and nothing else."""
    from bids.layout import BIDSLayoutIndexer

    stems = [f"sub-{number:04d}_ses-{session}" for number in range(1000) for session in (1, 2)]
    root = make_dataset(f"{stem}_T1w.nii.gz" for stem in stems)
    for stem in stems[:20]:
        func = root.joinpath(*stem.split("_"), "func")
        func.mkdir()
        (func / f"{stem}_task-rest_bold.nii.gz").touch()
    seen: list[Path] = []
    original = BIDSLayoutIndexer._index_file

    def counting(self, abs_fn, entities):
        seen.append(Path(str(abs_fn)))
        return original(self, abs_fn, entities)

    monkeypatch.setattr(BIDSLayoutIndexer, "_index_file", counting)
    scans, missing = find_scans(root, Selection(participant_labels=("0007",)))
    assert len(scans) == 2 and missing == []
    assert sorted(seen) == [scan.path for scan in scans]

    seen.clear()
    scans, _ = find_scans(root, Selection())
    assert len(scans) == 2000 == len(seen)


def test_index_holds_no_other_subject_with_the_same_beginning(make_dataset) -> None:
    root = make_dataset(["sub-1_T1w.nii.gz", "sub-10_T1w.nii.gz", "sub-1+a_T1w.nii.gz"])
    files = {Path(path).name for path in build_index(root, ["1"]).files}
    assert files == {"sub-1_T1w.nii.gz"}
    assert {Path(path).name for path in build_index(root, ["1+a"]).files} == {"sub-1+a_T1w.nii.gz"}


def test_database_is_reused_and_completed(make_dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, database = make_dataset(FILES), tmp_path / "deep" / "database"
    expected = find_scans(root, Selection())
    one, _ = find_scans(root, Selection(participant_labels=("02",)), database_dir=database)
    assert names(one) == ["sub-02_T1w.nii.gz"]
    assert [path.name for path in database.iterdir()] == [DATABASE_FILE]
    before = (database / DATABASE_FILE).read_bytes()

    monkeypatch.setattr(index_module, "ignore_patterns", lambda subjects: pytest.fail(f"indexed again: {subjects}"))
    selection = Selection(participant_labels=("01", "02", "03"))
    assert find_scans(root, selection, database_dir=database)[0] == expected[0]
    assert (database / DATABASE_FILE).read_bytes() == before
    monkeypatch.undo()

    new = root / "sub-05" / "anat" / "sub-05_T1w.nii.gz"
    new.parent.mkdir(parents=True)
    new.touch()
    (root / "sub-02" / "anat" / "sub-02_T1w.nii.gz").unlink()
    scans, missing = find_scans(root, Selection(), database_dir=database)
    assert [scan.subject for scan in scans] == ["01", "01", "01", "03", "05"]
    assert [record.subject for record in missing] == ["02", "04"]


def test_a_stale_database_is_noticed(make_dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_dataset([f"sub-{n:02d}_ses-1_T1w.nii.gz" for n in range(30)])
    expected = names(find_scans(root, Selection(), database_dir=tmp_path / "db")[0])
    later = root / "sub-07" / "ses-2" / "anat" / "sub-07_ses-2_T1w.nii.gz"
    later.parent.mkdir(parents=True)
    later.touch()
    (root / "sub-08" / "ses-1" / "anat" / "sub-08_ses-1_run-2_T1w.nii").touch()
    scans, missing = find_scans(root, Selection(), database_dir=tmp_path / "db")
    assert missing == [] and set(names(scans)) - set(expected) == {later.name, "sub-08_ses-1_run-2_T1w.nii"}
    one, _ = find_scans(root, Selection(participant_labels=("07",)), database_dir=tmp_path / "db")
    assert names(one) == ["sub-07_ses-1_T1w.nii.gz", later.name]
    assert "have changed" not in caplog.text
    for subject in range(30):
        (root / f"sub-{subject:02d}" / "ses-1" / "anat" / f"sub-{subject:02d}_ses-1_run-3_T1w.nii").touch()
    scans, _ = find_scans(root, Selection(), database_dir=tmp_path / "db")
    assert len(scans) == 62 and "30 of 30 subjects have changed" in caplog.text


def test_database_of_another_dataset_is_refused(make_dataset, tmp_path: Path) -> None:
    find_scans(make_dataset(FILES, "a"), Selection(), database_dir=tmp_path / "db")
    with pytest.raises(UsageError, match="was made for"):
        find_scans(make_dataset(FILES, "b"), Selection(), database_dir=tmp_path / "db")


def test_damaged_database_is_built_again(make_dataset, tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / DATABASE_FILE).write_text("not a database")
    scans, _ = find_scans(make_dataset(FILES), Selection(), database_dir=tmp_path / "db")
    assert names(scans) == list(T1W)


def _find_names(root: Path, database: Path, queue: Any) -> None:
    queue.put(names(find_scans(root, Selection(), database_dir=database)[0]))


def test_two_processes_share_a_database(make_dataset, tmp_path: Path) -> None:
    root, context = make_dataset(FILES), multiprocessing.get_context("spawn")
    queue = context.Queue()
    jobs = [context.Process(target=_find_names, args=(root, tmp_path / "db", queue)) for _ in range(2)]
    for job in jobs:
        job.start()
    results = [queue.get(timeout=120) for _ in jobs]
    for job in jobs:
        job.join()
    assert results == [list(T1W)] * 2
    assert [path.name for path in (tmp_path / "db").iterdir()] == [DATABASE_FILE]


def test_select_subjects(make_dataset) -> None:
    root = make_dataset(FILES)
    (root / "sub-file").touch()
    assert select_subjects(root, Selection()) == ["01", "02", "03", "04"]
    assert select_subjects(root, Selection(participant_labels=("03", "99"))) == ["03"]


class DatasetCase(NamedTuple):
    description: str | None
    subjects: bool
    message: str | None


DATASET_CASES = {
    "good": DatasetCase('{"Name": "x", "BIDSVersion": "1.8.0"}', True, None),
    "byte order mark": DatasetCase('\ufeff{"Name": "x", "BIDSVersion": "1.8.0"}', True, None),
    "no description": DatasetCase(None, True, "no such file"),
    "broken description": DatasetCase('{"Name": ', True, "cannot be read as JSON"),
    "description is a list": DatasetCase("[]", True, "found a list"),
    "no version": DatasetCase('{"Name": "x"}', True, "BIDSVersion missing"),
    "nothing in it": DatasetCase("{}", True, "Name and BIDSVersion missing"),
    "no subject": DatasetCase('{"Name": "x", "BIDSVersion": "1.8.0"}', False, "no folder named sub-"),
}


@pytest.mark.parametrize("case", DATASET_CASES.values(), ids=DATASET_CASES.keys())
def test_check_dataset(tmp_path: Path, case: DatasetCase) -> None:
    if case.description is not None:
        (tmp_path / "dataset_description.json").write_text(case.description, encoding="utf-8")
    if case.subjects:
        (tmp_path / "sub-01" / "anat").mkdir(parents=True)
        (tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii").touch()
        if case.description != "[]":  # without the checks, pybids must cope
            assert len(find_scans(tmp_path, Selection())[0]) == 1
    check_dataset(tmp_path, validate=False)
    if case.message is None:
        check_dataset(tmp_path)
        return
    with pytest.raises(InvalidBidsError) as caught:
        check_dataset(tmp_path)
    assert case.message in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("validate", [True, False])
def test_check_dataset_needs_a_folder(tmp_path: Path, validate: bool) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(NoInputError, match=path.name):
            check_dataset(path, validate=validate)


@pytest.mark.parametrize("database", [None, "db"])
@pytest.mark.parametrize("kind", ["latin-1", "dangling link", "folder", "nested", "forbidden"])
def test_metadata_that_nobody_needs_fail_nothing(make_dataset, tmp_path: Path, kind: str, database: str | None) -> None:
    root = make_dataset(["sub-01_T1w.nii.gz"])
    for path in (root / "T1w.json", root / "participants.json", root / "sub-01" / "anat" / "sub-01_T1w.json"):
        if kind == "dangling link":
            path.symlink_to("nowhere.json")
        elif kind == "folder":
            path.mkdir()
        else:
            content = {"latin-1": '{"PatientName": "Müller"}'.encode("latin-1"), "nested": b"[" * 100_000}
            path.write_bytes(content.get(kind, b"{}"))
            path.chmod(0 if kind == "forbidden" else 0o644)
    check_dataset(root)
    scans, missing = find_scans(root, Selection(), database_dir=database and tmp_path / database)
    assert names(scans) == ["sub-01_T1w.nii.gz"] and missing == []


def test_a_description_nested_too_deeply_is_told(make_dataset) -> None:
    root = make_dataset(["sub-01_T1w.nii.gz"])
    (root / "dataset_description.json").write_text('{"a":' * 100_000)
    with pytest.raises(InvalidBidsError, match="cannot be read as JSON"):
        check_dataset(root)


PARTS = ("sub-01_part-mag_T1w.nii.gz", "sub-01_part-phase_T1w.nii.gz", "sub-02_part-real_T1w.nii.gz",
         "sub-02_part-imag_T1w.nii.gz", "sub-02_T1w.nii.gz", "sub-02_rec-norm_T1w.nii.gz", "sub-02_echo-1_T1w.nii.gz",
         "sub-02_inv-1_MP2RAGE.nii.gz")  # fmt: skip


def test_only_magnitude_is_measured_and_one_line_tells(make_dataset, caplog: pytest.LogCaptureFixture) -> None:
    scans, missing = find_scans(make_dataset(PARTS), Selection())
    assert names(scans) == [PARTS[0], PARTS[4], PARTS[6], PARTS[5]] and missing == []
    (line,) = caplog.messages
    assert "3 image(s) left out, such as sub-01/anat/sub-01_part-phase_T1w.nii.gz" in line and "only magnitude" in line


def test_other_parts_are_measured_and_named(make_dataset, caplog: pytest.LogCaptureFixture) -> None:
    files = ["sub-01_part-PHASE_T1w.nii.gz", "sub-01_part-magnitude_T1w.nii.gz", "sub-02_part-mag_T1w.nii.gz"]
    assert names(find_scans(make_dataset(files), Selection())[0]) == files[1:]
    assert "1 image(s) with a part- that BIDS does not know, such as sub-01/anat/sub-01_part-magnitude" in caplog.text
    assert "1 image(s) left out, such as sub-01/anat/sub-01_part-PHASE" in caplog.text


@pytest.mark.parametrize("database", [None, "db"])
def test_a_link_that_leads_nowhere_is_told(make_dataset, tmp_path: Path, database, caplog) -> None:
    root = make_dataset(["sub-01_ses-1_T1w.nii.gz"])
    (root / "sub-05").symlink_to(tmp_path / "gone")
    (root / "sub-01/ses-2").symlink_to(tmp_path / "gone")
    scans, (missing,) = find_scans(root, Selection(), database_dir=database and tmp_path / database)
    assert len(scans) == 1 and missing.subject == "05"
    assert missing.reason == (
        f"{root}/sub-05: a link to a folder that is not there. Get its content (datalad get), or remove the link."
    )
    assert f"{root}/sub-01/ses-2: a link to a folder that is not there, so its images are not measured" in caplog.text
    assert find_scans(root, Selection(participant_labels=("01",)))[1] == []
    with pytest.raises(NothingSelectedError, match="Links that lead nowhere: 05"):
        find_scans(root, Selection(participant_labels=("05",)))
    (root / "sub-01").rename(tmp_path / "elsewhere")
    with pytest.raises(InvalidBidsError, match="sub-05: a link to a folder that is not there, and no subject"):
        check_dataset(root)


def test_a_subject_of_phase_images_only_has_nothing_to_measure(make_dataset) -> None:
    root = make_dataset([*PARTS, "sub-03_part-phase_T1w.nii.gz"])
    _, (missing,) = find_scans(root, Selection())
    assert missing.subject == "03" and "found no T1w or UNIT1 image" in missing.reason
    assert "sub-03_part-phase_T1w.nii.gz is of phase" in missing.reason
    with pytest.raises(NothingSelectedError, match=r"Left out: sub-03_part-phase_T1w\.nii\.gz"):
        find_scans(root, Selection(participant_labels=("03",)))


def test_both_kinds_of_image_are_found_and_told_apart(make_dataset) -> None:
    files = ["sub-01_T1w.nii.gz", "sub-01_UNIT1.nii.gz", "sub-02_acq-mp2rage_UNIT1.nii"]
    root = make_dataset(files)
    scans, missing = find_scans(root, Selection())
    assert names(scans) == files and missing == []
    assert [scan.suffix for scan in scans] == ["T1w", "UNIT1", "UNIT1"]
    for suffix, expected in (("T1w", files[:1]), ("UNIT1", files[1:]), (["T1w", "UNIT1"], files)):
        assert names(find_scans(root, Selection(filters={"suffix": suffix}))[0]) == expected


def _derivatives(make_dataset, name: str, files: list[str]) -> Path:
    root = make_dataset(files, name)
    (root / "dataset_description.json").write_text(
        '{"Name": "maps", "BIDSVersion": "1.9.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "maker"}]}'
    )
    return root


def test_images_are_found_by_the_suffixes_of_what_is_wanted(make_dataset) -> None:
    files = ["sub-01_FLAIR.nii.gz", "sub-01_R1map.nii.gz", "sub-01_T1w.nii.gz"]
    root = make_dataset(files)
    assert names(find_scans(root, Selection())[0]) == files[2:]
    assert names(find_scans(root, Selection(), suffixes=("FLAIR", "T1w"))[0]) == [files[0], files[2]]


def test_maps_lie_in_datasets_of_their_own(make_dataset, caplog: pytest.LogCaptureFixture) -> None:
    raw = make_dataset(["sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz"])
    files = ["sub-01_Chimap.nii.gz", "sub-01_space-MNI152NLin2009cAsym_Chimap.nii.gz", "sub-02_desc-pdf_Chimap.nii.gz"]
    maps = _derivatives(make_dataset, "maps", files)
    scans, missing = find_scans(raw, Selection(), suffixes=("T1w", "Chimap"), maps=[maps])
    assert missing == []
    assert names(scans) == [files[0], "sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz", files[2]]
    assert {s.dataset_root for s in scans} == {raw, maps}
    assert len({s.link for s in scans}) == 2 and scans[1].link == scans[2].link == "raw"
    assert "MNI152NLin2009cAsym" in caplog.text  # each is measured on its own grid, not on a template's


def test_a_dataset_of_derivatives_may_be_the_input(make_dataset) -> None:
    maps = _derivatives(make_dataset, "qsm", ["sub-01_desc-pdf_Chimap.nii.gz"])
    (scan,), missing = find_scans(maps, Selection(), suffixes=("Chimap",))
    assert missing == [] and scan.entities["desc"] == "pdf" and scan.is_signed


def test_the_same_name_in_two_datasets_is_one_image(make_dataset, caplog: pytest.LogCaptureFixture) -> None:
    one, two = (_derivatives(make_dataset, name, ["sub-01_Chimap.nii.gz"]) for name in ("one", "two"))
    (scan,), _ = find_scans(make_dataset(["sub-01_T1w.nii.gz"]), Selection(), suffixes=("Chimap",), maps=[one, two])
    assert scan.dataset_root == one
    assert str(two) in caplog.text


IGNORED = (
    "sub-01_T1w.nii.gz", "sub-01_run-2_T1w.nii.gz", "sub-02_T1w.nii.gz", "sub-03_T1w.nii.gz", "sub-04_T2w.nii.gz",
)  # fmt: skip


def test_bidsignore_is_honoured_and_one_line_tells(make_dataset, caplog: pytest.LogCaptureFixture) -> None:
    root = make_dataset(IGNORED)
    patterns = "\ufeff# repeats\r\n*_run-2_*\r\n/sub-03/\r\n!\r\nsub-04/\r\n**/sub-02*\r\n!sub-02_T1w.nii.gz\r\n"
    (root / ".bidsignore").write_text(patterns, encoding="utf-8")
    scans, missing = find_scans(root, Selection())
    assert names(scans) == [IGNORED[0], IGNORED[2]]
    assert missing == []  # of 03 and 04, nothing counts
    assert [line for line in caplog.messages if "listed in .bidsignore" in line] == [
        f"{root}: 2 image(s) left out, such as sub-01/anat/{IGNORED[1]}: listed in .bidsignore."
    ]
    assert any("the line '!' is no pattern" in line for line in caplog.messages)
    _, (missing,) = find_scans(root, Selection(participant_labels=("01", "03")))
    assert missing.subject == "03" and f"{IGNORED[3]} is in .bidsignore" in missing.reason


def test_a_bidsignore_that_cannot_be_read_is_told(make_dataset, caplog: pytest.LogCaptureFixture) -> None:
    root = make_dataset(IGNORED[:2])
    (root / ".bidsignore").write_text("*_run-2_*\n", encoding="utf-16")
    assert names(find_scans(root, Selection())[0]) == list(IGNORED[:2])
    assert ".bidsignore: not text in UTF-8" in caplog.text
    (root / ".bidsignore").unlink()
    (root / ".bidsignore").mkdir()
    assert names(find_scans(root, Selection())[0]) == list(IGNORED[:2])
    assert ".bidsignore: cannot be read" in caplog.text


@pytest.mark.parametrize("name", ["what?", "100%", "a%20b#1", "plain"])
def test_any_name_of_a_folder_will_do_for_the_index(
    make_dataset, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, database = make_dataset(FILES, f"raw{name}"), tmp_path / name / "db"
    expected = find_scans(root, Selection(), database_dir=database)
    assert names(expected[0]) == list(T1W)
    assert [path.relative_to(tmp_path / name).as_posix() for path in (tmp_path / name).rglob("*")] == [
        "db", f"db/{DATABASE_FILE}"
    ]  # fmt: skip
    monkeypatch.setattr(index_module, "ignore_patterns", lambda subjects: pytest.fail(f"indexed again: {subjects}"))
    selection = Selection(participant_labels=("01", "02", "03"))
    assert find_scans(root, selection, database_dir=database)[0] == expected[0]


def test_an_index_can_be_used_without_being_made(make_dataset, tmp_path: Path) -> None:
    root, database = make_dataset(FILES), tmp_path / "new" / "db"
    assert names(find_scans(root, Selection(), database_dir=database, keep_index=False)[0]) == list(T1W)
    assert not (tmp_path / "new").exists()


def test_an_index_of_an_earlier_version_is_made_again(make_dataset, tmp_path: Path) -> None:
    root = make_dataset(["sub-01_T1w.nii.gz"])
    find_scans(root, Selection(), database_dir=tmp_path / "db")
    with closing(sqlite3.connect(tmp_path / "db" / DATABASE_FILE)) as database:
        database.execute("PRAGMA user_version = 0")
    unit1 = root / "sub-01" / "anat" / "sub-01_UNIT1.nii.gz"
    unit1.touch()
    for folder in (unit1.parent, unit1.parent.parent):  # the subject does not look changed since
        os.utime(folder, (1, 1))
    scans, _ = find_scans(root, Selection(), database_dir=tmp_path / "db")
    assert names(scans) == ["sub-01_T1w.nii.gz", "sub-01_UNIT1.nii.gz"]


def test_labels_from_a_file_select_scans(make_dataset, tmp_path: Path) -> None:
    listed = tmp_path / "subjects.txt"
    listed.write_text("sub-02\n\n03\n")
    labels = normalise_labels([str(listed), "sub-01"], "sub")
    scans, _ = find_scans(make_dataset(FILES), Selection(participant_labels=labels, session_labels=()))
    assert sorted({scan.subject for scan in scans}) == ["01", "02", "03"]
