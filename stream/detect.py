"""From scores to events: when did what begin, when was it over, and how sure is that.

A score is heard for a window of about a second, every quarter of a second; an event has an onset and an offset that
are much finer. So there are two halves:

**Whether** is decided from scores alone. Those of the last `smooth_windows` windows are averaged; a label's event
begins where the average reaches the label's threshold and ends where it falls below `release` times the threshold. It
is announced once it has lasted `min_duration_s`; one that ends sooner never was. An event that follows another of its
label by less than `merge_gap_s` continues it. There is no longest event: rain that falls for an hour is one event of an
hour, announced when it began.

**When** is read from the loudness of the frames (`edges.py`). The onset is the earliest of the clear rises in the
windows that led to the decision, from the first one on that reached the lower threshold without interruption; if there
is none, in all windows back to a window's length and `smooth_windows` ago, as the sound may have been taken for another
at first. The offset is the latest of the clear falls in the last window that reached the lower threshold. Where nothing
rises clearly the onset is the middle of the first window that reached the threshold, or the segment's beginning if that
was its first window; where nothing falls clearly the offset is the middle of the last window, or the segment's end if
the event lasted until then. (80 clips of ESC-10 in quiet noise, a compact CNN: onsets off by 4 ms in the median, 96 of
100 by less than 0.3 s; most of the rest are steady sounds that another label was given to at first.)

A model that carries a state decides on a window of a hop, by what it heard long before that. Its windows are then taken
to be `context_s` long, with the same ends: where it says how long, onset and offset are looked for there.

All of it is a function of the segment's frames and scores: no clock, no sizes of portions. For a decision on window k
nothing behind window k is looked at, so that a stream decides as a file does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .detect_settings import DetectSettings
from .edges import Loudness
from .errors import EarwitnessError, nearest
from .features.frontend import FrontEndSpec
from .resample import input_sample

_UNITS = 10_000  # see Detector.push


@dataclass(frozen=True, slots=True)
class Start:
    """An event began, and this is sure.

    Attributes:
        label: what.
        window: number of the window that decided, counted from the segment.
        score: the averaged score that decided, 0..1.
        onset_sample: of the epoch, at the source's rate.
    """

    label: str
    window: int
    score: float
    onset_sample: int


@dataclass(frozen=True, slots=True)
class End:
    """The label's event is over. As `Start`, with the best averaged score and the sample behind the event."""

    label: str
    window: int
    score: float
    onset_sample: int
    offset_sample: int


Decision = Start | End


class Detector:
    """Decides on the events of one segment of one stream. Make a new one for each segment.

    First `hear` the frames, then `push` the scores of the windows that they complete, at last `flush`. At any time at
    most one event of a label is going on; a label's events never overlap.

    Args:
        labels: of the scores' columns.
        background: the label that is never an event.
        thresholds: 0..1 for each of the other labels.
        settings: see `DetectSettings`.
        spec: the front end that the frames come from.
        window_frames: frames of a window; window k begins at frame `k * hop_frames`.
        hop_frames: frames from window to window.
        rate: of the source, Hz; decisions are in its samples.
        segment_sample: the segment's first sample, counted from the epoch.

    Raises:
        EarwitnessError: when labels and thresholds do not fit each other.

    >>> detector = Detector(["dog", "background"], "background", {"dog": 0.5}, DetectSettings(smooth_windows=1),
    ...                     FrontEndSpec(), window_frames=96, hop_frames=24, rate=48000)
    >>> detector.hear(0, np.repeat([-80.0, -20.0], 96)[:, None].astype(np.float32))
    >>> decisions = detector.push(0, np.array([[0.0, 1.0], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]))
    >>> decisions
    [Start(label='dog', window=3, score=0.9, onset_sample=46848)]
    """

    def __init__(
        self,
        labels: Sequence[str],
        background: str,
        thresholds: Mapping[str, float],
        settings: DetectSettings,
        spec: FrontEndSpec,
        *,
        window_frames: int,
        hop_frames: int,
        rate: int,
        segment_sample: int = 0,
    ) -> None:
        check_thresholds(labels, background, thresholds)
        self._labels = list(labels)
        self._spec, self._rate, self._segment_sample = spec, rate, segment_sample
        self._window, self._hop = window_frames, hop_frames
        # A background that is on from a threshold beyond all scores never begins.
        on = [_UNITS + 1 if each == background else max(1, round(thresholds[each] * _UNITS)) for each in labels]
        self._on = np.array(on, np.int64)
        self._low = np.maximum(1, np.rint(self._on * settings.release).astype(np.int64))
        frame_s = spec.hop_length / spec.sr
        self._smooth = settings.smooth_windows
        self._min_windows = math.ceil(settings.min_duration_s / (frame_s * hop_frames) - 1e-9)
        self._merge_frames = settings.merge_gap_s / frame_s
        self._loudness = Loudness(spec)
        self._context = max(window_frames, round(settings.context_s / frame_s))  # frames that a decision rests on
        self._kept_windows = self._smooth + -(-self._context // hop_frames)  # how far back a run is followed
        self._scores: list[NDArray[np.int64]] = []  # of the last windows, in units, from window _first on
        self._first = self._begin = self._next = -1  # _begin: the first window of all
        self._events: dict[int, _Event] = {}  # by label index
        self._offsets: dict[int, int] = {}  # of the last events that are over

    def hear(self, first_frame: int, frames: NDArray[np.float32]) -> None:
        """Take frames `[frames, dims]` as they come from the front end, numbered from `first_frame` on."""
        self._loudness.add(first_frame, frames)

    def push(self, first_window: int, scores: NDArray[np.floating[Any]]) -> list[Decision]:
        """Decide on consecutive windows, from number `first_window` on, whose frames were all heard.

        Args:
            first_window: counted from the segment; only the first call may begin anywhere.
            scores: `[windows, classes]`, 0..1. They are rounded to 1e-4 and then added up as whole numbers, so that
                averages are exact and scores that mean to equal a threshold (0.5, 1.0) do, although a model's last
                bits may differ with the size of its batch.

        Returns:
            What is sure now, in order of the windows and then of the labels.
        """
        if self._next < 0:
            self._first = self._begin = self._next = first_window
        if first_window != self._next:
            raise ValueError(f"window {self._next} is next, not {first_window}")
        if scores.ndim != 2 or scores.shape[1] != len(self._labels):
            raise ValueError(f"scores are [windows, {len(self._labels)}], not {list(scores.shape)}")
        if not np.all((scores > -1e-3) & (scores < 1 + 1e-3)):
            raise ValueError("scores must be from 0 to 1")
        decisions: list[Decision] = []
        for row in np.rint(scores.astype(np.float64) * _UNITS).astype(np.int64):
            decisions += self._decide(row)
            self._next += 1
            self._loudness.forget(self._span(self._next - self._kept_windows)[0])
        return decisions

    def flush(self) -> list[Decision]:
        """End the segment, and with it the events that are going on. The detector is then used up."""
        decisions: list[Decision] = []
        for index, event in sorted(self._events.items()):
            if event.announced:
                if event.offset is None:
                    event.offset = self._offset(index, event, at_end=True)
                decisions.append(self._end(index, event, self._next - 1))
        self._events.clear()
        return decisions

    def _decide(self, row: NDArray[np.int64]) -> list[Decision]:
        self._scores = [*self._scores, row][-self._kept_windows :]
        self._first = self._next - len(self._scores) + 1
        recent = self._scores[-self._smooth :]
        total = np.sum(recent, axis=0)
        is_on, is_low = total >= self._on * len(recent), total >= self._low * len(recent)
        decisions: list[Decision] = []
        for index in sorted({*np.flatnonzero(is_on).tolist(), *self._events}):
            score = float(total[index]) / (len(recent) * _UNITS)
            decisions += self._step(index, bool(is_on[index]), bool(is_low[index]), score)
        return decisions

    def _step(self, index: int, on: bool, low: bool, score: float) -> list[Decision]:
        """One label at the window `_next`."""
        window, event, decisions = self._next, self._events.get(index), list[Decision]()
        if event is not None and event.offset is not None and on:  # paused, and here it is again
            onset = self._onset(index, event.offset)
            if onset - event.offset < self._merge_frames:
                event.offset = None
            else:
                decisions.append(self._end(index, event, window))
                event = self._events[index] = _Event(window, onset)
        elif event is None and on:
            event = self._events[index] = _Event(window, self._onset(index, self._offsets.get(index, 0)))
        if event is None:
            return decisions
        if event.offset is None:
            if low:
                event.best = max(event.best, score)
                if not event.announced and window - event.first >= self._min_windows:
                    event.announced = True
                    decisions.append(Start(self._labels[index], window, score, self._sample(event.onset)))
            elif event.announced:
                event.offset = self._offset(index, event)
            else:
                del self._events[index]
                return decisions
        if event.offset is not None and self._span(window + 1)[0] - event.offset >= self._merge_frames:
            decisions.append(self._end(index, event, window))  # whatever comes now begins too late to continue it
            del self._events[index]
        return decisions

    def _end(self, index: int, event: _Event, window: int) -> End:
        assert event.offset is not None
        self._offsets[index] = event.offset
        onset, offset = self._sample(event.onset), self._sample(event.offset)
        return End(self._labels[index], window, event.best, onset, max(offset, onset + 1))

    def _onset(self, index: int, not_before: int) -> int:
        """The frame at which the event that is on at the newest window began."""
        first, last = self._run(index)
        reached = (at for at in range(first, last + 1) if self._score(at, index) >= self._on[index])
        sure = next(reached, last)
        end = self._span(self._first + len(self._scores) - 1)[1]
        found = self._loudness.onset_in(max(self._span(first)[0], not_before), end)
        if found is None:
            found = self._loudness.onset_in(max(self._span(self._first)[0], not_before), end)
        if found is None:
            begin, end = self._span(sure)
            found = begin if sure == self._begin else end - -(-self._context // 2)
        return max(found, not_before)

    def _offset(self, index: int, event: _Event, at_end: bool = False) -> int:
        """The frame before which the event ended."""
        start, last = self._span(self._run(index)[1])
        end = min(last, self._loudness.end)
        found = self._loudness.offset_in(max(start, event.onset + 1), end, event.onset)
        if found is None:
            found = end if at_end else last - -(-self._context // 2)
        return max(found, event.onset + 1)

    def _run(self, index: int) -> tuple[int, int]:
        """First and last of the newest windows in a row that reached the lower threshold each by itself.

        The newest window of all need not be one of them: the average may be on without it.
        """
        low, last = self._low[index], self._first + len(self._scores) - 1
        while last > self._first and self._score(last, index) < low:
            last -= 1
        first = last
        while first > self._first and self._score(first - 1, index) >= low:
            first -= 1
        return first, last

    def _span(self, window: int) -> tuple[int, int]:
        """The frames that the decision on a window rests on."""
        end = window * self._hop + self._window
        return max(self._begin * self._hop, end - self._context), end

    def _score(self, window: int, index: int) -> int:
        return int(self._scores[window - self._first][index])

    def _sample(self, frame: int) -> int:
        """The source sample of the epoch at the boundary before a frame: the frames' middles are where they look."""
        spec = self._spec
        middle = frame * spec.hop_length - spec.lead + spec.n_fft // 2 if frame > 0 else 0
        return self._segment_sample + input_sample(max(0, middle), self._rate, spec.sr)


def check_thresholds(labels: Sequence[str], background: str, thresholds: Mapping[str, float]) -> None:
    """Refuse thresholds of labels that the model does not have, of the background, missing or out of range."""
    for label, threshold in thresholds.items():
        if label not in labels:
            raise EarwitnessError(
                f"detect: threshold of {label!r}, which the model does not know; {nearest(label, labels)}"
            )
        if label == background:
            raise EarwitnessError(f"detect: threshold of {label!r}, which is the background and never an event")
        if not 0 < threshold <= 1:
            raise EarwitnessError(f"detect: threshold of {label!r} is {threshold}; valid: above 0, at most 1")
    for label in labels:
        if label != background and label not in thresholds:
            raise EarwitnessError(f"detect: {label!r} has no threshold")


@dataclass(slots=True)
class _Event:
    first: int  # window at which it came on
    onset: int  # frame
    best: float = 0.0
    announced: bool = False
    offset: int | None = None  # frame; set while a pause may still turn out to be none
