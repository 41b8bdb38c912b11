"""Whether a smaller structure is found smaller: scans are deformed so that it shrinks by a known amount."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bids_hypo.bids.entities import Scan
from bids_hypo.bids.reading import read_scan
from bids_hypo.image.grid import apply_affine
from bids_hypo.image.parts import THRESHOLD, common_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume
from bids_hypo.measure.overlap import volume_error_percent
from bids_hypo.measure.volumes import whole_mm3
from bids_hypo.structures import HYPOTHALAMUS
from bids_hypo.train.deform import contract
from bids_hypo.train.labelled import LabelledScan, read_label
from bids_hypo.train.regions import label_centre_mm
from bids_hypo.workflow.accuracy import widened
from bids_hypo.workflow.scan import Models, segment_volume

logger = logging.getLogger(__name__)

SHRINK_PERCENT = (5, 10, 15)
LEAST_CORE_MM = 10.0


def shrinking(items: Sequence[LabelledScan], models: Models, *, structure: str = HYPOTHALAMUS) -> pd.DataFrame:
    """Whether a smaller structure is found smaller: scans are deformed so that it shrinks by 5, 10 and 15 %.

    Parameters
    ----------
    items : sequence of LabelledScan
        With labels, around whose centre the scan is contracted.
    models : Models
    structure : str

    Returns
    -------
    DataFrame
        One row a scan and size: change of the labels' volume under the same deformation, and of what is found.
    """
    rows = []
    for item in items:
        scan = read_scan(item.scan)
        label = read_label(item)
        truth = list(label.of.values())
        centre = label_centre_mm(truth)
        core_mm = _core_mm(truth, centre)
        before = _whole_mm3(scan, item.scan, models, structure)
        grid = widened(common_grid(label))
        labels = [resample(part, grid) for part in truth]
        for percent in SHRINK_PERCENT:
            factor = 1 - percent / 100
            after = _whole_mm3(contract(scan, centre, factor, core_mm=core_mm), item.scan, models, structure)
            smaller = sum(float(contract(part, centre, factor, core_mm=core_mm).data.sum()) for part in labels)
            true_percent = volume_error_percent(smaller, sum(float(part.data.sum()) for part in labels))
            found_percent = volume_error_percent(after, before)
            row = {"dataset": item.dataset, "scan": item.scan.name, "true_percent": true_percent}
            rows.append(row | {"found_percent": found_percent})
            logger.info("%s", rows[-1])
    return pd.DataFrame(rows)


def _core_mm(labels: Sequence[Volume], centre: np.ndarray) -> float:
    """What shrinks alike: all but the tips of the structure, and `LEAST_CORE_MM` at least."""
    points = np.concatenate([apply_affine(label.affine, np.argwhere(label.data > THRESHOLD)) for label in labels])
    return max(LEAST_CORE_MM, float(np.percentile(np.linalg.norm(points - centre, axis=1), 95)))


def _whole_mm3(volume: Volume, scan: Scan, models: Models, structure: str) -> float:
    found = segment_volume(volume, models, suffix=scan.suffix, wanted=[structure], what=scan.name).found[structure]
    return float(whole_mm3(found.delineation.volumes) or 0.0)


def slope(true_percent: pd.Series, found_percent: pd.Series) -> float:
    """Slope of what is found on what is true, by least squares."""
    return float(stats.linregress(true_percent, found_percent).slope)
