"""The only module that knows TensorFlow and segmentation_models: building, training and calling networks.

Outside this module a network is a plain callable ``(N, H, W, C) -> (N, H, W, K)``.
"""

from __future__ import annotations

import os
import warnings

# segmentation_models 1.0.1 needs Keras 2 (tf_keras) on TensorFlow 2.16 and later; both are read at import.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("SM_FRAMEWORK", "tf.keras")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bids_hypo.errors import UsageError
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.models.device import DeviceRequest

with contextlib.redirect_stdout(io.StringIO()):  # it announces its framework on standard output
    import segmentation_models as sm

logger = logging.getLogger(__name__)

Network = Callable[[np.ndarray], np.ndarray]


def build_unet(architecture: dict[str, Any], encoder_weights: str | None = None) -> Any:
    """Build a U-Net.

    Parameters
    ----------
    architecture : dict
        ``backbone``, ``input_shape`` [H, W, C], ``classes``, ``decoder_filters``.
    encoder_weights : {None, "imagenet"}
        ``imagenet`` downloads the encoder and needs three channels.

    Returns
    -------
    tf_keras.Model
        Softmax output (N, H, W, K).
    """
    with warnings.catch_warnings():  # it expects 1 or 3 channels, the neighbours of a slice make 5
        warnings.filterwarnings("ignore", message=".*input channels", category=UserWarning)
        return sm.Unet(
            architecture["backbone"],
            input_shape=tuple(architecture["input_shape"]),
            classes=int(architecture["classes"]),
            activation="softmax",
            encoder_weights=encoder_weights,
            decoder_filters=tuple(architecture["decoder_filters"]),
        )


def save_weights(model: Any, path: Path) -> None:
    """Write the weights in half precision as a compressed ``.npz``, one array per variable in model order."""
    _write_arrays(model.get_weights(), path)


def _write_arrays(weights: list[np.ndarray], path: Path) -> None:
    arrays: dict[str, Any] = {f"{i:04d}": w.astype(np.float16) for i, w in enumerate(weights)}
    np.savez_compressed(path, **arrays)


def load_weights(model: Any, path: Path) -> None:
    """Fill a model from a file written by `save_weights`."""
    with np.load(path) as stored:
        model.set_weights([stored[name].astype(np.float32) for name in sorted(stored.files)])


class Trainer:
    """A network under training, with its optimiser, running average of the weights and checkpoints.

    Parameters
    ----------
    architecture : dict
        See `build_unet`.
    loss : dict
        ``class_weights`` (K,), ``jaccard_groups`` (list of lists of class indices), ``jaccard_weight``.
    learning_rate, total_steps, warmup_steps : float, int, int
        Linear warm-up, then a cosine to zero.
    folder : Path
        Checkpoints go here; training goes on from the newest.
    seed : int
    encoder_weights : {None, "imagenet"}
    initial_weights : Path, optional
        A file of `save_weights` to start from; a checkpoint in ``folder`` comes first.
    """

    def __init__(
        self,
        architecture: dict[str, Any],
        loss: dict[str, Any],
        *,
        learning_rate: float,
        total_steps: int,
        warmup_steps: int,
        folder: Path,
        seed: int,
        encoder_weights: str | None = None,
        initial_weights: Path | None = None,
    ) -> None:
        tf.keras.utils.set_random_seed(seed)
        self.model = build_unet(architecture, encoder_weights)
        if initial_weights is not None:
            load_weights(self.model, initial_weights)
        self.average = [tf.Variable(v, trainable=False) for v in self.model.variables]
        schedule = tf.keras.optimizers.schedules.CosineDecay(
            0.0, total_steps - warmup_steps, warmup_target=learning_rate, warmup_steps=warmup_steps
        )
        self.optimiser = tf.keras.optimizers.Adam(schedule, global_clipnorm=5.0)
        self.optimiser.build(self.model.trainable_variables)
        self._loss = _make_loss(loss)
        self.step_count = tf.Variable(0, dtype=tf.int64, trainable=False)
        checkpoint = tf.train.Checkpoint(
            model=self.model, optimiser=self.optimiser, step=self.step_count, average=self.average
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=2)
        if self._manager.latest_checkpoint:
            checkpoint.restore(self._manager.latest_checkpoint).expect_partial()
            logger.info("going on from step %d", int(self.step_count))
        self._train = tf.function(self._train_step)

    def _train_step(self, x: Any, y: Any) -> Any:
        x, y = tf.cast(x, tf.float32), tf.cast(y, tf.float32) / 255.0
        with tf.GradientTape() as tape:
            p = self.model(x, training=True)
            loss = self._loss(y, p)
        variables = self.model.trainable_variables
        self.optimiser.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self.step_count.assign_add(1)
        step = tf.cast(self.step_count, tf.float32)
        keep = tf.minimum(0.998, (1.0 + step) / (10.0 + step))
        for mean, value in zip(self.average, self.model.variables, strict=True):
            mean.assign(keep * mean + (1.0 - keep) * value)
        return loss

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        """One update with a batch as `bids_hypo.train.fit.BatchSource` makes it; returns the loss."""
        return float(self._train(tf.constant(x), tf.constant(y)))

    def checkpoint(self) -> None:
        """Write a checkpoint that a later `Trainer` on the same folder goes on from."""
        self._manager.save(checkpoint_number=int(self.step_count))

    def save_average(self, path: Path) -> None:
        """Write the running average of the weights, which is what a bundle ships."""
        _write_arrays(self._averaged_weights(), path)

    def _averaged_weights(self) -> list[np.ndarray]:
        by_id = {id(v): a for v, a in zip(self.model.variables, self.average, strict=True)}
        return [by_id[id(w)].numpy() for w in self.model.weights]


def _make_loss(spec: dict[str, Any]) -> Callable[[Any, Any], Any]:
    """Weighted cross entropy plus the Jaccard metric loss of Wang et al. (2023, NeurIPS), right for soft labels.

    JML(p, y) = 1 - (|p + y|_1 - |p - y|_1) / (|p + y|_1 + |p - y|_1); unlike the soft Jaccard it has its minimum at
    p = y and does not reward too large an outline when y is not 0 or 1.
    """
    weights = tf.constant(spec["class_weights"], tf.float32)
    groups = [tf.constant(g) for g in spec["jaccard_groups"]]
    share = float(spec["jaccard_weight"])

    def loss(y: Any, p: Any) -> Any:
        p = tf.clip_by_value(p, 1e-6, 1.0)
        w = y * weights
        total = -tf.reduce_sum(w * tf.math.log(p)) / tf.reduce_sum(w)
        for group in groups:
            a = tf.reduce_sum(tf.gather(p, group, axis=-1), axis=-1)
            b = tf.reduce_sum(tf.gather(y, group, axis=-1), axis=-1)
            both, apart = tf.reduce_sum(a + b), tf.reduce_sum(tf.abs(a - b))
            total += share / len(groups) * (1.0 - (both - apart + 1.0) / (both + apart + 1.0))
        return total

    return loss


def load_network(bundle: ModelBundle, *, batch_size: int = 16) -> Network:
    """Build a bundle's network and return it as a plain callable; several sets of weights are averaged.

    Parameters
    ----------
    bundle : ModelBundle
    batch_size : int
        Slices at a time; the last batch is padded, so that one graph serves all.

    Returns
    -------
    callable
        (N, H, W, C) float32 to (N, H, W, K) float32.
    """
    calls = []
    for name, _ in bundle.weights:
        model = build_unet(bundle.architecture)
        load_weights(model, bundle.folder / name)
        shape = (batch_size, *bundle.architecture["input_shape"])
        calls.append(_frozen(model, shape))

    def network(x: np.ndarray) -> np.ndarray:
        out = np.empty((len(x), *x.shape[1:3], int(bundle.architecture["classes"])), np.float32)
        for start in range(0, len(x), batch_size):
            part = x[start : start + batch_size]
            short = batch_size - len(part)
            padded = np.pad(part, [(0, short), (0, 0), (0, 0), (0, 0)]) if short else part
            mean = np.mean([call(padded) for call in calls], axis=0) if len(calls) > 1 else calls[0](padded)
            out[start : start + len(part)] = mean[: len(part)]
        return out

    return network


def _frozen(model: Any, shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Freeze a model into a graph of constants, where batch normalisation is folded into the convolutions."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = tf.function(lambda x: model(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
    graph = convert_variables_to_constants_v2(concrete)

    def call(x: np.ndarray) -> np.ndarray:
        return np.asarray(graph(tf.constant(x, tf.float32))[0])

    return call


def configure_device(request: DeviceRequest, n_threads: int | None) -> str:
    """Choose the device before anything runs, and prove a GPU with a small kernel.

    Parameters
    ----------
    request : DeviceRequest
    n_threads : int, optional

    Returns
    -------
    str
        ``cpu`` or ``gpu:N``, as used.

    Raises
    ------
    UsageError
        If a GPU was asked for and none works.
    """
    if n_threads:
        tf.config.threading.set_intra_op_parallelism_threads(n_threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    gpus = tf.config.list_physical_devices("GPU") if request.kind != "cpu" else []
    number = request.index or 0
    if request.kind == "cpu" or number >= len(gpus):
        if request.kind == "gpu":
            raise UsageError(
                f"--device gpu: TensorFlow sees {len(gpus)} GPU(s), number {number} was asked for. Check the driver "
                "(nvidia-smi), the container's GPU option (--gpus all, --nv), or use --device cpu."
            )
        tf.config.set_visible_devices([], "GPU")
        return "cpu"
    tf.config.set_visible_devices([gpus[number]], "GPU")
    tf.config.experimental.set_memory_growth(gpus[number], True)
    try:
        with tf.device("/GPU:0"):
            np.asarray(tf.nn.conv2d(tf.ones((1, 8, 8, 1)), tf.ones((3, 3, 1, 1)), 1, "SAME"))
    except tf.errors.OpError as error:
        if request.kind == "gpu":
            raise UsageError(f"--device gpu: a test kernel failed on GPU {number} ({error.message}).") from error
        logger.warning("GPU %d does not work (%s); using the CPU", number, error.message)
        return "cpu"
    return f"gpu:{number}"
