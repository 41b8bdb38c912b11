"""What bundle.json says of a structure: read as it stands, and refused by name where it cannot be."""

import json
from pathlib import Path

import pytest

from bids_hypo.errors import ModelError
from bids_hypo.models.entries import Entries
from bids_hypo.models.measured import read_published, read_structure

SIDES = ("left", "right")
TURNED = ("left prong", "prong left", "right prong", "prong right")


def part(index, name, hemisphere=None, **more):
    plain = {"index": index, "name": name, "hemisphere": hemisphere, "abbreviation": f"P{index}", "color": "#123456"}
    return plain | more


def both(index, kind, **more):
    return [part(index + k, f"{side} {kind}", side[0].upper(), **more) for k, side in enumerate(SIDES)]


def content(parts, **more):
    return {
        "structure": "trident",
        "parts": parts,
        "plausible": {"whole_mm3": [100, 900], "min_part_mm3": 5, "max_asymmetry": 0.3, "keep_within_mm": 2},
        "methods": "outlined it",
        "view": {"size_mm": 50},
        **more,
    }


def read(parts, n_classes=None, **more):
    labels = ("background", *(str(n) for n in range(n_classes or len(parts))))
    return read_structure(Entries(Path("bundle.json"), content(parts, **more)), labels)


def test_what_is_not_said_has_a_default():
    structure = read(both(1, "prong"))
    assert (structure.title, structure.published, structure.plausible.max_voxel_mm) == ("trident", (), 1.6)
    assert all(one.in_whole for one in structure.parts) and structure.view_mm == 50
    assert [one.kind for one in structure.parts] == ["prong", "prong"] and structure.kinds == ()


def test_twelve_parts_on_two_sides_and_the_midline():
    parts = [one for n in range(5) for one in both(10 * n + 1, f"nucleus {n}")]
    structure = read([*parts, part(301, "midline band", "M"), part(302, "stalk", "M", in_whole=False)])
    assert len(structure.parts) == 12 and structure.sides == ("L", "R", "M") and structure.is_paired
    assert structure.kinds == (*(f"nucleus {n}" for n in range(5)), "band", "stalk")
    assert structure.mirrored() == (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 10, 11)


@pytest.mark.parametrize(
    ("parts", "kinds"),
    [
        ([part(1, "stem")], ()),
        ([part(1, "stem", "M")], ()),
        ([part(1, "head"), part(2, "tail")], ("head", "tail")),
        (both(1, "vermis"), ()),
        ([*both(1, "vermis"), part(3, "vermis", "M")], ("vermis",)),
        ([part(1, "core"), part(2, "midline core", "M")], ("core",)),
    ],
)
def test_a_part_has_rows_of_its_own_unless_the_sides_tell_all(parts, kinds):
    assert read(parts).kinds == kinds


def test_a_network_that_tells_no_sides_apart_has_half_as_many_classes():
    assert read([*both(1, "prong"), *both(3, "base")], n_classes=2).parts[3].name == "right base"
    with pytest.raises(ModelError, match="one part for each of the 1 labels"):
        read([*both(1, "prong"), part(3, "shaft", "M")], n_classes=1)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([part(1, "left prong", "L")], "without a twin: prong"),
        ([part(1, "left prong", "L"), part(2, "right pron", "R")], "without a twin: pron, prong"),
        (
            [part(n, name, "LLRR"[n - 1]) for n, name in enumerate(TURNED, 1)],
            "parts of one side",
        ),
        ([part(1, "left whole", "L"), part(2, "right whole", "R")], "no part named whole"),
        ([part(1, "left a", "L", in_whole=False), part(2, "right a", "R")], "left and right a both in the whole"),
        (both(1, "prong", in_whole=False), "at least one part that counts"),
        ([part(1, "a"), part(1, "b", abbreviation="X")], "parts that differ in index"),
        ([part(1, "a"), part(2, "a")], "parts that differ in name"),
        ([part(1, "a"), part(2, "b", abbreviation="P1")], "parts that differ in abbreviation"),
        ([part(n, f"p{n}") for n in range(1, 102)], "at most 100 parts"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(parts, said):
    with pytest.raises(ModelError, match=rf"bundle\.json: the entry parts is .*; expected .*{said}"):
        read(parts)


def test_a_number_of_two_bytes_is_the_highest():
    assert read([part(65_535, "a")]).parts[0].index == 65_535
    with pytest.raises(ModelError, match=r"entry parts\[0\]\.index is 65536; expected .* from 1 to 65535"):
        read([part(65_536, "a")])


def value(**more):
    return {"hemisphere": "B", "mean_mm3": 500, "sd_mm3": 50, "people": "20 people", "source": "somewhere", **more}


@pytest.mark.parametrize("more", [{}, {"hemisphere": "L"}, {"part": "prong", "hemisphere": "R"}, {"part": "shaft"},
                                  {"part": "shaft", "hemisphere": "M"}])  # fmt: skip
def test_published_values_are_of_what_is_measured(more):
    structure = read([*both(1, "prong"), part(3, "shaft", "M")], published=[value(**more)])
    (one,) = structure.published
    assert (one.part, one.hemisphere) == (more.get("part", "whole"), more.get("hemisphere", "B"))


@pytest.mark.parametrize("more", [{"hemisphere": "M"}, {"part": "prongs"}, {"part": "shaft", "hemisphere": "L"}])
def test_published_values_of_nothing_are_refused(more):
    with pytest.raises(ModelError, match=r"the entry published\[1\]\.part .*expected whole or the name of a part"):
        read([*both(1, "prong"), part(3, "shaft", "M")], published=[value(), value(**more)])


@pytest.mark.parametrize("published", [{}, "none", 0, False, [5]])
def test_published_values_of_another_kind_are_refused(published):
    with pytest.raises(ModelError, match=r"the entry published is .*expected a list of objects"):
        read_published(Entries(Path("bundle.json"), {"published": published}))


def test_a_deviation_of_zero_is_refused():
    with pytest.raises(ModelError, match=r"the entry published\[0\]\.sd_mm3 is 0"):
        read(both(1, "prong"), published=[value(sd_mm3=0)])


@pytest.mark.parametrize("name", ["ICV", "icv", "All", "whole", "2nd", "a-b", "a" * 41, "dentate nucleus", "é"])
def test_names_that_files_cannot_have_or_that_mean_something_else(name):
    with pytest.raises(ModelError, match="the entry structure is"):
        read(both(1, "prong"), structure=name)


def test_what_is_wrong_is_told_in_one_line():
    text = json.dumps(["x" * 500])
    with pytest.raises(ModelError) as caught:
        read(both(1, "prong"), methods=[text])
    assert len(str(caught.value)) < 300 and "the entry methods" in str(caught.value)
