"""A foreign .h5 is read elsewhere and within limits: what is wrong with it ends as a sentence, not as a crash."""

import sys
import time

import h5py
import numpy as np
import pytest

from bids_hypo.errors import ModelError, NoInputError
from bids_hypo.models import saved_layers
from bids_hypo.models.saved_layers import read_layers


def write_h5(path, weights, *, root="/", split=False):
    """A file as Keras writes it: one layer, `conv`, whose weights are the given arrays."""
    with h5py.File(path, "w") as file:
        group = file.require_group(root)
        group.attrs["layer_names0" if split else "layer_names"] = [b"conv"]
        layer = group.create_group("conv")
        layer.attrs["weight_names"] = [f"conv/{name}".encode() for name in weights]
        for name, value in weights.items():
            layer[f"conv/{name}"] = value
    return path


@pytest.mark.parametrize(("root", "split"), [("/", False), ("model_weights", False), ("model_weights", True)])
def test_the_numbers_come_back(tmp_path, root, split):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 2)).astype(np.float32)
    path = write_h5(tmp_path / "model.h5", {"kernel:0": kernel, "bias:0": np.arange(2.0)}, root=root, split=split)
    (layer,) = read_layers(path)
    assert layer.name == "conv"
    np.testing.assert_array_equal(layer.weights[0], kernel)
    assert layer.weights[1].dtype == np.float32


def test_an_absent_file_is_no_input(tmp_path):
    with pytest.raises(NoInputError, match=r"absent\.h5: there is no such file"):
        read_layers(tmp_path / "absent.h5")


class Layer:
    """What a Keras layer shows of itself."""

    def __init__(self, *shapes):
        self.trainable_weights = [Variable(shape) for shape in shapes]
        self.non_trainable_weights = []


class Variable:
    def __init__(self, shape):
        self.shape, self.value = shape, None

    def assign(self, value):
        self.value = value


def test_weights_of_another_shape_are_refused(tmp_path):
    (saved,) = read_layers(write_h5(tmp_path / "model.h5", {"kernel:0": np.ones((2, 3))}))
    fitting, other = Layer((2, 3)), Layer((3, 2))
    saved.fill(fitting)
    np.testing.assert_array_equal(fitting.trainable_weights[0].value, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"layer conv .*\(2, 3\).*expected .*\(3, 2\)"):
        saved.fill(other)
    assert other.trainable_weights[0].value is None


def text_file(path):
    path.write_text("not a model")


def no_keras_file(path):
    with h5py.File(path, "w") as file:
        file["numbers"] = np.zeros(3)


def weights_of_text(path):
    write_h5(path, {"kernel:0": np.array([b"import os"], dtype=object)})


def link_to_another_file(path):
    write_h5(path.with_name("secret.h5"), {"kernel:0": np.ones(3)})
    write_h5(path, {"kernel:0": np.ones(3)})
    with h5py.File(path, "a") as file:
        del file["conv/conv/kernel:0"]
        file["conv/conv/kernel:0"] = h5py.ExternalLink("secret.h5", "conv/conv/kernel:0")


def numbers_of_another_file(path):
    path.with_name("secret.txt").write_text("0123456789ab")
    write_h5(path, {})
    with h5py.File(path, "a") as file:
        file["conv"].attrs["weight_names"] = [b"kernel:0"]
        file["conv"].create_dataset("kernel:0", (3,), "f4", external=[(str(path.with_name("secret.txt")), 0, 12)])


def a_terabyte_in_a_kilobyte(path):
    write_h5(path, {})
    with h5py.File(path, "a") as file:
        file["conv"].attrs["weight_names"] = [b"kernel:0"]
        file["conv"].create_dataset("kernel:0", (2**38,), "f4", chunks=(1024,), compression="gzip")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (text_file, "file signature not found"),
        (no_keras_file, "layer_names"),
        (weights_of_text, "holds no floating-point numbers"),
        (link_to_another_file, "is a link to somewhere else"),
        (numbers_of_another_file, "takes its numbers from another file"),
        (a_terabyte_in_a_kilobyte, "its weights are larger than 1.1 GB"),
    ],
)
def test_what_is_no_model_is_refused(make, said, tmp_path):
    make(tmp_path / "model.h5")
    with pytest.raises(ModelError, match=rf"model\.h5: not a Keras \.h5 file with weights \(.*{said}.*Save the model"):
        read_layers(tmp_path / "model.h5")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not keep to a limit of memory")
def test_memory_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_layers, "MAX_BYTES", 2**50)
    a_terabyte_in_a_kilobyte(tmp_path / "model.h5")
    with pytest.raises(ModelError, match=r"model\.h5: .*takes more than 4\.3 GB of memory"):
        read_layers(tmp_path / "model.h5")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os; os.abort()", "ended by SIGABRT: the file is damaged, or made to do harm"),
        ("import ctypes; ctypes.string_at(0)", "ended by SIGSEGV"),
        ("import sys; sys.exit(3)", "ended with 3"),
    ],
)
def test_a_crash_stays_in_the_process_that_reads(program, said, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_layers, "READER", (sys.executable, "-c", program))
    with pytest.raises(ModelError, match=rf"model\.h5: .*{said}"):
        read_layers(write_h5(tmp_path / "model.h5", {}))


def test_reading_for_ever_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_layers, "READER", (sys.executable, "-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(saved_layers, "SECONDS", 0.2)
    begin = time.monotonic()
    with pytest.raises(ModelError, match=r"took more than 0\.2 s"):
        read_layers(write_h5(tmp_path / "model.h5", {}))
    assert time.monotonic() - begin < 30


def test_an_answer_with_a_pickle_is_refused(tmp_path, monkeypatch):
    answer = (
        "import numpy, sys\n"
        "class Trap:\n    def __reduce__(self): return (open, ('trapped', 'w'))\n"
        'numpy.savez(sys.argv[2], names=numpy.array(\'[["a", ["b"]]]\'), trap=numpy.array([Trap()]))\n'
    )
    monkeypatch.setattr(saved_layers, "READER", (sys.executable, "-c", answer))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="what was read of it is incomplete"):
        read_layers(write_h5(tmp_path / "model.h5", {}))
    assert not (tmp_path / "trapped").exists()


def test_a_description_of_the_model_is_not_executed(tmp_path, monkeypatch):
    """A Lambda layer in `model_config` is code; only the names and the weights are read."""
    monkeypatch.chdir(tmp_path)
    path = write_h5(tmp_path / "model.h5", {"kernel:0": np.ones(3)}, root="model_weights")
    code = "__import__('pathlib').Path('trapped').touch()"
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = f'{{"class_name": "Lambda", "config": {{"function": "{code}"}}}}'
    (tmp_path / "numpy.py").write_text(code)  # nor is what lies in the current folder
    assert [layer.name for layer in read_layers(path)] == ["conv"]
    assert not (tmp_path / "trapped").exists()
