"""What a group-level run is asked for, and which of the volumes that are there it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bids_hypo.bids.ensembles import ENSEMBLE
from bids_hypo.bids.entities import PLAIN_SUFFIX, T1_SUFFIXES
from bids_hypo.bids.selection import Selection
from bids_hypo.errors import UsageError
from bids_hypo.structures import ALL, WHOLE


@dataclass(frozen=True)
class GroupOptions:
    """What a group-level run was asked to do.

    Attributes
    ----------
    bids_dir, output_dir : Path
        The dataset with participants.tsv; the derivatives.
    selection : Selection
        Which scans.
    structures : tuple of str
        What to compare; all that were measured, if empty.
    images : tuple of str
        Kinds of image to compare: BIDS suffixes (T1w for UNIT1 too), ``ensemble``. All that were measured, but no
        ensemble, if empty.
    parts : bool
        Compare the parts of each structure too.
    group_column : str
        Column of participants.tsv.
    cases : tuple of str
        Levels of it; empty for all but the control.
    control : str or None
        None looks for a well-known name.
    covariates : tuple of str or None
        None takes age and sex where they are there.
    scores : tuple of str
    site_column : str or None
    worsened : str or None
        Column that says of each person yes or no.
    ratings : Path or None
        Scans rated bad are left out.
    exclude_flagged, dry_run : bool
    outlier_rule : str
        ``iqr`` or ``none``.
    """

    bids_dir: Path
    output_dir: Path
    selection: Selection = field(default_factory=Selection)
    structures: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    parts: bool = False
    group_column: str = "group"
    cases: tuple[str, ...] = ()
    control: str | None = None
    covariates: tuple[str, ...] | None = None
    scores: tuple[str, ...] = ()
    site_column: str | None = None
    worsened: str | None = None
    ratings: Path | None = None
    exclude_flagged: bool = False
    outlier_rule: str = "iqr"
    dry_run: bool = False


def chosen_volumes(volumes: pd.DataFrame, options: GroupOptions) -> pd.DataFrame:
    """The volumes of the structures, and of the parts, that are to be compared.

    Raises
    ------
    UsageError
        If a structure was not measured.
    """
    there = list(dict.fromkeys(volumes["structure"]))
    unknown = [name for name in options.structures if name not in (*there, ALL)]
    if unknown:
        raise UsageError(
            f"--structures {' '.join(unknown)}: not measured in {options.output_dir}; there are {', '.join(there)}. "
            "Run the participant level with --structures first."
        )
    wanted = there if not options.structures or ALL in options.structures else options.structures
    kept = _of_images(volumes[volumes["structure"].isin(wanted)], options)
    return kept if options.parts else kept[kept["part"] == WHOLE]


def _of_images(volumes: pd.DataFrame, options: GroupOptions) -> pd.DataFrame:
    """The volumes on the kinds of image that were asked for, in capital letters or small.

    Raises
    ------
    UsageError
        If there are none on one of them.
    """
    if not options.images:
        return volumes
    there = {str(image).lower(): image for image in volumes["image"].unique()}
    same = {name: PLAIN_SUFFIX.lower() for name in map(str.lower, T1_SUFFIXES)}
    wanted = [same.get(name.lower(), name.lower()) for name in options.images]
    unknown = [name for name, key in zip(options.images, wanted, strict=True) if key not in there]
    if unknown:
        hint = f" The participant level makes an {ENSEMBLE} of sessions with several kinds of image."
        raise UsageError(
            f"--images {' '.join(unknown)}: no such volumes in {options.output_dir}; there are "
            f"{', '.join(sorted(map(str, there.values())))}.{hint if ENSEMBLE in wanted else ''}"
        )
    return volumes[volumes["image"].isin([there[key] for key in wanted])]
