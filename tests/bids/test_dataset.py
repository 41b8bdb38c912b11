"""The output folder: where it may lie, what is in it, resuming, several jobs at once."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bids_hypo.bids import (
    Provenance,
    Scan,
    clear_crash,
    dseg_sidecar,
    find_doubts,
    icv_mask_sidecar,
    mask_sidecar,
    morph_sidecar,
    morph_table_dictionary,
    output_names,
    prepare_output,
    probseg_sidecar,
    remove_outputs,
    sidecar,
    write_crash,
    write_json,
    write_tsv,
)
from bids_hypo.bids.checksums import SourceRecord, Stamp, checksums, record_source, stamp_of
from bids_hypo.bids.morph import MORPH_COLUMNS
from bids_hypo.bids.removal import remove_unfinished, take_over
from bids_hypo.bids.resume import NOT_DONE, RESULTS, SOURCE, VERSION, find_link_out, refresh_source_times
from bids_hypo.bids.sidecars import read_record
from bids_hypo.errors import CannotCreateError, ScanReadError
from tests.finished import TRIDENT, structure_named

TOP_FILES = {"dataset_description.json", "README", ".bidsignore", "dseg.tsv"}
MODELS = {
    "anatomy": {"Name": "anatomy", "Version": "1", "WeightsSHA256": "a" * 64},
    "hypothalamus": {"Name": "hypothalamus", "Version": "2", "WeightsSHA256": "b" * 64},
}
SHA256S = {"a" * 64, "b" * 64}
HYPO = structure_named("hypothalamus")


def doubt_of(names: Any, shas: Any = SHA256S, **settings: Any) -> Any:
    """The first reason not to take the outputs of a scan as they are; None if there is none."""
    found = find_doubts(names, dict.fromkeys(names.items, shas), **settings)
    return next(iter(found.values()), None)


def outputs_complete(names: Any, shas: Any = SHA256S, **settings: Any) -> bool:
    return doubt_of(names, shas, **settings) is None


def description(output: Path) -> dict[str, Any]:
    return json.loads((output / "dataset_description.json").read_text())


# ----------------------------------------------------------------------------------------------- the place


@pytest.mark.parametrize(
    "inside", [".", "out", "derivatives", "sub-01/out", "derivatives/../out", "code/derivatives/x"]
)
def test_output_inside_the_input_is_refused(make_dataset, inside: str) -> None:
    root = make_dataset(["sub-01_T1w.nii"])
    before = sorted(root.rglob("*"))
    with pytest.raises(CannotCreateError) as caught:
        prepare_output(root / inside, root, command_version="1")
    assert str(root) in str(caught.value) and str(root / "derivatives" / "bids_hypo") in str(caught.value)
    assert sorted(root.rglob("*")) == before


def test_link_into_the_input_is_refused(make_dataset, tmp_path: Path) -> None:
    root = make_dataset(["sub-01_T1w.nii"])
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(CannotCreateError, match="inside"):
        prepare_output(tmp_path / "link" / "out", root, command_version="1")


@pytest.mark.parametrize(
    ("place", "link"), [("raw/derivatives/bids_hypo", "../.."), ("raw/derivatives/a/b", "../../.."), ("out", "file://")]
)
def test_output_files_and_link_to_the_source(make_dataset, tmp_path: Path, place: str, link: str) -> None:
    root = make_dataset(["sub-01_T1w.nii"])
    output = prepare_output(tmp_path / place, root, command_version="1.2", parts=HYPO.parts)
    assert {path.name for path in output.iterdir()} == TOP_FILES
    content = description(output)
    assert content["DatasetType"] == "derivative" and content["GeneratedBy"][0]["Version"] == "1.2"
    found = content["DatasetLinks"]["raw"]
    assert found == (root.as_uri() if link == "file://" else link)
    if link != "file://":
        assert (output / found).resolve() == root
    labels = pd.read_csv(output / "dseg.tsv", sep="\t")
    assert list(labels.columns) == ["index", "name", "abbreviation", "color", "mapping"]
    assert labels["name"].to_list() == ["left hypothalamus", "right hypothalamus"] and labels["index"].to_list() == [
        1,
        2,
    ]


@pytest.mark.parametrize("place", ["file", "file/below", "readonly"])
def test_unwritable_output(make_dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "file").touch()
    if place == "readonly":
        monkeypatch.setattr("tempfile.TemporaryFile", _refuse)  # modes do not stop root
    with pytest.raises(CannotCreateError, match=str(tmp_path / place)):
        prepare_output(tmp_path / place, make_dataset(["sub-01_T1w.nii"]), command_version="1")


def _refuse(**_: Any) -> Any:
    raise PermissionError(13, "Permission denied")


def test_read_only_folder(make_dataset, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write anywhere")
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(CannotCreateError, match="out"):
        prepare_output(tmp_path / "out", make_dataset(["sub-01_T1w.nii"]), command_version="1")


@pytest.mark.parametrize("content", ['{"GeneratedBy": [{"Name": "fmriprep"}]}', '{"Name": "raw"}', "{", "[]"])
def test_output_of_another_program_is_left_alone(make_dataset, tmp_path: Path, content: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "dataset_description.json").write_text(content)
    with pytest.raises(CannotCreateError, match="other"):
        prepare_output(other, make_dataset(["sub-01_T1w.nii"]), command_version="1")
    assert [path.name for path in other.iterdir()] == ["dataset_description.json"]
    assert (other / "dataset_description.json").read_text() == content


def test_second_run_rewrites_only_what_differs(make_dataset, tmp_path: Path) -> None:
    root = make_dataset(["sub-01_T1w.nii"])
    output = prepare_output(tmp_path / "out", root, command_version="1")
    (output / "README").write_text("My own words.\n")
    (output / ".bidsignore").write_text("mine/\n*.html\n")
    before = {path.name: path.stat().st_ino for path in output.iterdir()}
    prepare_output(output, root, command_version="1")
    after = {path.name: path.stat().st_ino for path in output.iterdir()}
    assert {name for name in TOP_FILES if before[name] != after[name]} == {".bidsignore"}
    lines = (output / ".bidsignore").read_text().splitlines()
    assert lines[0] == "mine/" and lines.count("*.html") == 1 and "*_morph.tsv" in lines
    assert (output / "README").read_text() == "My own words.\n"
    prepare_output(output, root, command_version="2")
    assert description(output)["GeneratedBy"][0]["Version"] == "2"


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("docker:bids_hypo:0.1", {"Type": "docker", "Tag": "bids_hypo:0.1"}), ("x", {"Tag": "x"}), ("", None)],
)
def test_container(make_dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, expected: Any) -> None:
    monkeypatch.setenv("BIDS_HYPO_CONTAINER", variable)
    output = prepare_output(tmp_path / "out", make_dataset(["sub-01_T1w.nii"]), command_version="1")
    assert description(output)["GeneratedBy"][0].get("Container") == expected


def _prepare_often(output: Path, root: Path, queue: Any) -> None:
    try:
        for version in range(50):
            prepare_output(output, root, command_version=str(version))
            json.loads((output / "dataset_description.json").read_text())
        queue.put("done")
    except BaseException as error:
        queue.put(repr(error))
        raise


def test_two_processes_prepare_at_once(make_dataset, tmp_path: Path) -> None:
    root, context = make_dataset(["sub-01_T1w.nii"]), multiprocessing.get_context("spawn")
    queue = context.Queue()
    jobs = [context.Process(target=_prepare_often, args=(tmp_path / "out", root, queue)) for _ in range(2)]
    for job in jobs:
        job.start()
    assert [queue.get(timeout=120) for _ in jobs] == ["done", "done"]
    for job in jobs:
        job.join()
    assert {path.name for path in (tmp_path / "out").iterdir()} == TOP_FILES


# ------------------------------------------------------------------------------------- sidecars and tables


@pytest.fixture
def scan(make_dataset, make_scan) -> Scan:
    root = make_dataset(["sub-01_ses-1_run-01_T1w.nii"], images=True)
    return make_scan(root, "sub-01_ses-1_run-01_T1w.nii")


def provenance(**changes: Any) -> Provenance:
    fields: dict[str, Any] = {
        "software_version": "0.1",
        "device": "cpu",
        "fallbacks": ("batch of 16 did not fit, 8 used",),
        "seconds": {"read": 0.12345},
        "models": MODELS,
        "source": SourceRecord(Stamp(7, 8, 9), "c" * 64),
    }
    return Provenance(**{**fields, **changes})


@pytest.mark.parametrize(
    ("maker", "kind"),
    [(dseg_sidecar, None), (mask_sidecar, "ROI"), (probseg_sidecar, None), (icv_mask_sidecar, "ROI")],
)
def test_image_sidecars(scan: Scan, maker: Any, kind: str | None) -> None:
    content = maker(scan, provenance(), *([] if maker is icv_mask_sidecar else [HYPO]))
    uri = "bids:raw:sub-01/ses-1/anat/sub-01_ses-1_run-01_T1w.nii"
    assert content["Sources"] == [uri] and content["SpatialReference"] == uri
    assert content["Manual"] is False and content.get("Type") == kind and content["Description"]
    assert content["Models"] == MODELS and content["GeneratedBy"] == [{"Name": "bids_hypo", "Version": "0.1"}]
    assert content["Device"] == "cpu" and len(content["Fallbacks"]) == 1 and content["Seconds"] == {"read": 0.123}
    assert (content["SourceBytes"], content["SourceSHA256"]) == (7, "c" * 64)


def test_label_map_uses_the_abbreviations_of_the_label_table(scan: Scan, tmp_path: Path) -> None:
    output = prepare_output(tmp_path / "out", scan.dataset_root, command_version="1", parts=HYPO.parts)
    table = pd.read_csv(output / "dseg.tsv", sep="\t")
    assert probseg_sidecar(scan, provenance(), HYPO)["LabelMap"] == table["abbreviation"].to_list()
    assert table["abbreviation"].str.contains("L").to_list()[0] and table["index"].to_list() == [1, 2]


def test_morph_dictionary_describes_every_column(scan: Scan, tmp_path: Path) -> None:
    assert tuple(morph_table_dictionary()) == MORPH_COLUMNS
    assert set(morph_table_dictionary()["hemisphere"]["Levels"]) == {"L", "R", "M", "B"}
    (tmp_path / "b.tsv").write_bytes(b"b")
    (tmp_path / "a.json").write_bytes(b"a")
    content = morph_sidecar(scan, provenance(), checksums([tmp_path / "b.tsv", tmp_path / "a.json"]))
    assert list(content["Files"].items()) == [(name, hashlib.sha256(text).hexdigest())
                                              for name, text in (("a.json", b"a"), ("b.tsv", b"b"))]  # fmt: skip
    assert content["SourceTimes"] == {"ModifiedNs": 8, "ChangedNs": 9} and set(MORPH_COLUMNS) < set(content)


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    write_json(path, {"b": "ä", "a": 1})
    assert path.read_bytes() == '{\n  "b": "ä",\n  "a": 1\n}\n'.encode()
    for bad in ({"a": float("nan")}, {"a": object()}):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, bad)
    assert [p.name for p in path.parent.iterdir()] == ["x.json"] and json.loads(path.read_text())["a"] == 1


def test_tables(tmp_path: Path) -> None:
    write_tsv(tmp_path / "x.tsv", pd.DataFrame({"a": [1.5, None], "b": ["é", None]}, index=[7, 8]))
    assert (tmp_path / "x.tsv").read_bytes() == "a\tb\n1.5\té\nn/a\tn/a\n".encode()


def test_crash_files(scan: Scan, tmp_path: Path) -> None:
    path = write_crash(tmp_path, scan, "first")
    assert write_crash(tmp_path, scan, "second\n") == path and path.read_text() == "second\n"
    clear_crash(tmp_path, scan)
    clear_crash(tmp_path, scan)
    assert list(path.parent.iterdir()) == []


# ------------------------------------------------------------------------------------------------ resuming


def finish(
    scan: Scan, output: Path, *, with_icv: bool = True, structures: Any = ("hypothalamus",), **changes: Any
) -> Any:
    """Write everything that a finished scan has."""
    names = output_names(scan, output, structures)
    changes.setdefault("source", record_source(scan.path, stamp_of(scan.path)))
    made_by, makers = provenance(**changes), (dseg_sidecar, mask_sidecar, probseg_sidecar)
    contents = {
        image: maker(scan, made_by, HYPO)
        for name in structures
        for image, maker in zip(names.structures[name].images, makers, strict=True)
    }
    contents |= {names.icv_mask: icv_mask_sidecar(scan, made_by)} if with_icv else {}
    for image, content in contents.items():
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"image")
        write_json(sidecar(image), content)
    write_tsv(names.morph, pd.DataFrame({"structure": ["ICV"]}))
    files = checksums([*contents, *map(sidecar, contents), names.morph])
    record = morph_sidecar(scan, made_by, files) | {"Structures": {name: {} for name in structures}}
    write_json(sidecar(names.morph), record | ({"ICV": {}} if with_icv else {}))
    return names


def test_complete_outputs(scan: Scan, tmp_path: Path) -> None:
    assert not outputs_complete(output_names(scan, tmp_path / "out"), SHA256S)
    names = finish(scan, tmp_path / "out")
    assert all(path.is_file() for path in names.files)
    assert outputs_complete(names, SHA256S)
    assert outputs_complete(names, [sha.upper() for sha in SHA256S])


def test_what_is_measured_is_decided_for_each_structure(scan: Scan, tmp_path: Path) -> None:
    """Adding a structure is no reason to measure the others again; a damaged image concerns its structure alone."""
    names = finish(scan, tmp_path / "a", with_icv=False)
    found = find_doubts(names, dict.fromkeys(names.items, SHA256S))
    assert {item: doubt.kind for item, doubt in found.items()} == {"ICV": NOT_DONE}
    both = output_names(scan, tmp_path / "a", ("hypothalamus", TRIDENT.name))
    found = find_doubts(both, dict.fromkeys(both.structures, SHA256S))
    assert list(found) == [TRIDENT.name] and TRIDENT.name in found[TRIDENT.name].text
    two = finish(scan, tmp_path / "b", structures=("hypothalamus", TRIDENT.name))
    two.structures[TRIDENT.name].mask.write_bytes(b"")
    assert list(find_doubts(two, dict.fromkeys(two.items, SHA256S))) == [TRIDENT.name]
    assert remove_unfinished(two, two.items) == [TRIDENT.name]
    assert not any(path.exists() for path in two.structures[TRIDENT.name].images)
    assert two.structures["hypothalamus"].dseg.exists() and two.icv_mask.exists()


def test_a_record_that_names_no_structures_is_of_an_earlier_version(scan: Scan, tmp_path: Path) -> None:
    names = finish(scan, tmp_path / "out")
    content = read_record(sidecar(names.morph))
    del content["Structures"]
    write_json(sidecar(names.morph), content)
    assert doubt_of(names).kind == VERSION


def test_removing_everything_takes_structures_that_are_not_wanted_now(scan: Scan, tmp_path: Path) -> None:
    both = finish(scan, tmp_path / "out", structures=("hypothalamus", TRIDENT.name))
    both.structures[TRIDENT.name].edited.write_bytes(b"drawn")
    remove_outputs(output_names(scan, tmp_path / "out"))
    assert list(both.anat_dir.iterdir()) == [both.structures[TRIDENT.name].edited]


def test_the_table_of_labels_keeps_what_other_runs_have_listed(make_dataset, tmp_path: Path) -> None:
    root = make_dataset(["sub-01_T1w.nii"])
    for parts in (TRIDENT.parts, HYPO.parts, HYPO.parts):
        output = prepare_output(tmp_path / "out", root, command_version="1", parts=parts)
    labels = pd.read_csv(output / "dseg.tsv", sep="\t")
    assert labels["index"].to_list() == [1, 2, 31, 32, 33] and labels["mapping"].to_list() == labels["index"].to_list()
    assert labels["color"].to_list()[:2] == ["#E69F00", "#56B4E9"]


def test_datasets_of_maps_are_linked(make_dataset, tmp_path: Path) -> None:
    root, maps = make_dataset(["sub-01_T1w.nii"]), tmp_path / "qsm"
    prepare_output(tmp_path / "out", root, command_version="1", maps={"qsm": maps})
    prepare_output(tmp_path / "out", root, command_version="1")  # later, without them
    content = description(tmp_path / "out")
    assert content["DatasetLinks"] == {"raw": root.as_uri(), "qsm": maps.as_uri()}


def test_a_number_that_means_something_else_now_is_told(make_dataset, tmp_path: Path, caplog) -> None:
    root, output = make_dataset(["sub-01_T1w.nii"]), tmp_path / "out"
    prepare_output(output, root, command_version="1", parts=HYPO.parts)
    other = [replace(part, name=f"{part.name} of old") for part in HYPO.parts]
    prepare_output(output, root, command_version="1", parts=other)
    assert "the number 1 meant left hypothalamus before and means left hypothalamus of old now" in caplog.text
    assert pd.read_csv(output / "dseg.tsv", sep="\t")["name"].to_list() == [part.name for part in other]
    caplog.clear()
    prepare_output(output, root, command_version="1", parts=other)
    assert "the number" not in caplog.text


@pytest.mark.parametrize("content", ["", "no\ttable\n", "index\tname\tabbreviation\tcolor\tmapping\nx\ta\tb\tc\td\n"])
def test_a_table_of_labels_that_somebody_spoiled_is_written_anew(make_dataset, tmp_path: Path, content: str) -> None:
    root, output = make_dataset(["sub-01_T1w.nii"]), tmp_path / "out"
    prepare_output(output, root, command_version="1", parts=HYPO.parts)
    (output / "dseg.tsv").write_text(content)
    prepare_output(output, root, command_version="1", parts=HYPO.parts)
    assert pd.read_csv(output / "dseg.tsv", sep="\t")["index"].to_list() == [1, 2]


def test_what_stayed_while_the_scan_was_replaced_is_measured_again(scan: Scan, tmp_path: Path) -> None:
    """One structure is done again in the new scan, the other is of the old one, whatever the record says of both."""
    names = finish(scan, tmp_path / "out", structures=("hypothalamus", TRIDENT.name))
    old = record_source(scan.path, stamp_of(scan.path))
    scan.path.write_bytes(scan.path.read_bytes()[:-1] + b"x")
    again = finish(scan, tmp_path / "out", structures=("hypothalamus", TRIDENT.name))
    assert find_doubts(names, dict.fromkeys(names.items, SHA256S)) == {}
    closing = read_record(sidecar(again.morph))
    for image in again.images_of(TRIDENT.name):
        write_json(sidecar(image), read_record(sidecar(image)) | {"SourceSHA256": old.sha256})
        closing["Files"] |= checksums([sidecar(image)])
    write_json(sidecar(again.morph), closing)
    found = find_doubts(names, dict.fromkeys(names.items, SHA256S))
    assert {item: doubt.kind for item, doubt in found.items()} == {TRIDENT.name: SOURCE}


def test_a_persons_own_mask_beside_ours_stays(scan: Scan, tmp_path: Path) -> None:
    names = finish(scan, tmp_path / "out")
    own = names.structure("lesion").mask
    own.write_bytes(b"drawn")
    names.structure(TRIDENT.name).dseg.write_bytes(b"left by a run that was killed")
    names.structure(TRIDENT.name).mask.write_bytes(b"left by a run that was killed")
    remove_outputs(names)
    assert list(names.anat_dir.iterdir()) == [own]


def test_of_some_items_only_their_images_go(scan: Scan, tmp_path: Path) -> None:
    names = finish(scan, tmp_path / "out", structures=("hypothalamus", TRIDENT.name))
    before = set(names.anat_dir.iterdir())
    remove_outputs(names, [TRIDENT.name, "ICV"])
    gone = {path for item in (TRIDENT.name, "ICV") for path in names.images_of(item)}
    assert before - set(names.anat_dir.iterdir()) == gone | {sidecar(path) for path in gone}
    assert list(find_doubts(names, dict.fromkeys(names.items, SHA256S))) == [TRIDENT.name, "ICV"]
    remove_outputs(names, [])
    assert names.structures["hypothalamus"].dseg.exists()


def test_taking_over_brings_the_corrections_of_what_is_not_wanted_now(scan: Scan, tmp_path: Path) -> None:
    """Its rows come too, and they were counted in the corrected mask."""
    former = finish(scan, tmp_path / "former", structures=("hypothalamus", TRIDENT.name))
    former.structures[TRIDENT.name].edited.write_bytes(b"drawn")
    take_over(output_names(scan, tmp_path / "former"), output_names(scan, tmp_path / "out"))
    both = output_names(scan, tmp_path / "out", ("hypothalamus", TRIDENT.name))
    assert find_doubts(both, dict.fromkeys(both.items, SHA256S)) == {}
    assert both.structures[TRIDENT.name].edited.read_bytes() == b"drawn"


def test_a_record_of_odd_names_leads_to_no_file(scan: Scan, tmp_path: Path) -> None:
    names = finish(scan, tmp_path / "out")
    content = read_record(sidecar(names.morph))
    content["Structures"] |= {"../x": {}, "a b": {}, "": {}}
    write_json(sidecar(names.morph), content)
    assert find_link_out(names) is None


DAMAGES = [(position, damage) for position in range(10) for damage in ("remove", "empty")]
DAMAGES += [(position, "cut") for position in range(10)]
DAMAGES += [(position, "edit") for position in range(9)]  # the closing record itself is what is believed


@pytest.mark.parametrize(("position", "damage"), DAMAGES)
def test_a_damaged_file_makes_the_set_incomplete(scan: Scan, tmp_path: Path, position: int, damage: str) -> None:
    names = finish(scan, tmp_path / "out")
    path = names.files[position]
    if damage == "remove":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    else:
        path.write_bytes(path.read_bytes() + b"\n")
    doubt = doubt_of(names, SHA256S)
    assert doubt is not None and path.name in doubt.text
    assert doubt.kind == (NOT_DONE if (position, damage) == (9, "remove") else RESULTS)
    assert not outputs_complete(names, SHA256S)


@pytest.mark.parametrize("shas", [{"a" * 64}, {"a" * 64, "c" * 64}, SHA256S | {"c" * 64}, set()])
def test_other_models_make_it_stale(scan: Scan, tmp_path: Path, shas: set[str]) -> None:
    assert not outputs_complete(finish(scan, tmp_path / "out"), shas)


def _write_in_place(path: Path, content: bytes, status: os.stat_result) -> None:
    """Another content of the same size with the same time of change, as from an archive with normalised times."""
    assert len(content) == status.st_size
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("times", ["new", "same"])
def test_another_scan_of_the_same_size_is_noticed(scan: Scan, tmp_path: Path, times: str) -> None:
    names = finish(scan, tmp_path / "out")
    before, content = scan.path.stat(), scan.path.read_bytes()
    _write_in_place(scan.path, content[:-1] + b"x", before)
    if times == "new":
        os.utime(scan.path)
    doubt = doubt_of(names, SHA256S)
    assert doubt is not None and doubt.kind == SOURCE and str(scan.path) in doubt.text
    _write_in_place(scan.path, content, before)
    assert outputs_complete(names, SHA256S)


@pytest.mark.parametrize("how", ["longer", "shorter"])
def test_a_source_of_another_size_makes_it_stale(scan: Scan, tmp_path: Path, how: str) -> None:
    names = finish(scan, tmp_path / "out")
    content = scan.path.read_bytes()
    scan.path.write_bytes(content + b"x" if how == "longer" else content[:-1])
    doubt = doubt_of(names, SHA256S)
    assert doubt is not None and doubt.kind == SOURCE and str(len(content)) in doubt.text


POINTERS = (b"/annex/objects/MD5E-s12--0\n", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


@pytest.mark.parametrize("left", [None, "link", *POINTERS])
def test_a_source_out_of_reach_is_no_reason_to_do_it_again(scan: Scan, tmp_path: Path, left: Any) -> None:
    names = finish(scan, tmp_path / "out")
    scan.path.unlink()
    if left == "link":
        scan.path.symlink_to(".git/annex/objects/nowhere")
    elif left:
        scan.path.write_bytes(left)
    assert outputs_complete(names, SHA256S)
    refresh_source_times(names)
    assert outputs_complete(names, SHA256S)


def test_a_link_counts_by_what_it_points_to(scan: Scan, tmp_path: Path) -> None:
    names = finish(scan, tmp_path / "out")
    content = scan.path.read_bytes()
    scan.path.rename(tmp_path / "annexed")
    scan.path.symlink_to(tmp_path / "annexed")
    assert outputs_complete(names, SHA256S)
    (tmp_path / "annexed").write_bytes(content[:-1] + b"x")
    assert not outputs_complete(names, SHA256S)


def test_a_touched_scan_is_read_once_more_only(scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = finish(scan, tmp_path / "out")
    os.utime(scan.path)
    closing, record = sidecar(names.morph), sidecar(names.morph).stat()
    assert outputs_complete(names, SHA256S)
    refresh_source_times(names)
    assert closing.stat().st_mtime_ns == record.st_mtime_ns
    assert closing.stat().st_ino != record.st_ino
    monkeypatch.setattr("bids_hypo.bids.resume.sha256_of", lambda path: _sha256_of_results(path, scan))
    assert outputs_complete(names, SHA256S)
    refresh_source_times(names)
    scan.path.write_bytes(scan.path.read_bytes()[:-1] + b"x")
    written = closing.read_bytes()
    refresh_source_times(names)  # another content: not the times of the scan that was measured
    assert closing.read_bytes() == written


def _sha256_of_results(path: Path, scan: Scan) -> str:
    assert path != scan.path
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _as_earlier_versions(names: Any) -> None:
    """The records without checksums."""
    for path in names.files:
        if path.suffix == ".json":
            content = {k: v for k, v in read_record(path).items() if k not in ("SourceSHA256", "SourceTimes")}
            if "Files" in content:
                content["Files"] = list(content["Files"])
            write_json(path, content)


def test_results_without_checksums_are_kept_unless_the_scan_is_newer(scan: Scan, tmp_path: Path) -> None:
    names = finish(scan, tmp_path / "out")
    _as_earlier_versions(names)
    assert outputs_complete(names, SHA256S)
    refresh_source_times(names)
    assert "SourceTimes" not in read_record(sidecar(names.morph))
    written = sidecar(names.morph).stat().st_mtime_ns
    os.utime(scan.path, ns=(written + 1, written + 1))
    doubt = doubt_of(names, SHA256S)
    assert doubt is not None and doubt.kind == SOURCE and "newer" in doubt.text
    os.utime(scan.path, ns=(written - 1, written - 1))
    assert outputs_complete(names, SHA256S)
    names.structures["hypothalamus"].dseg.unlink()
    assert not outputs_complete(names, SHA256S)


def test_a_scan_replaced_while_it_is_read_is_refused(scan: Scan) -> None:
    before = stamp_of(scan.path)
    assert record_source(scan.path, before).sha256 == hashlib.sha256(scan.path.read_bytes()).hexdigest()
    content, status = scan.path.read_bytes(), scan.path.stat()
    _write_in_place(scan.path, content[:-1] + b"x", status)
    with pytest.raises(ScanReadError, match="replaced"):
        record_source(scan.path, before)


def test_taking_over_brings_the_counted_corrections_and_no_stale_file(scan: Scan, tmp_path: Path) -> None:
    former, names = finish(scan, tmp_path / "former"), finish(scan, tmp_path / "out", with_icv=False)
    names.icv_mask.write_bytes(b"stale")
    former.structures["hypothalamus"].edited.write_bytes(b"drawn")
    former.edited_icv_mask.write_bytes(b"drawn")
    names.edited_icv_mask.write_bytes(b"my own")
    take_over(former, names)
    assert outputs_complete(names, SHA256S)
    assert [p.read_bytes() for p in names.files] == [p.read_bytes() for p in former.files]
    assert [p.read_bytes() for p in names.edited] == [b"drawn", b"my own"]


def test_other_settings_make_it_stale(scan: Scan, tmp_path: Path) -> None:
    names = finish(scan, tmp_path / "out", settings={"fast": True, "sizes": (1, 2)})
    assert outputs_complete(names, SHA256S)
    assert outputs_complete(names, SHA256S, settings={"fast": True, "sizes": (1, 2)})
    assert not outputs_complete(names, SHA256S, settings={"fast": False, "sizes": (1, 2)})


def test_remove_outputs_takes_only_one_scan(scan: Scan, tmp_path: Path) -> None:
    twin = Scan(scan.path, {**scan.entities, "run": "02"}, "T1w", scan.dataset_root)
    names, others = finish(scan, tmp_path / "out"), finish(twin, tmp_path / "out")
    names.structures["hypothalamus"].dseg.with_name(f".{names.structures['hypothalamus'].dseg.name}.123.part").touch()
    remove_outputs(names)
    assert sorted(names.anat_dir.iterdir()) == sorted(others.files)
    assert not outputs_complete(names, SHA256S)
    remove_outputs(names)
