"""The comparisons as a user runs them: two tiny encoders, and with and without contrast augmentation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_hypo.cli.train import main
from bids_hypo.demo import DemoSettings, subject_truth_masks, write_demo_dataset
from bids_hypo.execute import comparison
from bids_hypo.image.volume import write_nifti
from bids_hypo.workflow.comparison import Comparison
from tests.train.recipes import content_of

pytestmark = pytest.mark.slow

ENCODERS = ("efficientnetb0", "resnet18")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three people with their true outlines, and a coarse recipe that sets one of them aside.

    The background does not count in its loss, so that a few steps make a network find something.
    """
    folder = tmp_path_factory.mktemp("people")
    settings = DemoSettings(n_subjects=3)
    write_demo_dataset(folder / "demo", settings)
    for image in sorted((folder / "demo").glob("sub-*/**/*_T1w.nii*")):
        sub, session = image.name.split("_")[0], 2 if "ses-02" in image.name else 1
        masks, grid = subject_truth_masks(settings, sub.removeprefix("sub-"), session)
        stem = image.name.split("_T1w")[0]
        for side in "LR":
            path = folder / "labels" / sub / f"{stem}_label-{side}_mask.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_nifti(path, masks[side].astype(np.uint8), grid.affine)
    small = content_of("hypothalamus")
    small["preprocessing"] |= {"spacing_mm": [1.5, 3.0, 1.5], "shape": [32, 12, 32], "slice_offsets": [-1, 0, 1]}
    small["architecture"] |= {"input_shape": [32, 32, 3], "decoder_filters": [16, 8, 8, 8, 8]}
    small["training"] |= {"learning_rate": 0.01, "batch_size": 4, "batches_per_chunk": 2, "average": False}
    small["loss"] |= {"class_weights": [0, 1, 1], "jaccard_weight": 0}
    (folder / "tiny.json").write_text(json.dumps(small))
    aside = ['validation={"demo":["sub-02"]}', 'test={"demo":["sub-01"]}']
    data = ["--data", str(folder / "demo"), str(folder / "labels")]
    return [str(folder / "tiny.json"), *data, "--steps", "6", "--device", "cpu", "--set", *aside]


def _times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def work(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a comparison of encoders."""
    folder = tmp_path_factory.mktemp("work")
    assert main(["compare", "encoders", *arguments, "-w", str(folder), "--backbones", *ENCODERS]) == 0
    return folder


def test_encoders_are_compared_on_the_same_people(work):
    out = work / "evaluation"
    table = pd.read_csv(out / "comparison.tsv", sep="\t", na_values="n/a")
    assert table["method"].tolist() == [*ENCODERS, ENCODERS[0]]
    ours = table[table["source"] == "here"]
    assert ours["n_scans"].tolist() == ours["n_segmented"].tolist() == [1, 1]
    assert (ours["ms_per_slice"] > 0).all() and (ours["volume_mm3_mean"] > 0).all()
    metrics = pd.read_csv(out / "evaluation_metrics.tsv", sep="\t", na_values="n/a")
    whole = metrics[(metrics["metric"] == "dice") & (metrics["hemisphere"] == "B")].set_index("method")["mean"]
    assert whole[list(ENCODERS)].tolist() == pytest.approx(ours["dice_mean"].tolist())
    assert "| Dice | " in (out / "comparison.md").read_text() and (out / "evaluation.html").is_file()
    divisions = [(work / "training" / name / "division.json").read_text() for name in ENCODERS]
    assert divisions[0] == divisions[1] and json.loads(divisions[0])["test"] == ["demo/sub-01_T1w"]


def test_nothing_is_done_twice_and_a_training_goes_on(arguments, work, capsys):
    compare = ["compare", "encoders", *arguments, "-w", str(work), "--backbones", ENCODERS[0]]
    folder, bundle = work / "training" / ENCODERS[0], work / "models" / ENCODERS[0] / "hypothalamus"
    trained, segmented = _times(folder), _times(work / "derivatives" / ENCODERS[0] / "unchanged" / "sub-01")
    (bundle / "MODEL_CARD.md").unlink()  # as if it had been interrupted before the bundle was whole
    assert main(compare) == 0
    assert "going on from step 6" in capsys.readouterr().err
    kept = {path: time for path, time in _times(folder).items() if "fold-1" in path and not path.endswith(".png")}
    assert kept.items() <= trained.items() and (bundle / "MODEL_CARD.md").is_file()
    again = _times(folder)
    assert main(compare) == 0
    assert "trained before" in capsys.readouterr().err
    assert _times(folder) == again
    assert _times(work / "derivatives" / ENCODERS[0] / "unchanged" / "sub-01") == segmented
    # other settings in the same folder are not mixed with it
    assert main([*compare, "--folds", "2"]) == 64
    assert "with other values of: folds" in capsys.readouterr().err


def test_scans_of_low_contrast_are_counted(arguments, work, monkeypatch):
    told: list[Comparison] = []
    monkeypatch.setattr(comparison, "compare_contrast", lambda one, *_, **__: told.append(one) or (work, ""))
    assert main(["compare", "contrast", *arguments, "-w", str(work)]) == 0
    monkeypatch.undo()
    full, plain = (told[0].variants[name] for name in ("with-contrast", "without-contrast"))
    assert full.training == plain.training and full.augmentation.gamma_sd > plain.augmentation.gamma_sd == 0
    # two encoders that are trained already, in place of the two trainings
    variants = dict.fromkeys(ENCODERS, told[0].recipe)
    for name in ENCODERS:
        (work / "training" / name / "settings.json").unlink()
    monkeypatch.setattr(comparison, "CHANGES", {"contrast-0.25": comparison.CHANGES["contrast-0.25"]})
    path, text = comparison.compare_contrast(replace(told[0], variants=variants), dict, device="cpu")
    assert "| contrast-0.25 | " in text and path.with_name("contrast.md").read_text() == text
    table = pd.read_csv(path, sep="\t")
    assert table["method"].tolist() == list(ENCODERS) and (table["n"] == 1).all()
    scans = pd.read_csv(path.with_name("contrast_scans.tsv"), sep="\t", na_values="n/a")
    whole = scans[(scans["hemisphere"] == "B") & (scans["status"] == "compared")]
    assert len(whole) == table["n_segmented"].sum() > 0
    assert whole["dice"].mean() == pytest.approx(table["dice_mean"].sum() / len(whole), abs=1e-5)


def test_what_cannot_be_compared_is_said(arguments, tmp_path, capsys):
    compare = ["compare", "encoders", *arguments, "-w", str(tmp_path)]
    assert main([*compare, "--backbones", "notone"]) == 64
    assert "backbone 'notone': expected one of" in capsys.readouterr().err
    aside = [text for text in arguments if not text.startswith("test=")]
    assert main(["compare", "contrast", *aside, "-w", str(tmp_path), "--set", "test={}"]) == 64
    assert "sets nobody of 4 labelled scans aside" in capsys.readouterr().err
    assert main(["compare", "contrast", *arguments, "-w", str(tmp_path), "--backbones", *ENCODERS]) == 64
    assert main(["compare", "encoders", "anatomy", "-w", str(tmp_path), "--data", *arguments[2:4]]) == 64
    assert "learns from label maps" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
