"""Reading scans with checks, writing without half files."""

import gzip
import os
import stat
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.errors import ScanReadError
from bids_hypo.image.values import UNDEFINED
from bids_hypo.image.volume import read_volume, write_bytes, write_nifti
from tests.phantoms import phantom_head

SHAPE = (20, 22, 24)


def _ramp(shape=SHAPE):
    """Rising numbers in a margin of 0, which is the background."""
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    data[:2] = 0
    return data


def _save(path: Path, data, affine=None, *, codes=(1, 1), zooms=None) -> Path:
    image = nib.Nifti1Image(data, np.eye(4) if affine is None else affine)
    image.set_sform(image.affine, code=codes[0])
    image.set_qform(image.affine, code=codes[1])
    nib.save(image, path)
    if codes == (0, 0) or zooms is not None:  # nibabel itself would not write such headers
        _patch_header(path, codes, zooms)
    return path


def _patch_header(path: Path, codes, zooms) -> None:
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[252:256] = np.array([codes[1], codes[0]], "<i2").tobytes()
    if zooms is not None:
        raw[80:92] = np.array(zooms, "<f4").tobytes()
        raw[280:328] = np.hstack([np.diag(zooms), np.zeros((3, 1))]).astype("<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_reads_every_dtype(tmp_path, dtype, name):
    data = np.minimum(_ramp() / 60, 200).astype(dtype)
    volume = read_volume(_save(tmp_path / name, data, np.diag([0.8, 1, 1.3, 1])))
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.grid.voxel_sizes_mm, [0.8, 1, 1.3])


def test_applies_scaling(tmp_path):
    image = nib.Nifti1Image(_ramp().astype(np.int16), np.eye(4))
    image.header.set_slope_inter(2.0, -5.0)
    nib.save(image, tmp_path / "a.nii")
    stored = nib.load(tmp_path / "a.nii")
    expected = stored.get_fdata()
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").data, expected - expected.min())


def test_a_single_volume_in_four_dimensions_is_accepted(tmp_path):
    assert read_volume(_save(tmp_path / "a.nii", _ramp()[..., None])).data.shape == SHAPE


def _nan_inside():
    data = _ramp()
    data[8:14, 8:14, 8:14] = np.nan
    return data


BAD = {
    "4-D": (lambda p: _save(p, np.zeros((*SHAPE, 3), np.float32)), "4 dimensions"),
    "2-D": (lambda p: _save(p, np.zeros(SHAPE[:2], np.float32)), "2 dimensions"),
    "thin": (lambda p: _save(p, _ramp((30, 30, 3))), "3 voxels along one axis"),
    "empty": (lambda p: p.write_bytes(b""), "0 bytes"),
    "text": (lambda p: p.write_bytes(b"this is not an image" * 40), "not a readable NIfTI"),
    "nan": (lambda p: _save(p, _nan_inside()), "inside the head are NaN"),
    "all nan": (lambda p: _save(p, np.full(SHAPE, np.nan, np.float32)), "no voxel has a finite value"),
    "constant": (lambda p: _save(p, np.zeros(SHAPE, np.float32)), "every voxel has the value 0"),
    "no affine": (lambda p: _save(p, _ramp(), codes=(0, 0)), "no affine"),
    "voxel 0": (lambda p: _save(p, _ramp(), zooms=(0, 1, 1)), "expected values above 0"),
    "voxel 5": (lambda p: _save(p, _ramp(), np.diag([5, 5, 5, 1])), "5.00 x 5.00 x 5.00"),
    "slices 6": (lambda p: _save(p, _ramp(), np.diag([1, 1, 6, 1])), "1.00 x 1.00 x 6.00"),
    "voxel 0.2": (lambda p: _save(p, _ramp(), np.diag([0.2, 0.2, 0.2, 1])), "resample the scan to 0.5 mm"),
    "rgb": (lambda p: _save(p, np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])), "expected numbers"),
    "absent": (lambda p: None, "does not exist"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named_with_their_fault(tmp_path, case):
    path = tmp_path / "sub-01_T1w.nii.gz"
    make, message = BAD[case]
    make(path)
    with pytest.raises(ScanReadError) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_truncated_gzip_is_an_error(tmp_path, keep):
    rng = np.random.default_rng(0)
    path = _save(tmp_path / "a.nii.gz", rng.normal(size=SHAPE).astype(np.float32))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(ScanReadError, match=r"a\.nii\.gz"):
        read_volume(path)


def test_few_nans_become_zero(tmp_path):
    data = _ramp()
    data[3, 4, 5] = np.nan
    assert read_volume(_save(tmp_path / "a.nii", data)).data[3, 4, 5] == 0


def test_nan_around_the_head_is_background(tmp_path):
    data = _ramp() + 300
    data[:6] = np.nan
    volume = read_volume(_save(tmp_path / "a.nii", data))
    assert (volume.data[:6] == 0).all() and (volume.data[6:] >= 0).all()
    assert volume.doubts == ()


def test_a_few_undefined_voxels_inside_the_head_are_told(tmp_path):
    head = phantom_head(noise_sd=1.0)
    data = head.data.copy()
    data[30, 36, 33] = np.nan
    assert read_volume(_save(tmp_path / "a.nii", data, head.affine)).doubts == (UNDEFINED,)
    data[28:33, 34:39, 33] = np.nan  # 25 voxels of 27 mm3
    with pytest.raises(ScanReadError, match="largest hole has 675 mm3"):
        read_volume(_save(tmp_path / "b.nii", data, head.affine))


def _mask(path):
    return _save(path, (_ramp() > 5000).astype(np.uint8))


def test_a_mask_is_not_taken_for_a_scan(tmp_path):
    with pytest.raises(ScanReadError, match=r"only the values 0, 1.*mask"):
        read_volume(_mask(tmp_path / "a.nii.gz"))


@pytest.mark.parametrize("offset", [1e6, 1e9, 1e12])
def test_a_large_offset_costs_no_differences(tmp_path, offset):
    data = _ramp().astype(np.float64) / 100
    found = read_volume(_save(tmp_path / "a.nii", data + offset)).data
    np.testing.assert_allclose(found / found.max(), data / data.max(), atol=2e-4)


@pytest.mark.parametrize("byte", [0.4, 0.7, 0.9])
def test_one_wrong_bit_is_an_error(tmp_path, byte):
    """Most decode to as many bytes as there should be; only the checksum tells."""
    path = _save(tmp_path / "a.nii.gz", phantom_head((40, 42, 44)).data)
    damaged = bytearray(path.read_bytes())
    damaged[int(len(damaged) * byte)] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(ScanReadError, match=r"a\.nii\.gz"):
        read_volume(path)


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_numbers_beyond_float32_keep_their_proportions(tmp_path, factor):
    data = _ramp().astype(np.float64)
    found = read_volume(_save(tmp_path / "a.nii", data * factor)).data
    np.testing.assert_allclose(found / found.max(), data / data.max(), atol=1e-6)


def test_a_few_absurd_numbers_among_sane_ones_are_undefined(tmp_path):
    data = _ramp().astype(np.float64)
    data[10, 10, 10] = 1e300
    assert read_volume(_save(tmp_path / "a.nii", data)).data[10, 10, 10] == 0


@pytest.mark.parametrize("size", [(0.25, 0.25, 0.25), (1, 1, 5), (0.5, 0.5, 4)])
def test_fine_voxels_and_thick_slices_are_read(tmp_path, size):
    volume = read_volume(_save(tmp_path / "a.nii", _ramp(), np.diag([*size, 1])))
    np.testing.assert_allclose(volume.grid.voxel_sizes_mm, size)


def test_written_image_keeps_codes_and_bytes_repeat(tmp_path):
    affine = np.diag([1.0, -1, 1, 1])
    source = _save(tmp_path / "source.nii", _ramp(), affine, codes=(2, 0))
    for name in ("one.nii.gz", "two.nii.gz"):
        write_nifti(tmp_path / name, _ramp().astype(np.uint8), affine, like=source)
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()
    header = nib.load(tmp_path / "one.nii.gz").header
    assert int(header["sform_code"]) == 2
    assert gzip.decompress((tmp_path / "one.nii.gz").read_bytes())[:4] == (348).to_bytes(4, "little")


def test_a_sheared_affine_survives_writing(tmp_path):
    affine = np.eye(4)
    affine[0, 1] = 0.3
    write_nifti(tmp_path / "a.nii", _ramp(), affine)
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii").affine, affine, atol=1e-6)


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    target = tmp_path / "a.json"
    target.write_bytes(b"before")

    def full(_handle):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)  # where a full disk may show only when the bytes go there
    with pytest.raises(OSError, match="No space"):
        write_bytes(target, b"after")
    assert target.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_bytes_are_on_the_disk_before_the_name_and_the_name_after(tmp_path, monkeypatch):
    steps = []

    def fsync(handle):
        steps.append((str(Path(f"/proc/self/fd/{handle}").readlink()), [p.name for p in tmp_path.iterdir()]))

    monkeypatch.setattr("os.fsync", fsync)
    write_bytes(tmp_path / "a.json", b"after")
    (of_file, names_then), (of_folder, names_after) = steps
    assert of_file.endswith(".part") and names_then == [Path(of_file).name]
    assert of_folder == str(tmp_path) and names_after == ["a.json"]


def test_a_folder_that_cannot_be_synchronised_costs_nothing(tmp_path, monkeypatch):
    def only_files(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr("os.fsync", only_files)
    write_bytes(tmp_path / "a.json", b"after")
    assert (tmp_path / "a.json").read_bytes() == b"after"


def test_a_signed_map_keeps_its_values(tmp_path):
    rng = np.random.default_rng(0)
    data = np.zeros((30, 30, 20), np.float32)
    data[6:24, 6:24, 3:17] = rng.normal(0, 0.03, (18, 18, 14))
    data[0, 0, 0] = np.nan
    path = tmp_path / "sub-1_Chimap.nii.gz"
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2.0, 2.0, 1.0])), path)
    read = read_volume(path, signed=True)
    np.testing.assert_array_equal(read.data, np.nan_to_num(data))
    assert read.background is None
    assert read_volume(path).data.min() >= 0 > read.data.min()
