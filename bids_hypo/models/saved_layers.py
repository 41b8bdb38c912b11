"""The layers of a Keras ``.h5``, whoever made it: read in a process of its own, given to layers of our networks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.errors import ModelError, NoInputError
from bids_hypo.models import keras_arrays

MAX_BYTES = 2**30  # of weights; the largest encoder of segmentation-models has 0.46 GB
MEMORY_BYTES = 4 * 2**30
SECONDS = 120
READER = (sys.executable, "-P", keras_arrays.__file__)  # -P: nothing in the current folder is taken for a library
_ADVICE = "Save the model with model.save('name.h5') of Keras 2; use only files from people whom you trust."


@dataclass(frozen=True)
class SavedLayer:
    """A layer as a file has it.

    Attributes
    ----------
    name : str
    weights : tuple of arrays
        float32, in the file's order: first what can be trained.
    """

    name: str
    weights: tuple[np.ndarray, ...]

    def fill(self, layer: Any) -> None:
        """Give the weights to a Keras layer; a `ValueError` if they are not those of such a one."""
        variables = layer.trainable_weights + layer.non_trainable_weights
        found, expected = [w.shape for w in self.weights], [tuple(w.shape) for w in variables]
        if found != expected:
            raise ValueError(f"layer {self.name} has weights of shape {found}; expected {expected}")
        for variable, weight in zip(variables, self.weights, strict=True):
            variable.assign(weight)


def read_layers(path: Path) -> list[SavedLayer]:
    """Take the arrays out of a Keras ``.h5``, in a process that may not use more than a model needs.

    Only plain numbers come back; nothing in the file is executed.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of SavedLayer

    Raises
    ------
    NoInputError, ModelError
        If it is not there; if it is no such file, or reading it crashes, takes too long or takes too much memory.
    """
    if not path.is_file():
        raise NoInputError(f"{path}: there is no such file; expected a model saved as .h5.")
    with tempfile.TemporaryDirectory() as folder:
        out, said = Path(folder, "arrays.npz"), Path(folder, "said.txt")
        command = [*READER, str(path), str(out), str(MAX_BYTES), str(MEMORY_BYTES), str(SECONDS)]
        # "::" keeps HDF5 from loading filters from elsewhere; each thread of a library takes from the memory allowed.
        variables = os.environ | {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        try:
            with said.open("wb") as stderr:
                code = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, env=variables,
                    timeout=2 * SECONDS, check=False,
                ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = -int(getattr(signal, "SIGXCPU", signal.SIGTERM))
        if code:
            raise ModelError(f"{path}: not a Keras .h5 file with weights ({_reason(code, said)}). {_ADVICE}")
        try:
            with np.load(out, allow_pickle=False) as stored:
                arrays = iter([stored[name] for name in sorted(stored.files) if name != "names"])
                return [
                    SavedLayer(name, tuple(next(arrays) for _ in weights))
                    for name, weights in json.loads(str(stored["names"]))
                ]
        except (OSError, ValueError, KeyError, StopIteration, zipfile.BadZipFile) as error:
            raise ModelError(f"{path}: what was read of it is incomplete ({error}). {_ADVICE}") from error


def _reason(code: int, said: Path) -> str:
    """Why the reading process ended with this code."""
    if code > 0:
        lines = said.read_text("utf-8", errors="replace")[-2000:].splitlines()
        return lines[-1] if lines else f"the process that read it ended with {code}"
    name = signal.Signals(-code).name
    if name == "SIGXCPU":
        return f"reading it took more than {SECONDS} s"
    return f"the process that read it was ended by {name}: the file is damaged, or made to do harm"
