"""The recorder: remembers the last seconds of every stream, and has a clip written for each event.

How clips are cut is in `stream/clip_cutter.py`, how they are written in `stream/clip_writer.py`. Here is what goes on
around it: a file read at full speed is held back, so that it stays within what is remembered ahead of the models and of
the disk; a live source cannot be held back, and a clip that its ring is about to overwrite is cut with what is there.

The memory is history_s * rate * channels * bytes a sample for each stream (40 s of 48 kHz stereo in 16 bits: 7.7 MB),
and `clip_writer.QUEUE_BYTES` for what waits to be written.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..stream.bus import Publisher
from ..stream.clip_cutter import FOREVER, Remembered, Wanted
from ..stream.clip_writer import ClipWriter, Refused, Resumed, Saved, Stopped
from ..stream.clips import ClipRecord
from ..stream.clock import seconds
from ..stream.errors import EarwitnessError
from ..stream.ledger import Ledger
from ..stream.messages import (
    AudioBlock,
    AudioOpened,
    ClipSaved,
    Ended,
    EventEnd,
    EventStart,
    Gap,
    LedgerRow,
    ScoreBlock,
    topic_of,
)
from ..stream.wire import Envelope
from .node import HEARTBEAT_S, Job, Node, run_node

OPENING_S = 10.0  # the folder is put right in the background when that takes longer
PATIENCE_S = 20.0  # a file is no longer held back when the models or the disk have not moved for so long
LINGER_S = 10.0  # an epoch that is over waits so long for the models to say that they are through with it

Key = tuple[str, int]  # stream, epoch


class RecorderNode(Node):
    """Cuts clips out of all streams on the bus and has them written below `config.out`."""

    lossless = ("audio/", "event/", "scores/")
    at_most: ClassVar[int] = 32  # blocks are large

    def __init__(self, job: Job, publisher: Publisher):
        super().__init__(job, publisher)
        self._settings = job.config.recorder
        self._models = len({model.bundle for model in job.config.model_settings})
        self._ledger = Ledger("recorder", job.ledger)
        self._inherited = {(row.stream, row.epoch): row for row in job.ledger if row.epoch and not row.ended}
        self._epochs: dict[Key, Remembered] = {}
        self._touched: dict[Key, float] = {}
        self._writing: Counter[Key] = Counter()  # clips of which the outcome is not known
        self._audio: deque[Envelope] = deque()  # received, to be heard when there is room
        self._waits_since: float | None = None
        self._unsaid: deque[ClipSaved] = deque(maxlen=1000)
        self._started_at = time.monotonic()
        self._finish_by: float | None = None
        self._writer = ClipWriter(Path(job.config.out), self._settings)
        self._writer.wait_until_open(OPENING_S)
        self._take_outcomes(first_start=not job.ledger)

    def ledger_rows(self) -> tuple[LedgerRow, ...]:
        return self._ledger.rows()

    def handle(self, envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            kind, *middle = envelope.topic.split("/")
            if kind == "audio":
                self._audio.append(envelope)
                continue
            match envelope.message:
                case EventStart() | EventEnd() as event:
                    self._epoch(event.stream, event.epoch, event.rate).want(event)
                case ScoreBlock() | Gap() as decided:
                    epoch = self._epoch(decided.stream, decided.epoch, decided.rate)
                    epoch.decided[middle[0]] = max(decided.end_sample, epoch.decided.get(middle[0], 0))
                    self._waits_since = None
                case Ended() as ended:
                    self._epoch(ended.stream, ended.epoch, ended.rate).decided[middle[0]] = FOREVER
        self._advance()

    def tick(self) -> float:
        self._take_outcomes()
        self._advance()
        now = time.monotonic()
        for key, epoch in self._epochs.items():
            if epoch.history is None and epoch.over_since is None and now - self._touched[key] > LINGER_S:
                epoch.over_since = now - 2 * LINGER_S  # the models speak of what was over before this node was there
        if self._inherited and now - self._started_at > LINGER_S:
            # Their end was heard before the restart, or they have fallen silent: nobody shall wait for this place.
            for key, row in self._inherited.items():
                self._ledger.end(*key, row.next_sample, row.rate, final=True)
            self._inherited.clear()
            self.news = True
        return 0.02 if self._audio or not self._writer.idle else HEARTBEAT_S / 2

    def finish(self) -> None:
        """Writes what is open with what there is, for as long as a clean stop may take."""
        self._finish_by = time.monotonic() + max(0.5, self.config.supervisor.stop_s - 2.0)
        self._advance()
        for epoch in self._epochs.values():
            for wanted in list(epoch.wanted.values()):
                self._cut(epoch, wanted)
        while not self._writer.idle and time.monotonic() < self._finish_by:
            self._pause()
        if not self._writer.close(max(0.1, self._finish_by - time.monotonic())):
            self.alarm("recording-stopped", "the disk did not answer in time: the last clips were not written")
        self._take_outcomes()
        self.counts["clips_lost"] += sum(self._writing.values())
        for row in self._ledger.rows():
            if not row.ended:
                self._ledger.end(row.stream, row.epoch, row.next_sample, row.rate, final=True)

    # ---- hearing

    def _advance(self) -> None:
        """Hears what there is room for, and cuts what is complete."""
        for epoch in self._epochs.values():
            self._cut_what_is_due(epoch)
        while self._audio and not self._must_wait(self._audio[0]):
            self._hear(self._audio.popleft())
            self._waits_since = None
        self.held = frozenset(("audio",)) if self._audio else frozenset()
        for key, epoch in list(self._epochs.items()):
            if self._is_over(key, epoch):
                del self._epochs[key], self._touched[key]
                if epoch.history is not None or epoch.ended is not None:
                    end = epoch.ended.end_sample if epoch.ended else self._ledger.position(*key)
                    self._ledger.end(*key, end, epoch.rate, final=bool(epoch.ended and epoch.ended.final))
                    self.news = True

    def _must_wait(self, envelope: Envelope) -> bool:
        """Whether this block would overwrite what a clip may still need, and its source can be held back."""
        block = envelope.message
        if not isinstance(block, AudioBlock) or self._finish_by is not None:
            return False
        epoch = self._epochs.get((block.stream, block.epoch))
        if epoch is None or epoch.history is None or epoch.live:
            return False
        undecided = self._decided(epoch) - epoch.limits.late - epoch.limits.pre
        needed = min([undecided, *(wanted.first for wanted in epoch.wanted.values())])
        if block.end_sample - needed <= epoch.capacity:
            return False
        now = time.monotonic()
        self._waits_since = self._waits_since or now
        if now - self._waits_since > PATIENCE_S:
            self.counts["no_longer_held_back"] += 1
            epoch.live = True
        return not epoch.live

    def _hear(self, envelope: Envelope) -> None:
        message = envelope.message
        assert isinstance(message, AudioOpened | AudioBlock | Gap | Ended)
        key = (message.stream, message.epoch)
        self._inherited.pop(key, None)
        if key not in self._epochs and self._ledger.ended(*key):
            return
        epoch = self._epoch(*key, message.rate)
        match message:
            case AudioOpened() as opened:
                epoch.live = opened.live
                for other in self._epochs.values():
                    if other.stream == opened.stream and other.epoch < opened.epoch and other.over_since is None:
                        other.over_since = time.monotonic()
            case AudioBlock() as block:
                self._hear_block(epoch, block, envelope.payload)
            case Gap() as gap:
                epoch.miss(self._ledger.lose(*key, gap.end_sample, gap.rate, gap.cause))
            case Ended() as ended:
                epoch.miss(self._ledger.receive(*key, ended.end_sample, ended.end_sample, ended.rate))
                epoch.ended, epoch.over_since = ended, epoch.over_since or time.monotonic()
        self._cut_what_is_due(epoch)

    def _hear_block(self, epoch: Remembered, block: AudioBlock, payload: memoryview) -> None:
        samples = np.frombuffer(payload, np.dtype(block.dtype).newbyteorder("<")).reshape(-1, block.channels)
        if epoch.history is None:
            if not epoch.begin_with(block):
                held = f"only the last {seconds(epoch.capacity, block.rate):.0f} s are remembered"
                self.alarm("short-history", f"{block.channels} channels at {block.rate} Hz: {held}", block.stream)
        elif (block.rate, block.channels, block.dtype) != (epoch.rate, epoch.channels, epoch.dtype):
            self.counts["changed_within_epoch"] += 1
            return
        if block.end_sample <= self._ledger.position(block.stream, block.epoch):
            return  # heard already
        for wanted in epoch.in_danger(block.end_sample):
            self._cut(epoch, wanted)  # now or never
        epoch.miss(self._ledger.receive(block.stream, block.epoch, block.first_sample, block.end_sample, block.rate))
        epoch.hear(block.first_sample, samples)

    # ---- cutting

    def _cut_what_is_due(self, epoch: Remembered) -> None:
        for wanted in list(epoch.wanted.values()):
            if epoch.is_due(wanted, self._decided(epoch)) and (
                self._finish_by is not None or self._writer.has_room(epoch.nbytes(wanted))
            ):
                self._cut(epoch, wanted)

    def _cut(self, epoch: Remembered, wanted: Wanted) -> None:
        """Hands one clip to the writer; what cannot be had is counted."""
        cut = epoch.cut(wanted)
        if cut is None:
            self.counts["clips_without_sound"] += 1
            self._miss_clip(epoch.stream, "its sound was not heard here, or is no longer remembered")
        elif not self._wait_for_room(cut.samples.nbytes):
            self.counts["clips_lost"] += 1
            self._miss_clip(epoch.stream, "the disk is too slow")
        else:
            self._writing[epoch.stream, epoch.epoch] += 1
            self._writer.submit(cut.record, cut.samples)

    def _miss_clip(self, stream: str, why: str) -> None:
        self.alarm("clip-missing", f"an event has no clip: {why}", stream)

    def _wait_for_room(self, nbytes: int) -> bool:
        """At the end of a run the writer is waited for; before, a clip that cannot wait is lost."""
        while not self._writer.has_room(nbytes):
            if self._finish_by is None or time.monotonic() > self._finish_by:
                return False
            self._pause()
        return True

    def _pause(self) -> None:
        self._take_outcomes()
        self.while_waiting()
        time.sleep(0.01)

    # ---- telling

    def _take_outcomes(self, first_start: bool = False) -> None:
        for outcome in self._writer.outcomes():
            self._waits_since = None
            match outcome:
                case Saved(record, took_s):
                    self.counts["clips"] += 1
                    self.delay("clip", took_s)
                    self._written(record)
                    self.clear_alarm("clip-missing", "clips are written again", record.stream)
                    self.clear_alarm("quota-full", "there is room for clips again")
                    self._unsaid.append(
                        ClipSaved(
                            id=record.id,
                            stream=record.stream,
                            label=record.label,
                            path=f"clips/{record.file_name}",
                            first_sample=record.first_sample,
                            end_sample=record.end_sample,
                            rate=record.rate,
                        )
                    )
                case Refused(record, reason, text):
                    self.counts["clips_lost" if reason == "stopped" else "clips_not_kept"] += 1
                    self._written(record)
                    if reason == "quota":
                        self.alarm("quota-full", f"clips are not kept: {text}")
                case Stopped(text, mendable):
                    if first_start and mendable:
                        self._writer.close(1.0)
                        raise EarwitnessError(f"clips cannot be written: {text}")
                    self.alarm("recording-stopped", f"recording stopped, listening goes on: {text}")
                case Resumed():
                    self.clear_alarm("recording-stopped", "recording goes on")
        while self._unsaid and self.publisher.send(topic_of("clip", self._unsaid[0].stream), self._unsaid[0]):
            self._unsaid.popleft()

    def _written(self, record: ClipRecord) -> None:
        key = (record.stream, record.epoch)
        self._writing[key] -= 1
        if not self._writing[key]:
            del self._writing[key]

    # ---- epochs

    def _epoch(self, stream: str, epoch: int, rate: int) -> Remembered:
        key = (stream, epoch)
        if key not in self._epochs:
            self._epochs[key] = Remembered(stream, epoch, rate, self.config.pace != "max", self._settings)
            self.news = True
        self._touched[key] = time.monotonic()
        return self._epochs[key]

    def _is_over(self, key: Key, epoch: Remembered) -> bool:
        """Whether nothing more is to come of an epoch: all its events are known, their clips written."""
        if epoch.wanted or key in self._writing:
            return False
        return epoch.over_since is not None and self._decided(epoch) == FOREVER

    def _decided(self, epoch: Remembered) -> int:
        """The sample up to which every model has said what it heard."""
        lingered = epoch.over_since is not None and time.monotonic() - epoch.over_since > LINGER_S
        if lingered or (epoch.over_since is not None and self._finish_by is not None):
            return FOREVER
        return epoch.decided_by(self._models)


def main() -> None:
    """The entry of the child process."""
    run_node(RecorderNode)


if __name__ == "__main__":
    main()
