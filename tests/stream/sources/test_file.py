"""stream/sources/file.py: every sample of a file, at its own depth, and a clear word about files that are not whole."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.sources.file import SoundFile
from earwitness.stream.sources.source import Chunk, Samples, SourceSpec


def source(path: Path, channel: int | None = None) -> SoundFile:
    return SoundFile(SourceSpec(name="s", kind="file", target=str(path), channel=channel))


def read_all(source: SoundFile, frames: int = 1000) -> tuple[Samples, list[Chunk]]:
    """What it delivers, and the chunks that tell of a loss."""
    chunks = []
    while (chunk := source.read(frames)) is not None:
        assert len(chunk.samples) or chunk.lost, "an empty read before the end"
        assert len(chunk.samples) <= frames
        chunks.append(chunk)
    assert source.read(frames) is None
    return np.concatenate([chunk.samples for chunk in chunks]), [chunk for chunk in chunks if chunk.lost]


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((samples, channels)) * 0.1).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "subtype", "dtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", "int16", 2**-7),
        ("a.wav", "PCM_16", "int16", 2**-15),
        ("a.wav", "PCM_24", "int32", 2**-23),
        ("a.wav", "PCM_32", "int32", 2**-24),
        ("a.wav", "FLOAT", "float32", 0.0),
        ("a.wav", "DOUBLE", "float32", 0.0),
        ("a.wav", "ULAW", "int16", 0.02),
        ("a.wav", "IMA_ADPCM", "int16", 0.6),
        ("a.flac", "PCM_16", "int16", 2**-15),
        ("a.flac", "PCM_24", "int32", 2**-23),
        ("a.ogg", "VORBIS", "float32", 0.6),
        ("a.mp3", "MPEG_LAYER_III", "float32", 0.5),
    ],
)
def test_each_kind_comes_at_its_own_depth(
    tmp_path: Path, name: str, subtype: str, dtype: str, tolerance: float
) -> None:
    sound = noise(24_000, 2)
    soundfile.write(tmp_path / name, sound, 24_000, subtype=subtype)
    opened = source(tmp_path / name)
    format = opened.open()
    assert (format.rate, format.channels, format.dtype) == (24_000, 2, dtype)
    heard, losses = read_all(opened)
    assert heard.dtype == dtype
    assert not losses
    assert opened.warning() is None
    assert len(heard) == format.samples
    scale = {"int16": 2.0**15, "int32": 2.0**31, "float32": 1.0}[dtype]
    assert np.abs(heard[:24_000] / scale - sound).max() <= tolerance


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 5000), st.integers(1, 3), st.integers(1, 3000), st.integers(0, 6000))
def test_any_cut_and_any_start_give_the_same_samples(
    tmp_path: Path, length: int, channels: int, frames: int, first: int
) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, noise(length + 1, channels), 16_000)
    whole = soundfile.read(path, dtype="int16", always_2d=True)[0]
    opened = source(path)
    opened.open(first)
    if first >= len(whole):
        assert opened.read(frames) is None
    else:
        assert np.array_equal(read_all(opened, frames)[0], whole[first:])


def test_an_mp3_is_the_same_in_pieces_of_any_length(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.mp3", noise(48_000), 48_000)
    one, other = source(tmp_path / "x.mp3"), source(tmp_path / "x.mp3")
    one.open()
    other.open()
    assert np.array_equal(read_all(one, 977)[0], read_all(other, 50_000)[0])


def test_an_mp3_is_resumed_at_exactly_the_same_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.mp3", noise(48_000), 48_000)
    whole, once_more = source(tmp_path / "x.mp3"), source(tmp_path / "x.mp3")
    whole.open()
    once_more.open(20_000)
    assert np.array_equal(read_all(whole)[0][20_000:], read_all(once_more)[0])


def test_one_channel_can_be_chosen_counted_from_one(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", noise(1000, 3), 8000, subtype="FLOAT")
    second = source(tmp_path / "x.wav", channel=2)
    assert second.open().channels == 1
    assert np.array_equal(read_all(second)[0][:, 0], noise(1000, 3)[:, 1])
    with pytest.raises(EarwitnessError, match="no channel 4; it has 3"):
        source(tmp_path / "x.wav", channel=4).open()


def test_nan_samples_are_passed_on_as_they_are(tmp_path: Path) -> None:
    sound = noise(100)
    sound[7] = np.nan
    soundfile.write(tmp_path / "x.wav", sound, 8000, subtype="FLOAT")
    opened = source(tmp_path / "x.wav")
    opened.open()
    assert np.array_equal(read_all(opened)[0], sound, equal_nan=True)


def cut(path: Path, part: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


@pytest.mark.parametrize("name", ["x.flac", "x.wav"])
def test_a_file_that_is_cut_off_is_played_as_far_as_it_goes_and_says_what_is_missing(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, noise(48_000), 48_000, subtype="PCM_16")
    whole = soundfile.read(tmp_path / name, dtype="int16", always_2d=True)[0]
    cut(tmp_path / name, 0.6)
    opened = source(tmp_path / name)
    format = opened.open()
    assert format.samples == 48_000
    assert "cut off" in (opened.warning() or "")
    heard, (loss,) = read_all(opened, 4800)
    assert np.array_equal(heard, whole[: len(heard)])
    assert len(heard) > 48_000 * 0.5  # a FLAC frame is 4096 samples: nearly all that is there
    assert (len(heard) + loss.lost, loss.cause) == (48_000, "cut off")


def test_an_ogg_that_is_cut_off_says_so(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.ogg", noise(96_000), 48_000)
    cut(tmp_path / "x.ogg", 0.6)
    opened = source(tmp_path / "x.ogg")
    opened.open()
    assert "its end is missing" in (opened.warning() or "")
    assert len(read_all(opened)[0]) > 20_000


def test_an_mp3_that_is_cut_off_counts_what_is_missing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.mp3", noise(96_000), 48_000)
    cut(tmp_path / "x.mp3", 0.6)
    opened = source(tmp_path / "x.mp3")
    promised = opened.open().samples
    heard, (loss,) = read_all(opened)
    assert len(heard) + loss.lost == promised


def test_a_wav_that_was_written_into_a_pipe_is_not_taken_for_cut_off(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", noise(1000), 8000, subtype="PCM_16")
    data = bytearray((tmp_path / "x.wav").read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "x.wav").write_bytes(data)
    opened = source(tmp_path / "x.wav")
    opened.open()
    assert opened.warning() is None
    heard, losses = read_all(opened)
    assert (len(heard), losses) == (1000, [])


def test_a_header_without_sound_is_an_empty_stream_with_a_warning(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", noise(0), 8000)
    opened = source(tmp_path / "x.wav")
    assert opened.open().samples == 0
    assert "holds no sound" in (opened.warning() or "")
    assert opened.read(100) is None


def test_no_such_file_names_the_nearest(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "kitchen.wav", noise(10), 8000)
    with pytest.raises(EarwitnessError, match=r"no such file: .*kitchn\.wav; did you mean 'kitchen\.wav'\?"):
        source(tmp_path / "kitchn.wav").open()
    with pytest.raises(EarwitnessError, match="there is no folder"):
        source(tmp_path / "nowhere" / "x.wav").open()


def test_a_mistyped_word_is_taken_for_what_it_meant() -> None:
    with pytest.raises(EarwitnessError, match="did you mean 'demo'"):
        source(Path("dmeo")).open()


def test_files_that_hold_no_sound_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("this is no sound\n" * 100)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in.wav").touch()
    os.mkfifo(tmp_path / "pipe.wav")
    for name, words in {
        "zero.wav": "is empty",
        "text.wav": "no sound file",
        "folder": "is a folder.*in.wav",
        "pipe.wav": "--source -",
        "zero.wav/x": "no such file",
    }.items():
        with pytest.raises(EarwitnessError, match=words) as error:
            source(tmp_path / name).open()
        assert "\n" not in str(error.value)


def test_a_file_that_may_not_be_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.touch()
    path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read everything")
    with pytest.raises(EarwitnessError, match="Permission denied"):
        source(path).open()


def test_closing_twice_and_before_opening_is_harmless(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", noise(10), 8000)
    opened = source(tmp_path / "x.wav")
    opened.close()
    opened.open()
    opened.close()
    opened.close()
    assert opened.read(10) is None
