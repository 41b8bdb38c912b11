"""Whether files of weights are those of a bundle: by their checksums, and by the shapes of a few layers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bids_hypo.errors import ModelError
from bids_hypo.files import open_file
from bids_hypo.models.archive import Shape, array_shapes

_NO_FIT = "The weights and bundle.json do not belong together: fetch or train the model again."


def shapes_of_weights(folder: Path, name: str, expected: str) -> dict[str, Shape]:
    """The shapes of the arrays in a file of weights that is the one meant, and lies in the folder."""
    return array_shapes(check_file(folder, name, expected, what="weights"))


def check_file(folder: Path, name: str, expected: str, *, what: str) -> Path:
    """Refuse a file of a bundle that is not the one meant, or does not lie in the folder; returns its path."""
    path, are = folder / name, f"the {what} {'are' if what.endswith('s') else 'is'}"
    try:
        if not path.is_file():
            raise ModelError(f"{path}: {are} missing. Install the model again.")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ModelError(
                f"{path}: leads to {path.resolve()}; expected a file in the folder of the bundle. Copy it there."
            )
        with open_file(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: the {what} cannot be read ({error.strerror}). Install the model again.") from error
    if found != expected:
        raise ModelError(
            f"{path}: the SHA-256 of the {what} is {found[:12]}..., bundle.json expects {expected[:12]}...: the "
            "file is damaged or does not belong to this bundle. Install the model again."
        )
    return path


def check_fit(
    shapes: Mapping[Path, Mapping[str, Shape]], *, channels: int, n_labels: int, filters: Iterable[int]
) -> None:
    """Refuse weights that cannot be those of the network described, as far as a few layers tell.

    Parameters
    ----------
    shapes : mapping of Path to (mapping of str to tuple of int)
        Of each file of weights the shapes of its arrays, in order.
    channels : int
        Of the input.
    n_labels : int
    filters : iterable of int
        Of the decoder.

    Raises
    ------
    ModelError
    """
    first = next(iter(shapes))
    for path, arrays in shapes.items():
        every = list(arrays.values())
        if every != list(shapes[first].values()):
            raise ModelError(f"{path}: its arrays are not like those of {first.name}. {_NO_FIT}")
        kernels = [shape for shape in every if len(shape) == 4]
        if every[-1][-1:] != (n_labels,):
            raise ModelError(f"{path}: the last array is {every[-1]}; expected {n_labels} labels. {_NO_FIT}")
        if kernels:
            _check_kernels(path, kernels, channels, filters)


def _check_kernels(path: Path, kernels: Sequence[Shape], channels: int, filters: Iterable[int]) -> None:
    if kernels[0][2] != channels:
        raise ModelError(f"{path}: the first kernel is {kernels[0]}; expected {channels} channels. {_NO_FIT}")
    absent = set(filters) - {kernel[3] for kernel in kernels}
    if absent:  # to build such a network could take all memory
        raise ModelError(f"{path}: no kernel has {max(absent)} filters, which decoder_filters names. {_NO_FIT}")
