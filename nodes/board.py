"""What the screen shows: the state of a run as its messages tell it, bounded however long and wide the run is."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from dataclasses import dataclass, field

from ..stream.clock import seconds
from ..stream.messages import (
    Alarm,
    ClipSaved,
    Ended,
    EventEnd,
    EventStart,
    Gap,
    Health,
    LedgerRow,
    Level,
    Message,
    ScoreBlock,
    Spectrum,
)

FLOOR_DB = -120.0  # digital silence, and anything that is no number
MAX_STREAMS = 2000
MAX_EVENTS = 200
MAX_ALARMS = 100
MAX_NODES = 200
MAX_LABELS = 50
MAX_MODELS = 8
MAX_STAGES = 20
ENDED_STAYS_S = 60.0
SILENT_STAYS_S = 3600.0
PEAK_HOLDS_S = 1.5
PEAK_FALLS_DB_S = 20.0
CLIPPED_STAYS_S = 2.0
RECENT_HEALTH = 20  # half a second each
RECENT_SPECTRA = 300  # a tenth of a second each: more than most terminals are wide


@dataclass
class SpectrumView:
    """The last spectra of one stream, without a hole."""

    newest: Spectrum | None = None
    columns: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=RECENT_SPECTRA))
    """First sample, and the value of each band."""

    def hear(self, message: Spectrum, payload: bytes | memoryview) -> None:
        last, self.newest = self.newest, message
        if last is not None and (
            (last.epoch, last.bands_hz, last.floor_db, last.step_db)
            != (message.epoch, message.bands_hz, message.floor_db, message.step_db)
            or abs(message.first_sample - last.end_sample) > message.rate
        ):
            self.columns.clear()
        if message.bands_hz:
            self.columns.append((message.first_sample, bytes(payload)))


@dataclass
class StreamView:
    """One stream, as last heard of."""

    name: str
    seen_at: float
    rms_db: float = FLOOR_DB
    level: Level | None = None  # the last one
    epoch: int = 0
    ended: str = ""  # why, while no new epoch has begun
    final: bool = False
    lost_s: float = 0.0
    top: dict[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)  # by model
    spectrum: SpectrumView = field(default_factory=SpectrumView)
    _peak_db: float = FLOOR_DB
    _peak_at: float = -math.inf
    _clipped_at: float = -math.inf

    def hear(self, level: Level, now: float) -> None:
        self.rms_db, self.level = _decibels(level.rms_db), level
        peak_db = _decibels(level.peak_db)
        if peak_db >= self.peak_db(now):
            self._peak_db, self._peak_at = peak_db, now
        if level.clipped:
            self._clipped_at = now

    def peak_db(self, now: float) -> float:
        """The highest recent peak: held for a while, then falling."""
        return max(FLOOR_DB, self._peak_db - PEAK_FALLS_DB_S * max(0.0, now - self._peak_at - PEAK_HOLDS_S))

    def clipped(self, now: float) -> bool:
        return now - self._clipped_at < CLIPPED_STAYS_S

    def labels(self) -> list[tuple[str, float]]:
        """The top classes of all models that hear this stream, best first."""
        best: dict[str, float] = {}
        for top in self.top.values():
            for label, score in top:
                best[label] = max(score, best.get(label, 0.0))
        return sorted(best.items(), key=lambda item: -item[1])


@dataclass
class EventView:
    """One event: its last message, its clip, and whether its end can still come."""

    message: EventStart | EventEnd
    clip: str = ""
    abandoned: bool = False  # its stream ended without an end of the event

    @property
    def lasted_s(self) -> float | None:
        """None while it goes on."""
        if isinstance(self.message, EventStart):
            return None
        return seconds(self.message.offset_sample - self.message.onset_sample, self.message.rate)


@dataclass
class NodeView:
    """One node: its last sign of life and some before it."""

    health: Health
    seen_at: float
    cpu: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=RECENT_HEALTH))  # (uptime, cpu), s
    delays: dict[str, deque[tuple[float, float]]] = field(default_factory=dict)  # by stage: (p50, p99), ms

    @property
    def cpu_share(self) -> float:
        """Of one core, over the last seconds."""
        if len(self.cpu) < 2:
            return 0.0
        (first_s, first_cpu), (last_s, last_cpu) = self.cpu[0], self.cpu[-1]
        return max(0.0, last_cpu - first_cpu) / max(last_s - first_s, 1e-3)


class Board:
    """Takes messages in the order they came; `now` is a monotonic clock in seconds."""

    def __init__(self) -> None:
        self.streams: dict[str, StreamView] = {}
        self.events: dict[str, EventView] = {}  # by id, oldest first
        self.alarms: dict[tuple[str, str, str], Alarm] = {}  # raised and not cleared, oldest first
        self.nodes: dict[str, NodeView] = {}
        self.models: dict[str, float] = {}  # when last heard of
        self.earlier_events = 0  # that are no longer in `events`

    def take(self, message: Message, now: float) -> None:
        """Notes what the message says."""
        if isinstance(message, Level):
            self._stream(message.stream, now).hear(message, now)
        elif isinstance(message, ScoreBlock):
            self._scores(message, now)
        elif isinstance(message, Health):
            self._health(message, now)
        elif isinstance(message, EventStart | EventEnd):
            self._event(message)
        elif isinstance(message, ClipSaved):
            if message.id in self.events:
                self.events[message.id].clip = message.path
        elif isinstance(message, Gap):
            self._stream(message.stream, now).lost_s += seconds(message.end_sample - message.first_sample, message.rate)
        elif isinstance(message, Ended):
            self._ended(message, now)
        elif isinstance(message, Alarm):
            self._alarm(message)

    def show(self, message: Spectrum, payload: bytes | memoryview) -> None:
        """Notes a spectrum of a stream that is known."""
        if message.stream in self.streams:
            self.streams[message.stream].spectrum.hear(message, payload)

    def forget(self, now: float) -> None:
        """Lets go of streams, nodes and models that left."""
        for stream in list(self.streams.values()):
            stays_s = ENDED_STAYS_S if stream.final else SILENT_STAYS_S
            if now - stream.seen_at > stays_s:
                del self.streams[stream.name]
        for name, node in list(self.nodes.items()):
            if now - node.seen_at > ENDED_STAYS_S:
                del self.nodes[name]
        for model, seen_at in list(self.models.items()):
            if now - seen_at > ENDED_STAYS_S:
                del self.models[model]

    def ledger(self) -> list[LedgerRow]:
        """The rows of all nodes, as they last told them."""
        return [row for node in self.nodes.values() for row in node.health.ledger]

    def delays(self) -> dict[str, tuple[float, float]]:
        """p50 and p99 of each stage over the last seconds, in ms, in the order of the pipeline as nodes told them."""
        stages: dict[str, list[tuple[float, float]]] = {}
        for node in self.nodes.values():
            for stage, pairs in node.delays.items():
                stages.setdefault(stage, []).extend(pairs)
        return {
            stage: (statistics.median(p50 for p50, _ in pairs), max(p99 for _, p99 in pairs))
            for stage, pairs in stages.items()
            if pairs
        }

    def happening(self, stream: str) -> set[str]:
        """The labels that go on in a stream now."""
        return {
            view.message.label
            for view in self.events.values()
            if view.message.stream == stream and view.lasted_s is None and not view.abandoned
        }

    def _stream(self, name: str, now: float) -> StreamView:
        view = self.streams.get(name)
        if view is None:
            if len(self.streams) >= MAX_STREAMS:
                del self.streams[min(self.streams.values(), key=lambda stream: stream.seen_at).name]
            view = self.streams[name] = StreamView(name, now)
        view.seen_at = now
        return view

    def _scores(self, message: ScoreBlock, now: float) -> None:
        stream = self._stream(message.stream, now)
        self.models[message.model] = now
        if message.epoch != stream.epoch:
            stream.epoch, stream.ended, stream.final = message.epoch, "", False
        if message.spans and message.top:
            stream.top[message.model] = message.top[:MAX_LABELS]
            while len(stream.top) > MAX_MODELS:
                stream.top.pop(next(iter(stream.top)))

    def _event(self, message: EventStart | EventEnd) -> None:
        if message.id in self.events:
            self.events[message.id].message = message
            return
        self.events[message.id] = EventView(message)
        if len(self.events) > MAX_EVENTS:
            self.events.pop(next(iter(self.events)))
            self.earlier_events += 1

    def _ended(self, message: Ended, now: float) -> None:
        stream = self._stream(message.stream, now)
        stream.epoch, stream.ended, stream.final = message.epoch, message.reason, message.final
        stream.rms_db, stream.level = FLOOR_DB, None
        stream.top.clear()
        for view in self.events.values():
            if (view.message.stream, view.message.epoch) == (message.stream, message.epoch) and view.lasted_s is None:
                view.abandoned = True

    def _alarm(self, message: Alarm) -> None:
        key = (message.node, message.name, message.stream)
        self.alarms.pop(key, None)
        if message.state == "raised":
            self.alarms[key] = message
            if len(self.alarms) > MAX_ALARMS:
                self.alarms.pop(next(iter(self.alarms)))

    def _health(self, message: Health, now: float) -> None:
        view = self.nodes.get(message.node)
        if view is None or view.health.pid != message.pid:  # new, or started again
            if view is not None:
                self._forget_alarms_of(message)
            if len(self.nodes) >= MAX_NODES:
                self.nodes.pop(next(iter(self.nodes)))
            view = self.nodes[message.node] = NodeView(message, now)
        view.health, view.seen_at = message, now
        view.cpu.append((message.uptime_s, message.cpu_s))
        for stage, pair in message.delays_ms.items():
            if stage in view.delays or len(view.delays) < MAX_STAGES:
                view.delays.setdefault(stage, deque(maxlen=RECENT_HEALTH)).append(pair)

    def _forget_alarms_of(self, message: Health) -> None:
        """What the dead process had raised nobody will clear; what still holds the new one raises itself."""
        born_ns = time.time_ns() - int(message.uptime_s * 1e9)
        for key, alarm in list(self.alarms.items()):
            if alarm.node == message.node and alarm.utc_ns < born_ns:
                del self.alarms[key]


def _decibels(value: float) -> float:
    return value if value >= FLOOR_DB else FLOOR_DB  # NaN compares false
