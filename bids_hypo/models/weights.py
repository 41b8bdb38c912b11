"""The weights of a network in a file, in the order of its variables; a network is anything with such an order."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.errors import ModelError
from bids_hypo.models.archive import read_arrays


def save_weights(model: Any, path: Path) -> None:
    """Write the weights in half precision as a compressed ``.npz``, one array per variable in model order."""
    write_arrays(model.get_weights(), path)


def write_arrays(weights: list[np.ndarray], path: Path, dtype: type[np.floating] = np.float16) -> None:
    """Write weights as `save_weights` does; ``dtype`` float32 keeps those made elsewhere exactly as they are.

    Arrays that half precision cannot hold stay as they are: the running variances of a decoder behind an encoder
    without batch normalisation (VGG16) are larger than 65504.
    """
    largest = float(np.finfo(dtype).max)
    arrays: dict[str, Any] = {
        f"{i:04d}": w if np.abs(w).max(initial=0) > largest else w.astype(dtype) for i, w in enumerate(weights)
    }
    np.savez_compressed(path, **arrays)


def load_weights(model: Any, path: Path) -> None:
    """Fill a model from a file written by `save_weights`."""
    model.set_weights(read_weights(model, path))


def start_from(model: Any, path: Path) -> None:
    """Fill a model from the weights of another that may have other classes: then its last layer stays as it is.

    Raises
    ------
    ModelError
        If anything else differs.
    """
    own, given = model.get_weights(), [array.astype(np.float32) for array in read_arrays(path).values()]
    classes = model.output.shape[-1]
    of_classes = [mine.shape[-1:] == (classes,) and mine.shape[:-1] == other.shape[:-1]
                  for mine, other in zip(own, given, strict=False)]  # fmt: skip
    fits = [mine.shape == other.shape for mine, other in zip(own, given, strict=False)]
    if len(own) != len(given) or not all(map(operator.or_, fits, of_classes)):
        raise ModelError(
            f"{path}: its arrays are not those of this network; expected the same encoder, channels and decoder. Start "
            "from a bundle of the same architecture, or from 'anatomy'."
        )
    model.set_weights([other if fit else mine for mine, other, fit in zip(own, given, fits, strict=True)])


def read_weights(model: Any, path: Path) -> list[np.ndarray]:
    """The arrays of a file written by `save_weights`, in single precision and in the order of ``model.weights``.

    Raises
    ------
    ModelError
        If they are not those of a network like this one.
    """
    weights = [array.astype(np.float32) for array in read_arrays(path).values()]
    found, expected = [w.shape for w in weights], [tuple(w.shape) for w in model.weights]
    if found != expected:
        raise ModelError(
            f"{path}: found {len(found)} arrays that are not those of the network that bundle.json describes (expected "
            f"{len(expected)}). The two do not belong together: fetch or train the model again."
        )
    return weights
