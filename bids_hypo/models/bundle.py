"""What a trained model is: a folder with its description, its weights and its model card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_hypo.errors import ModelError
from bids_hypo.image.volume import write_bytes

DESCRIPTION = "bundle.json"


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
        ``coronal``.
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


@dataclass(frozen=True)
class ModelBundle:
    """A trained model and everything needed to apply it.

    Attributes
    ----------
    name, version : str
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
    """

    name: str
    version: str
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

    @property
    def weights_sha256(self) -> str:
        """One digest for all sets of weights, in their order."""
        if len(self.weights) == 1:
            return self.weights[0][1]
        return hashlib.sha256("".join(digest for _, digest in self.weights).encode()).hexdigest()


def load_bundle(folder: Path) -> ModelBundle:
    """Read a bundle's description and check its weights against their digests.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    ModelBundle

    Raises
    ------
    ModelError
        If the description is missing or incomplete, or a weights file is missing or altered.
    """
    path = folder / DESCRIPTION
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        pre = raw["preprocessing"]
        bundle = ModelBundle(
            name=raw["name"],
            version=raw["version"],
            folder=folder,
            suffixes=tuple(raw["suffixes"]),
            labels=tuple(raw["labels"]),
            architecture=raw["architecture"],
            preprocessing=Preprocessing(
                tuple(pre["spacing_mm"]),
                tuple(pre["shape"]),
                pre["slice_axis"],
                tuple(pre["slice_offsets"]),
                pre["intensity"],
                pre.get("slice_orientation", "RS"),
            ),
            weights=tuple((w["file"], w["sha256"]) for w in raw["weights"]),
            constants=raw["constants"],
            licence=raw["licence"],
            citation=raw["citation"],
            mixed_precision=bool(raw.get("mixed_precision", False)),
        )
    except FileNotFoundError as error:
        raise ModelError(f"{path}: not found; expected a model bundle (bundle.json with its weights).") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not valid JSON ({error}). Install the model again.") from error
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path}: the entry {error} is missing or malformed. Install the model again.") from error
    for name, digest in bundle.weights:
        _check_weights(folder / name, digest)
    return bundle


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
    text = json.dumps({**description, "weights": entries}, indent=2) + "\n"
    write_bytes(folder / DESCRIPTION, text.encode())
    return load_bundle(folder)


def _check_weights(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: the weights are missing. Install the model again.")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ModelError(
            f"{path}: the weights have SHA-256 {found[:12]}..., bundle.json expects {expected[:12]}...: the file is "
            "damaged or does not belong to this bundle. Install the model again."
        )
