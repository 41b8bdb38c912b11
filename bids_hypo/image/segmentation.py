"""Reading segmentations of any tool: a structure by its sides and, where they are told apart, its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_hypo.errors import ScanReadError
from bids_hypo.files import open_file
from bids_hypo.image.label_numbers import LEFT_RIGHT, Labels, Wanted
from bids_hypo.image.limits import check_size
from bids_hypo.image.nifti import UNREADABLE, check_numeric, open_image
from bids_hypo.image.parts import Parts, cropped
from bids_hypo.image.placement import check_placement
from bids_hypo.image.values import near_whole
from bids_hypo.image.volume import Volume
from bids_hypo.structures import BOTH

_FREESURFER = (".mgz", ".mgh")
DSEG, MASK, PROBSEG = "dseg", "mask", "probseg"


def read_parts(paths: Mapping[str, Path], kind: str | None, labels: Labels | None, wanted: Wanted) -> Parts:
    """Read one file, or a file for each side.

    Parameters
    ----------
    paths : mapping of str to Path
        ``L`` and ``R``, or ``B`` for one file with everything. NIfTI or MGH, 3-D or 4-D.
    kind : str or None
        ``dseg``, ``mask`` or ``probseg``; None to judge by the values: two values are a mask, several whole numbers
        are labels, fractions are probabilities.
    labels : Labels or None
        Numbers in a dseg, or frames (from 1) of a 4-D probseg. None for those that `wanted` recognises: 1 = left,
        2 = right, those of its parts, or of a tool; of frames the parts in their order, or left and right.
    wanted : Wanted
        The structure that is looked for.

    Returns
    -------
    Parts

    Raises
    ------
    ScanReadError
        If a file cannot be read, or its values are not those of its kind.
    """
    if BOTH not in paths:
        return Parts({side: _one_part(path, kind) for side, path in sorted(paths.items())})
    path = paths[BOTH]
    data, affine = _read(path)
    if data.ndim == 4:
        frames = _frame_labels(path, data.shape[3], labels, wanted)
        return _parts(frames, lambda numbers: cropped(_summed(path, data, numbers), affine))
    if (kind or _guess(data)) == DSEG or labels is not None:
        data = _whole_numbers(path, data)
        numbers = _numbers(path, data, labels, wanted)
        return _parts(numbers, lambda of: cropped(np.isin(data, list(of)), affine))
    return Parts({BOTH: _one_part(path, kind)})


def _parts(labels: Labels, image: Callable[[frozenset[int]], Volume]) -> Parts:
    """Parts from numbers, by what makes an image of some of them."""
    return Parts(
        {side: image(numbers) for side, numbers in labels.of.items()},
        {kind: {side: image(numbers) for side, numbers in sides.items()} for kind, sides in labels.kinds.items()},
    )


def _whole_numbers(path: Path, data: np.ndarray) -> np.ndarray:
    """Labels, where programs saved them as fractions with a scale; not what interpolation has made of them."""
    whole = near_whole(data)
    off = whole != np.rint(whole)
    if off.any():
        raise ScanReadError(
            f"{path}: {int(off.sum())} voxels have values between two labels, such as {float(data[off].flat[0]):g}, as "
            "interpolation leaves them. Resample labels by nearest neighbour, or give probabilities."
        )
    return whole


def _one_part(path: Path, kind: str | None) -> Volume:
    data, affine = _read(path)
    if data.ndim != 3:
        raise ScanReadError(f"{path}: found {data.ndim} dimensions; expected one 3-D mask or probability for a side.")
    if (kind or _guess(data)) == PROBSEG:
        return cropped(_probability(path, data), affine)
    return cropped(data != 0, affine)


def _guess(data: np.ndarray) -> str:
    values = np.unique(data)
    if len(values) <= 2:
        return MASK
    return DSEG if np.array_equal(values, np.round(values)) else PROBSEG


def _probability(path: Path, data: np.ndarray) -> np.ndarray:
    if data.size and (data.min() < -1e-3 or data.max() > 1.001):
        raise ScanReadError(
            f"{path}: found values from {data.min():g} to {data.max():g}; expected probabilities from 0 to 1. "
            "Scale the image, or give it as a mask or labels."
        )
    return data


def _frame_labels(path: Path, n_frames: int, labels: Labels | None, wanted: Wanted) -> Labels:
    if labels is None and wanted.structure is not None and len(wanted.structure.parts) == n_frames:
        return Labels.of_structure(wanted.structure, frames=True)
    if labels is None and n_frames != 2:
        expected = "two, left and right"
        if wanted.structure is not None:
            expected = f"one for each of its {len(wanted.structure.parts)} parts, or {expected}"
        raise ScanReadError(
            f"{path}: found {n_frames} frames; expected {expected}. Say which frames are which with the "
            "labels option, such as L=1-5,R=6-10 (frames count from 1)."
        )
    chosen = labels or LEFT_RIGHT
    beyond = sorted(n for n in chosen.numbers if not 1 <= n <= n_frames)
    if beyond:
        raise ScanReadError(f"{path}: there is no frame {beyond[0]}; the image has frames 1 to {n_frames}.")
    return chosen


def _summed(path: Path, data: np.ndarray, frames: frozenset[int]) -> np.ndarray:
    return _probability(path, np.minimum(data[..., [n - 1 for n in sorted(frames)]].sum(axis=3), 1.0))


def _numbers(path: Path, data: np.ndarray, labels: Labels | None, wanted: Wanted) -> Labels:
    found = {int(v) for v in np.unique(data)} - {0}
    if labels is not None and (not found or found & labels.numbers):
        return labels
    recognised = wanted.recognised(found) if labels is None else None
    if recognised is not None:
        return recognised
    tools = ", ".join(wanted.presets)
    expected = "1 = left and 2 = right" if labels is None else f"one of those told to be the {wanted.title}"
    shown = ", ".join(map(str, sorted(found)[:12])) + (" ..." if len(found) > 12 else "")
    raise ScanReadError(
        f"{path}: found the labels {shown}; expected {expected}. Say which numbers are the {wanted.title} with the "
        f"labels option, such as L=801-805,R=806-810{f', or name what wrote them: {tools}' if tools else ''}."
    )


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Data (X, Y, Z[, K]) float32 and affine, axes flipped and swapped to be nearest to RAS."""
    try:
        image = nib.as_closest_canonical(open_labels(path))
        check_numeric(path, image.get_data_dtype())
        data = np.nan_to_num(np.asarray(image.dataobj, dtype=np.float32))
        affine = np.asarray(image.affine, dtype=float)
    except UNREADABLE as error:
        raise ScanReadError(f"{path}: not a readable NIfTI or MGH image ({error}). Fetch it again.") from error
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim not in (3, 4):
        raise ScanReadError(f"{path}: found an image of shape {data.shape}; expected 3-D or 4-D.")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise ScanReadError(f"{path}: the affine of the header cannot be inverted; repair the header.")
    return data, affine


def open_labels(path: Path) -> nib.Nifti1Image | nib.MGHImage:
    """A NIfTI image by the affine that its header agrees on, in millimetres; or an image of FreeSurfer.

    Raises
    ------
    ScanReadError
        If it cannot be read, or is too large.
    """
    if path.suffix not in _FREESURFER:
        image = open_image(path)
        return type(image)(image.dataobj, check_placement(path, image.header, any_size=True).affine)
    try:
        open_file(path).close()
        of_freesurfer = nib.MGHImage.from_filename(path)
    except UNREADABLE as error:
        raise ScanReadError(f"{path}: not a readable MGH image ({error}). Fetch it again.") from error
    check_size(path, of_freesurfer.shape, of_freesurfer.get_data_dtype().itemsize)
    return of_freesurfer
