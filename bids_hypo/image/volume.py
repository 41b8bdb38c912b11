"""A 3-D image in memory: reading it from NIfTI with checks, and writing it without ever leaving half a file."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from bids_hypo.errors import ScanReadError
from bids_hypo.image.grid import Grid, as_shape

MIN_VOXEL_MM = 0.3
MAX_VOXEL_MM = 3.0
UNREADABLE = (ImageFileError, nib.spatialimages.HeaderDataError, OSError, EOFError, ValueError, zlib.error)
"""What nibabel raises for files that are damaged or something else."""
COMPRESSION = 2  # most of a mask is empty: higher levels take twice the time for files that are hardly smaller


@dataclass(frozen=True)
class Volume:
    """An image and where it lies.

    Attributes
    ----------
    data : (X, Y, Z) float32
        Intensities or probabilities.
    affine : (4, 4) float, voxel to RAS mm
        Scanner frame of the file it came from.
    """

    data: np.ndarray
    affine: np.ndarray

    @property
    def grid(self) -> Grid:
        """The place of the image: its shape and affine."""
        return Grid(as_shape(self.data.shape), self.affine)


def read_volume(path: str | Path) -> Volume:
    """Read a T1w scan and check that it is one.

    Parameters
    ----------
    path : path-like
        A ``.nii`` or ``.nii.gz`` file.

    Returns
    -------
    Volume
        Finite float32 data, scaling applied; the affine is nibabel's best (sform, then qform).

    Raises
    ------
    ScanReadError
        If the file cannot be decoded, is not 3-D, has no affine, voxels outside 0.3 to 3 mm, or
        has nothing in it.
    """
    path = Path(path)
    image = _load(path)
    shape = image.shape
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) != 3:
        raise ScanReadError(
            f"{path}: found an image of {len(image.shape)} dimensions {image.shape}; expected one 3-D volume. "
            "Extract a single volume, or move time series out of anat/."
        )
    if min(shape) < 16:
        raise ScanReadError(
            f"{path}: found only {min(shape)} voxels along one axis (shape {shape}); expected a whole-head "
            "volume of at least 16 in each direction. Is this a localizer?"
        )
    affine = _checked_affine(path, image)
    data = _read_data(path, image).reshape(shape)
    return Volume(_checked_data(path, data), affine)


def _load(path: Path) -> nib.Nifti1Image:
    if not path.exists():
        raise ScanReadError(f"{path}: the file does not exist (a broken link or an unfetched annex file?).")
    if path.stat().st_size == 0:
        raise ScanReadError(f"{path}: the file is empty (0 bytes). Fetch or copy it again.")
    try:
        image = nib.load(path)
    except UNREADABLE as error:
        raise ScanReadError(f"{path}: not a readable NIfTI image ({error}). Fetch or convert it again.") from error
    if not isinstance(image, nib.Nifti1Image):
        raise ScanReadError(f"{path}: found {type(image).__name__}; expected a NIfTI image.")
    return image


def _checked_affine(path: Path, image: nib.Nifti1Image) -> np.ndarray:
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise ScanReadError(
            f"{path}: the header has no affine (sform_code and qform_code are 0), so left and right are unknown. "
            "Convert the scan again from DICOM, or set the orientation if you are sure of it."
        )
    affine = np.asarray(image.affine, dtype=float)
    sizes = np.linalg.norm(affine[:3, :3], axis=0) if np.isfinite(affine).all() else np.full(3, np.nan)
    zooms = np.abs(np.asarray(header.get_zooms()[:3], dtype=float))
    if not np.isfinite(sizes).all() or sizes.min() <= 0 or zooms.min() <= 0:
        raise ScanReadError(
            f"{path}: voxel sizes {np.round(zooms, 3).tolist()} mm cannot be right; expected values above 0. "
            "Repair the header (pixdim and affine)."
        )
    if sizes.min() < MIN_VOXEL_MM or sizes.max() > MAX_VOXEL_MM:
        raise ScanReadError(
            f"{path}: found voxels of {' x '.join(f'{s:.2f}' for s in sizes)} mm; expected {MIN_VOXEL_MM} to "
            f"{MAX_VOXEL_MM} mm. The hypothalamus cannot be measured on so coarse or so odd a grid."
        )
    if abs(np.linalg.det(affine[:3, :3] / sizes)) < 0.5:
        raise ScanReadError(f"{path}: the axes of the affine are not independent; repair the header.")
    return affine


def _read_data(path: Path, image: nib.Nifti1Image) -> np.ndarray:
    if image.get_data_dtype().kind not in "iuf":
        raise ScanReadError(f"{path}: found data of type {image.get_data_dtype()}; expected numbers.")
    try:
        return np.asarray(image.dataobj, dtype=np.float32)
    except UNREADABLE as error:
        raise ScanReadError(f"{path}: the image data end early or are damaged ({error}). Fetch it again.") from error


def _checked_data(path: Path, data: np.ndarray) -> np.ndarray:
    bad = ~np.isfinite(data)
    n_bad = int(bad.sum())
    if n_bad > 0.01 * data.size:
        raise ScanReadError(
            f"{path}: {100 * n_bad / data.size:.1f} % of the voxels are NaN or infinite; expected at most 1 %. "
            "Export the image again."
        )
    if n_bad:
        data = np.where(bad, np.float32(0), data)
    if float(data.min()) == float(data.max()):
        raise ScanReadError(f"{path}: every voxel has the value {float(data.flat[0]):g}; expected an image of a head.")
    return data


def write_nifti(path: str | Path, data: np.ndarray, affine: np.ndarray, *, like: str | Path | None = None) -> None:
    """Write an image beside its target and rename it, so that a reader never meets half a file.

    Parameters
    ----------
    path : path-like
        Target, ``.nii`` or ``.nii.gz``. Gzip streams carry no time stamp, so equal input gives equal bytes.
    data : (X, Y, Z) array
        Written in its own dtype, without scaling.
    affine : (4, 4) float, voxel to RAS mm
    like : path-like, optional
        A NIfTI file on the same grid whose sform and qform codes are kept.
    """
    path = Path(path)
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    sform_code, qform_code = 1, 1
    if like is not None:
        source = nib.Nifti1Image.from_filename(like).header
        sform_code, qform_code = int(source["sform_code"]), int(source["qform_code"])
    image.set_sform(affine, code=sform_code or qform_code or 1)
    try:
        image.set_qform(affine, code=qform_code or sform_code or 1)
    except nib.spatialimages.HeaderDataError:  # sheared affine: a qform cannot hold it
        image.set_qform(None, code=0)
    payload = io.BytesIO()
    if path.name.endswith(".gz"):  # as a stream: the whole image is not copied before it is compressed
        with gzip.GzipFile("", "wb", COMPRESSION, payload, mtime=0) as stream:
            image.to_stream(stream)
    else:
        image.to_stream(payload)
    write_bytes(path, payload.getbuffer())


def write_bytes(path: str | Path, payload: bytes | memoryview) -> None:
    """Write bytes beside the target, then rename over it (atomic on one file system).

    The bytes are on the disk before the name is, and the name before this returns: after a power cut the file is whole
    or absent, and what was written before it is there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some network file systems cannot; the name is then there when they see fit
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_labels(path: str | Path) -> np.ndarray:
    """Read an image of labels or a mask that this package wrote: (X, Y, Z) in its own integer type."""
    return np.asanyarray(nib.Nifti1Image.from_filename(path).dataobj)
