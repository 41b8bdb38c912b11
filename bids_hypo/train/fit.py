"""The fitting loop: batches in, checkpoints and a log of the loss out. Resumable at any checkpoint."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

logger = logging.getLogger(__name__)


class BatchSource(Protocol):
    """Makes the batches of one chunk from its number alone, so that training can be resumed."""

    def chunk(self, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Batches (x, y): (N, H, W, C) float16 and (N, H, W, K) uint8, probabilities times 255."""
        ...


def shuffled_batches(
    x: list[np.ndarray], y: list[np.ndarray], training: dict[str, Any], rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mix the slices of all examples of a chunk and divide them into batches; a surplus is dropped.

    Parameters
    ----------
    x, y : list of (n, H, W, C) and (n, H, W, K) arrays
    training : dict
        ``batch_size``, ``batches_per_chunk``.
    rng : numpy Generator
    """
    size = training["batch_size"]
    n_slices = training["batches_per_chunk"] * size
    order = rng.permutation(sum(len(part) for part in x))[:n_slices]
    xs, ys = np.concatenate(x)[order], np.concatenate(y)[order]
    return [(xs[i : i + size], ys[i : i + size]) for i in range(0, n_slices, size)]


def prefetch(source: BatchSource, first: int, *, depth: int = 2) -> Generator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches while one other process makes the next chunks.

    Parameters
    ----------
    source : BatchSource
        Sent to the process once.
    first : int
        Number of the first chunk.
    depth : int
        Chunks made ahead.
    """
    # glibc would give every large array back to the kernel and fault it in again: a fifth of the time
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(4 << 30))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(8 << 30))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_adopt, initargs=(source,)) as pool:
        waiting: list[Future] = [pool.submit(_make, first + i) for i in range(depth)]
        number = first + depth
        while True:
            batches = waiting.pop(0).result()
            waiting.append(pool.submit(_make, number))
            number += 1
            yield from batches


_source: BatchSource | None = None


def _adopt(source: BatchSource) -> None:
    global _source  # one source per worker process, set once at its start
    _source = source


def _make(number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    assert _source is not None
    return _source.chunk(number)


def fit(
    source: BatchSource,
    architecture: dict[str, Any],
    loss: dict[str, Any],
    training: dict[str, Any],
    folder: Path,
    *,
    encoder_weights: str | None = None,
    initial_weights: Path | None = None,
) -> Path:
    """Train a network to the end of its schedule, going on from the newest checkpoint in ``folder``.

    Parameters
    ----------
    source : BatchSource
    architecture, loss : dict
        See `bids_hypo.models.network`.
    training : dict
        ``steps`` (of the schedule), ``stop_at`` (fewer steps, if given), ``learning_rate``, ``warmup_steps``,
        ``checkpoint_every``, ``seed``, ``batches_per_chunk``.
    folder : Path
        Gets ``checkpoints/``, ``loss.csv`` and ``weights.npz`` (running average, half precision), the last rewritten
        at every checkpoint.
    encoder_weights : {None, "imagenet"}
    initial_weights : Path, optional
        Weights to start from when there is no checkpoint.

    Returns
    -------
    Path
        The weights file.
    """
    from bids_hypo.models.network import Trainer

    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        architecture,
        loss,
        learning_rate=training["learning_rate"],
        total_steps=training["steps"],
        warmup_steps=training["warmup_steps"],
        folder=folder,
        seed=training["seed"],
        encoder_weights=encoder_weights,
        initial_weights=initial_weights,
    )
    weights = folder / "weights.npz"
    start = int(trainer.step_count)
    last = int(training.get("stop_at", training["steps"]))
    batches = prefetch(source, start // training["batches_per_chunk"] + (start > 0))
    with (folder / "loss.csv").open("a", newline="") as log, tqdm(
        total=last, initial=start, unit="step", mininterval=20
    ) as bar:  # fmt: skip
        rows = csv.writer(log)
        recent: list[float] = []
        for step in range(start + 1, last + 1):
            x, y = next(batches)
            recent.append(trainer.step(x, y))
            bar.update()
            if step % 50 == 0:
                rows.writerow([step, f"{np.mean(recent):.5f}"])
                log.flush()
                bar.set_postfix(loss=f"{np.mean(recent):.4f}")
                recent.clear()
            if step % training["checkpoint_every"] == 0 or step == last:
                trainer.checkpoint()
                trainer.save_average(weights)
    batches.close()
    return weights
