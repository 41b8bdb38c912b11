"""What every test may use. Quiet settings come first, before anything imports TensorFlow or matplotlib."""

from __future__ import annotations

import configparser
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("BIDS_HYPO_SHARED") or ROOT.parent / "shared" / "data")
_CAPABILITIES_V3, _DAC = 0x20080522, 0b110  # of <linux/capability.h>: DAC_OVERRIDE and DAC_READ_SEARCH
NO_SHARED_DATA = f"the real scans are not at {SHARED_DATA}; set BIDS_HYPO_SHARED to the folder that holds ds000011/"


def has_shared_data() -> bool:
    """Whether the folder of real scans is there."""
    return (SHARED_DATA / "ds000011").is_dir()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `shared_data`, saying why, where the real scans are absent."""
    if has_shared_data():
        return
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(pytest.mark.skip(reason=NO_SHARED_DATA))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans, read-only; the test is skipped where it is absent."""
    if not has_shared_data():
        pytest.skip(NO_SHARED_DATA)
    return SHARED_DATA


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def setup_cfg(repository: Path) -> configparser.ConfigParser:
    """What setup.cfg says of the package."""
    parser = configparser.ConfigParser()
    parser.read(repository / "setup.cfg", encoding="utf-8")
    return parser


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@pytest.fixture
def permissions_hold(tmp_path: Path) -> Iterator[Path]:
    """A folder for tests of permissions, in which they hold for the superuser too (CAP_DAC_* are put aside)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, found = _CapabilityHeader(_CAPABILITIES_V3, 0), (_Capabilities * 2)()
    superuser = os.geteuid() == 0
    before = 0
    if superuser:
        assert libc.capget(ctypes.byref(header), found) == 0
        before = found[0].effective
        found[0].effective = before & ~_DAC
        assert libc.capset(ctypes.byref(header), found) == 0
    try:
        yield tmp_path
    finally:
        if superuser:
            found[0].effective = before
            assert libc.capset(ctypes.byref(header), found) == 0
        for folder, _, _ in os.walk(tmp_path):  # from above, so that pytest can remove them
            Path(folder).chmod(0o700)
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    Path(entry.path).chmod(0o700)
