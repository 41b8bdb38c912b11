"""Examples of a structure that are synthesised from label maps: geometry, filling, contrasts, sides."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_hypo.cli import train
from bids_hypo.errors import NoInputError, UsageError
from bids_hypo.models.bundle import load_bundle
from bids_hypo.models.catalog import ANATOMY, find_bundle
from bids_hypo.train.map_folders import load_maps
from bids_hypo.train.placed_maps import cut, read_labels
from bids_hypo.train.region_contrasts import draw_rendering
from bids_hypo.train.region_options import IMAGE_KINDS, RegionOptions
from bids_hypo.train.region_synthesis import SynthesisedBatches, deformed_anatomy, region_image
from bids_hypo.train.settings import Augmentation
from bids_hypo.train.shape_labels import NUMBER_OF, freesurfer_numbers
from bids_hypo.workflow import map_training
from bids_hypo.workflow.map_training import wish_of
from tests.train.conftest import STRUCTURES
from tests.train.recipes import content_of, recipe_of

DEEP = tuple(STRUCTURES)
BALL_MM3 = 4 / 3 * np.pi * 7**3
PLAIN = RegionOptions(kinds={"T1w": 1.0})


@pytest.fixture(scope="module")
def folders(head_file, tmp_path_factory):
    """A toy head twice, one to set aside, and its deep structures alone as a shape with other numbers."""
    heads, shapes = (tmp_path_factory.mktemp(name) for name in ("heads", "shapes"))
    image = nib.load(head_file)
    labels = np.asanyarray(image.dataobj)
    for name in ("one", "aside"):
        nib.save(image, heads / f"{name}.nii.gz")
    names = list(NUMBER_OF)
    (shapes / "dseg.tsv").write_text("\n".join(["index\tname", *(f"{k}\t{n.title()}" for k, n in enumerate(names))]))
    own = np.zeros(labels.shape, np.uint8)
    for number in DEEP:
        own[labels == number] = next(k for k, name in enumerate(names) if NUMBER_OF[name] == number)
    nib.save(nib.Nifti1Image(own, image.affine), shapes / "shape.nii.gz")
    return heads, shapes


@pytest.fixture(scope="module")
def recipe():
    """The recipe without any change of position or image."""
    whole = recipe_of("thalamus", preprocessing={"spacing_mm": [1.0, 1.0, 1.0], "shape": [64, 40, 32]},
                      architecture={"input_shape": [64, 32, 5]})  # fmt: skip
    return replace(whole, augmentation=Augmentation(), region=PLAIN)


@pytest.fixture(scope="module")
def wish(recipe):
    return wish_of(recipe, find_bundle(ANATOMY, None))


@pytest.fixture(scope="module")
def maps(folders, wish):
    return load_maps(*folders, wish, aside=["aside", "nobody"])


def test_maps_lie_where_the_network_will_look_and_shapes_are_filled_with_a_head(maps, recipe):
    assert ([m.name for m in maps.heads], [m.name for m in maps.shapes]) == (["one"], ["shape"])
    assert [m.name for m in maps.validation] == ["aside"]
    found = [
        deformed_anatomy(placed, recipe, PLAIN, np.random.default_rng(0)) for placed in (*maps.heads, *maps.shapes)
    ]
    for anatomy in found:
        for k, side in ((1, -1), (2, 1)):
            assert anatomy.target[..., k].sum() == pytest.approx(BALL_MM3, rel=0.05)
            middle = np.array(ndimage.center_of_mass(anatomy.target[..., k])) - (np.array([64, 40, 32]) - 1) / 2
            np.testing.assert_allclose(middle, [11 * side, 0, 0], atol=1.2)
    head, shape = (anatomy.table.label[anatomy.codes[0]] for anatomy in found)
    assert not (shape == 0).any()
    assert (head == shape).mean() > 0.97  # white matter around the structures comes from the head


def test_the_structure_shrinks_and_ventricles_widen_as_they_are_told(maps, recipe):
    small, rng = replace(PLAIN, volume=(0.7, 0.7)), np.random.default_rng
    volumes = [deformed_anatomy(maps.heads[0], recipe, small, rng(n)).target[..., 1:].sum() for n in range(12)]
    shrunk = [volume for volume in volumes if volume < 1.8 * BALL_MM3]  # seven in ten of them
    assert 5 <= len(shrunk) < 12
    assert np.mean(shrunk) == pytest.approx(0.7 * 2 * BALL_MM3, rel=0.06)
    wide = replace(PLAIN, third_mm=4.0, lateral_mm=4.0)
    fluid = [np.isin(a.table.label, (24, 14, 4, 43))[a.codes].mean() for a in
             (deformed_anatomy(maps.heads[0], recipe, wide, rng(n)) for n in range(12))]  # fmt: skip
    assert max(fluid) > 1.3 * min(fluid)


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_fluid_grey_and_white_matter_are_as_on_such_images(maps, kind):
    table, of = maps.heads[0].table, {"white": 2, "grey": 3, "fluid": 14}
    inside = (table.part > 0) & ~table.behind
    for seed in range(10):
        means = draw_rendering(table, kind, 0.0, np.random.default_rng(seed)).means
        seen = {name: np.median(means[(table.label == number) & (table.rim_mm > 9)]) for name, number in of.items()}
        brightest = {"T1w": "white", "R1map": "white", "FLAIR": "grey"}.get(kind, "fluid")
        assert seen["white"] == pytest.approx(1, abs=0.1)
        assert max(seen, key=seen.get) == brightest
        left, right = (np.median(means[inside & (table.part == k)]) for k in (1, 2))
        assert left == pytest.approx(right, abs=0.15)


def test_batches_are_the_same_again_and_sides_stay_sides_in_mirror_images(maps, recipe):
    training = replace(recipe.training, batch_size=4, batches_per_chunk=5)
    source = SynthesisedBatches(maps, replace(recipe, training=training), replace(PLAIN, shapes=0.5))
    first, again = source.chunk(3), source.chunk(3)
    assert [x.shape for x, _ in first] == [(4, 64, 32, 5)] * 5
    assert all(
        np.array_equal(a, b) for one, other in zip(first, again, strict=True) for a, b in zip(one, other, strict=True)
    )
    y = np.concatenate([y for _, y in first]).astype(float)
    np.testing.assert_allclose(y.sum(-1), 255, atol=1)
    assert y[:, :32, :, 2].sum() == 0 == y[:, 32:, :, 1].sum()
    assert y[..., 1].sum() > 0 < y[..., 2].sum()


def test_what_happens_to_an_image_leaves_it_finite_and_a_brain_mask_leaves_zeros(maps, recipe):
    rough = RegionOptions(kinds={"any": 1.0}, lesions=1.0, strip=1.0, thick=1.0, motion=1.0)
    shaken = replace(recipe, augmentation=recipe_of("thalamus").augmentation)
    for kind in (*IMAGE_KINDS, "any"):
        rng = np.random.default_rng(len(kind))
        anatomy = deformed_anatomy(maps.heads[0], shaken, rough, rng)
        image = region_image(anatomy, kind, shaken, rough, rng)
        assert image.dtype == np.float32 and np.isfinite(image).all() and image.std() > 0
        outside = np.isin(anatomy.table.label, (0, 507, 515))[anatomy.codes].all(axis=0)
        assert (image[outside] == 0).all()


def test_what_is_missing_or_unknown_is_named(folders, wish, tmp_path):
    head = read_labels(folders[0] / "one.nii.gz", wish.template_mm)
    with pytest.raises(UsageError, match=r"no voxel of the left thalamus \(label 99\)"):
        cut(head, replace(wish, parts=(frozenset([99]), frozenset([49]))), np.array([0, -17, 6]))
    with pytest.raises(NoInputError, match="no label maps to train on"):
        load_maps(folders[0], None, wish, aside=["one", "aside"])
    (tmp_path / "dseg.tsv").write_text("index\tname\n1\tGizzard Left\n")
    with pytest.raises(UsageError, match="'gizzard left' is not known"):
        freesurfer_numbers(tmp_path / "dseg.tsv")
    with pytest.raises(UsageError, match=r"maps_to.left thalamus is \[900\]"):
        recipe_of("thalamus", maps_to={"left thalamus": [900]})
    with pytest.raises(UsageError, match=r"synthesis.kinds.T9w is not known"):
        recipe_of("thalamus", synthesis={"kinds": {"T9w": 1}})


def test_a_structure_is_trained_from_maps_alone(folders, tmp_path, monkeypatch):
    """All but the network: phases follow each other, and the bundle knows where to look and where it comes from."""
    small = content_of("thalamus")
    small["preprocessing"] |= {"spacing_mm": [2.0, 4.0, 2.0], "shape": [32, 12, 32]}
    small["architecture"] |= {"input_shape": [32, 32, 5]}
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(small | {"validation": ["aside"]}))
    fitted = []

    def fake(source, _architecture, _loss, training, folder, *, validation, encoder_weights, initial_weights):
        x, y = source.chunk(0)[0]
        fitted.append(
            (folder.name, training.steps, x.shape, y.shape, len(validation) > 0, encoder_weights, initial_weights)
        )
        folder.mkdir()
        np.savez(folder / "weights.npz", a=np.zeros(3, np.float16))
        return folder / "weights.npz"

    monkeypatch.setattr(map_training, "fit", fake)
    monkeypatch.setattr(train, "configure", lambda *_: None)
    monkeypatch.setattr(train, "_with_graph", lambda bundle: bundle)  # there is no network
    arguments = ["fit", str(path), "--label-maps", str(folders[0]), "--shapes", str(folders[1]),
                 "-w", str(tmp_path / "work"), "--bundle", str(tmp_path / "models" / "thalamus")]  # fmt: skip
    assert train.main(arguments) == 0
    shapes = ((16, 32, 32, 5), (16, 32, 32, 3))
    anatomy = find_bundle(ANATOMY, None).folder
    assert fitted == [
        ("strong", 3500, *shapes, True, anatomy, None),
        ("mild", 1000, *shapes, True, None, tmp_path / "work" / "strong" / "weights.npz"),
    ]
    bundle = load_bundle(tmp_path / "models" / "thalamus")
    assert bundle.structure is not None and bundle.structure.name == "thalamus"
    np.testing.assert_allclose(bundle.constants["region_centre_mm"], [0, -19, 7], atol=3)
    assert "Harvard-Oxford" in (bundle.folder / "MODEL_CARD.md").read_text()
