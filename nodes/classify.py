"""The classify node: frames in, scores and events out, for one model and all streams.

Windows that are complete wait for each other, of whatever stream, until a batch is full or the first of them has
waited for `DEADLINE_S`; then one call scores them all. A window's scores do not depend on its company. What a stateful
model carries for a stream, the scorer keeps until the segment is over.

A GPU that fails is an alarm, not an end: the windows that it had are scored on the CPU, and all that follow.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.bundle import Bundle, find_bundle
from ..models.runtime import Runtime, Scorer, open_runtime
from ..stream.bus import Publisher
from ..stream.clock import span_ns
from ..stream.detect import Decision, Detector, Start
from ..stream.detect_settings import detect_settings
from ..stream.errors import EarwitnessError
from ..stream.features.frontend import FrontEndSpec, silence
from ..stream.ledger import Hole, Ledger
from ..stream.messages import Ended, EventEnd, EventStart, FeatureBlock, Gap, LedgerRow, Message, ScoreBlock, topic_of
from ..stream.resample import input_sample
from ..stream.windowing import Window, Windows
from ..stream.wire import Envelope
from .node import HEARTBEAT_S, Job, Node, run_node

BATCH = 32  # windows scored together at most
DEADLINE_S = 0.01  # how long a window waits for company, once there are enough streams to expect any
COMPANY = 4  # streams
UNHEARD_S = 5.0  # how long results wait for a monitor or a recorder that is being started
TOP = 5  # labels that a score message names

Scores = NDArray[np.float32]


class ClassifyNode(Node):
    """Runs one bundle over the features of all streams."""

    def __init__(self, job: Job, publisher: Publisher, bundle: Bundle | None = None, runtime: Runtime | None = None):
        super().__init__(job, publisher)
        self.bundle = bundle or find_bundle(job.part)
        manifest = self.bundle.manifest
        self._spec = manifest.front_end
        self._front_end, self._dims = self._spec.hash, self._spec.dims
        self._scorer = Scorer(
            runtime or self._open(job.config.device), manifest.states, spare=lambda: open_runtime(self.bundle, "cpu")
        )
        chosen = next((m for m in job.config.model_settings if m.bundle == job.part), None)
        self._thresholds = {**manifest.thresholds, **(chosen.thresholds if chosen else {})}
        self._settings = detect_settings(manifest.detection, job.config.detect)
        self._ledger = Ledger(f"classify {self.bundle.tag}", job.ledger)
        self._streams: dict[str, _Stream] = {}
        self._waiting: list[tuple[_Stream, Window]] = []
        self._waiting_since = 0.0
        self._unheard_since: float | None = None
        self._batch = np.empty((BATCH, manifest.window_frames, self._dims), np.float32)

    def subscriptions(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (topic_of("features", self._front_end) + "/",), ()

    def ledger_rows(self) -> tuple[LedgerRow, ...]:
        return self._ledger.rows()

    def handle(self, envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            match envelope.message:
                case FeatureBlock() as block:
                    self._take(block, envelope.payload)
                case Gap() as gap:
                    if hole := self._ledger.lose(gap.stream, gap.epoch, gap.end_sample, gap.rate, gap.cause):
                        self._interrupt(gap.stream, gap.epoch, gap.rate, hole, gap.place)
                case Ended() as ended:
                    self._end(ended)
        self._score_when_due()

    def tick(self) -> float:
        self._score_when_due()
        if not self._waiting:
            return HEARTBEAT_S
        return max(0.0, self._waiting_since + DEADLINE_S - time.monotonic())

    def finish(self) -> None:
        """Ends what nobody has ended: a stream whose capture is on another host and goes on."""
        for ended in self._ledger.endings("stopped"):
            self._end(ended)

    # ---- features in

    def _take(self, block: FeatureBlock, payload: memoryview) -> None:
        if block.front_end != self._front_end or block.dims != self._dims:
            self.counts["foreign_features"] += 1
            return
        before = self._ledger.position(block.stream, block.epoch)
        stream = self._stream(block.stream, block.epoch, block.rate)
        hole = self._ledger.receive(block.stream, block.epoch, block.first_sample, block.end_sample, block.rate)
        if hole:
            self._interrupt(block.stream, block.epoch, block.rate, hole, self.name)
        elif block.end_sample < before:
            return  # accounted for already
        if stream.segment_sample != block.segment_sample:
            self._finish_segment(stream)
            self._begin_segment(stream, block.segment_sample)
        stream.block = block
        if block.frames:
            frames = np.frombuffer(payload, "<f4").reshape(block.frames, block.dims)
            stream.detector.hear(block.first_frame, frames)
            for window in stream.windows.push(block.first_frame, frames):
                self._wait_for_company(stream, window)

    def _wait_for_company(self, stream: _Stream, window: Window) -> None:
        if not self._waiting:
            self._waiting_since = time.monotonic()
        self._waiting.append((stream, window))
        if len(self._waiting) == BATCH:
            self._score()

    def _score_when_due(self) -> None:
        late = time.monotonic() - self._waiting_since >= DEADLINE_S
        if self._waiting and (late or len(self._streams) < COMPANY):
            self._score()

    # ---- scores out

    def _score(self) -> None:
        """Scores all windows that wait, in one call, and publishes each stream's in one message."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        began = time.perf_counter()
        for row, (_, window) in enumerate(waiting):
            self._batch[row] = window.values
        scores = self._scorer.scores(self._batch[: len(waiting)], [stream.name for stream, _ in waiting])
        if self._scorer.failure:
            self._tell_of_gpu(self._scorer.failure)
        self.delay("classify", time.perf_counter() - began)
        self.counts["windows"] += len(waiting)
        self.counts["batches"] += 1
        by_stream: dict[int, tuple[_Stream, list[int]]] = {}
        for row, (stream, _) in enumerate(waiting):
            by_stream.setdefault(id(stream), (stream, []))[1].append(row)
        for stream, rows in by_stream.values():
            self._publish_scores(stream, [waiting[row][1] for row in rows], scores[rows])

    def _publish_scores(self, stream: _Stream, windows: list[Window], scores: Scores) -> None:
        block = stream.block
        assert block is not None
        labels = self.bundle.manifest.labels
        best = np.argsort(scores[-1])[::-1][:TOP]
        spans = tuple(stream.span(window) for window in windows)
        now = time.time_ns()
        message = ScoreBlock(
            stream=block.stream,
            epoch=block.epoch,
            model=self.bundle.tag,
            first_sample=stream.reported,
            end_sample=max(stream.reported, spans[-1][1]),
            rate=block.rate,
            segment_sample=stream.segment_sample,
            first_window=windows[0].number,
            spans=spans,
            classes=len(labels),
            top=tuple((labels[index], round(float(scores[-1, index]), 4)) for index in best),
            heard_sample=block.end_sample,
            heard_ns=block.heard_ns,
            computed_ns=block.computed_ns,
            scored_ns=now,
        )
        stream.reported = message.end_sample
        # Events first: whoever waits for a decision waits for nothing else.
        self._announce(stream, stream.detector.push(windows[0].number, scores))
        self._send("scores", stream, message, scores.astype("<f4", copy=False).tobytes())
        self.delay("heard to scored", (now - block.heard_ns) / 1e9)

    def _announce(self, stream: _Stream, decisions: list[Decision]) -> None:
        block = stream.block
        assert block is not None
        for decision in decisions:
            if isinstance(decision, Start):
                utc_ns = block.utc_ns + span_ns(decision.onset_sample - block.first_sample, block.rate)
                stream.events[decision.label] = _Event(event_id(utc_ns), utc_ns, block.utc_error_ns)
                self.counts["events"] += 1
            event = stream.events[decision.label]
            common: dict[str, Any] = {
                "id": event.id,
                "stream": block.stream,
                "epoch": block.epoch,
                "label": decision.label,
                "score": round(decision.score, 4),
                "onset_sample": decision.onset_sample,
                "rate": block.rate,
                "utc_ns": event.utc_ns,
                "utc_error_ns": event.utc_error_ns,
                "model": self.bundle.tag,
                "latency_ms": round((time.time_ns() - block.heard_ns) / 1e6, 1),
            }
            if isinstance(decision, Start):
                self._send("event", stream, EventStart(**common))
            else:
                self._send("event", stream, EventEnd(offset_sample=decision.offset_sample, **common))
                del stream.events[decision.label]

    # ---- interruptions

    def _interrupt(self, name: str, epoch: int, rate: int, hole: Hole, place: str) -> None:
        """A hole: what was heard before it is decided, the gap goes on, and a new segment begins behind it."""
        self._score()
        stream = self._stream(name, epoch, rate)
        self._finish_segment(stream)
        stream.reported = hole.end
        self.counts["gaps"] += 1
        gap = Gap(stream=name, epoch=epoch, first_sample=hole.first, end_sample=hole.end, rate=rate,
                  cause=hole.cause, place=place)  # fmt: skip
        self._send("scores", stream, gap)

    def _end(self, ended: Ended) -> None:
        if self._ledger.ended(ended.stream, ended.epoch):
            return
        self._score()
        hole = self._ledger.end(ended.stream, ended.epoch, ended.end_sample, ended.rate, ended.final)
        if hole:
            self._interrupt(ended.stream, ended.epoch, ended.rate, hole, self.name)
        stream = self._stream(ended.stream, ended.epoch, ended.rate)
        self._finish_segment(stream)
        self._send("scores", stream, ended)
        self._streams.pop(ended.stream, None)
        self.news = True

    def _finish_segment(self, stream: _Stream) -> None:
        """Scores the last window, which may be filled up, and ends the events that are going on."""
        if stream.block is None:
            return
        for window in stream.windows.flush():
            self._wait_for_company(stream, window)
        self._score()
        self._announce(stream, stream.detector.flush())
        self._scorer.forget(stream.name)
        stream.segment_sample = -1

    def _stream(self, name: str, epoch: int, rate: int) -> _Stream:
        stream = self._streams.get(name)
        if stream is None or (stream.epoch, stream.rate) != (epoch, rate):
            if stream is not None:
                self._score()
                self._finish_segment(stream)
            stream = self._streams[name] = _Stream(
                name, epoch, rate, self._spec, self._new_windows(), self._new_detector(rate, 0)
            )
            stream.reported = self._ledger.position(name, epoch)
            self.news = True
        return stream

    def _begin_segment(self, stream: _Stream, sample: int) -> None:
        stream.segment_sample = sample
        stream.windows, stream.detector = self._new_windows(), self._new_detector(stream.rate, sample)

    def _new_detector(self, rate: int, segment_sample: int) -> Detector:
        manifest = self.bundle.manifest
        return Detector(
            manifest.labels,
            manifest.background,
            self._thresholds,
            self._settings,
            self._spec,
            window_frames=manifest.window_frames,
            hop_frames=manifest.hop_frames,
            rate=rate,
            segment_sample=segment_sample,
        )

    def _open(self, device: str) -> Runtime:
        """The runtime that was asked for. Where a GPU fails, or is gone since this node was started anew, the CPU's."""
        try:
            return open_runtime(self.bundle, device)
        except Exception as error:
            if device == "cpu" or (isinstance(error, EarwitnessError) and not self.job.ledger):
                raise
            self._tell_of_gpu(next(iter(str(error).splitlines()), "") or type(error).__name__)
            return open_runtime(self.bundle, "cpu")

    def _tell_of_gpu(self, why: str) -> None:
        self.alarm("gpu-gone", f"{self.bundle.tag} goes on on the CPU, as the GPU failed: {why}")

    def _new_windows(self) -> Windows:
        manifest = self.bundle.manifest
        return Windows(manifest.window_frames, manifest.hop_frames, silence(self._spec))

    def _send(self, topic: str, stream: _Stream, message: Message, payload: bytes = b"") -> None:
        """Waits for room; and for somebody who listens, as long as it takes to start a monitor again, not for ever."""
        key = (self.bundle.tag, stream.name) if topic == "scores" else (stream.name,)
        full = topic_of(topic, *key)

        def give_up() -> bool:
            if self.publisher.heard(full):
                return self.while_waiting()
            self._unheard_since = self._unheard_since or time.monotonic()
            return self.while_waiting() or time.monotonic() - self._unheard_since > UNHEARD_S

        if self.publisher.send(full, message, payload, wait=True, give_up=give_up):
            self._unheard_since = None
        else:
            self.counts["unheard"] += 1


@dataclass(frozen=True)
class _Event:
    """What an event's end repeats of its start, although the clock knows better by then."""

    id: str
    utc_ns: int
    utc_error_ns: int


@dataclass
class _Stream:
    name: str
    epoch: int
    rate: int
    spec: FrontEndSpec
    windows: Windows
    detector: Detector
    segment_sample: int = -1  # of the segment that is going on; -1: the next block begins one
    reported: int = 0  # up to where the windows that were published reach
    block: FeatureBlock | None = None  # the newest
    events: dict[str, _Event] = field(default_factory=dict)  # those that are going on, by label

    def span(self, window: Window) -> tuple[int, int]:
        """The source samples that a window was made of."""
        first = self.spec.frame_span(window.number * self.windows.hop)[0]
        end = self.spec.frame_span(window.number * self.windows.hop + window.frames - 1)[1]
        return self.source_sample(first), self.source_sample(end)

    def source_sample(self, front_end_sample: int) -> int:
        """The sample of the epoch at which a sample of the segment's front end lies."""
        return self.segment_sample + input_sample(front_end_sample, self.rate, self.spec.sr)


def event_id(utc_ns: int) -> str:
    """A ULID (https://github.com/ulid/spec): 48 bits of UTC milliseconds, 80 random bits; sorts by time."""
    value = (utc_ns // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def main() -> None:
    """Runs the classify node as a child of the supervisor."""
    run_node(ClassifyNode)


if __name__ == "__main__":
    main()
