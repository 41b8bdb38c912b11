"""What a structure says of itself."""

from dataclasses import replace

from tests.finished import HALVES, TRIDENT
from tests.train.recipes import recipe_of


def test_a_legend_names_what_has_a_colour_once():
    assert HALVES.legend == (("#E69F00", "left hypothalamus"), ("#56B4E9", "right hypothalamus"))
    prongs = [replace(part, color="#0072B2") if part.kind == "prong" else part for part in TRIDENT.parts]
    assert replace(TRIDENT, parts=tuple(prongs)).legend == (("#0072B2", "prong"), ("#009E73", "shaft"))


def test_the_hypothalamus_has_five_parts_a_side_and_the_mammillary_bodies_outside():
    structure = recipe_of("hypothalamus").structure
    assert len(structure.parts) == 12 and len(structure.legend) == len(structure.kinds) == 6
    assert [part.kind for part in structure.parts if not part.in_whole] == ["mammillary body"] * 2
    (both,) = structure.sums
    assert set(both.kinds) == set(structure.kinds)
