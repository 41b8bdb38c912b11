"""The only module that imports segmentation_models: building networks with Keras.

Outside of the modules around it a network is a plain callable ``(N, H, W, C) -> (N, H, W, K)``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.errors import UsageError
from bids_hypo.models.backend import tf
from bids_hypo.models.bundle import load_bundle
from bids_hypo.models.quiet import native_output_held
from bids_hypo.models.saved_layers import read_layers
from bids_hypo.models.weights import load_weights

with native_output_held(), contextlib.redirect_stdout(io.StringIO()):  # it announces its framework
    import segmentation_models as sm

logger = logging.getLogger(__name__)


def build_unet(architecture: dict[str, Any], encoder_weights: str | Path | None = None) -> Any:
    """Build a U-Net.

    Parameters
    ----------
    architecture : dict
        ``backbone`` (any that segmentation-models knows), ``input_shape`` [H, W, C], ``classes``, ``decoder_filters``;
        optional ``detail_filters`` (see `_with_detail`) and ``spread_dark`` (an intensity; see `_with_spread_dark`).
    encoder_weights : {None, "imagenet"} or Path
        ``imagenet`` is downloaded by segmentation-models; a file is a Keras ``.h5`` of the encoder. Both need as many
        channels as they were trained with, usually three. A folder is a model bundle, of which the decoder is taken
        too; layers of another shape, such as the last one, start at random.

    Returns
    -------
    tf_keras.Model
        Softmax output (N, H, W, K), in single precision also under a mixed-precision policy.

    Raises
    ------
    UsageError
        If the backbone is unknown or the encoder weights cannot be had or do not fit.
    """
    check_backbone(architecture["backbone"])
    try:
        network = _unet(architecture, encoder_weights)
    except Exception as error:
        if encoder_weights is None:
            raise
        raise UsageError(
            f"--encoder-weights {encoder_weights}: cannot be used for {architecture['backbone']} with input "
            f"{architecture['input_shape']} ({str(error).splitlines()[0]}). 'imagenet' needs a network connection and "
            "three channels; a file must be a Keras .h5 and a folder a model bundle of the same encoder; 'none' starts "
            "from random weights."
        ) from error
    return _with_spread_dark(network, architecture) if architecture.get("spread_dark") else network


def _unet(architecture: dict[str, Any], encoder_weights: str | Path | None) -> Any:
    """The network of `build_unet`, with the channels that `_with_spread_dark` adds among its input."""
    height, width, channels = architecture["input_shape"]
    start = None if encoder_weights in (None, "imagenet") else Path(str(encoder_weights))
    with warnings.catch_warnings():  # it expects 1 or 3 channels, the neighbours of a slice make 5
        warnings.filterwarnings("ignore", message=".*input channels", category=UserWarning)
        model = sm.Unet(
            architecture["backbone"],
            input_shape=(height, width, 2 * channels if architecture.get("spread_dark") else channels),
            classes=int(architecture["classes"]),
            activation="linear",
            encoder_weights="imagenet" if encoder_weights == "imagenet" else None,
            decoder_filters=tuple(architecture["decoder_filters"]),
        )
    if start is not None and not start.is_dir():
        _load_encoder(model, start)
    scores = _with_detail(model, architecture) if architecture.get("detail_filters") else model.output
    probabilities = tf.keras.layers.Activation("softmax", dtype="float32", name="probabilities")(scores)
    network = tf.keras.Model(model.input, probabilities)
    if start is not None and start.is_dir():
        _load_layers(network, start)
    return network


def _with_detail(model: Any, architecture: dict[str, Any]) -> Any:
    """Scores of a U-Net, corrected by a few convolutions that see the image at its full resolution.

    The encoders halve the image in their first layer, and the U-Nets of segmentation-models have no connection from
    before it, so that without this no layer sees a border more finely than in steps of two voxels. The correction
    starts at zero: a U-Net that was trained without it gives the same scores until the correction is trained.
    """
    layers = tf.keras.layers
    x = layers.Concatenate(name="detail_input")([model.get_layer("final_conv").input, model.input])
    for number, filters in enumerate(architecture["detail_filters"], start=1):
        x = layers.Conv2D(int(filters), 3, padding="same", use_bias=False, name=f"detail_conv{number}")(x)
        x = layers.BatchNormalization(name=f"detail_bn{number}")(x)
        x = layers.Activation("relu", name=f"detail_relu{number}")(x)
    correction = layers.Conv2D(int(architecture["classes"]), 1, kernel_initializer="zeros", name="detail_out")(x)
    return layers.Add(name="detail_scores")([model.output, correction])


def _with_spread_dark(network: Any, architecture: dict[str, Any]) -> Any:
    """A network of twice the channels, given an image and the same image with what is dark in it spread out.

    ``x / (x + spread_dark)`` makes the border between CSF and bone, which is a twentieth as bright as the brain, as
    strong as that between grey and white matter.
    """
    half_at = float(architecture["spread_dark"])
    image = tf.keras.Input(tuple(architecture["input_shape"]), name="image")

    def both(x: Any) -> Any:
        bright = tf.nn.relu(x)
        return tf.concat([x, bright / (bright + half_at)], axis=-1)

    return tf.keras.Model(image, network(tf.keras.layers.Lambda(both, name="spread_dark")(image)))


def check_backbone(name: str) -> None:
    """Raise a `UsageError` that lists the encoders if segmentation-models does not know this one."""
    if name not in sm.get_available_backbone_names():
        raise UsageError(f"backbone {name!r}: expected one of {', '.join(sm.get_available_backbone_names())}.")


def _load_encoder(model: Any, path: Path) -> None:
    """Fill the layers that a Keras file knows by name; a file that knows none is an error."""
    there = {layer.name: layer for layer in model.layers if layer.weights}
    known = [saved for saved in read_layers(path) if saved.weights and saved.name in there]
    if not known:
        raise ValueError("no layer of the file has the name of a layer of this encoder")
    for saved in known:
        saved.fill(there[saved.name])


def _load_layers(model: Any, folder: Path) -> None:
    """Fill the layers that a bundle's first network has too; a network that shares none is an error."""
    bundle = load_bundle(folder)
    donor = _unet(bundle.architecture, None)
    load_weights(donor, folder / bundle.weights[0][0])
    there = {layer.name: layer for layer in model.layers}
    n_filled = 0
    for number, layer in enumerate(donor.layers):
        values, own = layer.get_weights(), there.get(layer.name)
        if not values or own is None:
            continue
        wanted = [w.shape for w in own.get_weights()]
        if number == 1:
            values[0] = _with_channels(values[0], wanted[0][2])
        if [v.shape for v in values] == wanted:
            own.set_weights(values)
            n_filled += 1
    if not n_filled:
        raise ValueError("no layer of the bundle's network is a layer of this one")
    logger.info("%d layers start from %s %s", n_filled, bundle.name, bundle.version)


def _with_channels(kernel: np.ndarray, n: int) -> np.ndarray:
    """The first kernel of a network for one with or without the channels that `_with_spread_dark` adds."""
    if n == 2 * kernel.shape[2]:
        return np.concatenate([kernel, np.zeros_like(kernel)], axis=2)
    return kernel[:, :, :n] if kernel.shape[2] == 2 * n else kernel


@contextlib.contextmanager
def precision(*, mixed: bool) -> Iterator[None]:
    """Layers made inside compute in half precision (weights and results stay in single precision), or do not."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_float16" if mixed else "float32")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
