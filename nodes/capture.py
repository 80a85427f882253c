"""The capture node: reads sources and publishes what they gave, block by block, at their own rate and depth.

A file is read no faster than the bus takes it, so nothing of it is ever lost here. A live source cannot be held back:
what the bus does not take stays in the source's ring, and what no longer fits there is the one place where live sound
is lost; the ring counts it and it is published as a gap. A source that disappears is waited for, with a bounded
back-off, and comes back as a new epoch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..stream.bus import Publisher
from ..stream.clock import StreamClock, span_ns
from ..stream.errors import EarwitnessError
from ..stream.ledger import Ledger
from ..stream.messages import AudioBlock, AudioOpened, Ended, Gap, LedgerRow, Level, topic_of
from ..stream.sources.source import Chunk, Format, Source, SourceGone, SourceSpec, make_source, source_specs
from .node import HEARTBEAT_S, Job, Mark, Node, run_node

LIVE_BLOCK_S = 0.02
CROWD_BLOCK_S = 0.1  # with many streams: fewer, larger messages
CROWD = 16  # streams
FAST_BLOCK = 16_384  # samples, at --pace max
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
LEVEL_S = 0.1
STOP_S = 1.0  # how long the end waits for room on the bus

_FULL_SCALE = {"int16": 1 << 15, "int32": 1 << 31, "float32": 1}


class CaptureNode(Node):
    """Reads the sources that are this node's part: one device, or all that are no devices."""

    def __init__(self, job: Job, publisher: Publisher, sources: Sequence[Source] | None = None):
        super().__init__(job, publisher)
        if sources is None:
            sources = [make_source(spec) for spec in _specs_of(job)]
        self.ledger = Ledger("capture", job.ledger)
        self._opener = ThreadPoolExecutor(max_workers=max(1, len(sources)), thread_name_prefix="open")
        self._streams = [_Stream(self, source) for source in sources]

    def ledger_rows(self) -> tuple[LedgerRow, ...]:
        return self.ledger.rows()

    def tick(self) -> float:
        wait = HEARTBEAT_S
        for stream in self._streams:
            wait = min(wait, stream.advance())
        return wait

    def finish(self) -> None:
        deadline = time.monotonic() + STOP_S
        for stream in self._streams:
            stream.stop(deadline)
        self._opener.shutdown(wait=False, cancel_futures=True)

    @property
    def block_s(self) -> float:
        """How much sound a block holds in real time."""
        return self.config.block_s or (CROWD_BLOCK_S if len(self._streams) > CROWD else LIVE_BLOCK_S)

    def open_in_background(self, source: Source) -> Future[Format]:
        """Opening a device or an address may take long, and the other streams go on meanwhile."""
        return self._opener.submit(source.open)


class _Stream:
    """One source: closed, opening, or open in some epoch."""

    def __init__(self, node: CaptureNode, source: Source):
        self._node, self._source, self._spec = node, source, source.spec
        self._topic = topic_of("audio", self._spec.name)
        self._fast = node.config.pace == "max" and not source.live
        self._format: Format | None = None
        self._opening: Future[Format] | None = None
        self._over = False  # nothing follows any more
        self._retry_at, self._retries = 0.0, 0
        self._unsent: Chunk | None = None
        self._level = _Level()
        self.epoch, self.position = self._where_to_begin()

    def advance(self) -> float:
        """Publishes what is ready; returns in how many seconds to look again."""
        if self._over:
            return HEARTBEAT_S
        try:
            if self._format is None and not self._open():
                return 0.05 if self._opening else max(0.01, self._retry_at - time.monotonic())
            return self._publish_some()
        except SourceGone as gone:
            self._close_epoch(str(gone), final=False)
            self._wait_and_retry(str(gone))
            return 0.05

    def stop(self, deadline: float) -> None:
        """Publishes what has been heard, then the end."""
        if self._format is not None and not self._over:
            try:
                while self._source.live and time.monotonic() < deadline and self._publish_next() is not None:
                    pass
            except SourceGone:
                pass
        if not self._over:
            self._close_epoch("stopped", final=True, deadline=deadline)
        self._source.close()

    # ---- opening

    def _where_to_begin(self) -> tuple[int, int]:
        """After a restart a file goes on in its epoch, where the last one stopped; a live source begins a new one."""
        rows = [row for row in self._node.ledger.rows() if row.stream == self._spec.name]
        if not rows:
            return 1, 0
        last = max(rows, key=lambda row: row.epoch)
        if last.ended:
            self._over = last.final
            return last.epoch + 1, 0
        if not self._source.live and self._spec.kind in ("file", "demo"):
            return last.epoch, last.next_sample
        self.epoch, self.position = last.epoch, last.next_sample
        self._end_epoch(last.rate, "restart", final=False)
        return last.epoch + 1, 0

    def _open(self) -> bool:
        """Whether the source is open now. Raises SourceGone; EarwitnessError where waiting does not help."""
        if not self._source.live:
            return self._opened(self._source.open(self.position))
        if self._opening is None:
            if time.monotonic() < self._retry_at:
                return False
            self._opening = self._node.open_in_background(self._source)
        if not self._opening.done():
            return False
        opening, self._opening = self._opening, None
        try:
            return self._opened(opening.result())
        except EarwitnessError as error:
            if self.epoch == 1 and not self._retries:
                raise
            raise SourceGone(str(error)) from None

    def _opened(self, opened: Format) -> bool:
        now = time.time_ns()
        if self._source.live:
            self._clock = StreamClock(opened.rate, latency_error_ns=opened.utc_error_ns)
        else:
            self._clock = StreamClock(opened.rate, start_utc_ns=now - span_ns(self.position, opened.rate))
        self._format, self._retries = opened, 0
        self._started = time.monotonic() - self.position / opened.rate
        self._last_sound = time.monotonic()
        block = FAST_BLOCK if self._fast else round(self._node.block_s * opened.rate)
        self._block = max(1, round(self._node.config.block_s * opened.rate) if self._node.config.block_s else block)
        message = AudioOpened(
            stream=self._spec.name, epoch=self.epoch, rate=opened.rate, channels=opened.channels, dtype=opened.dtype,
            source=opened.description, live=self._source.live, utc_ns=now,
        )  # fmt: skip
        self._send(message)
        self._node.clear_alarm("source-gone", f"{self._spec.name} is back: {opened.description}", self._spec.name)
        return True

    def _wait_and_retry(self, why: str) -> None:
        self._source.close()
        self._format = None
        self.epoch, self.position = self.epoch + (1 if self.position else 0), 0
        self._retry_at = time.monotonic() + min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**self._retries)
        self._retries = min(self._retries + 1, 10)
        self._node.alarm("source-gone", why, self._spec.name)

    # ---- publishing

    def _publish_some(self) -> float:
        assert self._format is not None
        if self._source.live:
            while True:
                published = self._publish_next()
                if published is None:
                    return self._node.block_s / 2
                if not published:
                    return 0.005
        if self._fast:
            self._publish_next()
            return 0.0
        due = self._started + (self.position + self._block) / self._format.rate - time.monotonic()
        if due > 0:
            return due
        return 0.0 if self._publish_next() else 0.005

    def _publish_next(self) -> bool | None:
        """One block: True when it went out, False when the bus has no room now, None when there is nothing."""
        assert self._format is not None
        chunk = self._unsent or self._source.read(self._block)
        if chunk is None:
            self._end_of_source()
            return None
        if chunk.lost:
            self._lose(chunk)
            chunk = chunk._replace(lost=0)
        count = len(chunk.samples)
        if not count:
            return None
        if self._unsent is None:
            if chunk.heard:
                self._clock.observe(self.position + count, *chunk.heard)
            if self._source.live:
                self._node.report(
                    Mark(stream=self._spec.name, epoch=self.epoch, rate=self._format.rate,
                         end_sample=self.position + count)
                )  # fmt: skip
        self._unsent = chunk
        block = AudioBlock(
            stream=self._spec.name, epoch=self.epoch, first_sample=self.position, end_sample=self.position + count,
            rate=self._format.rate, channels=self._format.channels, dtype=self._format.dtype,
            utc_ns=self._clock.utc_ns(self.position), utc_error_ns=self._clock.utc_error_ns,
            heard_ns=chunk.heard[0] if chunk.heard else time.time_ns(),
        )  # fmt: skip
        samples = np.ascontiguousarray(chunk.samples, np.dtype(self._format.dtype).newbyteorder("<"))
        if not self._send(block, memoryview(samples).cast("B")):
            self._node.counts["held_blocks"] += 1
            return False
        self._unsent = None
        self._node.ledger.receive(self._spec.name, self.epoch, block.first_sample, block.end_sample, block.rate)
        self._tell_level(block, samples)
        self.position = block.end_sample
        return True

    def _lose(self, chunk: Chunk) -> None:
        assert self._format is not None
        end = self.position + chunk.lost
        self._node.ledger.lose(self._spec.name, self.epoch, end, self._format.rate, chunk.cause)
        self._node.counts["lost_samples"] += chunk.lost
        gap = Gap(
            stream=self._spec.name, epoch=self.epoch, first_sample=self.position, end_sample=end,
            rate=self._format.rate, cause=chunk.cause, place=self._node.name,
        )  # fmt: skip
        self._send(gap)
        self.position = end

    def _end_of_source(self) -> None:
        warning = self._source.warning()
        if warning:
            self._node.alarm("source-damaged", warning, self._spec.name)
        self._close_epoch("end of file", final=True)
        self._source.close()

    def _close_epoch(self, reason: str, final: bool, deadline: float | None = None) -> None:
        if self._format is not None:
            self._end_epoch(self._format.rate, reason, final, deadline)
        elif final:
            self._end_epoch(1, reason, final, deadline)  # it was never open: an epoch without samples
        self._over = self._over or final
        self._node.news = True

    def _end_epoch(self, rate: int, reason: str, final: bool, deadline: float | None = None) -> None:
        ended = Ended(
            stream=self._spec.name, epoch=self.epoch, end_sample=self.position, rate=rate, reason=reason, final=final
        )
        self._node.ledger.end(self._spec.name, self.epoch, self.position, rate, final)
        self._send(ended, wait=True, deadline=deadline or time.monotonic() + STOP_S)

    def _send(
        self, message: AudioOpened | AudioBlock | Gap | Ended, payload: memoryview | bytes = b"",
        wait: bool | None = None, deadline: float | None = None,
    ) -> bool:  # fmt: skip
        """A file waits for whoever listens; a live source never waits, but for its end."""
        node = self._node
        wait = self._fast if wait is None else wait
        if not wait and isinstance(message, AudioBlock) and not node.publisher.heard(self._topic):
            return False  # nobody is there: as good as no room

        def give_up() -> bool:
            node.while_waiting()
            return node.stopping and time.monotonic() > (deadline or 0.0)

        return node.publisher.send(self._topic, message, payload, wait=wait, give_up=give_up)

    def _tell_level(self, block: AudioBlock, samples: NDArray[np.generic]) -> None:
        topic = topic_of("level", self._spec.name)
        if self._node.publisher.heard(topic):
            level = self._level.add(block, samples)
            if level is not None:
                self._node.publisher.send(topic, level)


class _Level:
    """Gathers a tenth of a second."""

    def __init__(self) -> None:
        self._first, self._count, self._energy, self._peak, self._clipped = 0, 0, 0.0, 0.0, 0

    def add(self, block: AudioBlock, samples: NDArray[np.generic]) -> Level | None:
        if not self._count:
            self._first = block.first_sample
        values = samples.astype(np.float32).reshape(-1) * np.float32(1 / _FULL_SCALE[block.dtype])
        loudest = float(np.max(np.abs(values))) if len(values) else 0.0
        self._energy += float(np.dot(values, values)) / block.channels
        self._peak = max(self._peak, loudest)
        self._clipped += int(np.count_nonzero(np.abs(values) >= 0.9999)) if loudest >= 0.9999 else 0
        self._count += block.end_sample - block.first_sample
        if self._count < LEVEL_S * block.rate:
            return None
        level = Level(
            stream=block.stream, epoch=block.epoch, first_sample=self._first, end_sample=block.end_sample,
            rate=block.rate, rms_db=_db(self._energy / self._count), peak_db=_db(self._peak**2), clipped=self._clipped,
        )  # fmt: skip
        self._count, self._energy, self._peak, self._clipped = 0, 0.0, 0.0, 0
        return level


def _db(power: float) -> float:
    """A power relative to full scale in dB, with a floor at -120."""
    return round(10 * float(np.log10(power)), 2) if power > 1e-12 else -120.0


def _specs_of(job: Job) -> list[SourceSpec]:
    specs = source_specs(job.config.source_settings)
    return [spec for spec in specs if (spec.name == job.part if job.part else spec.kind != "mic")]


def main() -> None:
    """Runs the capture node as a child of the supervisor."""
    run_node(CaptureNode)


if __name__ == "__main__":
    main()
