"""Reading the image of a scan as its kind has to be read."""

from __future__ import annotations

from bids_hypo.bids.entities import Scan
from bids_hypo.image.volume import Volume, read_volume


def read_scan(scan: Scan) -> Volume:
    """Read the image of a scan; maps with a sign or a unit as such.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    Volume
        See `bids_hypo.image.volume.read_volume`.

    Raises
    ------
    ScanReadError
        If it cannot be read, or is no image of this kind.
    """
    return read_volume(scan.path, signed=scan.is_signed, relaxation=scan.relaxation)
