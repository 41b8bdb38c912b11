"""The page of the group level in a browser: a section and its figures for each series."""

import re

import pytest

from bids_hypo.workflow.group import run_group
from bids_hypo.workflow.group_options import GroupOptions
from tests.many_structures import write_two_structures


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page about two structures, one of them on two kinds of image."""
    raw, out = write_two_structures(tmp_path_factory.mktemp("group"))
    result = run_group(GroupOptions(raw, out, covariates=(), outlier_rule="none"))
    return result.report


def test_every_figure_of_every_section_is_drawn(browser, page):
    places = re.findall(r'<div id="([^"]+)" class="plot"', page.read_text())
    assert len(places) == len(set(places)) == 9  # boxes, ICV and age of three series
    browser.get_log("browser")
    browser.get(page.as_uri())
    drawn = browser.execute_script(
        "return Array.from(document.querySelectorAll('.plot')).filter(p => p.querySelector('.main-svg')).map(p => p.id)"
    )
    assert sorted(drawn) == sorted(places)
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    links = browser.execute_script(
        "return Array.from(document.querySelectorAll('a[href^=\"#\"]')).map(a => a.getAttribute('href').slice(1))"
    )
    assert links == ["hypothalamus-top", "trident-top", "trident-FLAIR-top"]
    assert browser.execute_script("return arguments[0].every(id => document.getElementById(id))", links)
    wide = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert browser.execute_script(wide)
