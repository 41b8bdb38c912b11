"""The command `bids_hypo` with a quick stand-in for the networks; worker processes import this module, too.

Everything else is the real thing: reading, resuming, writing, drawing, pages.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

SECONDS = 0.3  # of "computing" for each scan


def stand_in() -> None:
    """Put the stand-ins in place."""
    from bids_hypo.bids.entities import Scan
    from bids_hypo.bids.names import output_names
    from bids_hypo.execute import worker
    from bids_hypo.models.catalog import find_models
    from bids_hypo.workflow import process
    from bids_hypo.workflow.scan import Models
    from tests.finished import segmentation_of

    def segment(volume, _models, *, what, **_kwargs):
        time.sleep(SECONDS)
        path = Path(what)
        return segmentation_of(volume, output_names(Scan(path, {"sub": "x"}, "T1w", path.parent), path.parent))

    process.segment_volume = segment
    worker.load_models = lambda *_args, **_kwargs: Models(find_models(), {}, "cpu")


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
