"""The network layer: weights survive storage, batches do not change results, the loss is right for soft labels."""

import numpy as np
import pytest

from bids_hypo.errors import UsageError
from bids_hypo.models.bundle import save_bundle
from bids_hypo.models.device import DeviceRequest
from tests.models.test_bundle import DESCRIPTION

network = pytest.importorskip("bids_hypo.models.network")

ARCHITECTURE = {
    "backbone": "efficientnetb0", "input_shape": [32, 32, 3], "classes": 3, "decoder_filters": [16, 8, 8, 8, 8],
}  # fmt: skip
LOSS = {"class_weights": [1, 1, 1], "jaccard_groups": [[1], [2]], "jaccard_weight": 0.5}


def _trainer(folder, steps=20, seed=3):
    return network.Trainer(
        ARCHITECTURE, LOSS, learning_rate=0.01, total_steps=steps, warmup_steps=2, folder=folder, seed=seed
    )


def _batch(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4, 32, 32, 3)).astype(np.float16)
    y = np.zeros((4, 32, 32, 3), np.uint8)
    y[..., 0], y[:, :16, :, 0], y[:, :16, :, 1] = 255, 0, 255
    return x, y


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    trainer = _trainer(folder)
    losses = [trainer.step(*_batch()) for _ in range(8)]
    trainer.checkpoint()
    trainer.save_average(folder / "weights.npz")
    bundle = save_bundle(folder / "bundle", {**DESCRIPTION, "architecture": ARCHITECTURE}, [folder / "weights.npz"])
    return folder, losses, bundle


def test_training_lowers_the_loss_and_resumes(trained):
    folder, losses, _ = trained
    assert losses[-1] < 0.8 * losses[0]
    again = _trainer(folder, seed=99)
    assert int(again.step_count) == 8
    assert again.step(*_batch()) < 0.8 * losses[0]


def test_results_do_not_depend_on_the_batch_size(trained):
    *_, bundle = trained
    x = np.random.default_rng(1).normal(size=(7, 32, 32, 3)).astype(np.float32)
    whole = network.load_network(bundle, batch_size=7)(x)
    parts = network.load_network(bundle, batch_size=3)(x)
    assert whole.shape == (7, 32, 32, 3)
    np.testing.assert_allclose(whole.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_folds_are_averaged(trained, tmp_path):
    folder, _, bundle = trained
    other = network.build_unet(ARCHITECTURE)
    network.save_weights(other, tmp_path / "other.npz")
    description = {**DESCRIPTION, "architecture": ARCHITECTURE}
    both = save_bundle(tmp_path / "both", description, [folder / "weights.npz", tmp_path / "other.npz"])
    alone = save_bundle(tmp_path / "alone", description, [tmp_path / "other.npz"])
    x = np.random.default_rng(2).normal(size=(2, 32, 32, 3)).astype(np.float32)
    one, two = network.load_network(bundle, batch_size=2)(x), network.load_network(alone, batch_size=2)(x)
    np.testing.assert_allclose(network.load_network(both, batch_size=2)(x), (one + two) / 2, atol=1e-4)


def test_the_loss_does_not_reward_a_larger_outline():
    loss = network._make_loss({**LOSS, "class_weights": [1, 1, 1], "jaccard_weight": 1.0})
    soft = np.zeros((1, 1, 40, 3), np.float32)
    soft[..., 1] = np.clip((np.arange(40) - 15) / 10, 0, 1)
    soft[..., 0] = 1 - soft[..., 1]

    def at(shift):
        p = np.full_like(soft, 1e-6)
        p[..., 1] = np.clip((np.arange(40) - 15 + shift) / 10, 1e-6, 1)
        p[..., 0] = np.clip(1 - p[..., 1], 1e-6, 1)
        return float(loss(soft, p))

    assert at(0) < min(at(-3), at(3))


def test_a_gpu_that_is_not_there_is_an_error():
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match="sees 0 GPU"):
        network.configure_device(DeviceRequest("gpu"), None)
    assert network.configure_device(DeviceRequest("auto"), None) == "cpu"
