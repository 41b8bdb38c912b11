"""The public API: the examples of the docs, and what it gives back."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nilearn.datasets import load_mni152_template

import bids_hypo
from bids_hypo.errors import ScanReadError, UsageError

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "python.md"


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "sub-01_T1w.nii.gz"
    nib.save(load_mni152_template(resolution=2), path)
    return path


@pytest.fixture(scope="module")
def models():
    return bids_hypo.load_models(device="cpu")


@pytest.mark.slow
def test_the_examples_of_the_docs_run(scan, models, monkeypatch):
    if not PAGE.exists():
        pytest.skip("the docs are not beside the tests")
    monkeypatch.chdir(scan.parent)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert len(examples) == 3
    names: dict[str, object] = {}
    exec("\n".join(examples), names)
    result = names["result"]
    assert isinstance(result, bids_hypo.Segmented)
    volumes = names["volumes"]["hypothalamus"]  # type: ignore[index]
    assert volumes["whole", "B"] == pytest.approx(volumes["whole", "L"] + volumes["whole", "R"], abs=0.2)
    labels = nib.load(scan.parent / "labels.nii.gz")
    assert labels.shape == nib.load(scan).shape
    assert set(np.unique(np.asarray(labels.dataobj))) == {0, *result.parts["hypothalamus"]["index"]}
    assert (np.linalg.norm(labels.affine - nib.load(scan).affine)) < 1e-3


def test_the_function_keeps_its_name(models):
    import bids_hypo.segmentation

    assert callable(bids_hypo.segment)
    assert set(bids_hypo.__all__) <= {*dir(bids_hypo), "Segmented", "load_models", "segment"}


def test_a_structure_that_is_not_loaded_is_refused_by_its_name(scan, models):
    with pytest.raises(UsageError, match=r"amygdala.*not among the models"):
        bids_hypo.segment(scan, ["amygdala"], models=models)
    with pytest.raises(UsageError, match=r"amygdala"):
        bids_hypo.load_models(["amygdala"], device="cpu")


def test_an_image_of_another_kind_is_refused(scan, models):
    with pytest.raises(UsageError, match=r"FLAIR: hypothalamus cannot be measured .* hypothalamus on T1w"):
        bids_hypo.segment(scan, models=models, suffix="FLAIR")


def test_what_is_no_image_is_an_error_that_names_the_file(tmp_path, models):
    path = tmp_path / "scan.nii"
    path.write_bytes(b"not an image")
    with pytest.raises(ScanReadError, match=r"scan\.nii"):
        bids_hypo.segment(path, models=models)


@pytest.mark.slow
def test_an_image_in_memory_gives_what_its_file_gives(models):
    """MNI's template at 1 mm: volumes, labels, what the numbers mean, and flags."""
    image = load_mni152_template(resolution=1)
    result = bids_hypo.segment(image, "hypothalamus", models=models, fast=True)
    (labels,), (probability,) = result.labels.values(), result.probabilities.values()
    assert labels.shape == image.shape == probability.shape[:3] == result.icv.shape
    for each in (labels, probability, result.icv):
        np.testing.assert_allclose(each.affine, image.affine)
    parts = result.parts["hypothalamus"]
    assert probability.shape[3] == len(parts) == 12
    volumes = result.volumes.set_index(["structure", "part", "hemisphere"])["volume_mm3"]
    found, voxel_mm3 = np.asarray(labels.dataobj), abs(np.linalg.det(image.affine[:3, :3]))
    for side in "LR":
        for part in parts[parts["hemisphere"] == side].itertuples():
            counted = np.count_nonzero(found == part.index) * voxel_mm3
            kind = part.name.removeprefix({"L": "left ", "R": "right "}[side])
            assert volumes["hypothalamus", kind, side] == pytest.approx(counted, abs=0.01) and counted > 10
        assert volumes["hypothalamus", "whole", side] > 250
    mine = parts.loc[parts["hemisphere"] == "L", "index"]
    assert nib.affines.apply_affine(labels.affine, np.argwhere(np.isin(found, mine))).mean(axis=0)[0] < 0
    assert set(result.flags) == {"hypothalamus", "ICV"} and result.head_axes.shape == (3, 3)
    assert list(result.volumes.columns) == [
        "structure", "part", "hemisphere", "volume_mm3", "volume_sd_mm3", "flags"
    ]  # fmt: skip


def test_a_single_structure_may_be_a_plain_text(scan, models):
    with pytest.raises(UsageError, match=r"^amygdala: not among the models that are loaded \(hypothalamus\)"):
        bids_hypo.segment(scan, "amygdala", models=models)
    with pytest.raises(UsageError, match="no model for amygdala;"):
        bids_hypo.load_models("amygdala", device="cpu")


def test_the_kind_of_an_image_is_read_from_a_bids_name_alone(tmp_path, models):
    for name in ("sub-01_acq-x_FLAIR.nii", "sub-01_FLAIR.nii.gz"):
        with pytest.raises(UsageError, match=r"^FLAIR: hypothalamus cannot be measured"):
            bids_hypo.segment(tmp_path / name, models=models)
    with pytest.raises(ScanReadError, match=r"my_FLAIR\.nii"):  # taken for a T1w, and not there
        bids_hypo.segment(tmp_path / "my_FLAIR.nii", models=models)


def test_no_structure_is_a_mistake(scan, models):
    with pytest.raises(UsageError, match="none is named; expected one at least, of hypothalamus"):
        bids_hypo.segment(scan, [], models=models)
