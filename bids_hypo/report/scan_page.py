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

from bids_hypo.report.flag_texts import describe_flags
from bids_hypo.report.html import write_page
from bids_hypo.report.norms import SOURCE, Place
from bids_hypo.report.safe_svg import safe_svg
from bids_hypo.report.surface import viewer_script

_log = logging.getLogger(__name__)

MOSAICS: dict[str, str] = {
    "coronal": "Coronal slices through the hypothalamus, from back to front",
    "sagittal": "Sagittal slices, from left to right",
    "axial": "Axial slices, from below to above",
    "head": "Intracranial outline on the whole head",
}


@dataclass(frozen=True)
class ScanView:
    """What a page shows of one scan.

    Attributes
    ----------
    name : str
    source_file : str
        Path of the T1w image in its dataset.
    rows : sequence of mapping
        The table of volumes: structure, hemisphere, volume_mm3, volume_sd_mm3 (None for n/a).
    flags : sequence of str
    record : mapping
        JSON of the table: models, device, seconds, corrections ...
    places : sequence of Place
    mosaics : mapping of str to bytes
        SVG of each key of `MOSAICS`, without those that are not as they were drawn.
    surface : bytes or None
        Packed meshes.
    """

    name: str
    source_file: str
    rows: Sequence[Mapping[str, Any]]
    flags: Sequence[str]
    record: Mapping[str, Any]
    places: Sequence[Place]
    mosaics: Mapping[str, bytes]
    surface: bytes | None


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
    script = viewer_script() if any(v.surface for v in views) else None
    write_page(
        path,
        "scan.html",
        loaded=None if script is None else gzip.decompress(script),
        title=path.stem,
        dataset=dataset,
        index=index,
        scans=[_context(view) for view in views],
        viewer=None if script is None else _base64(script),
        norm_source=SOURCE,
    )


def _context(view: ScanView) -> dict[str, Any]:
    mosaics = {title: _mosaic(view, key) for key, title in MOSAICS.items()}
    return {
        "name": view.name,
        "source_file": view.source_file,
        "flags": describe_flags(view.flags),
        "volumes": [_volume(place, view) for place in view.places],
        "mosaics": [(title, svg) for title, svg in mosaics.items() if svg is not None],
        "not_shown": [title for title, svg in mosaics.items() if svg is None],
        "surface": None if view.surface is None else _base64(view.surface),
        "posed": "HeadAxes" in view.record,
        "manual": bool(view.record.get("Manual", False)),
        "edited": [entry["File"] for entry in view.record.get("Edited", {}).values()],
        "done": what_was_done(view.record),
        "quality": image_numbers(view.record),
    }


def _mosaic(view: ScanView, key: str) -> Markup | None:
    if key not in view.mosaics:
        return None
    try:
        return safe_svg(view.mosaics[key])
    except ValueError as error:
        _log.warning("%s: its %s figure is not shown: %s, which no figure of ours has.", view.name, key, error)
        return None


def _volume(place: Place, view: ScanView) -> dict[str, Any]:
    """A value in its context, with its spread between folds and its automatic value, in the unit of the measure."""
    per_unit = place.measure.per_unit

    def find(rows: Sequence[Mapping[str, Any]], column: str) -> float | None:
        found = next((r[column] for r in rows if (r["structure"], r["hemisphere"]) == place.measure.row), None)
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
    titles = {
        "contrast": "Contrast around the hypothalamus",
        "contrast_to_noise": "Contrast to noise there",
        "ghosting": "Ghosts in the air",
        "removed_share": "Share of the ICV's border that is blank",
    }
    found = record.get("ImageQuality", {})
    return [
        (title, "cannot be measured" if found[key] is None else f"{found[key]:.3g}")
        for key, title in titles.items()
        if key in found
    ]


def _base64(payload: bytes) -> str:
    return base64.b64encode(payload).decode()
