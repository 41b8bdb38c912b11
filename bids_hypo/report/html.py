"""Pages that stand alone: Jinja2 templates with style, pictures and scripts inside, nothing fetched from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bids_hypo import __version__
from bids_hypo.image.volume import write_bytes

NO_FORMULAS: Any = {"text.parse_math": False}  # for matplotlib: a $ in a name is a $
_POLICY_HERE = "policy-of-this-page"  # replaced when all scripts of the page are known


class _Policy:
    """What a page tells the browser it may do: run the scripts that are ours by their SHA-256, and fetch nothing.

    Whatever markup should come through with names, notes or figures, no script in it runs. Styles cannot be told by
    their SHA-256 where scripts set them, as those of plotly do; without an address to fetch they do no harm.
    """

    def __init__(self, loaded: bytes | None) -> None:
        # The 3-D viewer compiles functions for the shapes of its arrays.
        self._sources = [] if loaded is None else [_csp_hash(loaded), "'unsafe-eval'"]

    def script(self, caller: Callable[[], str]) -> Markup:
        """A script element; called by templates with the text between ``{% call %}`` and ``{% endcall %}``."""
        text = str(caller()).replace("\r\n", "\n").replace("\r", "\n")  # as browsers read it
        self._sources.append(_csp_hash(text.encode()))
        return Markup(f"<script>{text}</script>")

    def __html__(self) -> str:
        return _POLICY_HERE

    def __str__(self) -> str:
        scripts = " ".join(dict.fromkeys(self._sources)) or "'none'"
        return (
            f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src 'self' file: data: blob:; "
            "base-uri 'none'; form-action 'none'"
        )


def _csp_hash(script: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def write_page(path: Path, template: str, *, loaded: bytes | None = None, **context: Any) -> None:
    """Fill a template of ``report/templates`` and write the page in one step.

    Parameters
    ----------
    path : Path
    template : str
        File name of a template that extends ``base.html``; it gives the blocks ``title``, ``content`` and, if it has
        any, ``style`` and ``script``. Scripts stand in ``{% call policy.script() %}``: no other runs.
    loaded : bytes, optional
        A further script that those of the page may load from the page itself; it may compile functions.
    **context
        What the template names. Text is escaped; wrap markup made by us in `markupsafe.Markup`.
    """
    policy = _Policy(loaded)
    page = _environment().get_template(template).render(version=__version__, policy=policy, **context)
    write_bytes(path, page.replace(_POLICY_HERE, str(policy), 1).encode())


def png_uri(figure: Figure, *, dpi: int = 110) -> str:
    """A matplotlib figure as a ``data:`` address, to be put in ``<img src=...>``."""
    return data_uri(png_bytes(figure, dpi=dpi), "image/png")


def png_bytes(figure: Figure, *, dpi: int = 110) -> bytes:
    """A matplotlib figure as PNG; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def enumerated(things: Sequence[str], *, article: str = "") -> str:
    """Things with commas and "and" between them, each with an article if one is given."""
    named = [f"{article} {thing}".strip() for thing in things]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


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
