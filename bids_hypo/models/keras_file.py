"""Reading U-Nets that segmentation-models saved as Keras ``.h5``, whoever made the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.errors import ModelError
from bids_hypo.models.network import build_unet
from bids_hypo.models.saved_layers import SavedLayer, read_layers

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
    layers = read_layers(path)
    kernels = {layer.name: w.shape for layer in layers for w in reversed(layer.weights) if w.ndim == 4}
    decoder = {int(m[1]): shape[-1] for name, shape in kernels.items() if (m := re.match(r"decoder_stage(\d)b", name))}
    if "final_conv" not in kernels or not decoder:
        raise ModelError(
            f"{path}: found no decoder of a segmentation-models U-Net in it (layers {', '.join(list(kernels)[:4])} "
            "...). Save the U-Net itself with model.save or model.save_weights, without layers around it."
        )
    height, width, _ = expected["input_shape"]
    architecture = {
        "type": "unet",
        "backbone": expected["backbone"],
        "input_shape": [height, width, int(next(iter(kernels.values()))[2])],
        "classes": int(kernels["final_conv"][-1]),
        "decoder_filters": [int(decoder[n]) for n in sorted(decoder)],
    }
    tried = dict.fromkeys((expected["backbone"], *PAPER_BACKBONES))
    for backbone in tried:
        model = build_unet({**architecture, "backbone": backbone})
        if _fill(model, layers):
            return {**architecture, "backbone": backbone}, model.get_weights()
    raise ModelError(
        f"{path}: its weights fit none of the encoders {', '.join(tried)}. Name the right one with --backbone."
    )


def _fill(model: Any, layers: list[SavedLayer]) -> bool:
    """Give a network the weights of a file layer by layer, as Keras does; False if they are not those of such a one."""
    own, saved = ([layer for layer in some if layer.weights] for some in (model.layers, layers))
    try:
        for layer, weights in zip(own, saved, strict=True):
            weights.fill(layer)
    except ValueError:
        return False
    return True
