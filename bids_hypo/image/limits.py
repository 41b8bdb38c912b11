"""How large an image may be: one limit for the whole process, from the memory that there is for one scan.

A file of half a megabyte can hold an image of gigabytes. What a header declares is compared with this limit before
anything is read, wherever an image comes from. It is a setting of the process and no argument, because images are
read in some thirty places, and the memory of a process is one thing: places of work set it when they begin
(`set_voxel_limit`); until then it follows from the memory of the machine or the container.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

from bids_hypo.errors import ScanReadError

BYTES_PER_VOXEL = 14  # of working memory; measured, see docs/accuracy.md
BYTES_PER_WIDE_VOXEL = 35  # the same of an image of 64-bit numbers
PROCESS_GB = 1.5  # a process with its networks, before it has read a scan
MOST_VOXELS = 600_000_000  # a whole head at 0.25 mm has 880 x 880 x 640 = 496 million
ALWAYS_VOXELS = 32_000_000  # a whole head at 0.7 mm has 26 million: no ordinary scan is refused for want of memory
_NARROW = 4  # bytes; wider numbers are copied once more while they are read
_SHARE = 0.9  # of a machine: other programs run on it too
_GB = 1e9
_CGROUP_ROOT, _OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class VoxelLimit:
    """A limit on the size of images.

    Attributes
    ----------
    voxels : int
        Of one image, all its frames together.
    reason : str
        Where the limit comes from, as part of a sentence.
    """

    voxels: int
    reason: str


_set: VoxelLimit | None = None


def set_voxel_limit(limit: VoxelLimit | None) -> None:
    """Set the limit of this process; None for the one that follows from the memory of the machine."""
    global _set
    _set = limit


def voxel_limit() -> VoxelLimit:
    """The limit that holds in this process."""
    return _set or limit_for(None)


def limit_for(memory_gb: float | None, *, n_processes: int = 1, n_scans: int = 1) -> VoxelLimit:
    """The limit for each scan where several are in work.

    Parameters
    ----------
    memory_gb : float or None
        For all processes together (``--mem``); None for what the machine or the container has.
    n_processes : int
    n_scans : int
        In work at a time, in each process.
    """
    if memory_gb is None:
        found_gb, place = machine_memory()
        total_gb, reason = _SHARE * found_gb, f"{found_gb:.1f} GB of memory {place}"
    else:
        total_gb, reason = memory_gb, f"--mem {memory_gb:g}"
    together = n_processes * n_scans
    reason += f" for {together} scans at a time" if together > 1 else ""
    share_gb = (total_gb / n_processes - PROCESS_GB) / n_scans
    affordable = int(share_gb * _GB / BYTES_PER_VOXEL)
    if affordable >= MOST_VOXELS:
        return VoxelLimit(MOST_VOXELS, "no head needs more at the smallest voxels that are measured")
    if affordable < ALWAYS_VOXELS:
        return VoxelLimit(ALWAYS_VOXELS, f"the least that holds however little memory there is; here {reason}")
    return VoxelLimit(affordable, reason)


@lru_cache(maxsize=1)
def machine_memory() -> tuple[float, str]:
    """Memory in GB that this process may use, and whose limit that is: of the container (cgroup) or of the machine."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [limit for path in _cgroup_files() if (limit := _bytes_in(path)) is not None]
    if limits and min(limits) < physical:
        return min(limits) / _GB, "in this container or job"
    return physical / _GB, "in this machine"


def _cgroup_files() -> list[Path]:
    """Files that may hold a limit on memory: of this control group and those above it, version 2 and 1."""
    root, files = _CGROUP_ROOT, []
    with contextlib.suppress(OSError, ValueError):
        for line in _OWN_CGROUPS.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            base, file = (root, "memory.max") if not controllers else (root / "memory", "memory.limit_in_bytes")
            if controllers and "memory" not in controllers.split(","):
                continue
            place = base / name.lstrip("/")
            files += [folder / file for folder in (place, *place.parents) if folder.is_relative_to(base)]
    return files


def _bytes_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # absent, or "max"
        return None


def check_size(path: Path, shape: Sequence[int], itemsize: int) -> None:
    """Refuse an image that is too large for the memory that there is.

    Parameters
    ----------
    path : Path
        Named in the error.
    shape : sequence of int
        As its header declares it.
    itemsize : int
        Bytes of a number in the file.

    Raises
    ------
    ScanReadError
    """
    limit, voxels = voxel_limit(), prod(int(n) for n in shape)
    if min(shape, default=0) < 0:
        raise ScanReadError(f"{path}: the header says that its shape is {tuple(shape)}. Convert it again.")
    each, most, kind = BYTES_PER_VOXEL, limit.voxels, ""
    if itemsize > _NARROW:
        each, kind = BYTES_PER_WIDE_VOXEL, f" of {8 * itemsize} bits"
        most = max(most * BYTES_PER_VOXEL // each, min(most, ALWAYS_VOXELS))
    if voxels > most:
        sizes = " x ".join(str(int(n)) for n in shape)
        needed_gb = voxels * each / _GB + PROCESS_GB
        raise ScanReadError(
            f"{path}: too large: {sizes} voxels, {voxels / 1e6:.0f} million; expected at most "
            f"{most / 1e6:.0f} million{kind} ({limit.reason}). {_advice(voxels, needed_gb)}"
        )


def _advice(voxels: int, needed_gb: float) -> str:
    if voxels > MOST_VOXELS:
        return "Is the header right? If so, cut the image to the head, or resample it."
    return (
        f"It takes about {needed_gb:.0f} GB: give it as much (--mem, a larger machine or container), process it alone "
        "(--participant-label, --nprocs 1), or cut the image to the head."
    )
