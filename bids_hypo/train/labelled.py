"""Labelled scans: images paired with their labels, and how much each label counts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bids_hypo.bids.columns import fold_categories, numbers_or_words
from bids_hypo.bids.entities import T1_SUFFIXES, Scan
from bids_hypo.bids.matching import match_scans, scan_name
from bids_hypo.bids.people import read_participants
from bids_hypo.bids.query import find_scans
from bids_hypo.bids.segmentation_files import read_segmentation
from bids_hypo.bids.segmentations import SegmentationFiles, find_segmentations
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.tsv import TableError, read_table
from bids_hypo.errors import NoInputError, ScanReadError, UsageError
from bids_hypo.image.label_numbers import Labels, Wanted
from bids_hypo.image.parts import Parts, common_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.segmentation import DSEG, read_parts
from bids_hypo.image.volume import Volume
from bids_hypo.structures import BOTH
from bids_hypo.train.levelling import levelled
from bids_hypo.train.settings import Recipe

logger = logging.getLogger(__name__)

LABEL_TABLE = "labels.tsv"


@dataclass(frozen=True)
class LabelledScan:
    """A scan with its labels.

    Attributes
    ----------
    dataset : str
        Name of the folder of its dataset.
    scan : Scan
    files : SegmentationFiles
    wanted : Wanted
        The structure that is labelled.
    group : str
        What folds are balanced by.
    weight : float
        How often it is drawn in training.
    level : float or None
        The certainty that soft labels are brought to, see `bids_hypo.train.levelling.levelled`; None: as they are.
    """

    dataset: str
    scan: Scan
    files: SegmentationFiles
    wanted: Wanted
    group: str = ""
    weight: float = 1.0
    level: float | None = None

    @property
    def name(self) -> str:
        """Dataset and scan, for messages."""
        return f"{self.dataset}/{self.scan.name}"

    @property
    def person(self) -> str:
        """Dataset and subject: scans of one person stay on one side of every division."""
        return f"{self.dataset}/sub-{self.scan.subject}"


def find_labelled(
    bids_dir: Path, labels_dir: Path, wanted: Wanted, *, suffixes: Sequence[str] = T1_SUFFIXES,
    pattern: str | None = None, stratify: str | None = None, weights: pd.DataFrame | None = None,
    level: float | None = None,
) -> list[LabelledScan]:  # fmt: skip
    """Pair the images of a dataset with the segmentations of a folder.

    Parameters
    ----------
    bids_dir : Path
    labels_dir : Path
        Derivatives, or a folder of files; see `bids_hypo.bids.segmentations.find_segmentations`.
    wanted : Wanted
        The structure.
    suffixes : sequence of str
        Kinds of image; of several of one scan the first of these.
    pattern : str, optional
        Where the segmentations are in it.
    stratify : str, optional
        Column of ``participants.tsv`` that folds are balanced by, besides the dataset.
    weights : DataFrame, optional
        Columns ``participant_id`` and ``weight``.
    level : float, optional
        See `bids_hypo.train.levelling.levelled`.

    Returns
    -------
    list of LabelledScan

    Raises
    ------
    NoInputError
        If nothing matches.
    UsageError
        If labels are to be levelled that `bids_hypo_train review` wrote: networks, which are surer, had a part in some.
    """
    table = None if level is None else _label_table(labels_dir)
    if table is not None and "action" in table:
        raise UsageError(
            f"--label-certainty: {labels_dir} was written by 'bids_hypo_train review', which joined some labels with "
            "what networks found; expected labels as they were made. Give the option to review instead."
        )
    scans = _one_kind(find_scans(bids_dir, Selection(), suffixes=suffixes)[0], suffixes)
    files = find_segmentations(labels_dir, wanted, pattern)
    matches = match_scans([s.entities for s in scans], [f.entities for f in files])
    groups = _column(bids_dir, stratify) if stratify else {}
    weight_of = {} if weights is None else dict(zip(weights["participant_id"], weights["weight"], strict=True))
    dataset = bids_dir.resolve().name
    found, n_without_weight = [], 0
    for scan, match in zip(scans, matches, strict=True):
        if match.index is None:
            logger.info("%s: not used for training (%s)", scan.path, match.reason)
            continue
        subject = f"sub-{scan.subject}"
        if weight_of.get(subject, 1.0) <= 0:
            logger.info("%s: not used for training (its label has the weight 0 in %s)", scan.path, LABEL_TABLE)
            n_without_weight += 1
            continue
        group = f"{dataset} {groups.get(subject, '')}".strip()
        weight = float(weight_of.get(subject, 1.0))
        found.append(LabelledScan(dataset, scan, files[match.index], wanted, group, weight, level))
    if n_without_weight and not found:
        raise NoInputError(
            f"{labels_dir}: all {n_without_weight} labels of {bids_dir} have the weight 0 in {LABEL_TABLE}; expected "
            "some above 0. Were they judged by networks that find nothing? Look at them and change the weights."
        )
    if not found:
        raise NoInputError(
            f"{labels_dir}: none of its {len(files)} segmentations belongs to one of the {len(scans)} images of "
            f"{bids_dir}. Do the subject labels agree?"
        )
    return found


def _one_kind(scans: list[Scan], suffixes: Sequence[str]) -> list[Scan]:
    """Of scans that only differ in their suffix, the first: a label of one must not be taken for that of the other."""
    first: dict[str, str] = {}
    for scan in sorted(scans, key=lambda scan: suffixes.index(scan.suffix)):
        first.setdefault(scan_name(scan.entities), scan.suffix)
    return [scan for scan in scans if scan.suffix == first[scan_name(scan.entities)]]


def _column(bids_dir: Path, name: str) -> dict[str, str]:
    table = read_participants(bids_dir)
    if name not in table:
        there = ", ".join(map(str, table.columns))
        raise TableError(f"{bids_dir}/participants.tsv: no column '{name}' to balance the folds by; there are {there}.")
    folding = fold_categories(table[name].dropna(), name)
    told = folding.remark(name, Counter(table[name].dropna()), "rows")
    if told:
        logger.info("%s/participants.tsv: %s", bids_dir, told)
    return dict(zip(table["participant_id"], folding.apply(table[name]).fillna("n/a"), strict=True))


def read_label(item: LabelledScan) -> Parts:
    """Read a label, levelled if the scan says to what."""
    parts = read_segmentation(item.files, item.wanted)
    return parts if item.level is None else levelled(parts, item.level)


def read_classes(item: LabelledScan, recipe: Recipe) -> list[Volume]:
    """Read the labels as one image for each foreground class of a recipe.

    Parameters
    ----------
    item : LabelledScan
    recipe : Recipe
        With ``label_numbers`` the labels are a dseg with these numbers. Otherwise each class is a part of the
        structure; where the network does not tell sides apart, a kind of part on both; and without a structure, the
        only class is everything.

    Returns
    -------
    list of Volume

    Raises
    ------
    ScanReadError
        If the recipe needs parts that the labels do not tell apart.
    """
    if recipe.label_numbers is not None:
        told = [Labels({BOTH: numbers}) for numbers in recipe.label_numbers]
        return [read_parts(item.files.paths, DSEG, labels, item.wanted).of[BOTH] for labels in told]
    parts, kinds = read_label(item), recipe.kinds_as_classes
    try:
        if recipe.structure is not None and kinds is None:
            return parts.each(recipe.structure)
        if kinds is not None and len(kinds) > 1:
            return [_whole(parts.kind(kind)) for kind in kinds]
    except KeyError as error:
        raise _without_parts(item, recipe, parts) from error
    if recipe.n_classes > 1:
        raise _without_parts(item, recipe, parts)
    return [_whole(parts)]


def _without_parts(item: LabelledScan, recipe: Recipe, parts: Parts) -> ScanReadError:
    path = next(iter(item.files.paths.values()))
    kinds = f" with the parts {', '.join(parts.kinds)}" if parts.kinds else ""
    return ScanReadError(
        f"{path}: the recipe has {recipe.n_classes} foreground classes ({', '.join(recipe.labels[1:])}); found "
        f"{'left and right' if parts.has_sides else 'one mask without sides'}{kinds}. Give the recipe 'label_numbers', "
        "or use one with fewer classes."
    )


def _whole(parts: Parts) -> Volume:
    """All parts together, on a grid that holds them."""
    if len(parts.of) == 1:
        return next(iter(parts.of.values()))
    grid = common_grid(parts)
    total = sum((resample(volume, grid).data for volume in parts.of.values()), np.zeros(grid.shape, np.float32))
    return Volume(np.minimum(total, 1), grid.affine)


def label_weights(labels_dir: Path) -> pd.DataFrame | None:
    """Weights of labelled people by the column ``weight`` of ``labels.tsv``; None if there is none.

    The table is in the folder of labels or above it; `bids_hypo_train review` writes one.
    """
    table = _label_table(labels_dir)
    return None if table is None or "weight" not in table else table[["participant_id", "weight"]].fillna(1.0)


def _label_file(labels_dir: Path) -> Path | None:
    return next((p for p in (labels_dir / LABEL_TABLE, labels_dir.parent / LABEL_TABLE) if p.is_file()), None)


def _label_table(labels_dir: Path) -> pd.DataFrame | None:
    path = _label_file(labels_dir)
    if path is None:
        return None
    table = read_table(path, ("participant_id",))
    if "weight" in table:
        table["weight"], told = numbers_or_words(table["weight"], "weight", path, must=True)
        if told:
            logger.info("%s: %s", path, told)
    return table[table["dataset"] == labels_dir.resolve().name] if "dataset" in table else table
