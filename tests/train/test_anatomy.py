"""The anatomy network as a user trains it: from head maps, in phases, and on from a bundle."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bids_hypo.cli.train import main
from bids_hypo.models.bundle import load_bundle
from bids_hypo.train.recipe import in_phases, load_recipe
from tests.train.recipes import content_of

pytestmark = pytest.mark.slow


@pytest.fixture
def recipe(tmp_path):
    """The shipped recipe on a small, coarse grid, with two phases of two steps and nobody set aside."""
    small = content_of("anatomy")
    phases = in_phases(load_recipe("anatomy"))
    small["preprocessing"] |= {"spacing_mm": [6.0, 8.0, 6.0], "shape": [32, 28, 32]}
    small["architecture"] |= {"input_shape": [32, 32, 5], "decoder_filters": [16, 8, 8, 8, 8]}
    few = {"steps": 2, "warmup_steps": 1, "checkpoint_every": 2, "batch_size": 4, "batches_per_chunk": 2, "seed": 1}
    few["learning_rate"] = 0.0008
    small["phases"] = [
        {"name": name, "synthesis": phase.content["synthesis"], "loss": phase.content["loss"], "training": few}
        for name, phase in zip(("first", "more"), (phases[0], phases[-1]), strict=True)
    ]
    small["validation"] = []
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(small))
    return path


def test_a_phase_can_go_on_from_a_bundle(recipe, head_file, tmp_path):
    models = tmp_path / "models"
    arguments = ["fit", str(recipe), "--label-maps", str(head_file.parent), "--device", "cpu"]
    assert main([*arguments, "-w", str(tmp_path / "whole"), "--bundle", str(models / "first")]) == 0
    first = load_bundle(models / "first")
    assert {path.name for path in (tmp_path / "whole").iterdir() if path.is_dir()} == {"first", "more"}

    description = json.loads((models / "first" / "bundle.json").read_text())
    description["constants"]["pose_template_mm"]["brainstem"] = [0.0, -28.0, -34.0]
    (models / "first" / "bundle.json").write_text(json.dumps(description))
    more = [*arguments, "--phase", "more", "--encoder-weights", str(models / "first"), "-w", str(tmp_path / "more")]
    assert main([*more, "--bundle", str(models / "second")]) == 0
    second = load_bundle(models / "second")
    assert not (tmp_path / "more" / "first").exists()
    assert second.constants["pose_template_mm"]["brainstem"] == [0.0, -28.0, -34.0]
    with np.load(first.folder / "weights-0.npz") as one, np.load(second.folder / "weights-0.npz") as other:
        close = [np.allclose(one[name], other[name], atol=0.05) for name in one.files]
    assert np.mean(close) > 0.9  # two steps with a small learning rate from there, not from random weights


def test_a_phase_that_is_not_there_is_named(recipe, head_file, tmp_path, capsys):
    arguments = ["fit", str(recipe), "--label-maps", str(head_file.parent), "--device", "cpu"]
    assert main([*arguments, "--phase", "nonsense", "-w", str(tmp_path / "work")]) == 64
    assert "has the phases first, more" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_options_of_another_kind_of_recipe_are_refused(recipe, head_file, tmp_path, capsys):
    arguments = ["fit", str(recipe), "--label-maps", str(head_file.parent), "-w", str(tmp_path / "work")]
    assert main([*arguments, "--folds", "5", "--stratify", "group"]) == 64
    assert "--folds, --stratify: cannot be used here: the recipe 'anatomy' learns" in capsys.readouterr().err
    maps = str(head_file.parent)
    assert main(["fit", "hypothalamus", "--label-maps", maps, "-w", str(tmp_path / "work")]) == 64
    assert "--label-maps: cannot be used here: the recipe 'hypothalamus' learns" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()
