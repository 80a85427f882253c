"""`arecord -t raw … | earwitness run --source -`, without arecord."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import soundfile

from earwitness.tests.live.conftest import Start
from earwitness.tests.live.program import Line, essence


def without_name(lines: list[Line]) -> list[Line]:
    return [{**line, "stream": "x"} for line in lines]


@pytest.mark.parametrize("pace", ["max", "real"])
def test_raw_pcm_from_a_pipe_gives_the_events_of_the_same_sound_in_a_file(start: Start, scene: Path, pace: str) -> None:
    samples, rate = soundfile.read(scene, dtype="int16")
    samples = samples[: 6 * rate]
    soundfile.write(scene.parent / "short.wav", samples, rate)
    file = start("--source", scene.parent / "short.wav", "--pace", "max", "--no-clips", out="file")
    assert file.wait() == 0, file.told()

    reading, writing = os.pipe()
    piped = start("--source", "-", "--rate", str(rate), "--pace", pace, "--no-clips", out="pipe", stdin=reading)
    os.close(reading)

    def arecord() -> None:
        data = samples.tobytes()
        try:
            for k in range(0, len(data), 4001):  # in pieces that cut samples in two
                os.write(writing, data[k : k + 4001])
        finally:
            os.close(writing)

    writer = threading.Thread(target=arecord)
    writer.start()
    assert piped.wait() == 0, piped.told()
    writer.join()
    (ledger,) = piped.of("ledger")
    assert (ledger["samples"], ledger["lost"], ledger["balanced"]) == (len(samples), {}, True)
    assert essence(without_name(piped.lines)) == essence(without_name(file.lines))
    assert len(piped.of("start")) > 0
