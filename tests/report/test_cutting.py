"""Grey levels of pictures."""

from __future__ import annotations

import numpy as np

from bids_hypo.report.cutting import FULL, grey_levels, grey_window


def test_the_zero_of_a_signed_map_is_neither_black_nor_white():
    susceptibility = np.random.default_rng(1).normal(0, 0.05, (20, 20))
    susceptibility[:5] = 0  # outside of the brain
    low, high = grey_window([susceptibility], (1, 99))
    assert low < -0.05 < 0.05 < high
    assert 0.3 * FULL < grey_levels(np.zeros(1), (low, high))[0] < 0.7 * FULL


def test_what_an_interpolation_puts_below_zero_does_not_count():
    picture = np.random.default_rng(1).uniform(0.5, 1.0, (20, 20))
    ringing = picture.copy()
    ringing[0] = -0.02
    assert grey_window([ringing], (0, 100))[0] >= 0.5
    assert grey_window([np.zeros((4, 4))], (0, 100)) == (0.0, 1.0)
