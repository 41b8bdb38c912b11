"""Drawing the figures of one scan into its ``figures/`` folder."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bids_hypo.bids.checksums import recorded_checksums
from bids_hypo.bids.links import check_writes_stay
from bids_hypo.bids.names import FIGURES_RECORD, HEAD_FIGURES, STRUCTURE_FIGURES, OutputNames
from bids_hypo.bids.sidecars import read_record, write_json
from bids_hypo.image.volume import Volume, write_bytes
from bids_hypo.report.figures import mosaic_svg, overview_png, thumbnail_jpeg
from bids_hypo.report.mosaic import drawn_icv, drawn_parts, head_mosaic, structure_mosaics
from bids_hypo.report.surface import make_meshes, pack_meshes
from bids_hypo.workflow.edited import Counted

logger = logging.getLogger(__name__)
_drawing = threading.Lock()  # matplotlib is not made for threads


def draw_figures(names: OutputNames, volume: Volume, counted: Counted, axes: np.ndarray | None = None) -> None:
    """Draw everything that the pages show of a scan.

    Parameters
    ----------
    names : OutputNames
    volume : Volume
        The scan on its own grid.
    counted : Counted
        Labels of each structure, and the ICV.
    axes : (3, 3) float, optional
        Columns are the head's right, anterior and superior directions; the scanner's if not given.

    Raises
    ------
    CannotCreateError
        If the folder leads out of the output folder by a link.
    """
    check_writes_stay(names.figures_dir, names.output_dir)
    axes, scan = np.eye(3) if axes is None else axes, names.scan.name
    icv = [] if counted.icv is None else [drawn_icv(counted.icv, volume.affine)]
    parts = {name: drawn_parts(*pair, volume.affine) for name, pair in counted.labels.items()}
    head = head_mosaic(volume, icv or [part for some in parts.values() for part in some], axes)
    drawn = {names.figure(*HEAD_FIGURES["head"]): mosaic_svg(head, f"{scan}, head")}
    for name, (structure, _) in counted.labels.items():
        mosaics = structure_mosaics(volume, parts[name], structure.view_mm, axes)
        drawn.setdefault(names.figure(*HEAD_FIGURES["thumbnail"]), thumbnail_jpeg(mosaics[0].tiles, head.tiles))
        payloads = {
            "overview": overview_png([*mosaics, head], f"{scan}, {structure.title}", [*parts[name], *icv]),
            "surface": pack_meshes(make_meshes([*parts[name], *icv], structure.view_mm)),
            **{one.name: mosaic_svg(one, f"{scan}, {structure.title}, {one.name} slices") for one in mosaics},
        }
        drawn |= {names.figure(*STRUCTURE_FIGURES[key], structure=name): payload for key, payload in payloads.items()}
    for path, payload in drawn.items():
        write_bytes(path, payload)
    digests = {path.name: hashlib.sha256(payload).hexdigest() for path, payload in drawn.items()}
    write_json(names.figure(*FIGURES_RECORD), {"Files": digests})  # closes the set: the page is made from it


def figure_paths(names: OutputNames, structures: Iterable[str]) -> dict[tuple[str | None, str], Path]:
    """Where the figures of a scan lie, by structure (None for the head) and kind.

    Parameters
    ----------
    names : OutputNames
    structures : iterable of str
    """
    head = {(None, key): names.figure(*figure) for key, figure in HEAD_FIGURES.items()}
    return head | {
        (name, key): names.figure(*figure, structure=name)
        for name in structures
        for key, figure in STRUCTURE_FIGURES.items()
    }


def drawn_figures(names: OutputNames, structures: Iterable[str]) -> dict[tuple[str | None, str], bytes]:
    """The figures of a scan that are as `draw_figures` wrote them, by the keys of `figure_paths`.

    Parameters
    ----------
    names : OutputNames
    structures : iterable of str

    Returns
    -------
    dict of (str or None, str) to bytes
        Without those that are absent or were changed, or put there by someone else.
    """
    try:
        digests = recorded_checksums(read_record(names.figure(*FIGURES_RECORD))) or {}
    except (OSError, ValueError):
        return {}
    found = {}
    for key, path in figure_paths(names, structures).items():
        with contextlib.suppress(OSError):
            payload = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(payload).hexdigest() == digests.get(path.name):
                found[key] = payload
    return found


def try_to_draw(names: OutputNames, volume: Volume, counted: Counted, axes: np.ndarray | None = None) -> str | None:
    """Like `draw_figures`; what goes wrong is logged and returned, for the scan's numbers do not depend on it."""
    try:
        with _drawing:
            draw_figures(names, volume, counted, axes)
    except Exception as error:  # no mistake in drawing may cost the result of a scan
        text = f"{names.scan.path}: the figures could not be drawn ({type(error).__name__}: {error})"
        logger.warning("%s", text, exc_info=logger.isEnabledFor(logging.DEBUG))
        return text
    return None
