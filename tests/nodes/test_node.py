"""A node as a process: how it begins, shows that it lives, ends, and never outlives whoever started it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from earwitness.nodes.node import HEARTBEAT_S, Failed, Job, Node, Ready, Report, resident_bytes
from earwitness.stream.bus import ZmqBus
from earwitness.stream.config import BusSettings, Config
from earwitness.stream.messages import Alarm, Ended, Health, LedgerRow
from earwitness.stream.testing import MemoryBus

TINY = Path(__file__).parent / "tiny_node.py"
Wait = Callable[..., None]


class Child:
    """A node in a process, and the supervisor's end of its socket."""

    def __init__(self, address: str, part: str = "", folder: Path | None = None):
        self.control, theirs = socket.socketpair()
        self.errors = Path(folder or address.removeprefix("ipc://")) / "errors.txt"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(TINY), str(theirs.fileno())], pass_fds=[theirs.fileno()], stderr=errors
            )
        theirs.close()
        self._buffer = b""
        self.tell(msgspec.json.encode(job(address, part)))

    def tell(self, line: bytes) -> None:
        self.control.sendall(line + b"\n")

    def report(self, within_s: float = 10.0) -> Report | None:
        """The next report; None when the child has closed its end."""
        self.control.settimeout(within_s)
        while b"\n" not in self._buffer:
            data = self.control.recv(1 << 16)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return msgspec.json.decode(line, type=Report)

    def until(self, kind: type, within_s: float = 10.0) -> Any:
        """The next report of this kind."""
        deadline = time.monotonic() + within_s
        while not isinstance(report := self.report(within_s), kind):
            assert report is not None, self.errors.read_text()
            assert time.monotonic() < deadline
        return report

    def last(self) -> list[Report]:
        """All that is reported until the child has gone."""
        reports = []
        while (report := self.report()) is not None:
            reports.append(report)
        return reports

    def close(self) -> None:
        self.control.close()
        self.process.kill()
        self.process.wait()


def job(address: str, part: str = "") -> Job:
    row = LedgerRow(
        stream="hall", epoch=1, place="tiny", rate=1, received=3, lost={}, next_sample=3, ended=False, final=False
    )
    return Job(node="tiny", part=part, config=Config(bus=BusSettings(address=address)), ledger=(row,))


def note(index: int) -> Ended:
    return Ended(stream="hall", epoch=1, end_sample=index, rate=1, reason="", final=False)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}"


@pytest.fixture
def start(address: str) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def starting(part: str = "") -> Child:
        children.append(Child(address, part))
        return children[-1]

    yield starting
    for child in children:
        child.close()


class TestLife:
    def test_it_is_ready_once_its_subscriptions_are_in_place(self, address: str, start: Any, serve: Any) -> None:
        child = start()
        with pytest.raises(TimeoutError):
            child.report(1.0)  # there is no broker yet
        with serve(address):
            assert child.report() == Ready()
            publisher = ZmqBus(address).publisher()
            assert publisher.send("audio/hall", note(1), wait=True)
            publisher.close()
            health = child.until(Health)
            while not health.counts.get("handled"):
                health = child.until(Health)

    def test_it_shows_that_it_lives_to_the_supervisor_and_on_the_bus(
        self, address: str, start: Any, serve: Any
    ) -> None:
        with serve(address):
            bus = ZmqBus(address)
            listener = bus.subscriber(["health/"], "latest")
            assert listener.synchronise()
            child = start()
            child.until(Ready)
            began = time.monotonic()
            reports = [child.until(Health) for _ in range(4)]
            assert 2 * HEARTBEAT_S < time.monotonic() - began < 8 * HEARTBEAT_S
            assert {health.pid for health in reports} == {child.process.pid}
            assert reports[0].node == "tiny"
            assert reports[-1].uptime_s > reports[0].uptime_s
            assert reports[-1].rss_bytes > 5e6
            assert reports[-1].cpu_s > 0
            heard = listener.receive(2.0)
            assert heard[0].topic == "health/tiny"
            listener.close()

    def test_a_stop_finishes_what_came_before_and_ends_with_0(self, address: str, start: Any, serve: Any) -> None:
        with serve(address):
            bus = ZmqBus(address)
            listener = bus.subscriber(["scores/"])
            assert listener.synchronise()
            child = start()
            child.until(Ready)
            publisher = bus.publisher()
            for index in range(200):
                assert publisher.send("audio/hall", note(index), wait=True)
            probe = bus.subscriber(["audio/"])
            assert probe.synchronise()  # so all of it has passed the broker
            child.tell(b"stop")
            got: list[int] = []
            while len(got) < 200:
                new = listener.receive(5.0)
                assert new
                got += [envelope.message.end_sample for envelope in new]  # type: ignore[attr-defined]
            last = child.last()[-1]
            assert isinstance(last, Health)
            assert last.counts == {"handled": 200, "finished": 1, "malformed": 0}
            assert child.process.wait(5) == 0
            assert child.errors.read_text() == ""
            for each in (publisher, probe, listener):
                each.close()

    def test_it_lives_on_while_others_hold_it_back(self, address: str, start: Any, serve: Any) -> None:
        with serve(address):
            child = start()
            child.until(Ready)
            publisher = ZmqBus(address).publisher()
            assert publisher.send("audio/hall", note(1), wait=True)  # nobody listens to what it would repeat
            for _ in range(4):
                health = child.until(Health, within_s=2.0)
            assert health.counts["handled"] == 1
            publisher.close()

    def test_ctrl_c_and_sigterm_are_left_to_the_supervisor(self, address: str, start: Any, serve: Any) -> None:
        with serve(address):
            child = start()
            child.until(Ready)
            for number in (signal.SIGINT, signal.SIGTERM):
                child.process.send_signal(number)
            for _ in range(3):
                child.until(Health)
            child.tell(b"stop")
            assert child.process.wait(5) == 0

    def test_an_alarm_waits_for_somebody_who_listens(self, address: str, start: Any, serve: Any) -> None:
        with serve(address):
            child = start("alarm")
            child.until(Ready)
            child.until(Health)
            listener = ZmqBus(address).subscriber(["alarm/"])
            (envelope,) = listener.receive(5.0)
            assert isinstance(envelope.message, Alarm)
            assert envelope.message.text == "something small"
            listener.close()


class TestDeath:
    def test_what_a_person_can_mend_is_told_in_one_line_with_2(self, start: Any) -> None:
        child = start("mend")
        assert child.last() == [Failed("the tiny file is missing: did you mean 'tinny'?", mendable=True)]
        assert child.process.wait(5) == 2
        assert child.errors.read_text() == ""

    def test_a_bug_is_told_with_its_traceback_and_1(self, address: str, start: Any, serve: Any) -> None:
        with serve(address):
            child = start("crash")
            assert child.last()[-1] == Failed("RuntimeError: tiny crash", mendable=False)
            assert child.process.wait(5) == 1
            assert re.search(r"Traceback.*tiny_node\.py.*RuntimeError: tiny crash\n$", child.errors.read_text(), re.S)

    def test_when_the_supervisor_closes_its_end_the_node_goes(self, address: str, start: Any, serve: Any) -> None:
        with serve(address):
            child = start()
            child.until(Ready)
            child.control.close()
            assert child.process.wait(2) == 1

    def test_it_goes_too_while_it_still_looks_for_a_broker(self, start: Any) -> None:
        child = start()
        with pytest.raises(TimeoutError):
            child.report(0.5)
        child.control.close()
        assert child.process.wait(2) == 1

    @pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
    @pytest.mark.parametrize("part", ["", "hang"])
    def test_it_dies_with_a_parent_that_is_killed_whatever_it_is_doing(
        self, address: str, serve: Any, eventually: Wait, part: str
    ) -> None:
        """The supervisor's end of the socket stays open here, so nothing but the kernel can tell the node."""
        ours, theirs = socket.socketpair()
        code = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], close_fds=False)"
        with serve(address), ours:
            parent = subprocess.Popen(
                [sys.executable, "-c", code, str(TINY), str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
            theirs.close()
            try:
                ours.sendall(msgspec.json.encode(job(address, part)) + b"\n")
                ours.settimeout(10.0)
                assert ours.recv(1000).startswith(b'{"kind":"ready"}\n')
                children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
                (child,) = (int(pid) for pid in children)
                assert is_running(child)
            finally:
                parent.kill()
                parent.wait()
            eventually(lambda: not is_running(child), within_s=2.0)

    def test_started_by_hand_it_says_what_it_is(self) -> None:
        result = subprocess.run([sys.executable, str(TINY)], capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert result.stderr == "this is a child of `earwitness run`, which starts it with the number of a socket\n"


def is_running(pid: int) -> bool:
    """Neither gone nor a zombie that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestBase:
    def node(self, bus: MemoryBus) -> Node:
        return Node(job("ipc:///nowhere"), bus.publisher())

    def test_an_alarm_is_raised_once_told_again_when_it_changes_and_cleared_once(self) -> None:
        bus = MemoryBus()
        node = self.node(bus)
        for text in ("disk full", "disk full", "disk fuller"):
            node.alarm("disk-full", text, "hall")
        node.alarm("disk-full", "disk full", "attic")
        for _ in range(2):
            node.clear_alarm("disk-full", "room again", "hall")
        node.clear_alarm("device-gone", "back", "hall")
        said = [(each.stream, each.state, each.text) for each in bus.of(Alarm)]  # type: ignore[attr-defined]
        assert said == [
            ("hall", "raised", "disk full"),
            ("hall", "raised", "disk fuller"),
            ("attic", "raised", "disk full"),
            ("hall", "cleared", "room again"),
        ]

    def test_delays_are_told_as_percentiles_since_the_last_time(self) -> None:
        node = self.node(MemoryBus())
        for milliseconds in range(1, 101):
            node.delay("stage", milliseconds / 1000)
        node.delay("once", 0.007)
        assert node.health().delays_ms == {"stage": (51.0, 100.0), "once": (7.0, 7.0)}
        assert node.health().delays_ms == {}

    def test_the_counts_in_a_health_message_do_not_change_afterwards(self) -> None:
        node = self.node(MemoryBus())
        node.counts["things"] = 1
        before = node.health()
        node.counts["things"] = 2
        assert before.counts == {"things": 1}

    def test_the_memory_of_this_process_is_known(self) -> None:
        assert 10e6 < resident_bytes() < 10e9
