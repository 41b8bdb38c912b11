"""Files become a small BIDS dataset, or a sentence that names the file and says what to do."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.bids import find_scans
from bids_hypo.bids.query import Selection, check_dataset
from bids_hypo.errors import UsageError
from bids_hypo.gui import dicom
from bids_hypo.gui.options import Limits
from bids_hypo.gui.uploads import in_words, receive
from tests.gui.samples import (
    ball,
    text_as_image,
    write_ct,
    write_dicom_series,
    write_image,
    zip_bomb,
    zip_of,
    zip_series,
)

LIMITS = Limits(upload_mb=2, unpacked_mb=5)
needs_dcm2niix = pytest.mark.skipif(dicom._program() is None, reason="dcm2niix is not installed (pip install dcm2niix)")


def _receive(tmp_path, *files, label=None, limits=LIMITS):
    folder = tmp_path / "session"
    folder.mkdir()
    dataset, uploads = receive(files, folder, limits, label=label)
    assert [p.name for p in folder.iterdir()] == ["scans"]  # nothing half done is left
    return dataset, uploads


def _error(tmp_path, file, limits=LIMITS):
    _, (upload,) = _receive(tmp_path, file, limits=limits)
    assert upload.path is None
    assert upload.error.startswith(f"{file.name}: ")
    assert str(tmp_path) not in upload.error
    return upload.error


def test_an_image_becomes_a_valid_dataset_and_keeps_its_bytes(tmp_path):
    file = write_image(tmp_path / "Scan of 3 May.nii.gz")
    dataset, (upload,) = _receive(tmp_path, file, label="upload")
    check_dataset(dataset)
    (scan,), missing = find_scans(dataset, Selection())
    assert not missing and scan.path == upload.path
    assert scan.path.relative_to(dataset).as_posix() == "sub-upload/anat/sub-upload_T1w.nii.gz"
    assert scan.path.read_bytes() == file.read_bytes()


def test_the_content_decides_about_gz(tmp_path):
    plain = write_image(tmp_path / "a.nii")
    packed = write_image(tmp_path / "b.nii.gz")
    packed.rename(tmp_path / "b.nii")
    _, uploads = _receive(tmp_path, plain, tmp_path / "b.nii")
    assert [u.path.name for u in uploads] == ["sub-a_T1w.nii", "sub-b_T1w.nii.gz"]
    assert nib.load(uploads[1].path).shape == ball().shape


def test_bids_names_are_kept_and_others_cleaned(tmp_path):
    names = ["sub-07_ses-2_run-1_T1w.nii.gz", "Müller, Anna.nii.gz", "sub-1_space-MNI_T1w.nii.gz", "Muller Anna.nii.gz"]
    dataset, uploads = _receive(tmp_path, *(write_image(tmp_path / name) for name in names))
    found = [u.path.relative_to(dataset).as_posix() for u in uploads]
    assert found == [
        "sub-07/ses-2/anat/sub-07_ses-2_run-1_T1w.nii.gz", "sub-MullerAnna/anat/sub-MullerAnna_T1w.nii.gz",
        "sub-1spaceMNIT1w/anat/sub-1spaceMNIT1w_T1w.nii.gz", "sub-MullerAnnax2/anat/sub-MullerAnnax2_T1w.nii.gz",
    ]  # fmt: skip


def test_one_bad_file_costs_only_itself(tmp_path):
    good, bad = write_image(tmp_path / "good.nii.gz"), text_as_image(tmp_path / "bad.nii.gz")
    (tmp_path / "again").mkdir()
    twin = write_image(tmp_path / "again" / "sub-1_T1w.nii.gz"), write_image(tmp_path / "sub-1_T1w.nii")
    _, uploads = _receive(tmp_path, bad, good, *twin)
    assert [u.path is not None for u in uploads] == [False, True, True, False]
    assert "same BIDS name (sub-1_T1w)" in uploads[3].error


def test_text_with_the_name_of_an_image(tmp_path):
    assert "not a readable NIfTI image" in _error(tmp_path, text_as_image(tmp_path / "text.nii.gz"))


def test_damaged_images_cost_only_themselves(tmp_path):
    good = write_image(tmp_path / "good.nii.gz")
    content = bytearray(good.read_bytes())
    content[10:40] = bytes(30)
    (tmp_path / "start.nii.gz").write_bytes(content)
    header = bytearray(write_image(tmp_path / "kind.nii").read_bytes())
    header[70:72] = b"\xff\x7f"  # a type of data that does not exist
    (tmp_path / "kind.nii").write_bytes(header)
    _, uploads = _receive(tmp_path, tmp_path / "start.nii.gz", tmp_path / "kind.nii", good)
    assert all("not a readable NIfTI image" in str(upload.error) for upload in uploads[:2])
    assert uploads[2].error is None


def test_a_time_series(tmp_path):
    assert "4 dimensions" in _error(tmp_path, write_image(tmp_path / "bold.nii.gz", np.stack([ball()] * 3, -1)))


def test_computed_tomography(tmp_path):
    assert "look like CT" in _error(tmp_path, write_ct(tmp_path / "ct.nii.gz"))


def test_negative_values_alone_are_not_ct(tmp_path):
    _, (upload,) = _receive(tmp_path, write_image(tmp_path / "z.nii.gz", ball() - 2000))
    assert upload.error is None


def test_too_large_a_file_and_too_many_voxels(tmp_path):
    large = tmp_path / "large.nii.gz"
    large.write_bytes(bytes(2_100_000))
    assert "at most 2 MB" in _error(tmp_path, large)
    image = write_image(tmp_path / "fine.nii.gz", np.zeros((110, 100, 100), np.uint8))
    (tmp_path / "session").rename(tmp_path / "before")
    assert "110 x 100 x 100 voxels; at most 1 million" in _error(tmp_path, image, Limits(megavoxels=1))


def test_too_many_files(tmp_path):
    with pytest.raises(UsageError, match="2 files were given; at most 1"):
        receive([tmp_path / "a.nii", tmp_path / "b.nii"], tmp_path, Limits(files=1))


@pytest.mark.parametrize("name", ["photo.jpg", "scan.mgz", "scan"])
def test_another_kind_of_file(tmp_path, name):
    assert "expected .nii, .nii.gz or .zip" in _error(tmp_path, text_as_image(tmp_path / name))


def test_a_zip_of_one_image_is_taken_and_of_two_is_not(tmp_path):
    image = write_image(tmp_path / "a.nii.gz")
    _, (upload,) = _receive(tmp_path, zip_of(tmp_path / "one.zip", {"x/a.nii.gz": image}))
    assert upload.path.name == "sub-one_T1w.nii.gz"
    (tmp_path / "session").rename(tmp_path / "before")
    assert "holds 2 NIfTI files" in _error(tmp_path, zip_of(tmp_path / "two.zip", {"a.nii": image, "b.nii": image}))


def test_a_zip_bomb(tmp_path):
    assert "when unpacked" in _error(tmp_path, zip_bomb(tmp_path / "bomb.zip", size_mb=9))


@needs_dcm2niix
def test_a_dicom_series_is_converted_in_place_and_without_names(tmp_path):
    data = ball().astype(np.uint16)
    series = write_dicom_series(tmp_path / "t1", data, spacing_mm=2.0)
    _, (upload,) = _receive(tmp_path, zip_series(tmp_path / "t1.zip", series))
    image = nib.load(upload.path)
    assert image.shape == data.shape
    turned = nib.as_closest_canonical(image)
    np.testing.assert_allclose(turned.header.get_zooms(), 2.0)
    np.testing.assert_array_equal(np.asarray(turned.dataobj), data[::-1, ::-1])  # DICOM counts to the left and back
    about = upload.path.with_name("sub-t1_T1w.json").read_text()
    assert json.loads(about)["Modality"] == "MR"
    assert "secret" not in about.lower() and b"Secret" not in upload.path.read_bytes()


@needs_dcm2niix
def test_dicom_that_cannot_be_used(tmp_path):
    data = ball().astype(np.uint16)
    one, two = (write_dicom_series(tmp_path / f"s{k}", data, number=k, spacing_mm=2.0) for k in (1, 2))
    ct = write_dicom_series(tmp_path / "ct", data, modality="CT", spacing_mm=2.0)
    files = [
        zip_series(tmp_path / "both.zip", one + two), zip_series(tmp_path / "ct.zip", ct),
        zip_of(tmp_path / "letter.zip", {"letter.txt": b"Dear colleague"}),
    ]  # fmt: skip
    _, uploads = _receive(tmp_path, *files)
    assert "holds 2 series (T1w series 1, T1w series 2)" in uploads[0].error
    assert "this is CT, not MRI" in uploads[1].error
    assert "no image series was found" in uploads[2].error


def test_without_dcm2niix_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom, "_program", lambda: None)
    series = write_dicom_series(tmp_path / "t1", ball().astype(np.uint16))[:2]
    assert "pip install 'bids_hypo[gui]'" in _error(tmp_path, zip_series(tmp_path / "t1.zip", series))


def test_messages_speak_of_names_that_the_user_knows():
    told = in_words(Exception("/tmp/x/scans/sub-1/anat/sub-1_T1w.nii: no head"), {Path("/tmp/x/scans"): r"my\1.nii"})
    assert told == r"my\1.nii: no head"


def test_a_uniform_image_keeps_its_kind(tmp_path):
    names = ("sub-1_UNIT1.nii.gz", "sub-1_T1w.nii.gz", "sub-2_T2w.nii.gz")
    _, uploads = _receive(tmp_path, *(write_image(tmp_path / name) for name in names))
    assert [u.path.name for u in uploads] == ["sub-1_UNIT1.nii.gz", "sub-1_T1w.nii.gz", "sub-2T2w_T1w.nii.gz"]
