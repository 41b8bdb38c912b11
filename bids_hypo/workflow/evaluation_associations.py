"""Volumes of each method, and of the truth, against clinical scores."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pandas as pd

from bids_hypo.bids.columns import natural
from bids_hypo.bids.scores import Scores
from bids_hypo.measure.dependent_correlations import compare_correlations
from bids_hypo.measure.inference import HOLM, corrected_p
from bids_hypo.measure.score_association import associate
from bids_hypo.structures import BOTH
from bids_hypo.workflow.evaluation_sessions import Days, in_order

logger = logging.getLogger(__name__)

TRUTH = "truth"
CROSS_SECTIONAL, CHANGE, CHANGE_AND_FIRST = "cross-sectional", "change", "change and first score"


def associations_table(
    scans: pd.DataFrame, scores: Scores, covariates: Sequence[str] = (), days: Days | None = None
) -> pd.DataFrame:
    """Correlate volumes with scores: in the first session, and as change from the first to the last.

    Parameters
    ----------
    scans : DataFrame
        One row a scan, method and hemisphere, with participant_id, session_id, true_mm3 and volume_mm3.
    scores : Scores
    covariates : sequence of str
    days : Days, optional
        Times of sessions, see `in_order`; those of the scores unless given.

    Returns
    -------
    DataFrame
        One row an analysis, method (``truth`` first), hemisphere and score. The change is left out where nobody has
        two sessions.
    """
    rows = []
    for analysis, method, hemisphere, table in _persons(scans, scores, days):
        found = [(name, associate(table, "volume", name, covariates)) for name in scores.names]
        corrected = corrected_p([a.pearson_p for _, a in found], HOLM)
        rows += [
            {
                "analysis": analysis, "method": method, "hemisphere": hemisphere, "score": name,
                "covariates": ";".join(covariates) or None, "n": a.n, "pearson_r": a.pearson.value,
                "pearson_r_low": a.pearson.low, "pearson_r_high": a.pearson.high, "pearson_p": a.pearson_p,
                "pearson_p_corrected": p, "spearman_rho": a.spearman, "spearman_p": a.spearman_p,
            }
            for (name, a), p in zip(found, corrected, strict=True)
        ]  # fmt: skip
    return pd.DataFrame(rows)


def association_comparisons_table(
    scans: pd.DataFrame, scores: Scores, covariates: Sequence[str] = (), days: Days | None = None
) -> pd.DataFrame:
    """Compare the methods, and the truth, in how closely their volumes go with each score.

    Parameters
    ----------
    scans, scores, covariates, days
        As for `associations_table`.

    Returns
    -------
    DataFrame
        One row an analysis, score and pair of methods, for both sides together; see `compare_correlations`.
    """
    persons = [one for one in _persons(scans, scores, days) if one[2] == BOTH]
    rows = []
    for analysis in dict.fromkeys(one[0] for one in persons):
        tables = {method: table.set_index("sub") for name, method, _, table in persons if name == analysis}
        each = pd.DataFrame({method: table["volume"] for method, table in tables.items()})
        for score in scores.names:
            about = pd.concat([table[[score, *covariates]] for table in tables.values()])
            joined = each.join(about[~about.index.duplicated()])
            rows += [
                {
                    "analysis": analysis, "hemisphere": BOTH, "score": score, "first": one.first, "second": one.second,
                    "covariates": ";".join(covariates) or None, "n": one.n, "r_first": one.r_first,
                    "r_second": one.r_second, "difference": one.difference.value,
                    "difference_low": one.difference.low, "difference_high": one.difference.high, "p": one.p,
                    "p_corrected": one.p_corrected,
                }
                for one in compare_correlations(joined, score, list(tables), covariates)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def _persons(scans: pd.DataFrame, scores: Scores, days: Days | None) -> list[tuple[str, str, str, pd.DataFrame]]:
    """Analysis, method and hemisphere, each with one row a person: ``volume`` (or its change) and the scores."""
    days = scores.days if days is None else days
    found = []
    for (method, hemisphere), volumes in _volumes(scans).groupby(["method", "hemisphere"], sort=False):
        tables = [(CROSS_SECTIONAL, _first_session(volumes, scores, days)), *_changes(volumes, scores, days)]
        found += [(analysis, str(method), str(hemisphere), table) for analysis, table in tables]
    order = (CROSS_SECTIONAL, CHANGE, CHANGE_AND_FIRST)
    return sorted(found, key=lambda one: order.index(one[0]))


def session_keys(scans: pd.DataFrame) -> pd.DataFrame:
    """The labels of each scan, without prefix: sub, and ses (empty where there is none)."""
    return pd.DataFrame(
        {
            "sub": scans["participant_id"].str.removeprefix("sub-"),
            "ses": scans["session_id"].fillna("").astype(str).str.removeprefix("ses-"),
        }
    )


def _volumes(scans: pd.DataFrame) -> pd.DataFrame:
    """One row a person, session, method (with the truth as one) and hemisphere: sub, ses, volume in mm3."""
    keys = session_keys(scans).assign(scan=scans["scan"], hemisphere=scans["hemisphere"])
    true = keys.assign(method=TRUTH, volume=scans["true_mm3"].astype(float)).drop_duplicates(["scan", "hemisphere"])
    found = keys.assign(method=scans["method"], volume=scans["volume_mm3"].astype(float))
    both = pd.concat([true, found], ignore_index=True)
    both = both.sort_values("scan", kind="stable", key=lambda names: names.map(natural))
    once = both.drop_duplicates(["sub", "ses", "method", "hemisphere"])
    if len(once) < len(both):
        logger.warning("Some sessions have several scans; scores are correlated with the first of them by name.")
    rank = {name: n for n, name in enumerate([TRUTH, *scans["method"].unique()])}
    return once.sort_values("method", key=lambda c: c.map(rank), kind="stable")


def _first_session(volumes: pd.DataFrame, scores: Scores, days: Days) -> pd.DataFrame:
    return _with_scores(in_order(volumes, days).drop_duplicates("sub"), scores, days)


def _with_scores(volumes: pd.DataFrame, scores: Scores, days: Days) -> pd.DataFrame:
    """Join by session where both have sessions; else by person, with the first row of the person."""
    if scores.has_sessions and volumes["ses"].ne("").all():
        return volumes.merge(scores.table, on=["sub", "ses"])
    once = in_order(scores.table, days) if scores.has_sessions else scores.table
    return volumes.merge(once.drop_duplicates("sub").drop(columns="ses", errors="ignore"), on="sub")


def _changes(volumes: pd.DataFrame, scores: Scores, days: Days) -> list[tuple[str, pd.DataFrame]]:
    """Change from the first to the last session, of the volume in percent and of the scores; empty without sessions."""
    ordered = in_order(volumes, days)
    first, last = ordered.drop_duplicates("sub"), ordered.drop_duplicates("sub", keep="last")
    pairs = first.merge(last, on="sub", suffixes=("", "_last"))
    pairs = pairs[pairs["ses"] != pairs["ses_last"]]
    if pairs.empty:
        return []
    change = pairs.assign(volume=100 * (pairs["volume_last"] - pairs["volume"]) / pairs["volume"])
    if not scores.has_sessions:
        return [(CHANGE_AND_FIRST, _with_scores(change, scores, days))]
    joined = change.merge(scores.table, on=["sub", "ses"]).merge(
        scores.table[["sub", "ses", *scores.names]].rename(columns={"ses": "ses_last"}),
        on=["sub", "ses_last"],
        suffixes=("", "_last_score"),
    )
    differences = {name: joined[f"{name}_last_score"] - joined[name] for name in scores.names}
    return [(CHANGE, joined.assign(**differences))]
