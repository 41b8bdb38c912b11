"""Headers that contradict themselves are refused, small differences are a doubt, outputs keep what the scan says."""

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.errors import ScanReadError
from bids_hypo.image.placement import HEADER_INCONSISTENT, TEMPLATE_SPACE
from bids_hypo.image.volume import read_volume, write_nifti
from tests.phantoms import affine_for, phantom_head

SHAPE = (40, 44, 42)
SIZES = (4.0, 1.33, 1.33)
PLACE = ("sform_code", "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
         "srow_x", "srow_y", "srow_z")  # fmt: skip


def _scan(path, *, sform=None, qform=None, codes=(1, 1), change=None):
    """A scan with the transforms given, and other changes of the header made last."""
    affine = affine_for("LAS", SIZES, SHAPE)
    image = nib.Nifti1Image(phantom_head(SHAPE, affine).data, affine)
    image.set_qform(affine if qform is None else qform, code=codes[1])
    image.set_sform(affine if sform is None else sform, code=codes[0])
    image.header["sform_code"], image.header["qform_code"] = codes
    image.header.set_xyzt_units("mm")
    for name, value in (change or {}).items():
        image.header[name] = value
    image._affine = None  # nibabel would bring the header back in line with it
    image.to_filename(path)
    return path


def _turned(degrees):
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ affine_for("LAS", SIZES, SHAPE)


MIRROR = np.diag([-1.0, 1, 1, 1])
AFFINE = affine_for("LAS", SIZES, SHAPE)
SHEAR = np.eye(4)
SHEAR[1, 2] = 0.1
CONTRADICTIONS = {
    "sform of 1 mm": ({"sform": affine_for("LAS", (1.0, 1.0, 1.0), SHAPE)}, "4.00 x 1.33 x 1.33"),
    "sform a quarter larger": ({"sform": affine_for("LAS", (5.0, 1.33, 1.33), SHAPE)}, "5.00 x 1.33 x 1.33"),
    "sform alone": ({"sform": affine_for("LAS", (1.0, 1.0, 1.0), SHAPE), "codes": (2, 0)}, "pixdim says 4"),
    "mirrored": ({"sform": MIRROR @ AFFINE}, "mirror images"),
    "turned by half a circle": ({"sform": np.diag([-1.0, -1, 1, 1]) @ AFFINE}, "180 degrees apart"),
    "axes exchanged": ({"qform": AFFINE[:, [0, 2, 1, 3]] @ np.diag([1, 1, -1, 1])}, "degrees apart"),
    "no transform": ({"codes": (0, 0)}, "no affine"),
    "metres": ({"change": {"xyzt_units": 1, "pixdim": [1, 90, 90, 90, 0, 0, 0, 0]}}, "in metres"),
    "unknown unit": ({"change": {"xyzt_units": 5, "pixdim": [1, 90, 90, 90, 0, 0, 0, 0]}}, "unknown number 5"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_an_error_that_says_what_to_do(tmp_path, case):
    path = tmp_path / "sub-01_T1w.nii"
    how, message = CONTRADICTIONS[case]
    _scan(path, **how)
    with pytest.raises(ScanReadError) as caught:
        read_volume(path)
    text = str(caught.value)
    assert str(path) in text and message in text
    if "contradicts" in text or "apart" in text or "mirror" in text:
        assert all(word in text for word in ("sform", "qform", "pixdim", "DICOM"))


NO_DOUBT: tuple[str, ...] = ()
ACCEPTED = {
    "all agree": ({}, NO_DOUBT),
    "rounded by a scanner": ({"sform": affine_for("LAS", (4.0, 1.3333, 1.3333), SHAPE)}, NO_DOUBT),
    "sform alone": ({"codes": (1, 0)}, NO_DOUBT),
    "qform alone": ({"codes": (0, 1), "sform": np.eye(4)}, NO_DOUBT),
    "aligned by another program": ({"sform": _turned(12), "codes": (2, 1)}, NO_DOUBT),
    "no unit": ({"change": {"xyzt_units": 0}}, NO_DOUBT),
    "turned, though both say scanner": ({"sform": _turned(12)}, (HEADER_INCONSISTENT,)),
    "one per cent": ({"sform": affine_for("LAS", (4.04, 1.33, 1.33), SHAPE)}, (HEADER_INCONSISTENT,)),
    "quaternion too long": ({"change": {"quatern_b": 3.0}}, (HEADER_INCONSISTENT,)),
    "millimetres called microns": ({"change": {"xyzt_units": 3}}, (HEADER_INCONSISTENT,)),
    "sheared": ({"sform": AFFINE @ SHEAR, "codes": (1, 0)}, (HEADER_INCONSISTENT,)),
    "in MNI space": ({"codes": (4, 0)}, (TEMPLATE_SPACE,)),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_read_and_what_is_doubted(tmp_path, case):
    how, doubts = ACCEPTED[case]
    volume = read_volume(_scan(tmp_path / "a.nii", **how))
    assert volume.doubts == doubts


@pytest.mark.parametrize("case", ACCEPTED)
def test_outputs_keep_both_transforms_as_they_are(tmp_path, case):
    source = _scan(tmp_path / "a.nii", **ACCEPTED[case][0])
    volume = read_volume(source)
    write_nifti(tmp_path / "mask.nii.gz", np.ones(SHAPE, np.uint8), volume.affine, like=source)
    before = nib.Nifti1Header.from_fileobj((tmp_path / "a.nii").open("rb"), check=False)
    after = nib.load(tmp_path / "mask.nii.gz").header
    for name in PLACE:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    np.testing.assert_array_equal(after["pixdim"][:4], before["pixdim"][:4])
    assert int(after["xyzt_units"]) & 7 == int(before["xyzt_units"]) & 7


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3)])
def test_other_units_of_length_are_honoured(tmp_path, unit, factor):
    affine = np.diag([factor, factor, factor, 1.0]) @ AFFINE
    image = nib.Nifti1Image(phantom_head(SHAPE, AFFINE).data, affine)
    image.header.set_xyzt_units(unit)
    image.to_filename(tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
    assert volume.doubts == ()
