"""What a trained model is: a folder with its description, its weights and its model card."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_hypo.errors import ModelError
from bids_hypo.files import read_json
from bids_hypo.image.intensity import INTENSITY_RULES
from bids_hypo.image.slices import SLICE_AXES
from bids_hypo.image.volume import write_bytes
from bids_hypo.models.entries import Entries
from bids_hypo.models.fitting import check_file, check_fit, shapes_of_weights
from bids_hypo.models.measured import read_published, read_structure
from bids_hypo.structures import Published, Structure

DESCRIPTION = "bundle.json"
HEAD, ICV_ROLE, STRUCTURE = "head", "icv", "structure"
ROLES = (HEAD, ICV_ROLE, STRUCTURE)
UP = {"coronal": "SI", "axial": "AP"}  # by the kind of slice: where its second axis may run to
_MOST_VOXELS_OF_A_SIDE, _MOST_VOXELS, _MOST_CHANNELS = 1024, 512**3, 100
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_N_LABELS = {HEAD: (3, 1000), ICV_ROLE: (2, 2), STRUCTURE: (2, 101)}
_NEEDED = {HEAD: "pose_template_mm", STRUCTURE: "region_centre_mm"}


@dataclass(frozen=True)
class Preprocessing:
    """How a scan becomes the input of a network.

    Attributes
    ----------
    spacing_mm : (3,) float
        Left-right, posterior-anterior, inferior-superior.
    shape : (3,) int
        Voxels of the network's grid along the same axes.
    slice_axis : str
        A key of `UP`: ``coronal`` or ``axial`` slices.
    slice_offsets : tuple of int
        Positions of the channels relative to the slice.
    intensity : str
        A key of `bids_hypo.image.intensity.INTENSITY_RULES`.
    slice_orientation : str
        Where the image axes of the network run to (see `bids_hypo.image.slices.orient`).
    """

    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    slice_axis: str
    slice_offsets: tuple[int, ...]
    intensity: str
    slice_orientation: str = "RS"

    @property
    def n_slices(self) -> int:
        """Slices of the grid."""
        return self.shape[SLICE_AXES[self.slice_axis][1]]


@dataclass(frozen=True)
class ModelBundle:
    """A trained model and everything needed to apply it.

    Attributes
    ----------
    name, version : str
    role : str
        ``head`` finds the pose of a head (and the ICV, where it knows its threshold), ``icv`` the intracranial volume
        alone, ``structure`` what `structure` says.
    folder : Path
    suffixes : tuple of str
        BIDS suffixes of the images it may be applied to.
    labels : tuple of str
        Names of the output classes, background first.
    architecture : dict
        See `bids_hypo.models.network.build_unet`.
    preprocessing : Preprocessing
    weights : tuple of (str, str)
        File name and SHA-256 of each set of weights (folds).
    constants : dict
        What else was measured on the training data, e.g. the pose template or the centre of the region.
    licence, citation : str
    mixed_precision : bool
        Whether a GPU may compute it in half precision, because that was measured to change next to no label.
    structure : Structure or None
        What a bundle of role ``structure`` measures.
    published : tuple of Published
        Published values of what it measures.
    methods : str
        What the methods text says of it; references as ``[@key]``.
    graph : (str, str) or None
        File name and SHA-256 of the operations of its networks, with which they start without Keras.
    """

    name: str
    version: str
    role: str
    folder: Path
    suffixes: tuple[str, ...]
    labels: tuple[str, ...]
    architecture: dict[str, Any]
    preprocessing: Preprocessing
    weights: tuple[tuple[str, str], ...]
    constants: dict[str, Any]
    licence: str
    citation: str
    mixed_precision: bool = False
    structure: Structure | None = None
    published: tuple[Published, ...] = ()
    methods: str = ""
    graph: tuple[str, str] | None = None

    @property
    def measures_icv(self) -> bool:
        """Whether it gives the intracranial volume."""
        return self.role == ICV_ROLE or (self.role == HEAD and "icv_threshold" in self.constants)

    @property
    def weights_sha256(self) -> str:
        """One digest for all sets of weights, in their order."""
        if len(self.weights) == 1:
            return self.weights[0][1]
        return hashlib.sha256("".join(digest for _, digest in self.weights).encode()).hexdigest()


def load_bundle(folder: Path) -> ModelBundle:
    """Read a bundle's description and check its weights.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    ModelError
        See `describe_bundle` and `check_weights`.
    """
    return check_weights(describe_bundle(folder))


def describe_bundle(folder: Path) -> ModelBundle:
    """Read a bundle's description; its weights are not looked at.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    ModelError
        If the description is missing or something in it cannot be.
    """
    path = folder / DESCRIPTION
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: not found; expected a model bundle (bundle.json with its weights).") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not valid JSON in UTF-8 ({error}). Install the model again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: found a {type(content).__name__}; expected an object. Install the model again.")
    return _described(folder, Entries(path, content))


def check_weights(bundle: ModelBundle) -> ModelBundle:
    """Refuse weights that are not those of a bundle; returns the bundle.

    Raises
    ------
    ModelError
        If a file of weights or the graph is missing, altered or outside of the folder, or cannot be that of the
        network described.
    """
    shapes = {bundle.folder / name: shapes_of_weights(bundle.folder, name, digest) for name, digest in bundle.weights}
    channels = len(bundle.preprocessing.slice_offsets) * (2 if bundle.architecture.get("spread_dark") else 1)
    filters = bundle.architecture["decoder_filters"]
    check_fit(shapes, channels=channels, n_labels=len(bundle.labels), filters=filters)
    if bundle.graph is not None:
        check_file(bundle.folder, *bundle.graph, what="graph")
    return bundle


def _described(folder: Path, entries: Entries) -> ModelBundle:
    labels = entries.texts("labels", least=2)
    preprocessing = read_preprocessing(entries.object("preprocessing"))
    role = _role(entries, labels)
    structure = read_structure(entries, labels) if role == STRUCTURE else None
    return ModelBundle(
        name=entries.text("name"),
        version=entries.text("version"),
        role=role,
        folder=folder,
        suffixes=entries.texts("suffixes"),
        labels=labels,
        architecture=read_architecture(entries.object("architecture"), preprocessing, len(labels)),
        preprocessing=preprocessing,
        weights=tuple(_file_entry(entry) for entry in entries.objects("weights")),
        constants=read_constants(entries.object("constants"), role),
        licence=entries.text("licence"),
        citation=entries.text("citation"),
        mixed_precision=entries.flag("mixed_precision", default=False),
        structure=structure,
        published=structure.published if structure else read_published(entries),
        methods=entries.text("methods") if entries.content.get("methods") else "",
        graph=_file_entry(entries.object("graph")) if "graph" in entries.content else None,
    )


def _role(entries: Entries, labels: tuple[str, ...]) -> str:
    """The role, for which the number of labels has to fit."""
    role = entries.content.get("role")
    if role not in ROLES:
        entries.refuse("role", f"one of {', '.join(ROLES)}; bundles of version 0.1 lack it, see the changelog of 0.2")
    few, many = _N_LABELS[role]
    if not few <= len(labels) <= many:
        entries.refuse("labels", f"{few} to {many} labels in a bundle of role {role}. Is it in the right folder?")
    return role


def read_preprocessing(entries: Entries) -> Preprocessing:
    """How a scan becomes the input of a network."""
    x, y, z = entries.numbers("spacing_mm", 3, 0.01, 20.0)
    i, j, k = entries.whole_numbers("shape", 1, _MOST_VOXELS_OF_A_SIDE, n=3)
    if i * j * k > _MOST_VOXELS:
        entries.refuse("shape", f"at most {_MOST_VOXELS} voxels")
    if (axis := entries.text("slice_axis")) not in UP:
        entries.refuse("slice_axis", " or ".join(UP))
    if (intensity := entries.text("intensity")) not in INTENSITY_RULES:
        entries.refuse("intensity", f"one of {', '.join(INTENSITY_RULES)}")
    up = UP[axis]
    orientation = entries.text("slice_orientation", f"R{up[0]}")
    if len(orientation) != 2 or not ({*orientation} & {*"RL"} and {*orientation} & {*up}):
        entries.refuse("slice_orientation", f"one letter of R and L and one of {up[0]} and {up[1]}, such as R{up[0]}")
    offsets = entries.whole_numbers("slice_offsets", -1000, 1000)
    if len(offsets) > _MOST_CHANNELS:
        entries.refuse("slice_offsets", f"at most {_MOST_CHANNELS} numbers")
    return Preprocessing((x, y, z), (i, j, k), axis, offsets, intensity, orientation)


def read_architecture(entries: Entries, pre: Preprocessing, n_labels: int) -> dict[str, Any]:
    """What a network is made of, which has to take the slices and give the labels that the rest of the file names."""
    entries.text("backbone")
    entries.whole_numbers("decoder_filters", 1, 10_000, n=5)
    if entries.content.get("detail_filters"):
        entries.whole_numbers("detail_filters", 1, 10_000)
    if entries.content.get("spread_dark") is not None:
        entries.number("spread_dark", 0.0, 1e6)
    height, width = (pre.shape[axis] for axis in SLICE_AXES[pre.slice_axis][::2])
    if pre.slice_orientation[0] not in "RL":
        height, width = width, height
    expected = (height, width, len(pre.slice_offsets))
    if entries.whole_numbers("input_shape", 1, _MOST_VOXELS_OF_A_SIDE, n=3) != expected:
        entries.refuse("input_shape", f"{list(expected)}, as preprocessing.shape and slice_offsets have it")
    if entries.number("classes", 1, 1e6) != n_labels:
        entries.refuse("classes", f"{n_labels}, the number of labels")
    return dict(entries.content)


def read_constants(entries: Entries, role: str = "") -> dict[str, Any]:
    """What was measured on the training data: of what is known by name, the kind is checked.

    What a bundle of a role needs has to be there; a recipe, which has none, may leave all of it to its training.
    """
    needed = _NEEDED.get(role)
    if needed is not None and needed not in entries.content:
        entries.refuse(needed, f"this entry in a bundle of role {role}")
    if "region_centre_mm" in entries.content:
        entries.numbers("region_centre_mm", 3, -150.0, 150.0)
    entries.number("icv_threshold", 0.0, 1.0, default=0.5)
    if "pose_template_mm" in entries.content:
        template = entries.object("pose_template_mm")
        for name in template.content:
            template.numbers(name, 3, -1000.0, 1000.0)
    return dict(entries.content)


def _file_entry(entries: Entries) -> tuple[str, str]:
    name, digest = entries.text("file"), entries.text("sha256")
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        entries.refuse("file", "the name of a file in the folder of the bundle")
    if not _SHA256.fullmatch(digest):
        entries.refuse("sha256", "64 hexadecimal digits")
    return name, digest.lower()


def save_bundle(folder: Path, description: dict[str, Any], weights: list[Path]) -> ModelBundle:
    """Write a bundle folder from a description and weight files (copied in); returns it as loaded.

    Parameters
    ----------
    folder : Path
    description : dict
        The fields of bundle.json but ``weights``.
    weights : list of Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, source in enumerate(weights):
        payload = source.read_bytes()
        name = f"weights-{number}.npz"
        write_bytes(folder / name, payload)
        entries.append({"file": name, "sha256": hashlib.sha256(payload).hexdigest()})
    of_others = {key: value for key, value in description.items() if key != "graph"}  # made anew from these weights
    text = json.dumps({**of_others, "weights": entries}, indent=2) + "\n"
    write_bytes(folder / DESCRIPTION, text.encode())
    return load_bundle(folder)
