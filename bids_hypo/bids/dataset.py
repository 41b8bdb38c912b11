"""The output folder as a BIDS derivative dataset: its top-level files, tables and crash files."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from bids_hypo.bids.description import describe_dataset
from bids_hypo.bids.entities import RAW_LINK, MissingScan, Scan
from bids_hypo.bids.links import check_writes_stay
from bids_hypo.bids.names import LOGS, crash_file, sidecar
from bids_hypo.bids.places import check_can_be_made
from bids_hypo.bids.sidecars import SOFTWARE_NAME, write_json
from bids_hypo.bids.tsv import TableError, formula_like, read_table, table_text
from bids_hypo.errors import CannotCreateError
from bids_hypo.files import read_json
from bids_hypo.image.volume import write_bytes
from bids_hypo.structures import Part
from bids_hypo.untrusted import visible

_log = logging.getLogger(__name__)

# What BIDS has no name for (yet); the validator would call it an error. Folders without a slash: the validator
# does not match "figures/" with a folder further down.
_BIDSIGNORE = ("*.html", "logs", "figures", "*_morph.tsv", "*_morph.json", "group_*")

_README = """\
Volumes of structures of the brain and of the intracranial space, measured in MRI by bids_hypo.

sub-*/[ses-*/]anat/ holds for every image that was measured, on its own grid:
  *_space-orig_seg-<structure>_dseg.nii.gz       the parts of a structure, numbers as in dseg.tsv
  *_space-orig_label-<structure>_mask.nii.gz     the whole structure
  *_space-orig_label-<structure>_probseg.nii.gz  probabilities, a frame a part
  *_space-orig_label-ICV_mask.nii.gz             intracranial volume (of T1-weighted images)
  *_desc-volumetric_morph.tsv                    volumes in mm^3; flags are reasons to look before use
  *_desc-ensemble_*                              of sessions with several kinds of image: their mean
For images other than T1w their suffix stands in place of orig (space-UNIT1, space-FLAIR), in the name of the table
too. The JSON file beside each of them names the source image, the models with their checksums, the software
and the device. logs/ has one crash-*.txt for each image that could not be processed.
Left and right are the subject's. Flags warn; they never remove a result.
"""
_LABEL_COLUMNS = ("index", "name", "abbreviation", "color", "mapping")


def prepare_output(
    output_dir: str | Path, bids_dir: str | Path, *, command_version: str, parts: Iterable[Part] = (),
    maps: Mapping[str, Path] | None = None,
) -> Path:  # fmt: skip
    """Make the output folder and its dataset-level files. Several jobs may do so at once.

    Parameters
    ----------
    output_dir : path-like
        Where the derivatives go; made if absent.
    bids_dir : path-like
        The input dataset.
    command_version : str
        Version of bids_hypo, for GeneratedBy.
    parts : iterable of Part
        What label images may hold, for dseg.tsv. Others that an earlier run has listed stay listed.
    maps : mapping of str to Path, optional
        Further datasets that images come from, by their keys in DatasetLinks.

    Returns
    -------
    Path
        The output folder, absolute.

    Raises
    ------
    CannotCreateError
        If the folder cannot be made or written, is the input or lies inside it (other than in its derivatives
        folder), or holds the dataset of another program.
    """
    output, source = Path(os.path.abspath(output_dir)), Path(os.path.abspath(bids_dir))
    check_output(output, source)
    _check_writable(output)
    previous = _previous_description(output)
    description = describe_dataset(output, source, command_version=command_version, maps=maps or {})
    old_links = previous.get("DatasetLinks", {})
    description["DatasetLinks"] = {**old_links, **description["DatasetLinks"]}  # of maps given to an earlier run
    for key, place in ((RAW_LINK, source), *(maps or {}).items()):
        if old_links.get(key) not in (None, description["DatasetLinks"][key]):
            _log.warning("%s: this output folder was made from %s, and is given %s now. Two datasets in one folder get "
                         "mixed up: choose another output folder.", output, old_links[key], place)  # fmt: skip
    try:
        _write_if_different(output / "dataset_description.json", _json_text(description))
        _write_if_different(output / "dseg.tsv", table_text(_label_table(output / "dseg.tsv", parts)))
        _add_lines(output / ".bidsignore", _BIDSIGNORE)
        if not any((output / name).exists() for name in ("README", "README.md", "README.rst", "README.txt")):
            _write_if_different(output / "README", _README)
    except OSError as error:
        raise CannotCreateError(_unwritable(output, error)) from error
    return output


def check_output(output_dir: str | Path, bids_dir: str | Path) -> None:
    """Refuse what `prepare_output` refuses, as far as that can be known without writing anything.

    Parameters
    ----------
    output_dir, bids_dir : path-like

    Raises
    ------
    CannotCreateError
    """
    output, source = Path(os.path.abspath(output_dir)), Path(os.path.abspath(bids_dir))
    _check_place(output, source)
    check_can_be_made(output)
    check_writes_stay(output / LOGS, output)
    _previous_description(output)


def _check_place(output: Path, source: Path) -> None:
    # Links are followed here, so that no link leads into the input by a back door.
    inner, outer = output.resolve(), source.resolve()
    advice = f"Choose a folder outside the dataset, or {source / 'derivatives' / SOFTWARE_NAME}."
    if inner == outer:
        raise CannotCreateError(f"{output}: the output folder is the input dataset {source} itself. {advice}")
    if outer in inner.parents and outer / "derivatives" not in inner.parents:
        raise CannotCreateError(f"{output}: the output folder lies inside the input dataset {source}. {advice}")


def _check_writable(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise CannotCreateError(_unwritable(output, error)) from error


def _unwritable(output: Path, error: OSError) -> str:
    return f"{output}: the output folder cannot be made or written ({error}). Choose another, or check its permissions."


def _previous_description(output: Path) -> dict[str, Any]:
    """The dataset_description.json of an earlier run; refuses the one of another program."""
    path = output / "dataset_description.json"
    if not path.exists():
        return {}
    try:
        previous = read_json(path)
        makers = [maker.get("Name") for maker in previous.get("GeneratedBy", [])]
        links = previous.get("DatasetLinks", {})
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CannotCreateError(
            f"{path}: there already, but unreadable ({error}). Remove it if the folder is an earlier output of "
            f"{SOFTWARE_NAME}; choose another folder if not."
        ) from error
    if SOFTWARE_NAME not in makers:
        raise CannotCreateError(
            f"{output}: already holds a dataset that {SOFTWARE_NAME} did not make (GeneratedBy: {makers or 'none'}). "
            "Choose an empty folder, or one of an earlier run."
        )
    return previous if isinstance(links, dict) else {}


def _label_table(path: Path, parts: Iterable[Part]) -> pd.DataFrame:
    """The table of labels with these parts, and with those of other numbers and names that it lists already."""
    rows = [{**asdict(part), "mapping": part.index} for part in parts]
    columns = list(_LABEL_COLUMNS)
    ours = pd.DataFrame(rows, columns=columns)
    if not path.is_file():
        return ours
    try:
        listed = read_table(path, columns)[columns].astype({"index": int, "mapping": int})
    except (TableError, ValueError, TypeError):  # not a table of ours any more
        return ours
    before = dict(zip(listed["index"], listed["name"], strict=True))
    for row in rows:
        if before.get(row["index"], row["name"]) != row["name"]:
            _log.warning("%s: the number %d meant %s before and means %s now. Images that are not measured again keep "
                         "the old meaning; measure them with --overwrite.",
                         path, row["index"], before[row["index"]], row["name"])  # fmt: skip
    others = listed[~listed["index"].isin(ours["index"]) & ~listed["name"].isin(ours["name"])]
    return pd.concat([ours, others]).sort_values("index", kind="stable") if len(others) else ours


def _json_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _write_if_different(path: Path, text: str) -> None:
    payload = text.encode()
    try:
        if path.read_bytes() == payload:
            return
    except OSError:
        pass
    write_bytes(path, payload)


def _add_lines(path: Path, lines: tuple[str, ...]) -> None:
    """Add lines to a text file that a user may have lengthened."""
    present = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    _write_if_different(path, "".join(f"{line}\n" for line in [*present, *(x for x in lines if x not in present)]))


def write_crash(output_dir: str | Path, scan: Scan | MissingScan, text: str) -> Path:
    """Write why a scan failed to ``logs/crash-<scan>.txt``.

    Parameters
    ----------
    output_dir : path-like
    scan : Scan or MissingScan
    text : str
        Message and traceback.

    Returns
    -------
    Path
    """
    path = crash_file(output_dir, scan)
    write_bytes(path, (visible(text.rstrip("\n"), keep="\n") + "\n").encode())
    return path


def clear_crash(output_dir: str | Path, scan: Scan | MissingScan) -> None:
    """Remove the crash file of an earlier run once the scan has succeeded."""
    crash_file(output_dir, scan).unlink(missing_ok=True)


def write_described_tsv(path: str | Path, table: pd.DataFrame, columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a table and, beside it, the JSON that explains its columns.

    Cells that a spreadsheet would take for formulas stay as they are, for the table has to be true to the data; the
    JSON says in which columns they are (``FormulaLikeCells``), and so does a warning.

    Parameters
    ----------
    path : path-like
    table : DataFrame
        Its index is not written.
    columns : mapping
        What is known of each column.
    """
    path = Path(path)
    marks = formula_like(table)
    if marks:
        _log.warning(
            "%s: %d cells (in %s) begin with = + - or @, as formulas do; in a spreadsheet, import the table as text.",
            path, sum(marks.values()), ", ".join(marks),
        )  # fmt: skip
    write_tsv(path, table)
    marked = {name: {**about, **({"FormulaLikeCells": marks[name]} if name in marks else {})}
              for name, about in columns.items()}  # fmt: skip
    write_json(sidecar(path), marked)


def write_tsv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table the way BIDS wants it: tabs, UTF-8, LF, ``n/a`` for missing values; in one step.

    Parameters
    ----------
    path : path-like
    table : DataFrame
        Its index is not written.
    """
    write_bytes(path, table_text(table).encode())
