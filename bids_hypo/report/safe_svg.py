"""Figures that go into a page as they are: only what our own figures are made of comes through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from markupsafe import Markup, escape

_SVG = "{http://www.w3.org/2000/svg}"
_ELEMENTS = frozenset({"svg", "g", "title", "rect", "image", "path", "text"})
_ATTRIBUTES = frozenset({
    "class", "d", "fill", "font-family", "font-size", "height", "href", "paint-order", "role", "stroke",
    "stroke-linejoin", "stroke-width", "text-anchor", "viewBox", "width", "x", "y",
})  # fmt: skip
_VALUE = re.compile(r"[\w\s.,#%+-]*")  # no colon and no bracket: no address
_PICTURE = re.compile(r"data:image/jpeg;base64,[A-Za-z0-9+/]*={0,2}")


def safe_svg(payload: bytes) -> Markup:
    """A figure of `bids_hypo.report.figures.mosaic_svg`, put together anew from its parts.

    A picture in a page can do whatever a page can: scripts, links, addresses to fetch. Our figures have none of it.

    Parameters
    ----------
    payload : bytes
        SVG.

    Returns
    -------
    Markup
        To be put into a page.

    Raises
    ------
    ValueError
        If it is no XML, or has an element, an attribute or a value that our figures do not have.
    """
    if b"<!" in payload or b"<?" in payload:  # entities, comments, instructions
        raise ValueError("it holds more than elements and text")
    try:
        return Markup("".join(_pieces(ET.fromstring(payload), without_tail=True)))
    except ET.ParseError as error:
        raise ValueError(f"it is no XML ({error})") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _pieces(element: ET.Element, *, without_tail: bool = False) -> Iterator[str]:
    tag = element.tag.removeprefix(_SVG)
    if tag not in _ELEMENTS:
        raise ValueError(f"it has an element {tag[:40]!r}")
    attributes = "".join(f' {name}="{escape(_checked(tag, name, value))}"' for name, value in element.items())
    namespace = ' xmlns="http://www.w3.org/2000/svg"' if without_tail else ""
    yield f"<{tag}{namespace}{attributes}>{escape(element.text or '')}"
    for child in element:
        yield from _pieces(child)
    yield f"</{tag}>{'' if without_tail else escape(element.tail or '')}"


def _checked(tag: str, name: str, value: str) -> str:
    allowed = _PICTURE if (tag, name) == ("image", "href") else _VALUE
    if name not in _ATTRIBUTES or (name == "href") != (allowed is _PICTURE) or not allowed.fullmatch(value):
        raise ValueError(f"<{tag}> has {name[:40]}={value[:40]!r}")
    return value
