"""What a source is, and how a run's settings say which one.

A source delivers one stream's sound. `open` says in what format, `read` hands out what there is and never
waits, so that one process can serve many; when a source disappears it raises `SourceGone`, and whoever holds
it opens it again later as a new epoch. The kinds stand one in a file beside this one, and are imported only
when they are used.
"""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..config import SourceSettings
from ..errors import EarwitnessError, nearest
from ..messages import SampleType

Samples = NDArray[Any]  # [samples, channels] of the format's dtype, full scale for integers
Kind = Literal["mic", "file", "stdin", "network", "demo"]
RawType = Literal["uint8", "int16", "int24", "int32", "float32"]  # of raw PCM, little-endian

URL_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "srt", "udp")
# Not a divisor of a window's hop: windows then end anywhere in a block, not always where the wait is longest.
LIVE_BLOCK_S = 0.024
OWN_PROCESS: tuple[Kind, ...] = ("mic", "network")  # drivers and decoders may crash, and take no other stream along
RAW_TYPES: dict[str, RawType] = {
    "uint8": "uint8", "int16": "int16", "int24": "int24", "int32": "int32", "float32": "float32",
    "u8": "uint8", "s16le": "int16", "s24le": "int24", "s243le": "int24", "s32le": "int32", "f32le": "float32",
    "floatle": "float32",
}  # fmt: skip
_CLASSES: dict[Kind, tuple[str, str]] = {
    "mic": ("mic", "Microphone"),
    "file": ("file", "SoundFile"),
    "stdin": ("stdin", "RawPcm"),
    "network": ("network", "NetworkStream"),
    "demo": ("demo", "Demo"),
}


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source as the user asked for it."""

    name: str  # of the stream: unique, and safe as the name of a folder
    kind: Kind
    target: str = ""  # device ID ("" is the default one), path, URL, the demo's seed
    channel: int | None = None  # the one channel to take, from 1; None takes all of them
    rate: int | None = None  # Hz: of raw PCM on standard input; the others know theirs
    channels: int | None = None  # as rate
    dtype: RawType = "int16"  # of raw PCM on standard input
    fd: int = 0  # where standard input is read
    ring_s: float = 10.0  # how much a live source may be behind before sound is lost
    calibration_db: float | None = None  # see SourceSettings


class Format(NamedTuple):
    """How an opened source delivers."""

    rate: int  # Hz
    channels: int
    dtype: SampleType
    description: str  # what the user recognises: a path, a device's name
    samples: int | None = None  # how many there will be, where that is known
    utc_error_ns: int = 0  # what is unknown about when its samples were heard, beyond jitter; live sources


class Chunk(NamedTuple):
    """What one `read` yields. Without samples and without `lost`: nothing is ready."""

    samples: Samples
    lost: int = 0  # samples before these that the source knows to be missing
    cause: str = ""  # of the loss
    heard: tuple[int, int] | None = None  # wall and monotonic ns when the last of the samples had been heard


class SourceGone(Exception):
    """The source is not there, or no longer: wait, then open it again. The message is one line."""


class Source(Protocol):
    """See the module. Not for several threads, but for `open` of a live source, which may take long."""

    spec: SourceSpec
    live: bool  # nothing can be held back: what is not read in time is lost

    def open(self, first_sample: int = 0) -> Format:
        """Makes ready to read from `first_sample` on; only sources that are not live can start elsewhere than
        at 0.

        Raises EarwitnessError when a person has to mend something, SourceGone when waiting may help.
        """

    def read(self, frames: int) -> Chunk | None:
        """At most so many samples, at once; None when the source is over. Raises SourceGone."""

    def close(self) -> None:
        """Lets go; may be called at any time, and twice."""

    def warning(self) -> str | None:
        """What is wrong with what was opened, in one line, though it can be read; None when nothing is."""


def make_source(spec: SourceSpec) -> Source:
    """The source of a spec, not yet open."""
    module, name = _CLASSES[spec.kind]
    source: Source = getattr(importlib.import_module(f"..{module}", __name__), name)(spec)
    return source


def check_source(spec: SourceSpec) -> str | None:
    """Finds at start-up what a person has to mend, and returns a warning about what can be read all the same.

    Files are opened. A microphone is not: one that is not there is waited for. Raises EarwitnessError.
    """
    match spec.kind:
        case "mic":
            from .devices import check_id, check_portaudio

            check_id(spec.target)
            check_portaudio()
        case "network":
            from .network import check_av

            check_av()
        case "demo":
            check_channel(spec, 1, "demo")
        case "stdin":
            make_source(spec).open()  # closing it would close standard input
        case "file":
            source = make_source(spec)
            try:
                source.open()
                return source.warning()
            finally:
                source.close()
    return None


def checked_sources(settings: Sequence[SourceSettings], tell: Callable[[str], None]) -> tuple[SourceSettings, ...]:
    """The sources of a run under the names that their streams will have, each checked; `tell` gets the warnings.

    Raises EarwitnessError on what a person has to mend, before any process is started.
    """
    specs = source_specs(settings)
    for spec in specs:
        if warning := check_source(spec):
            tell(warning)
    return tuple(msgspec.structs.replace(one, name=spec.name) for one, spec in zip(settings, specs, strict=True))


def source_specs(settings: Iterable[SourceSettings], ring_s: float = 10.0) -> list[SourceSpec]:
    """The sources of a run, each stream with a name of its own. Raises EarwitnessError.

    A name that was given must be unique; names that are made up get a number where they would collide. Names
    count as equal when only their case differs, since some file systems think so.
    """
    wanted = list(settings)
    taken: set[str] = set()
    for one in wanted:
        if one.name and one.name.casefold() in taken:
            raise EarwitnessError(f"two sources are named {one.name!r}: give each its own, as in kitchen=mic")
        if one.name:
            check_name(one.name)
            taken.add(one.name.casefold())
    specs = []
    for one in wanted:
        spec = _spec(one)
        name, number = spec.name, 2
        while not one.name and name.casefold() in taken:
            name = f"{spec.name}-{number}"
            number += 1
        taken.add(name.casefold())
        specs.append(msgspec.structs.replace(spec, name=name, ring_s=ring_s))
    if sum(spec.kind == "stdin" for spec in specs) > 1:
        raise EarwitnessError("standard input can be only one source: - was given twice")
    return specs


def check_name(name: str) -> None:
    """Refuses a stream's name that could not be the name of a folder everywhere. Raises EarwitnessError."""
    if safe_name(name) != name:
        raise EarwitnessError(
            f"stream name {name!r}: letters, digits, '-', '_' and '.' inside, at most 64; try {safe_name(name)!r}"
        )


def safe_name(text: str) -> str:
    """The nearest name of a stream: a folder's name on every system, and the last part of a topic.

    >>> safe_name("Küche (links)/mic 1")
    'Kuche-links-mic-1'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain)
    name = re.sub(r"-{2,}", "-", name)[:64]
    name = re.sub(r"^[^A-Za-z0-9]+|[.-]+$", "", name)
    if re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE):  # Windows keeps these
        name = f"x-{name}"
    return name or "stream"


def raw_type(text: str) -> RawType:
    """The sample type of raw PCM by any of its usual names (int16, s16le, S16_LE). Raises EarwitnessError."""
    plain = text.lower().replace("_", "")
    if plain not in RAW_TYPES:
        raise EarwitnessError(f"sample type {text!r} is unknown; {nearest(text, RAW_TYPES)}")
    return RAW_TYPES[plain]


def take_channel(samples: Samples, channel: int | None) -> Samples:
    """The channel that was asked for, counted from 1; all of them for None."""
    return samples if channel is None else samples[:, channel - 1 : channel]


def check_channel(spec: SourceSpec, channels: int, where: str) -> int:
    """How many channels are delivered. Raises EarwitnessError when there is no such channel."""
    if spec.channel is None:
        return channels
    if spec.channel > channels:
        raise EarwitnessError(f"{where}: there is no channel {spec.channel}; it has {channels}, counted from 1")
    return 1


def nothing(format: Format) -> Chunk:
    """A chunk that says that nothing is ready."""
    return Chunk(np.empty((0, format.channels), format.dtype))


def _spec(settings: SourceSettings) -> SourceSpec:
    kind, target = _kind_of(settings.source)
    raw = kind == "stdin"
    return SourceSpec(
        name=settings.name or _default_name(kind, target),
        kind=kind,
        target=target,
        channel=settings.channel or None,
        rate=settings.rate if raw else None,
        channels=settings.channels if raw else None,
        dtype=raw_type(settings.dtype) if raw else "int16",
        calibration_db=settings.calibration_db,
    )


def _kind_of(text: str) -> tuple[Kind, str]:
    if not text:
        raise EarwitnessError("an empty source: give mic, mic:ID, a path, -, rtsp://…, http://… or demo")
    if text == "-":
        return "stdin", ""
    if text == "mic":
        return "mic", ""
    if text.startswith("mic:"):
        if not text[4:]:
            raise EarwitnessError("mic: needs an ID, as `earwitness devices` prints it; plain mic is the default one")
        return "mic", text[4:]
    if text == "demo":
        return "demo", ""
    if text.startswith("demo:"):
        if not text[5:].isdecimal():
            raise EarwitnessError(f"{text!r}: a demo's seed is a whole number, as in demo:7")
        return "demo", text[5:]
    scheme, separator, _ = text.partition("://")
    if separator:
        if scheme.lower() == "file":
            return "file", text[7:]
        if scheme.lower() not in URL_SCHEMES:
            raise EarwitnessError(f"{scheme}:// is no kind of stream; {nearest(scheme.lower(), URL_SCHEMES)}")
        if not urlsplit(text).hostname:
            raise EarwitnessError(f"{text!r} names no host")
        return "network", text
    return "file", text


def _default_name(kind: Kind, target: str) -> str:
    if kind == "file":
        return safe_name(Path(target).stem)
    if kind == "network":
        url = urlsplit(target)  # its user and password are no part of a name
        return safe_name("-".join(filter(None, (url.hostname or "", *Path(url.path).with_suffix("").parts[-1:]))))
    if kind == "mic" and target:
        return safe_name(f"mic-{target}")
    return {"mic": "mic", "stdin": "stdin", "demo": "demo"}[kind]
