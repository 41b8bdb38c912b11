"""Stored graphs give what Keras gives, and need not be built by it; graphs that do something else are refused."""

import subprocess
import sys

import numpy as np
import pytest

from bids_hypo.errors import ModelError
from bids_hypo.models.bundle import load_bundle, save_bundle
from bids_hypo.models.catalog import _shipped
from bids_hypo.models.weights import read_weights, save_weights
from tests.models.test_bundle import DESCRIPTION

graph = pytest.importorskip("bids_hypo.models.graph")
network = pytest.importorskip("bids_hypo.models.network")
tf = graph.tf

ARCHITECTURE = {**DESCRIPTION["architecture"], "detail_filters": [4], "spread_dark": 0.1}
SHIPPED = sorted(path.parent.name for path in _shipped().glob("*/bundle.json"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    model = network.build_unet(ARCHITECTURE)
    rng = np.random.default_rng(0)
    for fold in range(2):
        model.set_weights([w + rng.normal(0, 0.02, w.shape).astype(np.float32) ** 2 for w in model.get_weights()])
        save_weights(model, folder / f"{fold}.npz")
    files = [folder / f"{fold}.npz" for fold in range(2)]
    return graph.add_graph(save_bundle(folder / "b", {**DESCRIPTION, "architecture": ARCHITECTURE}, files))


def answers(model, bundle, weights, x):
    for variable, values in zip(model.weights, read_weights(model, bundle.folder / weights), strict=True):
        variable.assign(values)
    return np.asarray(tf.function(model)(tf.constant(x)))


def noise(bundle, n=3):
    return np.random.default_rng(1).standard_normal((n, *bundle.architecture["input_shape"]), dtype=np.float32)


def test_one_graph_serves_all_folds(bundle):
    stored, model = graph.GraphNetwork(bundle.folder / bundle.graph[0]), network.build_unet(bundle.architecture)
    x = noise(bundle)
    found = [[answers(each, bundle, name, x) for name, _ in bundle.weights] for each in (stored, model)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert np.abs(found[0][0] - found[0][1]).max() > 1e-3  # the folds differ
    assert (bundle.folder / bundle.graph[0]).stat().st_size < 500_000  # no weights inside


@pytest.mark.parametrize("name", SHIPPED)
def test_graphs_of_shipped_models_are_of_their_networks(name):
    bundle = load_bundle(_shipped() / name)
    stored, model = graph.GraphNetwork(bundle.folder / bundle.graph[0]), network.build_unet(bundle.architecture)
    x, weights = noise(bundle, 1), bundle.weights[-1][0]
    np.testing.assert_allclose(answers(stored, bundle, weights, x), answers(model, bundle, weights, x), atol=2e-5)


def test_a_network_with_a_graph_is_not_built_by_keras(bundle):
    code = (
        "import sys; from pathlib import Path; from bids_hypo.models.bundle import load_bundle\n"
        "from bids_hypo.models.inference import load_networks\n"
        f"load_networks(load_bundle(Path({str(bundle.folder)!r})))\n"
        "print(*(name for name in ('tensorflow', 'segmentation_models') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tensorflow"]


def test_a_graph_that_does_something_else_is_refused(tmp_path, bundle):
    other = tf.compat.v1.GraphDef()
    other.ParseFromString((bundle.folder / bundle.graph[0]).read_bytes())
    other.node.add(name="steal", op="ReadFile")
    (tmp_path / "graph.pb").write_bytes(other.SerializeToString())
    with pytest.raises(ModelError, match=r"ReadFile.*Do not use"):
        graph.GraphNetwork(tmp_path / "graph.pb")
    (tmp_path / "graph.pb").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="cannot be read as a graph"):
        graph.GraphNetwork(tmp_path / "graph.pb")
    with pytest.raises(ValueError, match="trained"):
        graph.GraphNetwork(bundle.folder / bundle.graph[0])(noise(bundle), training=True)


def test_an_altered_graph_is_told_before_any_work(tmp_path, bundle):
    for path in bundle.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / bundle.graph[0]).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="SHA-256 of the graph"):
        load_bundle(tmp_path)
    (tmp_path / bundle.graph[0]).unlink()
    with pytest.raises(ModelError, match="the graph is missing"):
        load_bundle(tmp_path)


def test_a_network_of_unknown_operations_keeps_to_keras(tmp_path):
    keras = tf.keras
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: tf.math.sin(x))])
    assert not graph.store_graph(model, tmp_path / "graph.pb")
    assert not (tmp_path / "graph.pb").exists()
