"""Zips from strangers: what is fine is unpacked, what is not is refused before anything is written."""

import os
import stat
import zipfile

import pytest

from bids_hypo.errors import ScanReadError
from bids_hypo.gui.archives import unpack
from bids_hypo.gui.options import Limits
from tests.gui.samples import text_as_image, zip_bomb, zip_of

LIMITS = Limits(unpacked_mb=5, members=10)


def _refused(path, folder, limits=LIMITS):
    folder.mkdir()
    with pytest.raises(ScanReadError) as caught:
        unpack(path, folder, limits, name="study.zip")
    assert list(folder.iterdir()) == []
    assert str(caught.value).startswith("study.zip: ")
    return str(caught.value)


def test_a_plain_zip_is_unpacked_without_litter(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"t1/1.dcm": b"one", "t1/2.dcm": b"two", "__MACOSX/t1/._1.dcm": b"x"})
    (tmp_path / "out").mkdir()
    found = unpack(path, tmp_path / "out", LIMITS, name="a.zip")
    assert [p.relative_to(tmp_path / "out").as_posix() for p in found] == ["t1/1.dcm", "t1/2.dcm"]
    assert found[1].read_bytes() == b"two"


@pytest.mark.parametrize("name", ["../evil.dcm", "a/../../evil.dcm", "/etc/evil.dcm", "..\\evil.dcm", "C:\\evil.dcm"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    assert "unsafe name" in _refused(zip_of(tmp_path / "a.zip", {"ok.dcm": b"1", name: b"2"}), tmp_path / "out")
    assert not (tmp_path / "evil.dcm").exists()


def test_links_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.dcm")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "unsafe name" in _refused(path, tmp_path / "out")


def test_a_bomb_is_refused_by_its_unpacked_size(tmp_path):
    path = zip_bomb(tmp_path / "bomb.zip", size_mb=6)
    assert path.stat().st_size < 20_000
    assert "6 MB when unpacked; at most 5 MB" in _refused(path, tmp_path / "out")


def test_no_more_is_unpacked_than_there_is_room_for(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"a.dcm": bytes(3_000_000)})
    refused = _refused(path, tmp_path / "out", Limits(left_mb=2, total_mb=40))
    assert "40 MB that this server has" in refused


def test_a_bomb_that_lies_about_its_size_is_damaged(tmp_path):
    path = zip_bomb(tmp_path / "bomb.zip", size_mb=6)
    payload = path.read_bytes()
    true, told = (6_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    path.write_bytes(payload.replace(true, told))
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(ScanReadError, match="damaged"):
        unpack(path, folder, LIMITS, name="study.zip")
    assert sum(p.stat().st_size for p in folder.rglob("*")) <= 1000


def test_too_many_members_nested_empty_and_false_zips(tmp_path):
    many = zip_of(tmp_path / "many.zip", {f"{k}.dcm": b"" for k in range(11)})
    assert "holds 11 files; at most 10" in _refused(many, tmp_path / "o1")
    assert "another archive (b.tar.gz)" in _refused(zip_of(tmp_path / "n.zip", {"a/b.tar.gz": b"1"}), tmp_path / "o2")
    assert "holds no files" in _refused(zip_of(tmp_path / "e.zip", {}), tmp_path / "o3")
    assert "not a zip file" in _refused(text_as_image(tmp_path / "t.zip"), tmp_path / "o4")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_told(tmp_path, method):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("1.dcm", bytes(range(256)) * 100 + os.urandom(5000))
    payload = bytearray(path.read_bytes())
    payload[60:160] = bytes(255 - byte for byte in payload[60:160])
    path.write_bytes(payload)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(ScanReadError, match="damaged"):
        unpack(path, folder, LIMITS, name="study.zip")
