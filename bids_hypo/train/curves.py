"""The course of a training: a row for each checkpoint, kept as CSV, drawn as PNG; it decides which weights are best."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bids_hypo.image.volume import write_bytes

COLUMNS = ("step", "loss", "validation_loss", "validation_iou")


class Curves:
    """The curves of one training, in ``curves.csv`` of its folder.

    Parameters
    ----------
    folder : Path
    until : int, optional
        The step that training goes on from; rows of later steps, whose weights were lost, are dropped.
    """

    def __init__(self, folder: Path, *, until: int | None = None) -> None:
        self._folder = folder
        path = folder / "curves.csv"
        table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=list(COLUMNS))
        self.table = (table if until is None else table[table["step"] <= until]).astype(float)

    def add(self, step: int, loss: float, validation_loss: float | None, validation_iou: float | None) -> None:
        """Add a checkpoint and write the file."""
        values = [np.nan if v is None else float(v) for v in (step, loss, validation_loss, validation_iou)]
        self.table.loc[len(self.table)] = values
        text = self.table.astype({"step": int}).to_csv(index=False, float_format="%.5f")
        write_bytes(self._folder / "curves.csv", text.encode())

    @property
    def best_step(self) -> int:
        """The step of the lowest validation loss; the newest where nothing was validated."""
        validated = self.table.dropna(subset=["validation_loss"])
        if validated.empty:
            return int(self.table["step"].max()) if len(self.table) else 0
        return int(validated["step"].iloc[int(np.argmin(validated["validation_loss"].to_numpy()))])

    def exhausted(self, patience: int | None) -> bool:
        """Whether the last ``patience`` checkpoints brought no lower validation loss."""
        return patience is not None and int((self.table["step"] > self.best_step).sum()) >= patience

    def draw(self) -> None:
        """Write ``curves.png``: loss on the left, intersection over union on the right."""
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        steps = self.table["step"]
        left.plot(steps, self.table["loss"], color="#0072B2", label="training")
        left.plot(steps, self.table["validation_loss"], color="#D55E00", label="validation")
        right.plot(steps, self.table["validation_iou"], color="#D55E00", label="validation")
        for axes, name in ((left, "loss"), (right, "intersection over union")):
            axes.axvline(self.best_step, color="0.6", linestyle=":", label="weights kept")
            axes.set(xlabel="step", ylabel=name)
            axes.legend(frameon=False, fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        payload = io.BytesIO()
        figure.savefig(payload, dpi=110)
        write_bytes(self._folder / "curves.png", payload.getbuffer())
