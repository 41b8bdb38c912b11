"""How much memory an image may take: told from its header, and held while it is unpacked."""

import gzip
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.errors import ScanReadError
from bids_hypo.image import limits
from bids_hypo.image.label_numbers import Wanted
from bids_hypo.image.limits import ALWAYS_VOXELS, MOST_VOXELS, VoxelLimit, check_size, limit_for, set_voxel_limit
from bids_hypo.image.nifti import open_image
from bids_hypo.image.segmentation import open_labels, read_parts
from bids_hypo.image.volume import check_scan, read_labels, read_volume
from bids_hypo.structures import HYPOTHALAMUS
from bids_hypo.train.headmaps import load_head_maps

READERS = {
    "scan": read_volume,
    "labels": read_labels,
    "segmentation": lambda path: read_parts({"B": path}, None, None, Wanted(HYPOTHALAMUS)),
    "head map": load_head_maps,
    "dry run": check_scan,
}


@pytest.fixture
def small_limit():
    set_voxel_limit(VoxelLimit(30**3, "a test"))
    yield
    set_voxel_limit(None)


def _bytes_of(shape, n_bytes, dtype=np.uint8):
    """A NIfTI file that declares a shape and holds so many bytes of data, all 0."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(4) + bytes(n_bytes)


def _peak_bytes(call):
    tracemalloc.start()
    try:
        with pytest.raises(ScanReadError) as caught:
            call()
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["a_T1w.nii.gz", "a_T1w.nii"])
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_an_image_that_is_too_large_before_it_takes_memory(tmp_path, small_limit, reader, name):
    raw = _bytes_of((250, 250, 250), 250**3)
    (tmp_path / name).write_bytes(gzip.compress(raw, 1) if name.endswith("gz") else raw)
    del raw
    peak, message = _peak_bytes(lambda: READERS[reader](tmp_path / name))
    assert peak < 5e6
    assert name in message
    assert "250 x 250 x 250" in message and "0 million (a test)" in message and "--mem" in message


def test_images_of_freesurfer_are_limited_too(tmp_path, small_limit):
    nib.MGHImage(np.zeros((40, 40, 40), np.uint8), np.eye(4)).to_filename(tmp_path / "a.mgz")
    with pytest.raises(ScanReadError, match="40 x 40 x 40"):
        open_labels(tmp_path / "a.mgz")


def test_a_file_that_unpacks_to_more_than_its_header_declares_is_stopped(tmp_path):
    path = tmp_path / "a_T1w.nii.gz"
    path.write_bytes(gzip.compress(_bytes_of((20, 20, 20), 40_000_000), 1))
    peak, message = _peak_bytes(lambda: open_image(path))
    assert peak < 30e6 and "unpacks to more than its header declares" in message


@pytest.mark.parametrize("name", ["a_T1w.nii.gz", "a_T1w.nii"])
@pytest.mark.parametrize("shape", [(500, 500, 500), (30_000, 30_000, 30_000)])
def test_memory_is_not_taken_for_what_a_file_does_not_hold(tmp_path, monkeypatch, name, shape):
    monkeypatch.setattr(limits, "MOST_VOXELS", 10**15)
    set_voxel_limit(VoxelLimit(10**15, "a test"))
    try:
        raw = _bytes_of(shape, 1000)
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
        peak, message = _peak_bytes(lambda: read_volume(tmp_path / name))
    finally:
        set_voxel_limit(None)
    assert peak < 20e6 and "end early" in message and str(shape) in message


def test_a_short_file_is_told_by_its_header_alone(tmp_path):
    (tmp_path / "a.nii").write_bytes(_bytes_of((20, 20, 20), 1000))
    with pytest.raises(ScanReadError, match="end early"):
        check_scan(tmp_path / "a.nii")


@pytest.mark.parametrize("shape", [(-5, 20, 20), (20, 20, -1)])
def test_no_image_has_a_negative_size(tmp_path, shape):
    raw = bytearray(_bytes_of((20, 20, 20), 8000))
    raw[42:48] = np.array(shape, np.int16).tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(ScanReadError, match=r"a\.nii"):
        read_volume(tmp_path / "a.nii")


def test_an_unknown_type_of_voxels_is_named(tmp_path):
    raw = bytearray(_bytes_of((20, 20, 20), 8000))
    raw[70:72] = (32767).to_bytes(2, "little")
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(ScanReadError, match="unknown number 32767"):
        read_volume(tmp_path / "a.nii")


def test_a_file_packed_again_and_again_is_refused(tmp_path):
    packed = _bytes_of((20, 20, 20), 8000)
    for _ in range(5):
        packed = gzip.compress(packed)
    (tmp_path / "a.nii.gz").write_bytes(packed)
    with pytest.raises(ScanReadError, match="compressed more than 3 times"):
        open_image(tmp_path / "a.nii.gz")


def test_the_limit_grows_with_memory_and_shrinks_with_the_scans_in_work():
    alone, shared, threads = limit_for(6), limit_for(6, n_processes=2), limit_for(6, n_scans=2)
    assert alone.voxels > threads.voxels > shared.voxels > ALWAYS_VOXELS
    assert alone.reason == "--mem 6" and shared.reason == "--mem 6 for 2 scans at a time"
    assert limit_for(1000).voxels == MOST_VOXELS
    assert limit_for(1).voxels == ALWAYS_VOXELS


def test_the_largest_heads_fit_where_there_is_memory():
    assert limit_for(24).voxels >= 880 * 880 * 640


@pytest.mark.parametrize(
    ("version", "controllers", "file"),
    [(2, "0::", "memory.max"), (1, "5:memory:", "memory/memory.limit_in_bytes")],
)
def test_the_limit_of_a_container_counts(tmp_path, monkeypatch, version, controllers, file):
    monkeypatch.setattr(limits, "_CGROUP_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "_OWN_CGROUPS", tmp_path / "own")
    (tmp_path / "own").write_text(f"{controllers}/job/step\n")
    of_job = (tmp_path / "cgroup" / file).parent / "job" / file.rpartition("/")[2]
    of_job.parent.mkdir(parents=True)
    of_job.write_text("3000000000\n")
    (of_job.parent / "step").mkdir()
    (of_job.parent / "step" / of_job.name).write_text("max\n")
    limits.machine_memory.cache_clear()
    try:
        assert limits.machine_memory() == (3.0, "in this container or job")
        assert "container" in limit_for(None).reason
    finally:
        limits.machine_memory.cache_clear()


def test_without_a_limit_of_a_container_the_machine_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_OWN_CGROUPS", tmp_path / "none")
    limits.machine_memory.cache_clear()
    try:
        found, place = limits.machine_memory()
        assert found > 0.1 and place == "in this machine"
    finally:
        limits.machine_memory.cache_clear()


def test_an_impossible_size_is_not_a_matter_of_memory():
    with pytest.raises(ScanReadError, match="Is the header right"):
        check_size("a.nii", (30_000, 30_000, 30_000), 2)


def test_wide_numbers_take_more_memory():
    set_voxel_limit(VoxelLimit(4 * ALWAYS_VOXELS, "a test"))
    shape = (400, 400, 400)
    try:
        check_size("a.nii", shape, 4)
        with pytest.raises(ScanReadError, match="64 million; expected at most 51 million of 64 bits"):
            check_size("a.nii", shape, 8)
    finally:
        set_voxel_limit(None)
