"""stream/sources/stdin.py: raw PCM from a pipe, in whatever pieces it comes."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.sources.source import RawType, SourceSpec
from earwitness.stream.sources.stdin import RawPcm


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        try:
            os.close(fd)
        except OSError:
            pass


def raw(fd: int, dtype: RawType = "int16", channels: int = 1, channel: int | None = None) -> RawPcm:
    return RawPcm(
        SourceSpec(name="s", kind="stdin", rate=8000, channels=channels, dtype=dtype, fd=fd, channel=channel)
    )


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=600), st.integers(1, 3), st.lists(st.integers(1, 97), min_size=1), st.integers(1, 50))
def test_the_pieces_in_which_it_comes_do_not_matter(data: bytes, channels: int, cuts: list[int], frames: int) -> None:
    reading, writing = os.pipe()
    try:
        source = raw(reading, channels=channels)
        assert source.open().channels == channels
        heard, k = [], 0
        while data[k:] or k == 0:
            piece = data[k : k + cuts[len(heard) % len(cuts)]]
            k += max(1, len(piece))
            os.write(writing, piece)
            while (chunk := source.read(frames)) is not None and (len(chunk.samples) or chunk.heard):
                assert len(chunk.samples) <= frames
                heard.append(chunk.samples)
        os.close(writing)
        writing = -1
        assert source.read(frames) is None
        whole = len(data) // (2 * channels) * channels
        got = np.concatenate([*heard, np.empty((0, channels), np.int16)])
        assert np.array_equal(got, np.frombuffer(data[: whole * 2], "<i2").reshape(-1, channels))
        assert (source.warning() is not None) == (len(data) % (2 * channels) != 0)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


@pytest.mark.parametrize(
    ("dtype", "data", "delivered", "values"),
    [
        ("uint8", b"\x00\x80\xff", "int16", [-32768, 0, 127 << 8]),
        ("int16", b"\x01\x00\xff\x7f", "int16", [1, 32767]),
        ("int24", b"\x01\x00\x00\xff\xff\x7f\x00\x00\x80", "int32", [256, 0x7FFFFF << 8, -(2**31)]),
        ("int32", b"\x01\x00\x00\x00", "int32", [1]),
        ("float32", np.float32([0.5, -1.0]).tobytes(), "float32", [0.5, -1.0]),
    ],
)
def test_sample_types_are_brought_to_full_scale(
    pipe: tuple[int, int], dtype: RawType, data: bytes, delivered: str, values: list[float]
) -> None:
    source = raw(pipe[0], dtype)
    assert source.open().dtype == delivered
    os.write(pipe[1], data)
    chunk = source.read(100)
    assert chunk is not None
    assert chunk.samples.dtype == delivered
    assert chunk.samples[:, 0].tolist() == values


def test_an_empty_pipe_is_nothing_ready_and_a_closed_one_the_end(pipe: tuple[int, int]) -> None:
    source = raw(pipe[0])
    source.open()
    chunk = source.read(100)
    assert chunk is not None
    assert chunk.samples.shape == (0, 1)
    os.close(pipe[1])
    assert source.read(100) is None


def test_one_channel_can_be_chosen(pipe: tuple[int, int]) -> None:
    source = raw(pipe[0], channels=2, channel=2)
    assert source.open().channels == 1
    os.write(pipe[1], np.int16([1, 2, 3, 4]).tobytes())
    chunk = source.read(10)
    assert chunk is not None
    assert chunk.samples.tolist() == [[2], [4]]


def test_the_pipes_flags_and_the_pipe_itself_are_left_alone(pipe: tuple[int, int]) -> None:
    source = raw(pipe[0])
    source.open()
    source.read(10)
    assert os.get_blocking(pipe[0])
    source.close()
    os.fstat(pipe[0])


def test_a_redirected_file_does_not_pace_itself_as_a_pipe_does(pipe: tuple[int, int], tmp_path: Path) -> None:
    assert raw(pipe[0]).paces_itself
    (tmp_path / "x.raw").write_bytes(b"\0\0")
    with (tmp_path / "x.raw").open("rb") as file:
        assert not raw(file.fileno()).paces_itself


def test_a_terminal_a_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    main, terminal = pty.openpty()
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        for fd, words in ((terminal, "terminal"), (folder, "folder"), (987_654, "closed")):
            with pytest.raises(EarwitnessError, match=words):
                raw(fd).open()
    finally:
        for fd in (main, terminal, folder):
            os.close(fd)
