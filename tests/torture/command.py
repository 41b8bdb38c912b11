"""The command `bids_hypo` with a quick stand-in for the networks; worker processes import this module, too.

Everything else is the real thing: reading, resuming, writing, drawing, pages.
"""

from __future__ import annotations

import sys
import time

import numpy as np

SECONDS = 0.3  # of "computing" for each scan


def stand_in() -> None:
    """Put the stand-ins in place."""
    from bids_hypo.execute import worker
    from bids_hypo.measure.image_quality import image_quality
    from bids_hypo.measure.volumes import mask_volume_mm3
    from bids_hypo.models.catalog import find_bundles
    from bids_hypo.segment.delineate import Delineation
    from bids_hypo.segment.pose import Pose
    from bids_hypo.workflow import participant
    from tests.finished import masks_of

    def segment(volume, _models, **_kwargs):
        time.sleep(SECONDS)
        labels, icv = masks_of(volume.data.shape, volume.affine)
        voxel_mm3 = volume.grid.voxel_volume_mm3
        left, right = (mask_volume_mm3(labels == side, voxel_mm3) for side in (1, 2))
        found = Delineation(
            probability=np.stack([labels == 1, labels == 2], -1).astype(np.float32), labels=labels,
            volumes_mm3=(left, right), volume_sd_mm3=None, region=volume.grid, touches_border=False,
        )  # fmt: skip
        pose = Pose(np.eye(3), np.zeros(3), 1.0, 2.0, ())
        quality = image_quality(volume, labels, icv)
        return participant.Segmentation(pose, None, icv, mask_volume_mm3(icv, voxel_mm3), found, (), (), quality)

    participant.segment_volume = segment
    worker.load_models = lambda *_args, **_kwargs: participant.Models(find_bundles(), None, (None,), None, "cpu")


if __name__ == "__mp_main__":
    stand_in()
elif __name__ == "__main__":
    from bids_hypo.cli import main as command

    original = command._participant

    def _participant(args):
        stand_in()
        return original(args)

    command._participant = _participant
    sys.exit(command.main())
