"""The methods text of a participant-level run, made from what is recorded beside the results."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bids_hypo.bids.entities import T1_SUFFIXES
from bids_hypo.models.bundle import HEAD, ModelBundle
from bids_hypo.report.html import enumerated
from bids_hypo.report.references import REFERENCES, bibtex, listed
from bids_hypo.structures import ICV
from bids_hypo.untrusted import markdown, visible

_T1 = "T1-weighted"
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}",
                         "^": r"\textasciicircum{}", "³": r"\textsuperscript{3}"})  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """What was recorded of all finished scans of a derivative dataset.

    Attributes
    ----------
    dataset, doi : str
        Name of the input dataset, and its DOI or nothing.
    n_subjects : int
    records : sequence of mapping
        JSON of each scan's table of volumes.
    n_without_icv : int
        Scans whose ICV could not be measured.
    bundles : sequence of ModelBundle
        Models that are at hand; described further where their checksum is that of the ones used.
    """

    dataset: str
    doi: str
    n_subjects: int
    records: Sequence[Mapping[str, Any]]
    n_without_icv: int
    bundles: Sequence[ModelBundle]


def citation_texts(recorded: Recorded) -> dict[str, str]:
    """The methods text as Markdown, BibTeX and LaTeX.

    Parameters
    ----------
    recorded : Recorded

    Returns
    -------
    dict of str to str
        Keys ``.md``, ``.bib`` and ``.tex``.
    """
    cited: list[str] = []

    def in_markdown(key: str) -> str:
        if key not in cited:
            cited.append(key)
        return f"({REFERENCES[key].short})"

    text = "\n\n".join(_paragraphs(recorded, in_markdown, markdown))
    latex = "\n\n".join(_paragraphs(recorded, lambda key: f"\\cite{{{key}}}", _in_latex))
    used = [REFERENCES[key] for key in cited]
    references = "\n".join(f"- {listed(reference)}" for reference in used)
    return {
        ".md": f"# Methods\n\n{text}\n\n## References\n\n{references}\n",
        ".bib": bibtex(used),
        ".tex": f"% Needs CITATION.bib\n\\section{{Methods}}\n\n{latex}\n\n\\bibliographystyle{{plain}}\n"
        "\\bibliography{CITATION}\n",
    }


def _in_latex(text: str) -> str:
    return visible(text).translate(_SPECIAL)


def _paragraphs(recorded: Recorded, cite: Callable[[str], str], plain: Callable[[str], str]) -> list[str]:
    """Paragraphs with citations by one function and everything else passed through the other."""
    version = " or ".join(_versions(recorded.records)) or "of an unknown version"
    doi = f" (doi:{recorded.doi})" if recorded.doi else ""
    opening = plain(
        f"{_titles(recorded)} measured with bids_hypo {version} "
        f"on {_images(recorded)} of {_count(recorded.n_subjects, 'subject')} of the "
        f'dataset "{recorded.dataset}"{doi}, organised as BIDS '
    )
    parts = [opening, cite("gorgolewski2016"), plain(". "), *_steps(recorded, cite, plain)]
    return ["".join(parts), plain(_models_and_settings(recorded)), plain(_exceptions(recorded))]


def _titles(recorded: Recorded) -> str:
    """What was measured, the subject of a sentence."""
    entries = (entry for record in recorded.records for entry in record.get("Structures", {}).values())
    titles = list(dict.fromkeys(str(entry.get("Title")) for entry in entries))
    volumes = f"Volumes of {enumerated(titles or ['structures'], article='the')}"
    with_icv = not titles or any(ICV in record for record in recorded.records)  # version 0.1 recorded neither
    comma = "," if len(titles) > 1 else ""
    return f"{volumes}{f'{comma} and the intracranial volume (ICV)' if with_icv else ''} were"


def _images(recorded: Recorded) -> str:
    """How many images of which kinds."""
    kinds = Counter(_kind(record) for record in recorded.records)
    return " and ".join(_count(n, f"{kind} {'scan' if kind == _T1 else 'image'}") for kind, n in kinds.items())


def _kind(record: Mapping[str, Any]) -> str:
    """The kind of the image that a record is about, by the name of its source."""
    sources = record.get("Sources") or [""]
    suffix = str(sources[0]).rpartition("/")[2].partition(".")[0].rpartition("_")[2]
    return _T1 if suffix in ("", *T1_SUFFIXES) else suffix


def _steps(recorded: Recorded, cite: Callable[[str], str], plain: Callable[[str], str]) -> list[str]:
    """How the volumes are found, as far as the models that are at hand and the records tell."""
    parts: list[str] = []
    heads = [b for b in recorded.bundles if b.structure is None and _bundle_of(recorded, b.name) is not None]
    measuring = [bundle for bundle in heads if bundle.measures_icv and bundle.role == HEAD]
    locators = [bundle for bundle in heads if bundle.role == HEAD and bundle not in measuring]
    nobody: list[ModelBundle | None] = [] if locators else [None]
    for bundle in [*measuring, *(() if measuring else nobody)]:
        parts += ["A network ", *_architecture(bundle), "labelled the intracranial volume and coarse structures. ",
                  *_told(bundle.methods if bundle else "")]  # fmt: skip
    for bundle in locators:
        parts += ["On images that are not T1-weighted a network ", *_architecture(bundle),
                  "labelled coarse structures. ",
                  *_told(bundle.methods)]  # fmt: skip
    parts += ["The centroids of the structures gave the rigid pose of the head ", _Cited("umeyama1991"), ". "]
    described: dict[str, str] = {}
    for record in recorded.records:
        described |= {name: str(entry.get("Methods", "")) for name, entry in record.get("Structures", {}).items()}
    for number, (name, methods) in enumerate(described.items()):
        parts += [f"In that pose {'a second' if not number else 'another'} network ",
                  *_architecture(_bundle_of(recorded, name)), *_told(methods)]  # fmt: skip
    if any("icv" in record.get("Models", {}) for record in recorded.records):
        parts += ["The ICV was outlined by a network of its own. "]
    parts += ["The probabilities were brought back to the grid of the scan. ",
              "Each volume is that of the mask matched to the sum of its probabilities. ",
              "Computation rests on NumPy ", _Cited("harris2020"), " and SciPy ", _Cited("virtanen2020"),
              "."]  # fmt: skip
    return [cite(part) if isinstance(part, _Cited) else plain(part) for part in parts]


def _told(methods: str) -> list[str]:
    """The sentences of a bundle, with its references (``[@key]``) as far as we know them."""
    if not methods:
        return []
    pieces = re.split(r"\[@([\w-]+)\]", methods)
    parts = [_Cited(text) if number % 2 and text in REFERENCES else text for number, text in enumerate(pieces)]
    return [*parts, " " if methods.endswith(".") else ". "]


class _Cited(str):
    """The key of a reference among pieces of text."""

    __slots__ = ()


def _architecture(bundle: ModelBundle | None) -> list[str]:
    if bundle is None or bundle.architecture.get("type") != "unet":
        return []
    backbone = str(bundle.architecture.get("backbone", ""))
    encoder = [" with the encoder EfficientNetB0 ", _Cited("tan2019")] if backbone == "efficientnetb0" else []
    spacing = " x ".join(f"{mm:g}" for mm in bundle.preprocessing.spacing_mm)
    return [f"on voxels of {spacing} mm, a U-Net ", _Cited("ronneberger2015"), *encoder, ", "]


def _bundle_of(recorded: Recorded, role: str) -> ModelBundle | None:
    """The model of a structure or of the head, if it is at hand and all scans that have it were made with it."""
    models = (record.get("Models", {}).get(role) for record in recorded.records)
    used = {str(model.get("WeightsSHA256", "")).lower() for model in models if isinstance(model, dict)}
    return next((b for b in recorded.bundles if used == {b.weights_sha256.lower()}), None)


def _versions(records: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({str(maker.get("Version")) for record in records for maker in record.get("GeneratedBy", [])[:1]})


def _models_and_settings(recorded: Recorded) -> str:
    """Models with their checksums, passes and devices, each as often as it is recorded."""
    used: Counter[tuple[str, str, str]] = Counter()
    for record in recorded.records:
        for model in record.get("Models", {}).values():
            used[str(model.get("Name")), str(model.get("Version")), str(model.get("WeightsSHA256"))] += 1
    models = "; ".join(
        f"{name} {version}{_about(sha, recorded.bundles)} (weights SHA-256 {sha[:12]}, {_count(n, 'scan')})"
        for (name, version, sha), n in sorted(used.items())
    )
    devices = Counter(str(record.get("Device", "an unrecorded device")) for record in recorded.records)
    where = ", ".join(f"{device} ({_count(n, 'scan')})" for device, n in sorted(devices.items()))
    return f"Models: {models}. {_passes(recorded)}. The networks ran on {where}."


def _passes(recorded: Recorded) -> str:
    """What was averaged for the outlines."""
    n_scans = len(recorded.records)
    n_fast = sum(bool(record.get("Settings", {}).get("Fast")) for record in recorded.records)
    fast_mode = "delineated in fast mode, by one network on the image as it is"
    if n_fast == n_scans:
        return f"All scans were {fast_mode}"
    used = {name for record in recorded.records for name in record.get("Structures", {})}
    counts = {name: len(bundle.weights) for name in used if (bundle := _bundle_of(recorded, name)) is not None}
    several = {n for n in counts.values() if n > 1}
    usual = "Probabilities were averaged with those of the mirrored image"
    if several:
        n = " or ".join(map(str, sorted(several)))
        usual = f"The probabilities of {n} networks were averaged, every other one of which saw the mirrored image"
    return f"{usual}; {n_fast} of {_count(n_scans, 'scan')} were {fast_mode}" if n_fast else usual


def _about(sha: str, bundles: Sequence[ModelBundle]) -> str:
    found = next((b for b in bundles if b.weights_sha256.lower() == sha.lower()), None)
    if found is None:
        return ""
    backbone = str(found.architecture.get("backbone", found.architecture.get("type", "")))
    return f", {backbone}, {_count(len(found.weights), 'set')} of weights"


def _texts(value: object) -> list[str]:
    """The texts in an entry of a record, which may have been damaged since."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _exceptions(recorded: Recorded) -> str:
    """What was not as usual: corrections by hand, missing ICV, fallbacks."""
    manual = sum(bool(record.get("Manual")) for record in recorded.records)
    fallbacks = Counter(text for record in recorded.records for text in _texts(record.get("Fallbacks")))
    said = [f"The masks of {_count(manual, 'scan')} were corrected by hand." if manual else "No mask was corrected."]
    if recorded.n_without_icv:
        said.append(f"The ICV of {_count(recorded.n_without_icv, 'scan')} could not be measured.")
    said += [f"Fallback in {_count(n, 'scan')}: {text}." for text, n in sorted(fallbacks.items())]
    return " ".join(said)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
