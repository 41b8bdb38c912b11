"""The papers that the methods texts cite."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """One paper.

    Attributes
    ----------
    key : str
        BibTeX key.
    short : str
        As cited in running text.
    authors : str
        "Last, First and Last, First"; "others" for the rest.
    title, year, place : str
        Place is the journal or the proceedings.
    details : str
        Volume and pages.
    doi : str
        Empty where there is none.
    kind : str
        BibTeX type.
    """

    key: str
    short: str
    authors: str
    title: str
    year: str
    place: str
    details: str = ""
    doi: str = ""
    kind: str = "article"


_ALL = (
    Reference(
        "vernikouskaya2023", "Vernikouskaya et al. 2023",
        "Vernikouskaya, Ina and Müller, Hans-Peter and Roselli, Francesco and Ludolph, Albert C. and Kassubek, Jan and "
        "Rasche, Volker",
        "AI-assisted quantification of hypothalamic atrophy in amyotrophic lateral sclerosis by convolutional neural "
        "network-based automatic segmentation",
        "2023", "Scientific Reports", "13:21505", "10.1038/s41598-023-48649-6",
    ),
    Reference(
        "billot2020", "Billot et al. 2020", "Billot, Benjamin and others",
        "Automated segmentation of the hypothalamus and associated subunits in brain MRI",
        "2020", "NeuroImage", "223:117287", "10.1016/j.neuroimage.2020.117287",
    ),
    Reference(
        "billot2023", "Billot et al. 2023", "Billot, Benjamin and others",
        "SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining",
        "2023", "Medical Image Analysis", "86:102789", "10.1016/j.media.2023.102789",
    ),
    Reference(
        "ronneberger2015", "Ronneberger et al. 2015", "Ronneberger, Olaf and Fischer, Philipp and Brox, Thomas",
        "U-Net: Convolutional networks for biomedical image segmentation",
        "2015", "MICCAI 2015, Lecture Notes in Computer Science", "9351:234-241", "10.1007/978-3-319-24574-4_28",
        "inproceedings",
    ),
    Reference(
        "tan2019", "Tan and Le 2019", "Tan, Mingxing and Le, Quoc V.",
        "EfficientNet: Rethinking model scaling for convolutional neural networks",
        "2019", "Proceedings of the 36th International Conference on Machine Learning", "97:6105-6114", "",
        "inproceedings",
    ),
    Reference(
        "umeyama1991", "Umeyama 1991", "Umeyama, Shinji",
        "Least-squares estimation of transformation parameters between two point patterns",
        "1991", "IEEE Transactions on Pattern Analysis and Machine Intelligence", "13(4):376-380", "10.1109/34.88573",
    ),
    Reference(
        "gorgolewski2016", "Gorgolewski et al. 2016", "Gorgolewski, Krzysztof J. and others",
        "The brain imaging data structure, a format for organizing and describing outputs of neuroimaging experiments",
        "2016", "Scientific Data", "3:160044", "10.1038/sdata.2016.44",
    ),
    Reference(
        "harris2020", "Harris et al. 2020", "Harris, Charles R. and others", "Array programming with NumPy",
        "2020", "Nature", "585:357-362", "10.1038/s41586-020-2649-2",
    ),
    Reference(
        "virtanen2020", "Virtanen et al. 2020", "Virtanen, Pauli and others",
        "SciPy 1.0: fundamental algorithms for scientific computing in Python",
        "2020", "Nature Methods", "17:261-272", "10.1038/s41592-019-0686-2",
    ),
    Reference(
        "shapiro1965", "Shapiro and Wilk 1965", "Shapiro, Samuel S. and Wilk, Martin B.",
        "An analysis of variance test for normality (complete samples)",
        "1965", "Biometrika", "52:591-611", "10.1093/biomet/52.3-4.591",
    ),
    Reference(
        "brown1974", "Brown and Forsythe 1974", "Brown, Morton B. and Forsythe, Alan B.",
        "Robust tests for the equality of variances",
        "1974", "Journal of the American Statistical Association", "69:364-367", "10.1080/01621459.1974.10482955",
    ),
    Reference(
        "welch1947", "Welch 1947", "Welch, Bernard L.",
        "The generalization of 'Student's' problem when several different population variances are involved",
        "1947", "Biometrika", "34:28-35", "10.1093/biomet/34.1-2.28",
    ),
    Reference(
        "mann1947", "Mann and Whitney 1947", "Mann, Henry B. and Whitney, Donald R.",
        "On a test of whether one of two random variables is stochastically larger than the other",
        "1947", "Annals of Mathematical Statistics", "18:50-60", "10.1214/aoms/1177730491",
    ),
    Reference(
        "hedges1981", "Hedges 1981", "Hedges, Larry V.",
        "Distribution theory for Glass's estimator of effect size and related estimators",
        "1981", "Journal of Educational Statistics", "6:107-128", "10.3102/10769986006002107",
    ),
    Reference(
        "fieller1954", "Fieller 1954", "Fieller, Edgar C.", "Some problems in interval estimation",
        "1954", "Journal of the Royal Statistical Society B", "16:175-185", "10.1111/j.2517-6161.1954.tb00159.x",
    ),
    Reference(
        "hodges1963", "Hodges and Lehmann 1963", "Hodges, Joseph L. and Lehmann, Erich L.",
        "Estimates of location based on rank tests",
        "1963", "Annals of Mathematical Statistics", "34:598-611", "10.1214/aoms/1177704172",
    ),
    Reference(
        "kruskal1952", "Kruskal and Wallis 1952", "Kruskal, William H. and Wallis, W. Allen",
        "Use of ranks in one-criterion variance analysis",
        "1952", "Journal of the American Statistical Association", "47:583-621", "10.1080/01621459.1952.10483441",
    ),
    Reference(
        "holm1979", "Holm 1979", "Holm, Sture", "A simple sequentially rejective multiple test procedure",
        "1979", "Scandinavian Journal of Statistics", "6:65-70",
    ),
    Reference(
        "benjamini1995", "Benjamini and Hochberg 1995", "Benjamini, Yoav and Hochberg, Yosef",
        "Controlling the false discovery rate: a practical and powerful approach to multiple testing",
        "1995", "Journal of the Royal Statistical Society B", "57:289-300", "10.1111/j.2517-6161.1995.tb02031.x",
    ),
    Reference(
        "laird1982", "Laird and Ware 1982", "Laird, Nan M. and Ware, James H.",
        "Random-effects models for longitudinal data", "1982", "Biometrics", "38:963-974", "10.2307/2529876",
    ),
    Reference(
        "seabold2010", "Seabold and Perktold 2010", "Seabold, Skipper and Perktold, Josef",
        "statsmodels: econometric and statistical modeling with Python",
        "2010", "Proceedings of the 9th Python in Science Conference", "9:92-96", "10.25080/Majora-92bf1922-011",
        "inproceedings",
    ),
    Reference(
        "vallat2018", "Vallat 2018", "Vallat, Raphael", "Pingouin: statistics in Python",
        "2018", "Journal of Open Source Software", "3:1026", "10.21105/joss.01026",
    ),
)  # fmt: skip
REFERENCES: dict[str, Reference] = {reference.key: reference for reference in _ALL}


def bibtex(references: Iterable[Reference]) -> str:
    """References as BibTeX entries."""
    return "\n".join(_entry(reference) for reference in references)


def _entry(reference: Reference) -> str:
    where = "journal" if reference.kind == "article" else "booktitle"
    volume, _, pages = reference.details.partition(":")
    fields = {
        "author": reference.authors,
        "title": f"{{{reference.title}}}",
        "year": reference.year,
        where: reference.place,
        "volume": volume,
        "pages": pages.replace("-", "--"),
        "doi": reference.doi,
    }
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    return f"@{reference.kind}{{{reference.key},\n{lines}\n}}\n"


def listed(reference: Reference) -> str:
    """A reference as a line of a list."""
    authors = reference.authors.replace(" and others", " et al.").replace(" and ", "; ")
    doi = f" doi:{reference.doi}" if reference.doi else ""
    return f"{authors} ({reference.year}). {reference.title}. {reference.place} {reference.details}.{doi}"
