"""The page to judge the scans of one subject (and session) by."""

from __future__ import annotations

import base64
import gzip
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bids_hypo.report.drawn import ICV_COLOUR, ICV_NAME
from bids_hypo.report.flag_texts import describe_flags
from bids_hypo.report.html import enumerated, write_page
from bids_hypo.report.norms import Place
from bids_hypo.report.safe_svg import safe_svg
from bids_hypo.report.surface import viewer_script
from bids_hypo.structures import ICV, WHOLE

_log = logging.getLogger(__name__)

MOSAICS: dict[str, str] = {
    "coronal": "Coronal slices, from back to front",
    "sagittal": "Sagittal slices, from left to right",
    "axial": "Axial slices, from below to above",
}


@dataclass(frozen=True)
class StructureView:
    """What a page shows of a structure in a scan.

    Attributes
    ----------
    name, title : str
    colours : sequence of (str, str)
        Colour and name of each part.
    view_mm : float
        Edge of the slices.
    flags : sequence of str
    places : sequence of Place
    published : str
        Where the published values come from; empty if there are none.
    mosaics : mapping of str to bytes
        SVG of each key of `MOSAICS`, without those that are not as they were drawn.
    surface : bytes or None
        Packed meshes.
    """

    name: str
    title: str
    colours: Sequence[tuple[str, str]]
    view_mm: float
    flags: Sequence[str]
    places: Sequence[Place]
    published: str
    mosaics: Mapping[str, bytes]
    surface: bytes | None


@dataclass(frozen=True)
class ScanView:
    """What a page shows of one scan.

    Attributes
    ----------
    name : str
    source_file : str
        Path of the image in its dataset.
    rows : sequence of mapping
        The table of volumes: structure, part, hemisphere, volume_mm3, volume_sd_mm3 (None for n/a).
    flags : sequence of str
        Of all structures and of the ICV.
    record : mapping
        JSON of the table: models, device, seconds, corrections ...
    structures : sequence of StructureView
    icv : Place or None
        None where the ICV is not measured.
    icv_published : str
    head : bytes or None
        SVG of the head; None if it is not as it was drawn.
    """

    name: str
    source_file: str
    rows: Sequence[Mapping[str, Any]]
    flags: Sequence[str]
    record: Mapping[str, Any]
    structures: Sequence[StructureView]
    icv: Place | None
    icv_published: str
    head: bytes | None


def write_scan_page(path: Path, views: Sequence[ScanView], *, dataset: str, index: str | None) -> None:
    """Write the page of a subject (and session).

    Parameters
    ----------
    path : Path
    views : sequence of ScanView
        All its scans.
    dataset : str
        Name of the dataset; ratings in the browser are kept under it.
    index : str or None
        Address of the page that lists all scans.
    """
    titles = [one.title for view in views for one in view.structures]
    script = viewer_script() if any(one.surface for view in views for one in view.structures) else None
    write_page(
        path,
        "scan.html",
        loaded=None if script is None else gzip.decompress(script),
        title=path.stem,
        dataset=dataset,
        index=index,
        scans=[_context(view) for view in views],
        viewer=None if script is None else _base64(script),
        shown=enumerated([*dict.fromkeys(titles), *([ICV_NAME] if any(view.icv for view in views) else [])]),
    )


def _context(view: ScanView) -> dict[str, Any]:
    head = _drawn(view.name, "head", view.head)
    return {
        "name": view.name,
        "source_file": view.source_file,
        "flags": [(flag, _whose(flag.key, view)) for flag in describe_flags(view.flags)],
        "structures": [_structure(one, view) for one in view.structures],
        "icv": None if view.icv is None else _volume(view.icv, view),
        "icv_published": view.icv_published,
        "icv_colours": [] if view.icv is None else [(ICV_COLOUR, ICV_NAME)],
        "head": head,
        "posed": "HeadAxes" in view.record,
        "manual": bool(view.record.get("Manual", False)),
        "edited": [entry["File"] for entry in view.record.get("Edited", {}).values()],
        "done": what_was_done(view.record),
        "quality": image_numbers(view.record),
    }


def _whose(flag: str, view: ScanView) -> str:
    """Which of several structures a flag is of; empty where it is of all of them, or of the ICV."""
    titles = [one.title for one in view.structures if flag in one.flags]
    return ", ".join(titles) if 0 < len(titles) < len(view.structures) else ""


def _structure(one: StructureView, view: ScanView) -> dict[str, Any]:
    mosaics = {title: _drawn(view.name, key, one.mosaics.get(key)) for key, title in MOSAICS.items()}
    return {
        "name": one.name,
        "title": one.title,
        "view_cm": f"{one.view_mm / 10:g}",
        "colours": one.colours,
        "volumes": [_volume(place, view) for place in one.places],
        "published": one.published,
        "mosaics": [(title, svg) for title, svg in mosaics.items() if svg is not None],
        "not_shown": [title for title, svg in mosaics.items() if svg is None],
        "surface": None if one.surface is None else _base64(one.surface),
    }


def _drawn(name: str, key: str, svg: bytes | None) -> Markup | None:
    if svg is None:
        return None
    try:
        return safe_svg(svg)
    except ValueError as error:
        _log.warning(
            "%s: the %s figure is not shown, for it was changed (%s). Draw it again with --reports-only.",
            name,
            key,
            error,
        )
        return None


def _volume(place: Place, view: ScanView) -> dict[str, Any]:
    """A value in its context, with its spread between folds and its automatic value, in the unit of the measure."""
    per_unit = place.measure.per_unit

    def find(rows: Sequence[Mapping[str, Any]], column: str) -> float | None:
        keys = ((row["structure"], row.get("part", WHOLE), row["hemisphere"], row[column]) for row in rows)
        found = next((value for *key, value in keys if tuple(key) == place.measure.row), None)
        return None if found is None else float(found) / per_unit

    return {
        "place": place,
        "sd": find(view.rows, "volume_sd_mm3"),
        "automatic": find(view.record.get("Automatic", []), "volume_mm3"),
    }


def what_was_done(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Models, versions, device and times as pairs of heading and text."""
    maker = (record.get("GeneratedBy") or [{}])[0]
    pairs = [("Software", f"{maker.get('Name', 'bids_hypo')} {maker.get('Version', '')}".strip())]
    for role, model in sorted(record.get("Models", {}).items()):
        digest = str(model.get("WeightsSHA256", ""))[:12]
        pairs.append((f"Model for {role}", f"{model.get('Name')} {model.get('Version')}, weights {digest}…"))
    settings = ", ".join(f"{key}: {'yes' if value is True else 'no' if value is False else value}"
                         for key, value in record.get("Settings", {}).items())  # fmt: skip
    seconds = record.get("Seconds", {})
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items())
    return [
        *pairs,
        ("Settings", settings or "default"),
        ("Device", str(record.get("Device", "not recorded"))),
        ("Fallbacks", "; ".join(record.get("Fallbacks", [])) or "none"),
        ("Seconds", f"{sum(seconds.values()):.1f} in all ({stages})" if seconds else "not recorded"),
    ]


def image_numbers(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The measures of image quality as pairs of heading and text; empty for outputs of older versions."""
    titles = {"ghosting": "Ghosts in the air"}
    if ICV in record:
        titles["removed_share"] = "Share of the ICV's border that is blank"
    found = record.get("ImageQuality", {})
    around = [
        (f"{what} around the {entry.get('Title', name)}", entry[key])
        for name, entry in record.get("Structures", {}).items()
        for key, what in (("Contrast", "Contrast"), ("ContrastToNoise", "Contrast to noise"))
        if key in entry
    ]
    of_image = [(title, found[key]) for key, title in titles.items() if key in found]
    return [(title, "cannot be measured" if value is None else f"{value:.3g}") for title, value in around + of_image]


def _base64(payload: bytes) -> str:
    return base64.b64encode(payload).decode()
