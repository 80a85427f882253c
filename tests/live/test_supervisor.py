"""Nodes that die, hang, or are orphaned: the run goes on, what is lost is named, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import soundfile

from earwitness.tests.live.conftest import Start
from earwitness.tests.live.program import alive, essence, wait_until

NODES = ("broker", "capture", "features", "classify", "recorder", "monitor")


@pytest.mark.parametrize("node", NODES)
def test_a_killed_node_is_back_within_three_seconds_and_the_loss_is_named(
    start: Start, scene: Path, node: str, tmp_path: Path
) -> None:
    program = start("--source", f"s={scene}")
    before = program.wait_for(lambda: program.of("start"), what="no event")[0]
    victim = program.nodes()[node]
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    program.wait_for(
        lambda: program.nodes().get(node, victim) != victim and len(program.nodes()) == len(NODES),
        3,
        f"{node} is not back",
    )
    assert program.wait(30) == 0, program.told()
    assert time.monotonic() - killed > 1  # the rest of the file was played
    for line in program.of("ledger"):
        assert line["balanced"], program.told()
        assert set(line["lost"]) <= {"restart", "transport"}, program.told()
    for clip in (tmp_path / "out").rglob("*.flac"):
        soundfile.read(clip)
    undisturbed = start("--source", f"s={scene}", "--pace", "max", "--no-clips", out="undisturbed")
    assert undisturbed.wait() == 0, undisturbed.told()
    if node in ("capture", "recorder"):
        assert essence(program.lines) == essence(undisturbed.lines)
    first = undisturbed.of("start")[0]
    assert (first["label"], first["onset_sample"]) == (before["label"], before["onset_sample"])
    assert {line["label"] for line in undisturbed.of("start")[2:]} <= {line["label"] for line in program.of("start")}


def test_a_node_that_hangs_is_killed_and_started_again(start: Start, scene: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[supervisor]\nhang_s = 1.5\n")
    program = start("--source", f"s={scene}", "--config", config)
    program.wait_for(lambda: program.of("start"), what="no event")
    victim = program.nodes()["features"]
    os.kill(victim, signal.SIGSTOP)
    program.wait_for(lambda: program.nodes().get("features", victim) != victim, 8, "features is not back")
    assert not alive(victim)
    assert program.wait(30) == 0, program.told()


def test_nothing_remains_of_a_run_whose_supervisor_is_killed(start: Start, scene: Path) -> None:
    program = start("--source", f"s={scene}")
    program.wait_for(lambda: program.of("start"), what="no event")
    children = list(program.nodes().values())
    assert len(children) == len(NODES)
    program.process.kill()
    for pid in children:
        wait_until(lambda pid=pid: not alive(pid), 5, f"{pid} outlived its supervisor")


def test_a_node_that_keeps_dying_is_given_up_with_a_reason(start: Start, scene: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[supervisor]\nfailures = 2\n")
    program = start("--source", f"s={scene}", "--config", config)
    program.wait_for(lambda: program.of("start"), what="no event")
    for _ in range(2):
        victim = program.wait_for(lambda: program.nodes().get("recorder"), what="no recorder")
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda victim=victim: not alive(victim), 5, "still there")
    assert program.wait(10) == 1, program.told()
    assert any("recorder failed 2 times in 60 s" in line for line in program.errors), program.told()
