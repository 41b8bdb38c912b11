"""Drawing the figures of one scan into its ``figures/`` folder."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo import __version__
from bids_hypo.bids.checksums import recorded_checksums
from bids_hypo.bids.links import check_writes_stay
from bids_hypo.bids.names import FIGURES_RECORD, HEAD_FIGURES, STRUCTURE_FIGURES, OutputNames
from bids_hypo.bids.sidecars import read_record, write_json
from bids_hypo.image.volume import Volume, write_bytes
from bids_hypo.report.drawn import DrawnPart, drawn_icv, drawn_parts
from bids_hypo.report.figures import mosaic_svg, overview_png, thumbnail_jpeg
from bids_hypo.report.mosaic import Mosaic, head_mosaic, structure_mosaics
from bids_hypo.report.surface import make_meshes, pack_meshes
from bids_hypo.structures import Structure
from bids_hypo.workflow.edited import Counted

logger = logging.getLogger(__name__)
_drawing = threading.Lock()  # matplotlib is not made for threads
_IN_RECORD = ""  # stands for the head among the structures of the record


Key = tuple[str | None, str]  # of a figure: its structure, None for the head, and its kind


@dataclass(frozen=True)
class _Shown:
    """Everything that the figures of a scan are drawn from: parts by structure, the ICV or nothing."""

    scan: str
    volume: Volume
    axes: np.ndarray
    structures: dict[str, Structure]
    parts: dict[str, list[DrawnPart]]
    icv: list[DrawnPart]

    @property
    def of_head(self) -> list[DrawnPart]:
        """What is outlined in the head: the ICV, all structures where it is not measured."""
        return self.icv or [part for some in self.parts.values() for part in some]

    @property
    def first(self) -> list[DrawnPart]:
        """The parts that the thumbnail shows."""
        return next(iter(self.parts.values()), [])


def draw_figures(
    names: OutputNames, volume: Volume, counted: Counted, axes: np.ndarray | None = None, *, anew: bool = False
) -> None:
    """Draw what the pages show of a scan, as far as it is not there yet as it would be drawn now.

    Parameters
    ----------
    names : OutputNames
    volume : Volume
        The scan on its own grid.
    counted : Counted
        Labels of each structure, and the ICV.
    axes : (3, 3) float, optional
        Columns are the head's right, anterior and superior directions; the scanner's if not given.
    anew : bool
        Draw everything.

    Raises
    ------
    CannotCreateError
        If the folder leads out of the output folder by a link.
    """
    check_writes_stay(names.figures_dir, names.output_dir)
    shown = _Shown(
        names.scan.name, volume, np.eye(3) if axes is None else axes,
        {name: structure for name, (structure, _) in counted.labels.items()},
        {name: drawn_parts(*pair, volume.affine) for name, pair in counted.labels.items()},
        [] if counted.icv is None else [drawn_icv(counted.icv, volume.affine)],
    )  # fmt: skip
    made_from = _made_from(shown)
    digests = {} if anew else _as_drawn(names, shown.structures, made_from)
    paths = figure_paths(names, shown.structures)
    for key, payload in _drawn(shown, [name for name in made_from if not digests.get(name)]).items():
        write_bytes(paths[key], payload)
        digests.setdefault(key[0], {})[paths[key].name] = hashlib.sha256(payload).hexdigest()
    files = {name: digest for some in digests.values() for name, digest in some.items()}
    sources = {_IN_RECORD if name is None else name: digest for name, digest in made_from.items()}
    write_json(names.figure(*FIGURES_RECORD), {"Files": files, "DrawnFrom": sources})  # closes the set


def _drawn(shown: _Shown, wanted: Collection[str | None]) -> dict[Key, bytes]:
    """The figures of structures, and of the head where it (None) is wanted."""
    if not wanted:
        return {}
    head = head_mosaic(shown.volume, shown.of_head, shown.axes)
    drawn: dict[Key, bytes] = {}
    for number, (name, structure) in enumerate(shown.structures.items()):
        of_head = number == 0 and None in wanted  # the first structure stands in the thumbnail
        if name in wanted or of_head:
            mosaics = structure_mosaics(shown.volume, shown.parts[name], structure.view_mm, shown.axes)
        if of_head:
            drawn[None, "thumbnail"] = thumbnail_jpeg(mosaics[0].tiles, head.tiles)
        if name in wanted:
            drawn |= {(name, key): payload for key, payload in _of_structure(shown, name, mosaics, head).items()}
    return drawn | ({(None, "head"): mosaic_svg(head, f"{shown.scan}, head")} if None in wanted else {})


def _of_structure(shown: _Shown, name: str, mosaics: Sequence[Mosaic], head: Mosaic) -> dict[str, bytes]:
    title, size = f"{shown.scan}, {shown.structures[name].title}", shown.structures[name].view_mm
    parts = [*shown.parts[name], *shown.icv]
    legend = [*shown.structures[name].legend, *((one.colour, one.name) for one in shown.icv)]
    return {
        "overview": overview_png([*mosaics, head], title, legend),
        "surface": pack_meshes(make_meshes(parts, size)),
        **{one.name: mosaic_svg(one, f"{title}, {one.name} slices") for one in mosaics},
    }


def _made_from(shown: _Shown) -> dict[str | None, str]:
    """A checksum of what the figures of each structure, and of the head (None), show, and of who draws them."""
    common = hashlib.sha256(repr((__version__, shown.scan, shown.volume.data.shape)).encode())
    for array in (shown.volume.data, shown.volume.affine, shown.axes):
        common.update(array.tobytes(order="A"))
    of_head = _with_parts(common, "", [*shown.of_head, *shown.first])
    return {None: of_head.hexdigest()} | {
        name: _with_parts(of_head if not shown.icv else common, f"{one.title} {one.view_mm}",
                          [*shown.parts[name], *shown.icv]).hexdigest()
        for name, one in shown.structures.items()
    }  # fmt: skip


def _with_parts(begun: Any, what: str, parts: Iterable[DrawnPart]) -> Any:
    found = begun.copy()
    found.update(what.encode())
    for part in parts:
        found.update(repr((part.key, part.name, part.colour, part.hemisphere, part.mask.data.shape)).encode())
        found.update(part.mask.data.tobytes() + part.mask.affine.tobytes())
    return found


def _as_drawn(
    names: OutputNames, structures: Iterable[str], made_from: Mapping[str | None, str]
) -> dict[str | None, dict[str, str]]:
    """Checksums, by structure and name, of figures that are all there and drawn from the same."""
    try:
        sources = read_record(names.figure(*FIGURES_RECORD)).get("DrawnFrom")
    except (OSError, ValueError):
        return {}
    paths, there = figure_paths(names, structures), drawn_figures(names, structures)
    known = sources if isinstance(sources, dict) else {}
    found: dict[str | None, dict[str, str]] = {}
    for name, digest in made_from.items():
        own = [key for key in paths if key[0] == name]
        if known.get(_IN_RECORD if name is None else name) == digest and all(key in there for key in own):
            found[name] = {paths[key].name: hashlib.sha256(there[key]).hexdigest() for key in own}
    return found


def figure_paths(names: OutputNames, structures: Iterable[str]) -> dict[Key, Path]:
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


def drawn_figures(names: OutputNames, structures: Iterable[str]) -> dict[Key, bytes]:
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
