"""The features node: audio in, frames out, for all streams at once and for each distinct front end that a model wants.

Whatever has arrived is taken in one call. A gap, like a new epoch, ends a *segment*: the resampler and the front end
give what they hold, and both begin anew behind it, so that frames never bridge what was not heard.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.bundle import find_bundle
from ..stream.bus import Publisher
from ..stream.clock import span_ns
from ..stream.features.frontend import Frames, FrontEnd, FrontEndSpec, clean
from ..stream.ledger import Hole, Ledger
from ..stream.messages import AudioBlock, AudioOpened, Ended, FeatureBlock, Gap, LedgerRow, topic_of
from ..stream.resample import Resampler
from ..stream.wire import Envelope
from .node import Job, Node, run_node

BATCH_SAMPLES = 1 << 20  # source samples that are taken together at most, which bounds the memory of a batch

_FULL_SCALE = {"int16": 1 << 15, "int32": 1 << 31, "float32": 1}


class FeaturesNode(Node):
    """Runs the front ends of all configured models over all streams on the bus."""

    lossless = ("audio/",)

    def __init__(self, job: Job, publisher: Publisher, specs: Sequence[FrontEndSpec] | None = None):
        super().__init__(job, publisher)
        if specs is None:
            specs = [find_bundle(model.bundle).manifest.front_end for model in job.config.model_settings]
        self._front_ends = {spec.hash: FrontEnd(spec) for spec in specs}
        self._ledger = Ledger("features", job.ledger)
        self._streams: dict[str, _Stream] = {}
        self._batch: list[tuple[_Stream, AudioBlock, NDArray[np.float32]]] = []
        self._batch_samples = 0

    def ledger_rows(self) -> tuple[LedgerRow, ...]:
        return self._ledger.rows()

    def handle(self, envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            match envelope.message:
                case AudioBlock() as block:
                    self._take(block, envelope.payload)
                case Gap() as gap:
                    if hole := self._ledger.lose(gap.stream, gap.epoch, gap.end_sample, gap.rate, gap.cause):
                        self._interrupt(gap.stream, gap.epoch, gap.rate, hole, gap.place)
                case Ended() as ended:
                    self._end(ended)
                case AudioOpened() as opened:
                    self._compute_batch()
                    self._stream(opened.stream, opened.epoch, opened.rate)
        self._compute_batch()

    def _take(self, block: AudioBlock, payload: memoryview) -> None:
        start = self._ledger.position(block.stream, block.epoch)
        if block.end_sample <= start and block.end_sample > block.first_sample:
            return  # seen already
        stream = self._stream(block.stream, block.epoch, block.rate)
        hole = self._ledger.receive(block.stream, block.epoch, block.first_sample, block.end_sample, block.rate)
        if hole:
            self._interrupt(block.stream, block.epoch, block.rate, hole, self.name)
            stream = self._streams[block.stream]
        mono = mix_down(block, payload)
        known = max(0, start - block.first_sample)  # a block that overlaps what was accounted for
        mono, replaced = clean(mono[known:])
        if replaced:
            self.counts["replaced_samples"] += replaced
            stream.replaced += replaced
        self._batch.append((stream, block, mono))
        self._batch_samples += len(mono)
        if self._batch_samples >= BATCH_SAMPLES:
            self._compute_batch()

    def _compute_batch(self) -> None:
        """Computes all that is waiting, each stream's blocks joined, and publishes one message a stream."""
        if not self._batch:
            return
        began = time.perf_counter()
        joined: dict[str, tuple[_Stream, AudioBlock, AudioBlock, list[NDArray[np.float32]]]] = {}
        for stream, block, mono in self._batch:
            name = block.stream
            if name in joined:
                joined[name] = (stream, joined[name][1], block, joined[name][3])
                joined[name][3].append(mono)
            else:
                joined[name] = (stream, block, block, [mono])
        self._batch, self._batch_samples = [], 0
        for key, front_end in self._front_ends.items():
            blocks = {
                name: stream.resamplers[key].push(parts[0] if len(parts) == 1 else np.concatenate(parts))
                for name, (stream, _, _, parts) in joined.items()
            }
            for name, frames in front_end.push(blocks).items():
                stream, first, last, _ = joined[name]
                self._publish(key, stream, last, first, frames)
        for stream, _, last, _ in joined.values():
            stream.position, stream.replaced = last.end_sample, 0
            stream.last = last
        self.delay("features", time.perf_counter() - began)

    def _publish(self, key: str, stream: _Stream, last: AudioBlock, first: AudioBlock, frames: Frames) -> None:
        now = time.time_ns()
        message = FeatureBlock(
            stream=last.stream,
            epoch=last.epoch,
            front_end=key,
            first_sample=stream.position,
            end_sample=max(stream.position, last.end_sample),
            rate=last.rate,
            segment_sample=stream.segment_sample,
            first_frame=frames.first_frame,
            frames=len(frames.values),
            dims=frames.values.shape[1],
            utc_ns=first.utc_ns + span_ns(stream.position - first.first_sample, first.rate),
            utc_error_ns=last.utc_error_ns,
            heard_ns=last.heard_ns,
            computed_ns=now,
            replaced=stream.replaced,
        )
        payload = frames.values.astype("<f4", copy=False).tobytes()
        self.publisher.send(
            topic_of("features", key, last.stream), message, payload, wait=True, give_up=self.while_waiting
        )

    def _interrupt(self, name: str, epoch: int, rate: int, hole: Hole, place: str) -> None:
        """A hole: the segment before it is finished, the gap goes on, a new segment begins behind it."""
        self._compute_batch()
        stream = self._stream(name, epoch, rate)
        self._finish_segment(stream)
        self.counts["gaps"] += 1
        gap = Gap(
            stream=name,
            epoch=epoch,
            first_sample=hole.first,
            end_sample=hole.end,
            rate=rate,
            cause=hole.cause,
            place=place,
        )
        for key in self._front_ends:
            self.publisher.send(topic_of("features", key, name), gap, wait=True, give_up=self.while_waiting)
        self._streams[name] = self._new_stream(epoch, rate, hole.end)

    def _end(self, ended: Ended) -> None:
        if self._ledger.ended(ended.stream, ended.epoch):
            return
        self._compute_batch()
        stream = self._stream(ended.stream, ended.epoch, ended.rate)
        hole = self._ledger.end(ended.stream, ended.epoch, ended.end_sample, ended.rate, ended.final)
        if hole:
            self._interrupt(ended.stream, ended.epoch, ended.rate, hole, self.name)
        else:
            self._finish_segment(stream)
        for key in self._front_ends:
            self.publisher.send(topic_of("features", key, ended.stream), ended, wait=True, give_up=self.while_waiting)
        self._drop(ended.stream)
        self.news = True

    def finish(self) -> None:
        """Ends what nobody has ended: a stream whose capture is on another host and goes on."""
        for ended in self._ledger.endings("stopped"):
            self._end(ended)

    def _finish_segment(self, stream: _Stream) -> None:
        """Publishes the frames that the resampler and the front end still hold; they account for no new audio."""
        last = stream.last
        if last is None:
            return
        for key, front_end in self._front_ends.items():
            tail = front_end.push({last.stream: stream.resamplers[key].flush()})[last.stream]
            rest = front_end.flush(last.stream)
            for frames in (tail, rest):
                if len(frames.values):
                    self._publish(key, stream, last, last, frames)
        stream.last = None

    def _stream(self, name: str, epoch: int, rate: int) -> _Stream:
        stream = self._streams.get(name)
        if stream is None or stream.epoch != epoch or stream.rate != rate:
            if stream is not None:
                self._finish_segment(stream)
            stream = self._streams[name] = self._new_stream(epoch, rate, self._ledger.position(name, epoch))
        return stream

    def _new_stream(self, epoch: int, rate: int, segment_sample: int) -> _Stream:
        resamplers = {key: Resampler(rate, front_end.spec.sr) for key, front_end in self._front_ends.items()}
        return _Stream(epoch, rate, segment_sample, segment_sample, resamplers)

    def _drop(self, name: str) -> None:
        self._streams.pop(name, None)
        for front_end in self._front_ends.values():
            front_end.drop(name)


@dataclass
class _Stream:
    epoch: int
    rate: int
    segment_sample: int
    position: int  # samples published as accounted for
    resamplers: dict[str, Resampler]  # by front end
    last: AudioBlock | None = None  # of the segment, for what `_finish_segment` publishes
    replaced: int = 0


def mix_down(block: AudioBlock, payload: memoryview) -> NDArray[np.float32]:
    """The mean of all channels, float32 `[samples]`, full scale 1."""
    samples = np.frombuffer(payload, f"<{np.dtype(block.dtype).str[1:]}").reshape(-1, block.channels)
    if block.dtype == "float32" and block.channels == 1:
        return samples[:, 0]
    total = samples[:, 0].astype(np.float32) if block.channels == 1 else samples.sum(axis=1, dtype=np.float32)
    total *= np.float32(1.0 / (_FULL_SCALE[block.dtype] * block.channels))
    return total


def main() -> None:
    """Runs the features node as a child of the supervisor."""
    run_node(FeaturesNode)


if __name__ == "__main__":
    main()
