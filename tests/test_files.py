"""Only real files are opened, no more of them is read than expected, and JSON of any depth is an answer."""

import os
import socket
import threading
from pathlib import Path

import pytest

from bids_hypo.bids.checksums import sha256_of, stamp_of
from bids_hypo.bids.ignored import read_bidsignore
from bids_hypo.bids.selection import read_filter_file
from bids_hypo.bids.tsv import TableError, read_lines
from bids_hypo.errors import ScanReadError
from bids_hypo.files import open_file, read_bytes, read_json
from bids_hypo.image.nifti import open_image
from bids_hypo.image.segmentation import open_labels


def _pipe(path):
    os.mkfifo(path)


def _socket(path):
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket may have 108 characters
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


NO_FILES = {
    "pipe": _pipe,
    "socket": _socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "link to itself": lambda path: path.symlink_to(path.name),
    "dangling link": lambda path: path.symlink_to("nothing"),
}


@pytest.fixture(params=NO_FILES)
def no_file(request, tmp_path):
    path = tmp_path / "sub-01_T1w.nii.gz"
    NO_FILES[request.param](path)
    return path


def test_what_is_no_file_is_refused_at_once_wherever_it_stands(no_file):
    with pytest.raises(OSError, match="sub-01"):
        open_file(no_file)
    with pytest.raises(OSError, match="sub-01"):
        read_json(no_file)
    with pytest.raises(TableError, match="sub-01"):
        read_lines(no_file)
    with pytest.raises(OSError, match="sub-01"):
        sha256_of(no_file)
    for header_only in (True, False):
        with pytest.raises(ScanReadError, match="sub-01"):
            open_image(no_file, header_only=header_only)
    assert stamp_of(no_file) is None


def test_images_of_freesurfer_too(no_file):
    path = no_file.rename(no_file.with_name("sub-01.mgz")) if not no_file.is_symlink() else no_file
    with pytest.raises(ScanReadError, match="sub-01"):
        open_labels(path)


def test_a_bidsignore_that_is_a_pipe_ignores_nothing(tmp_path):
    os.mkfifo(tmp_path / ".bidsignore")
    assert not read_bidsignore(tmp_path).match_file("sub-01/anat/sub-01_T1w.nii")


def test_a_filter_file_may_be_the_pipe_of_a_shell(tmp_path):
    pipe = tmp_path / "filter.json"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=('{"t1w": {"session": "1"}}',))
    writer.start()
    assert read_filter_file(pipe) == {"session": "1"}
    writer.join()


def test_no_more_is_read_than_expected(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", at_most=5) == b"12345"
    with pytest.raises(OSError, match="it has more than"):
        read_bytes(tmp_path / "a", at_most=4)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{}", b"{", b"1" * 5000])
def test_json_that_cannot_be_read_is_a_value_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011 - the words are those of the parser
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", ['{"Name": "a \\ud800 b"}', '{"\\udfff": 1}'])
def test_half_a_character_is_refused_where_it_is_read(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match="half a character"):
        read_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(r'{"Name": "\ud83e\udde0"}')
    assert read_json(tmp_path / "b.json") == {"Name": "\U0001f9e0"}
