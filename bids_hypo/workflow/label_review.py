"""Labels that may be wrong: what networks that did not see a person find there, and labels corrected by consensus."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.links import check_writes_stay
from bids_hypo.bids.names import output_names
from bids_hypo.bids.reading import read_scan
from bids_hypo.errors import NoInputError, SegmentationError, comma_hint
from bids_hypo.image.grid import Grid
from bids_hypo.image.parts import SIDES, Parts, common_grid, cropped, padded
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume, write_bytes, write_nifti
from bids_hypo.report.html import png_bytes
from bids_hypo.report.outline_figures import OutlineCase, outline_figure
from bids_hypo.structures import BOTH, HYPOTHALAMUS, LEFT, RIGHT
from bids_hypo.train.labelled import LABEL_TABLE, LabelledScan, read_label
from bids_hypo.train.levelling import certainty
from bids_hypo.workflow.accuracy import found_parts, out_of_fold
from bids_hypo.workflow.evaluation_scans import compare_parts
from bids_hypo.workflow.scan import Models, segment_volume

logger = logging.getLogger(__name__)

DOUBTFUL_PERCENT = 12.0  # of volume, about two standard deviations between networks and good labels
DOUBTFUL_DICE = 0.88
DOUBTFUL_ASYMMETRY_PERCENT = 12.0  # between the two asymmetries
HOPELESS_DICE = 0.7
NETWORK_SHARE = 2 / 3  # of the consensus: a network overrules the label where it is more than three quarters sure
KEPT, CORRECTED, LEFT_OUT = "kept", "corrected", "left out"
CASES_PER_PICTURE = 6


@dataclass(frozen=True)
class Review:
    """A person's label beside what was found without it.

    Attributes
    ----------
    item : LabelledScan
    row : dict
        Of the table.
    label : Parts
    found : Parts or None
        None if nothing was found, or the person is in no fold.
    """

    item: LabelledScan
    row: dict[str, Any]
    label: Parts
    found: Parts | None

    @property
    def final(self) -> Parts:
        """What to train on: the label, or its consensus with what was found."""
        if self.row["action"] == CORRECTED and self.found is not None:
            return consensus(self.label, self.found)
        return self.label


def review_labels(
    items: Sequence[LabelledScan], models: Models, out: Path, *, structure: str = HYPOTHALAMUS,
    trusted: Sequence[str] = (),
) -> pd.DataFrame:  # fmt: skip
    """Write a label for every scan, those that are doubtful corrected, with a table and pictures of the doubtful ones.

    Parameters
    ----------
    items : sequence of LabelledScan
    models : Models
        Of the structure: trained in folds, with their division.
    out : Path
        Gets ``labels.tsv`` (`bids_hypo_train fit` reads its weights), ``doubtful-1.png`` ..., and for each dataset a
        folder of probabilities with BIDS names, to be trained on.
    structure : str
    trusted : sequence of str
        People (``dataset/sub-01``) whose labels stay as they are, doubtful or not.

    Returns
    -------
    DataFrame
        One row a scan. People in no fold (set aside for testing) keep their labels, unseen.

    Raises
    ------
    NoInputError
        If a trusted person is not among the items.
    """
    unknown = set(trusted) - {item.person for item in items}
    if unknown:
        raise NoInputError(
            f"--keep {' '.join(sorted(unknown))}: no such person among the {len(items)} labelled scans; expected the "
            f"folder of the dataset and the subject, such as {items[0].person}."
            f"{comma_hint(unknown)}"
        )
    rows, reviewed = [], set()
    pictures = _Pictures(out)
    for review in _reviews(items, models, structure):
        reviewed.add(review.item.name)
        if review.item.person in trusted:
            review.row.update(action=KEPT, weight=1.0)
        rows.append(review.row)
        write_label(review.item, review.final, out, structure)
        if review.row["doubts"]:
            pictures.add(_case(review))
        logger.info("%s: %s %s", review.item.name, review.row["action"], review.row["doubts"])
    pictures.draw()
    for item in items:
        if item.name not in reviewed:
            label = read_label(item)
            rows.append(_identity(item) | _about(label) | {"action": KEPT, "weight": 1.0})
            write_label(item, label, out, structure)
    table = pd.DataFrame(rows).sort_values(["dataset", "scan"], ignore_index=True)
    write_tsv(out / LABEL_TABLE, table)
    return table


class _Pictures:
    """Doubtful labels, a few to a picture, so that no more scans are in memory than a picture holds."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._cases: list[OutlineCase] = []
        self._n_drawn = 0

    def add(self, case: OutlineCase) -> None:
        self._cases.append(case)
        if len(self._cases) == CASES_PER_PICTURE:
            self.draw()

    def draw(self) -> None:
        if self._cases:
            self._n_drawn += 1
            write_bytes(self._out / f"doubtful-{self._n_drawn}.png", png_bytes(outline_figure(self._cases)))
            self._cases = []


def _reviews(items: Sequence[LabelledScan], models: Models, structure: str) -> Iterator[Review]:
    for fold, held_out, network in out_of_fold(items, models, structure):
        for item in held_out:
            label = read_label(item)
            row = _identity(item) | {"fold": fold} | _about(label)
            scan = read_scan(item.scan)
            try:
                segmented = segment_volume(scan, network, suffix=item.scan.suffix, wanted=[structure], what=item.name)
            except SegmentationError as error:
                logger.error("%s", error)
                row |= {"doubts": "nothing was found", "action": LEFT_OUT, "weight": 0.0}
                yield Review(item, row, label, None)
                continue
            found = _as_in(label, found_parts(segmented.found[structure], scan.affine))
            yield Review(item, row | judge(found, label), label, found)


def _as_in(label: Parts, found: Parts) -> Parts:
    """What was found, with no more told apart than in the label."""
    kinds = found.kinds if _same_pieces(found.kinds, label.kinds) else {}
    if set(found.of) == set(label.of):
        return Parts(found.of, kinds)
    grid = common_grid(found)
    whole = np.minimum(sum((_on(part, grid) for part in found.of.values()), np.zeros(grid.shape, np.float32)), 1)
    return Parts({BOTH: cropped(whole, grid.affine)}, kinds)


def _same_pieces(one: Mapping[str, Mapping[str, Volume]], other: Mapping[str, Mapping[str, Volume]]) -> bool:
    return {kind: set(sides) for kind, sides in one.items()} == {kind: set(sides) for kind, sides in other.items()}


def _identity(item: LabelledScan) -> dict[str, Any]:
    return {"dataset": item.dataset, "participant_id": f"sub-{item.scan.subject}", "scan": item.scan.name}


def _about(label: Parts) -> dict[str, float]:
    return {"label_mm3": label.volumes_mm3()[BOTH], "certainty": certainty(label)}


def judge(found: Parts, label: Parts) -> dict[str, Any]:
    """What is doubtful about a label, and what to do with it.

    Parameters
    ----------
    found : Parts
        By a network that did not see the label.
    label : Parts

    Returns
    -------
    dict
        ``found_mm3``, ``difference_percent`` (found minus label), ``dice``, ``hausdorff95_mm``, asymmetries in per
        cent of the mean side (left minus right), ``doubts``, ``action`` and ``weight``.
    """
    compared = compare_parts(Parts(found.of), Parts(label.of))
    of: dict[str, dict[str, Any]] = {str(row["hemisphere"]): row for row in compared}
    whole = of[BOTH]
    mean_dice = float(np.mean([of[side]["dice"] for side in SIDES])) if LEFT in of else float(whole["dice"])
    row: dict[str, Any] = {
        "found_mm3": whole["volume_mm3"],
        "difference_percent": whole["volume_error_percent"],
        "dice": mean_dice,
        "hausdorff95_mm": whole["hausdorff95_mm"],
    }
    doubts = []
    if abs(row["difference_percent"]) > DOUBTFUL_PERCENT:
        doubts.append("volume")
    if mean_dice < DOUBTFUL_DICE:
        doubts.append("overlap")
    if LEFT in of:
        row["label_asymmetry_percent"] = _asymmetry_percent(of, "true_mm3")
        row["found_asymmetry_percent"] = _asymmetry_percent(of, "volume_mm3")
        if abs(row["label_asymmetry_percent"] - row["found_asymmetry_percent"]) > DOUBTFUL_ASYMMETRY_PERCENT:
            doubts.append("asymmetry")
    action = LEFT_OUT if mean_dice < HOPELESS_DICE else CORRECTED if doubts else KEPT
    return row | {"doubts": " ".join(doubts), "action": action, "weight": float(action != LEFT_OUT)}


def _asymmetry_percent(of: Mapping[str, Mapping[str, Any]], column: str) -> float:
    left, right = float(of[LEFT][column]), float(of[RIGHT][column])
    return 200 * (left - right) / (left + right)


def consensus(label: Parts, found: Parts) -> Parts:
    """Weighted mean of a label and of what was found, on the lattice of the label.

    Parameters
    ----------
    label, found : Parts
        The same parts.

    Returns
    -------
    Parts
        Probabilities; `NETWORK_SHARE` of them is what was found.
    """
    grid = common_grid(label, found)

    def joined(own: Volume, other: Volume) -> Volume:
        both = (1 - NETWORK_SHARE) * _on(own, grid) + NETWORK_SHARE * _on(other, grid)
        return Volume(both.astype(np.float32), grid.affine)

    kinds = {
        kind: {side: joined(own, found.kinds[kind][side]) for side, own in sides.items()}
        for kind, sides in label.kinds.items()
        if kind in found.kinds
    }
    return Parts({side: joined(own, found.of[side]) for side, own in label.of.items()}, kinds)


def _on(part: Volume, grid: Grid) -> np.ndarray:
    return np.clip(resample(padded(part, 8), grid).data, 0, 1)


def write_label(item: LabelledScan, label: Parts, out: Path, structure: str) -> None:
    """Write a label as participant level names its probabilities: a frame a part, or left and right, or everything.

    Parameters
    ----------
    item : LabelledScan
        Whose label it is.
    label : Parts
    out : Path
        Gets a folder with the name of the item's dataset.
    structure : str
    """
    grid = common_grid(label)
    data = np.stack([_on(part, grid) for part in _frames(item, label)], axis=-1)
    names = output_names(item.scan, out / item.dataset, [structure])
    check_writes_stay(names.anat_dir, out)
    write_nifti(names.structure(structure).probseg, data.squeeze(-1) if data.shape[-1] == 1 else data, grid.affine)


def _frames(item: LabelledScan, label: Parts) -> list[Volume]:
    """The images of a label in the order of the structure's parts; its sides, where it tells no parts apart."""
    if item.wanted.structure is not None:
        try:
            return label.each(item.wanted.structure)
        except KeyError:
            pass
    return [part for _, part in sorted(label.of.items())]


def _case(review: Review) -> OutlineCase:
    found = review.found or review.label
    grid = common_grid(review.label, found)
    truth, other = (
        Volume(np.max([_on(part, grid) for part in parts.of.values()], axis=0), grid.affine)
        for parts in (review.label, found)
    )
    row = review.row
    title = f"{review.item.name}: {row['doubts']}"
    if review.found is not None:
        title += f"; label {row['label_mm3']:.0f}, found {row['found_mm3']:.0f} mm³, Dice {row['dice']:.2f}"
    return OutlineCase(title, truth, other, read_scan(review.item.scan))
