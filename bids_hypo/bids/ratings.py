"""Ratings of scans, as the report pages save them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bids_hypo.bids.columns import fold, is_missing
from bids_hypo.bids.entities import image_name, shorten
from bids_hypo.bids.tsv import TableError, lines_of_rows, read_table
from bids_hypo.errors import NoInputError

BAD = "bad"
RATINGS = ("good", "doubtful", BAD)
_RATING_COLUMNS = ("source_file", "rating", "note")


def read_ratings(path: Path) -> pd.DataFrame:
    """Read ratings made on the report pages.

    Parameters
    ----------
    path : Path
        Columns source_file (path of the image in its dataset), rating (good, doubtful, bad), note.

    Returns
    -------
    DataFrame
        source_file, rating, note and ``image``, the name of the image, for the form of its path may differ.

    Raises
    ------
    NoInputError
        If there is no such file.
    TableError
        If a column is missing, a rating is unknown or has no image, or a scan has two different ones.
    """
    if not path.is_file():
        raise NoInputError(f"{path}: there is no such file; expected ratings ({', '.join(_RATING_COLUMNS)}).")
    table = read_table(path, _RATING_COLUMNS[:2])
    table = table.assign(note=table.get("note")).loc[:, list(_RATING_COLUMNS)]
    table = table[~table["rating"].map(is_missing)]
    nameless = table.index[table["source_file"].map(is_missing)]
    if len(nameless):
        where = lines_of_rows(path, nameless)
        raise TableError(
            f"{path}: line {where} has a rating and no source_file; expected the path of an image. Add it, or remove "
            "the line."
        )
    table["image"] = table["source_file"].map(image_name)
    table["rating"] = table["rating"].map(fold)
    unknown = set(table["rating"]) - set(RATINGS)
    if unknown:
        raise TableError(f"{path}: unknown rating {shorten(unknown)}; expected {', '.join(RATINGS)}.")
    table = table.drop_duplicates(["image", "rating"], keep="last")
    twice = table.loc[table.duplicated("image"), "image"]
    if len(twice):
        raise TableError(f"{path}: two different ratings of {shorten(twice)}; expected one a scan. Remove one.")
    return table
