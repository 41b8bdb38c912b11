"""The page as a user has it: a server of its own, driven in headless Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from bids_hypo.bids import find_scans, output_names
from bids_hypo.bids.query import Selection
from bids_hypo.cli.main import main
from bids_hypo.demo import DemoSettings, write_demo_dataset
from bids_hypo.gui import results
from tests.conftest import SHARED_DATA, has_shared_data
from tests.finished import finished_dataset
from tests.gui.samples import text_as_image, write_ct, zip_bomb
from tests.phantoms import bids_errors

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("gradio")]

SECONDS = 300  # to give up after; only a whole scan takes more than a few, on a busy machine minutes


@dataclass
class Page:
    """A running server: its address, its folder of temporary files, its process."""

    address: str
    work: Path
    process: subprocess.Popen


def _start(work: Path, *arguments: str) -> Page:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "bids_hypo.cli.gui", "--port", str(port), "-w", str(work), "--device", "cpu"]
    with (work.parent / f"{work.name}.log").open("w") as log:
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert f"http://127.0.0.1:{port}" in line, (work.parent / f"{work.name}.log").read_text()
    return Page(f"http://127.0.0.1:{port}/", work, process)


def _stop(page: Page) -> int:
    page.process.send_signal(signal.SIGTERM)
    return page.process.wait(60)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    started = _start(tmp_path_factory.mktemp("work"), "--max-upload-mb", "30")
    yield started
    if started.process.poll() is None:
        _stop(started)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """One real scan; where there are none, one of the demo."""
    folder = tmp_path_factory.mktemp("study") / "data"
    if has_shared_data():
        real = SHARED_DATA / "ds000011"
        shutil.copytree(real / "sub-01", folder / "sub-01", copy_function=shutil.copyfile)
        shutil.copyfile(real / "dataset_description.json", folder / "dataset_description.json")
    else:
        write_demo_dataset(folder, DemoSettings(n_subjects=1))
    return folder


def _wait(browser, condition, seconds=SECONDS):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds, poll_frequency=0.3).until(condition)


def _text(browser, place):
    return browser.execute_script("return document.getElementById(arguments[0])?.innerText || ''", place)


def _open(browser, page, tab=None):
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get(page.address)
    _wait(browser, lambda b: b.find_elements("id", "single-start"))
    if tab:
        chosen = next(t for t in browser.find_elements("css selector", "[role=tab]") if t.text == tab)
        chosen.click()
        _wait(browser, lambda _: chosen.get_attribute("aria-selected") == "true")


def _upload(browser, place, *files):
    box = _wait(browser, lambda b: b.find_elements("css selector", f"#{place} input[type=file]"))[0]
    box.send_keys("\n".join(str(file) for file in files))
    _wait(browser, lambda b: all(Path(file).name in _text(b, place).replace("\n", "") for file in files))


def _press(browser, place):
    browser.execute_script(
        "(document.querySelector(`#${arguments[0]} button`) || document.getElementById(arguments[0])).click()", place
    )


def _finished(browser, place):
    _wait(browser, lambda b: any(word in _text(b, place) for word in ("Finished", "did not work")))
    return _text(browser, place)


def _download(browser, place, pattern):
    before = set(browser.downloads.glob(pattern)) if browser.downloads.is_dir() else set()
    _press(browser, place)
    new = _wait(browser, lambda b: b.downloads.is_dir() and set(b.downloads.glob(pattern)) - before)
    return new.pop()


def _outside(browser, page):
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith(page.address) for url in urls)
    return [url for url in urls if not url.startswith((page.address, "data:", "blob:", "about:", "chrome"))]


def _left_behind(page):
    """Files of sessions: everything but the examples, empty files and folders."""
    files = [p for p in page.work.rglob("*") if p.is_file() and p.stat().st_size]
    return [p for p in files if not {"examples", "vibe_edit_history"} & set(p.parts)]


def test_a_scan_gives_what_the_command_line_gives(browser, page, study, tmp_path):
    (scan,), _ = find_scans(study, Selection())
    upload = tmp_path / "Some scan.nii.gz"
    upload.write_bytes(scan.path.read_bytes())
    _open(browser, page)
    _upload(browser, "single-file", upload)
    _press(browser, "single-start")
    stages = set()

    def done(b):
        stages.add(_text(b, "single-status").split("\n")[0])
        return "Finished" in _text(b, "single-status")

    _wait(browser, done)
    assert {"Finding the head and its structures", "Outlining the structures"} <= stages
    _wait(browser, lambda b: "Left hypothalamus" in _text(b, "single-table"))
    _wait(browser, lambda b: b.find_elements("css selector", "#slice-coronal svg path"))
    _wait(browser, lambda b: b.find_elements("css selector", "#surface canvas"))
    table = _text(browser, "single-table")

    def coronal(b):
        label = b.execute_script("return document.querySelector('#slice-coronal svg').getAttribute('aria-label')")
        return float(re.fullmatch(r"coronal slice at (\S+) mm", label).group(1))

    began = coronal(browser)
    browser.find_element("css selector", "#at-coronal input[type=range]").send_keys("\ue014" * 5)  # arrow to the right
    _wait(browser, lambda b: coronal(b) == pytest.approx(began + 2.0))
    packed = _download(browser, "single-download", "*.zip")
    assert _outside(browser, page) == []

    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "zip")
    found = tmp_path / "zip" / "derivatives"
    assert (found / "sub-upload.html").is_file()
    assert main([str(study), str(tmp_path / "out"), "participant", "--device", "cpu"]) == 0
    names = output_names(scan, tmp_path / "out")
    for path in (*names.images, names.morph):
        own = found / "sub-upload" / "anat" / path.name.replace(f"sub-{scan.subject}", "sub-upload")
        assert own.read_bytes() == path.read_bytes(), path.name
    for row in results.read_morph(names.morph):
        assert row["volume_mm3"] in table
    assert b"Some scan" not in b"".join(p.read_bytes() for p in found.rglob("*") if p.is_file())
    assert bids_errors(found) == []


def test_bad_uploads_get_a_sentence_and_the_server_goes_on(browser, page, tmp_path):
    files = {
        text_as_image(tmp_path / "text.nii.gz"): "not a readable NIfTI image",
        write_ct(tmp_path / "ct.nii.gz"): "look like CT",
        zip_bomb(tmp_path / "bomb.zip", size_mb=130): "when unpacked; at most 120 MB",
    }
    for file, message in files.items():
        _open(browser, page)
        _upload(browser, "single-file", file)
        _press(browser, "single-start")
        said = _finished(browser, "single-status")
        assert message in said and file.name in said and str(page.work) not in said
    (tmp_path / "large.nii.gz").write_bytes(os.urandom(31_000_000))
    _open(browser, page)
    browser.find_element("css selector", "#single-file input[type=file]").send_keys(str(tmp_path / "large.nii.gz"))
    _wait(browser, lambda b: "maximum allowed size" in b.find_element("tag name", "body").text)
    _open(browser, page)
    _press(browser, "single-start")
    assert "Nothing was given" in _finished(browser, "single-status")


def test_a_batch_goes_on_after_a_bad_file(browser, page, tmp_path):
    _open(browser, page, "Several scans")
    _upload(browser, "batch-files", text_as_image(tmp_path / "a.nii.gz"), write_ct(tmp_path / "b.nii.gz"))
    _press(browser, "batch-start")
    said = _finished(browser, "batch-status")
    assert "0 measured, 2 failed" in said
    assert "look like CT" in _text(browser, "batch-table") and "a.nii.gz" in _text(browser, "batch-table")


def test_groups_are_compared_from_a_table(browser, page, tmp_path):
    labels = [f"{k:02d}" for k in range(1, 5)]
    _, out, _ = finished_dataset(tmp_path, [{"sub": label} for label in labels])
    results.write_batch_table(out, {}, tmp_path / "volumes.tsv")
    people = [f"sub-{label}\t{'ALS' if k % 2 else 'control'}\t{50 + 3 * k}" for k, label in enumerate(labels)]
    (tmp_path / "participants.tsv").write_text("\n".join(["participant_id\tgroup\tage", *people]) + "\n")
    _open(browser, page, "Groups")
    _press(browser, "group-start")
    _wait(browser, lambda b: "Upload the table" in _text(b, "group-status"))
    _upload(browser, "group-tables", tmp_path / "volumes.tsv")
    _upload(browser, "group-participants", tmp_path / "participants.tsv")
    _wait(browser, lambda b: "age" in _text(b, "group-covariates"))
    _press(browser, "group-start")
    _wait(browser, lambda b: b.find_elements("css selector", "#group-page iframe"))
    assert "ALS" in _text(browser, "group-summary")
    packed = _download(browser, "group-download", "*.zip")
    with zipfile.ZipFile(packed) as archive:
        assert {"results/group_volumes.tsv", "results/group_report.html"} <= set(archive.namelist())
    browser.switch_to.frame(browser.find_element("css selector", "#group-page iframe"))
    _wait(browser, lambda b: b.find_elements("css selector", ".js-plotly-plot svg"))
    browser.switch_to.default_content()
    assert _outside(browser, page) == []


def test_it_fits_on_a_phone(browser, page):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for tab in ("One scan", "Several scans", "Groups"):
            _open(browser, page, tab)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_uploads_are_deleted_when_the_page_is_closed(browser, page, tmp_path):
    _open(browser, page)
    before = set(page.work.glob("*/session-*"))
    _upload(browser, "single-file", write_ct(tmp_path / "ct.nii.gz"))
    _wait(browser, lambda _: any(p.name == "ct.nii.gz" for p in _left_behind(page)))
    _wait(browser, lambda _: set(page.work.glob("*/session-*")) - before)  # the page has told whose it is
    browser.get("about:blank")
    _wait(browser, lambda _: not any(p.name == "ct.nii.gz" or "session-" in str(p) for p in _left_behind(page)))


def test_answers_forbid_other_hosts_and_stopping_leaves_nothing(page):
    with urllib.request.urlopen(page.address) as answer:
        policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy
    preflight = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "POST"}
    for code, method, path, headers in (
        (400, "GET", "", {"Host": "elsewhere.example"}),
        (400, "OPTIONS", "gradio_api/upload", {"Host": "elsewhere.example", **preflight}),  # before Gradio answers it
        (403, "OPTIONS", "gradio_api/upload", preflight),
        (403, "POST", "gradio_api/queue/join", {"Origin": "null"}),
        (403, "GET", "gradio_api/heartbeat/x", {"Sec-Fetch-Site": "cross-site"}),
        (411, "POST", "gradio_api/upload", {"Transfer-Encoding": "chunked"}),
    ):
        request = urllib.request.Request(page.address + path, headers=headers, method=method)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == code and "access-control-allow-origin" not in refused.value.headers, (method, path)
    assert _stop(page) == 0
    assert list(page.work.iterdir()) == []


def test_a_password_is_asked_for(tmp_path):
    (tmp_path / "password").write_text("sesame\n")
    (tmp_path / "work").mkdir()
    page = _start(tmp_path / "work", "--auth", f"clinic:{tmp_path}/password")
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(page.address + "config")
        assert refused.value.code == 401
        right = urllib.request.Request(page.address + "login", b"username=clinic&password=sesame")
        with urllib.request.urlopen(right) as answer:
            assert answer.status == 200
        wrong = urllib.request.Request(page.address + "login", b"username=clinic&password=x")
        for code in [400] * 5 + [429]:
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(wrong)
            assert refused.value.code == code
        assert "127.0.0.1, user 'clinic' (5 in a row)" in (tmp_path / "work.log").read_text()
        for place in ("gradio_api/upload", "gradio_api/queue/join", "gradio_api/queue/data?session_hash=x"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(page.address + place, b"" if "data" not in place else None)
            assert refused.value.code == 401, place
        stored = next((tmp_path / "work").iterdir())
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{page.address}gradio_api/file={stored}/any")
        assert refused.value.code == 401
    finally:
        code = _stop(page)  # while it still loads the networks and writes the examples
    assert code == 0 and not [p for p in (tmp_path / "work").rglob("*") if p.is_file()]
