"""The device and the threads that TensorFlow works with, chosen before anything runs."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from bids_hypo.errors import UsageError
from bids_hypo.models.backend import tf
from bids_hypo.models.device import DeviceRequest, n_cores
from bids_hypo.models.quiet import native_output_held

logger = logging.getLogger(__name__)


def configure_device(request: DeviceRequest, n_threads: int | None, n_lanes: int | None = None) -> str:
    """Choose the device before anything runs, and prove a GPU with a small kernel.

    Parameters
    ----------
    request : DeviceRequest
    n_threads : int, optional
        All that are here if not given.
    n_lanes : int, optional
        Batches that are to be worked on at the same time on a CPU, which share the threads; one operation at a time
        in each, which is the quickest for results, while training is quicker if TensorFlow chooses (None).

    Returns
    -------
    str
        ``cpu`` or ``gpu:N``, as used.

    Raises
    ------
    UsageError
        If a GPU was asked for and none works.
    """
    with native_output_held():
        gpus = tf.config.list_physical_devices("GPU") if request.kind != "cpu" else []
    number = request.index or 0
    if request.kind == "cpu" or number >= len(gpus):
        if request.kind == "gpu":
            raise UsageError(
                f"--device gpu: TensorFlow sees {len(gpus)} GPU(s), number {number} was asked for. Check the driver "
                "(nvidia-smi), the container's GPU option (--gpus all, --nv), or use --device cpu. -vv tells "
                "more."
            )
        tf.config.set_visible_devices([], "GPU")
        _share_threads(n_threads, n_lanes)
        return "cpu"
    _share_threads(n_threads, None)
    tf.config.set_visible_devices([gpus[number]], "GPU")
    tf.config.experimental.set_memory_growth(gpus[number], True)
    problem = _test_kernel()
    if problem is None:
        return f"gpu:{number}"
    if request.kind == "gpu":
        raise UsageError(f"--device gpu: a small test failed on GPU {number} ({problem.message}).") from problem
    logger.warning("GPU %d does not work (%s); using the CPU", number, problem.message)
    return "cpu"


@native_output_held()
def _test_kernel() -> Any:
    """Compute a little on the GPU; the error if that fails."""
    try:
        with tf.device("/GPU:0"):
            np.asarray(tf.nn.conv2d(tf.ones((1, 8, 8, 1)), tf.ones((3, 3, 1, 1)), 1, "SAME"))
    except tf.errors.OpError as error:
        return error
    return None


def _share_threads(n_threads: int | None, n_lanes: int | None) -> None:
    """Divide the threads: within an operation they wait for each other, between batches they do not."""
    try:
        if n_threads or (n_lanes or 1) > 1:
            n_threads = n_threads or n_cores()
            n_lanes = min(n_lanes or 1, n_threads)
            tf.config.threading.set_intra_op_parallelism_threads(n_threads // n_lanes)
        if n_lanes:
            tf.config.threading.set_inter_op_parallelism_threads(n_lanes)
    except RuntimeError:  # TensorFlow has begun to work in this process
        logger.info("the networks keep the number of threads that they started with")
