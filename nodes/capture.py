"""The capture node: reads sources and publishes what they gave, block by block, at their own rate and depth.

A file is read no faster than the bus takes it, so nothing of it is ever lost here. A live source cannot be held back:
what the bus does not take stays in the source's ring, and what no longer fits there is the one place where live sound
is lost; the ring counts it and it is published as a gap. A source that disappears is waited for, with a bounded
back-off, and comes back as a new epoch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from ..stream.bus import Publisher
from ..stream.clock import StreamClock, span_ns
from ..stream.errors import EarwitnessError
from ..stream.ledger import Ledger
from ..stream.level import LevelMeter, WeightedMeter
from ..stream.messages import AudioBlock, AudioOpened, Ended, Gap, LedgerRow, Level, topic_of
from ..stream.sources.source import (
    LIVE_BLOCK_S,
    OWN_PROCESS,
    Chunk,
    Format,
    Samples,
    Source,
    SourceGone,
    SourceSpec,
    make_source,
    source_specs,
)
from .marks import Mark
from .node import HEARTBEAT_S, Job, Node, run_node

CROWD_BLOCK_S = 0.1  # with many streams: fewer, larger messages
CROWD = 16  # streams
FAST_BLOCK = 16_384  # samples, at --pace max
LEVEL_S = 0.1
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
SLOW_OPENING_S = 10.0  # after that a person is told
STOP_S = 1.0  # how long the end waits for room on the bus
HELD_S = 0.003  # until the bus is tried again
BURST = 8  # blocks of one stream in one go, then it is the next one's turn
SHORTEST_LOOK_S = 0.005
PIPE_SPEED = 1.001  # a pipe comes at its writer's pace, whose clock may be a little faster than ours …
PIPE_SLACK_S = 1.0  # … and in pieces

Flow = AudioOpened | AudioBlock | Gap | Ended


class CaptureNode(Node):
    """Reads the sources that are this node's part: one device, or all that are no devices."""

    def __init__(self, job: Job, publisher: Publisher, sources: Sequence[Source] | None = None):
        super().__init__(job, publisher)
        if sources is None:
            sources = [make_source(spec) for spec in _specs_of(job)]
        self.ledger = Ledger("capture", job.ledger)
        crowd = len(sources) > CROWD
        self.block_s = self.config.block_s or (CROWD_BLOCK_S if crowd else LIVE_BLOCK_S)
        self._streams = [_Stream(self, source) for source in sources]

    def ledger_rows(self) -> tuple[LedgerRow, ...]:
        return self.ledger.rows()

    def tick(self) -> float:
        return min((stream.advance() for stream in self._streams), default=HEARTBEAT_S)

    def finish(self) -> None:
        deadline = time.monotonic() + STOP_S
        for stream in self._streams:
            stream.stop(deadline)


class _Stream:
    """One source: closed, opening, or open in some epoch. What it has to say goes through `_outbox`, in order."""

    def __init__(self, node: CaptureNode, source: Source):
        self._node, self._source, self._name = node, source, source.spec.name
        self._topic, self._level_topic = topic_of("audio", self._name), topic_of("level", self._name)
        self._fast = node.config.pace == "max" and not source.live
        self._can_resume = source.spec.kind in ("file", "demo")
        self._outbox: deque[tuple[Flow, Samples | None]] = deque()
        self._open: _Open | None = None
        self._opening: _Opening | None = None
        self._over = False  # nothing follows any more
        self._retry_at, self._retries = 0.0, 0
        self._clock_events = self._wall_steps = 0  # of this epoch, told
        self._epoch, self._position = self._where_to_begin()

    def advance(self) -> float:
        """Publishes what is ready; returns in how many seconds to look again."""
        try:
            for _ in range(BURST):
                if not self._flush():
                    return HELD_S
                if self._over:
                    return HEARTBEAT_S
                wait = self._read_block() if self._open else self._try_to_open()
                if wait is not None:
                    return wait
        except SourceGone as gone:
            self._lost_sight(str(gone))
        return 0.0

    def stop(self, deadline: float) -> None:
        """Publishes what has been heard so far, then the end."""
        try:
            while time.monotonic() < deadline and not self._over and self._open and self._source.live:
                if not self._flush():
                    time.sleep(HELD_S)
                elif self._read_block() is not None:
                    break
        except SourceGone:
            pass
        if not self._over:
            self._end("stopped", final=True)
        while not self._flush() and time.monotonic() < deadline:
            time.sleep(HELD_S)
        self._give_up_what_is_left()
        if self._opening is None:  # one that is still being opened would wait for its device
            self._source.close()

    # ---- opening

    def _where_to_begin(self) -> tuple[int, int]:
        """After a restart a file goes on in its epoch, where it had come to; any other source begins a new one."""
        rows = [row for row in self._node.ledger.rows() if row.stream == self._name]
        if not rows:
            return 1, 0
        last = max(rows, key=lambda row: row.epoch)
        if last.ended:
            self._over = last.final
            return last.epoch + 1, 0
        if self._can_resume:
            return last.epoch, last.next_sample
        self._outbox.append((
            Ended(stream=self._name, epoch=last.epoch, end_sample=last.next_sample, rate=last.rate,
                  reason="restart", final=False), None,
        ))  # fmt: skip
        return last.epoch + 1, 0

    def _try_to_open(self) -> float | None:
        """None when it is open now, else when to look again. Raises SourceGone."""
        if not self._source.live:
            try:
                self._begin(self._source.open(self._position))
            except EarwitnessError as error:  # the command line has looked before: it went wrong since
                self._node.alarm("source-failed", str(error), self._name)
                self._end("failed", final=True)
            return None
        now = time.monotonic()
        if self._opening is None:
            if now < self._retry_at:
                return min(HEARTBEAT_S, self._retry_at - now)
            self._opening = _Opening(self._source)
        if self._opening.is_alive():
            if now - self._opening.begun > SLOW_OPENING_S:
                text = f"{self._name} does not open since {SLOW_OPENING_S:g} s"
                self._node.alarm("source-slow", text, self._name)
            return 0.02
        opening, self._opening = self._opening, None
        self._node.clear_alarm("source-slow", f"{self._name} answered", self._name)
        self._begin(opening.result())
        return None

    def _begin(self, format: Format) -> None:
        now = time.time_ns()
        self._open = _Open(self._node, self._source, format, self._position, now, self._fast)
        self._retries = self._clock_events = self._wall_steps = 0
        self._outbox.append((
            AudioOpened(stream=self._name, epoch=self._epoch, rate=format.rate, channels=format.channels,
                        dtype=format.dtype, source=format.description, live=self._source.live, utc_ns=now), None,
        ))  # fmt: skip
        self._node.clear_alarm("source-gone", f"{self._name} is back: {format.description}", self._name)
        self._tell_damage()

    def _lost_sight(self, why: str) -> None:
        """The source is gone: the epoch ends, and after a while it is looked for again."""
        if self._open:
            self._end(why, final=False)
            self._epoch, self._position = self._epoch + 1, 0
        self._source.close()
        self._retry_at = time.monotonic() + min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**self._retries)
        self._retries = min(self._retries + 1, 10)
        self._node.counts["source_losses"] += 1
        self._node.alarm("source-gone", f"{self._name}: {why}", self._name)

    # ---- reading

    def _read_block(self) -> float | None:
        """Puts the next block into the outbox; else returns when to look again. Raises SourceGone."""
        opened = self._open
        assert opened is not None
        early = opened.due_in(self._position)
        if early > 0:
            return min(HEARTBEAT_S, early)
        chunk = self._source.read(opened.block)
        if chunk is None:
            self._tell_damage()
            self._source.close()
            self._end("end of file" if self._can_resume else "end of input", final=True)
            return None
        if chunk.lost:
            self._lose(chunk, opened.format.rate)
        if len(chunk.samples):
            self._put(chunk, opened)
        return None if self._outbox else opened.look_again_in()

    def _put(self, chunk: Chunk, opened: _Open) -> None:
        first, end = self._position, self._position + len(chunk.samples)
        if chunk.heard:
            opened.heard_s = chunk.heard[1] / 1e9
            opened.clock.observe(end, *chunk.heard)
            self._tell_clock(opened.clock)
        if not self._can_resume:  # nobody can hear this again: if this node dies now, it ends here
            self._node.mark(Mark(stream=self._name, epoch=self._epoch, rate=opened.format.rate, end_sample=end))
        block = AudioBlock(
            stream=self._name, epoch=self._epoch, first_sample=first, end_sample=end,
            rate=opened.format.rate, channels=opened.format.channels, dtype=opened.format.dtype,
            utc_ns=opened.clock.utc_ns(first), utc_error_ns=opened.clock.utc_error_ns,
            heard_ns=chunk.heard[0] if chunk.heard else time.time_ns(),
        )  # fmt: skip
        self._outbox.append((block, np.ascontiguousarray(chunk.samples, np.dtype(block.dtype).newbyteorder("<"))))
        self._position = end

    def _lose(self, chunk: Chunk, rate: int) -> None:
        end = self._position + chunk.lost
        self._outbox.append((
            Gap(stream=self._name, epoch=self._epoch, first_sample=self._position, end_sample=end, rate=rate,
                cause=chunk.cause, place="capture"), None,
        ))  # fmt: skip
        self._position = end
        self._node.counts["lost_samples"] += chunk.lost

    def _end(self, reason: str, final: bool) -> None:
        """The epoch ends; one that was never open too, when it is the last, so that the stream has an end."""
        rate = self._open.format.rate if self._open else 1
        self._outbox.append((
            Ended(stream=self._name, epoch=self._epoch, end_sample=self._position, rate=rate, reason=reason,
                  final=final), None,
        ))  # fmt: skip
        self._open, self._over = None, final

    # ---- sending

    def _flush(self) -> bool:
        """Sends what waits, as far as the bus has room; True when nothing is left. A part of the end, `_over`, too."""
        while self._outbox:
            message, samples = self._outbox[0]
            publisher = self._node.publisher
            payload = samples.data.cast("B") if samples is not None else b""
            # Where nobody listens a message would vanish: as good as no room.
            if not publisher.heard(self._topic) or not publisher.send(self._topic, message, payload):
                self._node.counts["held"] += 1
                return False
            self._outbox.popleft()
            self._account(message)
            if isinstance(message, AudioBlock) and samples is not None and self._open:
                self._tell_level(message, samples, self._open.meter)
        return True

    def _account(self, message: Flow) -> None:
        ledger = self._node.ledger
        match message:
            case AudioOpened():
                ledger.receive(message.stream, message.epoch, 0, 0, message.rate)
            case AudioBlock():
                ledger.receive(message.stream, message.epoch, message.first_sample, message.end_sample, message.rate)
            case Gap():
                ledger.lose(message.stream, message.epoch, message.end_sample, message.rate, message.cause)
            case Ended():
                ledger.end(message.stream, message.epoch, message.end_sample, message.rate, message.final)
                self._node.news = True

    def _give_up_what_is_left(self) -> None:
        """The bus took no more before the deadline: what it did not take is lost, and the ledger says so."""
        for message, _ in self._outbox:
            if isinstance(message, AudioBlock | Gap):
                self._node.ledger.lose(message.stream, message.epoch, message.end_sample, message.rate, "stopped")
            else:
                self._account(message)
        self._outbox.clear()

    # ---- telling

    def _tell_level(self, block: AudioBlock, samples: Samples, meter: LevelMeter) -> None:
        if not self._node.publisher.heard(self._level_topic):
            return
        loudness = meter.add(samples)
        if loudness is not None and loudness.weighted is not None:
            level = Level(
                stream=block.stream, epoch=block.epoch, first_sample=max(0, block.end_sample - loudness.samples),
                end_sample=block.end_sample, rate=block.rate, rms_db=loudness.rms_db, peak_db=loudness.peak_db,
                clipped=loudness.clipped, **loudness.weighted._asdict(),
            )  # fmt: skip
            self._node.publisher.send(self._level_topic, level)

    def _tell_clock(self, clock: StreamClock) -> None:
        drift_ppb = round(clock.drift_ppm * 1000)  # counts are never negative, on the bus either
        self._node.counts[f"slow_ppb_{self._name}"] = max(0, drift_ppb)
        self._node.counts[f"fast_ppb_{self._name}"] = max(0, -drift_ppb)
        self._node.counts[f"utc_error_us_{self._name}"] = clock.utc_error_ns // 1000
        if clock.wall_steps + clock.jumps == self._clock_events:
            return
        if clock.wall_steps > self._wall_steps:
            text = f"the computer's clock was set by {clock.last_wall_step_ns / 1e9:+.3f} s"
            self._node.alarm("clock-set", text, self._name)
        elif clock.last_jump_ns > 0:
            text = f"{self._name}: about {clock.last_jump_ns / 1e9:.1f} s of sound went missing before it was heard"
            self._node.alarm("sound-missing", text, self._name)
        self._clock_events, self._wall_steps = clock.wall_steps + clock.jumps, clock.wall_steps

    def _tell_damage(self) -> None:
        warning = self._source.warning()
        if warning:
            self._node.alarm("source-damaged", warning, self._name)


class _Open:
    """What belongs to one epoch: format, clock, block size and pace."""

    def __init__(self, node: CaptureNode, source: Source, format: Format, position: int, now_ns: int, fast: bool):
        self.format = format
        self._pipe = getattr(source, "paces_itself", False)
        if source.live or (self._pipe and not fast):
            self.clock = StreamClock(format.rate, latency_error_ns=format.utc_error_ns)
        else:
            self.clock = StreamClock(format.rate, start_utc_ns=now_ns - span_ns(position, format.rate))
        block_s = node.config.block_s or (FAST_BLOCK / format.rate if fast else node.block_s)
        self.block = max(1, round(block_s * format.rate))
        weighted = WeightedMeter(format.rate, format.channels, node.config.level_period_s, source.spec.calibration_db)
        self.meter = LevelMeter(max(1, round(LEVEL_S * format.rate)), format.dtype, weighted)
        self.heard_s = 0.0  # monotonic, of the last block
        self._block_s = self.block / format.rate
        self._paced = not source.live and not fast
        self._started = time.monotonic() - position / format.rate

    def due_in(self, position: int) -> float:
        """In how many seconds the block at this position would have been heard to its end; 0 or less: now."""
        if not self._paced:
            return 0.0
        heard_s = (position + self.block) / self.format.rate
        if self._pipe:
            heard_s = heard_s / PIPE_SPEED - PIPE_SLACK_S
        return self._started + heard_s - time.monotonic()

    def look_again_in(self) -> float:
        """Nothing is there: blocks come at an even pace, so the next one is due a block after the last one."""
        due = self.heard_s + self._block_s - time.monotonic()
        return min(self._block_s, max(SHORTEST_LOOK_S, due))


class _Opening(threading.Thread):
    """Opening a device or an address may take long, or for ever, and the others go on meanwhile."""

    def __init__(self, source: Source):
        super().__init__(name=f"open {source.spec.name}", daemon=True)
        self.begun = time.monotonic()
        self._source = source
        self._format: Format | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._format = self._source.open()
        except BaseException as error:
            self._error = error

    def result(self) -> Format:
        """The format. Raises SourceGone, for what a person has to mend too: it may be mended while this runs."""
        if isinstance(self._error, EarwitnessError):
            raise SourceGone(str(self._error))
        if self._error is not None:
            raise self._error
        assert self._format is not None
        return self._format


def _specs_of(job: Job) -> list[SourceSpec]:
    specs = source_specs(job.config.source_settings, job.config.ring_s)
    return [spec for spec in specs if (spec.name == job.part if job.part else spec.kind not in OWN_PROCESS)]


def main() -> None:
    """Runs the capture node as a child of the supervisor."""
    run_node(CaptureNode)


if __name__ == "__main__":
    main()
