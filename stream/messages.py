"""Every message that flows, declared once: what it says, its topic, who sends it, who reads it, and what a loss means.

`TOPICS` is the table. The wire format, the reference page (`python -m earwitness.stream.messages`) and the fuzz test
are made from it. All spans of samples are half-open, counted from the start of the epoch at the source's own rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

Delivery = Literal["lossless", "latest"]
SampleType = Literal["int16", "int32", "float32"]
FULL_SCALE: dict[str, int] = {"int16": 1 << 15, "int32": 1 << 31, "float32": 1}  # by SampleType


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The base of all messages. `kind` on the wire is the class's name."""


# ---- audio/STREAM ----------------------------------------------------------------------------------------------------


class AudioOpened(Message, tag="opened"):
    """A source began to deliver: a new epoch, whose first sample has the index 0."""

    stream: str
    epoch: int
    rate: int  # Hz
    channels: int
    dtype: SampleType
    source: str  # what the user would recognise: a device's name, a path
    live: bool  # False: a file that can be held back
    utc_ns: int


class AudioBlock(Message, tag="audio"):
    """Samples as they came. Payload `[end_sample - first_sample, channels]`, little-endian, full scale for integers."""

    stream: str
    epoch: int
    first_sample: int
    end_sample: int
    rate: int  # Hz
    channels: int
    dtype: SampleType
    utc_ns: int  # of first_sample
    utc_error_ns: int
    heard_ns: int  # wall clock when the last sample of the block reached this program


class Gap(Message, tag="gap"):
    """Samples that this hop never had. Follows the stream in order, in place of what is lost."""

    stream: str
    epoch: int
    first_sample: int
    end_sample: int
    rate: int  # Hz
    cause: str  # "overrun", "restart", "transport", …
    place: str  # the node that lost them or found them missing


class Ended(Message, tag="ended"):
    """The epoch is over; nothing of it follows."""

    stream: str
    epoch: int
    end_sample: int  # how many samples the epoch had
    rate: int  # Hz
    reason: str  # "end of file", "stopped", "device gone", …
    final: bool  # no further epoch follows


# ---- features/FRONT_END/STREAM, scores/MODEL/STREAM ------------------------------------------------------------------


class FeatureBlock(Message, tag="features"):
    """Frames of one front end. Payload float32 `[frames, dims]`, frames may be 0.

    Frame f of a segment begins at front-end sample f * hop_length counted from `segment_sample`.
    """

    stream: str
    epoch: int
    front_end: str  # FrontEndSpec.hash
    first_sample: int  # the audio that this block accounts for
    end_sample: int
    rate: int  # Hz, of the source
    segment_sample: int  # where the front end was last reset, in source samples
    first_frame: int  # counted from the segment
    frames: int
    dims: int
    utc_ns: int  # of first_sample
    utc_error_ns: int
    heard_ns: int  # of the last audio inside
    computed_ns: int
    replaced: int = 0  # NaN and Inf samples that were replaced by silence


class ScoreBlock(Message, tag="scores"):
    """Scores of the windows that ended in this span, 1 or more. Payload float32 `[windows, classes]`, 0..1."""

    stream: str
    epoch: int
    model: str  # bundle tag
    first_sample: int
    end_sample: int
    rate: int  # Hz, of the source
    segment_sample: int
    first_window: int  # counted from the segment
    spans: tuple[tuple[int, int], ...]  # of each window, in source samples
    classes: int
    top: tuple[tuple[str, float], ...]  # the best labels of the last window, best first
    heard_sample: int  # the end of the audio that had to come until the last window was complete …
    heard_ns: int  # … and when it came
    computed_ns: int  # when the features were ready
    scored_ns: int


# ---- event/STREAM, clip/STREAM ---------------------------------------------------------------------------------------


class EventStart(Message, tag="start"):
    """Something began, sent as soon as it is sure."""

    id: str
    stream: str
    epoch: int
    label: str
    score: float  # 0..1, of the decision
    onset_sample: int
    rate: int  # Hz, of the source
    utc_ns: int  # of the onset
    utc_error_ns: int
    model: str
    latency_ms: float  # from the arrival of the deciding sample to this message


class EventEnd(Message, tag="end"):
    """It is over; repeats what the start said, with the best score that was seen."""

    id: str
    stream: str
    epoch: int
    label: str
    score: float
    onset_sample: int
    offset_sample: int
    rate: int
    utc_ns: int
    utc_error_ns: int
    model: str
    latency_ms: float


class ClipSaved(Message, tag="clip"):
    """A clip stands on the disk, complete, with its JSON."""

    id: str  # the event's
    stream: str
    label: str
    path: str  # relative to the output folder
    first_sample: int
    end_sample: int
    rate: int


# ---- level/STREAM, spectrum/STREAM, alarm/NODE, health/NODE ----------------------------------------------------------


class Level(Message, tag="level"):
    """How loud the last tenth of a second was. RMS and peak are in dB relative to full scale.

    The weighted levels are, too, unless the source is calibrated.
    """

    stream: str
    epoch: int
    first_sample: int
    end_sample: int
    rate: int
    rms_db: float
    peak_db: float
    clipped: int  # samples at full scale
    weighting: Literal["A", "Z"]  # of the levels below; Z, which is none, at rates of less than 2400 Hz
    calibrated: bool  # whether they are dB of sound pressure
    leq_db: float  # mean over these samples
    fast_db: float  # with fast time weighting, at their end
    period_s: float  # how much sound the levels below are of: the last minute, or `level_period_s`; at first 0
    period_leq_db: float
    fast_max_db: float
    l10_db: float  # that the fast level exceeded for 10 % of the period
    l50_db: float
    l90_db: float


class Spectrum(Message, tag="spectrum"):
    """The levels of a few bands over about a tenth of a second, for a screen. Payload uint8 `[bands]`.

    A value v is `floor_db + v * step_db`, in dB relative to a sine at full scale in that band. Sent only while somebody
    listens, where a model's front end has log-mels.
    """

    stream: str
    epoch: int
    first_sample: int
    end_sample: int
    rate: int  # Hz, of the source
    floor_db: float
    step_db: float
    bands_hz: tuple[tuple[int, int], ...]  # where each band begins and ends, the lowest first


class Alarm(Message, tag="alarm"):
    """Something that a person should know: a disk is full, a device is gone, a node died; or that it is over."""

    node: str
    stream: str  # "" when it concerns no single stream
    name: str  # a stable word: "device-gone", "disk-full", "node-restarted"
    state: Literal["raised", "cleared"]
    text: str  # one line
    utc_ns: int


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one place knows of one epoch: received + lost = end_sample, in source samples, once `ended`."""

    stream: str
    epoch: int
    place: str
    rate: int
    received: int
    lost: dict[str, int]  # by cause
    next_sample: int  # the position: all before it is accounted for
    ended: bool
    final: bool  # ended, and no further epoch follows


class Health(Message, tag="health"):
    """A node's sign of life, with its counts."""

    node: str
    pid: int
    uptime_s: float
    rss_bytes: int
    cpu_s: float
    counts: dict[str, int]
    delays_ms: dict[str, tuple[float, float]]  # stage: (p50, p99) since the last message
    ledger: tuple[LedgerRow, ...]


# ---- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Topic:
    """One row: `name/KEY…` on `channel`, with the largest message that may travel."""

    name: str
    key: str
    messages: tuple[type[Message], ...]
    channel: str
    publisher: str
    subscribers: tuple[str, ...]
    delivery: Delivery
    payload: str
    max_bytes: int


TOPICS: tuple[Topic, ...] = (
    Topic("audio", "STREAM", (AudioOpened, AudioBlock, Gap, Ended), "audio", "capture", ("features", "recorder"),
          "lossless", "samples [samples, channels] of dtype", 4 << 20),
    Topic("features", "FRONT_END/STREAM", (FeatureBlock, Gap, Ended), "features", "features", ("classify",),
          "lossless", "float32 [frames, dims]", 16 << 20),
    Topic("scores", "MODEL/STREAM", (ScoreBlock, Gap, Ended), "results", "classify", ("recorder", "monitor"),
          "lossless", "float32 [windows, classes]", 4 << 20),
    Topic("event", "STREAM", (EventStart, EventEnd), "results", "classify", ("recorder", "monitor"),
          "lossless", "none", 64 << 10),
    Topic("clip", "STREAM", (ClipSaved,), "status", "recorder", ("monitor",), "lossless", "none", 64 << 10),
    Topic("alarm", "NODE", (Alarm,), "status", "any node", ("monitor",), "lossless", "none", 64 << 10),
    Topic("level", "STREAM", (Level,), "status", "capture", ("monitor",), "latest", "none", 64 << 10),
    Topic("spectrum", "STREAM", (Spectrum,), "status", "features", ("monitor",), "latest", "uint8 [bands]", 64 << 10),
    Topic("health", "NODE", (Health,), "status", "any node", ("monitor",), "latest", "none", 1 << 20),
)  # fmt: skip

CHANNELS: tuple[str, ...] = ("audio", "features", "results", "status")
BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}


def topic_of(name: str, *key: str) -> str:
    """The topic as it travels: `topic_of("audio", "kitchen")` is `audio/kitchen`."""
    return "/".join((BY_NAME[name].name, *key))


def reference_page() -> str:
    """The table as Markdown, for docs/reference/messages.md."""
    import inspect  # only here: every live node imports this module
    import re

    lines = [
        "# Messages",
        "",
        "Made by `python -m earwitness.stream.messages`; a test holds this page to the code.",
        "",
        "| topic | channel | from | to | delivery | messages | payload | at most |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for topic in TOPICS:
        kinds = ", ".join(f"`{message.__name__}`" for message in topic.messages)
        lines.append(
            f"| `{topic.name}/{topic.key}` | {topic.channel} | {topic.publisher} | {', '.join(topic.subscribers)} "
            f"| {topic.delivery} | {kinds} | {topic.payload} | {topic.max_bytes // 1024} KiB |"
        )
    seen: list[type[Message]] = []
    for topic in TOPICS:
        seen += [message for message in topic.messages if message not in seen]
    for message in seen:
        lines += ["", f"## {message.__name__}", "", inspect.getdoc(message) or "", ""]
        notes = dict(re.findall(r"^    (\w+): [^#\n]+# (.+)$", inspect.getsource(message), re.MULTILINE))
        for name, kind in message.__annotations__.items():
            lines.append(f"- `{name}`: `{kind}`" + (f", {notes[name]}" if name in notes else ""))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference_page(), end="")
