"""Reading U-Nets that segmentation-models saved as Keras ``.h5``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from bids_hypo.errors import ModelError
from bids_hypo.models.network import build_unet

PAPER_BACKBONES = ("efficientnetb0", "vgg16", "resnet50", "inceptionv3")


def read_unet(path: Path, expected: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read the architecture and the weights of a saved U-Net.

    Parameters
    ----------
    path : Path
        ``.h5`` of ``model.save`` or ``model.save_weights``.
    expected : dict
        Architecture whose ``input_shape`` in the plane is taken and whose ``backbone`` is tried first.

    Returns
    -------
    architecture : dict
    weights : list of arrays
        In the order of `bids_hypo.models.network.build_unet`.

    Raises
    ------
    ModelError
        If the file cannot be read or is no U-Net of segmentation-models with a known backbone.
    """
    kernels = _kernels(path)
    decoder = {int(m[1]): k.shape[-1] for name, k in kernels.items() if (m := re.match(r"decoder_stage(\d)b", name))}
    if "final_conv" not in kernels or not decoder:
        raise ModelError(
            f"{path}: found no decoder of a segmentation-models U-Net in it (layers {', '.join(list(kernels)[:4])} "
            "...). Save the U-Net itself with model.save or model.save_weights, without layers around it."
        )
    height, width, _ = expected["input_shape"]
    architecture = {
        "type": "unet",
        "backbone": expected["backbone"],
        "input_shape": [height, width, int(next(iter(kernels.values())).shape[2])],
        "classes": int(kernels["final_conv"].shape[-1]),
        "decoder_filters": [int(decoder[n]) for n in sorted(decoder)],
    }
    tried = dict.fromkeys((expected["backbone"], *PAPER_BACKBONES))
    for backbone in tried:
        model = build_unet({**architecture, "backbone": backbone})
        try:
            model.load_weights(str(path))
        except (ValueError, KeyError):
            continue
        return {**architecture, "backbone": backbone}, model.get_weights()
    raise ModelError(
        f"{path}: its weights fit none of the encoders {', '.join(tried)}. Name the right one with --backbone."
    )


def _kernels(path: Path) -> dict[str, np.ndarray]:
    """The convolution kernel of each layer that has one, in the file's order; only shapes are read."""
    try:
        with h5py.File(path) as file:
            root = file.get("model_weights", file)
            found: dict[str, np.ndarray] = {}
            for layer in root.attrs["layer_names"]:
                name = layer.decode() if isinstance(layer, bytes) else str(layer)
                group = root[name]
                for weight in group.attrs["weight_names"]:
                    key = weight.decode() if isinstance(weight, bytes) else str(weight)
                    if group[key].ndim == 4:
                        found.setdefault(name, np.empty(group[key].shape, np.uint8))
            return found
    except (OSError, KeyError) as error:
        raise ModelError(
            f"{path}: not a Keras .h5 file with weights ({str(error).splitlines()[0]}). Save the model with "
            "model.save('name.h5') of Keras 2."
        ) from error
