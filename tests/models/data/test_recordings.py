from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.models.data.background import Background
from earwitness.models.data.cache import FeatureCache
from earwitness.models.data.clip import Clip
from earwitness.models.data.recordings import Keeping, of_backgrounds, of_clips, sounding_starts
from earwitness.stream.features.frontend import FrontEndSpec, compute

SR, SPEC = 16000, FrontEndSpec()


def burst(path: Path, at: float = 1.0, seconds: float = 0.3, length: float = 3.0, frequency: float = 1000) -> Clip:
    """A clip with one tone in digital silence."""
    samples = np.zeros(int(length * SR), np.float32)
    time = np.arange(int(seconds * SR)) / SR
    samples[int(at * SR) :][: len(time)] = 0.3 * np.sin(2 * np.pi * frequency * time)
    soundfile.write(path, samples, SR, subtype="FLOAT")
    return Clip(path, "tone", 1, path.stem, further_labels=("high",))


@pytest.mark.parametrize("samples", [False, True], ids=["powers", "samples"])
def test_windows_of_a_clip_catch_its_sound(tmp_path: Path, samples: bool) -> None:
    window = 50 * (160 if samples else 1)
    (recording,) = of_clips([burst(tmp_path / "a.wav")], Keeping(SPEC, window, samples))
    assert (recording.label, recording.kind, recording.further_labels) == ("tone", "event", ("high",))
    seconds = recording.starts * (1 / SR if samples else 0.01)
    assert seconds.min() == pytest.approx(1.0 + 0.1 - 0.5, abs=0.05)  # a tenth of a second of it at the end
    assert seconds.max() == pytest.approx(1.3 - 0.1, abs=0.05)
    assert recording.weights[np.argmin(np.abs(seconds - 0.9))] > 2 * recording.weights[0]


def test_powers_are_those_of_the_front_end_and_from_the_cache_alike(tmp_path: Path) -> None:
    clip = burst(tmp_path / "a.wav")
    frames = compute(SPEC, soundfile.read(clip.path, dtype="float32")[0])
    cache = FeatureCache(tmp_path / "cache")
    for _ in range(2):
        (recording,) = of_clips([clip], Keeping(SPEC, 50), cache=cache)
        np.testing.assert_allclose(10 * np.log10(recording.values), frames, atol=1e-4)
    assert (cache.hits, cache.misses) == (1, 1)


def test_each_clip_is_kept_at_every_speed_one_after_the_other(tmp_path: Path) -> None:
    clips = [burst(tmp_path / "a.wav"), burst(tmp_path / "b.wav")]
    found = of_clips(clips, Keeping(SPEC, 50, speeds=(0.8, 1.0, 1.25)))
    assert [recording.speed for recording in found] == [0.8, 1.0, 1.25] * 2
    lengths = [len(recording.values) for recording in found[:3]]
    np.testing.assert_allclose(lengths, [300 / 0.8, 300, 300 / 1.25], atol=5)
    bands = [recording.values.sum(axis=0).argmax() for recording in found[:3]]
    tones = [compute(SPEC, np.sin(2 * np.pi * f * np.arange(SR) / SR).astype(np.float32)) for f in (800, 1000, 1250)]
    assert bands == [tone.mean(axis=0).argmax() for tone in tones]


def test_what_cannot_be_read_or_is_too_short_is_told_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "click.wav", np.ones(100), SR)
    clips = [Clip(tmp_path / name, "tone", 1, name) for name in ("none.wav", "broken.wav", "click.wav")]
    for speeds in ((1.0,), (0.5, 1.0)):
        said: list[str] = []
        found = of_clips([*clips, burst(tmp_path / "good.wav")], Keeping(SPEC, 50, speeds=speeds), said.append)
        assert len(found) == len(speeds)
        assert sum(line.startswith("left out") for line in said) == 3


def test_a_background_may_be_cut_anywhere_inside() -> None:
    quiet = Background("room", "kitchen", np.zeros(SR, np.float32))
    (recording,) = of_backgrounds([quiet], Keeping(SPEC, 50))
    assert recording.starts.tolist() == list(range(len(recording.values) - 50 + 1))
    (recording,) = of_backgrounds([quiet], Keeping(SPEC, 8000, samples=True))
    assert recording.starts.tolist() == list(range(0, 8001, 160))
    (recording,) = of_backgrounds([quiet], Keeping(SPEC, 500))
    assert recording.starts.tolist() == [0]


def flat(frames: int) -> np.ndarray:
    return np.ones((frames, 1), np.float32)


def test_how_far_a_window_may_lie_outside_is_a_share_of_it_or_of_a_shorter_recording() -> None:
    assert sounding_starts(flat(500), 100, 0.0)[0].tolist() == list(range(401))
    assert sounding_starts(flat(500), 100, 0.2)[0].tolist() == list(range(-20, 421))
    assert sounding_starts(flat(500), 400, 0.1)[0].tolist() == list(range(-40, 141))  # a long crop of a whole clip
    assert sounding_starts(flat(40), 100, 0.0)[0].tolist() == list(range(-60, 1))  # a word anywhere in the window
    assert sounding_starts(flat(40), 100, 0.5)[0].tolist() == list(range(-80, 21))


def test_a_clip_with_less_sound_than_a_window_wants_is_used_all_the_same() -> None:
    powers = np.full((100, 64), 1e-10, np.float32)
    powers[[10, 90]] = 1.0
    starts, weights = sounding_starts(powers, 32)
    assert set(starts) == set(range(-16, 11)) | set(range(59, 85))
    assert (weights > 0).all()
