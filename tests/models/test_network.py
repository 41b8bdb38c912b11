"""The network layer: weights survive storage, batches do not change results, the loss is right for soft labels."""

import math
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier

import numpy as np
import pytest

from bids_hypo.errors import ModelError, UsageError
from bids_hypo.models import weights
from bids_hypo.models.archive import read_arrays
from bids_hypo.models.bundle import save_bundle
from bids_hypo.models.device import DeviceRequest
from tests.models.test_bundle import DESCRIPTION

network = pytest.importorskip("bids_hypo.models.network")
inference = pytest.importorskip("bids_hypo.models.inference")
hardware = pytest.importorskip("bids_hypo.models.hardware")
trainer = pytest.importorskip("bids_hypo.models.trainer")

ARCHITECTURE = {
    "backbone": "efficientnetb0", "input_shape": [32, 32, 3], "classes": 3, "decoder_filters": [16, 8, 8, 8, 8],
}  # fmt: skip
LOSS = {"class_weights": [1, 1, 1], "jaccard_groups": [[1], [2]], "jaccard_weight": 0.5}


def _trainer(folder, steps=20, seed=3, loss=LOSS, **changed):
    training = {"learning_rate": 0.01, "steps": steps, "warmup_steps": 2, "seed": seed, **changed}
    return trainer.Trainer(ARCHITECTURE, loss, training, folder)


def _batch(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4, 32, 32, 3)).astype(np.float16)
    y = np.zeros((4, 32, 32, 3), np.uint8)
    y[..., 0], y[:, :16, :, 0], y[:, :16, :, 1] = 255, 0, 255
    return x, y


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    training = _trainer(folder)
    losses = [training.step(*_batch()) for _ in range(8)]
    training.checkpoint()
    training.save_average(folder / "weights.npz")
    bundle = save_bundle(folder / "bundle", {**DESCRIPTION, "architecture": ARCHITECTURE}, [folder / "weights.npz"])
    return folder, losses, bundle


def test_training_lowers_the_loss_and_resumes(trained):
    folder, losses, _ = trained
    assert losses[-1] < 0.8 * losses[0]
    again = _trainer(folder, seed=99)
    assert int(again.step_count) == 8
    assert again.step(*_batch()) < 0.8 * losses[0]


def test_a_network_starts_from_the_layers_it_shares_with_a_bundle(trained, tmp_path):
    *_, bundle = trained
    donor = network.build_unet(ARCHITECTURE)
    weights.load_weights(donor, bundle.folder / "weights-0.npz")
    model = network.build_unet({**ARCHITECTURE, "classes": 5}, bundle.folder)
    shared = [layer for layer in donor.layers if layer.get_weights() and layer.name != "final_conv"]
    assert len(shared) > 50
    for layer in shared:
        for one, other in zip(layer.get_weights(), model.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    assert model.get_layer("final_conv").get_weights()[0].shape[-1] == 5
    with pytest.raises(UsageError, match="resnet18"):
        network.build_unet({**ARCHITECTURE, "backbone": "resnet18", "decoder_filters": [4] * 5}, bundle.folder)


def test_details_and_dark_parts_are_seen_and_start_at_nothing(trained, tmp_path):
    *_, bundle = trained
    plain = network.build_unet(ARCHITECTURE, bundle.folder)
    architecture = {**ARCHITECTURE, "detail_filters": [4], "spread_dark": 0.1}
    fine = network.build_unet(architecture, bundle.folder)
    inner = fine.layers[-1]
    x = np.random.default_rng(3).normal(size=(1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(fine(x), plain(x), atol=1e-6)

    # one correction by the middle of each window, of the image alone: what comes out is local to a voxel
    inner.get_layer("stem_conv").set_weights([np.zeros_like(w) for w in inner.get_layer("stem_conv").get_weights()])
    (kernel,) = inner.get_layer("detail_conv1").get_weights()
    kernel[:] = 0
    kernel[1, 1, -3:, 0] = 1  # the last channels are those in which the dark is spread
    inner.get_layer("detail_conv1").set_weights([kernel])
    kernel, bias = inner.get_layer("detail_out").get_weights()
    kernel[0, 0, 0, 1] = 1
    inner.get_layer("detail_out").set_weights([kernel, bias])
    dark, less_dark, bright = (x.copy() for _ in range(3))
    for image, value in ((dark, 0.05), (less_dark, 0.1), (bright, 1.05)):
        image[0, 10, 11] = value
    changed = np.abs(fine(less_dark) - fine(dark)).max(axis=-1)[0]
    assert np.argwhere(changed > 1e-6).tolist() == [[10, 11]]
    brighter = bright.copy()
    brighter[0, 10, 11] += 0.05
    assert changed.max() > 10 * np.abs(fine(brighter) - fine(bright)).max()

    weights.save_weights(fine, tmp_path / "weights.npz")
    save_bundle(tmp_path / "fine", {**DESCRIPTION, "architecture": architecture}, [tmp_path / "weights.npz"])
    again = network.build_unet(architecture, tmp_path / "fine")
    np.testing.assert_allclose(again(x), fine(x), atol=2e-3)


def test_numbers_too_large_for_half_precision_are_kept(tmp_path):
    large, small = np.array([1.0, 3e5], np.float32), np.array([0.5, -65504], np.float32)
    weights.write_arrays([large, small, np.zeros(0, np.float32)], tmp_path / "weights.npz")
    first, second, empty = read_arrays(tmp_path / "weights.npz").values()
    assert first.dtype == np.float32 and second.dtype == empty.dtype == np.float16
    np.testing.assert_array_equal(first, large)
    np.testing.assert_array_equal(second, small)


def test_results_do_not_depend_on_the_batch_size(trained):
    *_, bundle = trained
    x = np.random.default_rng(1).normal(size=(7, 32, 32, 3)).astype(np.float32)
    whole = inference.load_network(bundle, batch_size=7)(x)
    parts = inference.load_network(bundle, batch_size=3)(x)
    assert whole.shape == (7, 32, 32, 3)
    np.testing.assert_allclose(whole.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_mixed_precision_changes_next_to_nothing(trained):
    *_, bundle = trained
    x = np.random.default_rng(1).normal(size=(6, 32, 32, 3)).astype(np.float32)
    (single,), (mixed,) = (inference.load_networks(bundle, batch_size=4, mixed=mixed) for mixed in (False, True))
    ours, theirs = single(x), mixed(x)
    assert theirs.dtype == np.float32
    assert 0 < np.abs(ours - theirs).max() < 0.02
    assert np.mean(ours.argmax(-1) != theirs.argmax(-1)) < 0.01
    assert network.tf.keras.mixed_precision.global_policy().name == "float32"


def test_folds_are_averaged(trained, tmp_path):
    folder, _, bundle = trained
    other = network.build_unet(ARCHITECTURE)
    weights.save_weights(other, tmp_path / "other.npz")
    description = {**DESCRIPTION, "architecture": ARCHITECTURE}
    both = save_bundle(tmp_path / "both", description, [folder / "weights.npz", tmp_path / "other.npz"])
    alone = save_bundle(tmp_path / "alone", description, [tmp_path / "other.npz"])
    x = np.random.default_rng(2).normal(size=(2, 32, 32, 3)).astype(np.float32)
    one, two = inference.load_network(bundle, batch_size=2)(x), inference.load_network(alone, batch_size=2)(x)
    np.testing.assert_allclose(inference.load_network(both, batch_size=2)(x), (one + two) / 2, atol=1e-4)


@pytest.mark.parametrize("n_lanes", [1, 2])
def test_folds_that_share_a_model_do_not_mix(trained, tmp_path, n_lanes):
    """Called from several threads at once, each fold answers with its own weights."""
    folder, _, _ = trained
    weights.save_weights(network.build_unet(ARCHITECTURE), tmp_path / "other.npz")
    description = {**DESCRIPTION, "architecture": ARCHITECTURE}
    both = save_bundle(tmp_path / "both", description, [folder / "weights.npz", tmp_path / "other.npz"])
    folds = inference.load_networks(both, batch_size=2, n_lanes=n_lanes)
    x = np.random.default_rng(2).normal(size=(2, 32, 32, 3)).astype(np.float32)
    expected = [fold(x) for fold in folds]
    assert np.abs(expected[0] - expected[1]).max() > 0.01
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: folds[n % 2](x), range(16)))
    for n, values in enumerate(found):
        np.testing.assert_array_equal(values, expected[n % 2])


class _Model:
    inside = None

    def put_inside(self, weights, path):
        self.inside = path


def test_lanes_work_side_by_side_and_keep_their_weights():
    models = [_Model(), _Model()]
    lanes = inference._Lanes(models)
    together = Barrier(2)

    def work(path):
        with lanes.one_with([], path) as model:
            together.wait(timeout=20)
            return model

    with ThreadPoolExecutor(2) as pool:
        for paths in (("a", "b"), ("b", "a")):
            used = dict(zip(paths, pool.map(work, paths), strict=True))
            assert {path: model.inside for path, model in used.items()} == {"a": "a", "b": "b"}
    with lanes.one_with([], "b") as model:
        assert model is used["b"]


def test_a_fold_that_comes_later_waits_for_one_at_work(trained, tmp_path):
    """After a fallback to the CPU a fold may be prepared while another one is in its model."""
    folder, _, _ = trained
    description = {**DESCRIPTION, "architecture": ARCHITECTURE}
    both = save_bundle(tmp_path / "both", description, [folder / "weights.npz"] * 2)
    first, second = (both.folder / name for name, _ in both.weights)
    shared = inference._SharedModel(both, mixed=False)
    shared.network(first, True)
    with ThreadPoolExecutor(1) as pool:
        with shared._placed[True].one_with([], first) as placed:
            later = pool.submit(shared.network, second, True)
            wait([later], timeout=2)
            assert not later.done() and placed.inside == first
        later.result(timeout=60)
    assert placed.inside == second


def test_weights_that_were_exchanged_by_half_are_not_used(trained, tmp_path, monkeypatch):
    """Memory that runs out while one fold follows another must not leave a mixture that passes for the first."""
    folder, _, _ = trained
    weights.save_weights(network.build_unet(ARCHITECTURE), tmp_path / "other.npz")
    description = {**DESCRIPTION, "architecture": ARCHITECTURE}
    both = save_bundle(tmp_path / "both", description, [folder / "weights.npz", tmp_path / "other.npz"])
    shared = inference._SharedModel(both, mixed=False)
    first, second = (shared.network(both.folder / name, True) for name, _ in both.weights)
    x = np.random.default_rng(2).normal(size=(2, 32, 32, 3)).astype(np.float32)
    expected = first(x)
    (placed,) = shared._placed[True].models

    def full_at_the_end(weights):
        for variable, values in list(zip(placed.model.weights, weights, strict=True))[:-1]:
            variable.assign(values)
        raise network.tf.errors.ResourceExhaustedError(None, None, "no memory")

    with monkeypatch.context() as patch:
        patch.setattr(placed, "exchange", full_at_the_end)
        with pytest.raises(MemoryError, match="no memory"):
            second(x)
    np.testing.assert_array_equal(first(x), expected)


def test_weights_of_another_network_are_refused(trained, tmp_path):
    folder, *_ = trained
    description = {**DESCRIPTION, "architecture": {**ARCHITECTURE, "decoder_filters": [8, 8, 8, 8, 8]}}
    odd = save_bundle(tmp_path / "odd", description, [folder / "weights.npz"])
    with pytest.raises(ModelError, match=r"weights-0.npz: found .* not those of the network that bundle.json"):
        inference.load_networks(odd)


def test_batches_are_no_larger_than_the_slices_of_a_scan_need(trained):
    *_, bundle = trained
    n_slices = bundle.preprocessing.shape[1]
    sizes = []
    (shared,) = inference.load_networks(bundle, batch_size=n_slices - 1)
    call = shared._call
    shared._call = lambda x: sizes.append(len(x)) or call(x)
    shared(np.zeros((n_slices, 32, 32, 3), np.float32))
    assert sizes == [math.ceil(n_slices / 2)] * 2


def test_the_loss_does_not_reward_a_larger_outline():
    loss = trainer.make_loss({**LOSS, "class_weights": [1, 1, 1], "jaccard_weight": 1.0})
    soft = np.zeros((1, 1, 40, 3), np.float32)
    soft[..., 1] = np.clip((np.arange(40) - 15) / 10, 0, 1)
    soft[..., 0] = 1 - soft[..., 1]

    def at(shift):
        p = np.full_like(soft, 1e-6)
        p[..., 1] = np.clip((np.arange(40) - 15 + shift) / 10, 1e-6, 1)
        p[..., 0] = np.clip(1 - p[..., 1], 1e-6, 1)
        return float(loss(soft, p))

    assert at(0) < min(at(-3), at(3))


def test_the_papers_loss_and_optimiser(tmp_path):
    paper = _trainer(
        tmp_path, loss={"type": "cross entropy + jaccard"}, schedule="constant", clip_norm=None, average=False,
        learning_rate=0.001,
    )  # fmt: skip
    losses = [paper.step(*_batch()) for _ in range(8)]
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(paper.average[0].numpy(), paper.model.variables[0].numpy())


def test_validation_uses_the_average_and_leaves_training_alone(tmp_path):
    fresh = _trainer(tmp_path)
    fresh.step(*_batch())
    before = [w.copy() for w in fresh.model.get_weights()]
    loss, iou = fresh.validate([_batch(), _batch(1)])
    assert 0 <= iou <= 1 and loss > 0
    for a, b in zip(before, fresh.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    fresh.save_average(tmp_path / "average.npz")
    weights.load_weights(fresh.model, tmp_path / "average.npz")
    assert fresh.validate([_batch(), _batch(1)])[0] == pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize("backbone", ["vgg16", "resnet50", "inceptionv3"])
def test_other_backbones(backbone):
    model = network.build_unet({**ARCHITECTURE, "backbone": backbone, "input_shape": [96, 96, 3]})
    out = model(np.zeros((1, 96, 96, 3), np.float32)).numpy()
    np.testing.assert_allclose(out.sum(-1), 1, atol=1e-5)


def test_encoder_weights_from_a_file(tmp_path):
    donor = network.build_unet(ARCHITECTURE)
    donor.save_weights(str(tmp_path / "encoder.h5"))
    filled = network.build_unet(ARCHITECTURE, tmp_path / "encoder.h5")
    np.testing.assert_array_equal(donor.get_weights()[0], filled.get_weights()[0])
    with pytest.raises(UsageError, match="cannot be used for vgg16"):
        network.build_unet({**ARCHITECTURE, "backbone": "vgg16"}, tmp_path / "encoder.h5")
    with pytest.raises(UsageError, match="efficientnetb0"):
        network.build_unet({**ARCHITECTURE, "backbone": "unknown"})


def test_a_gpu_that_is_not_there_is_an_error():
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match="sees 0 GPU"):
        hardware.configure_device(DeviceRequest("gpu"), None)
    assert hardware.configure_device(DeviceRequest("auto"), None) == "cpu"


@pytest.mark.parametrize(
    ("n_threads", "n_lanes", "within", "between"),
    [(None, None, None, None), (6, None, 6, 1), (None, 1, None, 1), (6, 1, 6, 1), (6, 2, 3, 2), (1, 2, 1, 1)],
)
def test_lanes_share_the_threads(monkeypatch, n_threads, n_lanes, within, between):
    told = {}
    threading = network.tf.config.threading
    monkeypatch.setattr(threading, "set_intra_op_parallelism_threads", lambda n: told.update(within=n))
    monkeypatch.setattr(threading, "set_inter_op_parallelism_threads", lambda n: told.update(between=n))
    hardware.configure_device(DeviceRequest("cpu"), n_threads, n_lanes)
    assert (told.get("within"), told.get("between")) == (within, between)
