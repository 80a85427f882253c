"""Several features processes: the events that one gives, and the death of one is the matter of its own streams."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from earwitness.stream.shares import Share
from earwitness.stream.sources.demo import RATE
from earwitness.tests.live.conftest import Start
from earwitness.tests.live.program import essence

NAMES = ("attic", "gate", "hall", "yard")


def sources(scene: Path) -> list[str]:
    return [word for name in NAMES for word in ("--source", f"{name}={scene}")]


def test_two_workers_give_the_events_of_one(start: Start, scene: Path) -> None:
    told = []
    for workers in ("1", "2"):
        program = start(*sources(scene), "--pace", "max", "--no-clips", "--workers", workers, out=workers)
        assert program.wait() == 0, program.told()
        ledger = {line["stream"]: line for line in program.of("ledger")}
        assert sorted(ledger) == list(NAMES)
        for line in ledger.values():
            assert line["balanced"], program.told()
            assert (line["samples"], line["lost"]) == (10 * RATE, {})
        told.append(essence(program.lines))
    assert told[0]
    assert told[0] == told[1]


def test_hosts_that_may_bring_streams_along_share_them_too(start: Start, scene: Path, tmp_path: Path) -> None:
    bus = tmp_path / "bus"
    bus.mkdir(mode=0o700)
    program = start(*sources(scene), "--pace", "max", "--no-clips", "--workers", "2", "--bus", f"ipc://{bus}")
    assert program.wait() == 0, program.told()
    ledger = program.of("ledger")
    assert len(ledger) == len(NAMES)
    assert all(line["balanced"] and line["lost"] == {} for line in ledger), program.told()


def test_a_killed_worker_costs_its_own_streams_and_no_other(start: Start, scene: Path) -> None:
    program = start(*sources(scene), "--workers", "2")
    program.wait_for(lambda: len({line["stream"] for line in program.of("start")}) == len(NAMES), what="no events")
    first = program.processes()["features"][0]
    os.kill(first, signal.SIGKILL)
    program.wait_for(lambda: len({*program.processes().get("features", []), first}) == 3, 3, "it is not back")
    assert program.wait(30) == 0, program.told()
    own = {name for name in NAMES if Share(1, 2, NAMES).takes(name)}
    ledger = {line["stream"]: line for line in program.of("ledger")}
    assert sorted(ledger) == list(NAMES)
    for name, line in ledger.items():
        assert line["balanced"], program.told()
        assert line["samples"] == 10 * RATE
        assert set(line["lost"]) == ({"restart"} if name in own else set()), program.told()
    assert {line["stream"] for line in program.of("gap")} == own


def test_ctrl_c_stops_all_workers_and_the_books_are_closed(start: Start, scene: Path) -> None:
    program = start(*sources(scene), "--workers", "3")
    program.wait_for(lambda: program.of("start"), what="no event")
    program.interrupt()
    assert program.wait(6) == 0, program.told()
    ledger = program.of("ledger")
    assert len(ledger) == len(NAMES)
    assert all(line["balanced"] and line["lost"] == {} for line in ledger), program.told()


def test_a_stop_right_after_a_worker_died_is_clean(start: Start, scene: Path) -> None:
    program = start(*sources(scene), "--workers", "2")
    program.wait_for(lambda: program.of("start"), what="no event")
    os.kill(program.processes()["features"][1], signal.SIGKILL)
    program.interrupt()
    assert program.wait(6) == 0, program.told()
    assert all(line["balanced"] for line in program.of("ledger")), program.told()
