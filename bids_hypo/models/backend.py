"""TensorFlow, set up before it is read: the only module besides `bids_hypo.models.network` that imports it.

Keras and segmentation-models are not read here: a network that was stored as a graph needs neither.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from bids_hypo.models.quiet import LEVEL_VARIABLE, native_output_held, wants_everything

# segmentation_models 1.0.1 needs Keras 2 (tf_keras) on TensorFlow 2.16 and later; both are read at import.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("SM_FRAMEWORK", "tf.keras")
os.environ.setdefault(LEVEL_VARIABLE, "3")
logging.getLogger("tensorflow").setLevel(logging.WARNING if wants_everything() else logging.ERROR)

with native_output_held():
    import tensorflow as tf

__all__ = ["frozen_graph", "tf"]


def frozen_graph(traced: Any) -> Any:
    """The operations (``GraphDef``) of a traced function, with the values of its variables as constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(traced).graph.as_graph_def()
