"""What every node has in common: its life as a child process, its loop, its counts and its sign of life.

A node is a class with `handle`, `tick` and `finish`, tested on the in-memory bus without any of this. `run_node` makes
it a process: the supervisor hands over one end of a socket pair, on which it writes a `Job`, later "stop", and a list
of `Ended` where these were lost on the way; and from which it reads one JSON line a `Ready`, `Health`, `Failed` or
`EndRun`. When that socket closes, whoever is left alone ends.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from ..stream.bus import Latest, Lossless, Publisher, Subscriber, ZmqBus
from ..stream.config import Config
from ..stream.errors import EarwitnessError
from ..stream.keys import load_keys
from ..stream.messages import Alarm, Ended, Health, LedgerRow, topic_of
from ..stream.wire import Envelope
from .marks import Mark, Marks

HEARTBEAT_S = 0.5
LOOK_S = 0.02  # how often a busy node looks whether it shall stop
DRAIN_S = 1.0  # how long a node that stops takes in what still comes: from another host that may be without end


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells a child: who it is, what the run is, and what its predecessor had accounted for."""

    node: str  # "features", "capture-kitchen": unique in the run
    part: str = ""  # what of the run is this node's, as `plan` wrote it; "" for all
    streams: tuple[str, ...] = ()  # all that the run has, where these are known beforehand
    config: Config
    ledger: tuple[LedgerRow, ...] = ()
    marks: int = -1  # the descriptor of the memory for marks; -1: none


class Ready(msgspec.Struct, frozen=True, tag_field="kind", tag="ready"):
    """The node is connected, its subscriptions are in place."""


class Failed(msgspec.Struct, frozen=True, tag_field="kind", tag="failed"):
    """The node cannot go on; `mendable` when a person can mend it and a restart cannot."""

    text: str
    mendable: bool


class EndRun(msgspec.Struct, frozen=True, tag_field="kind", tag="end-run"):
    """The node asks for a clean end of the whole run, as when nobody reads the output any more."""

    reason: str


Report = Ready | Failed | EndRun | Health


class Node:
    """The base of all nodes. Subclasses say what they subscribe to, and do their work in the three methods below."""

    lossless: ClassVar[tuple[str, ...]] = ()
    latest: ClassVar[tuple[str, ...]] = ()
    at_most: ClassVar[int] = 256  # messages of a channel at one call of `handle`

    def __init__(self, job: Job, publisher: Publisher):
        self.job, self.config, self.name = job, job.config, job.node
        self.publisher = publisher
        self.counts: Counter[str] = Counter()
        self.stopping = False
        self.ignores: Callable[[str], bool] | None = None  # of what topics messages are dropped before they are decoded
        self.held: frozenset[str] = frozenset()  # channels that are not to be read now, so that their flow waits
        self.while_waiting: Callable[[], bool] = lambda: False  # to be called by whatever waits for room on the bus
        self.report: Callable[[Report], None] = lambda report: None  # to the supervisor
        self.mark: Callable[[Mark], None] = lambda mark: None  # for the supervisor, should this node be killed
        self.news = False  # an epoch began or ended: the next sign of life, with the ledger, must not wait
        self._delays: dict[str, deque[float]] = {}
        self._alarms: dict[tuple[str, str], str] = {}
        self._unsent: deque[Alarm] = deque(maxlen=1000)
        self._born = time.monotonic()

    # ---- for subclasses

    def subscriptions(self) -> tuple[Iterable[str], Iterable[str]]:
        """The lossless and the latest topics, as prefixes."""
        return self.lossless, self.latest

    def followed(self) -> frozenset[str]:
        """Latest topics that are wanted now, beside those of `subscriptions` and on one of their channels."""
        return frozenset()

    def handle(self, envelopes: list[Envelope]) -> None:
        """Takes all that arrived since the last call."""

    def tick(self) -> float:
        """Does what time asks for; called at least every `wait` seconds, which it returns."""
        return HEARTBEAT_S

    def finish(self) -> None:
        """The last call: writes and sends what is still held."""

    def ledger_rows(self) -> tuple[LedgerRow, ...]:
        """What this node accounts for."""
        return ()

    # ---- for all

    def delay(self, stage: str, seconds: float) -> None:
        """Notes how long a stage took; the health message carries the percentiles."""
        self._delays.setdefault(stage, deque(maxlen=1000)).append(seconds * 1000)

    def alarm(self, name: str, text: str, stream: str = "") -> None:
        """Raises an alarm once, until it is cleared; told again when its text changes."""
        if self._alarms.get((name, stream)) != text:
            self._alarms[name, stream] = text
            self._tell(name, "raised", text, stream)

    def clear_alarm(self, name: str, text: str, stream: str = "") -> None:
        """Clears an alarm that was raised; nothing otherwise."""
        if self._alarms.pop((name, stream), None) is not None:
            self._tell(name, "cleared", text, stream)

    def health(self) -> Health:
        """The counts as they stand."""
        delays, self._delays = self._delays, {}
        return Health(
            node=self.name,
            pid=os.getpid(),
            uptime_s=time.monotonic() - self._born,
            rss_bytes=resident_bytes(),
            cpu_s=time.process_time(),
            counts=dict(self.counts),
            delays_ms={stage: _percentiles(values) for stage, values in delays.items()},
            ledger=self.ledger_rows(),
        )

    def send_alarms(self) -> None:
        """Sends alarms that were raised; one that does not fit is kept and tried again."""
        while self._unsent and self.publisher.send(topic_of("alarm", self.name), self._unsent[0]):
            self._unsent.popleft()

    def _tell(self, name: str, state: Literal["raised", "cleared"], text: str, stream: str) -> None:
        self._unsent.append(
            Alarm(node=self.name, stream=stream, name=name, state=state, text=text, utc_ns=time.time_ns())
        )
        self.send_alarms()


def run_node(kind: type[Node]) -> None:
    """The `main` of every node module. Exits 0 after a clean stop, 2 when a person has to mend something."""
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        raise SystemExit("this is a child of `earwitness run`, which starts it with the number of a socket")
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which stops its children in order
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)  # whatever a library starts must not keep it open
    control = Control(connection)
    try:
        _live(kind, control.receive_job(), control)
    except EarwitnessError as error:
        control.send(Failed(str(error), mendable=True))
        raise SystemExit(2) from None
    except SupervisorGone:
        os._exit(1)
    except Exception as error:
        with suppress(SupervisorGone):
            control.send(Failed(f"{type(error).__name__}: {error}", mendable=False))
        traceback.print_exc()
        raise SystemExit(1) from None


def _live(node_kind: type[Node], job: Job, control: Control) -> None:
    keys = load_keys(Path(job.config.bus.keys)) if job.config.bus.keys else None
    bus = ZmqBus(job.config.bus.address, keys)
    if keys is not None and keys.server_secret is None:
        bus.join()  # the broker stands elsewhere, and may refuse these keys
    publisher = bus.publisher()
    node = node_kind(job, publisher)
    lossless, latest = node.subscriptions()
    connected = [kind(bus, topics) for kind, topics in ((Lossless, lossless), (Latest, latest)) if topics]
    for link in connected:
        link.ignores = node.ignores
        while not link.synchronise(0.5):
            control.check()
    subscribers: list[Subscriber] = [*connected]
    heart = _Heart(node, control, subscribers)
    node.while_waiting, node.report = heart.while_waiting, control.send
    if job.marks >= 0:
        node.mark = Marks(job.marks).put
    control.send(Ready())
    wait = 0.0
    while not control.stop_asked:
        idle = True
        for index, subscriber in enumerate(subscribers):
            subscriber.hold(node.held)
            if isinstance(subscriber, Latest):
                subscriber.follow(node.followed())
            if envelopes := subscriber.receive(wait if index == 0 else 0.0, node.at_most):
                node.handle(envelopes)
                idle = False
        if control.ends and idle and not node.held:  # behind all that came by the bus
            node.handle([Envelope(topic_of("audio", end.stream), 0, 0, end, memoryview(b"")) for end in control.ends])
            control.ends.clear()
        if not subscribers and wait > 0:
            control.wait(wait)
        wait = min(HEARTBEAT_S, node.tick())
        heart.beat_if_due()
    node.stopping = True
    deadline = time.monotonic() + DRAIN_S
    for subscriber in subscribers:
        subscriber.hold(())
        while time.monotonic() < deadline and (envelopes := subscriber.receive(0.02, node.at_most)):
            node.handle(envelopes)
            heart.beat_if_due()
    node.finish()
    heart.beat()
    for subscriber in subscribers:
        subscriber.close()
    publisher.close()


class _Heart:
    """Tells the supervisor and the bus that the node lives, from its loop, so that a loop that hangs shows."""

    def __init__(self, node: Node, control: Control, subscribers: list[Subscriber]):
        self._node, self._control, self._subscribers = node, control, subscribers
        self._due = self._look = self._stopping_since = 0.0

    def beat_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._look:  # not at every message: looking costs as much as passing one on
            self._look = now + LOOK_S
            self._node.stopping = self._control.check()
        if self._node.news or now >= self._due:
            self.beat()

    def while_waiting(self) -> bool:
        """For a send that waits for room: the node lives on while others hold it back. Gives up only in the end."""
        self.beat_if_due()
        if not self._node.stopping:
            return False
        self._stopping_since = self._stopping_since or time.monotonic()
        return time.monotonic() - self._stopping_since > self._node.config.supervisor.stop_s / 2

    def beat(self) -> None:
        self._due = time.monotonic() + HEARTBEAT_S
        self._node.news = False
        counts = self._node.counts
        counts["malformed"] = sum(subscriber.malformed for subscriber in self._subscribers)
        for topic in {topic for subscriber in self._subscribers for topic in subscriber.missed}:
            counts[f"missed_{topic}"] = sum(subscriber.missed[topic] for subscriber in self._subscribers)
        health = self._node.health()
        self._control.send(health)
        self._node.publisher.send(topic_of("health", self._node.name), health)
        self._node.send_alarms()


class SupervisorGone(Exception):
    """The other end of the control socket is closed."""


class Control:
    """One end of the socket pair between the supervisor and a child: a JSON object a line, both ways."""

    def __init__(self, connection: socket.socket):
        self._socket = connection
        self._buffer = b""
        self.stop_asked = False
        self.ends: list[Ended] = []  # what the supervisor says that was lost on the way

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive_job(self) -> Job:
        """Waits for the first line."""
        self._socket.setblocking(True)
        while b"\n" not in self._buffer:
            self._read()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return msgspec.json.decode(line, type=Job)

    def send(self, report: Report) -> None:
        """One report to the supervisor."""
        try:
            self._socket.setblocking(True)
            self._socket.sendall(msgspec.json.encode(report) + b"\n")
        except OSError:
            raise SupervisorGone from None

    def check(self) -> bool:
        """Whether the supervisor asked to stop. Raises SupervisorGone."""
        if select.select([self._socket], [], [], 0)[0]:
            self._read()
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            if line == b"stop":
                self.stop_asked = True
            else:
                self.ends += msgspec.json.decode(line, type=list[Ended])
        return self.stop_asked

    def wait(self, seconds: float) -> None:
        """Sleeps until the supervisor says something, at most this long."""
        select.select([self._socket], [], [], seconds)

    def _read(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise SupervisorGone
        self._buffer += data


def die_with_parent() -> None:
    """Asks Linux to kill this process when its parent dies, however that dies (prctl PR_SET_PDEATHSIG)."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def resident_bytes() -> int:
    """The resident set size of this process; 0 where /proc is not there."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _percentiles(values: Iterable[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
