"""The dataset_description.json of a derivative dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from bids_hypo.bids.entities import RAW_LINK
from bids_hypo.bids.sidecars import SOFTWARE_NAME
from bids_hypo.files import read_json

BIDS_VERSION = "1.11.0"
CONTAINER_VARIABLE = "BIDS_HYPO_CONTAINER"


def describe_dataset(
    output_dir: Path, bids_dir: Path, *, command_version: str, maps: Mapping[str, Path]
) -> dict[str, Any]:
    """Contents of dataset_description.json.

    Parameters
    ----------
    output_dir, bids_dir : Path
        Absolute. The link to the input is relative if the output lies inside it, a file URI if not.
    command_version : str
    maps : mapping of str to Path
        Further datasets, absolute, by their keys.

    Returns
    -------
    dict
    """
    source = _source_description(bids_dir)
    links = {key: _link(path, output_dir) for key, path in {RAW_LINK: bids_dir, **maps}.items()}
    generated: dict[str, Any] = {"Name": SOFTWARE_NAME, "Version": command_version, **_code_url()}
    container = os.environ.get(CONTAINER_VARIABLE, "").strip()
    if container:
        kind, _, tag = container.partition(":")
        generated["Container"] = {"Type": kind, "Tag": tag} if tag else {"Tag": container}
    origin: dict[str, Any] = {"URL": links[RAW_LINK]}
    if isinstance(source.get("DatasetDOI"), str):
        origin["DOI"] = source["DatasetDOI"]
    return {
        "Name": f"bids_hypo derivatives of {source.get('Name') or bids_dir.name}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [generated],
        "DatasetLinks": links,
        "SourceDatasets": [origin, *({"URL": links[key]} for key in maps)],
    }


def _link(dataset: Path, output_dir: Path) -> str:
    """The address of a dataset that the output lies in, relative; of any other a file URI."""
    inside = dataset.resolve() in output_dir.resolve().parents
    return os.path.relpath(dataset.resolve(), output_dir.resolve()) if inside else dataset.as_uri()


def _code_url() -> dict[str, str]:
    """The address of the code as the package's metadata give it; nothing where it has none."""
    try:
        urls = metadata("bids_hypo").get_all("Project-URL") or []
    except PackageNotFoundError:
        return {}
    named = dict(entry.split(", ", 1) for entry in urls if ", " in entry)
    return {"CodeURL": named["Source"]} if "Source" in named else {}


def _source_description(bids_dir: Path) -> dict[str, Any]:
    try:
        content = read_json(bids_dir / "dataset_description.json")
    except (OSError, ValueError):  # validation may have been skipped
        return {}
    return content if isinstance(content, dict) else {}
