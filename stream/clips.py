"""What a clip is: how it is cut and how many are kept (settings), what its JSON and its row say, how it is named."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from .clock import seconds
from .errors import EarwitnessError

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # names that Windows keeps for itself


class Keep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which clips of a class are kept: all, the `count` newest, the `count` best by score, or none."""

    rule: Literal["all", "newest", "best", "none"] = "all"
    count: int = 0

    def __post_init__(self) -> None:
        if self.rule in ("newest", "best") and self.count < 1:
            raise EarwitnessError(f"recorder.keep: {self.rule!r} needs a count of at least 1, not {self.count}")
        if self.rule in ("all", "none") and self.count != 0:
            raise EarwitnessError(f"recorder.keep: {self.rule!r} takes no count; 'newest' and 'best' do")


class RecorderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How clips are cut, and how many are kept.

    A clip spans [onset - pre_roll_s, offset + post_roll_s), at most `max_clip_s` in all. `history_s` of each stream are
    held in memory, which takes history_s * rate * channels * bytes a sample; what exceeds `max_clip_s` is the time
    that events may be late. Limits are enforced before a clip is written; the quota counts sound and JSON files.
    """

    pre_roll_s: float = 1.0
    post_roll_s: float = 1.0
    max_clip_s: float = 30.0
    history_s: float = 40.0
    keep: dict[str, Keep] = {}  # by label; "*" stands for every label that has no line of its own
    quota_bytes: int = 10_000_000_000
    max_age_days: float | None = None  # None: for ever
    min_free_bytes: int = 200_000_000  # recording stops rather than leave less than this on the disk

    def __post_init__(self) -> None:
        for name in ("pre_roll_s", "post_roll_s"):
            if not 0 <= getattr(self, name) <= 60:
                raise EarwitnessError(f"recorder.{name} = {getattr(self, name):g}: must be from 0 to 60 seconds")
        if not self.pre_roll_s + self.post_roll_s < self.max_clip_s <= 600:
            raise EarwitnessError(
                f"recorder.max_clip_s = {self.max_clip_s:g}: must exceed pre_roll_s + post_roll_s "
                f"({self.pre_roll_s + self.post_roll_s:g}) and be at most 600 seconds"
            )
        if not self.max_clip_s + 5 <= self.history_s <= 3600:
            raise EarwitnessError(
                f"recorder.history_s = {self.history_s:g}: must be from max_clip_s + 5 = {self.max_clip_s + 5:g} "
                f"(events come late) to 3600 seconds"
            )
        for name in ("quota_bytes", "min_free_bytes"):
            if getattr(self, name) < 0:
                raise EarwitnessError(f"recorder.{name} = {getattr(self, name)}: must not be negative")
        if self.max_age_days is not None and not self.max_age_days > 0:
            raise EarwitnessError(f"recorder.max_age_days = {self.max_age_days:g}: must be positive, or left out")

    def keeps(self, label: str) -> Keep:
        return self.keep.get(label) or self.keep.get("*") or Keep()


class ClipGap(msgspec.Struct, frozen=True, kw_only=True):
    """Sound that is missing from a clip and stands in it as silence of the same length."""

    first_sample: int
    end_sample: int
    cause: str


class ClipOverlap(msgspec.Struct, frozen=True, kw_only=True):
    """Another event of the same stream that can be heard in the clip."""

    id: str
    label: str
    onset_sample: int
    offset_sample: int | None  # None: it went on when the clip was written


class ClipRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a clip: what its JSON holds. Samples are counted from the start of the epoch."""

    format: int = 1
    file_name: str = ""  # relative to OUT/clips; the library gives it
    id: str  # the event's
    label: str
    score: float
    stream: str
    epoch: int
    utc: str  # of the onset
    utc_error_ms: float
    model: str  # bundle tag: name@hash
    onset_sample: int
    offset_sample: int | None  # None: it went on when the clip was written
    rate: int  # Hz, the source's own
    channels: int
    dtype: str  # of the source's samples
    first_sample: int
    end_sample: int
    duration_s: float
    pre_roll_s: float  # what the clip really has
    post_roll_s: float
    encoding: str = ""  # "FLAC PCM_16", …; known once it is encoded
    truncated: bool = False  # the event is longer than the longest clip
    gaps: tuple[ClipGap, ...] = ()
    overlaps: tuple[ClipOverlap, ...] = ()
    notes: tuple[str, ...] = ()  # what a person should know: a shortened roll, samples that were clipped, …


def clip_fields(record: ClipRecord) -> dict[str, str]:
    """The clip's row in metadata.csv."""
    end = record.end_sample if record.offset_sample is None else min(record.offset_sample, record.end_sample)
    return {
        "file_name": record.file_name,
        "label": record.label,
        "score": f"{record.score:.4f}",
        "stream": record.stream,
        "utc": record.utc,
        "duration_s": f"{record.duration_s:.3f}",
        "onset_s": f"{seconds(max(0, record.onset_sample - record.first_sample), record.rate):.3f}",
        "offset_s": f"{seconds(end - record.first_sample, record.rate):.3f}",
        "gap_s": f"{seconds(sum(gap.end_sample - gap.first_sample for gap in record.gaps), record.rate):.3f}",
        "rate": str(record.rate),
        "model": record.model,
        "id": record.id,
        "review": "",
    }


def safe_name(text: str) -> str:
    """A label's or stream's name as part of a file name on any system: letters, digits and -._ only, never empty.

    >>> safe_name("rtsp://cam/1"), safe_name("door_wood_knock"), safe_name("Küche: Ofen"), safe_name("aux")
    ('rtsp-cam-1', 'door_wood_knock', 'Küche-Ofen', 'aux-')
    """
    name = re.sub(r"[^\w.-]+", "-", text)[:60].strip(".-")
    name = name.encode("utf-8", "replace")[:160].decode("utf-8", "ignore")
    if _RESERVED.match(name):
        head, dot, tail = name.partition(".")
        name = f"{head}-{dot}{tail}"
    return name or "unnamed"
