"""What every test may use. Quiet settings come first, before anything imports TensorFlow or matplotlib."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("BIDS_HYPO_SHARED") or ROOT.parent / "shared" / "data")
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
