"""DICOM files to one NIfTI image, by dcm2niix."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

from bids_hypo.errors import ScanReadError
from bids_hypo.gui.texts import text
from bids_hypo.image.nifti import open_image

MAX_SECONDS = 300
MR = "MR"
_NOTHING_FOUND = ("Unable to find any DICOM", "No valid DICOM")


def convert(source: Path, target: Path, *, name: str) -> tuple[Path, Path | None]:
    """Convert a folder with the DICOM files of one series.

    Parameters
    ----------
    source, target : Path
        Folders; the second is empty.
    name : str
        What the user calls the upload.

    Returns
    -------
    image : Path
        ``.nii.gz``.
    sidecar : Path or None
        What dcm2niix tells of the acquisition, without names and dates.

    Raises
    ------
    ScanReadError
        If there is no series or several, or it is not MRI.
    """
    complaint = _run(source, target, name)
    images = sorted(target.glob("*.nii.gz"))
    if not images:
        nothing = any(sign in complaint for sign in _NOTHING_FOUND)
        what = "error.dicom_none" if nothing or not complaint.strip() else "error.dicom_failed"
        raise ScanReadError(text(what, name=name, why=_last_line(complaint)))
    for image in images:
        modality = _about(image).get("Modality", MR)
        if modality != MR:
            raise ScanReadError(text("error.modality", name=name, found=modality))
    scans = images if len(images) == 1 else [image for image in images if _is_scan(image)] or images
    if len(scans) > 1:
        series = ", ".join(str(_about(i).get("SeriesDescription") or i.name.split(".")[0]) for i in scans[:6])
        raise ScanReadError(text("error.dicom_many", name=name, found=len(scans), series=series))
    sidecar = _sidecar(scans[0])
    return scans[0], sidecar if sidecar.is_file() else None


def _run(source: Path, target: Path, name: str) -> str:
    program = _program()
    if program is None:
        raise ScanReadError(text("error.dicom_missing", name=name))
    command = [program, "-b", "y", "-ba", "y", "-z", "y", "-f", "%s_%d", "-o", str(target), str(source)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=MAX_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ScanReadError(text("error.dicom_slow", name=name, seconds=MAX_SECONDS)) from error
    except OSError as error:
        raise ScanReadError(text("error.dicom_failed", name=name, why=error)) from error
    return done.stdout + done.stderr


def _program() -> str | None:
    """The dcm2niix of this Python environment, else one on the PATH."""
    if importlib.util.find_spec("dcm2niix") is not None:
        beside = Path(sys.executable).with_name("dcm2niix")
        if beside.is_file():
            return str(beside)
    return shutil.which("dcm2niix")


def _sidecar(image: Path) -> Path:
    return image.with_name(image.name.removesuffix(".nii.gz") + ".json")


def _about(image: Path) -> dict:
    try:
        content = json.loads(_sidecar(image).read_text("utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_scan(image: Path) -> bool:
    """Whether it is a 3-D volume of some thickness: no localizer, no time series."""
    try:
        shape = open_image(image, header_only=True).shape
    except ScanReadError:
        return False
    return len(shape) == 3 and min(shape) >= 16


def _last_line(complaint: str) -> str:
    lines = [line for line in complaint.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "dcm2niix"
