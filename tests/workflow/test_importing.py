"""Models saved by plain segmentation-models code become bundles that give the same numbers."""

import h5py
import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_hypo.errors import ModelError
from bids_hypo.models.bundle import load_bundle
from bids_hypo.segmentation.delineate import region_grid, region_probabilities
from bids_hypo.segmentation.pose import Pose
from bids_hypo.train.recipe import load_recipe
from bids_hypo.workflow.importing import import_keras
from tests.phantoms import affine_for, inside_ellipsoid, phantom_head, world_mm
from tests.train.recipes import recipe_of

inference = pytest.importorskip("bids_hypo.models.inference")


def _plain_unet(backbone, classes=2, side=64, filters=(24, 16, 16, 8, 8)):
    """What a user's own script does: segmentation-models and nothing of ours."""
    import segmentation_models as sm
    import tf_keras

    tf_keras.utils.set_random_seed(3)
    return sm.Unet(
        backbone, input_shape=(side, side, 3), classes=classes, activation="softmax", encoder_weights=None,
        decoder_filters=filters,
    )  # fmt: skip


@pytest.fixture
def recipe():
    grid = {"spacing_mm": [1, 2, 1], "shape": [64, 12, 64]}
    return recipe_of("vernikouskaya2023", preprocessing=grid, architecture={"input_shape": [64, 64, 3]})


@pytest.mark.parametrize(("backbone", "whole"), [("efficientnetb0", True), ("resnet50", False)])
def test_the_same_numbers_come_out(backbone, whole, recipe, tmp_path):
    model = _plain_unet(backbone)
    path = tmp_path / "model.h5"
    (model.save if whole else model.save_weights)(str(path))
    bundle = import_keras(path, recipe, tmp_path / "models" / "hypothalamus", slice_orientation="SR")
    assert bundle.architecture["backbone"] == backbone
    assert bundle.architecture["decoder_filters"] == [24, 16, 16, 8, 8]
    assert load_bundle(bundle.folder).preprocessing.slice_orientation == "SR"
    x = np.random.default_rng(0).uniform(0, 1, (2, 64, 64, 3)).astype(np.float32)
    (ours,) = inference.load_networks(bundle, batch_size=2)
    np.testing.assert_allclose(ours(x), model.predict(x, verbose=0), atol=1e-4)


WHITE = 95.0  # of the phantom


def _a_scan_and_its_frame():
    """An oblique scan of a head in which no two directions look the same, and where its template lies."""
    shape = (100, 90, 80)
    affine = affine_for("LPS", (1.0, 1.2, 1.1), shape, rotation_deg=20)
    scan = phantom_head(shape, affine, noise_sd=0)
    points = world_mm(shape, affine)
    for centre, radii, value in (
        ((-14, -6, 5), (4, 9, 6), 65),
        ((9, 2, -15), (6, 8, 3), 150),
        ((0, -8, -22), (9, 4, 5), 5),
    ):
        scan.data[inside_ellipsoid(points, centre, radii)] = value
    rotation = nib.eulerangles.euler2mat(0.1, -0.15, 0.2)
    return scan, Pose(rotation, np.array([2.0, -5.0, 3.0]), 1.08, 0.0, ())


def _pictures(scan, pose, n):
    """As their makers cut them: the AC-PC plane halfway down, the subject's right first, white matter at 0.39."""
    across = (np.arange(512) - 255.5) * 0.125
    ahead = (np.arange(n) - (n - 1) / 2) * 0.5
    in_head = np.stack(np.broadcast_arrays(-across[None, None], ahead[:, None, None], -across[None, :, None]), axis=-1)
    ac_pc = pose.scale * pose.rotation @ [0, -3, -2] + pose.translation_mm
    voxels = nib.affines.apply_affine(np.linalg.inv(scan.affine), in_head @ pose.rotation.T + ac_pc)
    values = ndimage.map_coordinates(scan.data, np.moveaxis(voxels, -1, 0), order=1)
    return np.repeat(np.clip(values * 0.39 / WHITE, 0, 1)[..., None], 3, axis=-1)


def test_the_papers_networks_see_slices_as_their_makers_cut_them(tmp_path):
    n = 3
    model = _plain_unet("efficientnetb0", side=512, filters=(256, 128, 64, 32, 16))
    last = model.get_layer("final_conv")
    last.set_weights([200 * w for w in last.get_weights()])  # so that the tissues look different to it
    model.save(str(tmp_path / "efficientnetb0.h5"))
    recipe = load_recipe("vernikouskaya2023", changes=[f"preprocessing.shape=[512,{n},512]"])
    bundle = import_keras(tmp_path / "efficientnetb0.h5", recipe, tmp_path / "models" / "hypothalamus")

    scan, pose = _a_scan_and_its_frame()
    networks = inference.load_networks(bundle, batch_size=1)
    (ours,) = region_probabilities(scan, region_grid(pose, bundle), bundle, networks, mirrored=False)
    theirs = model.predict(_pictures(scan, pose, n), batch_size=1, verbose=0)[..., 1]
    laid = ours[..., 1:].sum(axis=-1).transpose(1, 2, 0)[:, ::-1, ::-1]  # rows downwards, columns to the left
    np.testing.assert_allclose(laid, theirs, atol=0.01)
    for other in (laid[:, ::-1], laid[:, :, ::-1], laid.transpose(0, 2, 1), np.roll(laid, 8, axis=1)):
        assert np.abs(other - theirs)[:, 16:-16, 16:-16].max() > 0.1


def test_what_does_not_fit_is_said(recipe, tmp_path):
    path = tmp_path / "three.h5"
    _plain_unet("efficientnetb0", classes=3).save_weights(str(path))
    with pytest.raises(ModelError, match="found 3 output classes; the recipe 'vernikouskaya2023' expects 2"):
        import_keras(path, recipe, tmp_path / "bundle")
    (tmp_path / "text.h5").write_text("not a model")
    with pytest.raises(ModelError, match=r"text.h5: not a Keras .h5"):
        import_keras(tmp_path / "text.h5", recipe, tmp_path / "bundle")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["layer_names"] = []
    with pytest.raises(ModelError, match="found no decoder"):
        import_keras(tmp_path / "other.h5", recipe, tmp_path / "bundle")
    assert not (tmp_path / "bundle" / "bundle.json").exists()
