"""Ensembles: volumes of a session averaged over its kinds of image; how their files are called, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_hypo.bids.entities import Scan, split_name
from bids_hypo.bids.names import OutputNames, StructureNames, bids_uri, described, sidecar
from bids_hypo.bids.sidecars import SOFTWARE_NAME, morph_table_dictionary

ENSEMBLE = "ensemble"  # the label of desc- in names of files, and the kind of image in tables of the group level
TABLES = f"anat/*_desc-{ENSEMBLE}_morph.tsv"  # below the folder of a subject or a session
FROM_PROBABILITIES, FROM_VOLUMES = "mean of the probabilities", "mean of the volumes"


@dataclass(frozen=True)
class EnsembleNames:
    """Paths of the ensemble of a session.

    Attributes
    ----------
    table : Path
        ``sub-01_ses-1_desc-ensemble_morph.tsv``
    """

    table: Path

    def images_of(self, first: StructureNames) -> tuple[Path, Path]:
        """Labels and mask of a structure, called like those of the first image with ``desc-ensemble``."""
        return described(first.dseg, ENSEMBLE), described(first.mask, ENSEMBLE)

    def files_in(self, record: Mapping[str, Any]) -> list[Path]:
        """The files that a record of an ensemble lists, and those beside the table."""
        listed = record.get("Files")
        names = [str(name) for name in listed] if isinstance(listed, dict) else []
        ours = [name for name in names if f"_desc-{ENSEMBLE}_" in name or f"+{ENSEMBLE}_" in name]
        beside = (self.table.parent / name for name in ours if "/" not in name)
        return list(dict.fromkeys([*beside, self.table, sidecar(self.table)]))


def ensemble_names(anat_dir: Path, output_dir: Path) -> EnsembleNames:
    """The ensemble of a session, by the folder of its results."""
    session = "_".join(anat_dir.relative_to(output_dir).parts[:-1])
    return EnsembleNames(anat_dir / f"{session}_desc-{ENSEMBLE}_morph.tsv")


def scan_of_ensemble(path: Path, dataset_root: Path) -> Scan:
    """The table of an ensemble as if it were that of a scan: ``sub-01_ses-1_ensemble``.

    Raises
    ------
    ValueError, KeyError
        If it is not the name of such a table.
    """
    entities, _, _ = split_name(path.name)
    if entities.pop("desc") != ENSEMBLE or not {"sub"} <= set(entities) <= {"sub", "ses"}:
        raise ValueError(f"{path.name}: no name of a table of an ensemble")
    return Scan(path, entities, ENSEMBLE, dataset_root)


def image_sidecar(members: Sequence[OutputNames], files: Sequence[Path], version: str, what: str) -> dict[str, Any]:
    """JSON of an image of an ensemble.

    Parameters
    ----------
    members : sequence of OutputNames
        The images that were averaged; the first one's grid is meant.
    files : sequence of Path
        What was averaged.
    version : str
        Of the software.
    what : str
        What the image is.
    """
    titles = ", ".join(one.scan.suffix for one in members)
    return {
        "Description": f"{what}, by the probabilities averaged over {titles}, on the grid that these share.",
        "Sources": _sources(members, files),
        "SpatialReference": bids_uri(members[0].scan),
        "Manual": False,
        "GeneratedBy": [{"Name": SOFTWARE_NAME, "Version": version}],
    }


def table_sidecar(
    members: Sequence[OutputNames], records: Sequence[Mapping[str, Any]], structures: Mapping[str, Mapping[str, Any]],
    version: str,
) -> dict[str, Any]:  # fmt: skip
    """JSON of the table of an ensemble, without its checksums.

    Parameters
    ----------
    members : sequence of OutputNames
        All images that were averaged for any structure.
    records : sequence of mapping
        The JSON of their tables.
    structures : mapping of str to mapping
        For each structure its title, parts, images and method.
    version : str
    """
    models = {role: model for record in records for role, model in record.get("Models", {}).items()}
    columns = morph_table_dictionary()
    columns["volume_mm3"]["Description"] = "Volume averaged over the images named in Structures"
    columns["volume_sd_mm3"]["Description"] = "Standard deviation of the volume between the images"
    return {
        **columns,
        "Description": "Volumes of a session averaged over its kinds of image.",
        "Sources": _sources(members, [one.morph for one in members]),
        "GeneratedBy": [{"Name": SOFTWARE_NAME, "Version": version}],
        "Models": models,
        "Settings": dict(records[0].get("Settings", {})),
        "Structures": {name: dict(about) for name, about in structures.items()},
    }


def _sources(members: Sequence[OutputNames], files: Sequence[Path]) -> list[str]:
    """The images that were measured, then the derivatives that were averaged."""
    own = [f"bids::{path.relative_to(members[0].output_dir).as_posix()}" for path in files]
    return [*(bids_uri(one.scan) for one in members), *own]
