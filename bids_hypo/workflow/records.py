"""Writing what was found in a scan: images, sidecars and the table, beside what is kept of an earlier run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo import __version__
from bids_hypo.bids.checksums import SourceRecord, checksums, recorded_checksums
from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.names import OutputNames, sidecar
from bids_hypo.bids.resume import files_of, record_or_none, recorded_items
from bids_hypo.bids.session_icv import normalisation_note
from bids_hypo.bids.sidecars import (
    Provenance,
    dseg_sidecar,
    icv_mask_sidecar,
    image_record,
    mask_sidecar,
    morph_sidecar,
    probseg_sidecar,
    structure_record,
    unit_record,
    write_json,
)
from bids_hypo.bids.tables import morph_numbers
from bids_hypo.ending import unless_ending
from bids_hypo.errors import BidsHypoError
from bids_hypo.files import DAMAGED
from bids_hypo.image.volume import Volume, write_nifti
from bids_hypo.measure.volumes import icv_volume, volume_table
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.structures import ICV, Structure
from bids_hypo.workflow.scan import Found, Models, Segmentation
from bids_hypo.workflow.stopwatch import Stopwatch


@dataclass(frozen=True)
class Kept:
    """What stays of the results of a scan while something else in it is measured.

    Attributes
    ----------
    rows : DataFrame
        Of the table of volumes.
    record : dict
        The JSON of that table, with what stays alone.
    """

    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    record: dict[str, Any] = field(default_factory=dict)


def read_kept(names: OutputNames, redone: Collection[str]) -> Kept:
    """What stays of the results of a scan.

    Parameters
    ----------
    names : OutputNames
    redone : collection of str
        What is measured (again): structures, the ICV.

    Returns
    -------
    Kept
        Of everything else on record; nothing if there is no record and no table that can be read.
    """
    record = record_or_none(sidecar(names.morph)) or {}
    items = [item for item in recorded_items(record) if item not in redone]
    if not items:
        return Kept()
    try:
        table = morph_numbers(names.morph)
    except (BidsHypoError, *DAMAGED):
        return Kept()
    listed, wanted = recorded_checksums(record) or {}, {name for item in items for name in files_of(names, item)}
    kept = {
        **record,
        "Files": {name: digest for name, digest in listed.items() if name in wanted},
        "Structures": {name: entry for name, entry in record["Structures"].items() if name in items},
        "Edited": {item: entry for item, entry in record.get("Edited", {}).items() if item in items},
        "Automatic": [row for row in record.get("Automatic", []) if row.get("structure") in items],
    }
    if ICV not in items:
        kept.pop(ICV, None)
    if not kept["Edited"]:
        for key in ("Edited", "Automatic", "Manual"):
            kept.pop(key, None)
    return Kept(table[table["structure"].isin(items)], kept)


def write_images(names: OutputNames, volume: Volume, found: Segmentation, *, icv: bool) -> None:
    """Write the images on the scan's own grid: of each structure found three, and the intracranial mask if wanted."""
    like, affine = names.scan.path, volume.affine
    for name, one in found.found.items():
        labels, place = one.delineation.labels, names.structure(name)
        write_nifti(place.dseg, labels, affine, like=like)
        write_nifti(place.mask, whole_mask(labels, one.structure), affine, like=like)
        write_nifti(place.probseg, one.delineation.probability, affine, like=like)
    if icv:
        write_nifti(names.icv_mask, found.icv.astype(np.uint8), affine, like=like)


def whole_mask(labels: np.ndarray, structure: Structure) -> np.ndarray:
    """The parts that count in the whole structure as one mask, (X, Y, Z) uint8."""
    whole = [part.index for part in structure.parts if part.in_whole]
    all_in = len(whole) == len(structure.parts)
    return (labels > 0 if all_in else np.isin(labels, whole)).astype(np.uint8)


def write_records(
    names: OutputNames, volume: Volume, found: Segmentation, made_by: Mapping[str, Provenance], kept: Kept
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Write the sidecars and the table; the table's JSON last, it closes the set.

    Parameters
    ----------
    names : OutputNames
    volume : Volume
    found : Segmentation
    made_by : mapping of str to Provenance
        For what was measured (structures, the ICV) what its result depends on.
    kept : Kept
        Results of an earlier run that stay.

    Returns
    -------
    table : DataFrame
    record : dict
        What the table's JSON holds.
    """
    scan, measured = names.scan, {}
    for name, one in found.found.items():
        _write_sidecars(names, one, made_by[name])
        measured[name] = (one.delineation.volumes, one.flags)
    if ICV in made_by:
        flags = {"Flags": list(found.icv_flags)}
        write_json(sidecar(names.icv_mask), icv_mask_sidecar(scan, made_by[ICV]) | flags)
        measured[ICV] = (icv_volume(found.icv_mm3), found.icv_flags)
    written = [path for item in measured for image in names.images_of(item) for path in (image, sidecar(image))]
    models = {key: model for one in made_by.values() for key, model in one.models.items()}
    of_all = replace(next(iter(made_by.values())), models={**kept.record.get("Models", {}), **models})
    background, unit = (asdict(one) if one else {} for one in (volume.background, volume.map_unit))
    record = {
        **morph_sidecar(scan, of_all, {**kept.record.get("Files", {}), **checksums(written)}),
        **image_record(found.pose.rotation, asdict(found.quality), background, unit),
        **unit_record(volume.file_unit),
        **({} if scan.is_t1 else {"Normalisation": normalisation_note(scan, names.output_dir)}),
        "Structures": {
            **kept.record.get("Structures", {}),
            **{name: structure_record(one.structure, made_by[name].models[name], asdict(one.quality))
               for name, one in found.found.items()},
        },
    }  # fmt: skip
    of_icv = _icv_record(found, made_by) or ({ICV: kept.record[ICV]} if ICV in kept.record else {})
    return write_table(names, _together(kept.rows, volume_table(measured)), {**record, **of_icv}, kept)


def _icv_record(found: Segmentation, made_by: Mapping[str, Provenance]) -> dict[str, Any]:
    if ICV not in made_by:
        return {}
    return {ICV: {"Published": [asdict(published) for published in found.icv_published]}}


def _write_sidecars(names: OutputNames, one: Found, made_by: Provenance) -> None:
    place, flags = names.structure(one.structure.name), {"Flags": list(one.flags)}
    for image, described in ((place.dseg, dseg_sidecar), (place.mask, mask_sidecar), (place.probseg, probseg_sidecar)):
        write_json(sidecar(image), described(names.scan, made_by, one.structure) | flags)


def _together(kept: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Rows of both, those of the ICV last."""
    rows = pd.concat([table for table in (kept, new) if len(table)], ignore_index=True)
    return rows.sort_values("structure", key=lambda column: column == ICV, kind="stable", ignore_index=True)


def write_table(
    names: OutputNames, table: pd.DataFrame, record: Mapping[str, Any], kept: Kept
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Write a table of volumes and the JSON that closes the set; returns both.

    Parameters
    ----------
    names : OutputNames
    table : DataFrame
    record : mapping
        The JSON, without what it says of corrections and of the table itself.
    kept : Kept
        Whose corrections by hand go on to count.
    """
    edited = kept.record.get("Edited")
    manual = {key: kept.record[key] for key in ("Edited", "Automatic")} | {"Manual": True} if edited else {}
    with unless_ending():  # a table without its checksum would be measured anew
        write_tsv(names.morph, table)
        closing = {**record, "Files": {**record["Files"], **checksums([names.morph])}, **manual}
        write_json(sidecar(names.morph), closing)
    return table, closing


def restore_kept(names: OutputNames, kept: Kept) -> None:
    """Write the table and its JSON with what is kept alone, where the rest could not be measured again.

    Where nothing is kept, both are removed.
    """
    if not kept.record:
        sidecar(names.morph).unlink(missing_ok=True)
        names.morph.unlink(missing_ok=True)
        return
    plain = {key: value for key, value in kept.record.items() if key not in ("Edited", "Automatic", "Manual")}
    write_table(names, kept.rows, plain, kept)


def provenance(
    bundles: Collection[ModelBundle], models: Models, watch: Stopwatch, settings: dict[str, Any], source: SourceRecord
) -> Provenance:
    """What made the derivatives that depend on some bundles."""
    used = {
        bundle.structure.name if bundle.structure else bundle.name: {
            "Name": bundle.name, "Version": bundle.version, "WeightsSHA256": bundle.weights_sha256,
        }
        for bundle in bundles
    }  # fmt: skip
    return Provenance(
        software_version=__version__,
        device=models.device,
        fallbacks=tuple(what for network in models.shared for what in network.fallbacks),
        seconds=dict(watch.seconds),
        models=used,
        settings=settings,
        source=source,
    )
