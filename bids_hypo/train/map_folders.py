"""All label maps of a folder of heads and a folder of shapes, cut around a structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.ending import end_with_parent
from bids_hypo.errors import NoInputError
from bids_hypo.train.placed_maps import (
    LabelMap,
    PlacedMap,
    Wish,
    centre_in_frame,
    cut,
    read_labels,
    without_deep_structures,
)
from bids_hypo.train.shape_labels import freesurfer_numbers

MANY_MAPS = 8


@dataclass(frozen=True)
class Maps:
    """Maps to train and to validate on, and where the network looks.

    Attributes
    ----------
    heads, shapes : tuple of PlacedMap
    validation : tuple of PlacedMap
    centre_mm : (3,) tuple of float
        Middle of the network's grid in the frame of the pose template.
    """

    heads: tuple[PlacedMap, ...]
    shapes: tuple[PlacedMap, ...]
    validation: tuple[PlacedMap, ...]
    centre_mm: tuple[float, float, float]


def load_maps(
    heads: Path, shapes: Path | None, wish: Wish, *, aside: Sequence[str], left_out: Sequence[str] = ()
) -> Maps:
    """Read head maps and shapes and cut them around the structure, in several processes.

    Parameters
    ----------
    heads : Path
        Folder of head label maps (FreeSurfer numbers, 1 mm).
    shapes : Path or None
        Folder of maps of deep structures, with ``dseg.tsv``.
    wish : Wish
    aside : sequence of str
        Names of maps to validate on.
    left_out : sequence of str
        Names of maps that are known to be wrong.

    Raises
    ------
    NoInputError
        If there are no maps to train on.
    UsageError
        If a map lacks a part of the structure, or ``dseg.tsv`` does not fit.
    """
    head_paths, shape_paths = _paths(heads, left_out), _paths(shapes, left_out) if shapes else []
    if not {_name(path) for path in head_paths} - set(aside):
        raise NoInputError(f"{heads}: found no label maps to train on; expected head maps (*.nii.gz), 1 mm.")
    if shapes and not shape_paths:
        raise NoInputError(f"{shapes}: found no shapes (*.nii.gz); expected maps of deep structures, or no --shapes.")
    numbers = freesurfer_numbers(shapes / "dseg.tsv") if shapes else None
    with _mapping(len(head_paths) + len(shape_paths)) as every:
        read: list[LabelMap] = every(partial(read_labels, template_mm=wish.template_mm), head_paths)
        training = [head for head in read if head.name not in aside]
        middle = np.mean([centre_in_frame(head, wish) for head in training], axis=0)
        middle[0] = 0.0 if len(wish.sides) > 1 else middle[0]
        middle = middle.round(2)
        cut_heads: list[PlacedMap] = every(partial(cut, wish=wish, centre_mm=middle), read)
        bare = every(partial(without_deep_structures, wish=wish, centre_mm=middle), training if shape_paths else [])
        fillers = [bare[number % len(bare)] for number in range(len(shape_paths))]
        cut_shapes: list[PlacedMap] = every(
            partial(_read_shape, wish=wish, numbers=numbers, centre_mm=middle), shape_paths, fillers
        )
    x, y, z = (float(value) for value in middle)
    return Maps(
        tuple(m for m in cut_heads if m.name not in aside), tuple(m for m in cut_shapes if m.name not in aside),
        tuple(m for m in (*cut_heads, *cut_shapes) if m.name in aside), (x, y, z),
    )  # fmt: skip


@contextmanager
def _mapping(n_maps: int) -> Iterator[Callable[..., list[Any]]]:
    """Like `map`, in several processes where there are enough maps for it to be quicker."""
    if n_maps < MANY_MAPS:
        yield lambda work, *items: list(map(work, *items))
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        yield lambda work, *items: list(pool.map(work, *items))


def _read_shape(path: Path, head: LabelMap, wish: Wish, numbers: np.ndarray | None, centre_mm: np.ndarray) -> PlacedMap:
    return cut(read_labels(path, wish.template_mm, numbers), wish, centre_mm, head)


def _name(path: Path) -> str:
    return path.name.split(".")[0]


def _paths(folder: Path, left_out: Sequence[str]) -> list[Path]:
    return sorted(path for path in folder.glob("*.nii.gz") if _name(path) not in left_out)
