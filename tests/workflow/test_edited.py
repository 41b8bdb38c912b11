"""Corrected masks: taken in, counted, undone; wrong ones refused with a reason."""

import gzip
import json
import tracemalloc

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids import find_doubts, sidecar
from bids_hypo.errors import ScanReadError
from bids_hypo.image.volume import write_nifti
from bids_hypo.models.catalog import find_models
from bids_hypo.workflow.edited import counted_masks, read_counted, read_edited_labels, take_edited
from bids_hypo.workflow.result import read_result
from tests.finished import finished_dataset, paths_of, structure_named
from tests.phantoms import bids_errors

VOXEL_MM3 = 27.0


@pytest.fixture
def finished(tmp_path):
    _, out, (names,) = finished_dataset(tmp_path, [{"sub": "01"}], flags={"01": ("coarse_voxels", "small_volume")})
    return out, names


def _save(path, data, like, dtype=np.float32):
    """As an editor does: another number type, its own header."""
    nib.save(nib.Nifti1Image(np.asarray(data).astype(dtype), nib.load(like).affine), path)


def _labels(names):
    return np.asarray(nib.load(paths_of(names).dseg).dataobj).copy()


def _table(names):
    table = pd.read_csv(names.morph, sep="\t", na_values="n/a").set_index(["structure", "hemisphere"])
    return table["volume_mm3"], table["flags"]


def test_nothing_happens_without_a_corrected_mask(finished):
    _, names = finished
    before = {p: p.read_bytes() for p in names.files}
    assert take_edited(names) is False
    assert before == {p: p.read_bytes() for p in names.files}


def test_a_corrected_hypothalamus_is_counted_and_the_rest_stays(finished):
    out, names = finished
    automatic, _ = _table(names)
    labels = _labels(names)
    labels[1:21, 1:11, 1] = 1
    assert paths_of(names).edited.name == "sub-01_space-orig_seg-hypothalamus_desc-edited_dseg.nii.gz"
    _save(paths_of(names).edited, labels, paths_of(names).dseg)
    assert take_edited(names) is True
    volumes, flags = _table(names)
    assert volumes["hypothalamus", "L"] == pytest.approx(automatic["hypothalamus", "L"] + 200 * VOXEL_MM3)
    assert volumes["hypothalamus", "R"] == automatic["hypothalamus", "R"]
    assert volumes["hypothalamus", "B"] == pytest.approx(volumes["hypothalamus", "L"] + volumes["hypothalamus", "R"])
    assert volumes["ICV", "B"] == automatic["ICV", "B"]
    # of the automatic flags the one that concerns the image stays, those that follow from the volume are made anew
    # and 200 voxels in a corner of the image are no correction
    assert flags["hypothalamus", "L"] == "coarse_voxels;asymmetric;large_volume;correction_far"
    content = json.loads(sidecar(paths_of(names).edited).read_text())
    assert content["Manual"] is True
    assert content["Sources"] == ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz",
                                  "bids::sub-01/anat/sub-01_space-orig_seg-hypothalamus_dseg.nii.gz"]  # fmt: skip
    assert json.loads(sidecar(paths_of(names).dseg).read_text())["Manual"] is False
    assert json.loads(sidecar(names.morph).read_text())["Manual"] is True
    np.testing.assert_array_equal(counted_masks(names).labels["hypothalamus"][1], labels)
    assert bids_errors(out) == []


def test_the_scan_stays_complete_and_the_same_mask_is_counted_once(finished):
    _, names = finished
    _save(paths_of(names).edited, _labels(names), paths_of(names).dseg)
    assert take_edited(names) is True
    assert take_edited(names) is False
    digests = {item: [b.weights_sha256 for b in made] for item, made in find_models().makers("T1w").items()}
    assert find_doubts(names, digests, settings={"Fast": False}) == {}


def test_a_corrected_icv_can_be_measured_even_when_the_automatic_one_could_not(finished):
    _, names = finished
    table = pd.read_csv(names.morph, sep="\t", na_values="n/a").astype({"flags": object})
    table.loc[table.structure == "ICV", ["volume_mm3", "flags"]] = [None, "skull_stripped"]
    table.to_csv(names.morph, sep="\t", index=False, na_rep="n/a")
    of_icv = json.loads(sidecar(names.icv_mask).read_text()) | {"Flags": ["skull_stripped"]}
    sidecar(names.icv_mask).write_text(json.dumps(of_icv))
    mask = np.zeros(nib.load(names.icv_mask).shape)
    mask[10:30, 10:30, 10:30] = 1
    _save(names.edited_icv_mask, mask, names.icv_mask, np.uint16)
    assert take_edited(names)
    result = read_result(names)
    assert result.volumes_mm3["ICV"] == pytest.approx(8000 * VOXEL_MM3)
    assert "skull_stripped" not in result.flags
    names.edited_icv_mask.unlink()
    assert take_edited(names)
    result = read_result(names)
    assert result.volumes_mm3["ICV"] is None and "skull_stripped" in result.flags


def test_taking_the_correction_away_brings_the_automatic_values_back(finished):
    _, names = finished
    before, flags_before = _table(names)
    record_before = sidecar(names.morph).read_bytes()
    labels = _labels(names)
    labels[labels == 2] = 0
    _save(paths_of(names).edited, labels, paths_of(names).dseg)
    take_edited(names)
    assert _table(names)[0]["hypothalamus", "R"] == 0
    labels[5, 5, 5] = 2
    _save(paths_of(names).edited, labels, paths_of(names).dseg)
    assert take_edited(names)  # changed since
    assert _table(names)[0]["hypothalamus", "R"] == VOXEL_MM3
    paths_of(names).edited.unlink()
    assert take_edited(names)
    after, flags_after = _table(names)
    pd.testing.assert_series_equal(after, before)
    pd.testing.assert_series_equal(flags_after, flags_before)
    assert sidecar(names.morph).read_bytes() == record_before


def test_what_the_person_wrote_into_the_sidecar_stays(finished):
    _, names = finished
    _save(paths_of(names).edited, _labels(names), paths_of(names).dseg)
    sidecar(paths_of(names).edited).write_text('{"Rater": "AB"}')
    take_edited(names)
    content = json.loads(sidecar(paths_of(names).edited).read_text())
    assert content["Rater"] == "AB" and content["Manual"] is True


def _half_of_a_side(labels):
    labels[:, :, : labels.shape[2] // 2][labels[:, :, : labels.shape[2] // 2] == 1] = 0
    return labels


def _right_only(labels):
    return np.where(labels == 1, 0, labels)


def _other_numbers(labels):
    return np.array([0, 2, 1], np.uint8)[labels]


def _mirrored(labels):
    return labels[::-1]


def _right_drawn_as_left(labels):
    return (labels == 2).astype(np.uint8)


def _four_voxels_on(labels):
    return np.roll(labels, 4, axis=1)


FAR, SWAPPED = "correction_far", "correction_sides_swapped"


@pytest.mark.parametrize(
    ("draw", "expected"),
    [(_half_of_a_side, set()), (_right_only, {FAR}), (_other_numbers, {SWAPPED}), (_mirrored, {SWAPPED}),
     (_right_drawn_as_left, {SWAPPED, FAR}), (_four_voxels_on, {FAR})],
)  # fmt: skip
def test_a_correction_that_is_none_is_flagged_and_told(finished, caplog, draw, expected):
    _, names = finished
    _save(paths_of(names).edited, draw(_labels(names)), paths_of(names).dseg)
    assert take_edited(names)
    flags = set(_table(names)[1]["hypothalamus", "B"].split(";"))
    assert flags & {FAR, SWAPPED} == expected
    assert _table(names)[1].isna()["ICV", "B"]
    warnings = [r for r in caplog.records if r.levelname == "WARNING"]
    told = [r for r in warnings if paths_of(names).edited.name in r.getMessage()]
    assert len(told) == bool(expected) and all(flag in told[0].getMessage() for flag in expected)
    paths_of(names).edited.unlink()
    assert take_edited(names)
    assert _table(names)[1]["hypothalamus", "B"] == "coarse_voxels;small_volume"


@pytest.mark.parametrize("change", [(".nii.gz", ".nii"), ("desc-edited", "desc-Edited"), ("_dseg", "_mask")])
def test_a_correction_with_a_name_that_is_not_looked_for_is_told(finished, caplog, change):
    _, names = finished
    edited = paths_of(names).edited
    _save(edited.with_name(edited.name.replace(*change)), _labels(names), paths_of(names).dseg)
    assert not take_edited(names)
    assert f"has another name: {paths_of(names).edited.name}" in caplog.text


def test_a_correction_that_leads_nowhere_is_an_error(finished):
    _, names = finished
    paths_of(names).edited.symlink_to(names.anat_dir / "nothing.nii.gz")
    with pytest.raises(ScanReadError, match="leads nowhere"):
        take_edited(names)


def test_a_damaged_json_beside_a_correction_costs_nothing(finished, caplog):
    _, names = finished
    _save(paths_of(names).edited, _labels(names), paths_of(names).dseg)
    sidecar(paths_of(names).edited).write_bytes("Höhe".encode("latin-1"))
    assert take_edited(names)
    assert "written anew" in caplog.text and json.loads(sidecar(paths_of(names).edited).read_text())["Manual"]


@pytest.mark.parametrize(("voxels", "flagged"), [(1, False), (6, True)])
def test_an_intracranial_mask_apart_from_the_automatic_one_is_flagged(finished, voxels, flagged):
    _, names = finished
    mask = np.asarray(nib.load(names.icv_mask).dataobj)
    _save(names.edited_icv_mask, np.roll(mask, voxels, axis=1), names.icv_mask)
    assert take_edited(names)
    assert (_table(names)[1]["ICV", "B"] == FAR) is flagged


def test_nothing_is_flagged_where_the_automatic_mask_is_empty(finished):
    _, names = finished
    write_nifti(paths_of(names).dseg, _labels(names) * 0, nib.load(paths_of(names).dseg).affine)
    labels = np.zeros_like(_labels(names))
    labels[5, 5, 5] = 1
    _save(paths_of(names).edited, labels, paths_of(names).dseg)
    assert take_edited(names)
    assert FAR not in _table(names)[1]["hypothalamus", "B"]


def test_figures_are_not_drawn_from_a_mask_that_was_changed_since(finished):
    _, names = finished
    _save(paths_of(names).edited, _labels(names), paths_of(names).dseg)
    take_edited(names)
    assert (read_counted(names)[1].labels["hypothalamus"][1] == _labels(names)).all()
    _save(paths_of(names).edited, _half_of_a_side(_labels(names)), paths_of(names).dseg)
    with pytest.raises(ScanReadError, match="--use-edited") as caught:
        read_counted(names)
    assert str(paths_of(names).edited) in str(caught.value)
    paths_of(names).edited.unlink()
    with pytest.raises(ScanReadError, match="--use-edited"):
        read_counted(names)


def test_figures_are_not_drawn_from_another_scan(finished):
    _, names = finished
    image = nib.load(names.scan.path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine), names.scan.path)
    with pytest.raises(ScanReadError, match=r"sub-01_T1w.*Run participant level again"):
        read_counted(names)


def _declares(names, shape, affine=None, n_bytes=10**6):
    """A file whose header says that it is of some shape, and which unpacks to more than it says."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header.set_sform(nib.load(paths_of(names).dseg).affine if affine is None else affine, 1)
    header["pixdim"][1:4] = nib.load(paths_of(names).dseg).header["pixdim"][1:4]
    header["vox_offset"] = 352
    with gzip.open(paths_of(names).edited, "wb", 1) as stream:
        stream.write(header.binaryblock + bytes(4))
        for _ in range(n_bytes // 10**6):
            stream.write(bytes(10**6))


def _huge(names):
    _declares(names, (30000, 30000, 30000))


def _huge_along_a_fourth_axis(names):
    _declares(names, (*_labels(names).shape, 30000))


def _far_voxels(names):
    _declares(names, _labels(names).shape)
    with gzip.open(paths_of(names).edited) as stream:
        content = bytearray(stream.read())
    content[108:112] = np.float32(2e9).tobytes()
    paths_of(names).edited.write_bytes(gzip.compress(bytes(content)))


def _endless_note(names):
    """An extension that claims a negative size, which readers take for all that is left of the file."""
    _declares(names, _labels(names).shape)
    with gzip.open(paths_of(names).edited) as stream:
        content = bytearray(stream.read())
    content[348:360] = bytes([1, 0, 0, 0]) + np.int32([-16, 4]).tobytes()
    content[108:112] = np.float32(400).tobytes()
    paths_of(names).edited.write_bytes(gzip.compress(bytes(content)))


def _colours(names):
    colours = np.zeros(_labels(names).shape, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.save(nib.Nifti1Image(colours, nib.load(paths_of(names).dseg).affine), paths_of(names).edited)


def _cut(names):
    paths_of(names).edited.write_bytes(paths_of(names).dseg.read_bytes()[:-20])


def test_no_more_is_read_than_the_grid_needs(finished):
    _, names = finished
    _declares(names, _labels(names).shape, n_bytes=300 * 10**6)
    tracemalloc.start()
    try:
        with pytest.raises(ScanReadError, match="unpacks to more"):
            take_edited(names)
        assert tracemalloc.get_traced_memory()[1] < 50 * 10**6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["plain", "NIfTI-2", "big-endian", "with a fourth axis"])
def test_what_editors_save_is_read(finished, kind):
    _, names = finished
    labels, affine = _labels(names), nib.load(paths_of(names).dseg).affine
    image = nib.Nifti1Image(labels, affine)
    if kind == "NIfTI-2":
        image = nib.Nifti2Image(labels, affine)
    elif kind == "big-endian":
        image = nib.Nifti1Image(labels.astype(">i2"), affine, nib.Nifti1Header(endianness=">"))
    elif kind == "with a fourth axis":
        image = nib.Nifti1Image(labels[..., None], affine)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"from an editor"))
    content = image.to_bytes()
    paths_of(names).edited.write_bytes(content if kind == "plain" else gzip.compress(content))
    np.testing.assert_array_equal(read_edited_labels(names, structure_named("hypothalamus")), labels)


def _other_grid(names):
    _save(paths_of(names).edited, _labels(names)[:-1], paths_of(names).dseg)


def _shifted(names):
    affine = nib.load(paths_of(names).dseg).affine.copy()
    affine[0, 3] += 1
    nib.save(nib.Nifti1Image(_labels(names), affine), paths_of(names).edited)


def _other_label(names):
    labels = _labels(names)
    labels[0, 0, 0] = 7
    _save(paths_of(names).edited, labels, paths_of(names).dseg)


def _empty(names):
    _save(paths_of(names).edited, _labels(names) * 0, paths_of(names).dseg)


def _damaged(names):
    paths_of(names).edited.write_bytes(b"not an image")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_other_grid, "another grid: its shape"), (_shifted, "another grid: its affine"), (_other_label, "0, 1, 2, 7"),
     (_empty, "empty"), (_damaged, "not a readable"), (_cut, "not a readable"), (_huge, "30000, 30000, 30000"),
     (_huge_along_a_fourth_axis, "30000"), (_far_voxels, "byte 2e"), (_endless_note, "not a readable"),
     (_colours, "expected numbers")],
)  # fmt: skip
def test_a_wrong_mask_is_refused_and_nothing_is_changed(finished, spoil, words):
    _, names = finished
    before = {p: p.read_bytes() for p in names.files}
    spoil(names)
    with pytest.raises(ScanReadError, match=words) as caught:
        take_edited(names)
    assert str(paths_of(names).edited) in str(caught.value)
    assert before == {p: p.read_bytes() for p in names.files}
