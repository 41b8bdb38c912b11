"""The dictionary of the table of all scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MM3 = "mm^3"
VOLUME_COLUMNS: dict[str, tuple[str, str | None]] = {
    "participant_id": ("Participant", None),
    "session_id": ("Session; n/a in datasets without sessions", None),
    "run": ("Run; n/a if the name has none", None),
    "scan": ("Name of the image without its extension", None),
    "image": ("Kind of image: T1w (UNIT1 too), or another BIDS suffix", None),
    "source_file": ("The image, relative to its dataset", None),
    "group": ("Group", None),
    "years": ("Time since the first session of the participant; n/a if unknown", "year"),
    "structure": ("Structure that was measured", None),
    "part": ("whole, or the kind of part", None),
    "left_mm3": ("Left side; n/a where there are no sides", _MM3),
    "right_mm3": ("Right side; n/a where there are no sides", _MM3),
    "volume_mm3": ("Volume of all sides together", _MM3),
    "volume_sd_mm3": ("SD between the folds of the model; n/a with a single fold, and for a part of two sides", _MM3),
    "icv_mm3": ("Intracranial volume (ICV); n/a if it cannot be measured", _MM3),
    "icv_sd_mm3": ("Uncertainty of the ICV; n/a with a single fold", _MM3),
    "icv_source": ("Scan in which the ICV was measured; images other than T1w take that of their session", None),
    "ratio": ("Volume divided by the ICV", None),
    "normalised_mm3": (
        "Volume / ICV * mean ICV of the tested controls (Vernikouskaya et al. 2023, eq. 1)",
        _MM3,
    ),
    "residual_mm3": (
        "Volume - b * (ICV - mean ICV of the tested controls), b the slope of the volume on the ICV in them",
        _MM3,
    ),
    "harmonised_mm3": (
        "Normalised volume (plain volume where no ICV is known) without the random intercept of the site",
        _MM3,
    ),
    "mean_ppm": ("Mean susceptibility in all sides together; n/a where the image is no susceptibility map", "ppm"),
    "contrast_ppm": ("That mean less the median of what surrounds the structure", "ppm"),
    "asymmetry_percent": ("100 * (left - right) / mean of both", "%"),
    "change_percent_per_year": ("Change of the participant's volume over all sessions; n/a with one", "%/year"),
    "flags": ("Quality flags of the structure and the ICV, separated by semicolons; n/a if none", None),
    "icv_doubtful": (
        (
            "Whether the ICV may be more than 5 % wrong: it differs by more than 5 % between scans of the same person, "
            "or 1.96 SD of the folds exceed 5 %"
        ),
        None,
    ),
    "flagged": ("Whether there is a flag or a doubtful ICV", None),
    "rating": ("Rating by a person: good, doubtful, bad; n/a if not rated", None),
    "rating_note": ("Note of the rater", None),
    "manual": ("Whether the volumes come from a mask that a person has edited", None),
    "models": ("Models that measured the scan", None),
    "outlier_of": (
        "Measures outside [Q1 - 1.5 IQR, Q3 + 1.5 IQR] of the tested scans of the group, separated by semicolons",
        None,
    ),
    "outlier": ("Whether there is any", None),
    "tested": ("Whether this is the participant's scan in the tests between groups", None),
    "not_tested": ("Why not", None),
}  # fmt: skip
_LEVELS = {
    "rating": {"good": "usable", "doubtful": "usable with doubt", "bad": "left out of all tests"},
    "tested": {"true": "tested", "false": "not tested"},
}


def volumes_dictionary(
    columns: Sequence[str], group_column: str, mean_icv_mm3: Mapping[str, float | None], control: str
) -> dict[str, Any]:
    """Meaning of every column of group_volumes.tsv.

    Parameters
    ----------
    columns : sequence of str
        As written.
    group_column : str
        Where the group comes from.
    mean_icv_mm3 : mapping of str to (float or None)
        By series: of the tested controls, recorded so that the normalised volume can be computed again.
    control : str
        Name of the control group.
    """
    out: dict[str, Any] = {}
    for name in columns:
        text, unit = VOLUME_COLUMNS.get(name, (f"Column {name} of participants.tsv or sessions.tsv", None))
        out[name] = {"Description": text, **({"Units": unit} if unit else {})}
        if name in _LEVELS:
            out[name]["Levels"] = _LEVELS[name]
    out["group"]["Description"] = f"Column {group_column} of participants.tsv"
    if "normalised_mm3" in out:
        means = {key: None if mean is None else round(mean, 3) for key, mean in mean_icv_mm3.items()}
        out["normalised_mm3"]["MeanControlICV"] = means if len(means) > 1 else next(iter(means.values()))
        out["normalised_mm3"]["ControlGroup"] = control
    return out
