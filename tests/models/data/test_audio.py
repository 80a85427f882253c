from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.models.data.audio import audio_blocks, frame_blocks, read_audio, read_clip
from earwitness.models.data.clip import Clip
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec, compute
from earwitness.stream.resample import resample


@pytest.fixture
def long_file(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "long.wav"
    soundfile.write(path, 0.1 * rng.standard_normal((200_000, 2)), 44100, subtype="FLOAT")
    return path


def test_channels_are_mixed_and_the_rate_is_changed(long_file: Path) -> None:
    samples = read_audio(long_file, 16000)
    stereo = soundfile.read(long_file, dtype="float32")[0]
    expected = resample(stereo.mean(axis=1), 44100, 16000)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, expected, atol=1e-6)


def test_a_part_is_the_same_samples(long_file: Path) -> None:
    whole = read_audio(long_file, 44100)
    part = read_audio(long_file, 44100, 1.0, 2.5)
    np.testing.assert_array_equal(part, whole[44100:110250])
    np.testing.assert_array_equal(read_clip(Clip(long_file, "x", 1, "", "", 4.0), 44100), whole[4 * 44100 :])


@pytest.mark.parametrize(("start", "end"), [(100.0, None), (1.0, 1.0), (2.0, 1.0)])
def test_a_part_without_sound_is_one_line(long_file: Path, start: float, end: float | None) -> None:
    with pytest.raises(EarwitnessError, match=f"long.wav holds no sound from {start:g} s"):
        read_audio(long_file, 16000, start, end)


def test_a_file_without_sound_is_one_line(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 8000)
    with pytest.raises(EarwitnessError, match=r"none\.wav holds no sound"):
        read_audio(tmp_path / "none.wav", 8000)


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").write_bytes(b"OggS but not really")
    with pytest.raises(EarwitnessError, match=r"a\.ogg is no sound file that can be read") as caught:
        read_audio(tmp_path / "a.ogg", 16000)
    assert "\n" not in str(caught.value)


def test_a_file_that_lies_about_its_length_is_read_as_far_as_it_goes(long_file: Path) -> None:
    data = long_file.read_bytes()
    long_file.write_bytes(data[: len(data) // 2])
    notes: list[str] = []
    samples = read_audio(long_file, 44100, say=notes.append)
    assert 90_000 < len(samples) < 100_001
    (note,) = notes
    assert "cut off" in note
    assert "\n" not in note


def test_what_is_no_number_is_silence_and_told(tmp_path: Path) -> None:
    samples = np.full(1000, 0.1, np.float32)
    samples[10:20] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 8000, subtype="FLOAT")
    notes: list[str] = []
    assert np.isfinite(read_audio(tmp_path / "nan.wav", 8000, say=notes.append)).all()
    assert "10 samples are no sound" in notes[0]


def test_blocks_of_a_long_file_take_the_memory_of_a_block(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(4_000_000, np.int16), 8000)
    tracemalloc.start()
    try:
        assert sum(len(block) for block in audio_blocks(path, 8000)) == 4_000_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # the whole is 16 MB


def test_frames_block_by_block_are_those_of_the_whole(long_file: Path) -> None:
    spec = FrontEndSpec()
    frames = np.concatenate(list(frame_blocks(Clip(long_file, "x", 1, ""), spec)))
    np.testing.assert_array_equal(frames, compute(spec, read_audio(long_file, spec.sr)))
