"""Images of any kind: found in raw data and in datasets of derivatives, named, linked, and found again."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bids_hypo.bids import Selection, bids_uri, find_scans, output_names, prepare_output, sidecar
from bids_hypo.bids.stored_index import DATABASE_FILE
from bids_hypo.bids.written import find_written, linked_datasets, scan_of_table
from bids_hypo.errors import NoInputError, NothingSelectedError

KINDS = ("T1w", "UNIT1", "FLAIR", "R1map", "Chimap")
SPACED = "sub-01_space-orig_desc-bet_Chimap.nii.gz"
TEMPLATE = "sub-01_space-MNI152NLin2009cAsym_desc-preproc_T1w.nii.gz"


def names(scans: list[Any]) -> list[str]:
    return [scan.path.name for scan in scans]


@pytest.fixture
def make_maps(make_dataset):
    """Function (file names, folder name, what its description says) -> a dataset, of derivatives unless told."""

    def make(files: list[str], name: str = "qsm", **description: Any) -> Path:
        root = make_dataset(files, name)
        of_derivatives = {"Name": "maps", "BIDSVersion": "1.9.0", "DatasetType": "derivative"}
        content = {k: v for k, v in {**of_derivatives, **description}.items() if v is not None}
        (root / "dataset_description.json").write_text(json.dumps(content))
        return root

    return make


# ------------------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize("database", [None, "db"])
@pytest.mark.parametrize("wanted", [("FLAIR",), ("R1map", "Chimap"), KINDS])
def test_the_kinds_that_are_asked_for_are_found(make_dataset, tmp_path: Path, wanted, database) -> None:
    root = make_dataset([f"sub-01_{suffix}.nii.gz" for suffix in (*KINDS, "T2w")])
    scans, missing = find_scans(root, Selection(), suffixes=wanted, database_dir=database and tmp_path / database)
    assert {scan.suffix for scan in scans} == set(wanted) and missing == []
    assert [scan.is_t1 for scan in scans] == [scan.suffix in ("T1w", "UNIT1") for scan in scans]


def test_who_has_no_such_image_is_missing_and_the_kinds_are_named(make_dataset) -> None:
    root = make_dataset(["sub-01_FLAIR.nii.gz", "sub-02_T1w.nii.gz"])
    scans, (missing,) = find_scans(root, Selection(), suffixes=("FLAIR", "R1map"))
    assert names(scans) == ["sub-01_FLAIR.nii.gz"]
    assert missing.subject == "02" and "found no FLAIR or R1map image" in missing.reason
    with pytest.raises(NothingSelectedError, match="no Chimap image found"):
        find_scans(root, Selection(), suffixes=("Chimap",))


def test_one_index_on_disk_serves_any_kind(make_dataset, tmp_path: Path) -> None:
    root, database = make_dataset([f"sub-01_{suffix}.nii.gz" for suffix in KINDS]), tmp_path / "db"
    find_scans(root, Selection(), database_dir=database)
    before = (database / DATABASE_FILE).read_bytes()
    scans, _ = find_scans(root, Selection(), suffixes=("Chimap", "FLAIR"), database_dir=database)
    assert {scan.suffix for scan in scans} == {"Chimap", "FLAIR"}
    assert (database / DATABASE_FILE).read_bytes() == before


@pytest.mark.parametrize("version", [0, 2])
def test_an_index_that_holds_t1w_images_only_is_made_again(make_dataset, tmp_path: Path, version: int) -> None:
    root, database = make_dataset(["sub-01_T1w.nii.gz"]), tmp_path / "db"
    find_scans(root, Selection(), database_dir=database)
    with closing(sqlite3.connect(database / DATABASE_FILE)) as stored:
        stored.execute(f"PRAGMA user_version = {version}")
    flair = root / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz"
    flair.touch()
    for folder in (flair.parent, flair.parent.parent):  # the subject does not look changed since
        os.utime(folder, (1, 1))
    assert names(find_scans(root, Selection(), suffixes=("FLAIR",), database_dir=database)[0]) == [flair.name]
    with closing(sqlite3.connect(database / DATABASE_FILE)) as stored:
        assert stored.execute("PRAGMA user_version").fetchone() == (3,)


@pytest.mark.parametrize(
    "description", [{}, {"DatasetType": None, "PipelineDescription": {"Name": "old"}}], ids=["now", "before 1.4"]
)
def test_a_dataset_of_derivatives_may_be_measured_itself(make_maps, description: dict[str, Any]) -> None:
    root = make_maps([SPACED, "sub-02_ses-1_desc-preproc_res-1_T1w.nii.gz", "sub-03_T1w.nii.gz"], **description)
    scans, missing = find_scans(root, Selection(), suffixes=("T1w", "Chimap"))
    assert names(scans) == [SPACED, "sub-02_ses-1_desc-preproc_res-1_T1w.nii.gz", "sub-03_T1w.nii.gz"]
    assert missing == [] and scans[0].entities == {"sub": "01", "space": "orig", "desc": "bet"}


@pytest.mark.parametrize("name", [SPACED, "sub-01_desc-preproc_Chimap.nii.gz"])
def test_in_raw_data_such_names_are_left_out(make_dataset, caplog, name: str) -> None:
    root = make_dataset([name, "sub-01_Chimap.nii.gz"])
    assert names(find_scans(root, Selection(), suffixes=("Chimap",))[0]) == ["sub-01_Chimap.nii.gz"]
    assert f"{name}: left out" in caplog.text and "only occurs in derivatives" in caplog.text


@pytest.mark.parametrize(
    "name", ["sub-01_label-brain_T1w.nii.gz", "sub-01_seg-x_T1w.nii.gz", "sub-01_den-2_T1w.nii.gz"]
)
def test_masks_and_the_like_are_no_images_to_measure(make_maps, caplog, name: str) -> None:
    root = make_maps([name, "sub-01_T1w.nii.gz"])
    assert names(find_scans(root, Selection())[0]) == ["sub-01_T1w.nii.gz"]
    assert "is not that of an image to measure" in caplog.text


def test_images_in_the_space_of_a_template_are_left_out_with_one_line(make_maps, caplog) -> None:
    files = [TEMPLATE.replace("01", f"{n:02d}") for n in range(1, 5)]
    root = make_maps([*files, *(name.replace("MNI152NLin2009cAsym", "T1w") for name in files)])
    scans, missing = find_scans(root, Selection())
    assert {scan.entities["space"] for scan in scans} == {"T1w"} and len(scans) == 4 and missing == []
    (line,) = [line for line in caplog.messages if "template" in line]
    assert f"{root}: 4 image(s) left out, such as sub-01/anat/{TEMPLATE}" in line


def test_an_image_whose_desc_would_make_its_labels_a_correction_is_left_out(make_maps, caplog) -> None:
    """Its labels would have the name of the corrected mask of the image without it."""
    files = ["sub-01_desc-edited_T1w.nii.gz", "sub-01_desc-a+edited_T1w.nii.gz", "sub-01_desc-editedtwice_T1w.nii.gz"]
    root = make_maps([*files, "sub-01_T1w.nii.gz"])
    scans, _ = find_scans(root, Selection())
    assert sorted(names(scans)) == sorted([files[2], "sub-01_T1w.nii.gz"])
    assert "desc-a+edited is kept for masks that a person corrected" in caplog.text


# -------------------------------------------------------------------------------------------- further datasets


def test_maps_are_added_with_a_link_of_their_own(make_dataset, make_maps) -> None:
    root, maps = make_dataset(["sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz"]), make_maps([SPACED], "qsm-xt 1")
    scans, missing = find_scans(root, Selection(), suffixes=("T1w", "Chimap"), maps=[maps])
    assert sorted(names(scans)) == sorted([SPACED, "sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz"]) and missing == []
    (added,) = [scan for scan in scans if scan.suffix == "Chimap"]
    assert (added.link, added.dataset_root) == ("qsmxt1", maps)
    assert bids_uri(added) == f"bids:qsmxt1:sub-01/anat/{SPACED}"
    assert {scan.link for scan in scans if scan.suffix == "T1w"} == {"raw"}


def test_datasets_of_one_name_have_two_keys_and_nothing_is_called_raw_twice(make_dataset, make_maps, tmp_path) -> None:
    root = make_dataset(["sub-01_T1w.nii.gz"])
    places = []
    for n, folder in enumerate(("a/qsm", "b/qsm", "c/raw", "d/---"), 1):
        made = make_maps([f"sub-01_run-{n}_Chimap.nii.gz"], f"made{n}")
        (tmp_path / folder).parent.mkdir()
        places.append(made.rename(tmp_path / folder))
    scans, _ = find_scans(root, Selection(), suffixes=("T1w", "Chimap"), maps=places)
    links = {scan.entities["run"]: scan.link for scan in scans if scan.suffix == "Chimap"}
    assert links == {"1": "qsm", "2": "qsm2", "3": "raw2", "4": "maps"}


def test_of_an_image_in_two_datasets_the_first_is_taken(make_dataset, make_maps, caplog) -> None:
    root, one, two = make_dataset(["sub-01_T1w.nii.gz"]), make_maps([SPACED], "one"), make_maps([SPACED], "two")
    scans, _ = find_scans(root, Selection(), suffixes=("T1w", "Chimap"), maps=[one, two, one])
    assert [scan.dataset_root for scan in scans if scan.suffix == "Chimap"] == [one]
    assert caplog.text.count("has the same name") == 1 and str(two) in caplog.text
    caplog.clear()
    scans, _ = find_scans(root, Selection(), suffixes=("T1w", "Chimap"), maps=[two, one])
    assert [scan.dataset_root for scan in scans if scan.suffix == "Chimap"] == [two]


def test_the_selection_holds_for_maps_too(make_dataset, make_maps) -> None:
    root = make_dataset(["sub-01_ses-1_T1w.nii.gz", "sub-02_ses-1_T1w.nii.gz"])
    maps = make_maps([f"sub-{s}_ses-{t}_Chimap.nii.gz" for s in ("01", "02") for t in "12"])
    selection = Selection(participant_labels=("02",), session_labels=("1",))
    scans, _ = find_scans(root, selection, suffixes=("T1w", "Chimap"), maps=[maps])
    assert sorted(names(scans)) == ["sub-02_ses-1_Chimap.nii.gz", "sub-02_ses-1_T1w.nii.gz"]


def test_a_subject_with_maps_alone_is_measured_and_not_missing(make_dataset, make_maps) -> None:
    root = make_dataset(["sub-01_T1w.nii.gz", "sub-02_T2w.nii.gz"])
    maps = make_maps(["sub-02_Chimap.nii.gz", "sub-03_Chimap.nii.gz"])
    scans, missing = find_scans(root, Selection(), suffixes=("T1w", "Chimap"), maps=[maps])
    assert sorted(scan.subject for scan in scans) == ["01", "02", "03"] and missing == []


def test_maps_that_say_they_are_raw_may_have_names_of_derivatives(make_dataset, make_maps) -> None:
    root, maps = make_dataset(["sub-01_T1w.nii.gz"]), make_maps([SPACED], DatasetType=None)
    scans, _ = find_scans(root, Selection(), suffixes=("Chimap", "T1w"), maps=[maps])
    assert SPACED in names(scans)


def test_maps_that_are_not_there_end_the_run(make_dataset, tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="absent"):
        find_scans(make_dataset(["sub-01_T1w.nii.gz"]), Selection(), maps=[tmp_path / "absent"])


def test_a_filter_on_t1w_images_leaves_other_kinds_alone(make_dataset) -> None:
    root = make_dataset(["sub-01_acq-a_T1w.nii.gz", "sub-01_acq-b_T1w.nii.gz", "sub-01_FLAIR.nii.gz"])
    selection = Selection(filters={"acquisition": "a"})
    scans, _ = find_scans(root, selection, suffixes=("T1w", "FLAIR"))
    assert sorted(names(scans)) == ["sub-01_FLAIR.nii.gz", "sub-01_acq-a_T1w.nii.gz"]


# ------------------------------------------------------------------------------------------- names and links

EVERY = [
    "sub-01_T1w.nii.gz", "sub-01_UNIT1.nii.gz", "sub-01_FLAIR.nii.gz", "sub-01_space-FLAIR_T1w.nii.gz",
    "sub-01_space-T1w_FLAIR.nii.gz", "sub-01_space-orig_T1w.nii.gz", "sub-01_desc-preproc_T1w.nii.gz",
    "sub-01_desc-volumetric_T1w.nii.gz", "sub-01_desc-coronal_T1w.nii.gz", "sub-01_space-T1w_desc-a+b_Chimap.nii.gz",
    "sub-01_space-a+T1w_Chimap.nii.gz", "sub-01_res-1_T1w.nii.gz", "sub-01_ses-1_run-01_echo-2_R1map.nii.gz",
]  # fmt: skip


def test_no_two_images_write_the_same_file_and_each_is_read_from_its_table(make_scan, tmp_path: Path) -> None:
    every = [output_names(make_scan(tmp_path, file), tmp_path / "out", ("thalamus", "nucleus")) for file in EVERY]
    files = [
        path
        for each in every
        for path in (*each.files, each.icv_mask, *each.edited, each.crash, each.figure("coronal"),
                     each.figure("coronal", structure="thalamus"), each.figure("coronal", structure="nucleus"))
    ]  # fmt: skip
    own = sum(each.scan.is_t1 for each in every)  # their intracranial mask is among their files
    assert len(set(files)) == len(files) - own
    for each in every:
        source = scan_of_table(each.morph, tmp_path / "out")
        assert (source.entities, source.suffix, source.name) == (each.scan.entities, each.scan.suffix, each.scan.name)


@pytest.mark.parametrize(
    "name", ["sub-01_morph.tsv", "sub-01_desc-mine_morph.tsv", "sub-01_desc-myvolumetric_morph.tsv"]
)
def test_other_tables_are_not_taken_for_ours(tmp_path: Path, name: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        scan_of_table(tmp_path / name, tmp_path)


def _written(scan: Any, output: Path, **changes: Any) -> Any:
    each = output_names(scan, output)
    each.anat_dir.mkdir(parents=True, exist_ok=True)
    record = {"Sources": [bids_uri(scan)], "Structures": {"thalamus": {}, "nucleus": {}}, **changes}
    sidecar(each.morph).write_text(json.dumps(record))
    return each


def test_what_was_written_is_found_with_its_source_and_structures(make_dataset, make_maps, tmp_path: Path) -> None:
    root, maps = make_dataset(["sub-01_T1w.nii.gz"]), make_maps([SPACED])
    scans, _ = find_scans(root, Selection(), suffixes=("T1w", "Chimap"), maps=[maps])
    links = {scan.link: scan.dataset_root for scan in scans if scan.link != "raw"}
    output = prepare_output(tmp_path / "out", root, command_version="1", maps=links)
    for scan in scans:
        _written(scan, output)
    found = find_written(output, root)
    assert [each.scan for each in found] == sorted(scans, key=lambda scan: scan.name)
    assert all(list(each.structures) == ["thalamus", "nucleus"] for each in found)
    assert linked_datasets(output)["qsm"] == maps


@pytest.mark.parametrize(
    "changes",
    [{"Sources": []}, {"Sources": None}, {"Sources": [5]}, {"Sources": ["bids:unknown:sub-01/anat/sub-01_T1w.nii.gz"]},
     {"Sources": ["bids:raw:nonsense"]}, {"Structures": {"a/b": {}}}, {"Structures": {"../x": {}}}],
)  # fmt: skip
def test_a_record_that_cannot_be_used_costs_no_other(make_dataset, make_scan, tmp_path: Path, changes) -> None:
    root = make_dataset(["sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz"])
    output = prepare_output(tmp_path / "out", root, command_version="1")
    _written(make_scan(root, "sub-01_T1w.nii.gz"), output, **changes)
    _written(make_scan(root, "sub-02_T1w.nii.gz"), output)
    assert [each.scan.subject for each in find_written(output, root)] == ["02"]


def test_records_of_version_0_1_are_of_the_one_structure_that_it_knew(make_scan, tmp_path: Path) -> None:
    scan = make_scan(tmp_path / "raw", "sub-01_T1w.nii.gz")
    each = _written(scan, tmp_path / "out")
    sidecar(each.morph).write_text(json.dumps({"Sources": [bids_uri(scan)]}))
    (found,) = find_written(tmp_path / "out", tmp_path / "raw")
    assert list(found.structures) == ["hypothalamus"]


def test_a_link_that_leads_elsewhere_now_is_told(make_dataset, make_maps, tmp_path: Path, caplog) -> None:
    root, one, two = make_dataset(["sub-01_T1w.nii.gz"]), make_maps([], "one"), make_maps([], "two")
    for maps in (one, one):
        prepare_output(tmp_path / "out", root, command_version="1", maps={"qsm": maps})
    assert "was made from" not in caplog.text
    prepare_output(tmp_path / "out", root, command_version="1", maps={"qsm": two})
    assert f"was made from {one.as_uri()}, and is given {two} now. Two datasets" in caplog.text


def test_maps_of_one_kind_of_source_are_left_out_with_one_line(make_maps, caplog) -> None:
    files = [f"sub-01_desc-{kind}_Chimap.nii.gz" for kind in ("paramagnetic", "diamagnetic", "total", "para", "Dia")]
    root = make_maps([*files, "sub-01_desc-medi_Chimap.nii.gz", "sub-01_desc-total_T1map.nii.gz"])
    scans, _ = find_scans(root, Selection(), suffixes=("Chimap", "T1map"))
    assert names(scans) == ["sub-01_desc-medi_Chimap.nii.gz", "sub-01_desc-total_T1map.nii.gz"]
    (line,) = [line for line in caplog.messages if "left out" in line]
    assert f"{root}: 5 image(s) left out" in line and "paramagnetic or diamagnetic" in line
