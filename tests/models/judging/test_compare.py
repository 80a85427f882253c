"""Two models on the same clips."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

pytest.importorskip("sklearn", reason="figures are counted by scikit-learn (extra train)")
pytest.importorskip("onnx", reason="the test's models are made with onnx (extra train)")

from earwitness.models.judging.command import Request, answer
from earwitness.models.judging.compare import Comparison, compare, compare_bundles, report

from ..hearers import LABELS, clip, hearer, hearing, trained_on

RIGHT, WRONG = [[0.9, 0.1]], [[0.1, 0.9]]


def of_cats(*scores: list[list[float]], recordings: str = "") -> list[tuple[object, list[list[float]], list[str]]]:
    names = recordings or "abcdefghijklmnop"
    return [(clip(number, "cat", recording=names[number]), each, []) for number, each in enumerate(scores)]


def compared(first: list[list[list[float]]], second: list[list[list[float]]], recordings: str = "") -> Comparison:
    sides = (hearing(["cat", "dog"], *of_cats(*side, recordings=recordings)) for side in (first, second))
    return compare(*sides)


def test_who_was_right_where_is_counted() -> None:
    found = compared([RIGHT, RIGHT, WRONG, WRONG, RIGHT], [RIGHT, WRONG, RIGHT, WRONG, RIGHT])
    assert (found.both, found.first_only, found.second_only, found.neither) == (2, 1, 1, 1)
    assert found.accuracy == (0.6, 0.6)
    assert found.difference == 0.0
    assert found.p_clips == 1.0
    assert "cannot be told" in report(found)
    assert found.classes == {"cat": (5, 3, 3)}


def test_clips_of_many_recordings_make_a_difference_sure() -> None:
    found = compared([WRONG] * 10, [RIGHT] * 10)
    assert found.p_clips == found.p_recordings == pytest.approx(2 / 2**10)
    assert found.difference_interval == (1.0, 1.0)
    assert "tiny@123456 is better" in report(found)


def test_clips_of_one_recording_count_once() -> None:
    found = compared([WRONG] * 10, [RIGHT] * 10, recordings="aaaaabbbbb")
    assert found.p_clips < 0.01
    assert found.p_recordings == 0.5
    assert "cannot be told" in report(found)


def test_only_clips_that_both_heard_are_compared() -> None:
    found = compared([RIGHT, RIGHT, WRONG], [RIGHT, WRONG])
    assert (found.clips, found.left_out) == (2, 1)
    assert "1 clips are left out" in report(found)


def test_two_bundles_are_compared_on_folds_that_neither_was_trained_on(tmp_path: Path, tones: Path) -> None:
    first = hearer(tmp_path / "a", training=trained_on("tones", 1, 2))
    second = hearer(tmp_path / "b", ["low", "high", "middle", "background"], training=trained_on("tones", 2, 3))
    found = compare_bundles(first, second, "tones", tones)
    assert (found.folds, found.clips) == ([4], 6)
    assert found.accuracy == (1.0, pytest.approx(1 / 3))
    assert found.first_only == 4


def test_a_label_map_is_for_the_one_that_it_fits(tmp_path: Path, tones: Path) -> None:
    own = hearer(tmp_path / "a")
    other = hearer(tmp_path / "b", ["Whistle", "Hum", "Horn", "background"])
    path = tmp_path / "names.toml"
    path.write_text('[labels]\nhigh = ["Whistle"]\nlow = ["Hum"]\n')
    found = compare_bundles(own, other, "tones", tones, label_map=str(path))
    assert (found.clips, found.left_out, found.accuracy) == (16, 8, (1.0, 1.0))


def test_the_command_compares_and_prints_json(tmp_path: Path, tones: Path) -> None:
    first, second = hearer(tmp_path / "a"), hearer(tmp_path / "b", ["low", "high", *LABELS[2:]])
    request = Request(compare=(str(first.path), str(second.path)), data="tones", root=tones, folds=("1", "2"))
    found, text = answer(request, print)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found
    assert "paired tests: p =" in text
