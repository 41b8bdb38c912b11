"""The tables of an evaluation, made from the table of scans."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo.bids.scores import Scores
from bids_hypo.image.parts import SIDES
from bids_hypo.measure.agreement import Estimate, PairedTest, agreement
from bids_hypo.measure.ranking import compare_methods, rank_methods
from bids_hypo.structures import BOTH
from bids_hypo.workflow.evaluation_associations import association_comparisons_table, associations_table
from bids_hypo.workflow.evaluation_sessions import Days

HEMISPHERES = (BOTH, *SIDES)


@dataclass(frozen=True)
class Metric:
    """A column of the table of scans and how to show it.

    Attributes
    ----------
    name : str
        The column.
    title, unit : str
    digits : int
        After the point.
    better : str or None
        ``higher`` or ``lower``; None if methods are not ranked by it.
    """

    name: str
    title: str
    unit: str
    digits: int
    better: str | None = None


METRICS = (
    Metric("iou", "IoU", "", 2),
    Metric("precision", "Precision", "", 2),
    Metric("recall", "Recall", "", 2),
    Metric("dice", "Dice", "", 2, "higher"),
    Metric("hausdorff95_mm", "95 % Hausdorff distance", "mm", 2, "lower"),
    Metric("mean_surface_distance_mm", "Mean surface distance", "mm", 2, "lower"),
    Metric("volume_mm3", "Volume", "mm³", 0),
    Metric("volume_error_percent", "Volume error", "%", 1),
    Metric("absolute_volume_error_percent", "Volume error without sign", "%", 1, "lower"),
)
RANKED = tuple(metric for metric in METRICS if metric.better)


def all_tables(
    scans: pd.DataFrame, scores: Scores | None, covariates: Sequence[str], days: Days | None = None
) -> dict[str, pd.DataFrame]:
    """Summarise the scans that all methods have.

    Parameters
    ----------
    scans : DataFrame
        Rows of `bids_hypo.workflow.evaluate.compare_all` with status ``compared``.
    scores : Scores or None
    covariates : sequence of str
    days : Days, optional
        Times of sessions.

    Returns
    -------
    dict of str to DataFrame
        ``summary``, ``metrics``, ``agreement``, ``ranking``, ``comparisons`` and, with scores, ``associations`` and
        ``association_comparisons``;
        ``ranking`` and ``comparisons`` only with several methods. Each for the whole, then for each kind of part.
    """
    scans = scans.assign(absolute_volume_error_percent=scans["volume_error_percent"].astype(float).abs())
    made: dict[str, list[pd.DataFrame]] = {}
    for part in parts_of(scans):
        for name, table in _tables_of_part(common_to_part(scans, part), scores, covariates, days).items():
            made.setdefault(name, []).append(table)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in made.items()}


def parts_of(scans: pd.DataFrame) -> list[str]:
    """The parts in the table of scans, the whole first."""
    return [str(part) for part in scans["part"].unique()]


def common_to_part(scans: pd.DataFrame, part: str) -> pd.DataFrame:
    """The rows of a part, of the scans in which all methods that tell it apart have it."""
    rows = scans[scans["part"] == part]
    n_methods = rows.groupby("scan", sort=False)["method"].nunique()
    return rows[rows["scan"].isin(n_methods[n_methods == rows["method"].nunique()].index)]


def _tables_of_part(
    scans: pd.DataFrame, scores: Scores | None, covariates: Sequence[str], days: Days | None
) -> dict[str, pd.DataFrame]:
    """The tables of one part, with columns that say which."""
    metrics = metrics_table(scans)
    made = {"summary": summary_table(scans, metrics), "metrics": metrics, "agreement": agreement_table(scans)}
    if scans["method"].nunique() > 1:
        made |= {"ranking": ranking_table(scans), "comparisons": comparisons_table(scans)}
    if scores is not None:
        made["associations"] = associations_table(scans, scores, covariates, days)
        made["association_comparisons"] = association_comparisons_table(scans, scores, covariates, days)
    for table in made.values():
        if len(table):
            for name in ("structure", "part"):
                table.insert(list(table.columns).index("hemisphere"), name, scans[name].iloc[0])
    return made


def metrics_table(scans: pd.DataFrame) -> pd.DataFrame:
    """Mean, SD, quartiles and range of each metric, method and hemisphere."""
    rows = []
    for method, hemisphere, part in _parts(scans):
        for metric in METRICS:
            values = part[metric.name].astype(float)
            known = values.dropna()
            rows.append(
                {
                    "method": method, "hemisphere": hemisphere, "metric": metric.name, "n": len(values),
                    "n_values": len(known), "mean": known.mean(), "sd": known.std(), "median": known.median(),
                    "q1": known.quantile(0.25), "q3": known.quantile(0.75), "min": known.min(), "max": known.max(),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def summary_table(scans: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """One row a metric and one column a method, mean ± SD, as in Table 1 of Vernikouskaya et al. (2023)."""
    methods = list(scans["method"].unique())
    known = {(r["method"], r["hemisphere"], r["metric"]): r for r in metrics.to_dict("records")}
    rows = []
    for hemisphere in _hemispheres(scans):
        of_side = scans[scans["hemisphere"] == hemisphere]
        true = of_side.drop_duplicates("scan")["true_mm3"].astype(float)
        for metric in METRICS:
            row: dict[str, Any] = {"hemisphere": hemisphere, "metric": metric.name, "unit": metric.unit or None}
            row["n"] = of_side["scan"].nunique()
            row["truth"] = mean_sd(true.mean(), true.std(), metric.digits) if metric.name == "volume_mm3" else None
            for method in methods:
                found = known.get((method, hemisphere, metric.name))
                row[method] = mean_sd(found["mean"], found["sd"], metric.digits) if found else None
            rows.append(row)
    return pd.DataFrame(rows)


def mean_sd(mean: float, sd: float, digits: int) -> str | None:
    """``0.87 ± 0.03``; without the SD where there is one value only, None where there is none."""
    if not np.isfinite(mean):
        return None
    text = f"{mean:.{digits}f}"
    return f"{text} ± {sd:.{digits}f}" if np.isfinite(sd) else text


def agreement_table(scans: pd.DataFrame) -> pd.DataFrame:
    """Bland-Altman, ICC, correlation, proportional bias and a paired test of the volumes."""
    rows = []
    for method, hemisphere, part in _parts(scans):
        found = agreement(part["volume_mm3"].to_numpy(float), part["true_mm3"].to_numpy(float))
        rows.append(
            {
                "method": method,
                "hemisphere": hemisphere,
                "n": found.n,
                **_flat("bias_mm3", found.bias),
                "sd_difference_mm3": found.sd_difference,
                **_flat("lower_limit_mm3", found.lower_limit),
                **_flat("upper_limit_mm3", found.upper_limit),
                **_flat("icc_2_1", found.icc_2_1),
                **_flat("icc_3_1", found.icc_3_1),
                **_flat("pearson_r", found.pearson_r),
                **_flat("proportional_bias", found.proportional_bias),
                "proportional_bias_p": found.proportional_bias_p,
                "cv_percent": found.cv_percent,
                **_flat_test(found.test),
            }
        )
    return pd.DataFrame(rows)


def ranking_table(scans: pd.DataFrame) -> pd.DataFrame:
    """Mean rank of each method by each metric that has a better and a worse."""
    rows = []
    for metric, hemisphere, values in _wide(scans):
        ranking = rank_methods(values, higher_is_better=metric.better == "higher")
        places = pd.Series(ranking.mean_ranks).round(9).rank(method="min")
        rows += [
            {
                "metric": metric.name, "method": method, "hemisphere": hemisphere, "n": ranking.n,
                "rank": int(places[method]), "mean_rank": mean_rank, "friedman_chi2": ranking.friedman_chi2,
                "friedman_p": ranking.friedman_p,
            }
            for method, mean_rank in ranking.mean_ranks.items()
        ]  # fmt: skip
    return pd.DataFrame(rows)


def comparisons_table(scans: pd.DataFrame) -> pd.DataFrame:
    """Paired tests between all pairs of methods, corrected after Holm by metric and hemisphere."""
    rows = [
        {
            "metric": metric.name, "hemisphere": hemisphere, "first": pair.first, "second": pair.second,
            "n": pair.test.n, **_flat("difference", pair.difference), **_flat_test(pair.test),
            "p_corrected": pair.p_corrected,
        }
        for metric, hemisphere, values in _wide(scans)
        for pair in compare_methods(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _wide(scans: pd.DataFrame) -> Iterator[tuple[Metric, str, pd.DataFrame]]:
    """For each ranked metric and hemisphere that several methods have: scans by methods."""
    methods = list(scans["method"].unique())
    for metric in RANKED:
        for hemisphere in _hemispheres(scans):
            part = scans[scans["hemisphere"] == hemisphere]
            values = part.pivot(index="scan", columns="method", values=metric.name).astype(float)
            having = [m for m in methods if m in values.columns]
            if len(having) > 1:
                yield metric, hemisphere, values[having].loc[part["scan"].unique()]


def _parts(scans: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    for method in scans["method"].unique():
        for hemisphere in _hemispheres(scans):
            part = scans[(scans["method"] == method) & (scans["hemisphere"] == hemisphere)]
            if len(part):
                yield method, hemisphere, part


def _hemispheres(scans: pd.DataFrame) -> list[str]:
    there = set(scans["hemisphere"])
    return [h for h in HEMISPHERES if h in there]


def _flat(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _flat_test(test: PairedTest) -> dict[str, Any]:
    return {k: v for k, v in dataclasses.asdict(test).items() if k != "n"}
