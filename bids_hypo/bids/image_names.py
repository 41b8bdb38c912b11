"""Which files of a dataset have the name of an image to measure."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from bids_hypo.bids.entities import DERIVATIVE_ENTITIES, SIGNED_SUFFIXES, Scan, split_name
from bids_hypo.bids.names import EDITED_DESC, JOINT

_OF_MAPS = frozenset({"space", "desc", "res"})  # entities that an image to measure may have in a dataset of derivatives
# desc- of maps that a separation of sources makes: of one kind of source, or of both without their sign
_SOURCES = frozenset({"paramagnetic", "diamagnetic", "total", "para", "dia"})
_TEMPLATE = re.compile("MNI|ICBM|fsaverage|fsLR|Talairach|OASIS|NKI|NIHPD|UNCInfant|PNC|RESILIENT|IXI", re.IGNORECASE)

_log = logging.getLogger(__name__)


def scans_of(paths: Iterable[Path], root: Path, *, derived: bool) -> list[Scan]:
    """Turn paths into scans; twins are reduced to one, and what is no image to measure is left out, with a line.

    Parameters
    ----------
    paths : iterable of Path
    root : Path
        The dataset.
    derived : bool
        Whether it may hold derivatives, such as maps: images with ``space-``, ``desc-`` and ``res-``, if not in the
        space of a template. Susceptibility maps of one kind of source alone (``desc-paramagnetic``) are left out.
    """
    scans: dict[str, Scan] = {}
    in_templates, of_one_source = [], []
    for path in sorted(paths):
        try:
            entities, suffix = _parts_of_name(path, root, derived=derived)
        except ValueError as error:
            _log.warning("%s: left out, not the name of an image to measure in BIDS: %s.", path, error)
            continue
        if derived and _TEMPLATE.match(entities.get("space", "")):
            in_templates.append(path)
            continue
        if suffix in SIGNED_SUFFIXES and entities.get("desc", "").lower() in _SOURCES:
            of_one_source.append(path)
            continue
        scan = Scan(path=path, entities=entities, suffix=suffix, dataset_root=root)
        twin = scans.get(scan.name)
        if twin is None:
            scans[scan.name] = scan
            continue
        kept, dropped = (scan, twin) if path.name.endswith(".gz") else (twin, scan)
        _log.warning("%s: there is also %s; only the first is used. Delete one.", kept.path, dropped.path.name)
        scans[scan.name] = kept
    if in_templates:
        _log.warning("%s: %d image(s) left out, such as %s: in the space of a template, where volumes are not the "
                     "person's.", root, len(in_templates), in_templates[0].relative_to(root))  # fmt: skip
    if of_one_source:
        _log.warning("%s: %d image(s) left out, such as %s: of paramagnetic or diamagnetic sources alone, or of the "
                     "sizes of both.", root, len(of_one_source), of_one_source[0].relative_to(root))  # fmt: skip
    return sorted(scans.values(), key=lambda scan: str(scan.path))


def _parts_of_name(path: Path, root: Path, *, derived: bool) -> tuple[dict[str, str], str]:
    entities, suffix, _ = split_name(path.name)
    folders = path.relative_to(root).parts[:-1]
    expected = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities] + ["anat"]
    if list(folders) != expected:
        raise ValueError(f"the name belongs in {'/'.join(expected)}, the file lies in {'/'.join(folders)}")
    foreign = (DERIVATIVE_ENTITIES - (_OF_MAPS if derived else frozenset())) & entities.keys()
    if foreign:
        where = "is not that of an image to measure" if derived else "only occurs in derivatives"
        raise ValueError(f"{', '.join(sorted(foreign))} {where}")
    if entities.get("desc", "").rpartition(JOINT)[2] == EDITED_DESC:
        raise ValueError(f"desc-{entities['desc']} is kept for masks that a person corrected; give it another desc-")
    return entities, suffix
