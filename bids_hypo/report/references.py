"""The papers that the methods texts cite, from references.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources


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


def _read() -> dict[str, Reference]:
    content = tomllib.loads(resources.files("bids_hypo.report").joinpath("references.toml").read_text(encoding="utf-8"))
    return {key: Reference(key=key, **fields) for key, fields in content.items()}


REFERENCES: dict[str, Reference] = _read()


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
