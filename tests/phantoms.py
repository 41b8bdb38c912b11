"""Small, fast heads, scans and datasets for tests.

They stand on numpy and nibabel alone, not on the package's own geometry, so that they can catch its mistakes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.image.volume import Volume

_DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}

# Semi-axes (mm) and T1w-like values of nested ellipsoids about the world origin, outermost first.
HEAD_SHELLS: tuple[tuple[str, tuple[float, float, float], float], ...] = (
    ("scalp", (78.0, 97.0, 90.0), 110.0),
    ("skull", (72.0, 91.0, 84.0), 8.0),
    ("csf", (66.0, 85.0, 78.0), 20.0),
    ("grey", (63.0, 82.0, 75.0), 65.0),
    ("white", (55.0, 73.0, 66.0), 95.0),
)
VENTRICLE_CENTRES_MM = {"L": (-12.0, 0.0, 12.0), "R": (12.0, 0.0, 12.0)}
VENTRICLE_RADII_MM = {"L": (7.0, 26.0, 9.0), "R": (5.0, 22.0, 7.0)}
"""The left ventricle is the larger one: phantoms know their left from their right."""
PHANTOM_ICV_MM3 = float(4 / 3 * np.pi * np.prod(HEAD_SHELLS[2][1]))
"""Volume inside the phantom's skull, 1.833e6 mm3."""


def affine_for(
    orientation: str = "RAS",
    voxel_sizes: Sequence[float] = (3.0, 3.0, 3.0),
    shape: Sequence[int] = (60, 72, 66),
    rotation_deg: float = 0.0,
) -> np.ndarray:
    """Affine of any orientation and obliquity with the grid's centre at the world origin.

    Parameters
    ----------
    orientation : str
        Axis codes, e.g. "LPS": the voxel axes run towards left, back and top.
    voxel_sizes : (3,) float, mm, along the voxel axes
    shape : (3,) int
    rotation_deg : float
        Angle about the oblique axis (1, 1, 1), below 30 so that the codes stay.

    Returns
    -------
    (4, 4) float, voxel to RAS mm
    """
    axes = np.array([_DIRECTIONS[code] for code in orientation], dtype=float).T
    k = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)  # cross product with the unit axis
    angle = np.radians(rotation_deg)
    turn = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes * np.asarray(voxel_sizes, dtype=float)
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape, dtype=float) - 1) / 2)
    return affine


def world_mm(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """RAS mm (X, Y, Z, 3) of every voxel."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    return np.asarray(nib.affines.apply_affine(affine, index))


def inside_ellipsoid(points_mm: np.ndarray, centre_mm: Sequence[float], radii_mm: Sequence[float]) -> np.ndarray:
    """Which points (..., 3) lie inside an ellipsoid; bool (...)."""
    return np.asarray((((points_mm - np.asarray(centre_mm)) / np.asarray(radii_mm)) ** 2).sum(axis=-1) <= 1)


def phantom_head(
    shape: Sequence[int] = (60, 72, 66), affine: np.ndarray | None = None, *, noise_sd: float = 1.0, seed: int = 0
) -> Volume:
    """A head of nested ellipsoids: scalp, skull, CSF, grey and white matter, ventricles (the left one larger).

    Parameters
    ----------
    shape : (3,) int
    affine : (4, 4) float, optional
        3 mm RAS about the origin unless told; the head lies about the world origin whatever the affine.
    noise_sd : float
        Gaussian, in units where white matter is 95.
    seed : int

    Returns
    -------
    Volume
    """
    affine = affine_for(shape=shape) if affine is None else np.asarray(affine, dtype=float)
    points = world_mm(shape, affine)
    data = np.zeros(tuple(shape), dtype=np.float32)
    for _, radii, value in HEAD_SHELLS:
        data[inside_ellipsoid(points, (0, 0, 0), radii)] = value
    for side, centre in VENTRICLE_CENTRES_MM.items():
        data[inside_ellipsoid(points, centre, VENTRICLE_RADII_MM[side])] = 20.0
    data += np.random.default_rng(seed).normal(0, noise_sd, data.shape).astype(np.float32) if noise_sd else 0
    return Volume(np.abs(data).astype(np.float32), affine)


def phantom_sphere(
    shape: Sequence[int] = (48, 48, 48),
    affine: np.ndarray | None = None,
    *,
    radius_mm: float = 55.0,
    value: float = 100.0,
) -> Volume:
    """A bright even ball about the world origin: an image that is not a head."""
    affine = affine_for(shape=shape) if affine is None else np.asarray(affine, dtype=float)
    ball = inside_ellipsoid(world_mm(shape, affine), (0, 0, 0), (radius_mm,) * 3)
    return Volume(ball.astype(np.float32) * np.float32(value), affine)


def write_scan(
    path: str | Path,
    data: np.ndarray,
    affine: np.ndarray,
    dtype: Any = np.int16,
    *,
    sform_code: int = 1,
    qform_code: int = 1,
    scale: float | None = None,
) -> Path:
    """Write an image with nibabel alone.

    Parameters
    ----------
    path : path-like
        ``.nii`` or ``.nii.gz``; folders are made.
    data : array, any number of dimensions
    affine : (4, 4) float, voxel to RAS mm
    dtype : numpy dtype
        On disk; integers are rounded.
    sform_code, qform_code : int
        0 and 0 give a file without an affine.
    scale : float, optional
        Stored as ``scl_slope``; the values read back are the stored ones times this.

    Returns
    -------
    Path
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.asarray(data)
    if np.issubdtype(dtype, np.integer):
        stored = np.round(stored)
    image = nib.Nifti1Image(stored.astype(dtype), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code=sform_code)
    image.set_qform(affine, code=qform_code)
    if scale is not None:
        image.header.set_slope_inter(scale, 0)
    nib.save(image, path)
    return path


def scan_name(scan: Mapping[str, Any]) -> str:
    """Path of a scan inside its dataset: keys sub, ses, acq, run, suffix, extension; all but sub may be left out."""
    folder, name = f"sub-{scan['sub']}", f"sub-{scan['sub']}"
    if scan.get("ses") is not None:
        folder += f"/ses-{scan['ses']}"
    for entity in ("ses", "acq", "rec", "run"):
        if scan.get(entity) is not None:
            name += f"_{entity}-{scan[entity]}"
    return f"{folder}/anat/{name}_{scan.get('suffix', 'T1w')}{scan.get('extension', '.nii.gz')}"


def make_bids_dataset(
    root: str | Path,
    scans: Iterable[Mapping[str, Any]],
    image: Volume | None = None,
    *,
    participants: Sequence[Mapping[str, Any]] | None = None,
) -> list[Path]:
    """Write a minimal valid BIDS dataset.

    Parameters
    ----------
    root : path-like
    scans : iterable of mappings
        Keys of `scan_name`, and optionally ``image`` (Volume), ``dtype``, ``sidecar`` (dict).
    image : Volume, optional
        For scans without their own; `phantom_head()` unless told.
    participants : sequence of mappings, optional
        Rows of participants.tsv, each with ``participant_id``; the bare ids unless told.

    Returns
    -------
    list of Path
        The scans, in the order given.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    scans = list(scans)
    description = {"Name": "phantoms", "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": "CC0"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("Phantoms for tests, made by tests/phantoms.py; they show no person.\n")
    rows = participants or [{"participant_id": f"sub-{label}"} for label in sorted({str(s["sub"]) for s in scans})]
    columns = list(rows[0]) if rows else ["participant_id"]
    lines = ["\t".join(columns)] + ["\t".join(str(row[c]) for c in columns) for row in rows]
    (root / "participants.tsv").write_text("\n".join(lines) + "\n")
    paths = []
    for scan in scans:
        volume = scan.get("image") or image
        if volume is None:
            volume = image = phantom_head()
        path = write_scan(root / scan_name(scan), volume.data, volume.affine, scan.get("dtype", np.int16))
        sidecar = path.with_name(path.name.split(".")[0] + ".json")
        sidecar.write_text(json.dumps(scan.get("sidecar", {"Description": "phantom"})))
        paths.append(path)
    return paths


def bids_errors(root: str | Path) -> list[str]:
    """Error codes that the BIDS validator finds in a dataset; skips the test where the validator is not installed."""
    beside_python = Path(sys.executable).with_name("bids-validator-deno")
    tool = str(beside_python) if beside_python.exists() else shutil.which("bids-validator-deno")
    if tool is None:
        pytest.skip("bids-validator-deno is not installed")
    run = subprocess.run([tool, str(root), "--json"], capture_output=True, text=True, timeout=300, check=False)
    issues = json.loads(run.stdout)["issues"]["issues"]
    return [issue["code"] for issue in issues if issue["severity"] == "error"]
