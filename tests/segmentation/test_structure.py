"""A structure of any parts on the scan's grid: every part its volume, parts, sides and whole one sum."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_hypo.errors import SegmentationError
from bids_hypo.image.grid import apply_affine, box_grid
from bids_hypo.image.volume import Volume
from bids_hypo.models.bundle import ModelBundle, Preprocessing
from bids_hypo.segmentation.cleanup import label_parts
from bids_hypo.segmentation.delineate import region_probabilities
from bids_hypo.segmentation.structure import clean_region, delineate
from bids_hypo.structures import Part, Plausible, Structure

REGION = box_grid(np.zeros(3), np.eye(3), (64, 40, 48), np.full(3, 1.0))
NATIVE = box_grid(np.array([0.3, -0.2, 0.1]), np.eye(3), (50, 44, 46), np.array([1.1, 1.0, 0.9]))
PLAUSIBLE = Plausible((1.0, 1e5), 5.0, 2.0, 3.0)
WORDS = {"L": "left ", "R": "right ", "M": "", None: ""}


def structure_of(*pieces, plausible=PLAUSIBLE):
    """A structure of (kind, hemisphere[, counts in the whole]); numbers from 11 on."""
    parts = tuple(
        Part(11 + n, f"{WORDS[side]}{kind}", side, f"P{n}", "#000000", not rest or rest[0])
        for n, (kind, side, *rest) in enumerate(pieces)
    )
    return Structure("thing", "thing", parts, plausible)


def soft_ball(centre, radius, grid=REGION):
    points = apply_affine(grid.affine, np.stack(np.indices(grid.shape), -1))
    return 1 / (1 + np.exp(3 * (np.linalg.norm(points - centre, axis=-1) - radius)))


def folds_of(*parts):
    """One fold, (1, X, Y, Z, 1 + P), of parts that may overlap."""
    stacked = np.stack(parts, -1)
    stacked = stacked / np.maximum(stacked.sum(-1, keepdims=True), 1)
    return np.concatenate([1 - stacked.sum(-1, keepdims=True), stacked], -1).astype(np.float32)[None]


def volumes_of(found):
    return {(one.part, one.hemisphere): one.volume_mm3 for one in found.volumes}


def assert_the_rule_holds(found, structure, grid=NATIVE):
    """Of each part as many voxels as its probabilities sum to; every row of the table is counted in the labels."""
    rows = volumes_of(found)
    assert set(np.unique(found.labels)) <= {0, *(part.index for part in structure.parts)}
    for k, part in enumerate(structure.parts):
        counted = int((found.labels == part.index).sum())
        assert counted == round(float(found.probability[..., k].sum(dtype=np.float64)))
        if structure.kinds:
            assert rows[part.kind, part.hemisphere] == counted * grid.voxel_volume_mm3
    for (kind, side), volume in rows.items():
        which = [
            part.index
            for part in structure.parts
            if (part.in_whole if kind == "whole" else part.kind == kind) and side in ("B", part.hemisphere)
        ]
        if kind == "whole":
            assert volume == pytest.approx(np.isin(found.labels, which).sum() * grid.voxel_volume_mm3, rel=1e-12)


ANY = {
    "one piece": (("stem", None),),
    "one on the midline": (("stem", "M"),),
    "two without sides": (("head", None), ("tail", None)),
    "a pair": (("lobe", "L"), ("lobe", "R")),
    "a pair and a middle of the same kind": (("lobe", "L"), ("lobe", "R"), ("lobe", "M")),
    "a pair and a middle that does not count": (("lobe", "L"), ("lobe", "R"), ("stalk", "M", False)),
    "two a side": (("head", "L"), ("tail", "L"), ("head", "R"), ("tail", "R")),
}
PLACES = {"L": -14.0, "R": 14.0, "M": 0.0, None: 0.0}


@pytest.mark.parametrize("pieces", ANY.values(), ids=ANY)
def test_any_parts_have_the_volume_of_their_probabilities(pieces):
    structure = structure_of(*pieces)
    at = {"tail": 5.0, "stalk": 9.0}
    balls = [soft_ball((PLACES[side], at.get(kind, 0.0), 0), 5.0) for kind, side, *_ in pieces]
    found = delineate(folds_of(*balls), REGION, NATIVE, structure)
    assert_the_rule_holds(found, structure)
    assert found.labels.dtype == np.uint8 and found.probability.shape == (*NATIVE.shape, len(pieces))
    order = [(v.part, v.hemisphere) for v in found.volumes]
    assert order[-1] == ("whole", "B") and (("whole", "L") in order) == structure.is_paired
    assert [row for row in order if row[0] != "whole"] == [(p.kind, p.hemisphere) for p in structure.parts
                                                            if structure.kinds]  # fmt: skip


def test_twelve_parts_side_by_side():
    pieces = [(f"nucleus {n}", side) for n in range(6) for side in "LR"]
    structure = structure_of(*pieces)
    balls = [soft_ball((PLACES[side], 3.0 * int(kind[-1]) - 8, 0), 4.0) for kind, side in pieces]
    found = delineate(folds_of(*balls), REGION, NATIVE, structure)
    assert_the_rule_holds(found, structure)
    assert len(found.volumes) == 12 + 3 and all(v.volume_mm3 > 0 for v in found.volumes)
    for part in structure.parts:
        where = apply_affine(NATIVE.affine, np.argwhere(found.labels == part.index)).mean(0)
        assert (where[0] < 0) == (part.hemisphere == "L")


def test_numbers_above_255_need_two_bytes():
    structure = structure_of(("stem", None))
    structure = replace(structure, parts=(replace(structure.parts[0], index=40_000),))
    found = delineate(folds_of(soft_ball((0, 0, 0), 5)), REGION, NATIVE, structure)
    assert found.labels.dtype == np.uint16 and found.labels.max() == 40_000


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_the_network_says_the_rule_holds(data):
    """Parts of any size and place, one a side or several, overlapping or not, counting or not."""
    n_kinds = data.draw(st.integers(1, 4))
    sides = data.draw(st.sampled_from([(None,), ("M",), ("L", "R")]))
    counts = [data.draw(st.booleans()) for _ in range(n_kinds - 1)] + [True]
    pieces = [(f"kind {n}", side, counts[n]) for n in range(n_kinds) for side in sides]
    radii = [data.draw(st.floats(3.0, 6.0)) for _ in pieces]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    balls = [
        soft_ball((PLACES[side], *rng.uniform(-4, 4, 2)), radius)
        for (_, side, _), radius in zip(pieces, radii, strict=True)
    ]
    structure = structure_of(*pieces)
    found = delineate(folds_of(*balls), REGION, NATIVE, structure)
    assert_the_rule_holds(found, structure)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.floats(0.05, 2.0))
def test_labels_are_shared_out_to_the_voxel(seed, n_parts, evenness):
    """Thin parts are likeliest nowhere where twelve share a region; each has its volume all the same."""
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.full(n_parts + 1, evenness), size=(6, 7, 8))[..., 1:].astype(np.float32)
    held = label_parts(probability)
    wanted = [round(float(probability[..., k].sum(dtype=np.float64))) for k in range(n_parts)]
    assert np.bincount(held[held >= 0], minlength=n_parts).tolist() == wanted
    taken = probability[held >= 0, held[held >= 0]]
    assert (taken > 0).all()  # nobody is put where it cannot be


def test_a_part_without_any_probability_has_no_voxel():
    probability = np.zeros((5, 5, 5, 3), np.float32)
    probability[:2, ..., 0] = 1
    held = label_parts(probability)
    assert set(np.unique(held)) == {-1, 0} and (held == 0).sum() == 50


NAMES = {"L": "the left thing", "R": "the right thing", "M": "the midline thing", None: "the thing"}


@pytest.mark.parametrize(("side", "said"), NAMES.items())
def test_what_was_not_found_is_named(side, said):
    pieces = [("lobe", "L"), ("lobe", "R"), ("stalk", "M")] if side else [("stem", None)]
    balls = [soft_ball((PLACES[s], 0, 0), 0.3 if s == side else 5.0) for _, s in pieces]
    with pytest.raises(SegmentationError, match=f"sub-9: {said} was not found"):
        delineate(folds_of(*balls), REGION, NATIVE, structure_of(*pieces), what="sub-9")


def test_nothing_at_all_is_not_found_even_where_no_part_is_too_small():
    structure = structure_of(("stem", None), plausible=replace(PLAUSIBLE, min_part_mm3=0.0))
    nothing = folds_of(np.full(REGION.shape, 0.2))
    with pytest.raises(SegmentationError, match="the thing was not found"):
        clean_region(nothing[0], REGION, structure)


def test_a_missing_part_beside_another_of_its_side_is_no_error():
    structure = structure_of(("head", "L"), ("tail", "L"), ("head", "R"), ("tail", "R"))
    balls = [soft_ball((PLACES[p.hemisphere], 0, 0), 5.0) * (p.index != 12) for p in structure.parts]
    found = delineate(folds_of(*balls), REGION, NATIVE, structure)
    assert volumes_of(found)["tail", "L"] == 0 < volumes_of(found)["tail", "R"]


def test_the_spread_of_the_folds_is_given_for_parts_sides_and_whole():
    structure = structure_of(("head", "L"), ("tail", "L", False), ("head", "R"), ("tail", "R", False))
    places = [(PLACES[p.hemisphere], 8.0 if "tail" in p.name else 0.0, 0) for p in structure.parts]
    radii = [(5.0, 4.0, 5.0, 4.0), (5.5, 3.5, 4.5, 4.2), (4.8, 4.1, 5.2, 4.0)]
    folds = np.concatenate([folds_of(*map(soft_ball, places, each)) for each in radii])
    found = delineate(folds, REGION, NATIVE, structure)
    near = clean_region(folds.mean(axis=0), REGION, structure) > 0
    sums = (folds[..., 1:] * near).sum(axis=(1, 2, 3), dtype=np.float64)
    expected = {("head", "L"): [0], ("tail", "L"): [1], ("head", "R"): [2], ("tail", "R"): [3],
                ("whole", "L"): [0], ("whole", "R"): [2], ("whole", "B"): [0, 2]}  # fmt: skip
    for one in found.volumes:
        of_folds = sums[:, expected[one.part, one.hemisphere]].sum(axis=1)
        assert one.volume_sd_mm3 == pytest.approx(of_folds.std(ddof=1), rel=1e-6)
    whole, left = (next(v.volume_sd_mm3 for v in found.volumes if (v.part, v.hemisphere) == ("whole", s)) for s in "BL")
    assert whole < left  # one side grows where the other shrinks


def bundle_of(structure, labels, **changes):
    pre = Preprocessing((1.0, 1.0, 1.0), REGION.shape, "coronal", (0,), "unit")
    return ModelBundle("m", "0", "structure", None, ("T1w",), labels, {}, replace(pre, **changes), (),
                       {"region_centre_mm": [0, 0, 0]}, "", "", structure=structure)  # fmt: skip


def _by_brightness(levels, x):
    """A network that takes brightness for the class."""
    centre = x[..., x.shape[-1] // 2]
    return np.stack([np.abs(centre - level) < 0.05 for level in levels], -1).astype(np.float32)


BRIGHT = np.zeros(REGION.shape, np.float32)
BRIGHT[8:16, 10:20, 12:20], BRIGHT[48:56, 10:20, 14:22] = 0.25, 0.5
BRIGHT[8:16, 20:26, 12:20], BRIGHT[48:56, 20:26, 14:22] = 0.75, 1.0


@pytest.mark.parametrize("axis", ["coronal", "axial"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1), (3, 2, 1, 0)])
def test_mirrored_parts_are_swapped_by_their_names_in_whatever_order(axis, order):
    pieces = [("head", "L"), ("head", "R"), ("tail", "L"), ("tail", "R")]
    level = dict(zip(pieces, (0.25, 0.5, 0.75, 1.0), strict=True))
    structure = structure_of(*(pieces[k] for k in order))
    other = {("head", "L"): ("head", "R"), ("tail", "L"): ("tail", "R")}
    other |= {b: a for a, b in other.items()}
    levels = [level[pieces[k]] for k in order]
    seen = []

    def levels_of(side):
        return [value for (_, s), value in level.items() if s == side]

    def network(x):
        """Sides by where they lie in the picture, as a network that was trained on such pictures has them."""
        half = x.shape[1] // 2
        direct = _by_brightness([0.0, *levels], x)
        swapped = _by_brightness([0.0, *(level[other[pieces[k]]] for k in order)], x)
        of_left, of_right = (np.isclose(x[..., None], levels_of(s), atol=0.05).any(-1) for s in "LR")
        mirrored = of_right[:, :half].any(axis=(1, 2, 3)) | of_left[:, half:].any(axis=(1, 2, 3))
        seen.append(mirrored.any())
        return np.where(mirrored[:, None, None, None], swapped, direct)

    bundle = bundle_of(
        structure, ("b", *"wxyz"), slice_axis=axis, slice_orientation="RS" if axis == "coronal" else "RA"
    )
    folds = region_probabilities(Volume(BRIGHT, REGION.affine), REGION, bundle, [network])
    assert any(seen)
    for position, k in enumerate(order):
        np.testing.assert_array_equal(folds[0, ..., 1 + position], np.isclose(BRIGHT, level[pieces[k]]))


@pytest.mark.parametrize("n_voxels", [64, 63])
def test_without_sides_the_midplane_divides_each_kind(n_voxels):
    region = box_grid(np.zeros(3), np.eye(3), (n_voxels, 40, 48), np.full(3, 1.0))
    image = np.zeros(region.shape, np.float32)
    image[20:-20, 10:20, 10:20], image[20:-20, 20:30, 10:20] = 0.5, 1.0
    structure = structure_of(("head", "L"), ("tail", "L"), ("tail", "R"), ("head", "R"))
    bundle = bundle_of(structure, ("b", "head", "tail"), shape=region.shape)
    network = partial(_by_brightness, [0.0, 0.5, 1.0])
    (fold,) = region_probabilities(Volume(image, region.affine), region, bundle, [network])
    half = n_voxels // 2
    heads, tails = image == 0.5, image == 1.0
    for position, (mask, left) in enumerate(((heads, True), (tails, True), (tails, False), (heads, False))):
        side = fold[..., 1 + position]
        own, away = (side[:half], side[-half:]) if left else (side[-half:], side[:half])
        np.testing.assert_array_equal(own, mask[:half] if left else mask[-half:])
        assert not away.any()
        if n_voxels % 2:
            np.testing.assert_array_equal(side[half], 0.5 * mask[half])
    np.testing.assert_allclose(fold.sum(-1), 1)


def test_axial_slices_of_a_turned_image_are_coronal_ones():
    """The same problem with the second and third axis changed: slices, neighbours and margins go with the axis."""
    rng = np.random.default_rng(5)
    image = rng.uniform(0, 1, REGION.shape).astype(np.float32)
    image[:, :12] = 0
    structure = structure_of(("lobe", "L"), ("lobe", "R"))
    weights = rng.normal(size=(3, 3))

    def network(x):
        scores = np.exp(x @ weights * (x.sum(axis=(1, 2, 3), keepdims=True) > 0))
        return (scores / scores.sum(-1, keepdims=True)).astype(np.float32)

    x, y, z = REGION.shape
    turned = box_grid(np.zeros(3), np.eye(3), (x, z, y), np.full(3, 1.0))
    coronal = bundle_of(structure, ("b", "l", "r"), slice_offsets=(-1, 0, 1))
    axial = bundle_of(structure, ("b", "l", "r"), slice_offsets=(-1, 0, 1), slice_axis="axial", slice_orientation="RA",
                      shape=turned.shape)  # fmt: skip
    one = region_probabilities(Volume(image, REGION.affine), REGION, coronal, [network, network])
    other = region_probabilities(Volume(image.swapaxes(1, 2), turned.affine), turned, axial, [network, network])
    np.testing.assert_allclose(one, other.swapaxes(2, 3), atol=1e-5)
