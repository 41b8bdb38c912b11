"""Scans that look as if participant level had finished them: phantoms with masks, table and sidecars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.bids import OutputNames, Provenance, find_scans, output_names, prepare_output, write_json, write_tsv
from bids_hypo.bids import sidecar as json_of
from bids_hypo.bids.checksums import record_source, stamp_of
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.sidecars import (
    dseg_sidecar,
    hypothalamus_mask_sidecar,
    icv_mask_sidecar,
    image_record,
    morph_sidecar,
    probseg_sidecar,
)
from bids_hypo.image.volume import read_volume, write_nifti
from bids_hypo.measure.volumes import mask_volume_mm3, volume_table
from bids_hypo.models.catalog import find_bundles
from tests.phantoms import HEAD_SHELLS, inside_ellipsoid, make_bids_dataset, world_mm

SIDES_MM = {1: ((-4.5, 0.0, -4.0), (3.6, 6.0, 6.0)), 2: ((4.5, 0.0, -4.0), (3.6, 6.0, 5.0))}
"""Centre and semi-axes of the left and the (smaller) right half."""


def masks_of(shape: tuple[int, ...], affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the hypothalamus (X, Y, Z) uint8 and intracranial mask (X, Y, Z) bool of the phantom head."""
    points = world_mm(shape, affine)
    labels = np.zeros(shape, np.uint8)
    for side, (centre, radii) in SIDES_MM.items():
        labels[inside_ellipsoid(points, centre, radii)] = side
    return labels, inside_ellipsoid(points, (0, 0, 0), HEAD_SHELLS[2][1])


def finished_dataset(
    folder: Path, scans: Iterable[Mapping[str, Any]], *, flags: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[Path, Path, list[OutputNames]]:
    """Write a dataset of phantoms and its derivatives.

    Parameters
    ----------
    folder : Path
    scans : iterable of mappings
        See `tests.phantoms.make_bids_dataset`.
    flags : mapping of str to tuple of str, optional
        Flags of the hypothalamus, by subject.

    Returns
    -------
    raw, out : Path
    names : list of OutputNames
    """
    raw, out = folder / "raw", folder / "out"
    make_bids_dataset(raw, scans)
    prepare_output(out, raw, command_version="0.0.test")
    found, _ = find_scans(raw, Selection())
    names = [output_names(scan, out) for scan in found]
    for each in names:
        write_finished(each, (flags or {}).get(each.scan.subject, ()))
    return raw, out, names


def write_finished(names: OutputNames, flags: tuple[str, ...] = ()) -> None:
    """Write images, sidecars and table of one scan, as by the shipped models."""
    untouched = stamp_of(names.scan.path)
    volume = read_volume(names.scan.path)
    source = record_source(names.scan.path, untouched)
    labels, icv = masks_of(volume.data.shape, volume.affine)
    probability = np.stack([labels == 1, labels == 2], -1).astype(np.float32)
    write_nifti(names.dseg, labels, volume.affine)
    write_nifti(names.hypothalamus_mask, (labels > 0).astype(np.uint8), volume.affine)
    write_nifti(names.hypothalamus_probseg, probability, volume.affine)
    write_nifti(names.icv_mask, icv.astype(np.uint8), volume.affine)
    models = {
        role: {"Name": b.name, "Version": b.version, "WeightsSHA256": b.weights_sha256}
        for role, b in find_bundles().items()
    }
    made_by = Provenance("0.0.test", "cpu", (), {"read": 0.1, "anatomy": 2.0}, models, {"Fast": False}, source)
    makers = {names.dseg: dseg_sidecar, names.hypothalamus_mask: hypothalamus_mask_sidecar,
              names.hypothalamus_probseg: probseg_sidecar, names.icv_mask: icv_mask_sidecar}  # fmt: skip
    for image, make in makers.items():
        own = () if image == names.icv_mask else flags
        write_json(json_of(image), make(names.scan, made_by) | {"Flags": list(own)})
    mm3 = volume.grid.voxel_volume_mm3
    left, right, whole = (mask_volume_mm3(mask, mm3) for mask in (labels == 1, labels == 2, icv))
    write_tsv(names.morph, volume_table(left, right, whole, hypothalamus_flags=flags, icv_flags=()))
    quality = {"contrast": 1.1, "contrast_to_noise": 20.0, "ghosting": float("nan"), "removed_share": 0.0}
    record = morph_sidecar(names.scan, made_by, names.files[:-1]) | image_record(np.eye(3), quality)
    write_json(json_of(names.morph), record)
