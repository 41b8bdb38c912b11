"""The methods text of a participant-level run, made from what is recorded beside the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from bids_hypo.models.bundle import ModelBundle
from bids_hypo.report.references import REFERENCES, bibtex, listed
from bids_hypo.untrusted import markdown, visible

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
        f"Volumes of the hypothalamus and the intracranial volume (ICV) were measured with bids_hypo {version} on "
        f"{_count(len(recorded.records), 'T1-weighted scan')} of {_count(recorded.n_subjects, 'subject')} of the "
        f'dataset "{recorded.dataset}"{doi}, organised as BIDS '
    )
    parts = [opening, cite("gorgolewski2016"), plain(". "), *_steps(recorded, cite, plain)]
    return ["".join(parts), plain(_models_and_settings(recorded)), plain(_exceptions(recorded))]


def _steps(recorded: Recorded, cite: Callable[[str], str], plain: Callable[[str], str]) -> list[str]:
    """How the volumes are found; how the models were trained only where they are the shipped ones."""
    anatomy, hypothalamus = (_bundle_of(recorded, role) for role in ("anatomy", "hypothalamus"))
    parts = ["A network ", *_architecture(anatomy), "labelled the intracranial volume and coarse structures. "]
    if anatomy is not None and _is_shipped(anatomy):
        parts += ["It was trained on images synthesised from label maps ", _Cited("billot2023"), ". "]
    parts += ["The centroids of the structures gave the rigid pose of the head ", _Cited("umeyama1991"),
              ". In that pose a second network ", *_architecture(hypothalamus),
              "outlined the left and right hypothalamus on coronal slices, as in earlier work ",
              _Cited("vernikouskaya2023"), ". "]  # fmt: skip
    if hypothalamus is not None and _is_shipped(hypothalamus):
        parts += ["It was trained on automatic labels, made by a published network ", _Cited("billot2020"),
                  ", and not on outlines drawn by hand. "]  # fmt: skip
    if any("icv" in record.get("Models", {}) for record in recorded.records):
        parts += ["The ICV was outlined by a network of its own. "]
    parts += ["The probabilities were brought back to the grid of the scan. ",
              "Each volume is that of the mask matched to the sum of its probabilities. ",
              "Computation rests on NumPy ", _Cited("harris2020"), " and SciPy ", _Cited("virtanen2020"),
              "."]  # fmt: skip
    return [cite(part) if isinstance(part, _Cited) else plain(part) for part in parts]


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
    """The model of a role, if it is at hand and all scans were made with it."""
    used = {str(r.get("Models", {}).get(role, {}).get("WeightsSHA256", "")).lower() for r in recorded.records}
    return next((b for b in recorded.bundles if used == {b.weights_sha256.lower()}), None)


def _is_shipped(bundle: ModelBundle) -> bool:
    place = resources.files("bids_hypo") / "bundles" / bundle.folder.name
    return Path(str(place)).resolve() == bundle.folder.resolve()


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
    """What was averaged for the outline of the hypothalamus."""
    n_scans = len(recorded.records)
    n_fast = sum(bool(record.get("Settings", {}).get("Fast")) for record in recorded.records)
    fast_mode = "delineated in fast mode, by one network on the image as it is"
    if n_fast == n_scans:
        return f"All scans were {fast_mode}"
    bundle = _bundle_of(recorded, "hypothalamus")
    usual = "Probabilities were averaged with those of the mirrored image"
    if bundle is not None and len(bundle.weights) > 1:
        n = len(bundle.weights)
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
