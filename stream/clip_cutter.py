"""What is remembered of one epoch of a stream, and the clips that are wanted of it, cut on exact sample indices.

The rules, for an event heard from `onset` to `offset` (sample indices of the source):

- Its clip is [onset - pre-roll, offset + post-roll), at most `max_clip_s` long: of a longer event it holds the first
  part, and its JSON says `truncated`. It is due when all of it has been heard, or the epoch is over.
- Each event has a clip of its own, however many of them sound at once, so that a clip has one label. The other events
  in it that are known when it is cut are listed in its JSON as `overlaps`; of two that overlap at least the later one
  names the earlier.
- Lost sound is silence of the same length and listed. Of an event of which nothing was heard there is no clip.

Audio and events come in any order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .clips import ClipGap, ClipOverlap, ClipRecord, RecorderSettings
from .clock import NS, iso, seconds, span_samples
from .ledger import Hole
from .messages import AudioBlock, Ended, EventEnd, EventStart
from .ring import History, Samples

MOST_HISTORY_BYTES = 128 << 20  # of one epoch; with many channels the history is shorter than asked for
FOREVER = 1 << 62  # samples: a model is through with an epoch


class ClipCut(NamedTuple):
    """A clip as it was cut: what is known of it, and its samples `[samples, channels]`, owned by the receiver."""

    record: ClipRecord
    samples: Samples


class Remembered:
    """The newest sound of one epoch, its events, and the clips that are wanted of them.

    The ring is made when the first block tells the format. `decided` says for each model up to which sample it has
    scored: only then is it certain that an event goes on.
    """

    def __init__(self, stream: str, epoch: int, rate: int, live: bool, settings: RecorderSettings) -> None:
        self.stream, self.epoch, self.rate, self.live = stream, epoch, rate, live
        self.limits = Limits.of(settings, rate)
        self.channels = 0
        self.dtype = ""
        self.capacity = 0  # samples
        self.begin = 0  # where this node began to hear
        self.history: History | None = None  # counts from `begin`
        self.decided: dict[str, int] = {}  # by model
        self.wanted: dict[str, Wanted] = {}  # by the event's id
        self.ended: Ended | None = None
        self.over_since: float | None = None  # by the monotonic clock: ended, or followed by a newer epoch
        self._holes: deque[ClipGap] = deque()
        self._events: dict[str, ClipOverlap] = {}  # that may sound in what is remembered

    def want(self, event: EventStart | EventEnd) -> None:
        """Takes the start or the end of an event."""
        end = event.offset_sample if isinstance(event, EventEnd) else None
        known = event.id in self._events
        if known and end is None:
            return
        self._events[event.id] = ClipOverlap(
            id=event.id, label=event.label, onset_sample=event.onset_sample, offset_sample=end
        )
        if not known:  # an end alone: the start was told before this node was there
            self.wanted[event.id] = Wanted(event, max(0, event.onset_sample - self.limits.pre), end)
        elif event.id in self.wanted:
            self.wanted[event.id].event, self.wanted[event.id].event_end = event, end

    def begin_with(self, block: AudioBlock) -> bool:
        """Makes the ring for blocks like this one; False when it had to be shorter than asked for."""
        itemsize = np.dtype(block.dtype).itemsize
        asked = self.limits.history
        self.channels, self.dtype, self.begin = block.channels, block.dtype, block.first_sample
        self.capacity = max(1, min(asked, MOST_HISTORY_BYTES // (block.channels * itemsize)))
        if self.capacity < asked:
            self.limits = self.limits.within(self.capacity)
        self.history = History(self.capacity, block.channels, block.dtype)
        return self.capacity == asked

    def miss(self, hole: Hole | None) -> None:
        """Takes a hole as the ledger found it: all from the last sample on up to its end is lost."""
        if hole is not None:
            self._holes.append(ClipGap(first_sample=hole.first, end_sample=hole.end, cause=hole.cause))
            if self.history is not None:
                self.history.skip(hole.end - self.begin)

    def hear(self, first_sample: int, samples: Samples) -> None:
        """Takes samples `[samples, channels]`; those that are known already are not replaced."""
        assert self.history is not None
        self.history.append(first_sample - self.begin, samples)
        self._forget()

    def decided_by(self, models: int) -> int:
        """The sample up to which so many models have all scored."""
        return self.begin if len(self.decided) < models else min(self.decided.values(), default=self.begin)

    def end_of(self, wanted: Wanted) -> int:
        """Where its clip ends as far as is known."""
        longest = wanted.first + self.limits.longest
        return longest if wanted.event_end is None else min(wanted.event_end + self.limits.post, longest)

    def is_due(self, wanted: Wanted, decided: int) -> bool:
        """Whether all that belongs to its clip is known and heard, or never will be."""
        heard = 0 if self.history is None else self.begin + self.history.end_sample
        over = self.over_since is not None
        end = self.end_of(wanted)
        if wanted.event_end is not None:
            return over or heard >= end
        goes_on = decided >= end + self.limits.late  # beyond the longest clip
        return (goes_on and heard >= end) or (over and decided >= FOREVER)

    def in_danger(self, end_sample: int) -> list[Wanted]:
        """The clips of which samples would be overwritten, if the next block ended at `end_sample`."""
        return [wanted for wanted in self.wanted.values() if wanted.first < end_sample - self.capacity]

    def cut(self, wanted: Wanted) -> ClipCut | None:
        """The clip with what there is, which is not wanted any more; None when nothing of it was heard."""
        event = wanted.event
        del self.wanted[event.id]
        if self.history is None:
            return None
        end = min(self.end_of(wanted), self.begin + self.history.end_sample)
        piece = self.history.cut(wanted.first - self.begin, end - self.begin)
        gaps = [(gap_first + self.begin, gap_end + self.begin) for gap_first, gap_end in piece.gaps]
        if sum(gap_end - gap_first for gap_first, gap_end in gaps) >= end - wanted.first:
            return None
        offset = wanted.event_end
        truncated = end == wanted.first + self.limits.longest and (offset is None or offset > end)
        notes = []
        if event.onset_sample - wanted.first < self.limits.pre:
            notes.append("pre-roll shortened: the stream began")
        if end < self.end_of(wanted):
            notes.append("shortened: the stream ended")
        elif offset is not None and offset <= end < offset + self.limits.post:
            notes.append("post-roll shortened: it is a clip of the greatest length")
        if offset is None:
            notes.append("the event's end was not known yet")
        record = ClipRecord(
            id=event.id,
            label=event.label,
            score=round(event.score, 4),
            stream=self.stream,
            epoch=self.epoch,
            utc=iso(event.utc_ns),
            utc_error_ms=round(event.utc_error_ns / 1e6, 3),
            model=event.model,
            onset_sample=event.onset_sample,
            offset_sample=offset,
            rate=self.rate,
            channels=self.channels,
            dtype=self.dtype,
            first_sample=wanted.first,
            end_sample=end,
            duration_s=seconds(end - wanted.first, self.rate),
            pre_roll_s=seconds(event.onset_sample - wanted.first, self.rate),
            post_roll_s=0.0 if offset is None else seconds(max(0, end - offset), self.rate),
            truncated=truncated,
            gaps=tuple(self._explain(gaps)),
            overlaps=tuple(self._overlaps(event.id, wanted.first, end)),
            notes=tuple(notes),
        )
        return ClipCut(record, piece.samples)

    def nbytes(self, wanted: Wanted) -> int:
        """The memory that its clip takes."""
        return (self.end_of(wanted) - wanted.first) * self.channels * (2 if self.dtype == "int16" else 4)

    def _forget(self) -> None:
        """Drops what lies before all that is remembered."""
        if self.history is None:
            return
        first = self.begin + self.history.end_sample - self.capacity
        while self._holes and self._holes[0].end_sample <= first:
            self._holes.popleft()
        for event in list(self._events.values()):
            end = event.offset_sample
            if (end if end is not None else event.onset_sample + 10 * self.capacity) < first and (
                event.id not in self.wanted
            ):
                del self._events[event.id]

    def _explain(self, gaps: list[tuple[int, int]]) -> Iterator[ClipGap]:
        """The gaps of a clip with their causes."""
        for first, end in gaps:
            for hole in self._holes:
                if first < hole.end_sample and hole.first_sample < end:
                    if first < hole.first_sample:
                        yield ClipGap(first_sample=first, end_sample=hole.first_sample, cause="no longer remembered")
                    yield ClipGap(
                        first_sample=max(first, hole.first_sample),
                        end_sample=min(end, hole.end_sample),
                        cause=hole.cause,
                    )
                    first = min(end, hole.end_sample)
            if first < end:
                yield ClipGap(first_sample=first, end_sample=end, cause="no longer remembered")

    def _overlaps(self, event_id: str, first: int, end: int) -> Iterator[ClipOverlap]:
        """The other events that sound in a clip."""
        for other in self._events.values():
            sounds_on = other.offset_sample is None or other.offset_sample > first
            if other.id != event_id and other.onset_sample < end and sounds_on:
                yield other


@dataclass
class Wanted:
    """A clip that is not complete yet."""

    event: EventStart | EventEnd  # the newest word on it
    first: int
    event_end: int | None = None


@dataclass(frozen=True)
class Limits:
    """The settings in samples of one rate."""

    pre: int
    post: int
    longest: int
    history: int
    late: int  # by so much the decision about a sample may come after it has been scored

    @classmethod
    def of(cls, settings: RecorderSettings, rate: int) -> Limits:
        late_s = (settings.history_s - settings.max_clip_s) / 2
        durations = (settings.pre_roll_s, settings.post_roll_s, settings.max_clip_s, settings.history_s, late_s)
        return cls(*(span_samples(round(duration * NS), rate) for duration in durations))

    def within(self, capacity: int) -> Limits:
        """Clips that fit into a shorter history."""
        return replace(self, longest=min(self.longest, capacity * 2 // 3), late=min(self.late, capacity // 6))
