"""Opening NIfTI files as they come: version 1 or 2, compressed or not, whatever their name says.

Nobody knows what is in a file before it is read. So the header is read first, and then no more than it declares: a
header cannot make the program allocate what the file does not hold, nor a file unpack to more than its header says.
"""

from __future__ import annotations

import io
import logging
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.wrapstruct import WrapStructError

from bids_hypo.errors import ScanReadError
from bids_hypo.files import open_file
from bids_hypo.image.limits import check_size

UNREADABLE = (
    ImageFileError, nib.spatialimages.HeaderDataError, WrapStructError, OSError, EOFError, ValueError, OverflowError,
    zlib.error,
)  # fmt: skip
"""What nibabel raises for files that are damaged or something else."""
GZIP = b"\x1f\x8b"  # how a compressed file begins
_SIZES_OF_HEADERS = (348, 540)  # NIfTI-1, NIfTI-2
_MOST_TIMES = 3  # that a file may be compressed
_MAX_OFFSET_BYTES = 2**24  # of the voxels: notes of other programs stand before them
_MAX_REST_BYTES = 2**24  # after them
_PACKED_BYTES, _PIECE_BYTES = 2**16, 2**22
_log = logging.getLogger(__name__)


def open_image(path: str | Path, *, header_only: bool = False) -> nib.Nifti1Image:
    """Open a NIfTI image.

    Parameters
    ----------
    path : path-like
        ``.nii`` or ``.nii.gz``. A file that is not compressed though its name says so, compressed though its name does
        not, or compressed twice is read all the same.
    header_only : bool
        The data will not be asked for: the file is read no further, and its image may be of any size.

    Returns
    -------
    Nifti1Image
        Or a `Nifti2Image`, which is one. Voxel sizes in its header are those of the file, not repaired.

    Raises
    ------
    ScanReadError
        If there is no such file, it is empty, damaged (checksums of gzip are compared) or something else; if its header
        declares more voxels than may be read (see `bids_hypo.image.limits`), or others than the file holds.
    """
    path = Path(path)
    try:
        with open_file(path) as file, nib.imageglobals.LoggingOutputSuppressor():  # it names no file
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            if not size:
                raise ScanReadError(f"{path}: the file is empty (0 bytes). Fetch or copy it again.")
            stream, times = _unpacked(file)
            if not header_only:
                _tell_packing(path, times)
            return _read_image(path, stream, size=None if times else size, header_only=header_only)
    except FileNotFoundError as error:
        text = f"{path}: the file does not exist (a broken link or an unfetched annex file?)."
        raise ScanReadError(text) from error
    except UNREADABLE as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise ScanReadError(f"{path}: not a readable NIfTI image ({why}). Fetch or convert it again.") from error


def _unpacked(file: BinaryIO) -> tuple[BinaryIO, int]:
    """A stream of what was compressed, and how often it was."""
    stream, times = file, 0
    while (begin := stream.read(2)) == GZIP:
        if times == _MOST_TIMES:
            raise ImageFileError(f"it is compressed more than {_MOST_TIMES} times")
        stream = cast(BinaryIO, io.BufferedReader(_Unpacker(_Rejoined(begin, stream)), _PACKED_BYTES))
        times += 1
    return cast(BinaryIO, _Rejoined(begin, stream)), times


def _tell_packing(path: Path, times: int) -> None:
    if not times and path.name.endswith(".gz"):
        _log.info("%s: not compressed, though its name says so; read all the same.", path)
    elif times > 1 or (times and not path.name.endswith(".gz")):
        _log.info("%s: compressed %d times, which its name does not say; read all the same.", path, times)


class _Rejoined:
    """A stream of which the beginning was read already."""

    def __init__(self, begin: bytes, rest: BinaryIO) -> None:
        self._begin, self._rest = begin, rest

    def read(self, n: int) -> bytes:
        begin, self._begin = self._begin[:n], self._begin[n:]
        return begin + self._rest.read(n - len(begin))


class _Unpacker(io.RawIOBase):
    """Undoes one compression by gzip: all members, their checksums compared; other bytes after the last are ignored.

    Reading raises `zlib.error` where it is damaged, `EOFError` where it ends early.
    """

    def __init__(self, packed: _Rejoined) -> None:
        self._packed, self._waiting = packed, b""
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def readable(self) -> bool:
        return True

    def readinto(self, out: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._member.eof and not self._begin_member():
                return 0
            waiting = self._waiting or self._packed.read(_PACKED_BYTES)
            found = self._member.decompress(waiting, len(out))
            self._waiting = self._member.unconsumed_tail or self._member.unused_data
            if found:
                out[: len(found)] = found
                return len(found)
            if not waiting and not self._member.eof:
                raise EOFError("the compressed file ends early")

    def _begin_member(self) -> bool:
        if len(self._waiting) < len(GZIP):
            self._waiting += self._packed.read(_PACKED_BYTES)
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16) if self._waiting[:2] == GZIP else self._member
        return not self._member.eof


def check_numeric(path: Path, dtype: np.dtype) -> None:
    """Refuse data that are no numbers, such as colours or complex ones.

    Raises
    ------
    ScanReadError
    """
    if dtype.kind not in "iuf":
        raise ScanReadError(f"{path}: found data of type {dtype}; expected numbers. Save or convert it again.")


def kind_of(begin: bytes) -> type[nib.Nifti1Image]:
    """The class of an image by the first four bytes, the size of its header in either order of bytes."""
    sizes = {int.from_bytes(begin, order) for order in ("little", "big")}
    if not sizes & set(_SIZES_OF_HEADERS):
        raise ImageFileError("it does not begin with the header of a NIfTI file")
    return nib.Nifti2Image if _SIZES_OF_HEADERS[1] in sizes else nib.Nifti1Image


def _read_image(path: Path, stream: BinaryIO, *, size: int | None, header_only: bool) -> nib.Nifti1Image:
    """The image in a stream of uncompressed bytes, whose number may be known."""
    begin = stream.read(4)
    kind = kind_of(begin)
    n_header = kind.header_class.template_dtype.itemsize
    begin += stream.read(n_header - len(begin))
    raw = kind.header_class.from_fileobj(io.BytesIO(begin), check=False)
    offset = float(raw["vox_offset"])
    if not 0 <= offset <= _MAX_OFFSET_BYTES:
        raise ScanReadError(f"{path}: the header says that the voxels begin at byte {offset:g}. Save it again.")
    try:
        shape, dtype = raw.get_data_shape(), raw.get_data_dtype()
    except KeyError as error:
        raise ImageFileError(f"its header gives the voxels a type with the unknown number {error}") from error
    expected = max(int(offset), n_header) + prod(int(n) for n in shape) * dtype.itemsize
    if size is not None and size < expected:
        raise ScanReadError(_short(path, size, shape, dtype, expected))
    payload = io.BytesIO(begin)
    if not header_only:
        check_size(path, shape, dtype.itemsize)
        payload.seek(0, io.SEEK_END)
        _copy(stream, payload, expected - n_header)
        if payload.tell() < expected:
            raise ScanReadError(_short(path, payload.tell(), shape, dtype, expected))
        if size is None:
            _read_rest(path, stream, shape)
    holder = nib.FileHolder(fileobj=payload)
    image = kind.from_file_map({"header": holder, "image": holder})
    image.header["pixdim"][1:4] = raw["pixdim"][1:4]  # nibabel has made 1 of 0
    return image


def _copy(source: BinaryIO, target: BinaryIO, n: int) -> None:
    """Copy bytes in pieces: memory grows with what is there, not with what is declared."""
    while n > 0 and (piece := source.read(min(n, _PIECE_BYTES))):
        target.write(piece)
        n -= len(piece)


def _read_rest(path: Path, stream: BinaryIO, shape: tuple[int, ...]) -> None:
    """Read a compressed file to its end, where its checksum is."""
    rest = 0
    while piece := stream.read(_PIECE_BYTES):
        rest += len(piece)
        if rest > _MAX_REST_BYTES:
            raise ScanReadError(
                f"{path}: unpacks to more than its header declares (shape {shape}). It is damaged, or something else; "
                "convert it again."
            )


def _short(path: Path, found: int, shape: tuple[int, ...], dtype: np.dtype, expected: int) -> str:
    return (
        f"{path}: the image data end early: found {found} bytes; the header declares {expected} (shape {shape}, "
        f"{dtype}). Fetch or copy it again."
    )
