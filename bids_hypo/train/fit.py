"""The fitting loop: batches in, checkpoints and curves of the loss out. Resumable at any checkpoint."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from bids_hypo.ending import end_with_parent
from bids_hypo.train.curves import Curves
from bids_hypo.train.settings import Schedule

logger = logging.getLogger(__name__)

Batch = tuple[np.ndarray, np.ndarray]


class BatchSource(Protocol):
    """Makes the batches of one chunk from its number alone, so that training can be resumed."""

    def chunk(self, number: int) -> list[Batch]:
        """Batches (x, y): (N, H, W, C) float16 and (N, H, W, K) uint8, probabilities times 255."""
        ...


def shuffled_batches(
    x: list[np.ndarray], y: list[np.ndarray], training: Mapping[str, Any], rng: np.random.Generator
) -> list[Batch]:
    """As `mixed_batches`, with ``batch_size`` and ``batches_per_chunk`` of a recipe's ``training``."""
    return mixed_batches(x, y, training["batch_size"], training["batches_per_chunk"], rng)


def mixed_batches(
    x: list[np.ndarray], y: list[np.ndarray], size: int, n_batches: int, rng: np.random.Generator
) -> list[Batch]:
    """Mix the slices of all examples of a chunk and divide them into batches; a surplus is dropped.

    Parameters
    ----------
    x, y : list of (n, H, W, C) and (n, H, W, K) arrays
    size : int
        Slices in a batch.
    n_batches : int
        At most.
    rng : numpy Generator
    """
    order = rng.permutation(sum(len(part) for part in x))[: n_batches * size]
    xs, ys = np.concatenate(x)[order], np.concatenate(y)[order]
    return [(xs[i : i + size], ys[i : i + size]) for i in range(0, len(order) - size + 1, size)]


def prefetch(source: BatchSource, first: int, *, depth: int = 2) -> Generator[Batch]:
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
    end_with_parent()
    global _source  # one source per worker process, set once at its start
    _source = source


def _make(number: int) -> list[Batch]:
    assert _source is not None
    return _source.chunk(number)


def fit(
    source: BatchSource,
    architecture: Mapping[str, Any],
    loss: Mapping[str, Any],
    training: Schedule,
    folder: Path,
    *,
    validation: Sequence[Batch] = (),
    encoder_weights: str | Path | None = None,
    initial_weights: Path | None = None,
) -> Path:
    """Train a network to the end of its schedule, going on from the newest checkpoint in ``folder``.

    Parameters
    ----------
    source : BatchSource
    architecture, loss : mapping
        See `bids_hypo.models.network.build_unet` and `bids_hypo.models.trainer.make_loss`.
    training : Schedule
        In steps.
    folder : Path
        Gets ``checkpoints/``, ``curves.csv``, ``curves.png`` and ``weights.npz`` (half precision): at the lowest
        validation loss, or the newest without validation.
    validation : sequence of (x, y), optional
        The same batches at every checkpoint.
    encoder_weights : {None, "imagenet"} or Path
    initial_weights : Path, optional
        Weights to start from when there is no checkpoint.

    Returns
    -------
    Path
        The weights file.
    """
    from bids_hypo.models.trainer import Trainer

    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(dict(architecture), dict(loss), training.settings(), folder, encoder_weights=encoder_weights,
                      initial_weights=initial_weights)  # fmt: skip
    weights = folder / "weights.npz"
    start = int(trainer.step_count)
    curves = Curves(folder, until=start)
    last = training.last_step
    batches = prefetch(source, start // training.batches_per_chunk + (start > 0))
    recent: list[float] = []
    with tqdm(total=last, initial=start, unit="step", mininterval=20, desc=folder.name) as bar:
        for step in range(start + 1, last + 1):
            if curves.exhausted(training.patience):
                logger.info("no better validation loss since step %d: stopped at %d", curves.best_step, step - 1)
                break
            recent.append(trainer.step(*next(batches)))
            bar.update()
            if step % training.checkpoint_every and step != last:
                continue
            measured = trainer.validate(validation) if validation else (None, None)
            curves.add(step, float(np.mean(recent)), *measured)
            bar.set_postfix(loss=f"{np.mean(recent):.4f}")
            recent.clear()
            if curves.best_step == step:
                trainer.save_average(weights)
            trainer.checkpoint()
    batches.close()
    curves.draw()
    return weights
