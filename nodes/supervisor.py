"""The supervisor: starts the nodes of a run, watches them, starts again what dies or hangs, and ends them in order.

`plan` lists the nodes of a run, in the order of the flow. Nodes are children, `python -m earwitness.nodes.NAME`, known
by name alone: nothing of theirs is imported here. A child that is started again gets the ledger that it left behind.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal

import msgspec

from ..stream.bus import Publisher, ZmqBus
from ..stream.config import Config
from ..stream.keys import load_keys
from ..stream.messages import Alarm, Health, LedgerRow, topic_of
from ..stream.sources.source import OWN_PROCESS, source_specs
from .marks import Marks, make_marks
from .node import EndRun, Failed, Job, Ready, Report
from .socket_folder import socket_folder
from .systemd import notify, watchdog_interval_s

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 5.0


@dataclass(frozen=True)
class Part:
    """One node of a run: its unique name, its module, and which part of the run is its own."""

    name: str
    node: str
    part: str = ""


def plan(config: Config) -> list[Part]:
    """The nodes of a run, in the order of the flow. A device, or a network stream, has a capture process of its own."""
    sources = source_specs(config.source_settings)
    devices = [source.name for source in sources if source.kind in OWN_PROCESS]
    others = len(devices) < len(sources)
    models = [model.bundle for model in config.model_settings]
    parts = [Part("broker", "broker")]
    if others:
        parts.append(Part("capture", "capture"))
    parts += [Part(f"capture-{name}", "capture", name) for name in devices]
    parts.append(Part("features", "features"))
    if len(models) == 1:
        parts.append(Part("classify", "classify", models[0]))
    else:
        parts += [Part(f"classify-{number}", "classify", bundle) for number, bundle in enumerate(models, 1)]
    if config.clips:
        parts.append(Part("recorder", "recorder"))
    parts.append(Part("monitor", "monitor"))
    return [part for part in parts if not config.only or part.node in config.only]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the exit code, one line why when it is not 0, and the last ledger of every node."""

    code: int
    reason: str
    ledger: tuple[LedgerRow, ...]


def supervise(config: Config, log: Callable[[str], None]) -> Outcome:
    """Runs a configuration until its sources have ended, a signal comes or a node fails for good.

    `log` takes lines about restarts. Raises EarwitnessError when the bus cannot be set up.
    """
    if config.bus.address:
        return _Run(config, log).run()
    with socket_folder() as folder:
        bus = msgspec.structs.replace(config.bus, address=f"ipc://{folder}")
        return _Run(msgspec.structs.replace(config, bus=bus), log).run()


@dataclass
class _Child:
    part: Part
    process: subprocess.Popen[bytes] | None = None
    control: socket.socket | None = None
    buffer: bytes = b""
    ready: bool = False
    was_ready: bool = False
    stopping: bool = False
    done: bool = False
    begun: float = 0.0
    sign_of_life: float = 0.0
    start_at: float = 0.0
    deaths: deque[float] = field(default_factory=deque)
    failed: Failed | None = None
    rows: tuple[LedgerRow, ...] = ()  # as it last told them
    marks: Marks | None = None

    def ledger(self) -> tuple[LedgerRow, ...]:
        """What this node had accounted for when it was last heard."""
        rows = {(row.stream, row.epoch): row for row in self.rows}
        for mark in self.marks.read() if self.marks else ():
            key = mark.stream, mark.epoch
            row = rows.get(key) or LedgerRow(
                stream=mark.stream, epoch=mark.epoch, place="capture", rate=mark.rate, received=0, lost={},
                next_sample=0, ended=False, final=False,
            )  # fmt: skip
            if mark.end_sample > row.next_sample and not row.ended:
                received = row.received + mark.end_sample - row.next_sample
                row = msgspec.structs.replace(row, received=received, next_sample=mark.end_sample)
            rows[key] = row
        return tuple(rows.values())


class _Run:
    """One run: a single loop over the children's sockets and the signals."""

    def __init__(self, config: Config, log: Callable[[str], None]):
        self.config, self.log = config, log
        self.children = [_Child(part) for part in plan(config)]
        self._selector = selectors.DefaultSelector()
        self._decoder = msgspec.json.Decoder(Report)
        self._publisher: Publisher | None = None
        self._stop_deadline: float | None = None
        self._code, self._reason = 0, ""
        self._streams = {source.name for source in source_specs(config.source_settings)}
        self._watchdog_due = 0.0
        self._told_ready = False

    def run(self) -> Outcome:
        with _Signals() as signals:
            self._selector.register(signals.wakeup, selectors.EVENT_READ, None)
            try:
                while not all(child.done for child in self.children):
                    self._start_what_is_due()
                    self._listen(0.1)
                    for _ in range(signals.take()):
                        self._asked_to_stop()
                    self._watch()
                    self._end_if_complete()
                    self._stop_in_order()
                    self._tell_systemd()
            finally:
                for child in self.children:
                    self._kill(child)
                self._selector.close()
                if self._publisher is not None:
                    self._publisher.close()
        return Outcome(self._code, self._reason, tuple(row for child in self.children for row in child.ledger()))

    # ---- starting

    def _start_what_is_due(self) -> None:
        """The broker first, then those that listen, then capture: nothing is published before all can hear it."""
        if self._stop_deadline is not None:
            return
        now = time.monotonic()
        for phase in (("broker",), ("features", "classify", "recorder", "monitor"), ("capture",)):
            members = [child for child in self.children if child.part.node in phase]
            for child in members:
                if child.process is None and not child.done and now >= child.start_at:
                    self._start(child)
            if not all(child.was_ready for child in members):
                return
        if self._publisher is None:
            bus = self.config.bus
            self._publisher = ZmqBus(bus.address, load_keys(Path(bus.keys)) if bus.keys else None).publisher()

    def _start(self, child: _Child) -> None:
        ours, theirs = socket.socketpair()
        child.rows = child.ledger()
        marks = make_marks(len(self._streams)) if child.part.node == "capture" else -1
        job = Job(
            node=child.part.name, part=child.part.part, config=self.config, ledger=child.rows, marks=marks
        )
        reads_stdin = child.part.node == "capture" and not child.part.part
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
        child.process = subprocess.Popen(
            [sys.executable, "-m", f"earwitness.nodes.{child.part.node}", str(theirs.fileno())],
            pass_fds=[theirs.fileno(), *([marks] if marks >= 0 else [])],
            stdin=None if reads_stdin else subprocess.DEVNULL,
            stdout=None if child.part.node == "monitor" else 2,  # results alone go to standard output
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone
        )
        theirs.close()
        if child.marks is not None:
            child.marks.close()
            child.marks = None
        if marks >= 0:
            child.marks = Marks(marks)
            os.close(marks)
        ours.sendall(msgspec.json.encode(job) + b"\n")
        ours.setblocking(False)
        child.control, child.buffer, child.ready, child.failed = ours, b"", False, None
        child.begun = child.sign_of_life = time.monotonic()
        self._selector.register(ours, selectors.EVENT_READ, child)

    # ---- listening

    def _listen(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                continue
            self._read(key.data)

    def _read(self, child: _Child) -> None:
        assert child.control is not None
        try:
            data = child.control.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone(child)
            return
        child.sign_of_life = time.monotonic()
        *lines, child.buffer = (child.buffer + data).split(b"\n")
        for line in lines:
            self._take(child, self._decoder.decode(line))

    def _take(self, child: _Child, report: Report) -> None:
        match report:
            case Ready():
                if child.was_ready:
                    self._alarm(child, "cleared", f"{child.part.name} is back")
                child.ready = child.was_ready = True
            case Health():
                child.rows = report.ledger
            case Failed():
                child.failed = report
            case EndRun():
                self._begin_stop(0, report.reason)

    # ---- watching

    def _watch(self) -> None:
        now = time.monotonic()
        settings = self.config.supervisor
        for child in self.children:
            if child.process is None or child.done:
                continue
            silent = now - child.sign_of_life
            if child.process.poll() is not None:
                while child.process is not None:
                    self._read(child)  # what it said last, then its end
            elif not child.ready and now - child.begun > settings.start_s:
                self.log(f"{child.part.name} is not ready after {settings.start_s:g} s: killed")
                self._gone(child)
            elif child.ready and silent > settings.hang_s and self._stop_deadline is None:
                self.log(f"{child.part.name} gave no sign of life for {silent:.1f} s: killed")
                self._gone(child)

    def _gone(self, child: _Child) -> None:
        """A child has ended, or is ended here: is that right, can it be mended, or is it started again?"""
        code = self._kill(child)
        name, settings = child.part.name, self.config.supervisor
        if child.stopping:
            child.done = True
            return
        text = child.failed.text if child.failed else f"ended with code {code}" if code >= 0 else _signal_name(-code)
        if child.failed and child.failed.mendable and not child.was_ready:
            child.done = True
            self._begin_stop(2, text)
            return
        now = time.monotonic()
        child.deaths.append(now)
        while child.deaths and now - child.deaths[0] > settings.failures_s:
            child.deaths.popleft()
        if len(child.deaths) >= settings.failures:
            child.done = True
            self._begin_stop(
                1, f"{name} failed {len(child.deaths)} times in {settings.failures_s:g} s, the last time: {text}"
            )
            return
        if self._stop_deadline is not None:
            child.done = True
            return
        delay = 0.0 if len(child.deaths) == 1 else FIRST_BACKOFF_S * 2 ** (len(child.deaths) - 2)
        child.start_at = now + min(delay, LONGEST_BACKOFF_S)
        self._alarm(child, "raised", f"{name} died ({text}); it is started again")

    def _kill(self, child: _Child) -> int:
        if child.process is None:
            return 0
        try:
            # Its socket closes a moment before it exits: a child that ended by itself keeps its own code.
            child.process.wait(0.5 if child.failed or child.stopping else 0.05)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        if child.control is not None:
            self._selector.unregister(child.control)
            child.control.close()
        code = child.process.returncode
        child.process, child.control, child.ready = None, None, False
        return code

    # ---- ending

    def _asked_to_stop(self) -> None:
        if self._stop_deadline is None:
            self._begin_stop(0, "")
        else:  # the second Ctrl-C
            self._stop_deadline = time.monotonic()

    def _begin_stop(self, code: int, reason: str) -> None:
        if self._stop_deadline is None:
            self._stop_deadline = time.monotonic() + self.config.supervisor.stop_s - 0.5
            notify("STOPPING=1")
            self._code, self._reason = code, reason
        elif code and not self._code:
            self._code, self._reason = code, reason

    def _end_if_complete(self) -> None:
        """A run of files ends by itself, when every stream's last epoch has ended at every place."""
        if self._stop_deadline is None and self._streams and self._ended(self._of("capture"), self._streams):
            places = self._of("features", "classify", "recorder")
            if all(self._ended([child], self._streams) for child in places):
                self._begin_stop(0, "")

    def _stop_in_order(self) -> None:
        """Asks the nodes to stop, each when those before it in the flow are done and it has heard the end of all."""
        if self._stop_deadline is None:
            return
        if time.monotonic() >= self._stop_deadline:
            for child in self.children:
                if not child.done:
                    if child.process is not None:
                        self.log(f"{child.part.name} did not stop in time: killed")
                        child.process.kill()
                    self._kill(child)
                    child.done = True
            return
        order = [*self.children[1:], self.children[0]] if self.children[0].part.node == "broker" else self.children
        for child in order:
            if child.done:
                continue
            if child.process is None:
                child.done = True
                continue
            if not child.stopping and self._has_heard_all(child):
                child.stopping = True
                if child.control is not None:
                    with contextlib.suppress(OSError):
                        child.control.sendall(b"stop\n")
            if child.part.node != "capture":
                return  # the next ones wait for this one; captures stop side by side

    def _has_heard_all(self, child: _Child) -> bool:
        if child.part.node not in ("features", "classify", "recorder") or not child.ready:
            return True
        captured = {
            (row.stream, row.epoch) for capture in self._of("capture") for row in capture.ledger() if row.ended
        }
        here = {(row.stream, row.epoch) for row in child.ledger() if row.ended}
        folded = {row.stream for row in child.ledger() if row.epoch == 0}
        return all(key in here or key[0] in folded for key in captured)

    def _ended(self, children: Iterable[_Child], streams: set[str]) -> bool:
        return streams <= {row.stream for child in children for row in child.ledger() if row.final}

    def _of(self, *nodes: str) -> list[_Child]:
        return [child for child in self.children if child.part.node in nodes]

    # ---- telling

    def _alarm(self, child: _Child, state: Literal["raised", "cleared"], text: str) -> None:
        self.log(text)
        if self._publisher is not None:
            name = f"node-{child.part.name}"
            alarm = Alarm(node="supervisor", stream="", name=name, state=state, text=text, utc_ns=time.time_ns())
            self._publisher.send(topic_of("alarm", "supervisor"), alarm)

    def _tell_systemd(self) -> None:
        if not self._told_ready and all(child.was_ready for child in self.children):
            self._told_ready = True
            notify("READY=1")
        interval, now = watchdog_interval_s(), time.monotonic()
        if interval is not None and now >= self._watchdog_due:
            self._watchdog_due = now + interval
            notify("WATCHDOG=1")


class _Signals:
    """SIGINT and SIGTERM as bytes on a socket, so that the loop meets them between two steps, never inside one."""

    def __enter__(self) -> _Signals:
        self.wakeup, self._write = socket.socketpair()
        for end in (self.wakeup, self._write):
            end.setblocking(False)
        self._old = {number: signal.signal(number, _ignore) for number in (signal.SIGINT, signal.SIGTERM)}
        self._old_fd = signal.set_wakeup_fd(self._write.fileno())
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self.wakeup.close()
        self._write.close()

    def take(self) -> int:
        """How many signals came since the last call."""
        try:
            numbers = self.wakeup.recv(64)
        except BlockingIOError:
            return 0
        return sum(number in (signal.SIGINT, signal.SIGTERM) for number in numbers)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


def _signal_name(number: int) -> str:
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"
