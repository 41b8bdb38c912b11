"""Drawing the figures of one scan into its ``figures/`` folder."""

from __future__ import annotations

import logging
import threading

import numpy as np

from bids_hypo.bids.links import check_writes_stay
from bids_hypo.bids.names import FIGURES, OutputNames
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
    write_bytes(names.figure(*FIGURES["overview"]), overview_png(mosaics, name))
    write_bytes(names.figure(*FIGURES["thumbnail"]), thumbnail_jpeg(mosaics))
    write_bytes(names.figure(*FIGURES["surface"]), pack_meshes(make_meshes(parts)))
    for mosaic in mosaics:  # the last one closes the set: the page is made from it
        write_bytes(names.figure(*FIGURES[mosaic.name]), mosaic_svg(mosaic, f"{name}, {mosaic.name} slices"))


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
