"""Opening NIfTI files as they come: version 1 or 2, compressed or not, whatever their name says."""

from __future__ import annotations

import gzip
import io
import logging
import zlib
from pathlib import Path

import nibabel as nib
from nibabel.filebasedimages import ImageFileError

from bids_hypo.errors import ScanReadError

UNREADABLE = (ImageFileError, nib.spatialimages.HeaderDataError, OSError, EOFError, ValueError, zlib.error)
"""What nibabel raises for files that are damaged or something else."""
GZIP = b"\x1f\x8b"  # how a compressed file begins
_SIZES_OF_HEADERS = (348, 540)  # NIfTI-1, NIfTI-2
_log = logging.getLogger(__name__)


def open_image(path: str | Path) -> nib.Nifti1Image:
    """Open a NIfTI image; its data are read when they are asked for.

    Parameters
    ----------
    path : path-like
        ``.nii`` or ``.nii.gz``. A file that is not compressed though its name says so, compressed though its name does
        not, or compressed twice is read all the same.

    Returns
    -------
    Nifti1Image
        Or a `Nifti2Image`, which is one.

    Raises
    ------
    ScanReadError
        If there is no such file, it is empty, damaged or something else.
    """
    path = Path(path)
    if not path.exists():
        raise ScanReadError(f"{path}: the file does not exist (a broken link or an unfetched annex file?).")
    try:
        if path.stat().st_size == 0:
            raise ScanReadError(f"{path}: the file is empty (0 bytes). Fetch or copy it again.")
        image = nib.load(path) if _named_as_it_is(path) else _from_bytes(path)
    except UNREADABLE as error:
        raise ScanReadError(f"{path}: not a readable NIfTI image ({error}). Fetch or convert it again.") from error
    if not isinstance(image, nib.Nifti1Image):
        raise ScanReadError(f"{path}: found {type(image).__name__}; expected a NIfTI image.")
    return image


def _named_as_it_is(path: Path) -> bool:
    """Whether a file is compressed once if its name says so, and not if not."""
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP
    if compressed != path.name.endswith(".gz"):
        return False
    if not compressed:
        return True
    with gzip.open(path) as stream:
        return stream.read(2) != GZIP


def _from_bytes(path: Path) -> nib.Nifti1Image:
    """Undo every compression in memory, then let the size of the header tell the version."""
    payload, times = path.read_bytes(), 0
    while payload[:2] == GZIP:
        payload, times = gzip.decompress(payload), times + 1
    _log.info("%s: compressed %d times, which its name does not say; read all the same.", path, times)
    sizes = {int.from_bytes(payload[:4], order) for order in ("little", "big")}
    if not sizes & set(_SIZES_OF_HEADERS):
        raise ImageFileError(f"compressed {times} times, and then no NIfTI header")
    kind = nib.Nifti2Image if _SIZES_OF_HEADERS[1] in sizes else nib.Nifti1Image
    holder = nib.FileHolder(fileobj=io.BytesIO(payload))
    return kind.from_file_map({"header": holder, "image": holder})
