"""Uploads, good and bad: NIfTI images, DICOM series written by hand, archives that should be refused."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np

_IMPLICIT = ("OB", "OW", "SQ", "UN", "UT")
MR_STORAGE, CT_STORAGE = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


def _element(group: int, number: int, kind: str, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if kind == "UI" else b" "
    long = kind in _IMPLICIT
    head = struct.pack("<HH2s", group, number, kind.encode())
    return head + (struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))) + value


def write_dicom_series(
    folder: Path, data: np.ndarray, *, modality: str = "MR", number: int = 1, spacing_mm: float = 1.0
) -> list[Path]:
    """Write axial slices of (X, Y, Z) uint16, X to the left, Y to the back, as explicit little-endian DICOM."""
    folder.mkdir(parents=True, exist_ok=True)
    root = f"1.2.3.4.5.{number}"
    storage = CT_STORAGE if modality == "CT" else MR_STORAGE
    paths = []
    for k in range(data.shape[2]):
        instance = f"{root}.{k + 1}"
        meta = b"".join(
            _element(2, n, kind, value)
            for n, kind, value in [
                (1, "OB", b"\0\1"), (2, "UI", storage.encode()), (3, "UI", instance.encode()),
                (16, "UI", EXPLICIT_LITTLE.encode()), (18, "UI", b"1.2.3.4"),
            ]
        )  # fmt: skip
        spacing = f"{spacing_mm}\\{spacing_mm}".encode()
        body = [
            (0x08, 0x08, "CS", b"ORIGINAL\\PRIMARY\\M\\ND" if modality == "MR" else b"ORIGINAL\\PRIMARY\\AXIAL"),
            (0x08, 0x16, "UI", storage.encode()), (0x08, 0x18, "UI", instance.encode()),
            (0x08, 0x20, "DA", b"20200101"),
            (0x08, 0x30, "TM", b"120000"), (0x08, 0x60, "CS", modality.encode()), (0x08, 0x70, "LO", b"SIEMENS"),
            (0x08, 0x103E, "LO", f"T1w series {number}".encode()), (0x10, 0x10, "PN", b"Secret^Name"),
            (0x10, 0x20, "LO", b"SECRET1"), (0x18, 0x50, "DS", str(spacing_mm).encode()),
            (0x18, 0x80, "DS", b"2300"), (0x18, 0x81, "DS", b"2.98"), (0x18, 0x88, "DS", str(spacing_mm).encode()),
            (0x18, 0x5100, "CS", b"HFS"), (0x20, 0x0D, "UI", b"1.2.3.4.5"), (0x20, 0x0E, "UI", root.encode()),
            (0x20, 0x11, "IS", str(number).encode()), (0x20, 0x12, "IS", b"1"), (0x20, 0x13, "IS", str(k + 1).encode()),
            (0x20, 0x32, "DS", f"0\\0\\{k * spacing_mm}".encode()), (0x20, 0x37, "DS", b"1\\0\\0\\0\\1\\0"),
            (0x20, 0x52, "UI", b"1.2.3.4.6"), (0x28, 0x02, "US", struct.pack("<H", 1)),
            (0x28, 0x04, "CS", b"MONOCHROME2"),
            (0x28, 0x10, "US", struct.pack("<H", data.shape[1])), (0x28, 0x11, "US", struct.pack("<H", data.shape[0])),
            (0x28, 0x30, "DS", spacing), (0x28, 0x100, "US", struct.pack("<H", 16)),
            (0x28, 0x101, "US", struct.pack("<H", 16)), (0x28, 0x102, "US", struct.pack("<H", 15)),
            (0x28, 0x103, "US", struct.pack("<H", 0)),
            (0x7FE0, 0x10, "OW", np.ascontiguousarray(data[:, :, k].T).astype("<u2").tobytes()),
        ]  # fmt: skip
        path = folder / f"slice{k:04d}.dcm"
        path.write_bytes(b"\0" * 128 + b"DICM" + meta + b"".join(_element(*element) for element in body))
        paths.append(path)
    return paths


def zip_of(target: Path, files: dict[str, bytes | Path]) -> Path:
    """A zip with members of the given names."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return target


def zip_series(target: Path, paths: list[Path]) -> Path:
    """A zip of a DICOM series in a folder."""
    return zip_of(target, {f"{path.parent.name}/{path.name}": path for path in paths})


def ball(shape: tuple[int, int, int] = (40, 44, 42)) -> np.ndarray:
    """A bright ball with a darker core, (X, Y, Z) float32: readable as a scan, though no head."""
    points = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"), -1)
    radius = np.linalg.norm(points, axis=-1)
    return (300 * (radius < 0.8) + 200 * (radius < 0.4)).astype(np.float32)


def write_image(path: Path, data: np.ndarray | None = None, *, spacing_mm: float = 2.0) -> Path:
    """A NIfTI image."""
    data = ball() if data is None else data
    nib.Nifti1Image(data, np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])).to_filename(path)
    return path


def write_ct(path: Path) -> Path:
    """A ball in Hounsfield units: soft tissue and bone in air."""
    values = ball()
    return write_image(path, np.select([values > 400, values > 0], [700, 40], -1000).astype(np.int16))


def text_as_image(path: Path) -> Path:
    """Text with the name of an image."""
    path.write_text("participant_id\tage\nsub-01\t50\n")
    return path


def zip_bomb(path: Path, *, size_mb: int) -> Path:
    """A small zip of a large file of zeros."""
    return zip_of(path, {"slice.dcm": bytes(size_mb * 1_000_000)})
