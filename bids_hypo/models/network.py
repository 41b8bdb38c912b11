"""The only module that imports TensorFlow and segmentation_models: building, storing and calling networks.

Outside of it, `bids_hypo.models.trainer` and `bids_hypo.models.hardware` a network is a plain callable
``(N, H, W, C) -> (N, H, W, K)``.
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
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bids_hypo.errors import ModelError, UsageError
from bids_hypo.models.batches import SharedNetwork
from bids_hypo.models.bundle import ModelBundle, load_bundle

with contextlib.redirect_stdout(io.StringIO()):  # it announces its framework on standard output
    import segmentation_models as sm

logger = logging.getLogger(__name__)

Network = Callable[[np.ndarray], np.ndarray]


def build_unet(architecture: dict[str, Any], encoder_weights: str | Path | None = None) -> Any:
    """Build a U-Net.

    Parameters
    ----------
    architecture : dict
        ``backbone`` (any that segmentation-models knows), ``input_shape`` [H, W, C], ``classes``, ``decoder_filters``.
    encoder_weights : {None, "imagenet"} or Path
        ``imagenet`` is downloaded by segmentation-models; a file is a Keras ``.h5`` of the encoder. Both need as many
        channels as they were trained with, usually three. A folder is a model bundle, of which the decoder is taken
        too; layers of another shape, such as the last one, start at random.

    Returns
    -------
    tf_keras.Model
        Softmax output (N, H, W, K), in single precision also under a mixed-precision policy.

    Raises
    ------
    UsageError
        If the backbone is unknown or the encoder weights cannot be had or do not fit.
    """
    backbone = architecture["backbone"]
    check_backbone(backbone)
    weights = None if encoder_weights is None else str(encoder_weights)
    try:
        with warnings.catch_warnings():  # it expects 1 or 3 channels, the neighbours of a slice make 5
            warnings.filterwarnings("ignore", message=".*input channels", category=UserWarning)
            model = sm.Unet(
                backbone,
                input_shape=tuple(architecture["input_shape"]),
                classes=int(architecture["classes"]),
                activation="linear",
                encoder_weights="imagenet" if weights == "imagenet" else None,
                decoder_filters=tuple(architecture["decoder_filters"]),
            )
            if weights not in (None, "imagenet"):
                (_load_layers if Path(weights).is_dir() else _load_encoder)(model, Path(weights))
    except Exception as error:
        if weights is None:
            raise
        raise UsageError(
            f"--encoder-weights {weights}: cannot be used for {backbone} with input {architecture['input_shape']} "
            f"({str(error).splitlines()[0]}). 'imagenet' needs a network connection and three channels; a file must be "
            "a Keras .h5 and a folder a model bundle of the same encoder; 'none' starts from random weights."
        ) from error
    probabilities = tf.keras.layers.Activation("softmax", dtype="float32", name="probabilities")(model.output)
    return tf.keras.Model(model.input, probabilities)


def check_backbone(name: str) -> None:
    """Raise a `UsageError` that lists the encoders if segmentation-models does not know this one."""
    if name not in sm.get_available_backbone_names():
        raise UsageError(f"backbone {name!r}: expected one of {', '.join(sm.get_available_backbone_names())}.")


def _load_encoder(model: Any, path: Path) -> None:
    """Fill the layers that a Keras file knows by name; a file that knows none is an error."""
    before = [w.copy() for w in model.get_weights()]
    model.load_weights(str(path), by_name=True)
    if all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)):
        raise ValueError("no layer of the file has the name of a layer of this encoder")


def _load_layers(model: Any, folder: Path) -> None:
    """Fill the layers that a bundle's first network has too; a network that shares none is an error."""
    bundle = load_bundle(folder)
    donor = build_unet(bundle.architecture)
    load_weights(donor, folder / bundle.weights[0][0])
    there = {layer.name: layer for layer in model.layers}
    n_filled = 0
    for layer in donor.layers:
        values, own = layer.get_weights(), there.get(layer.name)
        if values and own is not None and [v.shape for v in values] == [w.shape for w in own.get_weights()]:
            own.set_weights(values)
            n_filled += 1
    if not n_filled:
        raise ValueError("no layer of the bundle's network is a layer of this one")
    logger.info("%d layers start from %s %s", n_filled, bundle.name, bundle.version)


def save_weights(model: Any, path: Path) -> None:
    """Write the weights in half precision as a compressed ``.npz``, one array per variable in model order."""
    write_arrays(model.get_weights(), path)


def write_arrays(weights: list[np.ndarray], path: Path, dtype: type[np.floating] = np.float16) -> None:
    """Write weights as `save_weights` does; ``dtype`` float32 keeps those made elsewhere exactly as they are."""
    arrays: dict[str, Any] = {f"{i:04d}": w.astype(dtype) for i, w in enumerate(weights)}
    np.savez_compressed(path, **arrays)


def load_weights(model: Any, path: Path) -> None:
    """Fill a model from a file written by `save_weights`."""
    model.set_weights(read_weights(model, path))


def read_weights(model: Any, path: Path) -> list[np.ndarray]:
    """The arrays of a file written by `save_weights`, in single precision and in the order of ``model.weights``.

    Raises
    ------
    ModelError
        If they are not those of a network like this one.
    """
    with np.load(path) as stored:
        weights = [stored[name].astype(np.float32) for name in sorted(stored.files)]
    found, expected = [w.shape for w in weights], [tuple(w.shape) for w in model.weights]
    if found != expected:
        raise ModelError(
            f"{path}: found {len(found)} arrays that are not those of the network that bundle.json describes (expected "
            f"{len(expected)}). The two do not belong together: fetch or train the model again."
        )
    return weights


def load_networks(
    bundle: ModelBundle, *, batch_size: int = 16, on_cpu: bool = False, mixed: bool = False, n_lanes: int = 1
) -> tuple[SharedNetwork, ...]:
    """Build a bundle's networks, one for each set of weights (fold).

    Parameters
    ----------
    bundle : ModelBundle
    batch_size : int
        Slices at a time, at most; fewer where the slices of a scan fill as many batches, so that none is half empty.
    on_cpu : bool
        Stay away from a GPU that TensorFlow sees.
    mixed : bool
        Compute in half precision, wherever it runs.
    n_lanes : int
        Batches that may be worked on at the same time.

    Returns
    -------
    tuple of SharedNetwork
        Each (N, H, W, C) float32 to (N, H, W, K) float32, from any thread.
    """
    n_classes = int(bundle.architecture["classes"])
    n_slices = bundle.preprocessing.shape[1]
    batch_size = math.ceil(n_slices / math.ceil(n_slices / batch_size))
    shared = _SharedModel(bundle, mixed=mixed, n_lanes=n_lanes)
    networks = []
    for fold, (weights, _) in enumerate(bundle.weights, start=1):
        name = bundle.name if len(bundle.weights) == 1 else f"{bundle.name}, fold {fold}"
        make_call = partial(shared.network, bundle.folder / weights)
        networks.append(
            SharedNetwork(
                make_call, batch_size=batch_size, n_classes=n_classes, name=name, on_cpu=on_cpu, n_lanes=n_lanes
            )
        )
    return tuple(networks)


class _Placed:
    """A model on one device and the graphs that use it: each call is one way into TensorFlow and back.

    Attributes
    ----------
    answer : callable
        Slices to probabilities.
    exchange : callable
        Puts a list of weights into the model. One graph, because between hundreds of single steps other threads of
        Python would take their turn.
    inside : Path or None
        Where the weights inside came from.
    """

    def __init__(self, architecture: dict[str, Any], *, mixed: bool) -> None:
        with precision(mixed=mixed):
            self.model = build_unet(architecture)
        signature = tf.TensorSpec((None, *architecture["input_shape"]), tf.float32)
        self.answer = tf.function(lambda x: self.model(x, training=False)).get_concrete_function(signature)
        self.exchange = tf.function(self._assign)
        self.inside: Path | None = None

    def _assign(self, weights: list[Any]) -> None:
        for variable, values in zip(self.model.weights, weights, strict=True):
            variable.assign(values)

    def put_inside(self, weights: list[Any], path: Path) -> None:
        if self.inside != path:
            self.inside = None  # if memory runs out on the way, it holds neither the old nor the new
            self.exchange(weights)
            self.inside = path


class _Lanes:
    """Models on one device, each of which holds one set of weights at a time and is used by one thread at a time."""

    def __init__(self, models: list[_Placed]) -> None:
        self.models = models
        self._free = list(models)
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def one_with(self, weights: list[Any], path: Path) -> Iterator[_Placed]:
        """Wait for a model, preferably one that has these weights inside already, and put them there."""
        with self._changed:
            while not self._free:
                self._changed.wait()
            placed = next((model for model in self._free if model.inside == path), self._free[0])
            self._free.remove(placed)
        try:
            placed.put_inside(weights, path)
            yield placed
        finally:
            with self._changed:
                self._free.append(placed)
                self._changed.notify()


class _SharedModel:
    """One model and graph for all sets of weights (folds) of a bundle, which take turns in it; or one for each lane.

    A graph for each of them would cost ten times its weights in memory, and seconds to prepare.
    """

    def __init__(self, bundle: ModelBundle, *, mixed: bool, n_lanes: int = 1) -> None:
        self._architecture = bundle.architecture
        self._mixed = mixed
        self._takes_turns = len(bundle.weights) > 1
        self._n_models = n_lanes if self._takes_turns else 1  # a model whose weights stay serves all threads at once
        self._placed: dict[bool, _Lanes] = {}
        self._lock = threading.Lock()

    def network(self, path: Path, on_cpu: bool) -> Network:
        """The network with the weights of a file, on the CPU or wherever TensorFlow puts it."""
        with self._lock, _device(on_cpu):
            if on_cpu not in self._placed:
                models = [_Placed(self._architecture, mixed=self._mixed) for _ in range(self._n_models)]
                self._placed[on_cpu] = _Lanes(models)
            lanes = self._placed[on_cpu]
            weights = [tf.constant(w) for w in read_weights(lanes.models[0].model, path)]
            lanes.models[0].put_inside(weights, path)

        def call(x: np.ndarray) -> np.ndarray:
            lane = lanes.one_with(weights, path) if self._takes_turns else contextlib.nullcontext(lanes.models[0])
            try:
                with _device(on_cpu), lane as placed:  # the slices too: a GPU that is full has no place for them
                    # by its name: otherwise TensorFlow first prints the whole input into a message that it throws away
                    return np.asarray(placed.answer(x=tf.constant(x, tf.float32)))
            except tf.errors.ResourceExhaustedError as error:
                raise MemoryError(str(error.message).split("\n")[0]) from error

        return call


def _device(on_cpu: bool) -> contextlib.AbstractContextManager[Any]:
    return tf.device("/CPU:0") if on_cpu else contextlib.nullcontext()


@contextlib.contextmanager
def precision(*, mixed: bool) -> Iterator[None]:
    """Layers made inside compute in half precision (weights and results stay in single precision), or do not."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_float16" if mixed else "float32")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def mean_network(networks: Sequence[Network]) -> Network:
    """The average of several networks as one callable."""
    if len(networks) == 1:
        return networks[0]
    return lambda x: np.mean([network(x) for network in networks], axis=0)


def load_network(bundle: ModelBundle, *, batch_size: int = 16) -> Network:
    """Build a bundle's network as one callable, the average over its sets of weights; see `load_networks`."""
    return mean_network(load_networks(bundle, batch_size=batch_size))
