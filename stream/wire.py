"""The wire format: one frame a message, readable by any language that has msgpack.

    topic NUL  sender(8) seq(8) header_length(4)  header (msgpack)  payload (raw)

Integers are big-endian. `sender` is a random number that a publisher draws when it starts and `seq` counts its
messages on one topic, so that every reader can count what it missed. Nothing is ever unpickled, and sizes are checked
against the table in `messages` before anything is decoded.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import msgspec

from .messages import BY_NAME, AudioBlock, FeatureBlock, Message, ScoreBlock, Spectrum, Topic

MAX_TOPIC_BYTES = 256
MAX_HEADER_BYTES = 1 << 20
_FIXED = struct.Struct(">QQI")

_encoder = msgspec.msgpack.Encoder()
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {}
_PROBE = b"\0probe"  # no topic begins with NUL


class MalformedMessage(ValueError):
    """Bytes that are no message of the table. Receivers count it and go on."""


class Envelope(NamedTuple):
    """A message as it was received; `payload` views the received bytes."""

    topic: str
    sender: int
    seq: int
    message: Message
    payload: memoryview


def encode(topic: str, sender: int, seq: int, message: Message, payload: bytes | memoryview = b"") -> bytes:
    """One frame. Raises ValueError when it is larger than its topic allows."""
    header = _encoder.encode(message)
    frame = b"".join((topic.encode(), b"\0", _FIXED.pack(sender, seq, len(header)), header, payload))
    limit = BY_NAME[topic.partition("/")[0]].max_bytes
    if len(frame) > limit:
        raise ValueError(f"a message of {len(frame)} bytes on {topic}: at most {limit}")
    return frame


def decode(frame: bytes | memoryview) -> Envelope:
    """The message in a frame. Raises MalformedMessage on anything that the table does not know."""
    view = memoryview(frame)
    head = bytes(view[: MAX_TOPIC_BYTES + 1])
    end = head.find(b"\0")
    if end < 0:
        raise MalformedMessage("no topic")
    try:
        topic = head[:end].decode()
    except UnicodeDecodeError:
        raise MalformedMessage("the topic is not UTF-8") from None
    row = BY_NAME.get(topic.partition("/")[0])
    if row is None:
        raise MalformedMessage(f"unknown topic {topic[:40]!r}")
    if len(view) > row.max_bytes:
        raise MalformedMessage(f"{len(view)} bytes on {row.name}: at most {row.max_bytes}")
    body = end + 1 + _FIXED.size
    if len(view) < body:
        raise MalformedMessage("cut short")
    sender, seq, header_bytes = _FIXED.unpack_from(view, end + 1)
    if header_bytes > min(MAX_HEADER_BYTES, len(view) - body):
        raise MalformedMessage("the header is cut short")
    try:
        message: Message = _decoder(row.name).decode(view[body : body + header_bytes])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise MalformedMessage(str(error)) from None
    payload = view[body + header_bytes :]
    _check_key(message, row, topic)
    _check_numbers(message)
    if len(payload) != (expected := payload_bytes(message)):
        raise MalformedMessage(f"a payload of {len(payload)} bytes where the header says {expected}")
    return Envelope(topic, sender, seq, message, payload)


def payload_bytes(message: Message) -> int:
    """How long the payload of a message has to be. Raises MalformedMessage on a shape that cannot be."""
    if isinstance(message, AudioBlock):
        if not 0 < message.channels <= 256:
            raise MalformedMessage(f"{message.channels} channels")
        samples = message.end_sample - message.first_sample
        return samples * message.channels * (2 if message.dtype == "int16" else 4)
    if isinstance(message, FeatureBlock):
        return message.frames * message.dims * 4
    if isinstance(message, ScoreBlock):
        return len(message.spans) * message.classes * 4
    if isinstance(message, Spectrum):
        return len(message.bands_hz)
    return 0


def topic_in(frame: bytes) -> str:
    """The topic of a frame, which need not be well-formed: then it may be any text."""
    return frame[: frame.find(b"\0", 0, MAX_TOPIC_BYTES + 1)].decode(errors="replace")


def belongs(frame: bytes, channel: str) -> bool:
    """Whether a broker may pass this on: its topic is one of the channel's, its size within the topic's limit."""
    row = _ROWS.get(frame[:16].partition(b"/")[0])
    if row is None or row.channel != channel:
        return is_probe(frame)
    return len(frame) <= row.max_bytes and frame.find(b"\0", 0, MAX_TOPIC_BYTES + 1) > 0


def make_probe(nonce: bytes) -> bytes:
    """A frame that means nothing, to see whether the way is open; also what to subscribe to for it."""
    return _PROBE + nonce


def is_probe(frame: bytes) -> bool:
    """Whether somebody's probe came along."""
    return frame.startswith(_PROBE) and len(frame) <= 64


_ROWS: dict[bytes, Topic] = {name.encode(): row for name, row in BY_NAME.items()}


def _decoder(name: str) -> msgspec.msgpack.Decoder[Any]:
    if name not in _decoders:
        kinds = BY_NAME[name].messages
        union: Any = kinds[0]
        for kind in kinds[1:]:
            union = union | kind
        _decoders[name] = msgspec.msgpack.Decoder(union)
    return _decoders[name]


def _check_key(message: Message, row: Topic, topic: str) -> None:
    """The parts of the key say what the message says: `features/FRONT_END/STREAM` is of that front end and stream."""
    parts, names = topic.split("/")[1:], row.key.lower().split("/")
    if len(parts) != len(names) or "" in parts:
        raise MalformedMessage(f"the topic {topic[:40]!r}: expected {row.name}/{row.key}")
    for part, name in zip(parts, names, strict=True):
        if getattr(message, name, part) != part:
            raise MalformedMessage(f"a message of {getattr(message, name)!r} under the topic {topic!r}")


def _check_numbers(message: Message) -> None:
    """Counts and indices are not negative, spans are in order, no number is infinite or undefined."""
    for name in message.__struct_fields__:
        value = getattr(message, name)
        kind = type(value)
        if (kind is int and not 0 <= value < 1 << 62) or (kind is float and not math.isfinite(value)):
            raise MalformedMessage(f"{name} is {value}")
        if kind is tuple or kind is dict:
            _check_inside(name, value)
    for first, end in (("first_sample", "end_sample"), ("onset_sample", "offset_sample")):
        if getattr(message, first, 0) > getattr(message, end, 1 << 62):
            raise MalformedMessage(f"{first} is after {end}")
    if not 0 < getattr(message, "rate", 1) < 1 << 31:
        raise MalformedMessage("a rate out of range")


def _check_inside(name: str, values: Any) -> None:
    for value in values.values() if isinstance(values, dict) else values:
        kind = type(value)
        if (kind is int and not 0 <= value < 1 << 62) or (kind is float and not math.isfinite(value)):
            raise MalformedMessage(f"{name} holds {value}")
        if kind is tuple or kind is dict:
            _check_inside(name, value)
        elif isinstance(value, msgspec.Struct):
            _check_inside(name, msgspec.structs.asdict(value))
