"""What a derivative dataset holds: the scans that were finished, and the datasets that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bids_hypo.bids.entities import PLAIN_SUFFIX, RAW_LINK, Scan, sort_entities, split_name
from bids_hypo.bids.names import JOINT, TABLE_DESC, OutputNames, output_names
from bids_hypo.files import DAMAGED, read_json
from bids_hypo.structures import DEFAULT_STRUCTURES


def find_written(
    output_dir: str | Path, dataset_root: str | Path, folders: Iterable[Path] | None = None
) -> list[OutputNames]:
    """The scans of which a derivative dataset holds a finished table of volumes.

    Parameters
    ----------
    output_dir : path-like
    dataset_root : path-like
        The input dataset that most of their sources lie in.
    folders : iterable of Path, optional
        The ``anat`` folders to look in; all unless given.

    Returns
    -------
    list of OutputNames
        In the order of their names, each with the structures that were measured.
    """
    output_dir = Path(output_dir)
    roots = {**linked_datasets(output_dir), RAW_LINK: Path(dataset_root)}
    found = []
    paths = closing_files(output_dir) if folders is None else (p for one in folders for p in closing_in(one))
    for path in paths:
        try:
            record = read_json(path)
            link, _, relative = record["Sources"][0].removeprefix("bids:").partition(":")
            entities, suffix, _ = split_name(relative.rpartition("/")[2])
            scan = Scan(roots[link] / relative, entities, suffix, roots[link], link)
            found.append(output_names(scan, output_dir, structures_of(record)))
        except DAMAGED:
            continue  # half a set: the scan will be done again
    return sorted(found, key=lambda names: names.scan.name)


def structures_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The structures that the JSON of a table of volumes tells of; version 0.1 knew one only and did not name it.

    Raises
    ------
    ValueError
        If a name is none that a file may have.
    """
    names = tuple(record.get("Structures", DEFAULT_STRUCTURES))
    if not all(isinstance(name, str) and name.isalnum() for name in names):
        raise ValueError("Structures holds what is no name of a structure")
    return names


def linked_datasets(output_dir: Path) -> dict[str, Path]:
    """The datasets on this machine that a derivative dataset links to (DatasetLinks), by their keys."""
    try:
        links = read_json(output_dir / "dataset_description.json").get("DatasetLinks", {})
        urls = {str(key): str(url) for key, url in links.items()}
    except (*DAMAGED, AttributeError):
        return {}
    local = {key: unquote(urlsplit(url).path) for key, url in urls.items() if urlsplit(url).scheme in ("", "file")}
    return {key: (output_dir / path).resolve() for key, path in local.items()}


def scan_of_table(path: Path, dataset_root: Path) -> Scan:
    """The scan that a table of volumes is about, by the table's name (see `output_names`); its path is the table's.

    Raises
    ------
    ValueError, KeyError
        If it is not the name of such a table.
    """
    entities, _, _ = split_name(path.name)
    own_desc, _, desc = entities.pop("desc").rpartition(JOINT)
    if desc != TABLE_DESC:
        raise ValueError(f"{path.name} is not the name of a table of volumes")
    own_space, _, suffix = entities.pop("space", PLAIN_SUFFIX).rpartition(JOINT)
    own = {key: label for key, label in (("space", own_space), ("desc", own_desc)) if label}
    return Scan(path=path, entities=sort_entities({**entities, **own}), suffix=suffix, dataset_root=dataset_root)


def closing_in(folder: Path) -> list[Path]:
    """The files that close the set of each scan in an ``anat`` folder, in no order."""
    return list(folder.glob(f"*_desc-*{TABLE_DESC}_morph.json"))


def closing_files(output_dir: str | Path) -> list[Path]:
    """The files that close the set of each scan of a derivative dataset (the JSON of its table), in no order."""
    pattern, root = f"anat/*_desc-*{TABLE_DESC}_morph.json", Path(output_dir)
    return [*root.glob(f"sub-*/{pattern}"), *root.glob(f"sub-*/ses-*/{pattern}")]
