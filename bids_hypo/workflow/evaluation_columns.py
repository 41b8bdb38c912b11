"""What the columns of the evaluation's tables mean: the JSON beside each of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bids_hypo.structures import BOTH, LEFT, RIGHT

_HEMISPHERES = {LEFT: "The subject's left", RIGHT: "The subject's right", BOTH: "All of it, both sides together"}


def _column(text: str, units: str | None = None, levels: dict[str, str] | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"Description": text}
    if units:
        entry["Units"] = units
    if levels:
        entry["Levels"] = levels
    return entry


def _with_interval(name: str, text: str, units: str | None = None) -> dict[str, Any]:
    return {
        name: _column(text, units),
        f"{name}_low": _column(f"Lower end of the 95 % confidence interval of {name}", units),
        f"{name}_high": _column(f"Upper end of the 95 % confidence interval of {name}", units),
    }


_METHOD = {"method": _column("Name of the method, as given on the command line")}
_SERIES = {
    "structure": _column("Structure"),
    "part": _column("Kind of part; whole is the sum of the parts that count in the structure"),
    "hemisphere": _column("Side", levels=_HEMISPHERES),
}
_N = {"n": _column("Scans (those that all methods have)")}
_METRIC_TEXT = (
    "Metric: a column of evaluation_scans.tsv; absolute_volume_error_percent is volume_error_percent without its sign"
)
_METRIC = {"metric": _column(_METRIC_TEXT)}
_TEST = {
    "shapiro_p": _column("Shapiro-Wilk test of the paired differences"),
    "test": _column("paired t if shapiro_p is at least 0.05, else Wilcoxon signed-rank; none if all differ alike"),
    "statistic": _column("Statistic of the test"),
    "p": _column("p value of the test, two-sided, uncorrected"),
}

_SCANS: dict[str, Any] = {
    "participant_id": _column("Participant"),
    "session_id": _column("Session; n/a if the scans have none"),
    "scan": _column("Scan: the entities in the name of the truth"),
    **_METHOD,
    **_SERIES,
    "status": _column(
        "What became of the comparison",
        levels={
            "compared": "Compared",
            "missing": "No prediction was found",
            "unreadable": "A file could not be used",
        },
    ),
    "true_mm3": _column("Volume of the truth, on its own grid", "mm^3"),
    "volume_mm3": _column("Volume of the prediction, on its own grid", "mm^3"),
    "volume_error_mm3": _column("Prediction minus truth", "mm^3"),
    "volume_error_percent": _column("Prediction minus truth, relative to the truth", "percent"),
    "iou": _column("Intersection over union (Jaccard index)"),
    "dice": _column("Dice coefficient"),
    "precision": _column("Share of the predicted voxels that are true; n/a if none is predicted"),
    "recall": _column("Share of the true voxels that are predicted (sensitivity)"),
    "hausdorff95_mm": _column("95 % Hausdorff distance: the larger of the two directed 95th percentiles", "mm"),
    "mean_surface_distance_mm": _column("Average symmetric surface distance", "mm"),
    "resampled": _column("Whether the prediction lay on another grid and was interpolated onto the truth's"),
    "grid_dice": _column(
        "Dice of the truth itself after it was carried to the prediction's grid and back: about the best that a "
        "prediction on that grid can reach; 1 on the same grid"
    ),
    "note": _column("Why a prediction is missing or unreadable, or what is odd about it"),
    "truth_file": _column("File name of the truth"),
    "prediction_file": _column("File name of the prediction"),
}

_METRICS: dict[str, Any] = {
    **_METHOD,
    **_SERIES,
    **_METRIC,
    **_N,
    "n_values": _column("Scans for which the metric is defined"),
    "mean": _column("Mean"),
    "sd": _column("Standard deviation (n - 1)"),
    "median": _column("Median"),
    "q1": _column("First quartile"),
    "q3": _column("Third quartile"),
    "min": _column("Smallest value"),
    "max": _column("Largest value"),
}

_AGREEMENT: dict[str, Any] = {
    **_METHOD,
    **_SERIES,
    **_N,
    **_with_interval("bias_mm3", "Mean difference of the volumes, prediction minus truth (Bland-Altman)", "mm^3"),
    "sd_difference_mm3": _column("Standard deviation of the differences", "mm^3"),
    **_with_interval("lower_limit_mm3", "Lower limit of agreement, bias - 1.96 SD", "mm^3"),
    **_with_interval("upper_limit_mm3", "Upper limit of agreement, bias + 1.96 SD", "mm^3"),
    **_with_interval("icc_2_1", "Intraclass correlation ICC(2,1), absolute agreement"),
    **_with_interval("icc_3_1", "Intraclass correlation ICC(3,1), consistency"),
    **_with_interval("pearson_r", "Pearson correlation of predicted and true volumes"),
    **_with_interval("proportional_bias", "Slope of the difference on the mean of both volumes"),
    "proportional_bias_p": _column("p value of that slope"),
    "cv_percent": _column("Root mean square of each pair's coefficient of variation", "percent"),
    **_TEST,
}

_RANKING: dict[str, Any] = {
    **_METRIC,
    **_METHOD,
    **_SERIES,
    **_N,
    "rank": _column("Place by the mean rank; equal mean ranks share the better place"),
    "mean_rank": _column("Mean over the scans of the method's rank, 1 is best"),
    "friedman_chi2": _column("Friedman test over all methods; n/a with fewer than three"),
    "friedman_p": _column("p value of the Friedman test"),
}

_COMPARISONS: dict[str, Any] = {
    **_METRIC,
    **_SERIES,
    "first": _column("A method"),
    "second": _column("Another method"),
    **_N,
    **_with_interval("difference", "Mean of the first minus the second method, in the unit of the metric"),
    **_TEST,
    "p_corrected": _column("p value after Holm, over all pairs of methods by this metric, part and side"),
}

_ASSOCIATIONS: dict[str, Any] = {
    "analysis": _column(
        "What was correlated",
        levels={
            "cross-sectional": "Volume and score, the first session of each participant",
            "change": "Change of volume (percent) and change of the score, from the first to the last session",
            "change and first score": "Change of volume (percent) and the score, which has no sessions",
        },
    ),
    "method": _column("Name of the method; truth for the volumes of the truth"),
    **_SERIES,
    "score": _column("Column of the table of scores"),
    "covariates": _column("What the correlation is adjusted for (partial correlation)"),
    "n": _column("Participants with volume, score and covariates"),
    **_with_interval("pearson_r", "Pearson correlation"),
    "pearson_p": _column("p value of Pearson's r, uncorrected"),
    "pearson_p_corrected": _column("The same after Holm, over the scores within analysis, method, part and side"),
    "spearman_rho": _column("Spearman rank correlation"),
    "spearman_p": _column("p value of Spearman's rho, uncorrected"),
}

_ASSOCIATION_COMPARISONS: dict[str, Any] = {
    "analysis": _ASSOCIATIONS["analysis"],
    **_SERIES,
    "score": _column("Column of the table of scores"),
    "first": _column("A method, or truth"),
    "second": _column("Another one"),
    "covariates": _ASSOCIATIONS["covariates"],
    "n": _column("Participants with both volumes, score and covariates"),
    "r_first": _column("Pearson correlation of the first one's volumes with the score"),
    "r_second": _column("The same of the second"),
    **_with_interval("difference", "r_first - r_second; interval by bootstrap over the participants (BCa)"),
    "p": _column("p value by permutations that exchange the two volumes of a participant, two-sided"),
    "p_corrected": _column("p value after Holm, over all pairs, within analysis, score and part"),
}

_SUMMARY: dict[str, Any] = {
    **_SERIES,
    **_METRIC,
    "unit": _column("Unit"),
    **_N,
    "truth": _column("Mean ± standard deviation of the truth, where it has the metric"),
}

_TABLES = {
    "scans": _SCANS,
    "summary": _SUMMARY,
    "metrics": _METRICS,
    "agreement": _AGREEMENT,
    "ranking": _RANKING,
    "comparisons": _COMPARISONS,
    "associations": _ASSOCIATIONS,
    "association_comparisons": _ASSOCIATION_COMPARISONS,
}


def column_dictionary(table: str, methods: Iterable[str] = ()) -> dict[str, Any]:
    """Columns of a table and what they mean.

    Parameters
    ----------
    table : str
        ``scans``, ``summary``, ``metrics``, ``agreement``, ``ranking``, ``comparisons``, ``associations`` or
        ``association_comparisons``.
    methods : iterable of str
        Columns of the summary that are named after methods; others are left alone.

    Returns
    -------
    dict
        In the order of the columns.
    """
    known = dict(_TABLES[table])
    for name in methods:
        known.setdefault(name, _column(f"Mean ± standard deviation of the method {name}"))
    return known
