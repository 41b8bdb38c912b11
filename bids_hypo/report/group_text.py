"""The group level in words: a plain summary, and methods text made from what really ran."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from bids_hypo import __version__
from bids_hypo.bids.ensembles import ENSEMBLE
from bids_hypo.bids.entities import PLAIN_SUFFIX
from bids_hypo.measure.inference import ALPHA
from bids_hypo.report.group_study import GroupStudy, interval, known, number, p_phrase, unit_of
from bids_hypo.report.references import REFERENCES, listed
from bids_hypo.stats.compare import MANN_WHITNEY
from bids_hypo.structures import capitalised

_FIRST = "that of the first session; within a session scans without quality flags and the lowest run came first"
LIBRARIES = ("numpy", "scipy", "pandas", "statsmodels", "pingouin", "plotly", "matplotlib")


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
    ratio, size, ends = _size(row)
    centre, how = ("median", f" (median of all pairwise {ratio})") if by_rank else ("mean", "")
    groups = [f"{number(row[f'{centre}_{s}'] * scale, digits)} {unit} in {row[f'group_{s}']} (n = {int(row[f'n_{s}'])})"
              for s in ("a", "b")]  # fmt: skip
    text = (
        f"The {study.names[row['measure']]} was {size.removeprefix('−')} {smaller} in {row['group_a']} than "
        f"in {row['group_b']}{how}: {centre} {groups[0]} against {groups[1]}; 95 % interval of the difference "
        f"{ends}, {row['test']}, {p_phrase(row['p'])}"
        f" ({p_phrase(row['p_holm'])} after Holm's correction). {_verdict(row)}"
    )
    adjusted = study.rows("ancova", measure=row["measure"], group_a=row["group_a"], group_b=row["group_b"])
    if adjusted and isinstance(adjusted[0]["adjusted_for"], str):
        by = adjusted[0]
        covariates = _listed(str(by["adjusted_for"]).split("; "), study.names)
        text += f" With {covariates} held equal, the difference was {_size(by)[1]} ({p_phrase(by['p'])})."
    return text


def _size(row: dict) -> tuple[str, str, str]:
    """What was compared, the difference and its interval: in percent, or in the unit where a volume of 0 forbids it."""
    name, what, (unit, scale, digits) = "estimate", "differences", unit_of(row["measure"])
    if known(row["percent"]):
        name, what, unit, scale, digits = "percent", "ratios", "%", 1.0, 1
    value, low, high = (number(row[key] * scale if known(row[key]) else None, digits)
                        for key in (name, f"{name}_low", f"{name}_high"))  # fmt: skip
    return what, f"{value} {unit}", f"{low} to {high} {unit}"


def _verdict(row: dict) -> str:
    if known(row["p_holm"]) and row["p_holm"] < ALPHA:
        return "A difference this large would rarely arise by chance."
    if row["p"] < ALPHA:
        return "Taken alone this would rarely arise by chance, but it does not stand after correction for all measures."
    return "This is compatible with no difference; the interval says which differences the data cannot rule out."


def _listed(items: list[str], names: Mapping[str, str] | None = None) -> str:
    words = [(names or {}).get(item, item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def software() -> dict[str, str]:
    """Versions of what computed the results."""
    out = {"bids_hypo": __version__, "Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:  # a build without its metadata
            out[name] = "unknown"
    return out


def methods_text(studies: Sequence[GroupStudy]) -> tuple[str, list[str]]:
    """Text for the methods section of a paper, and its references in the order of their numbers.

    Parameters
    ----------
    studies : sequence of GroupStudy
        All series of a run.
    """
    numbers: dict[str, int] = {}
    sentences = []
    for text, keys in [*_measured(studies), *_methods(studies)]:
        cited = [numbers.setdefault(key, len(numbers) + 1) for key in keys]
        mark = f" [{', '.join(map(str, cited))}]" if cited else ""
        sentences.append(text.rstrip(".") + mark + ".")
    return " ".join(sentences), [listed(REFERENCES[key]) for key in numbers]


def _measured(studies: Sequence[GroupStudy]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What was measured, and who was compared."""
    models = sorted({m for study in studies for m in study.tested["models"].dropna() if m})
    by = f" (models: {' / '.join(models)})" if models else ""
    titles = _listed([*dict.fromkeys(study.title for study in studies), "intracranial volume (ICV)"])
    yield f"{capitalised(titles)} were measured with bids_hypo {__version__}{by}", ()
    if any(study.image == ENSEMBLE for study in studies):
        yield "Volumes of an ensemble are means over the kinds of image of a session", ()
    counted = {study.image: _n_of_groups(study) for study in studies}
    if len({study.image for study in studies}) == len({_n_of_groups(study) for study in studies}) == 1:
        image, numbers = next(iter(counted.items()))
        yield f"Groups were compared with one {_image_words(image)} scan per participant ({numbers}), {_FIRST}", ()
        return
    each = _each({study.what: _n_of_groups(study) for study in studies})
    yield ("Groups were compared with one scan per participant for each structure and kind of image, T1-weighted "
           f"unless another is named ({each}), {_FIRST}"), ()  # fmt: skip


def _n_of_groups(study: GroupStudy) -> str:
    n = study.tested["group"].value_counts()
    return ", ".join(f"{name}: {int(n.get(name, 0))}" for name in study.design.groups.all)


def _image_words(image: str) -> str:
    if image == ENSEMBLE:
        return "averaged"
    return "T1-weighted" if image == PLAIN_SUFFIX else image


def _methods(studies: Sequence[GroupStudy]) -> Iterator[tuple[str, tuple[str, ...]]]:
    done = {name for study in studies for name in study.statistics["analysis"]}
    means = {study.what: number(study.mean_icv_mm3 / 1000) for study in studies if study.mean_icv_mm3 is not None}
    if means:
        yield (
            (
                f"Volumes were normalised as V / ICV × mean ICV of the controls ({_each(means, ' cm³')}); the residual "
                "method with the slope among the controls was used as an alternative"
            ),
            ("vernikouskaya2023",),
        )
    yield from _exclusions(studies)
    if "comparison" in done:
        yield ("Normality was tested by Shapiro-Wilk and equality of variances by Brown-Forsythe tests"), (
            "shapiro1965", "brown1974")  # fmt: skip
        yield ("Two groups were compared by Student's t test, by Welch's t test where variances differed, and by the "
               "Mann-Whitney test where a group was not normal (p < 0.05)"), ("welch1947", "mann1947")  # fmt: skip
        yield ("Differences are given with 95 % confidence intervals, of means for t tests (percentages after "
               "Fieller) and as Hodges-Lehmann estimates for rank tests; effect sizes are Hedges' g"), (
            "fieller1954", "hodges1963", "hedges1981")  # fmt: skip
    yield from _models(studies, done)
    family = "" if len(studies) == 1 else " of one structure, kind of image and part, not across them"
    yield (f"p values are two-sided; they were corrected for the number of tests of each analysis{family} by Holm's "
           "method and as false discovery rate"), ("holm1979", "benjamini1995")  # fmt: skip
    drawing = ("bids_hypo", "plotly", "matplotlib")
    versions = ", ".join(f"{name} {number}" for name, number in software().items() if name not in drawing)
    yield f"Computations used {versions}", ("virtanen2020", "seabold2010", "vallat2018")


def _each(values: Mapping[str, str], unit: str = "") -> str:
    """Values by series: the value alone where it is the same in all."""
    if len(set(values.values())) == 1:
        return f"{next(iter(values.values()))}{unit}"
    return "; ".join(f"{what}: {value}{unit}" for what, value in values.items())


def _exclusions(studies: Sequence[GroupStudy]) -> Iterator[tuple[str, tuple[str, ...]]]:
    first = studies[0]
    if first.rated:
        bad = {study.what: str(int(study.counts["rated_bad"].sum())) for study in studies}
        yield f"Scans rated bad on visual inspection were left out ({_each(bad)})", ()
    if first.exclude_flagged:
        yield "Scans with quality flags were left out", ()
    if first.design.outlier_rule == "iqr":
        outliers = {study.what: ", ".join(f"{row.group}: {row.outliers}" for row in study.counts.itertuples())
                    for study in studies}  # fmt: skip
        measured = first.what if len(studies) == 1 else "volume"
        yield (f"Scans whose {measured}, ICV or normalised volume lay outside [Q1 − 1.5 IQR, Q3 + 1.5 IQR] of their "
               f"group were set aside as outliers ({_each(outliers)})"), ("vernikouskaya2023",)  # fmt: skip


def _models(studies: Sequence[GroupStudy], done: Collection[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    design = studies[0].design
    texts = [text for study in studies for text in study.statistics["adjusted_for"].dropna()]
    used = {name for text in texts for name in text.split("; ")}
    equal = [name for name in design.covariates if name in used]
    covariates = _listed(equal) if equal else ""
    if "omnibus" in done:
        yield ("All groups together were compared by ANOVA, Welch's ANOVA or the Kruskal-Wallis test, chosen by the "
               "same rule"), ("kruskal1952",)  # fmt: skip
    if "ancova" in done:
        known = any(study.mean_icv_mm3 for study in studies)
        with_icv = "; plain volumes also with the ICV as covariate instead of normalisation" if known else ""
        what = f"linear models with {covariates} as covariates" if covariates else "linear models"
        yield f"Group differences were adjusted in {what}{with_icv}", ()
    if "site_mixed_model" in done:
        site = f"column {design.site}"
        yield f"Differences between sites ({site}) were modelled as a random intercept", ("laird1982",)
    if "asymmetry" in done:
        yield "Left and right were compared within groups by paired t or Wilcoxon signed-rank tests", ()
    if design.scores and "association" in done:
        held = f", with {covariates} held equal" if covariates else ""
        yield (f"Within the case groups, volumes were correlated with {_listed(list(design.scores))} by "
               f"partial Pearson or, where a variable was not normal, Spearman correlations{held}"), ()  # fmt: skip
    if "worsening" in done:
        held = f", with {covariates} held equal" if covariates else ""
        yield (f"Worsening (column {design.worsened}) was related to volumes and their change a year by logistic "
               f"regression, with odds ratios for one standard deviation less{held}"), ()  # fmt: skip
    if "longitudinal" in done:
        yield ("Change over time was estimated by mixed models of the logarithm of the volume with time, group and "
               "their product as fixed effects and a random intercept of the participant"), ("laird1982",)  # fmt: skip
    if "rate_comparison" in done:
        yield "The change of each participant was the slope of the logarithm of the volume over the years", ()
    if "trial" in done:
        yield ("Sample sizes are those of a two-sided t test at 0.05 between two equal arms, for a drug that takes "
               "away 25 or 50 % of the mean change a year, with the standard deviation of the participants' "
               "changes"), ()  # fmt: skip


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
