"""The measuring commands' bookkeeping; the figures themselves are checked on real scans elsewhere."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bids_hypo.errors import UsageError
from bids_hypo.image.grid import Grid
from bids_hypo.image.parts import Parts
from bids_hypo.image.volume import Volume
from bids_hypo.measure.image_quality import RegionQuality
from bids_hypo.train.folds import DIVISION
from bids_hypo.workflow import accuracy
from bids_hypo.workflow.scan import Found
from tests.finished import TRIDENT, delineation_of
from tests.networks import models_of


def _models(folder, n_networks):
    return models_of(folder, tuple(f"network {n}" for n in range(1, n_networks + 1)))


def test_each_scan_of_a_fold_is_measured_by_the_network_that_did_not_see_it(tmp_path, monkeypatch):
    items = [SimpleNamespace(name=f"study/sub-{n}_T1w") for n in range(5)]
    folds = [{"training": [], "validation": [items[k].name for k in held_out]} for held_out in ([0, 3], [1, 2])]
    (tmp_path / DIVISION).write_text(json.dumps({"test": [items[4].name], "folds": folds}))

    def measured(some, models, *, structure):
        (network,) = models.of(models.catalog.structures[structure])
        return pd.DataFrame({"scan": [item.name for item in some], "by": network})

    monkeypatch.setattr(accuracy, "structure_accuracy", measured)
    table = accuracy.fold_accuracy(items, _models(tmp_path, 2)).set_index("scan")
    assert table["by"].to_dict() == {
        items[0].name: "network 1", items[3].name: "network 1", items[1].name: "network 2", items[2].name: "network 2",
    }  # fmt: skip
    assert table["fold"].tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize(("n_folds", "n_networks"), [(None, 1), (3, 2)])
def test_a_bundle_without_its_folds_is_refused(tmp_path, n_folds, n_networks):
    if n_folds is not None:
        folds = [{"training": [], "validation": []}] * n_folds
        (tmp_path / DIVISION).write_text(json.dumps({"test": [], "folds": folds}))
    with pytest.raises(UsageError, match="in folds"):
        accuracy.fold_accuracy([], _models(tmp_path, n_networks))


def test_the_agreement_of_volumes_in_one_line():
    true = np.array([700.0, 750.0, 800.0, 850.0, 900.0, 950.0])
    line = accuracy.volume_agreement(pd.DataFrame({"true_mm3": true, "found_mm3": true, "label_weight": 1.0}))
    assert "ICC(2,1) 1.000" in line and "r 1.000" in line
    shifted = accuracy.volume_agreement(pd.DataFrame({"true_mm3": true, "found_mm3": true + 200, "label_weight": 1.0}))
    assert "r 1.000" in shifted and "ICC(2,1) 0.304" in shifted  # 17500 / (17500 + 2 / 6 * 120000)


def test_labels_that_are_doubtful_by_themselves_are_also_left_out():
    true = np.array([700.0, 750.0, 800.0, 850.0, 900.0, 950.0])
    table = pd.DataFrame({"true_mm3": true, "found_mm3": true, "label_weight": 1.0, "dice": 0.9})
    table.loc[5, ["found_mm3", "label_weight", "dice"]] = 600.0, 0.35, 0.1
    table["volume_error_percent"] = 100 * (table["found_mm3"] / table["true_mm3"] - 1)
    every, sure = accuracy.volume_agreement(table).splitlines()
    assert "r 1.000" not in every and "ICC(2,1) 1.000" not in every
    assert sure.startswith("5 labels that are not doubtful by themselves: Dice 0.900, mean volume error +0.0 %")
    assert "ICC(2,1) 1.000" in sure


def test_what_the_certainty_of_labels_explains_is_told():
    """Volumes found are right; a label is too large by as much as it is sure, which has nothing to do with size."""
    rng = np.random.default_rng(0)
    true = rng.uniform(600, 900, 40)
    sure = rng.normal(0, 0.1, 40)
    sure -= np.polyval(np.polyfit(np.log(true), sure, 1), np.log(true))
    table = pd.DataFrame({"true_mm3": true, "found_mm3": true, "label_weight": 1.0})
    table["as_made_mm3"], table["certainty"] = true * np.exp(sure), np.exp(sure / 2)
    every, before, explained = accuracy.volume_agreement(table).splitlines()
    assert "ICC(2,1) 1.000" in every
    assert before.startswith("volume of the labels before and after: ICC(2,1) 0.")
    alone = 100 * np.corrcoef(np.log(true), np.log(table["as_made_mm3"]))[0, 1] ** 2
    assert f"{alone:.0f} % goes with the volume found, 100 % with it and the label's certainty" in explained
    assert explained.endswith(("r 0.00", "r -0.00"))


def test_parts_are_measured_where_the_labels_have_the_same(monkeypatch):
    """Two prongs and a shaft that does not count in the whole, the left one found a voxel too thin."""
    labels = np.zeros((20, 12, 12), np.uint8)
    labels[2:6, 4:8, 4:8], labels[14:18, 4:8, 4:8], labels[9:11, 4:8, 9:11] = 31, 32, 33
    truth = np.stack([labels == part.index for part in TRIDENT.parts], -1).astype(np.float32)
    thinner = labels.copy()
    thinner[2] = 0
    grid = Grid(labels.shape, np.eye(4))
    found = Found(TRIDENT, delineation_of(TRIDENT, thinner, grid), RegionQuality(1.0, 1.0), ())
    monkeypatch.setattr(accuracy, "segment_volume", lambda *_, **__: SimpleNamespace(found={"trident": found}))
    monkeypatch.setattr(accuracy, "read_scan", lambda _: Volume(labels, np.eye(4)))
    monkeypatch.setattr(accuracy, "read_label", lambda item: Parts.of_frames(truth, np.eye(4), TRIDENT))
    scan = SimpleNamespace(name="sub-01", path="p", suffix="T1w", is_signed=False)
    item = SimpleNamespace(dataset="d", scan=scan, weight=1.0, level=None)
    (row,) = accuracy.structure_accuracy([item], None, structure="trident").to_dict("records")
    assert row["true_mm3"] == 128 and row["found_mm3"] == 112 and row["dice_right"] == row["dice_shaft"] == 1
    assert row["dice_left"] == pytest.approx(2 * 48 / (48 + 64)) and row["dice_prong"] == pytest.approx(224 / 240)
    assert row["volume_error_percent_prong"] == -12.5 and row["volume_error_percent_shaft"] == 0
