"""What bundle.json says of the structure that a model measures."""

from __future__ import annotations

import re

from bids_hypo.models.entries import Entries
from bids_hypo.structures import (
    ALL,
    BOTH,
    HEMISPHERES,
    ICV,
    LEFT,
    RIGHT,
    SIDE_WORDS,
    WHOLE,
    Part,
    Plausible,
    Published,
    Structure,
    Sum,
)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,39}")
_ABBREVIATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,23}")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_MOST_PARTS, _HIGHEST_INDEX = 100, 65_535
_LARGEST_MM3 = 1e7
_SMALLEST_SD_MM3 = 1e-3  # deviations from the mean are told in it
_VIEW_MM = (10.0, 250.0)


def read_structure(entries: Entries, labels: tuple[str, ...]) -> Structure:
    """The structure that a bundle of role ``structure`` measures.

    Parameters
    ----------
    entries : Entries
        Of bundle.json as a whole.
    labels : tuple of str
        Classes of the network, background first.

    Raises
    ------
    ModelError
        If an entry is missing or cannot be; it is named.
    """
    name = entries.text("structure")
    if not _NAME.fullmatch(name) or name.lower() in (ICV.lower(), WHOLE, ALL):
        entries.refuse("structure", "a name of letters and digits, which begins with a letter, such as thalamus")
    parts = tuple(_part(entry) for entry in entries.objects("parts"))
    structure = Structure(
        name=name,
        title=entries.text("title", name),
        parts=parts,
        plausible=_plausible(entries.object("plausible")),
        published=read_published(entries),
        methods=entries.text("methods"),
        view_mm=entries.object("view").number("size_mm", *_VIEW_MM),
        sums=_sums(entries),
    )
    _check_parts(entries, structure, labels)
    _check_sums(entries, structure)
    _check_published(entries, structure)
    return structure


def read_published(entries: Entries) -> tuple[Published, ...]:
    """The published values that a bundle names; none where it has no such entry."""
    if entries.content.get("published") in (None, []):
        return ()
    return tuple(_published(entry) for entry in entries.objects("published"))


def _part(entries: Entries) -> Part:
    hemisphere = entries.content.get("hemisphere")
    if hemisphere is not None and hemisphere not in HEMISPHERES:
        entries.refuse("hemisphere", f"{', '.join(HEMISPHERES)} or null")
    abbreviation, color = entries.text("abbreviation"), entries.text("color")
    if not _ABBREVIATION.fullmatch(abbreviation):
        entries.refuse("abbreviation", "letters, digits, - and _, 24 at most")
    if not _COLOUR.fullmatch(color):
        entries.refuse("color", "a colour such as #E69F00")
    index, name = entries.whole_number("index", 1, _HIGHEST_INDEX), entries.text("name")
    return Part(index, name, hemisphere, abbreviation, color, entries.flag("in_whole", True))


def _sums(entries: Entries) -> tuple[Sum, ...]:
    if entries.content.get("sums") in (None, []):
        return ()
    return tuple(Sum(one.text("name"), one.texts("parts")) for one in entries.objects("sums"))


def _plausible(entries: Entries) -> Plausible:
    low, high = entries.numbers("whole_mm3", 2, 0.0, _LARGEST_MM3)
    if low >= high:
        entries.refuse("whole_mm3", "two numbers, the smaller one first")
    return Plausible(
        whole_mm3=(low, high),
        min_part_mm3=entries.number("min_part_mm3", 0.0, _LARGEST_MM3),
        max_asymmetry=entries.number("max_asymmetry", 0.0, 2.0),
        keep_within_mm=entries.number("keep_within_mm", 0.0, 100.0),
        max_voxel_mm=entries.number("max_voxel_mm", 0.1, 20.0, default=Plausible.max_voxel_mm),
        may_be_missing=entries.flag("may_be_missing", False),
        min_contrast_ppm=entries.number("min_contrast_ppm", 0.0, 10.0, default=0.0),
    )


def _published(entries: Entries) -> Published:
    hemisphere = entries.text("hemisphere")
    if hemisphere not in (*HEMISPHERES, BOTH):
        entries.refuse("hemisphere", f"one of {', '.join((*HEMISPHERES, BOTH))}")
    return Published(
        hemisphere=hemisphere,
        mean_mm3=entries.number("mean_mm3", 0.0, _LARGEST_MM3),
        sd_mm3=entries.number("sd_mm3", _SMALLEST_SD_MM3, _LARGEST_MM3),
        people=entries.text("people"),
        source=entries.text("source"),
        part=entries.text("part", WHOLE),
    )


def _check_parts(entries: Entries, structure: Structure, labels: tuple[str, ...]) -> None:
    """Refuse parts that contradict each other or the classes of the network."""
    parts, n = structure.parts, len(labels) - 1
    if len(parts) > _MOST_PARTS:
        entries.refuse("parts", f"at most {_MOST_PARTS} parts")
    for what in ("index", "name", "abbreviation"):
        values = [getattr(part, what) for part in parts]
        if len(set(values)) < len(values):
            entries.refuse("parts", f"parts that differ in {what}")
    if not any(part.in_whole for part in parts):
        entries.refuse("parts", "at least one part that counts in the whole")
    _check_kinds(entries, structure)
    sides = [{part.kind for part in structure.of(side)} for side in (LEFT, RIGHT)]
    if sides[0] != sides[1]:
        alone = sorted(sides[0] ^ sides[1])
        entries.refuse("parts", f"each part on both sides, with the words {SIDE_WORDS[LEFT]} and {SIDE_WORDS[RIGHT]} "
                       f"in the name; without a twin: {', '.join(alone)}")  # fmt: skip
    halves = structure.is_paired and set(structure.sides) == {LEFT, RIGHT} and len(parts) == 2 * n
    if len(parts) != n and not halves:
        entries.refuse("parts", f"one part for each of the {n} labels after the background, in their order (or, where "
                       "the network does not tell sides apart, a left and a right one for each)")  # fmt: skip


def _check_kinds(entries: Entries, structure: Structure) -> None:
    """Refuse parts that cannot be told apart in a table, in which sides have a column of their own."""
    of_kind: dict[tuple[str, str | None], bool] = {}
    for part in structure.parts:
        if part.kind == WHOLE:
            entries.refuse("parts", f"no part named {WHOLE}, which is what all of them are called together")
        if (part.kind, part.hemisphere) in of_kind:
            entries.refuse("parts", f"parts of one side that differ in more than the words left and right; two are "
                           f"{part.kind}")  # fmt: skip
        of_kind[part.kind, part.hemisphere] = part.in_whole
    for (kind, side), in_whole in of_kind.items():
        if side == LEFT and of_kind.get((kind, RIGHT), in_whole) != in_whole:
            entries.refuse("parts", f"left and right {kind} both in the whole, or neither of them")


def _check_sums(entries: Entries, structure: Structure) -> None:
    """Refuse sums of what is not measured, and names that are taken."""
    taken = {WHOLE, *(part.kind for part in structure.parts)}
    for one in structure.sums:
        if one.name in taken:
            entries.refuse("sums", f"names that no part and no other sum has; found {one.name} again")
        taken.add(one.name)
        if not set(one.kinds) <= set(structure.kinds) or len(set(one.kinds)) < len(one.kinds):
            there = ", ".join(structure.kinds) or "(none)"
            entries.refuse("sums", f"for {one.name} some of the parts {there}, each once")


def _check_published(entries: Entries, structure: Structure) -> None:
    """Refuse published values of what is not measured."""
    kinds = structure.kinds
    known = {(WHOLE, BOTH)} | {(WHOLE, side) for side in (LEFT, RIGHT) if structure.is_paired}
    known |= {(one.name, side) for one in structure.sums for _, side in tuple(known)}
    known |= {(part.kind, part.hemisphere or BOTH) for part in structure.parts if kinds} | {(k, BOTH) for k in kinds}
    if not structure.published:
        return
    for entry, one in zip(entries.objects("published"), structure.published, strict=True):
        if (one.part, one.hemisphere) not in known:
            entry.refuse("part", f"{WHOLE} or the name of a part without its side, with a hemisphere that it has "
                         f"(found {one.hemisphere})")  # fmt: skip
