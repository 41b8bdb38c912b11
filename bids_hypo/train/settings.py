"""What a recipe says, as the code of training takes it: checked when it is read (`bids_hypo.train.recipe`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bids_hypo.image.label_numbers import Wanted
from bids_hypo.models.bundle import Preprocessing
from bids_hypo.structures import ICV, LEFT, Structure
from bids_hypo.train.region_options import RegionOptions

SYNTHESIS, SIMULATED, LABELLED = "synthesis", "simulated", "labelled"
ALL_SLICES, NEAR_STRUCTURE = "all slices", "structure"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network is trained; see `bids_hypo.models.trainer.Trainer`.

    Attributes
    ----------
    batch_size : int
    learning_rate : float
    seed : int
    steps : int or None
        Of the schedule; None where `epochs` say it.
    epochs : int or None
        Passes over all slices, with a checkpoint after each.
    warmup_steps, checkpoint_every, batches_per_chunk : int
    stop_at : int or None
        Fewer steps than the schedule has.
    patience : int or None
        Checkpoints without a lower validation loss after which training stops.
    schedule : str
        ``cosine`` or ``constant``.
    clip_norm : float or None
        None leaves gradients as they are.
    average : bool
        Whether a running average of the weights is validated and kept.
    mixed_precision : bool
        On a GPU.
    """

    batch_size: int
    learning_rate: float
    seed: int
    steps: int | None = None
    epochs: int | None = None
    warmup_steps: int = 0
    checkpoint_every: int = 500
    batches_per_chunk: int = 24
    stop_at: int | None = None
    patience: int | None = None
    schedule: str = "cosine"
    clip_norm: float | None = 5.0
    average: bool = True
    mixed_precision: bool = True

    @property
    def last_step(self) -> int:
        """The step that training ends with."""
        return self.stop_at or self.steps or 0

    def settings(self) -> dict[str, Any]:
        """The same as a dict, for the trainer."""
        return asdict(self)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of labelled examples; what is 0 or None is left out.

    Attributes
    ----------
    max_rotation_deg : float or None
        None: examples are neither moved nor deformed, and not mirrored.
    scale_sd, max_shear, max_shift_mm, elastic_mm : float
    contrast : (2,) tuple of float or None
        Range of a factor; None leaves all intensities as they are.
    gamma_sd, remap, bias_max, blur_mm_max, noise_max : float
    contrast_after : (2,) tuple of float or None
        Range of a factor after the intensity rule.
    """

    max_rotation_deg: float | None = None
    scale_sd: float = 0.0
    max_shear: float = 0.0
    max_shift_mm: float = 0.0
    elastic_mm: float = 0.0
    contrast: tuple[float, float] | None = None
    gamma_sd: float = 0.0
    remap: float = 0.0
    bias_max: float = 0.0
    blur_mm_max: float = 0.0
    noise_max: float = 0.0
    contrast_after: tuple[float, float] | None = None

    @property
    def deforms(self) -> bool:
        """Whether examples are moved and deformed."""
        return self.max_rotation_deg is not None


@dataclass(frozen=True)
class Recipe:
    """What is trained, on which grid, with which examples, loss and schedule.

    Attributes
    ----------
    content : mapping
        The whole recipe, as its file has it; what bundles and cards quote.
    name, version, role, examples : str
        ``examples`` are ``labelled``, ``simulated`` or by ``synthesis``.
    suffixes, labels : tuple of str
    architecture, loss, synthesis : mapping
        See `bids_hypo.models.network.build_unet`, `bids_hypo.models.trainer.make_loss`, `bids_hypo.train.synthesis`.
    preprocessing : Preprocessing
    structure : Structure or None
        Of role ``structure``.
    training : Schedule
    augmentation : Augmentation
    sampling : str
        ``structure``: random scans, mostly slices that hold the structure; ``all slices``: each once an epoch.
    label_slope : float
        See `bids_hypo.train.regions.sharpen`.
    label_numbers : tuple of frozenset of int, or None
        Of each class in the labels.
    maps_to : tuple of frozenset of int, or None
        FreeSurfer numbers of each class, of a structure whose examples are synthesised.
    region : RegionOptions or None
        How these are.
    varied_fluid_copies : int
    folds : int
    encoder_weights : str
    constants : mapping
        What its bundles have in ``constants``, rather than what training finds.
    left_out : mapping of str to tuple of str
        People whose labels are known to be wrong, by dataset; they are in no part.
    validation, test : mapping of str to tuple of str
        People set aside, by dataset.
    validation_maps, left_out_maps : tuple of str
        Label maps set aside, and those that are known to be wrong.
    validation_share : float
        Of the people, where none are listed.
    phases : tuple of str
        Their names.
    """

    content: Mapping[str, Any]
    name: str
    version: str
    role: str
    examples: str
    suffixes: tuple[str, ...]
    labels: tuple[str, ...]
    architecture: Mapping[str, Any]
    loss: Mapping[str, Any]
    synthesis: Mapping[str, Any]
    preprocessing: Preprocessing
    structure: Structure | None
    training: Schedule
    augmentation: Augmentation
    sampling: str
    label_slope: float
    label_numbers: tuple[frozenset[int], ...] | None
    maps_to: tuple[frozenset[int], ...] | None
    region: RegionOptions | None
    varied_fluid_copies: int
    folds: int
    encoder_weights: str
    constants: Mapping[str, Any]
    left_out: Mapping[str, tuple[str, ...]]
    validation: Mapping[str, tuple[str, ...]]
    test: Mapping[str, tuple[str, ...]]
    validation_maps: tuple[str, ...]
    left_out_maps: tuple[str, ...]
    validation_share: float
    phases: tuple[str, ...]

    @property
    def wanted(self) -> Wanted:
        """What to look for in labels."""
        return Wanted(self.structure.name, self.structure) if self.structure else Wanted(ICV)

    @property
    def n_classes(self) -> int:
        """Without the background."""
        return len(self.labels) - 1

    @property
    def kinds_as_classes(self) -> tuple[str, ...] | None:
        """For a network that does not tell sides apart the kind of part that each class is; None for others."""
        if self.structure is None or len(self.structure.parts) == self.n_classes:
            return None
        return tuple(part.kind for part in self.structure.of(LEFT))

    @property
    def mirrored(self) -> tuple[int, ...]:
        """For each class the class that a mirror image shows in its place, both counted without the background."""
        if self.structure is None or self.kinds_as_classes is not None:
            return tuple(range(self.n_classes))
        return self.structure.mirrored()

    def aside(self, part: str) -> Mapping[str, tuple[str, ...]]:
        """People set aside, of ``validation`` or ``test``."""
        return self.test if part == "test" else self.validation
