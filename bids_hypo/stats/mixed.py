"""Linear mixed models, and differences between groups measured at several sites."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from bids_hypo.measure.inference import CONFIDENCE
from bids_hypo.stats.ancova import GROUP_TERM, complete, described, held, in_percent, model_matrix, reference
from bids_hypo.stats.results import TestResult

# With random slopes only Powell's method was seen to converge; for an intercept alone BFGS is quicker.
_OPTIMISERS = {1: ("bfgs", "powell", "lbfgs"), 2: ("powell",)}


@dataclass(frozen=True)
class MixedFit:
    """What a mixed model found.

    Attributes
    ----------
    coefficients : (k,) float
        Fixed effects.
    covariance : (k, k) float
        Of their estimates.
    random_terms : int
        1 for an intercept, 2 with a slope; 0 where no variance was found.
    between, within : float
        Variance of the random intercept, and of the rest.
    effects : dict of str to float
        Random intercept of each group.
    trouble : str
        What to know about the fit; empty if nothing.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    random_terms: int
    between: float
    within: float
    effects: dict[str, float] = field(default_factory=dict)
    trouble: str = ""


def fit_mixed(
    values: np.ndarray, design: np.ndarray, groups: np.ndarray, random: np.ndarray | None = None
) -> MixedFit | None:
    """Fit a linear mixed model by restricted maximum likelihood (statsmodels).

    Parameters
    ----------
    values : (n,) float
    design : (n, k) float
        Fixed effects.
    groups : (n,) str
        Whom the random effects belong to.
    random : (n, r) float, optional
        Random effects, the first a constant; an intercept alone unless told.

    Returns
    -------
    MixedFit or None
        Where no variance between the groups is found, the linear model without them, which is then the same; None if
        that cannot be fitted either.
    """
    if np.ptp(values) == 0:
        return None
    k = design.shape[1]
    terms = 1 if random is None else random.shape[1]
    for optimiser in _OPTIMISERS[terms]:
        fit = _try(values, design, groups, random, optimiser)
        if fit is None:
            continue
        effects = {str(name): float(np.ravel(effect)[0]) for name, effect in fit.random_effects.items()}
        return MixedFit(
            np.asarray(fit.params)[:k], np.asarray(fit.cov_params())[:k, :k], terms,
            float(np.asarray(fit.cov_re)[0, 0]), float(fit.scale), effects,
        )  # fmt: skip
    if terms > 1:
        return fit_mixed(values, design, groups)
    plain = sm.OLS(values, design).fit()
    if plain.df_resid < 1 or not np.isfinite(plain.bse).all():
        return None
    return MixedFit(
        plain.params, np.asarray(plain.cov_params()), 0, 0.0, float(plain.scale),
        {str(name): 0.0 for name in np.unique(groups)}, "no variance of the random effect was found: a linear model",
    )  # fmt: skip


def wald(fit: MixedFit, weights: np.ndarray) -> dict[str, Any]:
    """A weighted sum of fixed effects with its 95 % interval, z and p (Wald), as fields of `TestResult`.

    Parameters
    ----------
    fit : MixedFit
    weights : (k,) float
        One for each fixed effect.
    """
    value = float(weights @ fit.coefficients)
    error = float(np.sqrt(weights @ fit.covariance @ weights))
    low, high = stats.norm.interval(CONFIDENCE, loc=value, scale=error)
    z = value / error
    return {"estimate": value, "estimate_low": float(low), "estimate_high": float(high), "statistic": z,
            "p": float(2 * stats.norm.sf(abs(z)))}  # fmt: skip


def _try(
    values: np.ndarray, design: np.ndarray, groups: np.ndarray, random: np.ndarray | None, optimiser: str
) -> sm.regression.mixed_linear_model.MixedLMResults | None:
    """One fit; None unless it converged inside the limits.

    At its limit, a variance of 0, statsmodels 0.15 gives a wrong intercept and calls the fit converged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = sm.MixedLM(values, design, groups=groups, exog_re=random).fit(reml=True, method=optimiser)
        except (np.linalg.LinAlgError, ValueError):
            return None
        least = float(np.linalg.eigvalsh(np.asarray(fit.cov_re)).min())
        inside = least > 1e-9 * float(fit.scale) and np.isfinite(np.asarray(fit.bse)[: design.shape[1]]).all()
    return fit if fit.converged and inside else None


def site_model(
    table: pd.DataFrame, measure: str, pair: tuple[str, str], covariates: Sequence[str], site: str
) -> tuple[list[TestResult], dict[str, float]]:
    """Difference between two groups in a mixed model with the site as random intercept.

    Parameters
    ----------
    table, measure, pair, covariates
        As for `ancova`.
    site : str
        Column that names the site.

    Returns
    -------
    list of TestResult
        One row; empty if there is too little data or fewer than two sites.
    offsets : dict of str to float
        What each site adds to the measure, in its unit (best linear unbiased predictions).
    """
    data = complete(table, measure, pair, [*covariates, site])
    if data is None or data[site].nunique() < 2:
        return [], {}
    design, note = model_matrix(data, pair, covariates)
    if GROUP_TERM not in design or len(data) - design.shape[1] < 3:
        return [], {}
    fit = fit_mixed(data[measure].to_numpy(float), design.to_numpy(float), data[site].astype(str).to_numpy())
    if fit is None:
        return [], {}
    found = wald(fit, (design.columns == GROUP_TERM).astype(float))
    notes = [note, fit.trouble, f"variance between sites {fit.between:.4g}, within {fit.within:.4g}",
             f"{data[site].nunique()} sites"]  # fmt: skip
    row = TestResult(
        "site_mixed_model", measure, "mixed model, random intercept of site", term=GROUP_TERM, group_a=pair[0],
        group_b=pair[1], **described(data, measure, pair),
        **found, **in_percent(found, reference(data, measure, fit.coefficients[0])),
        adjusted_for="; ".join([*held(covariates, design), site]), note="; ".join(x for x in notes if x),
    )  # fmt: skip
    return [row], fit.effects
