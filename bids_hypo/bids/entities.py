"""BIDS file names taken apart and put together: entity order, labels, and the `Scan` they describe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# Short names in the order that BIDS 1.11 prescribes for file names (schema rules.entities).
ENTITY_ORDER: tuple[str, ...] = (
    "sub", "tpl", "ses", "cohort", "sample", "task", "tracksys", "acq", "nuc", "voi", "ce", "trc", "stain", "rec",
    "dir", "run", "mod", "echo", "flip", "inv", "mt", "part", "proc", "hemi", "space", "split", "recording", "chunk",
    "atlas", "seg", "scale", "res", "den", "label", "desc",
)  # fmt: skip

# Long names, as in pybids and in filter files, to the short ones of file names.
SHORT_NAMES: dict[str, str] = {
    "subject": "sub", "session": "ses", "sample": "sample", "task": "task", "acquisition": "acq", "ceagent": "ce",
    "tracer": "trc", "staining": "stain", "reconstruction": "rec", "direction": "dir", "run": "run",
    "modality": "mod", "echo": "echo", "flip": "flip", "inv": "inv", "inversion": "inv", "mt": "mt",
    "mtransfer": "mt", "part": "part", "proc": "proc", "processing": "proc", "chunk": "chunk",
}  # fmt: skip

# Entities that only derivatives have; a file carrying one is not a raw scan.
DERIVATIVE_ENTITIES = frozenset({"tpl", "cohort", "space", "atlas", "seg", "scale", "res", "den", "label", "desc"})

LABEL_PATTERN = re.compile(r"[0-9A-Za-z+]+")
IMAGE_EXTENSIONS: tuple[str, ...] = (".nii.gz", ".nii")

# T1-weighted images, in which the ICV is measured too: T1w, and the uniform image of MP2RAGE.
PLAIN_SUFFIX = "T1w"
T1_SUFFIXES: tuple[str, ...] = (PLAIN_SUFFIX, "UNIT1")

# Maps whose sign and zero mean something: their background is not looked for.
SIGNED_SUFFIXES: tuple[str, ...] = ("Chimap",)

# Maps of relaxation rates and times: the size of their values tells the unit.
RELAXATION_SUFFIXES: tuple[str, ...] = ("R1map", "T1map")

RAW_LINK = "raw"  # the key of DatasetLinks in dataset_description.json that BIDS URIs of the input refer to


@dataclass(frozen=True)
class Scan:
    """One image of a BIDS dataset that something is measured on.

    Attributes
    ----------
    path : Path
        The image, absolute.
    entities : dict of str to str
        Short entity names (``sub``, ``ses``, ``acq``, ``run`` ...) in BIDS order, with the labels
        exactly as in the file name: ``run-01`` stays ``"01"``.
    suffix : str
        Such as ``T1w``.
    dataset_root : Path
        The dataset that the image belongs to, absolute.
    link : str
        The key of that dataset in DatasetLinks of the derivatives.
    """

    path: Path
    entities: dict[str, str]
    suffix: str
    dataset_root: Path
    link: str = RAW_LINK

    @property
    def is_t1(self) -> bool:
        """Whether it is T1-weighted."""
        return self.suffix in T1_SUFFIXES

    @property
    def is_signed(self) -> bool:
        """Whether its values have a sign and a zero that mean something."""
        return self.suffix in SIGNED_SUFFIXES

    @property
    def relaxation(self) -> str | None:
        """The suffix of a map of relaxation rates or times; None for other images."""
        return self.suffix if self.suffix in RELAXATION_SUFFIXES else None

    @property
    def name(self) -> str:
        """File name without its extension, such as ``sub-01_ses-1_run-01_T1w``; unique in a dataset."""
        return join_name(self.entities, self.suffix)

    @property
    def subject(self) -> str:
        """Label of the participant, without ``sub-``."""
        return self.entities["sub"]

    @property
    def session(self) -> str | None:
        """Label of the session, without ``ses-``; None for a dataset without sessions."""
        return self.entities.get("ses")


@dataclass(frozen=True)
class MissingScan:
    """A subject that was to be processed but has no image to measure.

    Attributes
    ----------
    subject : str
        Label without ``sub-``.
    reason : str
        What was looked for, what is there, what to do.
    """

    subject: str
    reason: str

    @property
    def name(self) -> str:
        """``sub-<label>``, for crash files and the summary."""
        return f"sub-{self.subject}"


def sort_entities(entities: Mapping[str, str]) -> dict[str, str]:
    """Put entities in BIDS order; names that BIDS does not know come right before ``space``.

    Parameters
    ----------
    entities : mapping of str to str
        Short names to labels.

    Returns
    -------
    dict of str to str
    """
    unknown = ENTITY_ORDER.index("space") - 0.5
    rank = {name: float(position) for position, name in enumerate(ENTITY_ORDER)}
    return dict(sorted(entities.items(), key=lambda item: rank.get(item[0], unknown)))


def join_name(entities: Mapping[str, str], suffix: str) -> str:
    """Build ``sub-01_..._suffix`` from entities, in BIDS order."""
    return "_".join([*(f"{key}-{label}" for key, label in sort_entities(entities).items()), suffix])


def split_name(file_name: str) -> tuple[dict[str, str], str, str]:
    """Take a BIDS file name apart.

    Parameters
    ----------
    file_name : str
        Such as ``sub-01_run-01_T1w.nii.gz``; everything after the first dot is the extension.

    Returns
    -------
    entities : dict of str to str
        In BIDS order, labels as they are.
    suffix : str
    extension : str
        With its dot.

    Raises
    ------
    ValueError
        If a part is not ``key-label``, a key comes twice or the suffix is missing.
    """
    stem, dot, extension = file_name.partition(".")
    *pairs, suffix = stem.split("_")
    if not suffix.isalnum():
        raise ValueError(f"'{suffix}' is not a suffix")
    entities: dict[str, str] = {}
    for pair in pairs:
        key, _, label = pair.partition("-")
        if not key.isalnum() or not LABEL_PATTERN.fullmatch(label):
            raise ValueError(f"'{pair}' is not of the form key-label")
        if key in entities:
            raise ValueError(f"'{key}-' comes twice")
        entities[key] = label
    return sort_entities(entities), suffix, dot + extension


def image_name(path: str) -> str:
    """Name of an image without folders and extension, from a path in whatever form: in a dataset there is one of it.

    Relative to the dataset, the subject or the session, absolute, a BIDS URI, or with backslashes; the image may have
    been compressed since.
    """
    name = path.strip().replace("\\", "/").rpartition("/")[2].rpartition(":")[2]
    return name.removesuffix(".gz").removesuffix(".nii")


def labels_equal(wanted: object, found: str, *, as_number: bool) -> bool:
    """Compare labels; with `as_number` (runs, echoes), 1 equals 01."""
    text = str(wanted)
    if as_number and text.isdigit() and found.isdigit():
        return int(text) == int(found)
    return text == found


def shorten(labels: Iterable[str], *, at_most: int = 10) -> str:
    """List labels for a message, cut after `at_most`."""
    ordered = sorted(labels)
    text = ", ".join(ordered[:at_most])
    return f"{text} ... ({len(ordered)} in all)" if len(ordered) > at_most else text or "none"
