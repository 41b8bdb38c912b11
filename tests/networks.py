"""Models of which only the bookkeeping is looked at."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bids_hypo.models.catalog import Catalog
from bids_hypo.structures import HYPOTHALAMUS
from bids_hypo.workflow.scan import Models


def models_of(folder: Path, networks: tuple[Any, ...], head: Any = None) -> Models:
    """Models of the hypothalamus with anything in place of networks; its bundle has this folder."""
    anatomy = SimpleNamespace(name="anatomy", folder=folder / "anatomy", suffixes=("T1w",), measures_icv=True)
    bundle = SimpleNamespace(name=HYPOTHALAMUS, folder=folder, suffixes=("T1w",))
    catalog = Catalog((anatomy,), None, {HYPOTHALAMUS: bundle})
    return Models(catalog, {str(anatomy.folder): (head,), str(folder): networks}, "cpu")
