"""The group level in words: a plain summary, and methods text made from what really ran."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from bids_hypo import __version__
from bids_hypo.report.group_study import NAMES, GroupStudy, interval, known, number, p_phrase, unit_of
from bids_hypo.stats.compare import MANN_WHITNEY
from bids_hypo.stats.results import ALPHA

LIBRARIES = ("numpy", "scipy", "pandas", "statsmodels", "pingouin", "plotly", "matplotlib")

REFERENCES: dict[str, str] = {
    "vernikouskaya": (
        "Vernikouskaya I, Müller H-P, Roselli F, Ludolph AC, Kassubek J, Rasche V (2023). AI-assisted "
        "quantification of hypothalamic atrophy in amyotrophic lateral sclerosis by convolutional neural "
        "network-based automatic segmentation. Scientific Reports 13:21505. doi:10.1038/s41598-023-48649-6"
    ),
    "shapiro": (
        "Shapiro SS, Wilk MB (1965). An analysis of variance test for normality (complete samples). "
        "Biometrika 52:591-611. doi:10.1093/biomet/52.3-4.591"
    ),
    "brown": (
        "Brown MB, Forsythe AB (1974). Robust tests for the equality of variances. Journal of the American "
        "Statistical Association 69:364-367. doi:10.1080/01621459.1974.10482955"
    ),
    "welch": (
        "Welch BL (1947). The generalization of 'Student's' problem when several different population "
        "variances are involved. Biometrika 34:28-35. doi:10.1093/biomet/34.1-2.28"
    ),
    "mann": (
        "Mann HB, Whitney DR (1947). On a test of whether one of two random variables is stochastically "
        "larger than the other. Annals of Mathematical Statistics 18:50-60. doi:10.1214/aoms/1177730491"
    ),
    "hedges": (
        "Hedges LV (1981). Distribution theory for Glass's estimator of effect size and related estimators. "
        "Journal of Educational Statistics 6:107-128. doi:10.3102/10769986006002107"
    ),
    "fieller": (
        "Fieller EC (1954). Some problems in interval estimation. Journal of the Royal Statistical Society B "
        "16:175-185. doi:10.1111/j.2517-6161.1954.tb00159.x"
    ),
    "hodges": (
        "Hodges JL, Lehmann EL (1963). Estimates of location based on rank tests. Annals of Mathematical "
        "Statistics 34:598-611. doi:10.1214/aoms/1177704172"
    ),
    "kruskal": (
        "Kruskal WH, Wallis WA (1952). Use of ranks in one-criterion variance analysis. Journal of the "
        "American Statistical Association 47:583-621. doi:10.1080/01621459.1952.10483441"
    ),
    "holm": (
        "Holm S (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of "
        "Statistics 6:65-70."
    ),
    "benjamini": (
        "Benjamini Y, Hochberg Y (1995). Controlling the false discovery rate: a practical and powerful "
        "approach to multiple testing. Journal of the Royal Statistical Society B 57:289-300. "
        "doi:10.1111/j.2517-6161.1995.tb02031.x"
    ),
    "laird": (
        "Laird NM, Ware JH (1982). Random-effects models for longitudinal data. Biometrics 38:963-974. "
        "doi:10.2307/2529876"
    ),
    "scipy": (
        "Virtanen P et al. (2020). SciPy 1.0: fundamental algorithms for scientific computing in Python. "
        "Nature Methods 17:261-272. doi:10.1038/s41592-019-0686-2"
    ),
    "statsmodels": (
        "Seabold S, Perktold J (2010). statsmodels: econometric and statistical modeling with Python. "
        "Proceedings of the 9th Python in Science Conference, 92-96. doi:10.25080/Majora-92bf1922-011"
    ),
    "pingouin": (
        "Vallat R (2018). Pingouin: statistics in Python. Journal of Open Source Software 3:1026. "
        "doi:10.21105/joss.01026"
    ),
}


def summary_sentences(study: GroupStudy) -> list[str]:
    """The main result in plain language: one or two sentences for each case group."""
    out = []
    for case in study.design.groups.cases:
        rows = study.rows("comparison", measure=study.main_measure, group_a=case, group_b=study.design.groups.control)
        out += [_comparison_sentence(study, row) for row in rows]
        if not rows:
            out.append(f"Too few scans of {case} or {study.design.groups.control} are left for a comparison.")
    return out


def _comparison_sentence(study: GroupStudy, row: dict) -> str:
    unit, scale, digits = unit_of(row["measure"])
    smaller = "smaller" if row["estimate"] < 0 else "larger"
    by_rank = row["test"] == MANN_WHITNEY
    centre, how = ("median", " (median of all pairwise ratios)") if by_rank else ("mean", "")
    groups = [f"{number(row[f'{centre}_{s}'] * scale, digits)} {unit} in {row[f'group_{s}']} (n = {int(row[f'n_{s}'])})"
              for s in ("a", "b")]  # fmt: skip
    text = (
        f"The {NAMES[row['measure']]} was {number(abs(row['percent']), 1)} % {smaller} in {row['group_a']} than in "
        f"{row['group_b']}{how}: {centre} {groups[0]} against {groups[1]}; 95 % interval of the difference "
        f"{number(row['percent_low'])} to {number(row['percent_high'])} %, {row['test']}, {p_phrase(row['p'])}"
        f" ({p_phrase(row['p_holm'])} after Holm's correction). {_verdict(row)}"
    )
    adjusted = study.rows("ancova", measure=row["measure"], group_a=row["group_a"], group_b=row["group_b"])
    if adjusted:
        by = adjusted[0]
        covariates = _listed(str(by["adjusted_for"]).split("; "))
        text += f" With {covariates} held equal, the difference was {number(by['percent'])} % ({p_phrase(by['p'])})."
    return text


def _verdict(row: dict) -> str:
    if known(row["p_holm"]) and row["p_holm"] < ALPHA:
        return "A difference this large would rarely arise by chance."
    if row["p"] < ALPHA:
        return "Taken alone this would rarely arise by chance, but it does not stand after correction for all measures."
    return "This is compatible with no difference; the interval says which differences the data cannot rule out."


def _listed(items: list[str]) -> str:
    names = [NAMES.get(item, item) for item in items]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def software() -> dict[str, str]:
    """Versions of what computed the results."""
    out = {"bids_hypo": __version__, "Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:  # a build without its metadata
            out[name] = "unknown"
    return out


def methods_text(study: GroupStudy) -> tuple[str, list[str]]:
    """Text for the methods section of a paper, and its references in the order of their numbers."""
    numbers: dict[str, int] = {}
    sentences = []
    for text, keys in _methods(study):
        cited = [numbers.setdefault(key, len(numbers) + 1) for key in keys]
        mark = f" [{', '.join(map(str, cited))}]" if cited else ""
        sentences.append(text.rstrip(".") + mark + ".")
    return " ".join(sentences), [REFERENCES[key] for key in numbers]


def _methods(study: GroupStudy) -> Iterator[tuple[str, tuple[str, ...]]]:
    groups, statistics = study.design.groups, study.statistics
    models = sorted({m for m in study.tested["models"].dropna() if m})
    by = f" (models: {' / '.join(models)})" if models else ""
    yield f"Hypothalamus and intracranial volume (ICV) were measured with bids_hypo {__version__}{by}", ()
    n = study.tested["group"].value_counts()
    numbers = ", ".join(f"{name}: {int(n.get(name, 0))}" for name in groups.all)
    yield (f"Groups were compared with one T1-weighted scan per participant ({numbers}), that of the first session; "
           "within a session scans without quality flags and the lowest run came first"), ()  # fmt: skip
    if study.mean_icv_mm3 is not None:
        yield ("Volumes were normalised as V / ICV × mean ICV of the controls "
               f"({number(study.mean_icv_mm3 / 1000)} cm³); the residual method with the slope among the controls was "
               "used as an alternative"), ("vernikouskaya",)  # fmt: skip
    yield from _exclusions(study)
    if "comparison" in set(statistics["analysis"]):
        yield ("Normality was tested by Shapiro-Wilk and equality of variances by Brown-Forsythe tests"), (
            "shapiro", "brown")  # fmt: skip
        yield ("Two groups were compared by Student's t test, by Welch's t test where variances differed, and by the "
               "Mann-Whitney test where a group was not normal (p < 0.05)"), ("welch", "mann")  # fmt: skip
        yield ("Differences are given with 95 % confidence intervals, of means for t tests (percentages after "
               "Fieller) and as Hodges-Lehmann estimates for rank tests; effect sizes are Hedges' g"), (
            "fieller", "hodges", "hedges")  # fmt: skip
    yield from _models(study)
    yield ("p values are two-sided; they were corrected for the number of tests of each analysis by Holm's method and "
           "as false discovery rate"), ("holm", "benjamini")  # fmt: skip
    drawing = ("bids_hypo", "plotly", "matplotlib")
    versions = ", ".join(f"{name} {number}" for name, number in software().items() if name not in drawing)
    yield f"Computations used {versions}", ("scipy", "statsmodels", "pingouin")


def _exclusions(study: GroupStudy) -> Iterator[tuple[str, tuple[str, ...]]]:
    counts = study.counts
    if study.rated:
        yield f"Scans rated bad on visual inspection were left out ({int(counts['rated_bad'].sum())})", ()
    if study.exclude_flagged:
        yield "Scans with quality flags were left out", ()
    if study.design.outlier_rule == "iqr":
        number_of = ", ".join(f"{row.group}: {row.outliers}" for row in counts.itertuples())
        yield ("Scans whose hypothalamus, ICV or normalised volume lay outside [Q1 − 1.5 IQR, Q3 + 1.5 IQR] of their "
               f"group were set aside as outliers ({number_of})"), ("vernikouskaya",)  # fmt: skip


def _models(study: GroupStudy) -> Iterator[tuple[str, tuple[str, ...]]]:
    done = set(study.statistics["analysis"])
    covariates = _listed(list(study.design.covariates)) if study.design.covariates else ""
    if "omnibus" in done:
        yield ("All groups together were compared by ANOVA, Welch's ANOVA or the Kruskal-Wallis test, chosen by the "
               "same rule"), ("kruskal",)  # fmt: skip
    if "ancova" in done:
        with_icv = "; plain volumes also with the ICV as covariate instead of normalisation"
        what = f"linear models with {covariates} as covariates" if covariates else "linear models"
        yield f"Group differences were adjusted in {what}{with_icv if study.mean_icv_mm3 else ''}", ()
    if "site_mixed_model" in done:
        yield f"Differences between sites (column {study.design.site}) were modelled as a random intercept", ("laird",)
    if "asymmetry" in done:
        yield "Left and right were compared within groups by paired t or Wilcoxon signed-rank tests", ()
    if study.design.scores and "association" in done:
        held = f", with {covariates} held equal" if covariates else ""
        yield (f"Within the case groups, volumes were correlated with {_listed(list(study.design.scores))} by "
               f"partial Pearson or, where a variable was not normal, Spearman correlations{held}"), ()  # fmt: skip
    if "longitudinal" in done:
        yield ("Change over time was estimated by mixed models of the logarithm of the volume with time, group and "
               "their product as fixed effects and a random intercept of the participant"), ("laird",)  # fmt: skip


def sensitivity_lines(study: GroupStudy) -> list[dict[str, str]]:
    """The main comparison in every sample, for the table that shows what exclusions do."""
    out = []
    for sample in dict.fromkeys(study.statistics["sample"]):
        for row in study.rows("comparison", sample=sample, measure=study.main_measure):
            out.append({
                "sample": sample, "pair": f"{row['group_a']} − {row['group_b']}",
                "n": f"{int(row['n_a'])} / {int(row['n_b'])}", "percent": interval(row, "percent"),
                "g": interval(row, "hedges_g", 2), "test": str(row["test"]), "p": row["p"], "p_holm": row["p_holm"],
            })  # fmt: skip
    return out
