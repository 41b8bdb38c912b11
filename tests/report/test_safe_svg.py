"""What comes through into a page is what our own figures are made of, and nothing else."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from bids_hypo.image.volume import Volume
from bids_hypo.report.drawn import drawn_icv, drawn_parts
from bids_hypo.report.figures import mosaic_svg
from bids_hypo.report.mosaic import head_mosaic, structure_mosaics
from bids_hypo.report.safe_svg import safe_svg
from tests.finished import masks_of, structure_named

NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'


def test_our_own_figures_come_through_whole():
    affine = np.diag([3.0, 3, 3, 1])
    affine[:3, 3] = -90
    labels, icv = masks_of((60, 60, 60), affine)
    volume = Volume(icv + np.float32(1), affine)
    parts = drawn_parts(structure_named("hypothalamus"), labels, affine)
    head = head_mosaic(volume, [drawn_icv(icv, affine)])
    for mosaic in [*structure_mosaics(volume, parts, 40.0), head]:
        drawn = mosaic_svg(mosaic, "a title with <, & and é")
        assert ET.canonicalize(str(safe_svg(drawn))) == ET.canonicalize(drawn.decode())


@pytest.mark.parametrize(
    "inside",
    ["<script>x</script>", "<g onload='x'/>", "<a href='javascript:x'><text>a</text></a>", "<foreignObject/>",
     "<image href='https://example.org/x.jpg'/>", "<image href='data:image/svg+xml;base64,PHN2Zz4='/>",
     "<g style='fill: url(https://example.org)'/>", "<g fill='url(#x)'/>", "<use href='#x'/>", "<style>*{}</style>",
     "<animate attributeName='href' to='javascript:x'/>", "<g xmlns:h='http://www.w3.org/1999/xhtml'><h:script/></g>",
     "<g href='data:image/jpeg;base64,AA=='/>", "<g id='scans'/>", "<!-- <script> -->", "<?xml-stylesheet href='x'?>",
     "<image xmlns:l='http://www.w3.org/1999/xlink' l:href='javascript:x'/>", "<g>"],
)  # fmt: skip
def test_what_is_not_ours_is_refused(inside):
    with pytest.raises(ValueError, match=r"it (has|holds|is no)|<\w+> has"):
        safe_svg(f"<svg {NAMESPACE}>{inside}</svg>".encode())


def test_entities_are_refused_before_they_grow():
    bomb = b'<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg">&b;</svg>'
    with pytest.raises(ValueError, match="more than elements"):
        safe_svg(bomb)


def test_text_stays_text():
    page = safe_svg(f"<svg {NAMESPACE}><text class='a'>&lt;script&gt;</text></svg>".encode())
    assert page == f'<svg {NAMESPACE}><text class="a">&lt;script&gt;</text></svg>'


def test_a_deep_figure_is_refused():
    with pytest.raises(ValueError, match="nested too deeply"):
        safe_svg(b'<svg xmlns="http://www.w3.org/2000/svg">' + b"<g>" * 20_000 + b"</g>" * 20_000 + b"</svg>")
