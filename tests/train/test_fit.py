"""The fitting loop: the best weights are kept, training stops when nothing gets better, and it can be resumed."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from bids_hypo.train.card import Fold, model_card
from bids_hypo.train.curves import Curves
from bids_hypo.train.recipe import load_recipe
from bids_hypo.train.settings import Schedule

pytest.importorskip("tensorflow")

ARCHITECTURE = {"backbone": "efficientnetb0", "input_shape": [32, 32, 1], "classes": 2,
                "decoder_filters": [8, 8, 8, 8, 8]}  # fmt: skip
LOSS = {"class_weights": [1, 1], "jaccard_groups": [[1]], "jaccard_weight": 0.5}
TRAINING = Schedule(
    batch_size=4, learning_rate=0.005, seed=0, steps=6, warmup_steps=1, checkpoint_every=2, batches_per_chunk=2,
    average=False,
)  # fmt: skip


def _batch(rng):
    x = rng.normal(size=(4, 32, 32, 1)).astype(np.float16)
    x[:, 8:24, 8:24] += 3
    y = np.zeros((4, 32, 32, 2), np.uint8)
    y[:, 8:24, 8:24, 1] = 255
    y[..., 0] = 255 - y[..., 1]
    return x, y


@dataclass(frozen=True)
class Squares:
    """A bright square on noise."""

    def chunk(self, number):
        rng = np.random.default_rng(number)
        return [_batch(rng) for _ in range(2)]


def test_a_training_is_measured_and_resumed(tmp_path):
    from bids_hypo.train.fit import fit

    validation = [_batch(np.random.default_rng(99))]
    short = replace(TRAINING, stop_at=2)
    fit(Squares(), ARCHITECTURE, LOSS, short, tmp_path, validation=validation)
    first = pd.read_csv(tmp_path / "curves.csv")
    assert list(first["step"]) == [2]
    weights = fit(Squares(), ARCHITECTURE, LOSS, TRAINING, tmp_path, validation=validation)
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert list(curves["step"]) == [2, 4, 6]
    assert curves["loss"].iloc[-1] < curves["loss"].iloc[0]
    assert curves[["validation_loss", "validation_iou"]].notna().all(axis=None)
    assert weights.is_file() and (tmp_path / "curves.png").stat().st_size > 5000


def _curves(folder, losses):
    curves = Curves(folder)
    for number, loss in enumerate(losses, start=1):
        curves.add(10 * number, 1.0, loss, 0.5)
    return curves


def test_the_lowest_validation_loss_decides(tmp_path):
    curves = _curves(tmp_path, [0.5, 0.3, 0.4, 0.45])
    assert curves.best_step == 20
    assert curves.exhausted(2) and not curves.exhausted(3) and not curves.exhausted(None)
    again = Curves(tmp_path, until=30)  # the checkpoint of step 40 was never written
    assert list(again.table["step"]) == [10, 20, 30]
    assert not again.exhausted(2)


def test_without_validation_the_newest_weights_are_kept(tmp_path):
    curves = _curves(tmp_path, [None, None])
    assert curves.best_step == 20
    assert not curves.exhausted(1)
    curves.draw()
    assert (tmp_path / "curves.png").is_file()


def test_the_card_says_what_was_measured():
    folds = [Fold("fold-1", 40, 0.2, 0.31, 0.8), Fold("fold-2", 60, 0.2, 0.29, 0.9)]
    people = {"test": ["a/sub-1_T1w"], "folds": [
        {"training": ["a/sub-2_T1w", "a/sub-2_run-2_T1w"], "validation": ["a/sub-3_T1w"]},
        {"training": ["a/sub-3_T1w"], "validation": ["a/sub-2_T1w", "a/sub-2_run-2_T1w"]},
    ]}  # fmt: skip
    text = model_card(load_recipe("gradio-cnn"), folds, people)
    assert "0.850 +- 0.071" in text
    assert "2 people trained" in text and "1 scans set aside" in text
    assert "| fold-2 | 60 | 0.2900 | 0.900 |" in text
    assert "Nothing was measured" in model_card(load_recipe("hypothalamus"), [], None)
