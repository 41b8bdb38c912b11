"""Models saved by plain segmentation-models code become bundles that give the same numbers."""

import h5py
import numpy as np
import pytest

from bids_hypo.errors import ModelError
from bids_hypo.models.bundle import load_bundle
from bids_hypo.workflow.importing import import_keras
from tests.train.recipes import recipe_of

inference = pytest.importorskip("bids_hypo.models.inference")


def _plain_unet(backbone, classes=2):
    """What a user's own script does: segmentation-models and nothing of ours."""
    import segmentation_models as sm

    return sm.Unet(
        backbone, input_shape=(64, 64, 3), classes=classes, activation="softmax", encoder_weights=None,
        decoder_filters=(24, 16, 16, 8, 8),
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
    bundle = import_keras(path, recipe, tmp_path / "models" / "hypothalamus", slice_orientation="IL")
    assert bundle.architecture["backbone"] == backbone
    assert bundle.architecture["decoder_filters"] == [24, 16, 16, 8, 8]
    assert load_bundle(bundle.folder).preprocessing.slice_orientation == "IL"
    assert bundle.constants["region_centre_mm"]
    x = np.random.default_rng(0).uniform(0, 1, (2, 64, 64, 3)).astype(np.float32)
    (ours,) = inference.load_networks(bundle, batch_size=2)
    np.testing.assert_allclose(ours(x), model.predict(x, verbose=0), atol=1e-4)


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
