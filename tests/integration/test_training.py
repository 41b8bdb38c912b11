"""Training as a user does it, with the outputs of one program as the labels: two folds of a tiny network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_hypo.cli.train import main
from bids_hypo.models.bundle import load_bundle
from tests.train.recipes import content_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped recipe on a small, coarse grid, for a handful of steps."""
    small = content_of("hypothalamus")
    small["preprocessing"] |= {"spacing_mm": [1.5, 3.0, 1.5], "shape": [32, 12, 32], "slice_offsets": [-1, 0, 1]}
    small["architecture"] |= {"input_shape": [32, 32, 3], "decoder_filters": [16, 8, 8, 8, 8]}
    small["training"] |= {"steps": 4, "warmup_steps": 1, "checkpoint_every": 2, "batch_size": 4, "batches_per_chunk": 2}
    small["version"] = "tiny"
    del small["phases"]  # a test of their own has them
    path = tmp_path_factory.mktemp("recipe") / "tiny.json"
    path.write_text(json.dumps(small))
    return path


def test_folds_become_a_bundle(demo, segmented, recipe, tmp_path):
    arguments = [str(recipe), "--data", str(demo), str(segmented), "-w", str(tmp_path / "work"), "--device", "cpu"]
    target = tmp_path / "models" / "hypothalamus"
    assert main(["fit", *arguments, "--folds", "2", "--stratify", "group", "--bundle", str(target)]) == 0
    bundle = load_bundle(target)
    assert len(bundle.weights) == 2
    assert abs(bundle.constants["region_centre_mm"][0]) < 2
    division = json.loads((tmp_path / "work" / "division.json").read_text())
    for fold in division["folds"]:
        people = [{name.split("_")[0] for name in fold[part]} for part in ("training", "validation")]
        assert all(people) and not people[0] & people[1]
    assert "| fold-2 | " in (target / "MODEL_CARD.md").read_text()
    # the same command again goes on from the end: nothing is trained twice
    curves = (tmp_path / "work" / "fold-1" / "curves.csv").read_text()
    assert main(["fit", *arguments, "--folds", "2", "--fold", "1"]) == 0
    assert (tmp_path / "work" / "fold-1" / "curves.csv").read_text() == curves


def test_phases_follow_each_other_and_one_can_go_on_from_a_bundle(demo, segmented, recipe, tmp_path, capsys):
    small = json.loads(recipe.read_text())
    few = {**small["training"], "steps": 2}
    small["phases"] = [{"name": "strong"}, {"name": "mild", "augmentation": {}, "training": few}]
    (tmp_path / "phases.json").write_text(json.dumps(small))
    data = ["--data", str(demo), str(segmented), "--folds", "2", "--fold", "1", "--device", "cpu"]
    fit, work, target = ["fit", str(tmp_path / "phases.json"), *data], tmp_path / "work", tmp_path / "models" / "whole"
    assert main([*fit, "-w", str(work), "--bundle", str(target)]) == 0
    assert pd.read_csv(work / "fold-1" / "strong" / "curves.csv")["step"].tolist() == [2, 4]
    assert pd.read_csv(work / "fold-1" / "curves.csv")["step"].tolist() == [2]

    only = [*fit, "-w", str(tmp_path / "more"), "--encoder-weights", str(target), "--phase"]
    assert main([*only, "mild"]) == 0
    assert not (tmp_path / "more" / "fold-1" / "strong").exists()
    before, after = (np.load(path) for path in (target / "weights-0.npz", tmp_path / "more" / "fold-1" / "weights.npz"))
    assert np.mean([np.allclose(before[name], after[name], atol=0.05) for name in before.files]) > 0.9
    assert main([*only, "nonsense"]) == 64
    assert "has the phases strong, mild" in capsys.readouterr().err
    assert main([*only, "mild", "--set", "phases.mild.shape=[1,2,3]"]) == 64
    assert "no entry 'phases.mild.shape'" in capsys.readouterr().err


def test_networks_that_find_nothing_leave_all_labels_out(demo, segmented, recipe, tmp_path, capsys):
    data = ["--data", str(demo), str(segmented)]
    target, out = tmp_path / "models" / "hypothalamus", tmp_path / "reviewed"
    fit = ["fit", str(recipe), "--folds", "2", "--device", "cpu"]
    assert main([*fit, *data, "-w", str(tmp_path / "work"), "--bundle", str(target)]) == 0
    assert main(["review", *data, "--models", str(target.parent), "--out", str(out), "--device", "cpu"]) == 0
    table = pd.read_csv(out / "labels.tsv", sep="\t")
    assert set(table["action"]) == {"left out"} and (table["weight"] == 0).all()
    assert len(list(out.rglob("sub-*_probseg.nii.gz"))) == len(table)
    again = [*fit, "--data", str(demo), str(out / demo.name), "-w", str(tmp_path / "again")]
    assert main([*again, "--encoder-weights", str(target)]) == 66
    assert "have the weight 0 in labels.tsv" in capsys.readouterr().err


def test_what_cannot_be_trained_is_said(demo, segmented, recipe, tmp_path, capsys):
    arguments = [str(recipe), "--data", str(demo), str(segmented), "-w", str(tmp_path)]
    assert main(["fit", *arguments, "--folds", "7"]) == 64
    assert "found 2 labelled people" in capsys.readouterr().err
    assert main(["fit", *arguments, "--folds", "2", "--fold", "3"]) == 64
    assert main(["fit", *arguments, "--folds", "2", "--backbone", "notone", "--device", "cpu"]) == 64
    assert "backbone 'notone': expected one of" in capsys.readouterr().err
    assert main(["bundle", str(recipe), "-w", str(tmp_path), "--bundle", str(tmp_path / "b")]) == 64
