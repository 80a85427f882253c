from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earwitness.models.data.audio import read_clip
from earwitness.models.data.cache import FeatureCache
from earwitness.models.data.clip import Clip
from earwitness.models.data.loading import AHEAD, in_threads, load
from earwitness.stream.features.frontend import FrontEndSpec, compute

SPEC = FrontEndSpec(n_mels=8)


@pytest.fixture
def clips(tmp_path: Path, rng: np.random.Generator) -> list[Clip]:
    made = []
    for number in range(12):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(4000 + 100 * number), 16000)
        made.append(Clip(path, "x", 1, str(number)))
    return made


def samples_of(clip: Clip, say: Callable[[str], None]) -> NDArray[np.float32]:
    return read_clip(clip, 16000, say)


def test_clips_come_in_order_whatever_the_threads(tmp_path: Path, clips: list[Clip]) -> None:
    said: list[str] = []
    for workers in (1, 3, None):
        cache = FeatureCache(tmp_path / "cache")
        loaded = list(load(clips, lambda clip, note, kept=cache: kept.frames(clip, SPEC, note), said.append, workers))
        assert [clip for clip, _ in loaded] == clips
        for clip, frames in loaded:
            np.testing.assert_array_equal(frames, compute(SPEC, read_clip(clip, SPEC.sr)))
    assert said == []


def test_what_a_person_should_know_is_said_with_its_clip(clips: list[Clip]) -> None:
    clips[2].path.write_bytes(clips[2].path.read_bytes()[:4000])
    said: list[str] = []
    assert len(list(load(clips, samples_of, said.append))) == len(clips)
    (line,) = said
    assert "2.wav: cut off" in line


def test_what_cannot_be_read_is_told_counted_and_left_out(clips: list[Clip]) -> None:
    clips[3].path.write_bytes(b"no sound")
    clips[5].path.unlink()
    said: list[str] = []
    assert [clip for clip, _ in load(clips, samples_of, said.append)] == [*clips[:3], clips[4], *clips[6:]]
    assert len(said) == 3
    assert said[0].startswith("left out: ")
    assert "3.wav" in said[0]
    assert said[-1] == "2 of 12 clips are left out: they cannot be read"


def test_no_more_is_read_ahead_than_is_held(clips: list[Clip]) -> None:
    begun = 0
    lock = threading.Lock()

    def work(clip: Clip) -> str:
        nonlocal begun
        with lock:
            begun += 1
        return clip.recording

    taken = 0
    for _ in in_threads(clips * 20, work, 2):
        taken += 1
        assert begun <= taken + 2 * AHEAD
    assert taken == begun == 240


def test_a_taker_that_has_enough_leaves_no_thread_behind(clips: list[Clip]) -> None:
    before = threading.active_count()
    loading = load(clips * 20, samples_of, print)
    next(loading)
    loading.close()
    assert threading.active_count() == before


def test_an_error_that_is_no_fault_of_a_file_is_not_hidden(clips: list[Clip]) -> None:
    def work(clip: Clip) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(in_threads(clips, work))
