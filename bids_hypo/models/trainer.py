"""A network under training: its optimiser, loss, running average, checkpoints and validation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.models.backend import tf
from bids_hypo.models.network import build_unet, precision, sm
from bids_hypo.models.weights import start_from, write_arrays

logger = logging.getLogger(__name__)

MAX_AVERAGE_DECAY = 0.998


class Trainer:
    """A network with everything that training changes.

    Parameters
    ----------
    architecture : dict
        See `bids_hypo.models.network.build_unet`.
    loss : dict
        See `make_loss`.
    training : dict
        ``learning_rate``, ``steps`` (of the schedule), ``seed``; optional ``schedule`` (``cosine`` with
        ``warmup_steps``, or ``constant``), ``clip_norm`` (5; None leaves gradients as they are) and ``average``
        (True: a running average of the weights is validated and kept, rather than the last weights).
    folder : Path
        Checkpoints go here; training goes on from the newest.
    encoder_weights : {None, "imagenet"} or Path
        See `bids_hypo.models.network.build_unet`.
    initial_weights : Path, optional
        A file of `bids_hypo.models.weights.save_weights` to start from (its classes may be others); a checkpoint in
        ``folder`` comes first.
    """

    def __init__(
        self,
        architecture: dict[str, Any],
        loss: dict[str, Any],
        training: dict[str, Any],
        folder: Path,
        *,
        encoder_weights: str | Path | None = None,
        initial_weights: Path | None = None,
    ) -> None:
        tf.keras.utils.set_random_seed(training["seed"])
        mixed = bool(tf.config.get_visible_devices("GPU")) and training.get("mixed_precision", True)
        with precision(mixed=mixed):
            self.model = build_unet(architecture, encoder_weights)
        if initial_weights is not None:
            start_from(self.model, initial_weights)
        self.average = [tf.Variable(v, trainable=False) for v in self.model.variables]
        self._decay = MAX_AVERAGE_DECAY if training.get("average", True) else 0.0
        self.optimiser = _optimiser(training, mixed=mixed)
        self._inner = self.optimiser.inner_optimizer if mixed else self.optimiser
        self._inner.build(self.model.trainable_variables)
        self._loss = make_loss(loss)
        self.step_count = tf.Variable(0, dtype=tf.int64, trainable=False)
        checkpoint = tf.train.Checkpoint(
            model=self.model, optimiser=self.optimiser, step=self.step_count, average=self.average
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=2)
        if self._manager.latest_checkpoint:
            checkpoint.restore(self._manager.latest_checkpoint).expect_partial()
            logger.info("going on from step %d", int(self.step_count))
        self._mixed = mixed
        self._train = tf.function(self._train_step)
        self._validate = tf.function(self._validation_step)

    def _train_step(self, x: Any, y: Any) -> Any:
        x, y = tf.cast(x, tf.float32), tf.cast(y, tf.float32) / 255.0
        with tf.GradientTape() as tape:
            loss = self._loss(y, self.model(x, training=True))
            scaled = self.optimiser.get_scaled_loss(loss) if self._mixed else loss
        variables = self.model.trainable_variables
        gradients = tape.gradient(scaled, variables)
        if self._mixed:
            gradients = self.optimiser.get_unscaled_gradients(gradients)
        self.optimiser.apply_gradients(zip(gradients, variables, strict=True))
        self.step_count.assign_add(1)
        step = tf.cast(self.step_count, tf.float32)
        keep = tf.minimum(self._decay, (1.0 + step) / (10.0 + step))
        for mean, value in zip(self.average, self.model.variables, strict=True):
            mean.assign(keep * mean + (1.0 - keep) * value)
        return loss

    def _validation_step(self, x: Any, y: Any) -> Any:
        x, y = tf.cast(x, tf.float32), tf.cast(y, tf.float32) / 255.0
        p = self.model(x, training=False)
        n_classes = y.shape[-1]
        found, true = (tf.one_hot(tf.argmax(t, -1), n_classes, dtype=tf.float32) for t in (p, y))
        both = tf.reduce_sum(found * true, [0, 1, 2])
        either = tf.reduce_sum(tf.maximum(found, true), [0, 1, 2])
        return self._loss(y, p), both, either

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        """One update with a batch as `bids_hypo.train.fit.BatchSource` makes it; returns the loss."""
        return float(self._train(tf.constant(x), tf.constant(y)))

    def validate(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
        """Mean loss and mean intersection over union of the foreground classes, with the averaged weights.

        Parameters
        ----------
        batches : iterable of (x, y)
            As for `step`. A class that none of them holds does not count.
        """
        trained = [v.numpy() for v in self.model.variables]
        for variable, mean in zip(self.model.variables, self.average, strict=True):
            variable.assign(mean)
        results = [[np.asarray(r) for r in self._validate(tf.constant(x), tf.constant(y))] for x, y in batches]
        for variable, value in zip(self.model.variables, trained, strict=True):
            variable.assign(value)
        losses, both, either = (np.array(column) for column in zip(*results, strict=True))
        both, either = both.sum(0)[1:], either.sum(0)[1:]
        return float(losses.mean()), float(np.mean(both[either > 0] / either[either > 0]))

    def checkpoint(self) -> None:
        """Write a checkpoint that a later `Trainer` on the same folder goes on from."""
        self._manager.save(checkpoint_number=int(self.step_count))

    def save_average(self, path: Path) -> None:
        """Write the running average of the weights, which is what a bundle ships."""
        by_id = {id(v): a for v, a in zip(self.model.variables, self.average, strict=True)}
        write_arrays([by_id[id(w)].numpy() for w in self.model.weights], path)


def _optimiser(training: dict[str, Any], *, mixed: bool) -> Any:
    rate: Any = training["learning_rate"]
    if training.get("schedule", "cosine") == "cosine":
        warmup = training["warmup_steps"]
        rate = tf.keras.optimizers.schedules.CosineDecay(
            0.0, training["steps"] - warmup, warmup_target=rate, warmup_steps=warmup
        )
    optimiser = tf.keras.optimizers.Adam(rate, global_clipnorm=training.get("clip_norm", 5.0))
    return tf.keras.mixed_precision.LossScaleOptimizer(optimiser) if mixed else optimiser


def make_loss(spec: dict[str, Any]) -> Callable[[Any, Any], Any]:
    """Build a loss from its description.

    Parameters
    ----------
    spec : dict
        ``type`` ``soft labels`` (default): weighted cross entropy plus the Jaccard metric loss of Wang et al. (2023,
        NeurIPS), ``JML(p, y) = 1 - (|p + y|_1 - |p - y|_1) / (|p + y|_1 + |p - y|_1)``, which unlike the soft
        Jaccard has its minimum at p = y and does not reward too large an outline when y is not 0 or 1; needs
        ``class_weights`` (K,), ``jaccard_groups`` (lists of class indices) and ``jaccard_weight``.
        ``type`` ``cross entropy + jaccard``: segmentation-models' losses of these names, as in Vernikouskaya 2023.

    Returns
    -------
    callable
        (y, p), both (N, H, W, K), to a scalar.
    """
    if spec.get("type", "soft labels") == "cross entropy + jaccard":
        return sm.losses.CategoricalCELoss() + sm.losses.JaccardLoss()
    weights = tf.constant(spec["class_weights"], tf.float32)
    groups = [tf.constant(g) for g in spec["jaccard_groups"]]
    share = float(spec["jaccard_weight"])

    def loss(y: Any, p: Any) -> Any:
        p = tf.clip_by_value(p, 1e-6, 1.0)
        w = y * weights
        total = -tf.reduce_sum(w * tf.math.log(p)) / tf.reduce_sum(w)
        for group in groups:
            a = tf.reduce_sum(tf.gather(p, group, axis=-1), axis=-1)
            b = tf.reduce_sum(tf.gather(y, group, axis=-1), axis=-1)
            both, apart = tf.reduce_sum(a + b), tf.reduce_sum(tf.abs(a - b))
            total += share / len(groups) * (1.0 - (both - apart + 1.0) / (both + apart + 1.0))
        return total

    return loss
