"""The features node: audio in, frames out, for all streams at once and for each distinct front end that a model wants.

Whatever has arrived is taken in one call. A gap, like a new epoch, ends a *segment*: the resampler and the front end
give what they hold, and both begin anew behind it, so that frames never bridge what was not heard. Where one process
is not enough there are several, each with its share of the streams.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..models.bundle import find_bundle
from ..stream.bus import Publisher
from ..stream.clock import span_ns
from ..stream.features.frontend import Frames, FrontEnd, FrontEndSpec, clean
from ..stream.ledger import Hole, Ledger
from ..stream.messages import (
    FULL_SCALE,
    AudioBlock,
    AudioOpened,
    Ended,
    FeatureBlock,
    Gap,
    LedgerRow,
    Spectrum,
    topic_of,
)
from ..stream.resample import Resampler
from ..stream.shares import Share
from ..stream.spectrum import FLOOR_DB, STEP_DB, Bands, SpectrumMeter
from ..stream.wire import Envelope
from .node import Job, Node, run_node

SPECTRUM_S = 0.09  # a screen is shown a spectrum every tenth of a second, however fast a file is read
LOOK_S = 0.5
BATCH_SAMPLES = 1 << 20  # source samples that are taken together at most, which bounds the memory of a batch


class FeaturesNode(Node):
    """Runs the front ends of all configured models over all streams on the bus, or over a worker's share of them."""

    def __init__(self, job: Job, publisher: Publisher, wanted: Sequence[Wanted] | None = None):
        super().__init__(job, publisher)
        self._share = share = Share.parse(job.part, job.streams)
        if not share.whole and not share.known:
            self.ignores = lambda topic: not share.takes(topic.removeprefix("audio/"))
        self._front_ends: dict[str, FrontEnd] = {}
        self._windows: dict[str, list[Wanted]] = {}
        for one in _wanted_by(job) if wanted is None else wanted:
            key = one.spec.hash
            self._front_ends.setdefault(key, FrontEnd(one.spec))
            self._windows.setdefault(key, []).append(one)
        shown = (key for key, one in self._front_ends.items() if "log_mel" in one.spec.features)
        self._shown = next(shown, "")  # the front end whose log-mels screens are shown
        self._bands = Bands(self._front_ends[self._shown].spec) if self._shown else None
        self._ledger = Ledger("features", job.ledger)
        self._streams: dict[str, _Stream] = {}
        self._batch: list[tuple[_Stream, AudioBlock, NDArray[np.float32]]] = []
        self._batch_samples = 0

    def subscriptions(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self._share.topics("audio"), ()

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
            for lane in stream.lanes.values():
                lane.replaced += replaced
        self._batch.append((stream, block, mono))
        self._batch_samples += len(mono)
        if self._batch_samples >= BATCH_SAMPLES:
            self._compute_batch()

    def _compute_batch(self) -> None:
        """Computes all that is waiting, each stream's blocks joined, and publishes one message a stream."""
        if not self._batch:
            return
        began = time.perf_counter()
        joined: dict[str, tuple[_Stream, list[NDArray[np.float32]]]] = {}
        for stream, block, mono in self._batch:
            joined.setdefault(block.stream, (stream, []))[1].append(mono)
            stream.last = block
        self._batch, self._batch_samples = [], 0
        for key, front_end in self._front_ends.items():
            blocks = {
                name: stream.lanes[key].resampler.push(parts[0] if len(parts) == 1 else np.concatenate(parts))
                for name, (stream, parts) in joined.items()
            }
            for name, frames in front_end.push(blocks).items():
                stream = joined[name][0]
                lane = stream.lanes[key]
                known = frames.first_frame
                lane.hold(frames)
                if key == self._shown and stream.spectrum is not None:
                    self._show(stream, stream.spectrum, frames)
                if any(one.completes(known, lane.next_frame) for one in self._windows[key]):
                    self._publish(key, stream)
        self.delay("features", time.perf_counter() - began)

    def _show(self, stream: _Stream, shown: _Shown, frames: Frames) -> None:
        """Publishes the stream's spectrum a few times a second, while somebody listens."""
        assert stream.last is not None
        assert self._bands is not None
        now = time.monotonic()
        if now >= shown.look_at:
            topic = topic_of("spectrum", stream.last.stream)
            heard, shown.look_at = self.publisher.heard(topic), now + LOOK_S
            if heard and not shown.heard:
                shown.begin(stream.last.end_sample)
            shown.heard = heard
        if not shown.heard or not shown.meter.add(frames.values) or now < shown.due_at:
            return
        shown.due_at = now + SPECTRUM_S
        last = stream.last
        message = Spectrum(
            stream=last.stream, epoch=last.epoch, first_sample=min(shown.first_sample, last.end_sample),
            end_sample=last.end_sample, rate=last.rate, floor_db=FLOOR_DB, step_db=STEP_DB,
            bands_hz=self._bands.bands_hz,
        )  # fmt: skip
        self.publisher.send(topic_of("spectrum", last.stream), message, shown.meter.read().tobytes())
        shown.begin(last.end_sample)

    def _publish(self, key: str, stream: _Stream) -> None:
        """Publishes the frames that a lane holds, with the audio that they account for."""
        last, lane = stream.last, stream.lanes[key]
        assert last is not None
        values = np.concatenate(lane.held) if lane.held else np.empty((0, self._front_ends[key].spec.dims), np.float32)
        message = FeatureBlock(
            stream=last.stream,
            epoch=last.epoch,
            front_end=key,
            first_sample=lane.position,
            end_sample=max(lane.position, last.end_sample),
            rate=last.rate,
            segment_sample=stream.segment_sample,
            first_frame=lane.next_frame - len(values),
            frames=len(values),
            dims=values.shape[1],
            utc_ns=last.utc_ns + span_ns(lane.position - last.first_sample, last.rate),
            utc_error_ns=last.utc_error_ns,
            heard_ns=last.heard_ns,
            computed_ns=time.time_ns(),
            replaced=lane.replaced,
        )
        lane.held.clear()
        lane.position, lane.replaced = message.end_sample, 0
        payload = values.astype("<f4", copy=False).tobytes()
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
        """Publishes all that is held of a segment, what the resampler and the front end hold included."""
        if stream.last is None:
            return
        name = stream.last.stream
        for key, front_end in self._front_ends.items():
            lane = stream.lanes[key]
            lane.hold(front_end.push({name: lane.resampler.flush()})[name])
            lane.hold(front_end.flush(name))
            self._publish(key, stream)
        stream.last = None

    def _stream(self, name: str, epoch: int, rate: int) -> _Stream:
        stream = self._streams.get(name)
        if stream is None or stream.epoch != epoch or stream.rate != rate:
            if stream is not None:
                self._finish_segment(stream)
            stream = self._streams[name] = self._new_stream(epoch, rate, self._ledger.position(name, epoch))
            self.news = True
        return stream

    def _new_stream(self, epoch: int, rate: int, segment_sample: int) -> _Stream:
        lanes = {
            key: _Lane(Resampler(rate, front_end.spec.sr), segment_sample)
            for key, front_end in self._front_ends.items()
        }
        shown = _Shown(SpectrumMeter(self._bands), segment_sample) if self._bands else None
        return _Stream(epoch, rate, segment_sample, lanes, shown)

    def _drop(self, name: str) -> None:
        self._streams.pop(name, None)
        for front_end in self._front_ends.values():
            front_end.reset(name)


@dataclass(frozen=True)
class Wanted:
    """What a model wants: a front end, and windows of so many frames, so many frames apart.

    Frames are held until they complete a window, since nobody can use them before; one message then carries them all.
    """

    spec: FrontEndSpec
    window_frames: int = 1
    hop_frames: int = 1

    def completes(self, known: int, now: int) -> bool:
        """Whether a window is complete with `now` frames that was not with `known` ones."""
        return self._windows(now) > self._windows(known)

    def _windows(self, frames: int) -> int:
        return max(0, 1 + (frames - self.window_frames) // self.hop_frames)


@dataclass
class _Lane:
    """One stream's way through one front end."""

    resampler: Resampler
    position: int  # the audio that was published as accounted for
    next_frame: int = 0
    replaced: int = 0  # samples that were no sound, not told yet
    held: list[NDArray[np.float32]] = field(default_factory=list)  # frames that complete no window yet

    def hold(self, frames: Frames) -> None:
        if len(frames.values):
            self.held.append(frames.values)
            self.next_frame = frames.first_frame + len(frames.values)


@dataclass
class _Shown:
    """What of one stream's spectrum waits to be shown."""

    meter: SpectrumMeter
    first_sample: int
    heard: bool = False
    look_at: float = 0.0  # when to look again whether anybody listens
    due_at: float = 0.0

    def begin(self, sample: int) -> None:
        self.meter.forget()
        self.first_sample = sample


@dataclass
class _Stream:
    epoch: int
    rate: int
    segment_sample: int
    lanes: dict[str, _Lane]  # by front end
    spectrum: _Shown | None = None
    last: AudioBlock | None = None  # the newest of the segment


def _wanted_by(job: Job) -> list[Wanted]:
    manifests = [find_bundle(model.bundle).manifest for model in job.config.model_settings]
    return [Wanted(manifest.front_end, manifest.window_frames, manifest.hop_frames) for manifest in manifests]


def mix_down(block: AudioBlock, payload: memoryview) -> NDArray[np.float32]:
    """The mean of all channels, float32 `[samples]`, full scale 1."""
    samples = np.frombuffer(payload, f"<{np.dtype(block.dtype).str[1:]}").reshape(-1, block.channels)
    if block.dtype == "float32" and block.channels == 1:
        return samples[:, 0]
    total = samples[:, 0].astype(np.float32) if block.channels == 1 else samples.sum(axis=1, dtype=np.float32)
    total *= np.float32(1.0 / (FULL_SCALE[block.dtype] * block.channels))
    return total


def main() -> None:
    """Runs the features node as a child of the supervisor."""
    run_node(FeaturesNode)


if __name__ == "__main__":
    main()
