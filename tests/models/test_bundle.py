"""A bundle is checked when it is loaded, and found where it should be."""

import hashlib
import io
import json
import os
import pickle
import tracemalloc
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest

from bids_hypo.errors import ModelError, UsageError
from bids_hypo.models import archive
from bids_hypo.models.bundle import load_bundle, save_bundle
from bids_hypo.models.catalog import find_bundle, find_models, find_structures
from bids_hypo.models.device import DeviceRequest, parse_device

DESCRIPTION = {
    "name": "hypothalamus",
    "version": "9.9.9",
    "role": "structure",
    "structure": "hypothalamus",
    "suffixes": ["T1w"],
    "parts": [
        {"index": 1, "name": "left hypothalamus", "hemisphere": "L", "abbreviation": "HYP-L", "color": "#E69F00"},
        {"index": 2, "name": "right hypothalamus", "hemisphere": "R", "abbreviation": "HYP-R", "color": "#56B4E9"},
    ],
    "plausible": {"whole_mm3": [450, 1400], "min_part_mm3": 60, "max_asymmetry": 0.25, "keep_within_mm": 2},
    "published": [{"hemisphere": "B", "mean_mm3": 852, "sd_mm3": 77, "people": "107 controls", "source": "somewhere"}],
    "methods": "outlined it",
    "view": {"size_mm": 40},
    "labels": ["background", "left", "right"],
    "architecture": {"backbone": "efficientnetb0", "input_shape": [32, 32, 3], "classes": 3,
                     "decoder_filters": [8, 8, 8, 8, 8]},
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


@pytest.mark.parametrize("name", ["anatomy", "locator", "hypothalamus"])
def test_shipped_bundles_are_whole(name):
    bundle = find_bundle(name)
    assert bundle.name == name
    assert bundle.labels[0] == "background"
    assert int(bundle.architecture["classes"]) == len(bundle.labels)
    assert (bundle.folder / "MODEL_CARD.md").stat().st_size > 500


def test_shipped_weights_are_small():
    total = sum(
        (find_bundle(n).folder / file).stat().st_size
        for n in ("anatomy", "locator", "hypothalamus")
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


def _changed(folder, where, value, name="hypothalamus"):
    """Change an entry of bundle.json, or take it away."""
    path = folder / name / "bundle.json"
    content = json.loads(path.read_text())
    *parents, key = where.split(".")
    place = content
    for parent in parents:
        place = place[int(parent) if parent.isdigit() else parent]
    if value is GONE:
        del place[key]
    else:
        place[key] = value
    path.write_text(json.dumps(content))


GONE = object()
WRONG_ENTRIES = [
    ("weights", []), ("weights", "weights-0.npz"), ("weights", [5]), ("weights.0.file", 5), ("weights.0.file", ""),
    ("weights.0.file", "../weights-0.npz"), ("weights.0.file", "/etc/passwd"), ("weights.0.file", "a\0b"),
    ("weights.0.sha256", "abc"), ("preprocessing.spacing_mm", "abc"), ("preprocessing.spacing_mm", [1, 1]),
    ("preprocessing.spacing_mm", [1, 1, 0]), ("preprocessing.spacing_mm", [1, 1, float("nan")]),
    ("preprocessing.spacing_mm", [True, 1, 1]), ("preprocessing.shape", [32, -8, 32]),
    ("preprocessing.shape", [32, 0, 32]), ("preprocessing.shape", [32, 8.5, 32]),
    ("preprocessing.shape", [10**12, 8, 32]), ("preprocessing.shape", [4000, 4000, 4000]),
    ("preprocessing.slice_axis", "sagittal"), ("preprocessing.slice_offsets", []),
    ("preprocessing.slice_offsets", list(range(200))), ("preprocessing.intensity", "magic"),
    ("preprocessing.slice_orientation", "RL"), ("preprocessing", []), ("labels", ["background"]),
    ("labels", ["background", "left", "left"]), ("labels", ["background", "left"]), ("labels", {"a": 1}),
    ("suffixes", "T1w"), ("name", 5), ("version", None), ("licence", GONE), ("constants", []),
    ("constants.region_centre_mm", [0, 0]), ("constants.icv_threshold", "high"), ("constants.pose_template_mm", [1]),
    ("constants.pose_template_mm", {"brainstem": [0, 1e400, 0]}), ("architecture", "unet"),
    ("architecture.backbone", GONE), ("architecture.classes", 4), ("architecture.classes", -1),
    ("architecture.input_shape", [32, 32, 5]), ("architecture.input_shape", [64, 32, 3]),
    ("architecture.decoder_filters", [8, 8]), ("architecture.decoder_filters", GONE),
    ("role", "organ"), ("role", GONE), ("structure", "a b"), ("structure", "all"), ("parts", []), ("parts", GONE),
    ("parts.0.index", 0), ("parts.0.index", 1.5), ("parts.0.index", 2), ("parts.0.hemisphere", "left"),
    ("parts.0.hemisphere", None), ("parts.0.name", "left thing"), ("parts.0.abbreviation", "a b"),
    ("parts.0.color", "orange"), ("parts.0.in_whole", "yes"), ("parts.1.abbreviation", "HYP-L"),
    ("plausible.whole_mm3", [900, 400]), ("plausible.min_part_mm3", GONE), ("plausible.max_asymmetry", 5),
    ("published", [{"hemisphere": "X"}]), ("published.0.mean_mm3", "big"), ("methods", GONE), ("view", GONE),
    ("view.size_mm", 5), ("constants.region_centre_mm", GONE),
    ("architecture.detail_filters", [10**9]), ("architecture.spread_dark", "much"), ("mixed_precision", "yes"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "value"), WRONG_ENTRIES)
def test_a_wrong_entry_is_named_with_what_was_found_and_expected(folder, where, value):
    _changed(folder, where, value)
    with pytest.raises(ModelError, match=r"(?s)bundle\.json: the entry .*; expected ") as caught:
        load_bundle(folder / "hypothalamus")
    assert where.rpartition(".")[2] in str(caught.value) or where == "labels" or where.startswith("parts")
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b'{"a": ' * 100_000, b"[1]", b"5"])
def test_a_description_of_any_content_is_an_error_of_the_model(folder, content):
    (folder / "hypothalamus" / "bundle.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"bundle\.json"):
        find_bundle("hypothalamus", folder)


class _Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def _archive(path, name, payload, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, payload)


def _header(shape, dtype="<f4"):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue()


WRONG_WEIGHTS = {
    "pickle": lambda path: np.savez(path, a=np.array([_Evil()], dtype=object)),
    "pickle as it is": lambda path: path.write_bytes(pickle.dumps(_Evil())),
    "text": lambda path: path.write_text("weights"),
    "empty": lambda path: path.write_bytes(b""),
    "no array": lambda path: _archive(path, "a.npy", b"text"),
    "nothing inside": lambda path: zipfile.ZipFile(path, "w").close(),
    "huge by its header": lambda path: _archive(path, "a.npy", _header((10**12, 3)) + bytes(100)),
    "negative": lambda path: _archive(path, "a.npy", _header((-1, 3)) + bytes(100)),
    "bomb": lambda path: _archive(path, "a.npy", _header((30_000_000,)) + bytes(120_000_000)),
    "long header": lambda path: _archive(path, "a.npy", b"\x93NUMPY\x02\x00" + (10**8).to_bytes(4, "little")),
    "words": lambda path: np.savez(path, a=np.array(["a", "b", "c"])),
    "other labels": lambda path: np.savez(path, a=np.zeros(4)),
    "other channels": lambda path: np.savez(path, a=np.zeros((3, 3, 7, 4)), b=np.zeros(3)),
}


@pytest.mark.parametrize("kind", WRONG_WEIGHTS)
def test_wrong_weights_are_refused_before_they_are_read(folder, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(archive, "MOST_BYTES", 100_000_000)
    path = folder / "hypothalamus" / "weights-0.npz"
    WRONG_WEIGHTS[kind](path)
    _changed(folder, "weights.0.sha256", hashlib.sha256(path.read_bytes()).hexdigest())
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=r"weights-0\.npz"):
            load_bundle(folder / "hypothalamus")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    with pytest.raises(ModelError, match=r"weights-0\.npz") if "other" not in kind else nullcontext():
        archive.read_arrays(path)
    assert not (tmp_path / "executed").exists()


def test_weights_of_the_folds_have_to_be_alike(folder, tmp_path):
    np.savez(tmp_path / "v.npz", a=np.ones((2, 3)))
    with pytest.raises(ModelError, match=r"weights-1\.npz: its arrays are not like"):
        save_bundle(tmp_path / "two", DESCRIPTION, [tmp_path / "w.npz", tmp_path / "v.npz"])


def test_weights_must_not_lead_out_of_the_folder_but_the_folder_may_be_a_link(folder, tmp_path):
    whole = folder / "hypothalamus"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "hypothalamus").symlink_to(whole)
    assert find_bundle("hypothalamus", tmp_path / "models").version == "9.9.9"
    (whole / "weights-0.npz").rename(tmp_path / "elsewhere.npz")
    (whole / "weights-0.npz").symlink_to(tmp_path / "elsewhere.npz")
    with pytest.raises(ModelError, match="expected a file in the folder of the bundle"):
        load_bundle(whole)


@pytest.mark.parametrize("what", ["weights-0.npz", "bundle.json"])
@pytest.mark.parametrize("kind", ["loop", "pipe", "dangling"])
def test_a_broken_bundle_is_not_replaced_by_ours_without_a_word(folder, what, kind):
    _trident(folder, folder.parent)
    path = folder / "hypothalamus" / what
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(what if kind == "loop" else "nothing")
    with pytest.raises(ModelError, match=what):
        find_models(folder)


def test_a_bundle_has_to_have_the_role_of_its_place(folder):
    (folder / "hypothalamus").rename(folder / "icv")
    with pytest.raises(ModelError, match="the entry role is structure; expected icv"):
        find_models(folder)
    _changed(folder.parent / "mine", "role", "icv", name="icv")
    with pytest.raises(ModelError, match="2 to 2 labels in a bundle of role icv"):
        find_models(folder)


def _trident(folder, tmp_path, **changes):
    """A second structure, with numbers of its own unless told."""
    parts = [
        {"index": 31 + k, "name": f"{side} prong", "hemisphere": side[0].upper(), "abbreviation": f"T{side[0]}",
         "color": "#000000"} for k, side in enumerate(("left", "right"))
    ]  # fmt: skip
    description = {**DESCRIPTION, "name": "trident", "structure": "trident", "parts": parts, **changes}
    return save_bundle(folder / "fork", description, [tmp_path / "w.npz"])


def test_structures_are_found_by_what_they_measure_not_by_the_names_of_folders(folder, tmp_path):
    _trident(folder, tmp_path, suffixes=["FLAIR"])
    assert find_structures(folder)["hypothalamus"].version == "9.9.9"  # in place of ours
    assert set(find_structures(folder)) >= {"hypothalamus", "trident"}
    assert list(find_structures(folder, ["trident"])) == ["trident"]
    assert set(find_models(folder).structures) == {"hypothalamus"}
    with pytest.raises(UsageError, match=r"no model for heart; there are .*hypothalamus.*trident"):
        find_structures(folder, ["heart"])


def test_two_structures_must_not_share_numbers_nor_two_bundles_a_structure(folder, tmp_path):
    _trident(folder, tmp_path, parts=[{**part, "abbreviation": part["name"][:1]} for part in DESCRIPTION["parts"]])
    with pytest.raises(ModelError, match="hypothalamus and trident both use the number 1"):
        find_structures(folder, ["hypothalamus", "trident"])
    assert find_structures(folder, ["trident"])
    _trident(folder, tmp_path, structure="hypothalamus")
    with pytest.raises(ModelError, match=r"measures the structure hypothalamus, as .*; expected one bundle"):
        find_structures(folder)


def test_the_models_of_an_image_follow_from_its_kind(folder, tmp_path):
    _trident(folder, tmp_path, suffixes=["T1w", "UNIT1"])
    catalog = find_models(folder, ["hypothalamus", "trident"])
    assert list(catalog.makers("T1w")) == ["hypothalamus", "trident", "ICV"]
    assert list(catalog.makers("UNIT1")) == ["trident", "ICV"] and catalog.suffixes[:2] == ("T1w", "UNIT1")
    head, own = catalog.makers("T1w")["trident"]
    assert head.measures_icv and own.name == "trident" and head in catalog.used
    with pytest.raises(ModelError, match="Eyes: no model of role head is for such images"):
        catalog.head_for("Eyes")


@pytest.mark.parametrize("filters", [[10_000] * 5, [16, 8, 8, 8, 8]])
def test_filters_that_no_kernel_has_are_refused_before_a_network_of_them_is_built(tmp_path, filters):
    np.savez(tmp_path / "w.npz", a=np.zeros((3, 3, 3, 8)), b=np.zeros((3, 3, 8, 3)), c=np.zeros(3))
    save_bundle(tmp_path / "fits", DESCRIPTION, [tmp_path / "w.npz"])
    description = {**DESCRIPTION, "architecture": {**DESCRIPTION["architecture"], "decoder_filters": filters}}
    with pytest.raises(ModelError, match=f"no kernel has {filters[0]} filters"):
        save_bundle(tmp_path / "bomb", description, [tmp_path / "w.npz"])


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([0, np.nan, 1]))
    with pytest.raises(ModelError, match="the array a holds numbers that are not finite"):
        archive.read_arrays(tmp_path / "w.npz")
