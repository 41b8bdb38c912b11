"""What a structure of the brain is to this program: its parts, what volumes are plausible, what is published.

All of it comes from the bundle of the model that measures it (`bids_hypo.models.bundle`); no code names a structure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

LEFT, RIGHT = "L", "R"
MIDLINE = "M"  # a part that lies on the midline and belongs to neither side
BOTH = "B"  # of a volume: all sides together
HEMISPHERES = (LEFT, RIGHT, MIDLINE)
SIDE_WORDS = {LEFT: "left", RIGHT: "right", MIDLINE: "midline"}

WHOLE = "whole"  # the part that is the sum of the others
ICV = "ICV"  # the intracranial volume, in tables and names of files
HYPOTHALAMUS = "hypothalamus"  # what is measured unless asked otherwise
DEFAULT_STRUCTURES = (HYPOTHALAMUS,)
ALL = "all"  # asks for every structure that there is


@dataclass(frozen=True)
class Part:
    """A part of a structure, with a number of its own in label images.

    Attributes
    ----------
    index : int
        Its number in ``dseg`` images and in dseg.tsv, used by no other structure.
    name : str
        Such as ``left hypothalamus``.
    hemisphere : str or None
        ``L``, ``R``, ``M`` on the midline; None for a structure without sides.
    abbreviation : str
        Short and unique, such as ``HYP-L``.
    color : str
        ``#rrggbb``, in figures and in dseg.tsv.
    in_whole : bool
        Whether it counts in the whole structure.
    """

    index: int
    name: str
    hemisphere: str | None
    abbreviation: str
    color: str
    in_whole: bool = True

    @property
    def kind(self) -> str:
        """The name without its side, the same for the parts of left and right."""
        side = SIDE_WORDS.get(self.hemisphere or "", "")
        words = [word for word in self.name.split() if word.lower() != side]
        return " ".join(words) or self.name


@dataclass(frozen=True)
class Sum:
    """Parts whose volumes are given together too, beside the whole: for comparison with what others outline.

    Attributes
    ----------
    name : str
        In the table, in the place of a kind of part.
    kinds : tuple of str
        Kinds of part, of all sides.
    """

    name: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Plausible:
    """What is to be expected of a structure.

    Attributes
    ----------
    whole_mm3 : (2,) tuple of float
        Volumes outside of it are flagged.
    min_part_mm3 : float
        Of a side with less than this nothing was found; a smaller part is flagged.
    max_asymmetry : float
        Difference of left and right over their mean, above which it is flagged.
    keep_within_mm : float
        How far from the core probabilities count.
    max_voxel_mm : float
        Scans with longer voxels are coarser than those that the model was made for, and flagged.
    may_be_missing : bool
        Whether a side may be invisible in an image, which is flagged then; otherwise the scan fails.
    min_contrast_ppm : float
        On susceptibility maps a side that stands out less is flagged.
    """

    whole_mm3: tuple[float, float]
    min_part_mm3: float
    max_asymmetry: float
    keep_within_mm: float
    max_voxel_mm: float = 1.6
    may_be_missing: bool = False
    min_contrast_ppm: float = 0.0


@dataclass(frozen=True)
class Published:
    """A published mean and standard deviation.

    Attributes
    ----------
    hemisphere : str
        ``L``, ``R``, ``M``, ``B``.
    mean_mm3, sd_mm3 : float
    people, source : str
        Of whom, and where it stands: ``107 controls``, ``Vernikouskaya et al. 2023, 1.5 T``.
    part : str
        ``whole`` or the kind of a part.
    """

    hemisphere: str
    mean_mm3: float
    sd_mm3: float
    people: str
    source: str
    part: str = WHOLE


@dataclass(frozen=True)
class Structure:
    """A structure that a model measures.

    Attributes
    ----------
    name : str
        Letters and digits, in names of files, tables and on the command line: ``hypothalamus``.
    title : str
        In texts: ``dentate nucleus``.
    parts : tuple of Part
        In the order of the model's classes.
    plausible : Plausible
    published : tuple of Published
    methods : str
        What the methods text says of the model, after "In that pose a network ... "; references as ``[@key]``.
    view_mm : float
        Edge of the slices that the pages show.
    sums : tuple of Sum
    """

    name: str
    title: str
    parts: tuple[Part, ...]
    plausible: Plausible
    published: tuple[Published, ...] = ()
    methods: str = ""
    view_mm: float = 40.0
    sums: tuple[Sum, ...] = ()

    @cached_property
    def sides(self) -> tuple[str | None, ...]:
        """The hemispheres that its parts lie in, each once, in the order of the parts."""
        return tuple(dict.fromkeys(part.hemisphere for part in self.parts))

    @property
    def is_paired(self) -> bool:
        """Whether it has a left and a right."""
        return {LEFT, RIGHT} <= set(self.sides)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of its parts, each once; none for a structure that is one piece, or one on the left and the right."""
        found = tuple(dict.fromkeys(part.kind for part in self.parts))
        whole_tells_all = len(self.parts) == 1 or (len(found) == 1 and set(self.sides) == {LEFT, RIGHT})
        return () if whole_tells_all else found

    @property
    def legend(self) -> tuple[tuple[str, str], ...]:
        """Colours and what has them: a kind of part where its sides have one colour, else each part."""
        alike: dict[str, set[str]] = {}
        for part in self.parts:
            alike.setdefault(part.kind, set()).add(part.color)
        names = {part.kind if len(alike[part.kind]) == 1 else part.name: part.color for part in self.parts}
        return tuple((color, name) for name, color in names.items())

    def of(self, hemisphere: str | None, *, in_whole: bool = False) -> tuple[Part, ...]:
        """Parts of a side; with ``in_whole`` only those that count in the whole."""
        return tuple(p for p in self.parts if p.hemisphere == hemisphere and (p.in_whole or not in_whole))

    def mirrored(self) -> tuple[int, ...]:
        """For each part the position of the part that a mirror image shows in its place."""
        swapped = {LEFT: RIGHT, RIGHT: LEFT}
        at = {(part.kind, part.hemisphere): n for n, part in enumerate(self.parts)}
        return tuple(at[p.kind, swapped.get(p.hemisphere or "", p.hemisphere)] for p in self.parts)


def capitalised(text: str) -> str:
    """A title at the beginning of a sentence; the rest of it as it is."""
    return text[:1].upper() + text[1:]


def clashes(structures: Iterable[Structure]) -> list[str]:
    """What two structures share that each must have for itself: numbers and abbreviations of parts, as sentences."""
    found, owner = [], dict[int | str, str]()
    for structure in structures:
        for part in structure.parts:
            for what, value in (("number", part.index), ("abbreviation", part.abbreviation)):
                other = owner.setdefault(value, structure.name)
                if other != structure.name:
                    found.append(f"{other} and {structure.name} both use the {what} {value}")
    return found
