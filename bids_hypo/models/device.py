"""Names of devices, without loading TensorFlow."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from bids_hypo.errors import UsageError

DRIVER_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows' Linux


@dataclass(frozen=True)
class DeviceRequest:
    """What was asked for with ``--device``.

    Attributes
    ----------
    kind : str
        ``auto``, ``cpu`` or ``gpu``.
    index : int or None
        Number of the GPU.
    """

    kind: str
    index: int | None = None


def parse_device(text: str) -> DeviceRequest:
    """Read ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.

    Raises
    ------
    UsageError
        For anything else.
    """
    match = re.fullmatch(r"(auto|cpu|gpu)(?::(\d+))?", text.strip().lower())
    if not match or (match[2] is not None and match[1] != "gpu"):
        raise UsageError(f"--device {text}: expected auto, cpu, gpu or gpu:N (such as gpu:0).")
    return DeviceRequest(match[1], None if match[2] is None else int(match[2]))


def has_gpu_driver() -> bool:
    """Whether a GPU may be here, by the files of its driver; whether it works, only TensorFlow can tell."""
    return any(Path(name).exists() for name in DRIVER_FILES)


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
