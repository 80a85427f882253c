"""A microphone for tests: a PulseAudio of the test's own, whose one sink is heard by whoever listens to `ears`.

    def test_it_hears(pulse: Pulse):
        with subprocess.Popen([...], env=pulse.environment):  # its source is mic:ears, or plain mic
            pulse.play(clip)

Nothing is shared with the machine's own sound or with a second run of the tests: the server has a folder and a socket
of its own, and is a child of the test. It runs as root too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SINK = "ears"
RATE = 48_000
_PROGRAMS = ("pulseaudio", "pactl", "paplay", "parec")
_ALSA = "/usr/share/alsa/alsa.conf"


class Pulse:
    """A running PulseAudio with a null sink; what is played into the sink is what the microphone hears."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.rate = RATE
        self._server = f"unix:{folder}/native"
        (folder / "asound.conf").write_text(
            f'pcm.{SINK} {{ type pulse device "{SINK}.monitor" hint {{ show on description "{SINK}" }} }}\n'
            f'pcm.!default {{ type pulse device "{SINK}.monitor" }}\n'
            "ctl.!default { type pulse }\n"
        )
        self.environment = dict(
            os.environ,
            HOME=str(folder),
            XDG_RUNTIME_DIR=str(folder),
            PULSE_RUNTIME_PATH=str(folder),
            PULSE_SERVER=self._server,
            PULSE_LATENCY_MSEC="20",
            ALSA_CONFIG_PATH=f"{_ALSA}:{folder}/asound.conf",
        )
        """For child processes that shall hear or play here."""
        self._daemon: subprocess.Popen[bytes] | None = None
        self._clock: subprocess.Popen[bytes] | None = None
        self._players: list[subprocess.Popen[bytes]] = []
        self._module = ""

    def start(self) -> None:
        """Starts the server and plugs the microphone in."""
        with (self.folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [
                    "pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1",
                    "--disable-shm=yes", "--log-target=stderr", "--realtime=no", "--high-priority=no",
                    "-L", f"module-native-protocol-unix socket={self.folder}/native auth-anonymous=1",
                ],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self._answers, "PulseAudio does not answer", 20)
        self.plug_in()

    def plug_in(self) -> None:
        """Makes the microphone be there."""
        self._module = self._ask(
            "load-module", "module-null-sink", f"sink_name={SINK}", f"rate={self.rate}", "channels=1", "format=s16le"
        )
        # A null sink that nobody hurries works in blocks of 2 s: one listener with a short latency is its clock.
        listen = ["parec", f"--device={SINK}.monitor", "--latency-msec=10", f"--rate={self.rate}", "--channels=1"]
        quiet = {"env": self.environment, "stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._clock = subprocess.Popen(listen, stdout=subprocess.DEVNULL, **quiet)  # type: ignore[call-overload]
        with subprocess.Popen(listen, stdout=subprocess.PIPE, **quiet) as first:  # type: ignore[call-overload]
            heard = first.stdout.read(self.rate // 5 * 2)  # from now on it runs evenly
            first.kill()
        assert heard, "the microphone does not run"

    def unplug(self) -> None:
        """Makes the microphone disappear; whoever listens to it notices or does not, as with a real one."""
        self._stop_clock()
        self._ask("unload-module", self._module)
        wait_until(lambda: SINK not in self._ask("list", "short", "sources"), "the microphone does not go")

    def play(self, path: Path, wait: bool = True) -> float:
        """Plays a file into the microphone; returns `time.time()` just before it began."""
        before = time.time()
        # A second of it waits at the server: on a busy machine less would run dry, and silence be heard in the sound.
        patient = {**self.environment, "PULSE_LATENCY_MSEC": "1000"}
        player = subprocess.Popen(
            ["paplay", f"--device={SINK}", str(path)],
            env=patient, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._players.append(player)
        if wait:
            assert player.wait(60) == 0, f"paplay could not play {path}"
        return before

    def wait_for_listener(self) -> None:
        """Waits until somebody listens to the microphone, beside its clock, and hears it run."""
        wait_until(lambda: len(self._ask("list", "short", "source-outputs").splitlines()) >= 2, "nobody listens", 30)
        time.sleep(0.5)  # the first blocks are on their way

    def kill_server(self) -> None:
        """The sound server dies, and the microphone with it; `start` brings both back."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None
        self._stop_clock()

    def stop(self) -> None:
        """Leaves no process behind."""
        for player in self._players:
            player.kill()
            player.wait()
        self._players.clear()
        self.kill_server()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.kill()
            self._clock.wait()
            self._clock = None

    def _answers(self) -> bool:
        assert self._daemon is not None
        assert self._daemon.poll() is None, (self.folder / "log").read_text()
        return subprocess.run(["pactl", "info"], env=self.environment, capture_output=True).returncode == 0

    def _ask(self, *words: str) -> str:
        done = subprocess.run(["pactl", *words], env=self.environment, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, f"pactl {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()


@contextmanager
def running_pulse() -> Iterator[Pulse]:
    """A microphone for as long as the block lasts; skips the test where PulseAudio or its ALSA plugin is missing."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing or not _has_alsa_plugin():
        pytest.skip("needs pulseaudio, pulseaudio-utils, libasound2-plugins and libportaudio2")
    folder = Path(tempfile.mkdtemp(prefix="pulse-"))
    pulse = Pulse(folder)
    try:
        pulse.start()
        yield pulse
    finally:
        pulse.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    """See `Pulse`. Import it into the test module that uses it."""
    with running_pulse() as running:
        yield running


def wait_until(condition: Callable[[], bool], otherwise: str, seconds: float = 10.0) -> None:
    """Waits for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def _has_alsa_plugin() -> bool:
    return any(Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so"))
