"""Marks: what one process sets another one reads, without a message, and after a kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from earwitness.nodes.marks import Mark, Marks, make_marks


def test_what_is_put_on_one_side_is_read_on_the_other() -> None:
    fd = make_marks(2)
    writer, reader = Marks(fd), Marks(fd)
    os.close(fd)
    assert reader.read() == []
    for end_sample in (10, 20):
        writer.put(Mark(stream="kitchen", epoch=1, rate=48000, end_sample=end_sample))
    writer.put(Mark(stream="x" * 64, epoch=3, rate=8000, end_sample=1 << 40))
    assert reader.read() == [
        Mark(stream="kitchen", epoch=1, rate=48000, end_sample=20),
        Mark(stream="x" * 64, epoch=3, rate=8000, end_sample=1 << 40),
    ]
    writer.close()
    reader.close()


def test_a_mark_outlives_the_process_that_set_it() -> None:
    fd = make_marks(1)
    code = (
        "import os, signal; from earwitness.nodes.marks import Mark, Marks\n"
        f"Marks({fd}).put(Mark(stream='hall', epoch=2, rate=16000, end_sample=4711)); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], pass_fds=[fd])
    assert done.returncode == -signal.SIGKILL
    reader = Marks(fd)
    os.close(fd)
    assert [(mark.stream, mark.end_sample) for mark in reader.read()] == [("hall", 4711)]
    reader.close()
