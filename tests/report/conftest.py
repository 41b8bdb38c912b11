"""A headless Chromium for pages, and a small dataset with its pages."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bids_hypo.execute.participant import run_participant
from bids_hypo.models.catalog import find_models
from bids_hypo.structures import HYPOTHALAMUS
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.reports import redraw, write_pages
from tests.finished import TRIDENT, finished_dataset

QUIET = (
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--window-size=1280,1600",
)  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with the pages of three scans, one of them flagged."""
    folder = tmp_path_factory.mktemp("pages")
    scans = [{"sub": "01", "run": "1"}, {"sub": "01", "run": "2"}, {"sub": "02"}]
    raw, out, _ = finished_dataset(folder, scans, flags={"02": ("asymmetric", "touches_region_border")})
    run_participant(RunOptions(raw, out))
    return out


@pytest.fixture(scope="module")
def pages_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with the pages of five T1w scans and a FLAIR with two structures, one of them made up."""
    folder = tmp_path_factory.mktemp("two")
    scans = [*({"sub": f"0{n}"} for n in range(1, 6)), {"sub": "01", "suffix": "FLAIR"}]
    raw, out, every = finished_dataset(
        folder, scans, flags={"02": ("asymmetric",)}, structures=(HYPOTHALAMUS, TRIDENT.name), suffixes=("T1w", "FLAIR")
    )
    assert not [result.error for result in (redraw(names.scan, names) for names in every) if result.error]
    assert write_pages(out, raw, find_models().used) == {}
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser that saves downloads to ``browser.downloads``; skips where there is none."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("selenium is not installed (pip install selenium)")
    if None in programs.values():
        pytest.skip("Chromium and its driver are not installed (apt-get install chromium chromium-driver)")
    from selenium import webdriver

    folder = tmp_path_factory.mktemp("browser")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for argument in (*QUIET, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs["chromedriver"]))
    driver.downloads = folder / "downloads"
    yield driver
    driver.quit()
