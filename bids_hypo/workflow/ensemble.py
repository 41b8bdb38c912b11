"""Ensembles: the volumes of a session averaged over its kinds of image, such as T1w, FLAIR and R1map.

They follow from the derivatives of the images alone, so they are made at the end of a run, also of one that measures
nothing, and made again when one of the images was measured, corrected or removed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo import __version__
from bids_hypo.bids.checksums import checksums, recorded_checksums
from bids_hypo.bids.columns import natural
from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.ensembles import (
    FROM_PROBABILITIES,
    FROM_VOLUMES,
    EnsembleNames,
    ensemble_names,
    image_sidecar,
    table_sidecar,
)
from bids_hypo.bids.entities import PLAIN_SUFFIX
from bids_hypo.bids.names import OutputNames, sidecar
from bids_hypo.bids.resume import doubt_of_files, files_of, record_or_none
from bids_hypo.bids.sidecars import read_record, read_structures, write_json
from bids_hypo.bids.tables import all_flags, morph_numbers
from bids_hypo.bids.written import closing_in, find_written
from bids_hypo.ending import unless_ending
from bids_hypo.errors import BidsHypoError
from bids_hypo.files import DAMAGED
from bids_hypo.image.drawn import grid_of
from bids_hypo.image.grid import bounding_box, same_grid
from bids_hypo.image.volume import read_labels, write_nifti
from bids_hypo.measure.quality import ensemble_flags
from bids_hypo.measure.volumes import PartVolume, part_volumes, volume_table
from bids_hypo.segmentation.structure import labels_of
from bids_hypo.structures import ICV, Structure, capitalised
from bids_hypo.workflow.edited import read_edited_labels
from bids_hypo.workflow.records import whole_mask

logger = logging.getLogger(__name__)

_KEYS = ["structure", "part", "hemisphere"]


@dataclass(frozen=True)
class Member:
    """An image of a session, with what was measured in it.

    Attributes
    ----------
    names : OutputNames
    record : dict
        JSON of its table of volumes.
    table : DataFrame
        Its volumes.
    """

    names: OutputNames
    record: dict[str, Any]
    table: pd.DataFrame

    @property
    def kind(self) -> str:
        """Kind of image: T1w for UNIT1 too."""
        return PLAIN_SUFFIX if self.names.scan.is_t1 else self.names.scan.suffix

    def rows(self, structure: str) -> pd.DataFrame:
        """The volumes of a structure."""
        return self.table[self.table["structure"] == structure]

    def flags(self, structure: str) -> tuple[str, ...]:
        """The flags of a structure."""
        return all_flags(self.rows(structure)["flags"])


def write_ensembles(output_dir: Path, bids_dir: Path, sessions: Iterable[Path]) -> int:
    """Bring the ensembles of some sessions up to date.

    Parameters
    ----------
    output_dir, bids_dir : Path
    sessions : iterable of Path
        Their ``anat`` folders.

    Returns
    -------
    int
        How many were written. One that cannot be made is told in the log, and the others go on.
    """
    by_session: dict[Path, list[OutputNames]] = {
        folder: [] for folder in sessions
        if len(closing_in(folder)) > 1 or _is_there(ensemble_names(folder, output_dir).table)
    }  # fmt: skip
    for names in find_written(output_dir, bids_dir, by_session) if by_session else ():
        if names.anat_dir in by_session:  # else its record tells of another session
            by_session[names.anat_dir].append(names)
    n_written = 0
    for folder, session in by_session.items():
        try:
            n_written += write_ensemble(ensemble_names(folder, output_dir), session)
        except (BidsHypoError, *DAMAGED) as error:
            logger.warning("%s: no ensemble of the images of this session (%s).", folder, error)
    return n_written


def _is_there(path: Path) -> bool:
    """Whether a file exists; none can be seen in a folder that is closed, and its scans are told elsewhere."""
    try:
        return path.exists()
    except PermissionError:
        return False


def write_ensemble(place: EnsembleNames, session: Sequence[OutputNames]) -> bool:
    """Write the ensemble of a session; remove one that its images do not give any more.

    Parameters
    ----------
    place : EnsembleNames
        Its files.
    session : sequence of OutputNames
        Its finished scans.

    Returns
    -------
    bool
        Whether something was written.
    """
    before = record_or_none(sidecar(place.table))
    members = _members(session) if len({names.scan.suffix for names in session}) > 1 else []
    chosen = {name: one for name in _structures(members) if len(one := choose_members(members, name)) > 1}
    inputs = _inputs(chosen)
    if chosen and before and before.get("Inputs") == inputs and not _damaged(session[0], before):
        return False
    for path in place.files_in(before or {}):
        path.unlink(missing_ok=True)
    if not chosen:
        return False
    volumes, about, images = {}, {}, []
    for name, some in chosen.items():
        volumes[name], about[name], more = _averaged(name, some, place)
        images += more
    _write_table(place, volumes, about, (chosen, inputs), images)
    return True


def _members(session: Sequence[OutputNames]) -> list[Member]:
    found = []
    for names in sorted(session, key=lambda one: (not one.scan.is_t1, natural(one.scan.name))):
        record = read_record(sidecar(names.morph))
        if isinstance(record.get("Structures"), dict):  # version 0.1 does not say what it measured
            found.append(Member(names, record, morph_numbers(names.morph)))
    return found


def _structures(members: Sequence[Member]) -> list[str]:
    return list(dict.fromkeys(name for one in members for name in one.record["Structures"] if name != ICV))


def choose_members(members: Sequence[Member], structure: str) -> list[Member]:
    """One image of each kind that the structure was measured on.

    Of several of a kind the first without flags, by run and name, else the first.
    """
    best: dict[str, Member] = {}

    def rank(one: Member) -> tuple:
        scan = one.names.scan
        return bool(one.flags(structure)), natural(scan.entities.get("run")), natural(scan.name)

    for one in members:
        if structure in one.record["Structures"] and len(one.rows(structure)):
            other = best.get(one.kind)
            best[one.kind] = one if other is None or rank(one) < rank(other) else other
    return list(best.values())


def _inputs(chosen: Mapping[str, Sequence[Member]]) -> dict[str, dict[str, str | None]]:
    """What an ensemble depends on: for each structure the checksums of tables and images, corrected ones too."""
    found: dict[str, dict[str, str | None]] = {}
    for name, members in chosen.items():
        found[name] = {}
        for one in members:
            listed = recorded_checksums(one.record) or {}
            wanted = [one.names.morph.name, *files_of(one.names, name)]
            found[name] |= {file: listed.get(file) for file in wanted}
            edited = one.record.get("Edited", {}).get(name)
            found[name] |= {edited["File"]: edited["SHA256"]} if edited else {}
    return found


def _damaged(names: OutputNames, record: Mapping[str, Any]) -> bool:
    return doubt_of_files(names, record, list(recorded_checksums(record) or {"": ""})) is not None


def _averaged(
    name: str, members: Sequence[Member], place: EnsembleNames
) -> tuple[tuple[list[PartVolume], tuple[str, ...]], dict[str, Any], list[Path]]:
    """Volumes and flags of a structure, what is recorded of it, and the images that were written."""
    structures = [read_structures(one.record)[name] for one in members]
    structure = structures[0]
    images: list[Path] = []
    volumes = _mean_volumes(name, members)
    shared = all(one.parts == structure.parts for one in structures) and _share_grid(name, members)
    if shared:
        counts, images = _write_images(structure, members, place)
        spread = {(one.part, one.hemisphere): one.volume_sd_mm3 for one in volumes}
        volumes = [PartVolume(one.part, one.hemisphere, one.volume_mm3, spread.get((one.part, one.hemisphere)))
                   for one in part_volumes(structure, counts)]  # fmt: skip
    flags = ensemble_flags(volumes, structure.plausible, (flag for one in members for flag in one.flags(name)))
    entry = members[0].record["Structures"][name]
    about = {key: entry[key] for key in ("Title", "Parts", "Plausible", "Sums") if key in entry}
    about |= {"Images": [one.names.scan.name for one in members],
              "Method": FROM_PROBABILITIES if shared else FROM_VOLUMES}  # fmt: skip
    return (volumes, flags), about, images


def _mean_volumes(name: str, members: Sequence[Member]) -> list[PartVolume]:
    """Mean and SD of the rows that all tables have."""
    rows = pd.concat([one.rows(name) for one in members])
    found = rows.groupby(_KEYS, sort=False, dropna=False)["volume_mm3"].agg(["count", "mean", "std"]).reset_index()
    found = found[found["count"] == len(members)]
    sides = [None if pd.isna(side) else str(side) for side in found["hemisphere"]]
    each = zip(found["part"], sides, found["mean"], found["std"], strict=True)
    return [PartVolume(str(part), side, float(mean), float(sd)) for part, side, mean, sd in each]


def _share_grid(name: str, members: Sequence[Member]) -> bool:
    labels = [one.names.structure(name).dseg for one in members]
    if not all(path.is_file() for path in labels):  # tables without images, as of a study that keeps no more
        return False
    first, *others = map(grid_of, labels)
    return all(same_grid(first, other) for other in others)


def _write_images(
    structure: Structure, members: Sequence[Member], place: EnsembleNames
) -> tuple[list[float | None], list[Path]]:
    """Labels and mask by the mean of the probabilities; the volume of each part in mm3, and the files."""
    total = sum(_probability(structure, one) for one in members)
    mean = np.asarray(total) / np.float32(len(members))
    first = members[0].names.structure(structure.name)
    box = bounding_box(mean.max(axis=-1) > 0)
    labels, volumes_mm3 = labels_of(mean[box], box, grid_of(first.dseg), structure)
    dseg, mask = place.images_of(first)
    names = [one.names for one in members]
    averaged = [one.structure(structure.name).probseg for one in names]
    title = capitalised(structure.title)
    for path, data, what, more in (
        (dseg, labels, f"{title}, its parts by the numbers of dseg.tsv", {}),
        (mask, whole_mask(labels, structure), f"{title}, all of it", {"Type": "ROI"}),
    ):
        write_nifti(path, data, np.eye(4), like=first.dseg)
        write_json(sidecar(path), image_sidecar(names, averaged, __version__, what) | more)
    return volumes_mm3, [file for path in (dseg, mask) for file in (path, sidecar(path))]


def _probability(structure: Structure, member: Member) -> np.ndarray:
    """Probabilities of the parts, (X, Y, Z, P) float32; where a person corrected them, 0 and 1."""
    if structure.name in member.record.get("Edited", {}):
        labels = read_edited_labels(member.names, structure)
        return np.stack([labels == part.index for part in structure.parts], axis=-1).astype(np.float32)
    found = read_labels(member.names.structure(structure.name).probseg)
    return found.reshape(*found.shape[:3], -1).astype(np.float32, copy=False)


def _write_table(
    place: EnsembleNames, volumes: Mapping[str, tuple[list[PartVolume], tuple[str, ...]]],
    about: Mapping[str, dict[str, Any]], came_from: tuple[Mapping[str, Sequence[Member]], dict[str, Any]],
    images: Sequence[Path],
) -> None:  # fmt: skip
    """The table, and last its JSON, which closes the set."""
    chosen, inputs = came_from
    every = {one.names.scan.name: one for members in chosen.values() for one in members}
    members, records = [one.names for one in every.values()], [one.record for one in every.values()]
    with unless_ending():
        write_tsv(place.table, volume_table(volumes))
        content = table_sidecar(members, records, about, __version__)
        write_json(sidecar(place.table), {**content, "Inputs": inputs, "Files": checksums([*images, place.table])})
