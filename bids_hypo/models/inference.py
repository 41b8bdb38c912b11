"""Calling trained networks: the networks of a bundle, from any thread, on one model that they share."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.models.backend import tf
from bids_hypo.models.batches import SharedNetwork
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.models.weights import read_weights

Network = Callable[[np.ndarray], np.ndarray]


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
    n_slices = bundle.preprocessing.n_slices
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

    def __init__(self, bundle: ModelBundle, *, mixed: bool) -> None:
        self.model = _model(bundle, mixed=mixed)
        signature = tf.TensorSpec((None, *bundle.architecture["input_shape"]), tf.float32)
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


def _model(bundle: ModelBundle, *, mixed: bool) -> Any:
    """The network of a bundle, with whatever weights: from its graph, or built with Keras, which takes seconds."""
    if bundle.graph is not None and not mixed:
        from bids_hypo.models.graph import GraphNetwork

        return GraphNetwork(bundle.folder / bundle.graph[0])
    from bids_hypo.models.network import build_unet, precision

    with precision(mixed=mixed):
        return build_unet(bundle.architecture)


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
        self._bundle = bundle
        self._mixed = mixed
        self._takes_turns = len(bundle.weights) > 1
        self._n_models = n_lanes if self._takes_turns else 1  # a model whose weights stay serves all threads at once
        self._placed: dict[bool, _Lanes] = {}
        self._lock = threading.Lock()

    def network(self, path: Path, on_cpu: bool) -> Network:
        """The network with the weights of a file, on the CPU or wherever TensorFlow puts it."""
        with self._lock, _device(on_cpu):
            if on_cpu not in self._placed:
                models = [_Placed(self._bundle, mixed=self._mixed) for _ in range(self._n_models)]
                self._placed[on_cpu] = _Lanes(models)
            lanes = self._placed[on_cpu]
            weights = [tf.constant(w) for w in read_weights(lanes.models[0].model, path)]
            with lanes.one_with(weights, path):  # once before they are needed; others may be at work in the model
                pass

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


def mean_network(networks: Sequence[Network]) -> Network:
    """The average of several networks as one callable."""
    if len(networks) == 1:
        return networks[0]
    return lambda x: np.mean([network(x) for network in networks], axis=0)


def load_network(bundle: ModelBundle, *, batch_size: int = 16) -> Network:
    """Build a bundle's network as one callable, the average over its sets of weights; see `load_networks`."""
    return mean_network(load_networks(bundle, batch_size=batch_size))
