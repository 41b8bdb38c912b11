"""Reading JSON files that others wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """What a JSON file holds; a byte order mark is forgiven.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError
        If it cannot be opened: absent, a dangling link, a folder, not permitted.
    ValueError
        If it is not JSON in UTF-8, or nested more deeply than can be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
