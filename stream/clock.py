"""The one clock rule: time is (stream, epoch, sample index); seconds and UTC are derived from it here alone.

A sample's index divided by the rate is its time in the stream. Which moment of the world that was is a
separate question, and a harder one: a sound card's crystal is some tens of parts per million off, blocks
arrive late by a jitter that is never negative, and the computer's own clock may be stepped by NTP.
`StreamClock` answers it from observations (this sample had been heard when the clocks said so) and states how
far off the answer may be.

Everything is in integers: samples, and nanoseconds since 1970 (UTC, without leap seconds) or of the monotonic
clock. The time zone of the machine never matters.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

NS = 1_000_000_000

_BIN_NS = NS                  # of each second of observations only the least late one is kept
_WINDOW_BINS = 300            # five minutes: long enough for 1 ppm, short enough to follow a warming crystal
_SETTLED_NS = 10 * NS         # before this the drift cannot be told from jitter and counts as 0 …
_UNKNOWN_DRIFT_PPM = 200.0    # … with this uncertainty; audio crystals are within 100
_READING_NS = 1_000_000       # no reading of two clocks is taken for better than this
_WALL_STEP_NS = 20_000_000    # wall minus monotonic clock is constant but for steps
_JUMP_NS = 100_000_000        # all later than this for seconds: samples were lost unseen, or it slept
_JUMP_BINS = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StreamClock:
    """Dates the samples of one epoch, from observations of when they were heard.

    Each observation says: when the clocks showed `wall_ns` and `monotonic_ns`, all samples before
    `end_sample` had been heard. It may come late, by a constant latency and by jitter, but never early. So
    the truth is a straight line under all observations. Among those lines the clock takes the one that is
    closest to the observations on the whole; it is the edge, over their mean, of their lower convex hull
    (Moon, Skelly, Towsley 1999, https://doi.org/10.1109/INFCOM.1999.749287, section IV). The constant part of
    the lateness cannot be seen from
    here: the source subtracts what it knows of it, and states the rest as `latency_error_ns`.

    rate: samples per second, as the source states it.
    latency_error_ns: what is unknown about the constant latency of the observations.
    start_utc_ns: dates sample 0 by decree, as for a file, which has no moment of its own: it counts as heard
    from its
        opening on, at exactly its rate. The clock then needs no observations and ignores them.

    >>> clock = StreamClock(48_000, start_utc_ns=1_795_255_200 * NS)
    >>> iso(clock.utc_ns(592_320))
    '2026-11-21T10:00:12.340Z'
    """

    def __init__(self, rate: int, *, latency_error_ns: int = 0, start_utc_ns: int | None = None) -> None:
        self.rate = rate
        self.wall_steps = 0         # how often the computer's clock was set while the stream ran
        self.last_wall_step_ns = 0  # by how much, the last time
        self.jumps = 0              # how often sound went missing without notice (or the machine slept)
        self.last_jump_ns = 0
        self._latency_error_ns = latency_error_ns
        self._decreed = start_utc_ns is not None
        self._wall_offset_ns = 0 if start_utc_ns is None else start_utc_ns  # wall minus monotonic
        self._bins: deque[_Point] = deque(maxlen=_WINDOW_BINS)
        self._line = _Line(0, 0, 0.0)  # a file's line: lateness 0 for ever
        self._scatter_ns = 0
        self._count = 0
        self._late_sum_ns = 0

    def observe(self, end_sample: int, wall_ns: int, monotonic_ns: int) -> None:
        """Takes one observation. Costs little: only about one a second changes anything.

        Observations come in order of `end_sample`; one that goes back is ignored.
        """
        if self._decreed:
            return
        offset_ns = wall_ns - monotonic_ns
        if not self._bins:
            self._wall_offset_ns = offset_ns
        elif abs(offset_ns - self._wall_offset_ns) > _WALL_STEP_NS:
            # The newest setting of the clock is the best one, for what was heard before it too: a board
            # without a battery wakes up in 1970 and learns the date when the network comes.
            self.wall_steps += 1
            self.last_wall_step_ns = offset_ns - self._wall_offset_ns
            self._wall_offset_ns = offset_ns
        point = _Point(end_sample, monotonic_ns - span_ns(end_sample, self.rate))
        self._count += 1
        self._late_sum_ns += point.late_ns
        if self._bins and point.sample // self._bin_samples == self._bins[-1].sample // self._bin_samples:
            if point.late_ns < self._bins[-1].late_ns:
                self._bins[-1] = point
                if len(self._bins) == 1:
                    self._fit()
            return
        if self._bins and point.sample < self._bins[-1].sample:
            return
        # A new second: what the bins before it hold is final, so the line is drawn anew.
        self._bins.append(point)
        self._start_again_after_a_jump()
        self._fit()

    def utc_ns(self, sample: int) -> int:
        """When the sample with this index was heard, in nanoseconds since 1970."""
        return self._wall_offset_ns + span_ns(sample, self.rate) + self._line.at(sample)

    @property
    def utc_error_ns(self) -> int:
        """How far `utc_ns` may be off around the newest samples, the computer's own clock being true."""
        if self._decreed:
            return 0
        if not self._bins:
            return NS  # nothing heard yet: the first block comes within a second or is an alarm of its own
        error_ns = _READING_NS + self._latency_error_ns + self._scatter_ns
        span = span_ns(self._bins[-1].sample - self._bins[0].sample, self.rate)
        if span < _SETTLED_NS:
            # The least late of n observations is late itself, by about the n-th part of their mean lateness.
            lowest = min(point.late_ns for point in self._bins)
            error_ns += 6 * (self._late_sum_ns // self._count - lowest) // self._count
            error_ns += int((span + NS) * _UNKNOWN_DRIFT_PPM / 1e6)
        return error_ns

    @property
    def drift_ppm(self) -> float:
        """How much slower than its rate the source is, in parts per million; negative when faster."""
        return self._line.slope * self.rate / 1e9 * 1e6

    @property
    def _bin_samples(self) -> int:
        return max(1, self.rate * _BIN_NS // NS)

    def _fit(self) -> None:
        points = list(self._bins)
        if span_ns(points[-1].sample - points[0].sample, self.rate) < _SETTLED_NS:
            lowest = min(points, key=lambda point: point.late_ns)
            self._line = _Line(lowest.sample, lowest.late_ns, 0.0)
        else:
            self._line = _lower_edge(points)
        # The newest bin is still filling and may be late by chance; the others are minima over a second each.
        above = sorted(point.late_ns - self._line.at(point.sample) for point in points[:-1] or points)
        self._scatter_ns = above[int(0.9 * (len(above) - 1))]

    def _start_again_after_a_jump(self) -> None:
        """Late for seconds on end is not jitter, and early cannot be: count it, forget what was before."""
        if len(self._bins) < _JUMP_BINS + 2:
            return
        recent = list(self._bins)[-_JUMP_BINS - 1 :]
        off = [point.late_ns - self._line.at(point.sample) for point in recent]
        if off[-1] < -_JUMP_NS:
            kept = recent[-1:]
        elif min(off[:-1]) > _JUMP_NS:  # the newest bin is still filling
            kept = recent
        else:
            return
        self.jumps += 1
        self.last_jump_ns = off[-1]
        self._bins = deque(kept, maxlen=_WINDOW_BINS)


class _Point(NamedTuple):
    sample: int
    late_ns: int  # monotonic clock minus the sample's time in the stream


class _Line(NamedTuple):
    """Lateness by sample index."""

    sample: int
    late_ns: int
    slope: float  # nanoseconds per sample

    def at(self, sample: int) -> int:
        return self.late_ns + round((sample - self.sample) * self.slope)


def _lower_edge(points: list[_Point]) -> _Line:
    """The edge of the lower convex hull that stands over the points' mean index (Andrew's monotone chain)."""
    hull: list[_Point] = []
    for point in points:
        while len(hull) >= 2:
            (x1, y1), (x2, y2) = hull[-2], hull[-1]
            if (x2 - x1) * (point.late_ns - y1) > (y2 - y1) * (point.sample - x1):
                break
            hull.pop()
        hull.append(point)
    middle = sum(point.sample for point in points) / len(points)
    for left, right in pairwise(hull):
        if right.sample >= middle:
            slope = (right.late_ns - left.late_ns) / (right.sample - left.sample)
            return _Line(left.sample, left.late_ns, slope)
    return _Line(hull[0].sample, hull[0].late_ns, 0.0)


def span_ns(samples: int, rate: int) -> int:
    """How long so many samples last, in nanoseconds, rounded to nearest; exact at any length.

    >>> span_ns(44_100 * 3600 * 24 * 365, 44_100) == 3600 * 24 * 365 * NS
    True
    """
    return (2 * samples * NS + rate) // (2 * rate)


def span_samples(duration_ns: int, rate: int) -> int:
    """The number of samples nearest to a duration in nanoseconds: the inverse of `span_ns`.

    >>> span_samples(span_ns(123_457, 22_050), 22_050)
    123457
    """
    return (2 * duration_ns * rate + NS) // (2 * NS)


def seconds(sample: int, rate: int) -> float:
    """A sample's time in its stream, in seconds from the epoch's first sample."""
    return sample / rate


def iso(utc_ns: int) -> str:
    """UTC as events and logs show it: to the millisecond, cut, never rounded up into a second that had not
    begun.

    >>> iso(1_795_255_212_340_999_999)
    '2026-11-21T10:00:12.340Z'
    """
    moment = _EPOCH + timedelta(microseconds=utc_ns // 1000)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def file_stamp(utc_ns: int) -> str:
    """UTC as file names show it: sorts by time and holds no colon, which Windows forbids.

    >>> file_stamp(1_795_255_212_340_999_999)
    '2026-11-21T10-00-12.340Z'
    """
    return iso(utc_ns).replace(":", "-")


def day(utc_ns: int) -> str:
    """The UTC day, as folders of clips are named.

    >>> day(1_795_255_212_340_999_999)
    '2026-11-21'
    """
    return iso(utc_ns)[:10]


def parse_utc(text: str) -> int:
    """Nanoseconds since 1970 of what `iso` or `file_stamp` wrote. Raises ValueError for anything else.

    >>> iso(parse_utc("2026-11-21T10-00-12.340Z"))
    '2026-11-21T10:00:12.340Z'
    """
    date, _, clock = text.partition("T")
    moment = datetime.strptime(f"{date}T{clock.replace('-', ':')}", "%Y-%m-%dT%H:%M:%S.%fZ")
    return (moment.replace(tzinfo=_EPOCH.tzinfo) - _EPOCH) // timedelta(microseconds=1) * 1000
