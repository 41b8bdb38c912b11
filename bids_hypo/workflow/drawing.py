"""Drawing the figures of one scan into its ``figures/`` folder."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading

import numpy as np

from bids_hypo.bids.checksums import recorded_checksums
from bids_hypo.bids.links import check_writes_stay
from bids_hypo.bids.names import FIGURES, FIGURES_RECORD, OutputNames
from bids_hypo.bids.sidecars import read_record, write_json
from bids_hypo.image.volume import Volume, write_bytes
from bids_hypo.report.figures import mosaic_svg, overview_png, thumbnail_jpeg
from bids_hypo.report.mosaic import make_mosaics, structures
from bids_hypo.report.surface import make_meshes, pack_meshes

logger = logging.getLogger(__name__)
_drawing = threading.Lock()  # matplotlib is not made for threads


def draw_figures(
    names: OutputNames, volume: Volume, labels: np.ndarray, icv: np.ndarray, axes: np.ndarray | None = None
) -> None:
    """Draw everything that the pages show of a scan.

    Parameters
    ----------
    names : OutputNames
    volume : Volume
        The scan on its own grid.
    labels : (X, Y, Z) int
        1 left, 2 right hypothalamus.
    icv : (X, Y, Z) bool
    axes : (3, 3) float, optional
        Columns are the head's right, anterior and superior directions; the scanner's if not given.

    Raises
    ------
    CannotCreateError
        If the folder leads out of the output folder by a link.
    """
    check_writes_stay(names.figures_dir, names.output_dir)
    parts = structures(labels, icv, volume.affine)
    mosaics = make_mosaics(volume, parts, np.eye(3) if axes is None else axes)
    name = names.scan.name
    drawn = {
        "overview": overview_png(mosaics, name),
        "thumbnail": thumbnail_jpeg(mosaics),
        "surface": pack_meshes(make_meshes(parts)),
        **{mosaic.name: mosaic_svg(mosaic, f"{name}, {mosaic.name} slices") for mosaic in mosaics},
    }
    paths = {key: names.figure(*FIGURES[key]) for key in drawn}
    for key, payload in drawn.items():
        write_bytes(paths[key], payload)
    digests = {paths[key].name: hashlib.sha256(payload).hexdigest() for key, payload in drawn.items()}
    write_json(names.figure(*FIGURES_RECORD), {"Files": digests})  # closes the set: the page is made from it


def drawn_figures(names: OutputNames) -> dict[str, bytes]:
    """The figures of a scan that are as `draw_figures` wrote them, by the keys of `FIGURES`.

    Parameters
    ----------
    names : OutputNames

    Returns
    -------
    dict of str to bytes
        Without those that are absent or were changed, or put there by someone else.
    """
    try:
        digests = recorded_checksums(read_record(names.figure(*FIGURES_RECORD))) or {}
    except (OSError, ValueError):
        return {}
    found = {}
    for key, figure in FIGURES.items():
        path = names.figure(*figure)
        with contextlib.suppress(OSError):
            payload = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(payload).hexdigest() == digests.get(path.name):
                found[key] = payload
    return found


def try_to_draw(
    names: OutputNames, volume: Volume, labels: np.ndarray, icv: np.ndarray, axes: np.ndarray | None = None
) -> str | None:
    """Like `draw_figures`; what goes wrong is logged and returned, for the scan's numbers do not depend on it."""
    try:
        with _drawing:
            draw_figures(names, volume, labels, icv, axes)
    except Exception as error:  # no mistake in drawing may cost the result of a scan
        text = f"{names.scan.path}: the figures could not be drawn ({type(error).__name__}: {error})"
        logger.warning("%s", text, exc_info=logger.isEnabledFor(logging.DEBUG))
        return text
    return None
