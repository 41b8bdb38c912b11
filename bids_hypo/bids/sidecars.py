"""The JSON beside every image and table: where it came from, what made it, what it means."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.bids.checksums import SourceRecord, source_fields, source_times
from bids_hypo.bids.entities import Scan
from bids_hypo.bids.morph import morph_table_dictionary
from bids_hypo.bids.names import bids_uri
from bids_hypo.files import read_json
from bids_hypo.image.susceptibility import PPM
from bids_hypo.image.volume import write_bytes
from bids_hypo.structures import Part, Plausible, Published, Structure, Sum, capitalised

SOFTWARE_NAME = "bids_hypo"


@dataclass(frozen=True)
class Provenance:
    """What made the derivatives of one scan.

    Attributes
    ----------
    software_version : str
    device : str
        The device used, such as ``cpu`` or ``gpu:0``.
    fallbacks : tuple of str
        What had to be done otherwise than asked for, such as a halved batch.
    seconds : dict of str to float
        Wall time of each stage.
    models : dict of str to dict
        For each bundle, by its name, its Name, Version and WeightsSHA256.
    settings : dict, optional
        Options that change the result. Scans are done again when they differ (see `resume.outputs_complete`).
    source : SourceRecord, optional
        The bytes of the scan that were measured; None where it is not at hand.
    """

    software_version: str
    device: str
    fallbacks: tuple[str, ...]
    seconds: dict[str, float]
    models: dict[str, dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    source: SourceRecord | None = None


def _common(scan: Scan, provenance: Provenance, description: str) -> dict[str, Any]:
    return {
        "Description": description,
        "Sources": [bids_uri(scan)],
        **source_fields(provenance.source),
        "GeneratedBy": [{"Name": SOFTWARE_NAME, "Version": provenance.software_version}],
        "Models": {role: dict(model) for role, model in sorted(provenance.models.items())},
        "Settings": dict(provenance.settings),
        "Device": provenance.device,
        "Fallbacks": list(provenance.fallbacks),
        "Seconds": {stage: round(float(value), 3) for stage, value in provenance.seconds.items()},
    }


def _image(scan: Scan, provenance: Provenance, description: str) -> dict[str, Any]:
    # The images lie on the grid of the scan itself, so the scan is their space.
    return {**_common(scan, provenance, description), "SpatialReference": bids_uri(scan), "Manual": False}


def dseg_sidecar(scan: Scan, provenance: Provenance, structure: Structure) -> dict[str, Any]:
    """JSON of the parts of a structure as labels (the table of labels is dseg.tsv)."""
    numbers = ", ".join(f"{part.index} {part.name}" for part in structure.parts)
    title = capitalised(structure.title)
    text = f"{title} on the grid of the scan: 0 outside, {numbers} (left and right are the subject's)."
    return _image(scan, provenance, text)


def mask_sidecar(scan: Scan, provenance: Provenance, structure: Structure) -> dict[str, Any]:
    """JSON of the mask of a whole structure."""
    out = [part.name for part in structure.parts if not part.in_whole]
    without = f", without {', '.join(out)}" if out else ""
    text = f"{capitalised(structure.title)}, all of it{without}, on the grid of the scan."
    return {**_image(scan, provenance, text), "Type": "ROI"}


def probseg_sidecar(scan: Scan, provenance: Provenance, structure: Structure) -> dict[str, Any]:
    """JSON of the probabilities, 4-D with the parts along the last axis.

    BIDS asks for LabelMap on 4-D segmentations: the abbreviations of dseg.tsv, one for each frame.
    """
    frames = ", ".join(part.name for part in structure.parts)
    text = f"Probability of the {structure.title} on the grid of the scan; frames: {frames} (the subject's sides)."
    return {**_image(scan, provenance, text), "LabelMap": [part.abbreviation for part in structure.parts]}


def structure_record(structure: Structure, model: Mapping[str, Any], quality: Mapping[str, float]) -> dict[str, Any]:
    """What the JSON of the table says of a structure, so that pages and group level need no model.

    Parameters
    ----------
    structure : Structure
    model : mapping
        Name, Version and WeightsSHA256 of what measured it.
    quality : mapping of str to float
        ``contrast`` and ``contrast_to_noise`` around it; NaN and infinity become null.
    """
    return {
        "Title": structure.title,
        "Model": dict(model),
        "Parts": [asdict(part) for part in structure.parts],
        "Plausible": {**asdict(structure.plausible), "whole_mm3": list(structure.plausible.whole_mm3)},
        "Published": [asdict(published) for published in structure.published],
        "Methods": structure.methods,
        "ViewMM": structure.view_mm,
        "Sums": [asdict(one) for one in structure.sums],
        "Contrast": _finite(quality["contrast"]),
        "ContrastToNoise": _finite(quality["contrast_to_noise"]),
    }


def read_structures(record: Mapping[str, Any]) -> dict[str, Structure]:
    """The structures that the JSON of a table tells of, by their names; none in one of version 0.1.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is damaged.
    """
    return {str(name): _structure(str(name), entry) for name, entry in record.get("Structures", {}).items()}


def read_published(entry: Mapping[str, Any]) -> tuple[Published, ...]:
    """The published values in an entry of the JSON of a table."""
    return tuple(Published(**published) for published in entry.get("Published", []))


def _structure(name: str, entry: Mapping[str, Any]) -> Structure:
    plausible = dict(entry["Plausible"])
    low, high = plausible.pop("whole_mm3")
    return Structure(
        name=name,
        title=str(entry["Title"]),
        parts=tuple(Part(**part) for part in entry["Parts"]),
        plausible=Plausible(whole_mm3=(float(low), float(high)), **plausible),
        published=read_published(entry),
        methods=str(entry["Methods"]),
        view_mm=float(entry["ViewMM"]),
        sums=tuple(Sum(one["name"], tuple(one["kinds"])) for one in entry.get("Sums", [])),
    )


def _finite(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def icv_mask_sidecar(scan: Scan, provenance: Provenance) -> dict[str, Any]:
    """JSON of the intracranial mask. Its type is ROI, for it holds the CSF spaces too and is no brain mask."""
    text = "Everything inside the skull (brain, meninges and cerebrospinal fluid) on the grid of the scan."
    return {**_image(scan, provenance, text), "Type": "ROI"}


def morph_sidecar(scan: Scan, provenance: Provenance, files: Mapping[str, str]) -> dict[str, Any]:
    """JSON of the table of volumes; written last, it closes the set of files of a scan.

    Parameters
    ----------
    scan : Scan
    provenance : Provenance
    files : mapping of str to str
        Checksums of all files of the scan written before this one, by their names; resuming compares them.

    Returns
    -------
    dict
    """
    text = "Volumes of the structures named in Structures, counted in the images named in Files."
    return {
        **morph_table_dictionary(susceptibility=scan.is_signed),
        **_common(scan, provenance, text),
        **source_times(provenance.source.stamp if provenance.source else None),
        "Files": dict(files),
    }


def edited_sidecar(scan: Scan, automatic: Mapping[str, Any], automatic_path: str) -> dict[str, Any]:
    """JSON of a mask that a person corrected.

    Parameters
    ----------
    scan : Scan
    automatic : mapping
        JSON of the automatic mask that the correction replaces.
    automatic_path : str
        That mask, relative to the derivative dataset.
    """
    same = ("Type", "SourceBytes", "SourceSHA256", "SpatialReference")
    kept = {key: automatic[key] for key in same if key in automatic}
    return {
        "Description": f"Corrected by hand. {automatic.get('Description', '')}".strip(),
        "Sources": [bids_uri(scan), f"bids::{automatic_path}"],
        **kept,
        "Manual": True,
    }


def image_record(
    head_axes: np.ndarray, image_quality: Mapping[str, float], background: Mapping[str, Any] | None = None,
    map_unit: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What is kept of the image itself in the JSON of the table, for figures and quality control.

    Parameters
    ----------
    head_axes : (3, 3) float
        Columns are the head's right, anterior and superior directions in RAS of the scanner.
    image_quality : mapping of str to float
        Measures of quality; NaN and infinity become null.
    background : mapping, optional
        ``value`` and ``kind``, see `bids_hypo.image.background.Background`.
    map_unit : mapping, optional
        See `bids_hypo.image.relaxation_units.MapUnit`.
    """
    names = ("Right", "Anterior", "Superior")
    return {
        "HeadAxes": {name: [round(float(x), 6) for x in head_axes[:, k]] for k, name in enumerate(names)},
        "ImageQuality": {name: _finite(value) for name, value in image_quality.items()},
        **({"Background": {"Value": background["value"], "Kind": background["kind"]}} if background else {}),
        **({"MapUnit": _map_unit(map_unit)} if map_unit else {}),
    }


def _map_unit(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Quantity": found["quantity"],
        "Found": found["found"],
        "Used": found["used"],
        "Median": float(f"{found['median']:.4g}"),
        "ShareLimited": _finite(found["limited"]),
    }


def unit_record(unit: str | None) -> dict[str, Any]:
    """The unit that the values of a susceptibility map had in its file; nothing for other images.

    Parameters
    ----------
    unit : str or None
        See `bids_hypo.image.volume.Volume`.
    """
    if unit is None:
        return {}
    converted = f"By their size the values are in {unit}, not in {PPM}; they were divided by 1000."
    return {"FileUnit": unit, **({} if unit == PPM else {"Warnings": [converted]})}


def read_head_axes(record: Mapping[str, Any]) -> np.ndarray | None:
    """The head's axes from the JSON of a table, (3, 3) as in `image_record`; None if it has none."""
    axes = record.get("HeadAxes")
    if not isinstance(axes, dict):
        return None
    return np.array([axes["Right"], axes["Anterior"], axes["Superior"]], dtype=float).T


def read_record(path: Path) -> dict[str, Any]:
    """A JSON file that this package wrote.

    Raises
    ------
    OSError, ValueError
        If it is absent or damaged.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: found no JSON object; run the participant level again.")
    return content


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file in one step.

    Parameters
    ----------
    path : path-like
    content : mapping
        UTF-8, in the order given, with a newline at the end.

    Raises
    ------
    TypeError, ValueError
        If something in it has no form in JSON (an array, a NaN); nothing is written.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())
