"""What is shown and handed out of the files that the core wrote: tables and zips."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from bids_hypo.bids import tables
from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.names import OutputNames, sidecar
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.sidecars import read_record, read_structures
from bids_hypo.gui.texts import text
from bids_hypo.models.catalog import find_models
from bids_hypo.report.norms import measures_of
from bids_hypo.stats.table import ICV, NORMALISED, SIDES, VOLUME, normalise
from bids_hypo.structures import ICV as ICV_NAME

MISSING = "n/a"
REFERENCE_RANGE_CM3 = (500.0, 3000.0)
BATCH_COLUMNS = (
    "file", "participant_id", "session_id", "run", "scan", "source_file", "structure", "title", "part", "left_mm3",
    "right_mm3", "volume_mm3", "volume_sd_mm3", "icv_mm3", "icv_sd_mm3", "icv_source", "flags", "models",
)  # fmt: skip


def default_reference_cm3() -> float:
    """The published mean ICV of controls."""
    return next(one.mean_mm3 / 1000 for head in find_models().heads for one in head.published)


def titles_of(names: OutputNames, rows: list[dict[str, str]]) -> list[str]:
    """What each row of a scan's table is about, in words."""
    structures = read_structures(read_record(sidecar(names.morph)))
    titles: dict[tuple[str, str, str | None], str] = {}
    for name in dict.fromkeys(row["structure"] for row in rows if row["structure"] != ICV_NAME):
        own = [(row["part"], None if row["hemisphere"] == MISSING else row["hemisphere"])
               for row in rows if row["structure"] == name]  # fmt: skip
        title = structures[name].title if name in structures else name
        titles |= {measure.row: measure.title for measure in measures_of(name, title, own, ())}
    keys = [(r["structure"], r["part"], None if r["hemisphere"] == MISSING else r["hemisphere"]) for r in rows]
    return [titles.get(key, text("table.ICV_B")) for key in keys]


def read_morph(path: Path) -> list[dict[str, str]]:
    """The rows of a table of volumes, every number as it is written there."""
    return [{key: value or MISSING for key, value in row.items()} for row in tables.read_morph(path)]


def flags_of(rows: list[dict[str, str]]) -> list[str]:
    """All flags of a table of volumes, each once."""
    return list(tables.all_flags(row["flags"] for row in rows if row["flags"] != MISSING))


def normalised_mm3(rows: list[dict[str, str]], reference_cm3: float | None) -> list[float | None]:
    """Volumes of the rows normalised to a reference ICV by the core's equation.

    Parameters
    ----------
    rows : list of dict
        As `read_morph` gives them.
    reference_cm3 : float or None

    Returns
    -------
    list of float or None
        None for the ICV itself, and for all if it or the reference is unknown.
    """
    icv = next((_number(row["volume_mm3"]) for row in rows if row["structure"] == ICV_NAME), np.nan)
    if reference_cm3 is None:
        return [None] * len(rows)
    # A table in which the only control is a head of the reference size.
    volumes = [*(_number(row["volume_mm3"]) for row in rows), np.nan]
    table = pd.DataFrame(
        {VOLUME: volumes, **dict.fromkeys(SIDES, 1.0), ICV: [icv] * len(rows) + [1000 * reference_cm3]}
    )
    control = pd.Series([False] * len(rows) + [True])
    found = normalise(table, control)[0][NORMALISED]
    return [None if row["structure"] == ICV_NAME or np.isnan(value) else float(value)
            for row, value in zip(rows, found, strict=False)]  # fmt: skip


def checked_reference(value: float | None) -> float | None:
    """A reference ICV in cm3 if it can be one, else None."""
    low, high = REFERENCE_RANGE_CM3
    return None if value is None or not low <= value <= high else float(value)


def _number(text: str) -> float:
    return np.nan if text == MISSING else float(text)


def write_batch_table(output_dir: Path, files: Mapping[str, str], path: Path) -> None:
    """Write the table of all scans of a derivative dataset, one row for each scan, structure and part.

    Parameters
    ----------
    output_dir : Path
    files : mapping of str to str
        Names that the user gave the files, by the name of the scan.
    path : Path
        The ``.tsv``.
    """
    table = tables.read_volumes(output_dir, Selection()).table
    table["flags"] = [";".join(flags) or None for flags in table["flags"]]
    table["file"] = [files.get(str(name)) for name in table["scan"]]
    write_tsv(path, table.reindex(columns=list(BATCH_COLUMNS)))


def zip_folder(folder: Path, target: Path, *, only: tuple[str, ...] = ("*",)) -> Path:
    """Pack the files of a folder that match one of some patterns; images are packed already and only stored.

    Parameters
    ----------
    folder : Path
        Becomes the only folder at the top of the zip.
    target : Path
    only : tuple of str
        Patterns for the first part of the paths inside the folder.
    """
    chosen = sorted({path for pattern in only for path in folder.glob(pattern)})
    files = [p for top in chosen for p in ([top] if top.is_file() else sorted(top.rglob("*"))) if p.is_file()]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            packed = zipfile.ZIP_STORED if path.suffix in (".gz", ".png", ".jpg") else zipfile.ZIP_DEFLATED
            archive.write(path, Path(folder.name) / path.relative_to(folder), packed)
    return target
