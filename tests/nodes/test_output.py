"""Standard output that is slow, stopped, full or closed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from earwitness.nodes.output import Output


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        try:
            os.close(fd)
        except OSError:
            pass


def test_what_fits_is_written_at_once(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1])
    output.write("küche\n")
    assert os.read(pipe[0], 100).decode() == "küche\n"
    assert output.waiting == 0


def test_a_reader_that_pauses_delays_nobody_and_gets_everything_later(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1])
    lines = [f"{number:06}\n" for number in range(60_000)]  # 420 kB: a pipe holds 64
    begun = time.monotonic()
    for line in lines:
        output.write(line)
    assert time.monotonic() - begun < 5
    assert output.waiting > 0
    got = bytearray()
    reader = threading.Thread(
        target=lambda: [got.extend(data) for data in iter(lambda: os.read(pipe[0], 1 << 16), b"")]
    )
    reader.start()
    try:
        assert output.pump(wait_s=20)
    finally:
        os.close(pipe[1])
        reader.join()
    assert got.decode() == "".join(lines)
    assert output.lost == 0


def test_beyond_the_limit_whole_texts_are_dropped_and_counted(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1], limit_bytes=1000)
    while not output.waiting:
        output.write("x" * 99 + "\n")
    for _ in range(20):
        output.write("y" * 99 + "\n")
    assert output.lost > 0
    assert output.waiting <= 1000
    assert not output.pump(wait_s=0.01)


def test_a_reader_that_has_gone_is_noticed_even_with_nothing_to_write(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1])
    output.pump()
    assert not output.closed
    os.close(pipe[0])
    output.pump()
    assert output.closed
    output.write("nobody\n")
    assert (output.lost, output.waiting) == (1, 0)


def test_a_file_is_always_ready(tmp_path: Path) -> None:
    path = tmp_path / "out"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    output = Output(fd)
    output.write("line\n" * 10_000)
    os.close(fd)
    assert path.read_text() == "line\n" * 10_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_said_and_tried_again() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        output = Output(fd)
        output.write("line\n")
        assert "space" in output.error
        assert not output.pump(wait_s=0.6)
        assert output.waiting == 5
    finally:
        os.close(fd)
