"""Which models there are, and which of them an image needs."""

import json
import shutil

import numpy as np
import pytest

from bids_hypo.errors import ModelError, UsageError
from bids_hypo.models.bundle import DESCRIPTION, load_bundle, save_bundle
from bids_hypo.models.catalog import Catalog, find_bundle, find_models, find_structures

PARTS = [
    {"index": 31, "name": "left prong", "hemisphere": "L", "abbreviation": "TL", "color": "#E69F00"},
    {"index": 32, "name": "right prong", "hemisphere": "R", "abbreviation": "TR", "color": "#56B4E9"},
]


def describe(role="structure", **changes):
    of_role = {
        "structure": {
            "structure": "trident",
            "parts": PARTS,
            "plausible": {"whole_mm3": [100, 900], "min_part_mm3": 5, "max_asymmetry": 0.3, "keep_within_mm": 2},
            "methods": "outlined it",
            "view": {"size_mm": 40},
            "constants": {"region_centre_mm": [0, 0, 0]},
        },
        "head": {"constants": {"pose_template_mm": {"brainstem": [0, 0, 0]}}},
        "icv": {"constants": {}},
    }
    n = 2 if role == "icv" else 3
    return {
        "name": "fork", "version": "1", "role": role, "suffixes": ["T1w"], "labels": list("abc")[:n],
        "architecture": {"backbone": "efficientnetb0", "input_shape": [32, 32, 1], "classes": n,
                         "decoder_filters": [8, 8, 8, 8, 8]},
        "preprocessing": {"spacing_mm": [1, 1, 1], "shape": [32, 8, 32], "slice_axis": "coronal",
                          "slice_offsets": [0], "intensity": "zscore"},
        "licence": "CC0", "citation": "none", **of_role[role], **changes,
    }  # fmt: skip


@pytest.fixture
def add(tmp_path):
    """Function (folder, role, changes) that puts a bundle into a folder of models."""

    def put(folder, role="structure", **changes):
        description = describe(role, **changes)
        np.savez(tmp_path / "w.npz", a=np.zeros(len(description["labels"])))
        return save_bundle(tmp_path / "models" / folder, description, [tmp_path / "w.npz"])

    put.folder = tmp_path / "models"
    return put


def test_structures_come_in_the_order_that_they_are_asked_for(add):
    add("fork")
    assert list(find_structures(add.folder, ["trident", "hypothalamus", "trident"])) == ["trident", "hypothalamus"]
    assert list(find_structures(add.folder, ["all", "trident"]))[-1] == "trident"
    assert find_structures(None) == find_structures(None, ["all"]) and "trident" not in find_structures(None)


def test_a_structure_of_the_users_takes_the_place_of_ours(add):
    add("whatever", structure="hypothalamus", version="9.9")
    assert find_structures(add.folder, ["hypothalamus"])["hypothalamus"].version == "9.9"


def test_a_name_that_nobody_has_is_told_with_those_that_there_are(add):
    add("fork")
    with pytest.raises(UsageError, match=r"for heart, liver; there are dentate, hypothalamus, thalamus, trident"):
        find_structures(add.folder, ["heart", "trident", "liver"])


def test_a_description_is_refused_even_of_a_structure_that_is_not_wanted(add):
    """Whether a broken folder is wanted cannot be told: it does not say what it measures."""
    add("fork")
    (add.folder / "fork" / DESCRIPTION).write_text("{")
    with pytest.raises(ModelError, match=r"fork/bundle\.json: not valid JSON"):
        find_structures(add.folder, ["hypothalamus"])


def test_weights_are_looked_at_only_if_they_are_wanted(add):
    add("fork")
    (add.folder / "fork" / "weights-0.npz").write_bytes(b"damaged")
    assert list(find_structures(add.folder, ["hypothalamus"])) == ["hypothalamus"]
    with pytest.raises(ModelError, match="SHA-256"):
        find_structures(add.folder, ["trident"])


def test_folders_and_files_that_are_no_bundles_are_passed_over(add):
    add("fork")
    (add.folder / "notes").mkdir()
    (add.folder / "README.md").write_text("mine")
    assert "trident" in find_structures(add.folder)


def test_two_bundles_of_one_structure_are_refused_and_named(add):
    add("fork")
    add("knife", parts=[{**part, "index": part["index"] + 10} for part in PARTS])
    with pytest.raises(ModelError, match=r"knife: measures the structure trident, as .*fork does"):
        find_structures(add.folder, ["hypothalamus"])


@pytest.mark.parametrize(("change", "said"), [({"index": 1}, "the number 1"),
                                              ({"abbreviation": "HYP-L"}, "the abbreviation HYP-L")])  # fmt: skip
def test_what_two_structures_share_is_refused_when_both_are_wanted(add, change, said):
    ours = find_structures(None, ["hypothalamus"])["hypothalamus"].structure.parts[0]
    change = {key: getattr(ours, key) for key in change}
    add("fork", parts=[{**PARTS[0], **change}, PARTS[1]])
    with pytest.raises(ModelError, match=f"both use {said.rpartition(' ')[0]} {next(iter(change.values()))}"):
        find_structures(add.folder, ["hypothalamus", "trident"])
    assert find_structures(add.folder, ["trident"])


def test_each_image_has_the_first_head_that_is_for_it():
    catalog = find_models()
    assert catalog.head_for("T1w").name == "anatomy" and catalog.head_for("FLAIR").name == "locator"
    with pytest.raises(ModelError, match="bold: no model of role head is for such images; there are some for T1w"):
        catalog.head_for("bold")


def test_a_head_of_the_users_is_for_images_that_ours_are_not_for(add):
    add("fork", suffixes=["T1w", "angio"])
    add("mine", "head", name="mine", suffixes=["T1w", "angio"])
    catalog = find_models(add.folder, ["trident"])
    assert catalog.head_for("T1w").name == "anatomy" and catalog.head_for("angio").name == "mine"
    assert [bundle.name for bundle in catalog.used] == ["anatomy", "mine", "fork"]
    assert catalog.makers("angio") == {"trident": (catalog.heads[-1], catalog.structures["trident"])}


def test_a_head_of_the_users_takes_the_place_of_ours_by_the_name_of_its_folder(add):
    shutil.copytree(find_bundle("locator").folder, add.folder / "locator")
    path = add.folder / "locator" / DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": "9.9"}))
    assert [head.version == "9.9" for head in find_models(add.folder).heads] == [False, True]


def test_what_is_measured_and_made_by_which_bundles(add):
    add("fork", suffixes=["FLAIR"])
    catalog = find_models(add.folder, ["trident", "hypothalamus"])
    assert set(catalog.suffixes) == {"FLAIR", "T1w", "UNIT1"}
    assert list(catalog.makers("FLAIR")) == ["trident"] and list(catalog.makers("T1w")) == ["hypothalamus", "ICV"]
    assert [b.name for b in catalog.makers("FLAIR")["trident"]] == ["locator", "fork"]
    assert [b.name for b in catalog.makers("T1w")["ICV"]] == ["anatomy"]
    assert list(catalog.structures_for("T1w")) == ["hypothalamus"] and catalog.structures_for("bold") == {}


def test_only_the_heads_that_are_needed_are_loaded(add):
    assert [bundle.name for bundle in find_models().used] == ["anatomy", "hypothalamus"]
    add("fork", suffixes=["FLAIR"])
    assert [bundle.name for bundle in find_models(add.folder, ["trident"]).used] == ["locator", "fork"]


def test_an_icv_of_its_own_is_one_of_the_makers_of_the_icv(add):
    add("icv", "icv", name="own")
    catalog = find_models(add.folder)
    assert [bundle.name for bundle in catalog.makers("T1w")["ICV"]] == ["anatomy", "own"]
    assert [bundle.name for bundle in catalog.used] == ["anatomy", "own", "hypothalamus"]


def test_a_catalog_without_a_head_says_so_when_it_is_asked():
    bundle = load_bundle(find_bundle("hypothalamus").folder)
    with pytest.raises(ModelError, match="T1w: no model of role head"):
        _ = Catalog((), None, {"hypothalamus": bundle}).used
