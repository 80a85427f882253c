"""What a network sees of a window: it does not change with a microphone's gain, and silence is cut off."""

from __future__ import annotations

from typing import Literal

import pytest

torch = pytest.importorskip("torch")

from earwitness.models.networks.inputs import LEVEL_DB, SCALE_DB, Normalised  # noqa: E402


@pytest.mark.parametrize("kind", ["decibels", "peak"])
def test_a_gain_changes_the_level_alone(kind: Literal["decibels", "peak"]) -> None:
    windows = -40 + 5 * torch.randn(3, 20, 8, generator=torch.Generator().manual_seed(0))
    seen, level = Normalised(8, kind)(windows)
    louder, its_level = Normalised(8, kind)(windows + 20)
    torch.testing.assert_close(louder, seen, atol=1e-5, rtol=0)
    torch.testing.assert_close(its_level, level + 20 / LEVEL_DB)


@pytest.mark.parametrize(("kind", "range_db"), [("decibels", 80), ("peak", 60)])
def test_what_lies_far_below_the_loudest_is_silence(kind: Literal["decibels", "peak"], range_db: float) -> None:
    windows = torch.full((1, 20, 8), -200.0)
    windows[:, 3] = -10.0
    seen, _ = Normalised(8, kind)(windows)
    assert float(seen.max() - seen.min()) == pytest.approx(range_db / SCALE_DB)


def test_relative_to_its_peak_a_sound_is_the_same_beside_any_length_of_silence() -> None:
    short, long = torch.full((1, 20, 8), -100.0), torch.full((1, 60, 8), -100.0)
    short[:, :5] = long[:, :5] = -30.0
    network = Normalised(8, "peak")
    assert torch.equal(network(short)[0], network(long)[0][:, :20])
