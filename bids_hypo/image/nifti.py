"""Opening NIfTI files as they come: version 1 or 2, compressed or not, whatever their name says."""

from __future__ import annotations

import gzip
import io
import logging
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from bids_hypo.errors import ScanReadError

UNREADABLE = (ImageFileError, nib.spatialimages.HeaderDataError, OSError, EOFError, ValueError, zlib.error)
"""What nibabel raises for files that are damaged or something else."""
GZIP = b"\x1f\x8b"  # how a compressed file begins
_SIZES_OF_HEADERS = (348, 540)  # NIfTI-1, NIfTI-2
_PIECE_BYTES = 2**20
_log = logging.getLogger(__name__)


def open_image(path: str | Path, *, header_only: bool = False) -> nib.Nifti1Image:
    """Open a NIfTI image.

    Parameters
    ----------
    path : path-like
        ``.nii`` or ``.nii.gz``. A file that is not compressed though its name says so, compressed though its name does
        not, or compressed twice is read all the same.
    header_only : bool
        The data will not be asked for: a compressed file need not be unpacked to its end.

    Returns
    -------
    Nifti1Image
        Or a `Nifti2Image`, which is one. Voxel sizes in its header are those of the file, not repaired.

    Raises
    ------
    ScanReadError
        If there is no such file, it is empty, damaged (checksums of gzip are compared) or something else.
    """
    path = Path(path)
    if not path.exists():
        raise ScanReadError(f"{path}: the file does not exist (a broken link or an unfetched annex file?).")
    try:
        if path.stat().st_size == 0:
            raise ScanReadError(f"{path}: the file is empty (0 bytes). Fetch or copy it again.")
        with nib.imageglobals.LoggingOutputSuppressor():  # it names no file, and what matters is told by our own checks
            image = _opened(path, header_only=header_only)
    except UNREADABLE as error:
        raise ScanReadError(f"{path}: not a readable NIfTI image ({error}). Fetch or convert it again.") from error
    if not isinstance(image, nib.Nifti1Image):
        raise ScanReadError(f"{path}: found {type(image).__name__}; expected a NIfTI image.")
    return image


def _opened(path: Path, *, header_only: bool) -> nib.Nifti1Image:
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP
    if not compressed:
        if path.name.endswith(".gz"):
            _log.info("%s: not compressed, though its name says so; read all the same.", path)
        return _from_bytes(path.read_bytes())
    if header_only and path.name.endswith(".gz"):
        with gzip.open(path) as stream:
            begin = stream.read(4)
        if begin[:2] != GZIP:
            return kind_of(begin).from_filename(path)
    payload, times = path.read_bytes(), 0
    while payload[:2] == GZIP:
        payload, times = decompressed(payload), times + 1
    if times > 1 or not path.name.endswith(".gz"):
        _log.info("%s: compressed %d times, which its name does not say; read all the same.", path, times)
    return _from_bytes(payload)


def decompressed(payload: bytes) -> bytes:
    """Undo one compression by gzip: all members, their checksums compared; other bytes after the last are ignored.

    Raises
    ------
    zlib.error
        If it is damaged.
    EOFError
        If it ends early.
    """
    parts, at, view = [], 0, memoryview(payload)
    while view[at : at + 2] == GZIP:
        stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        while not stream.eof:
            piece = view[at : at + _PIECE_BYTES]
            if not piece:
                raise EOFError("the compressed file ends early")
            parts.append(stream.decompress(piece))
            at += len(piece) - len(stream.unused_data)
    return b"".join(parts)


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


def _from_bytes(payload: bytes) -> nib.Nifti1Image:
    """The image in the bytes of an uncompressed file."""
    kind = kind_of(payload[:4])
    holder = nib.FileHolder(fileobj=io.BytesIO(payload))
    image = kind.from_file_map({"header": holder, "image": holder})
    raw = kind.header_class.from_fileobj(io.BytesIO(payload), check=False)
    image.header["pixdim"][1:4] = raw["pixdim"][1:4]  # nibabel has made 1 of 0
    return image
