"""What comes in: files become a small BIDS dataset in the session's folder, or the sentence that says why not."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_hypo.bids.entities import (
    DERIVATIVE_ENTITIES,
    ENTITY_ORDER,
    PLAIN_SUFFIX,
    T1_SUFFIXES,
    join_name,
    split_name,
)
from bids_hypo.bids.sidecars import write_json
from bids_hypo.errors import BidsHypoError, ScanReadError, UsageError
from bids_hypo.gui.archives import unpack
from bids_hypo.gui.dicom import convert
from bids_hypo.gui.options import MB, Limits
from bids_hypo.gui.texts import text
from bids_hypo.image.nifti import open_image
from bids_hypo.image.volume import read_volume

SINGLE_LABEL = "upload"
_IMAGES = (".nii.gz", ".nii")
_GZIP = b"\x1f\x8b"
_CT_AIR = (-1060.0, -940.0)  # Hounsfield units
_CT_AIR_SHARE = 0.05
_BIDS_VERSION = "1.11.0"


@dataclass(frozen=True)
class Upload:
    """A file that was given, and what became of it.

    Attributes
    ----------
    shown : str
        The name that the user gave it.
    path : Path or None
        The image in the small dataset; None if it was refused.
    error : str or None
        Why it was refused.
    """

    shown: str
    path: Path | None = None
    error: str | None = None


def receive(
    files: Sequence[Path], folder: Path, limits: Limits, *, label: str | None = None, suffix: str = PLAIN_SUFFIX,
    suffixes: Collection[str] = T1_SUFFIXES,
) -> tuple[Path, list[Upload]]:  # fmt: skip
    """Make a BIDS dataset of the files that a page was given.

    Parameters
    ----------
    files : sequence of Path
        NIfTI images, or zips with one DICOM series or one NIfTI image each.
    folder : Path
        Empty.
    limits : Limits
    label : str, optional
        Of the participant, where the name of the file is not a BIDS name; made from that name if not given.
    suffix : str
        What kind of image it is where its name does not say.
    suffixes : collection of str
        Kinds of image that a name may say.

    Returns
    -------
    dataset : Path
    uploads : list of Upload
        In the order of the files; what is refused costs only itself.

    Raises
    ------
    UsageError
        If there are too many.
    """
    if len(files) > limits.files:
        raise UsageError(text("error.too_many", found=len(files), limit=limits.files))
    dataset = folder / "scans"
    dataset.mkdir()
    description = {"Name": "Uploaded scans", "BIDSVersion": _BIDS_VERSION, "DatasetType": "raw"}
    write_json(dataset / "dataset_description.json", description)
    uploads: list[Upload] = []
    for number, file in enumerate(files):
        work = folder / f"incoming-{number}"
        work.mkdir()
        try:
            path = _receive_one(file, work, dataset, limits, label, (suffix, suffixes))
            uploads.append(Upload(file.name, path))
        except (BidsHypoError, OSError) as error:
            uploads.append(Upload(file.name, error=in_words(error, {work: file.name, file: file.name})))
        shutil.rmtree(work, ignore_errors=True)
    return dataset, uploads


def in_words(error: Exception, names: dict[Path, str]) -> str:
    """A message with the names that the user knows in place of paths on the server."""
    message = str(error)
    for path, shown in names.items():
        message = re.sub(re.escape(str(path)) + r"(/[^\s:'\")]*)?", shown.replace("\\", r"\\"), message)
    return message


def _receive_one(
    file: Path, work: Path, dataset: Path, limits: Limits, label: str | None, kinds: tuple[str, Collection[str]]
) -> Path:
    size_mb = file.stat().st_size / MB
    if size_mb > limits.upload_mb:
        raise ScanReadError(text("error.too_large", name=file.name, found=round(size_mb), limit=limits.upload_mb))
    image, sidecar = _image_of(file, work, limits)
    packed = image.open("rb").read(2) == _GZIP
    checked = work / f"image{'.nii.gz' if packed else '.nii'}"
    _place(image, checked)
    check_image(checked, limits, name=file.name)
    entities, suffix = _name_parts(file.name, label, {p.name for p in dataset.glob("sub-*")}, *kinds)
    target = dataset.joinpath(*(f"{k}-{entities[k]}" for k in ("sub", "ses") if k in entities), "anat")
    target.mkdir(parents=True, exist_ok=True)
    stem = join_name(entities, suffix)
    if any(target.glob(f"{stem}.nii*")):
        raise ScanReadError(text("error.twice", name=file.name, scan=stem))
    if sidecar is not None:
        _place(sidecar, target / f"{stem}.json")
    final = target / (stem + "".join(checked.suffixes))
    os.replace(checked, final)
    return final


def _image_of(file: Path, work: Path, limits: Limits) -> tuple[Path, Path | None]:
    """The NIfTI image in a file, and what is known of its acquisition."""
    lower = file.name.lower()
    if lower.endswith(_IMAGES):
        return file, None
    if not lower.endswith(".zip"):
        raise ScanReadError(text("error.kind", name=file.name))
    source, target = work / "unpacked", work / "converted"
    source.mkdir()
    target.mkdir()
    members = unpack(file, source, limits, name=file.name)
    images = [path for path in members if path.name.lower().endswith(_IMAGES)]
    if len(images) > 1:
        raise ScanReadError(text("error.zip_nifti_many", name=file.name, found=len(images)))
    return (images[0], None) if images else convert(source, target, name=file.name)


def _place(source: Path, target: Path) -> None:
    """Link a file to another name, or copy it where the file system knows no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def check_image(path: Path, limits: Limits, *, name: str) -> None:
    """Refuse what is no scan of a head that can be measured, before it costs time and memory.

    Parameters
    ----------
    path : Path
        NIfTI image.
    limits : Limits
    name : str
        What the user calls it.

    Raises
    ------
    ScanReadError
        As of `bids_hypo.image.volume.read_volume`; for images too large; for CT.
    """
    try:
        shape: tuple[int, ...] = open_image(path, header_only=True).shape
    except ScanReadError:
        shape = ()  # read_volume says what is wrong with it
    if np.prod(shape, dtype=float) > limits.megavoxels * 1e6:
        sizes = " x ".join(map(str, shape))
        raise ScanReadError(text("error.voxels", name=name, shape=sizes, limit=limits.megavoxels))
    volume = read_volume(path)
    values = volume.data[::3, ::3, ::3] + (volume.background.value if volume.background else 0.0)
    low, high = _CT_AIR
    if np.mean((values > low) & (values < high)) > _CT_AIR_SHARE:
        raise ScanReadError(text("error.ct", name=name))


def _name_parts(
    name: str, label: str | None, taken: Collection[str], kind: str, kinds: Collection[str]
) -> tuple[dict[str, str], str]:
    """Entities and suffix of the file's BIDS name; a label made from any other name."""
    try:
        entities, suffix, extension = split_name(name)
        raw = "sub" in entities and entities.keys() <= set(ENTITY_ORDER) - DERIVATIVE_ENTITIES
        if suffix in kinds and extension in _IMAGES and raw:
            return entities, suffix
    except ValueError:
        pass
    plain = unicodedata.normalize("NFKD", name.partition(".")[0])
    stem = re.sub(r"[^0-9A-Za-z]", "", plain) or SINGLE_LABEL
    stem = label or re.sub(r"^sub(?=.)", "", stem)
    found, number = stem, 2
    while f"sub-{found}" in taken:
        found, number = f"{stem}x{number}", number + 1
    return {"sub": found}, kind
