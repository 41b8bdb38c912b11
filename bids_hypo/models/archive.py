"""Files of weights (``.npz``) that may hold anything: their headers tell what is in them, before it is read."""

from __future__ import annotations

import zipfile
import zlib
from math import prod
from pathlib import Path

import numpy as np

from bids_hypo.errors import ModelError
from bids_hypo.files import open_file

Shape = tuple[int, ...]
MOST_ARRAYS = 10_000
MOST_BYTES = 2_000_000_000  # of all arrays together
_MAX_HEADER = 10_000
_ADVICE = "The file is damaged or is no file of weights; install the model again."
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError, RuntimeError, MemoryError,
)  # fmt: skip


def array_shapes(path: Path) -> dict[str, Shape]:
    """Names and shapes of the arrays in a file of weights, in the order of the names; no array is read.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ModelError
        If it is no such file, holds something else than arrays of numbers, as pickles are, or unpacks to more than
        networks have; if an array is not as large as its header declares.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if not 0 < len(members) <= MOST_ARRAYS or total > MOST_BYTES:
                raise ModelError(
                    f"{path}: found {len(members)} arrays of {total / 1e6:.0f} MB in all; expected 1 to {MOST_ARRAYS} "
                    f"of at most {MOST_BYTES / 1e6:.0f} MB. {_ADVICE}"
                )
            found = {member.filename.removesuffix(".npy"): _shape(path, archive, member) for member in members}
    except _DAMAGE as error:
        raise ModelError(f"{path}: not a readable file of weights, .npz ({error}). {_ADVICE}") from error
    return dict(sorted(found.items()))


def _shape(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Shape:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream, max_header_size=_MAX_HEADER)
        declared = stream.tell() + prod(shape) * dtype.itemsize
    if dtype.kind not in "fiu" or min(shape, default=0) < 0 or declared != member.file_size:
        raise ModelError(
            f"{path}: {member.filename} declares {dtype} {shape} and holds {member.file_size} bytes; expected an array "
            f"of numbers, as large as it declares. {_ADVICE}"
        )
    return tuple(shape)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of weights, in the order of their names; see `array_shapes` for what is checked before."""
    names = array_shapes(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names}
    except _DAMAGE as error:
        raise ModelError(f"{path}: not a readable file of weights, .npz ({error}). {_ADVICE}") from error
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ModelError(f"{path}: the array {name} holds numbers that are not finite. {_ADVICE}")
    return arrays
