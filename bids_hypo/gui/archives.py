"""Zip files from strangers: looked at before anything is unpacked, and unpacked within bounds."""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from bids_hypo.errors import ScanReadError
from bids_hypo.gui.options import MB, Limits
from bids_hypo.gui.texts import text

_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".tar.gz")
_LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db")
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError, ValueError)


def unpack(archive: Path, folder: Path, limits: Limits, *, name: str) -> list[Path]:
    """Unpack a zip after checking it.

    Parameters
    ----------
    archive : Path
    folder : Path
        Empty.
    limits : Limits
    name : str
        What the user calls the file.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ScanReadError
        If it is not a zip, too large, locked or damaged, or holds archives, links or names that lead out of the folder.
    """
    if not zipfile.is_zipfile(archive):
        raise ScanReadError(text("error.not_zip", name=name))
    with _readable(name), zipfile.ZipFile(archive) as opened:
        members = [m for m in opened.infolist() if not m.is_dir() and not _is_litter(m.filename)]
        _check_amount(members, limits, name)
        for member in members:
            _check_member(member, name)
        return [_write(opened, member, folder) for member in members]


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise ScanReadError(text("error.zip_damaged", name=name, why=error or type(error).__name__)) from error


def _is_litter(member: str) -> bool:
    return any(part in _LITTER for part in PurePosixPath(member).parts)


def _check_amount(members: list[zipfile.ZipInfo], limits: Limits, name: str) -> None:
    if not members:
        raise ScanReadError(text("error.zip_empty", name=name))
    if len(members) > limits.members:
        raise ScanReadError(text("error.zip_members", name=name, found=len(members), limit=limits.members))
    size_mb = sum(m.file_size for m in members) / MB
    if size_mb > limits.unpacked_mb:
        raise ScanReadError(text("error.zip_size", name=name, found=round(size_mb), limit=limits.unpacked_mb))
    if limits.left_mb is not None and size_mb > limits.left_mb:
        raise ScanReadError(f"{name}: {text('error.full', limit=limits.total_mb)}")


def _check_member(member: zipfile.ZipInfo, name: str) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    link = stat.S_ISLNK(member.external_attr >> 16)
    drive = ":" in path.parts[0] if path.parts else True
    if link or drive or path.is_absolute() or ".." in path.parts:
        raise ScanReadError(text("error.zip_place", name=name, member=member.filename[:80]))
    if path.name.lower().endswith(_ARCHIVES):
        raise ScanReadError(text("error.zip_nested", name=name, member=path.name[:80]))
    if member.flag_bits & 1:
        raise ScanReadError(text("error.zip_locked", name=name))


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    """Write one member; zipfile reads no more than the size that the directory tells, which was checked."""
    target = folder / PurePosixPath(member.filename.replace("\\", "/"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, target.open("xb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    return target
