"""A bundle is checked when it is loaded, and found where it should be."""

import json

import numpy as np
import pytest

from bids_hypo.errors import ModelError, UsageError
from bids_hypo.models.bundle import load_bundle, save_bundle
from bids_hypo.models.catalog import find_bundle
from bids_hypo.models.device import DeviceRequest, parse_device

DESCRIPTION = {
    "name": "hypothalamus",
    "version": "9.9.9",
    "suffixes": ["T1w"],
    "labels": ["background", "left", "right"],
    "architecture": {"backbone": "efficientnetb0", "input_shape": [32, 32, 3], "classes": 3},
    "preprocessing": {"spacing_mm": [1, 1, 1], "shape": [32, 8, 32], "slice_axis": "coronal",
                      "slice_offsets": [-1, 0, 1], "intensity": "zscore"},
    "constants": {"region_centre_mm": [0, 0, 0]},
    "licence": "Apache-2.0",
    "citation": "none",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(3))
    save_bundle(tmp_path / "mine" / "hypothalamus", DESCRIPTION, [tmp_path / "w.npz"])
    return tmp_path / "mine"


def test_round_trip(folder):
    bundle = load_bundle(folder / "hypothalamus")
    assert bundle.version == "9.9.9"
    assert bundle.preprocessing.slice_offsets == (-1, 0, 1)
    assert bundle.weights_sha256 == bundle.weights[0][1]


def test_several_folds_have_one_digest(folder, tmp_path):
    one = load_bundle(folder / "hypothalamus").weights_sha256
    np.savez(tmp_path / "v.npz", a=np.ones(3))
    two = save_bundle(tmp_path / "two", DESCRIPTION, [tmp_path / "w.npz", tmp_path / "v.npz"])
    swapped = save_bundle(tmp_path / "three", DESCRIPTION, [tmp_path / "v.npz", tmp_path / "w.npz"])
    assert len({one, two.weights_sha256, swapped.weights_sha256}) == 3


def test_altered_weights_are_refused(folder):
    path = folder / "hypothalamus" / "weights-0.npz"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ModelError, match="SHA-256"):
        load_bundle(folder / "hypothalamus")


def test_missing_weights_and_descriptions(folder):
    (folder / "hypothalamus" / "weights-0.npz").unlink()
    with pytest.raises(ModelError, match="weights are missing"):
        load_bundle(folder / "hypothalamus")
    with pytest.raises(ModelError, match="not found"):
        load_bundle(folder / "nothing")


@pytest.mark.parametrize("text", ["{", json.dumps({"name": "x"}), json.dumps([1])])
def test_broken_descriptions_are_named(folder, text):
    (folder / "hypothalamus" / "bundle.json").write_text(text)
    with pytest.raises(ModelError, match=r"bundle\.json"):
        load_bundle(folder / "hypothalamus")


def test_users_folder_comes_first_and_shipped_models_fill_in(folder):
    assert find_bundle("hypothalamus", folder).version == "9.9.9"
    assert find_bundle("anatomy", folder).folder != folder / "anatomy"


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no model bundle"):
        find_bundle("anatomy", tmp_path)


@pytest.mark.parametrize("name", ["anatomy", "hypothalamus"])
def test_shipped_bundles_are_whole(name):
    bundle = find_bundle(name)
    assert bundle.name == name
    assert bundle.labels[0] == "background"
    assert int(bundle.architecture["classes"]) == len(bundle.labels)
    assert (bundle.folder / "MODEL_CARD.md").stat().st_size > 500


def test_shipped_weights_are_small():
    total = sum(
        (find_bundle(n).folder / file).stat().st_size
        for n in ("anatomy", "hypothalamus")
        for file, _ in find_bundle(n).weights
    )
    assert total < 90e6


@pytest.mark.parametrize(
    ("text", "expected"),
    [("auto", DeviceRequest("auto")), ("CPU", DeviceRequest("cpu")), ("gpu:2", DeviceRequest("gpu", 2))],
)
def test_devices(text, expected):
    assert parse_device(text) == expected


@pytest.mark.parametrize("text", ["tpu", "cpu:1", "gpu:", "gpu:x", ""])
def test_unknown_devices(text):
    with pytest.raises(UsageError, match="--device"):
        parse_device(text)
