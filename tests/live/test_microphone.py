"""A real microphone: what is played into a sound server of the test's own is heard, whatever happens to the device."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earwitness.tests.live.program import Program
from earwitness.tests.live.pulse import RATE, Pulse, pulse, wait_until

__all__ = ["pulse"]

pytestmark = pytest.mark.device

# Keeps to itself what it hears and tells what happens, a JSON line each.
LISTENER = """
import json, sys, time
import numpy as np
from earwitness.stream.sources.mic import Microphone
from earwitness.stream.sources.source import SourceGone, SourceSpec

mic = Microphone(SourceSpec(name="m", kind="mic", target=sys.argv[1]))
tell = lambda **what: print(json.dumps(what), flush=True)
heard = open(sys.argv[2], "wb")
epoch = 0
while True:
    try:
        format = mic.open()
        epoch += 1
        tell(opened=epoch, rate=format.rate, channels=format.channels, dtype=format.dtype, index=heard.tell() // 2)
        first = True
        while True:
            chunk = mic.read(48000)
            heard.write(chunk.samples.tobytes())
            heard.flush()
            if first and len(chunk.samples):
                tell(hears=epoch, utc=chunk.heard[0] / 1e9 - len(chunk.samples) / format.rate)
                first = False
            time.sleep(0.01)
    except SourceGone as error:
        tell(gone=str(error))
        mic.close()
        time.sleep(0.3)
"""


class Listener:
    def __init__(self, process: subprocess.Popen[str], heard: Path):
        self._process, self._heard = process, heard

    def told(self, key: str) -> dict[str, Any]:
        """The next line that says this."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said: dict[str, Any] = json.loads(line)
            if key in said:
                return said
        raise AssertionError(f"the listener ended before it said {key!r}")

    def samples(self) -> np.ndarray:
        return np.fromfile(self._heard, np.int16)


@contextmanager
def listening(pulse: Pulse, heard: Path, device: str = "ears") -> Iterator[Listener]:
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENER, device, str(heard)],
        env=pulse.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield Listener(process, heard)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def knock(tmp_path: Path) -> Path:
    """Half a second of silence, then 0.3 s of a tone."""
    path = tmp_path / "knock.wav"
    tone = (0.5 * 32767 * np.sin(2 * np.pi * 1000 * np.arange(round(0.3 * RATE)) / RATE)).astype(np.int16)
    soundfile.write(path, np.concatenate([np.zeros(RATE // 2, np.int16), tone]), RATE)
    return path


@pytest.mark.timeout(60)
def test_what_is_played_is_heard_sample_by_sample_at_the_right_time(
    pulse: Pulse, knock: Path, tmp_path: Path
) -> None:
    with listening(pulse, tmp_path / "heard.raw") as listener:
        opened = listener.told("opened")
        assert (opened["rate"], opened["channels"], opened["dtype"]) == (RATE, 1, "int16")
        began = listener.told("hears")["utc"]
        played = pulse.play(knock)
        wait_until(lambda: (np.abs(listener.samples().astype(int)) > 0).sum() > 0.28 * RATE, "nothing is heard")
        heard = listener.samples()
        loud = np.flatnonzero(heard)
        sound = np.trim_zeros(soundfile.read(knock, dtype="int16")[0])[: RATE // 4]
        assert np.array_equal(heard[loud[0] : loud[0] + len(sound)], sound)
        assert began + loud[0] / RATE == pytest.approx(played + 0.5, abs=0.2)


@pytest.mark.timeout(60)
def test_an_unplugged_microphone_is_noticed_and_heard_again_when_it_is_back(
    pulse: Pulse, knock: Path, tmp_path: Path
) -> None:
    with listening(pulse, tmp_path / "heard.raw") as listener:
        listener.told("hears")
        pulse.unplug()
        unplugged = time.monotonic()
        listener.told("gone")
        assert time.monotonic() - unplugged < 5
        pulse.plug_in()
        again = listener.told("opened")
        assert again["opened"] == 2
        listener.told("hears")
        pulse.play(knock)
        wait_until(lambda: bool(listener.samples()[again["index"] :].any()), "nothing is heard after it came back")


@pytest.mark.timeout(60)
def test_a_sound_server_that_dies_is_survived(pulse: Pulse, tmp_path: Path) -> None:
    with listening(pulse, tmp_path / "heard.raw") as listener:
        listener.told("hears")
        pulse.kill_server()
        listener.told("gone")
        pulse.start()
        assert listener.told("opened")["opened"] == 2
        listener.told("hears")


@pytest.mark.timeout(60)
def test_a_microphone_that_is_not_there_is_named_with_the_nearest(pulse: Pulse, tmp_path: Path) -> None:
    with listening(pulse, tmp_path / "heard.raw", device="earz") as listener:
        assert "'earz' is not there; the nearest that is: 'ears'" in listener.told("gone")["gone"]


@contextmanager
def running(pulse: Pulse, folder: Path, source: str) -> Iterator[Program]:
    with Program(
        "--source", source, "--json", "--no-clips", "--out", folder / "out", cwd=folder, env=pulse.environment
    ) as program:
        yield program


@pytest.mark.timeout(90)
def test_a_run_survives_the_plug_being_pulled_and_accounts_for_both_epochs(pulse: Pulse, tmp_path: Path) -> None:
    with running(pulse, tmp_path, "room=mic:ears") as program:
        pulse.wait_for_listener()
        resident_mb = int(Path(f"/proc/{program.nodes()['capture']}/statm").read_text().split()[1]) * 4096 / 1e6
        assert resident_mb < 60, f"capture holds {resident_mb:.0f} MB"
        pulse.unplug()
        program.wait_for(lambda: program.of("alarm", name="source-gone", state="raised"), 10, "no alarm")
        pulse.plug_in()
        program.wait_for(lambda: program.of("alarm", name="source-gone", state="cleared"), 15, "it does not come back")
        pulse.wait_for_listener()
        program.interrupt()
        assert program.wait() == 0, program.told()
        ledgers = program.of("ledger", stream="room")
        assert [line["epoch"] for line in ledgers] == [1, 2]
        assert all(line["balanced"] and line["samples"] > 0 and not line["lost"] for line in ledgers), program.told()


@pytest.mark.timeout(90)
def test_a_run_waits_for_a_microphone_that_is_not_there_and_names_the_nearest(pulse: Pulse, tmp_path: Path) -> None:
    with running(pulse, tmp_path, "mic:earz") as program:
        alarm = program.wait_for(lambda: program.of("alarm"), 20, "no alarm")[0]
        assert "'earz' is not there; the nearest that is: 'ears'" in alarm["text"]
        program.interrupt()
        assert program.wait() == 0, program.told()
