"""A 3-D image in memory: reading it from NIfTI with checks, and writing it without ever leaving half a file."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import secrets
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_hypo.ending import undone_at_end, unless_ending
from bids_hypo.errors import ScanReadError
from bids_hypo.image.background import Background, above_background
from bids_hypo.image.grid import Grid, Shape, as_shape
from bids_hypo.image.held import NoLocksError, open_held
from bids_hypo.image.limits import check_size
from bids_hypo.image.nifti import check_numeric, open_image
from bids_hypo.image.placement import Placement, check_placement
from bids_hypo.image.relaxation_units import MapUnit, in_bids_unit
from bids_hypo.image.susceptibility import in_ppm
from bids_hypo.image.values import HEAD_HOLES, MAP_HOLES, UNDEFINED, finite, read_values

PART_PATTERN = ".*.part"  # names of files that `write_bytes` has not finished
COMPRESSION = 2  # most of a mask is empty: higher levels take twice the time for files that are hardly smaller
_PLACE_FIELDS = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "srow_x",
    "srow_y", "srow_z",
)  # fmt: skip


@dataclass(frozen=True)
class Volume:
    """An image and where it lies.

    Attributes
    ----------
    data : (X, Y, Z) float32
        Intensities or probabilities.
    affine : (4, 4) float, voxel to RAS mm
        Scanner frame of the file it came from.
    background : Background or None
        Of a scan that was read: what its background was before it became 0.
    doubts : tuple of str
        What its header leaves in doubt (see `bids_hypo.image.placement.Placement`), its background (see `Background`),
        and `UNDEFINED`.
    map_unit : MapUnit or None
        Of a map of R1 or T1: the unit of its values.
    file_unit : str or None
        Of a susceptibility map that was read: ``ppm`` or ``ppb``. ``data`` are in ppm.
    """

    data: np.ndarray
    affine: np.ndarray
    background: Background | None = None
    doubts: tuple[str, ...] = ()
    map_unit: MapUnit | None = None
    file_unit: str | None = None

    @property
    def grid(self) -> Grid:
        """The place of the image: its shape and affine."""
        return Grid(as_shape(self.data.shape), self.affine)


def read_volume(path: str | Path, *, signed: bool = False, relaxation: str | None = None) -> Volume:
    """Read a scan and check that it is one.

    Parameters
    ----------
    path : path-like
        A ``.nii`` or ``.nii.gz`` file.
    signed : bool
        A susceptibility map, whose values, their sign and their zero mean something; see
        `bids_hypo.image.susceptibility.in_ppm`.
    relaxation : str, optional
        BIDS suffix of a map of relaxation rates or times (R1map, T1map): its values are brought to the unit of BIDS.

    Returns
    -------
    Volume
        Finite float32 data, scaling applied, the background at 0 (see `bids_hypo.image.background`) unless it is a
        signed map; the affine is that of the sform, or of the qform where there is none, in millimetres.

    Raises
    ------
    ScanReadError
        If the file cannot be decoded, is not 3-D, has nothing in it, more than 1 % of NaN inside the head (maps: 10 %),
        voxels that are too small or too large, a header without an affine or that contradicts itself, or is a map whose
        values fit no unit.
    """
    path = Path(path)
    data, place = _values_of(path)
    sizes = Grid(as_shape(data.shape), place.affine).voxel_sizes_mm
    unit = None
    if relaxation is not None:
        data, unit = in_bids_unit(path, data, relaxation)
    allowed = MAP_HOLES if relaxation else HEAD_HOLES
    data, undefined, holes = finite(path, data, float(np.prod(sizes)), allowed)
    if signed:
        data, file_unit = in_ppm(data)
        doubts = (*place.doubts, *((UNDEFINED,) if holes else ()))
        return Volume(data, place.affine, None, doubts, file_unit=file_unit)
    data, background = above_background(data, undefined, voxel_sizes_mm=tuple(sizes))
    doubts = (*place.doubts, *background.doubts, *((UNDEFINED,) if holes else ()))
    return Volume(data, place.affine, background, doubts, unit)


def check_scan(path: str | Path) -> None:
    """Refuse an image that `read_volume` would refuse by its header alone, or for its size, without reading further.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    ScanReadError
    """
    path = Path(path)
    image = open_image(path, header_only=True)
    check_size(path, image.shape, image.get_data_dtype().itemsize)
    _shape_of_scan(path, image)
    check_numeric(path, image.get_data_dtype())
    check_placement(path, image.header)


def _values_of(path: Path) -> tuple[np.ndarray, Placement]:
    """Values as float32 and the place of an image; the bytes of the file are in memory only while this works."""
    image = open_image(path)
    shape = _shape_of_scan(path, image)
    place = check_placement(path, image.header)
    return read_values(path, image).reshape(shape, order="F"), place


def _shape_of_scan(path: Path, image: nib.Nifti1Image) -> Shape:
    shape = image.shape
    if all(n == 1 for n in shape[3:]):
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
    return as_shape(shape)


def write_nifti(path: str | Path, data: np.ndarray, affine: np.ndarray, *, like: str | Path | None = None) -> None:
    """Write an image beside its target and rename it, so that a reader never meets half a file.

    Parameters
    ----------
    path : path-like
        Target, ``.nii`` or ``.nii.gz``. Gzip streams carry no time stamp, so equal input gives equal bytes.
    data : (X, Y, Z) array
        Written in its own dtype, without scaling.
    affine : (4, 4) float, voxel to RAS mm
        Not used with ``like``.
    like : path-like, optional
        A NIfTI file on the same grid, whose sform, qform, voxel sizes and unit of length are kept as they are, so that
        every viewer lays the two over each other.
    """
    path = Path(path)
    image = _placed_at(data, affine) if like is None else _placed_like(data, open_image(like, header_only=True).header)
    payload = io.BytesIO()
    if path.name.endswith(".gz"):  # as a stream: the whole image is not copied before it is compressed
        with gzip.GzipFile("", "wb", COMPRESSION, payload, mtime=0) as stream:
            image.to_stream(stream)
    else:
        image.to_stream(payload)
    write_bytes(path, payload.getbuffer())


def _placed_at(data: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code=1)
    try:
        image.set_qform(affine, code=1)
    except nib.spatialimages.HeaderDataError:  # sheared affine: a qform cannot hold it
        image.set_qform(None, code=0)
    return image


def _placed_like(data: np.ndarray, source: nib.Nifti1Header) -> nib.Nifti1Image:
    """An image with everything that another header says about place and size, to the bit."""
    image = nib.Nifti1Image(data, source.get_best_affine())
    header = image.header
    for name in _PLACE_FIELDS:
        header[name] = source[name]
    header["pixdim"][:4] = source["pixdim"][:4]
    header["xyzt_units"] = (int(source["xyzt_units"]) & 7) | 8  # its unit of length, and seconds
    return image


def write_bytes(path: str | Path, payload: bytes | memoryview) -> None:
    """Write bytes beside the target, then rename over it (atomic on one file system).

    The bytes are on the disk before the name is, and the name before this returns: after a power cut the file is whole
    or absent, and what was written before it is there. A process that is ended meanwhile leaves nothing beside it; one
    that is killed leaves a half that nobody holds, and the next run removes it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    remove_part = partial(part.unlink, missing_ok=True)
    with undone_at_end(remove_part):
        try:
            with os.fdopen(_open_part(part), "wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
                with unless_ending():
                    os.replace(part, path)
            _sync_folder(path.parent)
        finally:
            remove_part()


def _open_part(part: Path) -> int:
    with unless_ending():
        try:
            handle = open_held(part)
        except NoLocksError:
            handle = None
        return os.open(part, os.O_RDWR | os.O_CREAT, 0o666) if handle is None else handle


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some network file systems cannot; the name is then there when they see fit
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_labels(path: str | Path) -> np.ndarray:
    """Read an image of labels or a mask that this package wrote: (X, Y, Z) in its own integer type."""
    return np.asanyarray(open_image(path).dataobj)
