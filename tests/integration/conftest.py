"""The demo dataset, segmented once for all tests of the participant level."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_hypo.cli.main import main
from bids_hypo.demo import DemoSettings, write_demo_dataset


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo dataset of two subjects, one with two sessions."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    write_demo_dataset(folder, DemoSettings(n_subjects=2))
    return folder


@pytest.fixture(scope="session")
def segmented(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its derivatives by the shipped models."""
    out = tmp_path_factory.mktemp("out") / "derivatives"
    assert main([str(demo), str(out), "participant", "--device", "cpu"]) == 0
    return out
