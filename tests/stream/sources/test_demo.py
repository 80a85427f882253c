"""stream/sources/demo.py: a scene that is the same everywhere, and is where its truth says."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.stream.sources import demo_sounds
from earwitness.stream.sources.demo import LABELS, RATE, Demo, make_scene
from earwitness.stream.sources.source import SourceSpec


def test_the_same_seed_gives_the_same_scene_and_another_seed_another() -> None:
    assert np.array_equal(make_scene(3).samples, make_scene(3).samples)
    assert not np.array_equal(make_scene(3).samples[:RATE], make_scene(4).samples[:RATE])


@pytest.mark.parametrize("seed", [1, 7, 12])
def test_sound_is_where_the_truth_says_and_nowhere_else(seed: int) -> None:
    scene = make_scene(seed)
    assert sorted(truth.label for truth in scene.truth) == sorted(LABELS)
    assert 20 < len(scene.samples) / RATE < 40
    inside = np.zeros(len(scene.samples), bool)
    for truth in scene.truth:
        first, end = round(truth.onset_s * RATE), round(truth.offset_s * RATE)
        inside[first:end] = True
        start = scene.samples[first : first + RATE // 5].astype(float)
        assert np.sqrt(np.mean(start**2)) > 3 * np.std(scene.samples[: RATE // 2]), f"{truth} begins in silence"
    silence = scene.samples[~inside].astype(float)
    assert 0 < np.sqrt(np.mean(silence**2)) < 32767 * 10 ** (-60 / 20)
    assert np.abs(scene.samples.astype(int)).max() < 32000  # nothing clips


@pytest.mark.parametrize("make", demo_sounds.SOUNDS, ids=lambda make: make.__name__)
def test_each_sound_is_finite_and_differs_from_seed_to_seed(make: demo_sounds.Maker) -> None:
    one, other = (make(np.random.default_rng(seed), 22_050) for seed in (1, 2))
    assert np.isfinite(one).all()
    assert np.abs(one).max() > 0.05
    assert not np.array_equal(one, other)


def test_as_a_source_it_can_be_read_in_any_pieces_and_from_any_sample() -> None:
    demo = Demo(SourceSpec(name="demo", kind="demo", target="5"))
    format = demo.open(first_sample=12_345)
    pieces = []
    while (chunk := demo.read(999)) is not None:
        pieces.append(chunk.samples)
    heard = np.concatenate(pieces)
    assert heard.shape[1] == format.channels == 1
    assert np.array_equal(heard[:, 0], make_scene(5).samples[12_345:])
    demo.close()
    assert demo.read(10) is None
