"""The comparisons as a user runs them: two tiny encoders, and with and without contrast augmentation."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids import find_scans, output_names
from bids_hypo.bids.selection import Selection
from bids_hypo.cli.train import main
from bids_hypo.execute import comparison
from bids_hypo.structures import HYPOTHALAMUS
from bids_hypo.workflow.comparison import Comparison
from tests.train.recipes import content_of

pytestmark = pytest.mark.slow

ENCODERS = ("vgg16", "resnet18")


@pytest.fixture(scope="module")
def arguments(demo: Path, segmented: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The three scans of the demo as three people, and a coarse recipe that sets one of them aside.

    Sides are not told apart and the background does not count in its loss: any network finds something.
    """
    folder = tmp_path_factory.mktemp("people")
    for number, scan in enumerate(find_scans(demo, Selection())[0], start=1):
        sub = f"sub-{number:02d}"
        label = output_names(scan, segmented).structure(HYPOTHALAMUS).dseg
        images = {"demo": (scan.path, "T1w"), "labels": (label, "dseg")}
        for where, (source, suffix) in images.items():
            target = folder / where / sub / "anat" / f"{sub}_{suffix}{''.join(source.suffixes)}"
            target.parent.mkdir(parents=True)
            shutil.copy(source, target)
            if where == "labels":  # the two sides, as the recipe below has them
                image = nib.load(target)
                numbers = np.asarray(image.dataobj)
                sides = np.uint8((numbers > 10) & (numbers < 20)) + 2 * np.uint8(numbers > 20)
                nib.Nifti1Image(sides, image.affine).to_filename(target)
    shutil.copy(demo / "dataset_description.json", folder / "demo")
    small = content_of("hypothalamus") | {"parts": content_of("vernikouskaya2023")["parts"], "sums": []}
    small["preprocessing"] |= {"spacing_mm": [1.5, 3.0, 1.5], "shape": [32, 12, 32], "slice_offsets": [-1, 0, 1]}
    small["architecture"] |= {"input_shape": [32, 32, 3], "classes": 2, "decoder_filters": [16, 8, 8, 8, 8]}
    small["training"] |= {"batch_size": 4, "batches_per_chunk": 2}
    small |= {"labels": ["background", "hypothalamus"], "loss": {"type": "soft labels", "class_weights": [0, 1]}}
    small["loss"] |= {"jaccard_groups": [[1]], "jaccard_weight": 0}
    del small["phases"]
    (folder / "tiny.json").write_text(json.dumps(small))
    aside = ['validation={"demo":["sub-02"]}', 'test={"demo":["sub-01"]}']
    data = ["--data", str(folder / "demo"), str(folder / "labels")]
    return [str(folder / "tiny.json"), *data, "--steps", "3", "--device", "cpu", "--set", *aside]


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
    compare = ["compare", "encoders", *arguments, "-w", str(work), "--backbones", *ENCODERS]
    finished, begun = (work / "training" / name for name in ENCODERS)
    card = work / "models" / ENCODERS[1] / "hypothalamus" / "MODEL_CARD.md"
    card.unlink()  # as if it had been interrupted before the bundle was whole
    kept = [begun / "fold-1" / name for name in ("curves.csv", "weights.npz")]
    kept += [*finished.rglob("*"), *(work / "derivatives").rglob("sub-*.nii.gz")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert main(compare) == 0
    told = capsys.readouterr().err
    assert f"{ENCODERS[0]}: trained before" in told and "going on from step 3" in told and card.is_file()
    assert {path: path.stat().st_mtime_ns for path in kept} == before
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
    # an encoder that is trained already, in place of the two trainings
    (work / "training" / ENCODERS[0] / "settings.json").unlink()
    monkeypatch.setattr(comparison, "CHANGES", {"contrast-0.25": comparison.CHANGES["contrast-0.25"]})
    one = replace(told[0], variants={ENCODERS[0]: told[0].recipe})
    path, text = comparison.compare_contrast(one, dict, device="cpu")
    assert "| contrast-0.25 | " in text and path.with_name("contrast.md").read_text() == text
    (row,) = pd.read_csv(path, sep="\t").to_dict("records")
    assert (row["method"], row["n"], row["n_segmented"]) == (ENCODERS[0], 1, 1)
    scans = pd.read_csv(path.with_name("contrast_scans.tsv"), sep="\t", na_values="n/a")
    assert scans[scans["hemisphere"] == "B"]["dice"].tolist() == pytest.approx([row["dice_mean"]])


def test_what_cannot_be_compared_is_said(arguments, tmp_path, capsys):
    compare = ["compare", "encoders", *arguments, "-w", str(tmp_path)]
    assert main([*compare, "--backbones", "notone"]) == 64
    assert "backbone 'notone': expected one of" in capsys.readouterr().err
    aside = [text for text in arguments if not text.startswith("test=")]
    assert main(["compare", "contrast", *aside, "-w", str(tmp_path), "--set", "test={}"]) == 64
    assert "sets nobody of 3 labelled scans aside" in capsys.readouterr().err
    assert main(["compare", "contrast", *arguments, "-w", str(tmp_path), "--backbones", *ENCODERS]) == 64
    assert main(["compare", "encoders", "anatomy", "-w", str(tmp_path), "--data", *arguments[2:4]]) == 64
    assert "learns from label maps" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
