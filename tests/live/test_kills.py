"""Nodes that die at the worst moments: the run still ends, with exit 0, and its books say what was lost."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
import soundfile

from earwitness.stream.sources.demo import RATE
from earwitness.tests.live.conftest import Start
from earwitness.tests.live.program import Program, alive, wait_until

NODES = 6


@pytest.fixture
def short(scene: Path, tmp_path: Path) -> Path:
    """Four seconds of the scene."""
    samples, rate = soundfile.read(scene, dtype="int16")
    soundfile.write(tmp_path / "short.wav", samples[: 4 * rate], rate, subtype="PCM_16")
    return tmp_path / "short.wav"


def assert_good_end(program: Program, within_s: float, samples: int | None = None) -> None:
    assert program.wait(within_s) == 0, program.told()
    lines = program.of("ledger")
    assert lines, program.told()
    for line in lines:
        assert line["balanced"], program.told()
        assert samples is None or line["samples"] == samples
    assert not any("Traceback" in line for line in program.errors), program.told()


@pytest.mark.parametrize("victims", [("recorder",), ("features", "classify")])
def test_an_end_that_dies_with_a_node_is_told_again(start: Start, short: Path, victims: tuple[str, ...]) -> None:
    program = start("--source", f"s={short}")
    program.wait_for(lambda: program.of("start"), what="no event")
    nodes = program.nodes()
    for victim in victims:
        os.kill(nodes[victim], signal.SIGSTOP)
    # The rest of the file, and its end, now lie in the queues of nodes that will never read them.
    time.sleep(4.0)
    for victim in victims:
        os.kill(nodes[victim], signal.SIGKILL)
    assert_good_end(program, 25, samples=4 * RATE)
    assert set(program.of("ledger")[0]["lost"]) <= {"restart", "transport"}


def test_five_kills_in_a_row(start: Start, scene: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[supervisor]\nfailures = 100\n")
    program = start("--source", f"s={scene}", "--config", config)
    program.wait_for(lambda: len(program.nodes()) == NODES, what="not all nodes are there")
    dice = random.Random(5)
    for _ in range(5):
        time.sleep(dice.uniform(0.0, 1.5))  # while they play, and while they start
        name, pid = dice.choice(sorted(program.nodes().items()))
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not alive(pid), 5, f"{name} is still there")
    assert_good_end(program, 40, samples=10 * RATE)
    for clip in (tmp_path / "out").rglob("*.flac"):
        soundfile.read(clip)


@pytest.mark.parametrize("victim", ["broker", "features"])
def test_a_stop_right_after_a_kill_is_clean(start: Start, scene: Path, victim: str) -> None:
    program = start("--source", f"s={scene}")
    program.wait_for(lambda: program.of("start"), what="no event")
    os.kill(program.nodes()[victim], signal.SIGKILL)
    program.interrupt()
    assert_good_end(program, 6)


def test_a_recorder_that_stands_still_holds_a_fast_file_back_and_loses_nothing(start: Start, scene: Path) -> None:
    program = start("--source", f"s={scene}", "--pace", "max")
    victim = program.wait_for(lambda: program.nodes().get("recorder"), what="no recorder")
    program.wait_for(lambda: program.of("start") or program.process.poll() is not None, what="no event")
    if program.process.poll() is None:
        os.kill(victim, signal.SIGSTOP)
        time.sleep(2.0)
        os.kill(victim, signal.SIGCONT)
    assert_good_end(program, 30, samples=10 * RATE)
    assert program.of("ledger")[0]["lost"] == {}


class TestStop:
    @pytest.mark.parametrize(("number", "nodes"), [(signal.SIGTERM, 1), (signal.SIGHUP, 3), (signal.SIGINT, 4)])
    def test_while_it_still_starts(self, start: Start, scene: Path, number: int, nodes: int) -> None:
        program = start("--source", f"s={scene}")
        program.wait_for(lambda: len(program.nodes()) >= nodes, what="nothing starts")
        program.process.send_signal(number)
        assert program.wait(6) == 0, program.told()
        assert not any("Traceback" in line for line in program.errors), program.told()

    def test_twice_is_at_once(self, start: Start, scene: Path) -> None:
        program = start("--source", f"s={scene}")
        program.wait_for(lambda: program.of("start"), what="no event")
        os.kill(program.nodes()["features"], signal.SIGSTOP)
        program.interrupt()
        time.sleep(0.5)
        program.interrupt()
        assert program.wait(2) == 1, program.told()
        assert any("did not stop in time" in line for line in program.errors), program.told()

    def test_a_closed_terminal_ends_it_cleanly_though_nobody_reads(self, start: Start, scene: Path) -> None:
        program = start("--source", f"s={scene}")
        program.wait_for(lambda: program.of("start"), what="no event")
        program.process.send_signal(signal.SIGHUP)
        program.process.send_signal(signal.SIGHUP)
        assert_good_end(program, 6)


def test_two_models_hear_side_by_side(start: Start, scene: Path) -> None:
    two = start("--source", f"s={scene}", "--pace", "max", "--model", "esc50-cnn", "--model", "esc10-cnn", out="two")
    assert_good_end(two, 60, samples=10 * RATE)
    by_model = {line["model"].partition("@")[0] for line in two.of("start")}
    assert by_model == {"esc50-cnn", "esc10-cnn"}
    places = two.of("ledger")[0]["places"]
    assert len([place for place in places if place.startswith("classify ")]) == 2
    assert {line["id"] for line in two.of("start")} == {line["id"] for line in two.of("end")}


def test_a_host_that_stops_while_the_capture_of_another_goes_on(start: Start, scene: Path, tmp_path: Path) -> None:
    bus = tmp_path / "bus"
    bus.mkdir(mode=0o700)
    here = start("--bus", f"ipc://{bus}", "--only", "broker,features,classify,recorder,monitor", out="here")
    there = start("--bus", f"ipc://{bus}", "--only", "capture", "--source", f"s={scene}", out="there")
    here.wait_for(lambda: here.of("start"), what="no event")
    here.interrupt()
    assert_good_end(here, 6)
    there.interrupt()
    assert_good_end(there, 6)
