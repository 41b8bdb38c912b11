"""The program that takes the arrays out of a foreign Keras ``.h5``; `bids_hypo.models.keras_file` runs it.

HDF5 is a large library in C, and files made to do harm have crashed it, or made it use all memory or run for ever. So
it meets such a file only here, in a process of its own with limits, which gives back plain arrays and their names. The
file's description of the model, in which code may hide, is not read at all. This imports nothing of bids_hypo.

    python keras_arrays.py FILE OUT.npz MAX_BYTES MEMORY_BYTES SECONDS
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

BAD_DATA = 65  # exit code of a file that cannot be used; the reason is on standard error
MAX_WEIGHTS = 20_000


def limit(memory_bytes: int, seconds: int, file_bytes: int) -> None:
    """Bound what this process may use, as far as the platform can."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    wanted = {"RLIMIT_AS": memory_bytes, "RLIMIT_CPU": seconds, "RLIMIT_FSIZE": file_bytes, "RLIMIT_CORE": 0}
    for name, value in wanted.items():
        with suppress(AttributeError, ValueError, OSError):  # a limit that the platform does not have
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))


def read_layers(path: str, max_bytes: int) -> tuple[list[tuple[str, list[str]]], list[Any]]:
    """Names of layers and of their weights in the file's order, and the weights in one list.

    Raises
    ------
    KeyError, OSError, TypeError, ValueError
        If the file is none that Keras wrote, points to other files, or holds more than ``max_bytes`` of weights.
    """
    import h5py
    import numpy as np

    names: list[tuple[str, list[str]]] = []
    arrays: list[Any] = []
    n_bytes = 0
    with h5py.File(path, "r") as file:
        root = _inside(file, "model_weights") if "model_weights" in file else file
        for layer in _names(root, "layer_names"):
            group = _inside(root, layer)
            names.append((layer, _names(group, "weight_names")))
            for weight in names[-1][1]:
                dataset = _inside(group, weight)
                if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f":
                    raise TypeError(f"{layer}/{weight} holds no floating-point numbers")
                if dataset.external or dataset.is_virtual:
                    raise ValueError(f"{layer}/{weight} takes its numbers from another file")
                n_bytes += 4 * dataset.size
                if n_bytes > max_bytes or len(arrays) >= MAX_WEIGHTS:
                    raise ValueError(f"its weights are larger than {max_bytes / 1e9:.2g} GB or more than {MAX_WEIGHTS}")
                arrays.append(dataset[()].astype(np.float32))
    return names, arrays


def _inside(group: Any, name: str) -> Any:
    """A member of a group, by a path on which no link leads anywhere else."""
    import h5py

    for part in name.split("/"):
        if not isinstance(group, h5py.Group):
            raise KeyError(name)
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link to somewhere else")
        group = group[part]
    return group


def _names(group: Any, key: str) -> list[str]:
    """A list of names among the attributes; Keras splits a long one into ``key0``, ``key1`` and so on."""
    parts = [key] if key in group.attrs else []
    while not parts or (parts != [key] and f"{key}{len(parts)}" in group.attrs):
        parts.append(f"{key}{len(parts)}")
    found = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def main(path: str, out: str, max_bytes: int, memory_bytes: int, seconds: int) -> int:
    """Read, write, and tell by the exit code; the reason goes to standard error."""
    import numpy as np

    limit(memory_bytes, seconds, 2 * max_bytes)
    try:
        names, arrays = read_layers(path, max_bytes)
        np.savez(out, names=np.array(json.dumps(names)), **{f"{i:05d}": array for i, array in enumerate(arrays)})
    except MemoryError:
        sys.stderr.write(f"reading it takes more than {memory_bytes / 1e9:.2g} GB of memory")
        return BAD_DATA
    except Exception as error:  # noqa: BLE001 - whatever a foreign file causes is a reason not to use it
        sys.stderr.write((str(error).splitlines() or [type(error).__name__])[0])
        return BAD_DATA
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])))
