"""Files are read by what is in them, not by what their name says."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.errors import ScanReadError
from bids_hypo.image.nifti import open_image
from bids_hypo.image.volume import read_volume, write_nifti
from tests.phantoms import affine_for, phantom_head

SHAPE = (24, 26, 28)


@pytest.fixture(params=[nib.Nifti1Image, nib.Nifti2Image])
def plain(request, tmp_path):
    """Bytes of an image that is not compressed."""
    head = phantom_head(SHAPE, affine_for("LPS", (5.0, 4.0, 1.0), SHAPE))
    request.param(head.data, head.affine).to_filename(tmp_path / "plain.nii")
    return (tmp_path / "plain.nii").read_bytes()


PACKED = {
    "a.nii": lambda raw: raw,
    "b.nii.gz": gzip.compress,
    "not compressed.nii.gz": lambda raw: raw,
    "compressed.nii": gzip.compress,
    "in members.nii.gz": lambda raw: gzip.compress(raw[:5000]) + gzip.compress(raw[5000:]) + b"and a note",
    "twice.nii.gz": lambda raw: gzip.compress(gzip.compress(raw)),
}


@pytest.mark.parametrize("name", PACKED)
def test_every_packing_gives_the_same_image(tmp_path, plain, name):
    (tmp_path / name).write_bytes(PACKED[name](plain))
    expected = nib.load(tmp_path / "plain.nii")
    found = open_image(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    np.testing.assert_array_equal(found.affine, expected.affine)


@pytest.mark.parametrize("name", PACKED)
def test_masks_are_written_for_every_packing_and_version(tmp_path, plain, name):
    source, target = tmp_path / name, tmp_path / "mask.nii.gz"
    source.write_bytes(PACKED[name](plain))
    volume = read_volume(source)
    write_nifti(target, (volume.data > 0).astype(np.uint8), volume.affine, like=source)
    np.testing.assert_allclose(nib.load(target).affine, nib.load(tmp_path / "plain.nii").affine, atol=1e-5)


NO_IMAGES = {
    "compressed text": gzip.compress(b"no image" * 100),
    "cut": b"\x1f\x8b and then nothing",
    "empty": b"",
    "text": b"text" * 200,
}


@pytest.mark.parametrize("case", NO_IMAGES)
def test_what_is_no_image_is_named(tmp_path, case):
    path = tmp_path / "sub-01_T1w.nii"
    path.write_bytes(NO_IMAGES[case])
    with pytest.raises(ScanReadError, match=r"sub-01_T1w\.nii"):
        open_image(path)
