"""Networks stored as graphs: a bundle with one starts without Keras, which takes seconds to build the same network.

A graph holds the operations of a network and none of its weights, so that one serves all folds of a bundle.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.errors import ModelError
from bids_hypo.files import open_file, read_json
from bids_hypo.image.volume import write_bytes
from bids_hypo.models.backend import frozen_graph, tf
from bids_hypo.models.bundle import DESCRIPTION, ModelBundle, load_bundle
from bids_hypo.models.weights import load_weights

logger = logging.getLogger(__name__)

GRAPH = "graph.pb"
_INPUT, _WEIGHT, _OUTPUT = "slices", "weight_{:04d}", "probabilities"
_TAG = 1e6  # weights are told from other numbers of a graph by what no network holds
# What convolutional networks are made of. Others, such as those that read or write files, are refused.
_OPERATIONS = frozenset((
    "Add", "AddV2", "AvgPool", "BatchMatMulV2", "BiasAdd", "Cast", "ConcatV2", "Const", "Conv2D", "Conv2DBackpropInput",
    "DepthwiseConv2dNative", "Div", "Elu", "Exp", "ExpandDims", "FusedBatchNormV3", "Identity", "LeakyRelu", "MatMul",
    "Max", "MaxPool", "Maximum", "Mean", "Minimum", "Mul", "Neg", "NoOp", "Pack", "Pad", "PadV2", "Placeholder", "Prod",
    "RealDiv", "Relu", "Relu6", "Reshape", "ResizeBilinear", "ResizeNearestNeighbor", "Rsqrt", "Selu", "Shape",
    "Sigmoid", "Slice", "Softmax", "Softplus", "Split", "SplitV", "Sqrt", "Square", "Squeeze", "StridedSlice", "Sub",
    "Sum", "Tanh", "Tile", "Transpose",
))  # fmt: skip
_LARGEST_BYTES = 20_000_000
_SEED, _TOLERANCE = 0, 1e-5


class GraphNetwork:
    """A network from a stored graph: as much of a Keras model as applying it needs.

    Parameters
    ----------
    path : Path
        Written by `store_graph`.

    Attributes
    ----------
    weights : list of tf.Variable
        In the order in which `bids_hypo.models.weights` stores them; zeros until they are assigned.
    """

    def __init__(self, path: Path) -> None:
        self._graph = _read(path)
        shapes = {node.name: _shape(node) for node in self._graph.node if node.op == "Placeholder"}
        names = sorted(name for name in shapes if name != _INPUT)
        if _INPUT not in shapes or names != [_WEIGHT.format(n) for n in range(len(names))]:
            raise ModelError(f"{path}: not a graph of a network of ours. Install the model again.")
        self._names = names
        self.weights = [tf.Variable(tf.zeros(shapes[name]), trainable=False) for name in names]

    def __call__(self, x: Any, *, training: bool = False) -> Any:
        """Slices (N, H, W, C) to probabilities (N, H, W, K), in the graph that is being made."""
        if training:
            raise ValueError("a stored graph cannot be trained.")
        values = {f"{name}:0": value.read_value() for name, value in zip(self._names, self.weights, strict=True)}
        (found,) = tf.graph_util.import_graph_def(
            self._graph, input_map={f"{_INPUT}:0": x, **values}, return_elements=[f"{_OUTPUT}:0"], name=""
        )
        return found


def _read(path: Path) -> Any:
    """The graph in a file, if it computes and does nothing else."""
    graph = tf.compat.v1.GraphDef()
    try:
        with open_file(path) as file:
            content = file.read(_LARGEST_BYTES + 1)
        graph.ParseFromString(content if len(content) <= _LARGEST_BYTES else b"\xff")
    except Exception as error:  # protocol buffers raise errors of their own
        raise ModelError(f"{path}: cannot be read as a graph ({error}). Install the model again.") from error
    others = sorted({node.op for node in graph.node} - _OPERATIONS)
    if others or graph.HasField("library"):  # functions, which networks do not need either
        raise ModelError(
            f"{path}: found operations that networks do not need ({', '.join(others) or 'functions'}); expected a "
            "graph that was made with the bundle. Do not use this model."
        )
    return graph


def _shape(node: Any) -> list[int]:
    return [dim.size for dim in node.attr["shape"].shape.dim]


def add_graph(bundle: ModelBundle) -> ModelBundle:
    """Store the graph of a bundle's networks in its folder, if they have one; returns the bundle as loaded.

    Parameters
    ----------
    bundle : ModelBundle
    """
    from bids_hypo.models.network import build_unet

    model = build_unet(bundle.architecture)
    load_weights(model, bundle.folder / bundle.weights[0][0])
    path = bundle.folder / GRAPH
    description = read_json(bundle.folder / DESCRIPTION)
    description.pop("graph", None)
    if store_graph(model, path):
        description["graph"] = {"file": GRAPH, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    write_bytes(bundle.folder / DESCRIPTION, (json.dumps(description, indent=2) + "\n").encode())
    return load_bundle(bundle.folder)


def store_graph(model: Any, path: Path) -> bool:
    """Write the operations of a Keras model, without its weights; whether that could be done.

    Parameters
    ----------
    model : tf_keras.Model
        Its weights are left as they were.
    path : Path
        What is there afterwards gives what the model gives, up to rounding: it was tried.
    """
    kept = model.get_weights()
    try:
        for number, weight in enumerate(model.weights):
            weight.assign(tf.fill(weight.shape, _TAG + number))
        graph = _tagged_graph(model)
    finally:
        model.set_weights(kept)
    others = {node.op for node in graph.node} - _OPERATIONS
    if others:
        logger.info("no graph is stored, for these operations: %s", ", ".join(sorted(others)))
        return False
    path.write_bytes(graph.SerializeToString(deterministic=True))
    if _largest_difference(model, path) > _TOLERANCE:
        path.unlink()
        logger.info("no graph is stored: it does not give what the network gives")
        return False
    return True


def _tagged_graph(model: Any) -> Any:
    """The operations of a model whose weights are tagged by their number, with a placeholder for each weight."""
    signature = tf.TensorSpec((None, *model.input.shape[1:]), tf.float32, name=_INPUT)
    traced = tf.function(lambda x: tf.identity(model(x, training=False), name=_OUTPUT))
    graph = frozen_graph(traced.get_concrete_function(signature))
    shapes = [list(weight.shape) for weight in model.weights]
    renamed = {}
    for node in graph.node:
        if node.op == "Const" and (number := _tag_of(node, shapes)) is not None:
            renamed[node.name] = _WEIGHT.format(number)
            node.op = "Placeholder"
            del node.attr["value"]
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(shapes[number]).as_proto())
    _rename(graph, renamed)
    if len(renamed) != len(shapes):  # a weight that nothing reads
        present = set(renamed.values())
        for number, shape in enumerate(shapes):
            if (name := _WEIGHT.format(number)) not in present:
                node = graph.node.add(name=name, op="Placeholder")
                node.attr["dtype"].type = tf.float32.as_datatype_enum
                node.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
    graph.ClearField("library")
    return graph


def _tag_of(node: Any, shapes: list[list[int]]) -> int | None:
    values = tf.make_ndarray(node.attr["value"].tensor)
    if values.dtype != np.float32 or not values.size or values.min() != values.max() or values.min() < _TAG:
        return None
    number = round(float(values.flat[0]) - _TAG)
    return number if number < len(shapes) and list(values.shape) == shapes[number] else None


def _rename(graph: Any, names: dict[str, str]) -> None:
    for node in graph.node:
        node.name = names.get(node.name, node.name)
        for k, source in enumerate(node.input):
            plain = source.lstrip("^").partition(":")[0]
            if plain in names:
                node.input[k] = source.replace(plain, names[plain], 1)


def _largest_difference(model: Any, path: Path) -> float:
    """Between what a model and its stored graph give, for noise."""
    stored = GraphNetwork(path)
    for own, other in zip(stored.weights, model.weights, strict=True):
        own.assign(other)
    x = np.random.default_rng(_SEED).standard_normal((2, *model.input.shape[1:]), dtype=np.float32)
    expected = model(tf.constant(x), training=False)
    return float(tf.reduce_max(tf.abs(tf.function(stored)(tf.constant(x)) - expected)))
