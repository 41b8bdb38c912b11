"""Corrected masks: taken in, counted, undone; wrong ones refused with a reason."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids import outputs_complete, sidecar
from bids_hypo.errors import ScanReadError
from bids_hypo.models.catalog import find_bundles
from bids_hypo.workflow.edited import counted_masks, take_edited
from bids_hypo.workflow.summary import read_result
from tests.finished import finished_dataset
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
    return np.asarray(nib.load(names.dseg).dataobj).copy()


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
    assert names.edited_dseg.name == "sub-01_space-orig_seg-hypothalamus_desc-edited_dseg.nii.gz"
    _save(names.edited_dseg, labels, names.dseg)
    assert take_edited(names) is True
    volumes, flags = _table(names)
    assert volumes["hypothalamus", "L"] == pytest.approx(automatic["hypothalamus", "L"] + 200 * VOXEL_MM3)
    assert volumes["hypothalamus", "R"] == automatic["hypothalamus", "R"]
    assert volumes["hypothalamus", "B"] == pytest.approx(volumes["hypothalamus", "L"] + volumes["hypothalamus", "R"])
    assert volumes["ICV", "B"] == automatic["ICV", "B"]
    # of the automatic flags the one that concerns the image stays, those that follow from the volume are made anew
    assert flags["hypothalamus", "L"] == "coarse_voxels;asymmetric;large_volume"
    content = json.loads(sidecar(names.edited_dseg).read_text())
    assert content["Manual"] is True
    assert content["Sources"] == ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz",
                                  "bids::sub-01/anat/sub-01_space-orig_seg-hypothalamus_dseg.nii.gz"]  # fmt: skip
    assert json.loads(sidecar(names.dseg).read_text())["Manual"] is False
    assert json.loads(sidecar(names.morph).read_text())["Manual"] is True
    np.testing.assert_array_equal(counted_masks(names)[0], labels)
    assert bids_errors(out) == []


def test_the_scan_stays_complete_and_the_same_mask_is_counted_once(finished):
    _, names = finished
    _save(names.edited_dseg, _labels(names), names.dseg)
    assert take_edited(names) is True
    assert take_edited(names) is False
    digests = [b.weights_sha256 for b in find_bundles().values()]
    assert outputs_complete(names, digests, settings={"Fast": False})


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
    assert result.icv_mm3 == pytest.approx(8000 * VOXEL_MM3)
    assert "skull_stripped" not in result.flags
    names.edited_icv_mask.unlink()
    assert take_edited(names)
    result = read_result(names)
    assert result.icv_mm3 is None and "skull_stripped" in result.flags


def test_taking_the_correction_away_brings_the_automatic_values_back(finished):
    _, names = finished
    before, flags_before = _table(names)
    record_before = sidecar(names.morph).read_bytes()
    labels = _labels(names)
    labels[labels == 2] = 0
    _save(names.edited_dseg, labels, names.dseg)
    take_edited(names)
    assert _table(names)[0]["hypothalamus", "R"] == 0
    labels[5, 5, 5] = 2
    _save(names.edited_dseg, labels, names.dseg)
    assert take_edited(names)  # changed since
    assert _table(names)[0]["hypothalamus", "R"] == VOXEL_MM3
    names.edited_dseg.unlink()
    assert take_edited(names)
    after, flags_after = _table(names)
    pd.testing.assert_series_equal(after, before)
    pd.testing.assert_series_equal(flags_after, flags_before)
    assert sidecar(names.morph).read_bytes() == record_before


def test_what_the_person_wrote_into_the_sidecar_stays(finished):
    _, names = finished
    _save(names.edited_dseg, _labels(names), names.dseg)
    sidecar(names.edited_dseg).write_text('{"Rater": "AB"}')
    take_edited(names)
    content = json.loads(sidecar(names.edited_dseg).read_text())
    assert content["Rater"] == "AB" and content["Manual"] is True


def _other_grid(names):
    _save(names.edited_dseg, _labels(names)[:-1], names.dseg)


def _shifted(names):
    affine = nib.load(names.dseg).affine.copy()
    affine[0, 3] += 1
    nib.save(nib.Nifti1Image(_labels(names), affine), names.edited_dseg)


def _other_label(names):
    labels = _labels(names)
    labels[0, 0, 0] = 7
    _save(names.edited_dseg, labels, names.dseg)


def _empty(names):
    _save(names.edited_dseg, _labels(names) * 0, names.dseg)


def _damaged(names):
    names.edited_dseg.write_bytes(b"not an image")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_other_grid, "another grid"), (_shifted, "another grid"), (_other_label, "0, 1, 2, 7"), (_empty, "empty"),
     (_damaged, "not a readable")],
)  # fmt: skip
def test_a_wrong_mask_is_refused_and_nothing_is_changed(finished, spoil, words):
    _, names = finished
    before = {p: p.read_bytes() for p in names.files}
    spoil(names)
    with pytest.raises(ScanReadError, match=words) as caught:
        take_edited(names)
    assert str(names.edited_dseg) in str(caught.value)
    assert before == {p: p.read_bytes() for p in names.files}
