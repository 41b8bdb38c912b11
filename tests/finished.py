"""Scans that look as if participant level had finished them: phantoms with masks, table and sidecars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.bids import OutputNames, Provenance, find_scans, output_names, prepare_output
from bids_hypo.bids.checksums import record_source, stamp_of
from bids_hypo.bids.names import StructureNames
from bids_hypo.bids.selection import Selection
from bids_hypo.image.grid import Grid
from bids_hypo.image.volume import Volume, read_volume
from bids_hypo.measure.image_quality import ImageQuality, RegionQuality
from bids_hypo.measure.volumes import mask_volume_mm3, part_volumes
from bids_hypo.models.catalog import find_models
from bids_hypo.segmentation.pose import Pose
from bids_hypo.segmentation.structure import Delineation
from bids_hypo.structures import HYPOTHALAMUS, ICV, Part, Plausible, Published, Structure
from bids_hypo.workflow.records import Kept, write_images, write_records
from bids_hypo.workflow.scan import Found, Segmentation
from tests.phantoms import HEAD_SHELLS, inside_ellipsoid, make_bids_dataset, world_mm

SIDES_MM = {1: ((-4.5, 0.0, -4.0), (3.6, 6.0, 6.0)), 2: ((4.5, 0.0, -4.0), (3.6, 6.0, 5.0))}
"""Centre and semi-axes of the left and the (smaller) right half."""
POSE = Pose(np.eye(3), np.zeros(3), 1.0, 0.5, ())

HALVES = Structure(
    HYPOTHALAMUS, "hypothalamus",
    (Part(1, "left hypothalamus", "L", "HYP-L", "#E69F00"), Part(2, "right hypothalamus", "R", "HYP-R", "#56B4E9")),
    Plausible((450.0, 1400.0), 60.0, 0.25, 2.0), (Published("B", 852.0, 77.0, "107 controls", "a paper"),),
    "outlined the left and right hypothalamus [@vernikouskaya2023]",
)  # fmt: skip
"""A hypothalamus without parts, as a model may have it; what the tests need to know stands here."""

TRIDENT = Structure(
    "trident", "trident of Poseidon",
    (Part(31, "left prong", "L", "TRI-L", "#E69F00"), Part(32, "right prong", "R", "TRI-R", "#56B4E9"),
     Part(33, "shaft", "M", "TRI-S", "#009E73", in_whole=False)),
    Plausible((100.0, 5000.0), 10.0, 0.5, 2.0), methods="outlined an invented structure", view_mm=40.0,
)  # fmt: skip
"""A structure that no code knows: two sides and a part on the midline, which does not count in the whole."""
_TRIDENT_MM = {31: ((-14.0, 0, 0), (4, 5, 6)), 32: ((14.0, 0, 0), (4, 5, 6)), 33: ((0, 0, 14.0), (5, 5, 4))}


def masks_of(shape: tuple[int, ...], affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the hypothalamus (X, Y, Z) uint8 and intracranial mask (X, Y, Z) bool of the phantom head."""
    points = world_mm(shape, affine)
    return _drawn(points, SIDES_MM), inside_ellipsoid(points, (0, 0, 0), HEAD_SHELLS[2][1])


def trident_of(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Labels of the invented structure, (X, Y, Z) uint8."""
    return _drawn(world_mm(shape, affine), _TRIDENT_MM)


def _drawn(points: np.ndarray, ellipsoids: Mapping[int, tuple]) -> np.ndarray:
    labels = np.zeros(points.shape[:-1], np.uint8)
    for number, (centre, radii) in ellipsoids.items():
        labels[inside_ellipsoid(points, centre, radii)] = number
    return labels


def finished_dataset(
    folder: Path, scans: Iterable[Mapping[str, Any]], *, flags: Mapping[str, tuple[str, ...]] | None = None,
    structures: Iterable[str] = (HYPOTHALAMUS,), suffixes: Iterable[str] = ("T1w", "UNIT1"),
) -> tuple[Path, Path, list[OutputNames]]:  # fmt: skip
    """Write a dataset of phantoms and its derivatives.

    Parameters
    ----------
    folder : Path
    scans : iterable of mappings
        See `tests.phantoms.make_bids_dataset`.
    flags : mapping of str to tuple of str, optional
        Flags of the structures, by subject.
    structures : iterable of str
        ``hypothalamus`` and ``trident``.
    suffixes : iterable of str
        Kinds of image.

    Returns
    -------
    raw, out : Path
    names : list of OutputNames
    """
    raw, out = folder / "raw", folder / "out"
    make_bids_dataset(raw, scans)
    parts = [part for name in structures for part in structure_named(name).parts]
    prepare_output(out, raw, command_version="0.0.test", parts=parts)
    found, _ = find_scans(raw, Selection(), suffixes=tuple(suffixes))
    names = [output_names(scan, out, structures) for scan in found]
    for each in names:
        write_finished(each, (flags or {}).get(each.scan.subject, ()))
    return raw, out, names


def paths_of(names: OutputNames, structure: str = HYPOTHALAMUS) -> StructureNames:
    """The images of one structure of a scan."""
    return names.structures[structure]


def structure_named(name: str) -> Structure:
    """The hypothalamus without parts, or the invented structure."""
    return {one.name: one for one in (HALVES, TRIDENT)}[name]


def delineation_of(structure: Structure, labels: np.ndarray, grid: Grid) -> Delineation:
    """What segmenting gives if these are the labels."""
    probability = np.stack([labels == part.index for part in structure.parts], -1).astype(np.float32)
    counts = [mask_volume_mm3(labels == part.index, grid.voxel_volume_mm3) for part in structure.parts]
    return Delineation(probability, labels, part_volumes(structure, counts), grid, touches_border=False)


def segmentation_of(volume: Volume, names: OutputNames, flags: tuple[str, ...] = ()) -> Segmentation:
    """What segmenting the phantom gives for the structures of some names."""
    points = world_mm(volume.data.shape, volume.affine)
    labels, icv = masks_of(volume.data.shape, volume.affine)
    found = {}
    for name in names.structures:
        structure = structure_named(name)
        drawn = labels if name == HYPOTHALAMUS else _drawn(points, _TRIDENT_MM)
        found[name] = Found(structure, delineation_of(structure, drawn, volume.grid), RegionQuality(1.1, 20.0), flags)
    icv_mm3 = mask_volume_mm3(icv, volume.grid.voxel_volume_mm3)
    return Segmentation(
        POSE, None, icv, icv_mm3, (), ICV in names.items, ImageQuality(float("nan"), 0.0), found,
        find_models().heads[0].published,
    )  # fmt: skip


def write_finished(names: OutputNames, flags: tuple[str, ...] = ()) -> None:
    """Write images, sidecars and table of one scan, as by the shipped models."""
    untouched = stamp_of(names.scan.path)
    volume = read_volume(names.scan.path)
    source = record_source(names.scan.path, untouched)
    found = segmentation_of(volume, names, flags)
    catalog = find_models()
    known = catalog.makers("T1w")
    made_by = {}
    for item in names.items:
        bundles = known.get(item, (catalog.heads[0],))
        models = {
            b.structure.name if b.structure else b.name:
                {"Name": b.name, "Version": b.version, "WeightsSHA256": b.weights_sha256} for b in bundles
        }  # fmt: skip
        if item not in known:
            models[item] = {"Name": item, "Version": "0.1", "WeightsSHA256": "0" * 64}
        seconds = {"read": 0.1, "anatomy": 2.0}
        made_by[item] = Provenance("0.0.test", "cpu", (), seconds, models, {"Fast": False}, source)
    write_images(names, volume, found, icv=ICV in names.items)
    write_records(names, volume, found, made_by, Kept())
