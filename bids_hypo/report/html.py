"""Pages that stand alone: Jinja2 templates with style, pictures and scripts inside, nothing fetched from elsewhere."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bids_hypo import __version__
from bids_hypo.image.volume import write_bytes


def write_page(path: Path, template: str, **context: Any) -> None:
    """Fill a template of ``report/templates`` and write the page in one step.

    Parameters
    ----------
    path : Path
    template : str
        File name of a template that extends ``base.html``; it gives the blocks ``title``, ``content`` and, if it has
        any, ``style`` and ``script``.
    **context
        What the template names. Text is escaped; wrap markup made by us in `markupsafe.Markup`.
    """
    page = _environment().get_template(template).render(version=__version__, **context)
    write_bytes(path, page.encode())


def png_uri(figure: Figure, *, dpi: int = 110) -> str:
    """A matplotlib figure as a ``data:`` address, to be put in ``<img src=...>``."""
    return data_uri(png_bytes(figure, dpi=dpi), "image/png")


def png_bytes(figure: Figure, *, dpi: int = 110) -> bytes:
    """A matplotlib figure as PNG; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def data_uri(payload: bytes, mime_type: str) -> str:
    """Bytes as a ``data:`` address."""
    return f"data:{mime_type};base64,{base64.b64encode(payload).decode()}"


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("bids_hypo.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
