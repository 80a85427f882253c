from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from earwitness.models.augmentation.settings import LIMITS, PLAIN, Augmentation, reference_table
from earwitness.stream.errors import EarwitnessError


@pytest.mark.parametrize("name", LIMITS)
def test_a_range_that_runs_backwards_or_too_far_is_refused(name: str) -> None:
    low, high = LIMITS[name]
    middle = (low + high) / 2
    PLAIN.replace(**{name: (low, high)})
    for wrong in ((high, middle), (low - 1, middle), (middle, high + 1)):
        with pytest.raises(EarwitnessError, match=f"{name} is .*; valid: two numbers from .*, the lower first"):
            PLAIN.replace(**{name: wrong})


def test_unknown_keys_and_shares_beyond_one_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `gain`"):
        msgspec.convert({"gain": 3}, Augmentation)
    with pytest.raises(msgspec.ValidationError, match="<= 1"):
        msgspec.convert({"mixup": 1.5}, Augmentation)


def test_the_page_of_augmentation_tells_every_setting_as_the_code_has_it() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "augmentation.md").read_text()
    assert reference_table() in page, "stale: python -m earwitness.models.augmentation.settings prints its table"
    for field in msgspec.json.schema(Augmentation)["$defs"]["Augmentation"]["properties"].values():
        assert field["description"] in page


def test_the_recipes_that_the_page_shows_are_valid() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "augmentation.md").read_text()
    shown = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
    assert sum("augmentation" in each for each in shown) >= 3
    for each in shown:
        msgspec.convert(each.get("augmentation", {}), Augmentation)


def test_kept_speeds_span_what_is_asked_for_and_hold_the_original() -> None:
    assert PLAIN.kept_speeds == (1.0,)
    speeds = PLAIN.replace(speed=0.5, speed_range=(0.8, 1.3), versions=6).kept_speeds
    assert len(speeds) == 6
    assert (speeds[0], speeds[-1]) == pytest.approx((0.8, 1.3))
    assert 1.0 in speeds
    assert list(speeds) == sorted(speeds)
    octave = PLAIN.replace(pitch=0.5, pitch_semitones=(-12, 12), versions=3).kept_speeds
    assert octave == pytest.approx((0.5, 1, 2))


def test_for_choosing_nothing_is_mixed_or_hidden() -> None:
    settings = Augmentation(mixup=0.5).without_mixing()
    assert (settings.mixup, settings.between_class, settings.mask) == (0, 0, 0)
    assert settings.noise == Augmentation().noise
