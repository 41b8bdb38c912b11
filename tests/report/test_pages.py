"""The pages themselves: what they hold, and what they do in a browser."""

import base64
import hashlib
import json
import re
from functools import partial
from html.parser import HTMLParser

import pytest

from bids_hypo.bids.ratings import read_ratings
from bids_hypo.report.index_page import Column, IndexEntry, write_index_page

MAX_BYTES = 3_000_000


class _Addresses(HTMLParser):
    """Every address that a page names."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "action", "xlink:href") and value]


def _addresses(text):
    parser = _Addresses()
    parser.feed(text)
    return parser.found


def test_pages_are_small_and_fetch_nothing(pages):
    for page in pages.glob("*.html"):
        text = page.read_text()
        assert len(text) < MAX_BYTES
        outside = [a for a in _addresses(text) if not a.startswith(("data:", "#"))]
        assert not [a for a in outside if re.match(r"\w+:|//", a)]
        assert all((pages / a.partition("#")[0]).is_file() for a in outside)
        assert "@import" not in text and not re.search(r"url\((?!['\"]?data:)", text)


def test_a_page_allows_its_own_scripts_and_nothing_else(pages):
    for page in pages.glob("*.html"):
        text = page.read_text()
        (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
        assert text.index(policy) < text.index("<title>")
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == "'none'" and "unsafe-inline" not in rules["script-src"]
        for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL):
            assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in rules["script-src"]


INJECTED = """<script>window.ran = "script"</script><img src="x" onerror="window.ran = 'handler'">
<a id="bad" href="javascript:window.ran = 'link'">x</a><form id="send" action="https://example.org"></form></main>"""


@pytest.mark.parametrize("name", ["sub-01.html", "index.html"])
def test_markup_that_came_through_would_not_run(browser, pages, name):
    hurt = pages / f"hurt-{name}"
    try:
        hurt.write_text((pages / name).read_text().replace("</main>", INJECTED))
        browser.get(hurt.as_uri())
        _click(browser, "#bad")
        assert browser.execute_script("return window.ran") is None
        assert browser.execute_script("return document.getElementById('export') !== null")
        assert [e for e in _errors(browser) if "Content Security Policy" in e or "Content-Security-Policy" in e]
    finally:
        hurt.unlink()


def test_the_page_says_what_was_found_and_done(pages):
    text = (pages / "sub-02.html").read_text()
    for words in ("Asymmetric", "left and right differ by more than is plausible", "Touches the region&#39;s border",
                  "n = 3",
                  "sub-02/anat/sub-02_T1w.nii.gz", "Model for anatomy", "cpu", "cannot be measured", "2.1 in all",
                  "Vernikouskaya"):  # fmt: skip
        assert words in text
    assert "No flags" in (pages / "sub-01.html").read_text()


def test_the_index_lists_flagged_scans_first_with_small_lazy_pictures(pages):
    text = (pages / "index.html").read_text()
    assert re.findall(r'href="sub-\d+.html#([^"]+)"><img', text) == [
        "sub-02_T1w", "sub-01_run-1_T1w", "sub-01_run-2_T1w"]  # fmt: skip
    assert text.count('loading="lazy"') == 3
    assert "3 scans, 1 with flags" in text


def test_text_from_outside_is_escaped(tmp_path):
    bad = '<script>alert("x")</script>'
    entry = IndexEntry(bad, f"{bad}.nii", None, None, {"a": 1.0}, (bad,), False)
    write_index_page(tmp_path / "index.html", [entry], [Column("a", bad)], dataset=f"</script>{bad}", n_failed=2)
    text = (tmp_path / "index.html").read_text()
    assert "alert(" in text and "<script>alert" not in text
    assert text.count("</script>") == 1


def test_two_thousand_scans_make_a_light_list(tmp_path):
    entries = [
        IndexEntry(f"sub-{k:04}_T1w", f"sub-{k:04}/anat/sub-{k:04}_T1w.nii.gz", f"sub-{k:04}.html",
                   f"sub-{k:04}/figures/sub-{k:04}_desc-thumbnail_T1w.jpg", dict.fromkeys("abcde", 400.0),
                   ("asymmetric",) if k % 7 == 0 else (), False)
        for k in range(2000)
    ]  # fmt: skip
    write_index_page(
        tmp_path / "index.html", entries, [Column(key, key) for key in "abcde"], dataset="many", n_failed=0
    )
    assert (tmp_path / "index.html").stat().st_size < MAX_BYTES


def _open(browser, page):
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())


def _says(browser, script, of):
    return browser.execute_script(script, of)


def _errors(browser):
    return [e["message"] for e in browser.get_log("browser") if e["level"] in ("SEVERE", "ERROR")]


def _wait(browser, condition, seconds=30):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds).until(condition)


def _click(browser, selector):
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def _hidden(browser):
    return browser.execute_script(
        "return getComputedStyle(document.querySelector('.mosaic .outline')).visibility === 'hidden'"
    )


def _download(browser, name):
    path = browser.downloads / name
    _wait(browser, lambda _: path.is_file() and path.stat().st_size)
    return path


def test_a_page_opens_from_disk_and_draws_the_surface(browser, pages):
    _open(browser, pages / "sub-01.html")
    browser.execute_script("for (const e of document.querySelectorAll('.surface')) e.scrollIntoView()")
    drawn = "return Boolean(document.querySelector('.surface[data-drawn=yes] canvas'))"
    _wait(browser, lambda b: b.execute_script(drawn))
    assert _errors(browser) == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert not [u for u in urls if not u.startswith(("file:", "data:", "blob:", "about:"))]
    meshes = browser.execute_script("return document.querySelector('.surface[data-drawn=yes]').data.map(d => d.name)")
    assert meshes == ["left hypothalamus", "right hypothalamus", "intracranial volume"]


def test_outlines_go_on_and_off_and_flicker(browser, pages):
    _open(browser, pages / "sub-02.html")
    assert not _hidden(browser)
    _click(browser, "#outlines")
    assert _hidden(browser)
    _click(browser, "#outlines")
    assert not _hidden(browser)
    _click(browser, "#flicker")
    _wait(browser, _hidden)
    _wait(browser, lambda b: not _hidden(b))
    _click(browser, "#flicker")
    assert not _hidden(browser)
    assert _errors(browser) == []


def test_the_side_can_be_swapped_with_its_letters(browser, pages):
    """What was on the left of a coronal tile is on its right afterwards, and says so; sagittal tiles stay."""
    _open(browser, pages / "sub-02.html")
    script = """
      const tile = [...document.querySelectorAll(arguments[0])].find(t => t.querySelector('[stroke="#E69F00"]'));
      const frame = tile.getBoundingClientRect();
      const left = tile.querySelector('[stroke="#E69F00"]').getBoundingClientRect();
      return [(left.x + left.width / 2 - frame.x) / frame.width, tile.querySelector('.first').textContent];
    """
    at, letter = browser.execute_script(script, ".tile.lr")
    sagittal = browser.execute_script(script, ".tile:not(.lr)")
    assert at < 0.5 and letter == "L"
    _click(browser, "#side")
    swapped, letter = browser.execute_script(script, ".tile.lr")
    assert swapped == pytest.approx(1 - at, abs=0.02) and letter == "R"
    assert browser.execute_script(script, ".tile:not(.lr)") == sagittal


def test_a_rating_is_kept_shown_on_the_list_and_exported_as_group_level_reads_it(browser, pages):
    _open(browser, pages / "sub-01.html")
    browser.execute_script("""
      const form = document.querySelector('section .rating');
      form.elements.rating.value = 'bad'; form.elements.note.value = 'motion,\\tright side';
      form.dispatchEvent(new Event('input', {bubbles: true}));
    """)
    _click(browser, "#export")
    table = read_ratings(_download(browser, "sub-01_ratings.tsv"))
    source = "sub-01/anat/sub-01_run-1_T1w.nii.gz"
    expected = {"source_file": source, "rating": "bad", "note": "motion, right side", "image": "sub-01_run-1_T1w"}
    assert table.to_dict("records") == [expected]
    _open(browser, pages / "index.html")
    chosen = "return document.querySelector(`tr[data-file='${arguments[0]}'] select`).value"
    assert browser.execute_script(chosen, source) == "bad"
    browser.execute_script("""
      const box = document.querySelector("tr[data-file^='sub-02'] select");
      box.value = 'good'; box.dispatchEvent(new Event('change'));
    """)
    _click(browser, "#export")
    table = read_ratings(_download(browser, "ratings.tsv")).set_index("source_file")["rating"]
    assert table.to_dict() == {source: "bad", "sub-02/anat/sub-02_T1w.nii.gz": "good"}
    assert _errors(browser) == []


def test_ratings_can_be_read_back(browser, pages, tmp_path):
    from selenium.webdriver.common.by import By

    _open(browser, pages / "index.html")
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    path = tmp_path / "mine.tsv"
    path.write_text("source_file\trating\tnote\nsub-02/anat/sub-02_T1w.nii.gz\tdoubtful\tn/a\nsub-99/x.nii\tbad\tn/a\n")
    browser.find_element(By.ID, "import").send_keys(str(path))
    _wait(browser, lambda b: "1 ratings" in b.find_element(By.ID, "said").text)
    chosen = "return document.querySelector(\"tr[data-file^='sub-02'] select\").value"
    assert browser.execute_script(chosen) == "doubtful"
    assert "1 of other scans left out" in browser.find_element(By.ID, "said").text


def test_the_list_sorts_and_filters(browser, pages):
    _open(browser, pages / "index.html")
    order = "return [...document.querySelectorAll('#scans tbody tr')].filter(r => !r.hidden).map(r => r.dataset.file)"
    assert browser.execute_script(order)[0].startswith("sub-02")
    _click(browser, "th button[data-column='0']")
    ascending = browser.execute_script(order)
    assert ascending == sorted(ascending)
    _click(browser, "th button[data-column='0']")
    assert browser.execute_script(order) == ascending[::-1]
    browser.execute_script(
        "const f = document.getElementById('find'); f.value = 'ASYMM'; f.dispatchEvent(new Event('input'))"
    )
    assert browser.execute_script(order) == ["sub-02/anat/sub-02_T1w.nii.gz"]
    assert _errors(browser) == []


def test_a_page_has_a_section_for_each_structure_whatever_its_parts(pages_of_two):
    flair, t1w = (pages_of_two / "sub-01.html").read_text().split("<section")[1:]
    for section in (flair, t1w):
        assert re.findall(r'<h3 class="structure">(\w+)', section) == ["Hypothalamus", "Trident"]
        assert section.count('class="mosaic"') == 2 * 3 + 1 and section.count('class="meshes"') == 2
        of_trident = section[section.index("Trident of Poseidon: volumes") :]
        for words in ("Trident of Poseidon, both, mm³", "Prong, left, mm³", "Prong, right, mm³", "Shaft, midline, mm³"):
            assert words in of_trident
        key = re.search(r'<p class="key soft">(.*?)</p>', of_trident).group(1)
        assert re.findall(r"border-color:(#\w+)\"></i>([^<]+)", key) == [
            ("#E69F00", "left prong"), ("#56B4E9", "right prong"), ("#009E73", "shaft")]  # fmt: skip
    assert "50 <span" in t1w and "50 <span" not in flair  # five T1w and one FLAIR: each among its own kind
    assert "<h3>Intracranial volume" in t1w and "ICV&#39;s border" in t1w
    assert "<h3>Whole head" in flair and "Intracranial volume, cm³" not in flair and "ICV&#39;s border" not in flair


def test_the_list_has_a_column_for_each_structure(pages_of_two):
    text = (pages_of_two / "index.html").read_text()
    found = re.findall(r'data-column="\d+">([^<]+)<', text)
    assert found == ["scan", "flags", "hypothalamus, mm³", "trident of Poseidon, mm³", "ICV, cm³",
                     "hypothalamus of ICV, ‰", "trident of Poseidon of ICV, ‰", "rating"]  # fmt: skip


def test_the_methods_text_tells_of_all_structures_and_kinds_of_images(pages_of_two):
    text = (pages_of_two / "logs" / "CITATION.md").read_text()
    for words in ("Volumes of the hypothalamus and the trident of Poseidon, and the intracranial volume (ICV) were",
                  "1 FLAIR image and 5 T1-weighted scans of 5 subjects", "In that pose another network"):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("width", [1280, 400])
def test_pages_of_several_structures_fit_and_draw_every_surface(browser, pages_of_two, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for name in ("sub-01", "index"):
            _open(browser, pages_of_two / f"{name}.html")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        _open(browser, pages_of_two / "sub-01.html")
        drawn = "return document.querySelectorAll('.surface')[arguments[0]].dataset.drawn === 'yes'"
        for number in range(4):
            browser.execute_script("document.querySelectorAll('.surface')[arguments[0]].scrollIntoView()", number)
            _wait(browser, partial(_says, script=drawn, of=number))
        names = "return document.querySelectorAll('.surface')[3].data.map(d => d.name)"
        assert browser.execute_script(names) == ["left prong", "right prong", "shaft", "intracranial volume"]
        assert _errors(browser) == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
