from __future__ import annotations

import numpy as np
import pytest

from earwitness.models.augmentation.draws import Draws


def test_what_is_drawn_depends_on_seed_and_purpose_alone() -> None:
    draws = Draws((1, 2))
    gains = draws.uniform("gain", (-3, 3), 5)
    draws.uniform("tilt", (0, 1), 5)
    draws.chance("noise", 0.5, 5)
    np.testing.assert_array_equal(draws.uniform("gain", (-3, 3), 5), gains)
    np.testing.assert_array_equal(Draws((1, 2)).uniform("gain", (-3, 3), 5), gains)
    others = [Draws((1, 3)).uniform("gain", (-3, 3), 5), Draws((2, 1)).uniform("gain", (-3, 3), 5)]
    for other in (*others, draws.uniform("gains", (-3, 3), 5)):
        assert not np.isin(other, gains).any()


def test_more_of_them_begin_with_the_same_ones() -> None:
    draws = Draws((0,))
    np.testing.assert_array_equal(draws.uniform("gain", (0, 1), 8)[:5], draws.uniform("gain", (0, 1), 5))


def test_shares_and_ranges_are_kept() -> None:
    draws = Draws((0,))
    assert draws.chance("x", 0.3, 10_000).mean() == pytest.approx(0.3, abs=0.02)
    assert not draws.chance("x", 0.0, 100).any()
    assert draws.chance("x", 1.0, 100).all()
    ratios = draws.ratios("speed", (0.5, 2.0), 10_000)
    assert (ratios.min(), ratios.max()) == pytest.approx((0.5, 2.0), rel=0.01)
    assert np.median(ratios) == pytest.approx(1, abs=0.05)
    assert draws.ratios("speed", (1.1, 1.1), 3) == pytest.approx(1.1)
