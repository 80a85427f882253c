"""The wire format: one frame a message, readable by any language that has msgpack.

    topic NUL  sender(8) seq(8) header_length(4)  header (msgpack)  payload (raw)

Integers are big-endian. `sender` is a random number that a publisher draws when it starts and `seq` counts its
messages on one topic, so that every reader can count what it missed. Nothing is ever unpickled, and sizes are checked
against the table in `messages` before anything is decoded.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import msgspec

from .messages import BY_NAME, AudioBlock, FeatureBlock, Message, ScoreBlock

MAX_TOPIC_BYTES = 256
MAX_HEADER_BYTES = 1 << 20
_FIXED = struct.Struct(">QQI")

_encoder = msgspec.msgpack.Encoder()
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {}


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
    name, _, key = topic.partition("/")
    row = BY_NAME.get(name)
    if row is None or not key:
        raise MalformedMessage(f"unknown topic {topic[:40]!r}")
    if len(view) > row.max_bytes:
        raise MalformedMessage(f"{len(view)} bytes on {name}: at most {row.max_bytes}")
    body = end + 1 + _FIXED.size
    if len(view) < body:
        raise MalformedMessage("cut short")
    sender, seq, header_bytes = _FIXED.unpack_from(view, end + 1)
    if header_bytes > min(MAX_HEADER_BYTES, len(view) - body):
        raise MalformedMessage("the header is cut short")
    try:
        message: Message = _decoder(name).decode(view[body : body + header_bytes])
    except (msgspec.DecodeError, RecursionError, OverflowError) as error:
        raise MalformedMessage(str(error)) from None
    payload = view[body + header_bytes :]
    _check(message, key, payload)
    return Envelope(topic, sender, seq, message, payload)


def _decoder(name: str) -> msgspec.msgpack.Decoder[Any]:
    if name not in _decoders:
        kinds = BY_NAME[name].messages
        union: Any = kinds[0]
        for kind in kinds[1:]:
            union = union | kind
        _decoders[name] = msgspec.msgpack.Decoder(union)
    return _decoders[name]


def _check(message: Message, key: str, payload: memoryview) -> None:
    """What types cannot say: the key names the stream, spans are ordered, the payload has the promised size."""
    owner = getattr(message, "stream", None) if hasattr(message, "stream") else None
    if hasattr(message, "node"):
        owner = message.node
    if owner != key.rpartition("/")[2]:
        raise MalformedMessage(f"a message of {owner!r} under the key {key!r}")
    first, end = getattr(message, "first_sample", 0), getattr(message, "end_sample", None)
    if end is not None and not 0 <= first <= end < 1 << 62:
        raise MalformedMessage(f"the span [{first}, {end}) is out of order")
    if getattr(message, "epoch", 0) < 0 or not 0 < getattr(message, "rate", 1) < 1 << 31:
        raise MalformedMessage("epoch or rate out of range")
    expected = 0
    if isinstance(message, AudioBlock):
        size = 2 if message.dtype == "int16" else 4
        if not 0 < message.channels <= 256:
            raise MalformedMessage(f"{message.channels} channels")
        expected = (message.end_sample - message.first_sample) * message.channels * size
    elif isinstance(message, FeatureBlock):
        if message.frames < 0 or message.dims < 0:
            raise MalformedMessage("a negative shape")
        expected = message.frames * message.dims * 4
    elif isinstance(message, ScoreBlock):
        if message.classes < 0:
            raise MalformedMessage("a negative shape")
        expected = len(message.spans) * message.classes * 4
    if len(payload) != expected:
        raise MalformedMessage(f"a payload of {len(payload)} bytes where the header says {expected}")
