"""The wire format: what is sent comes out the same, and whatever else comes is refused."""

from __future__ import annotations

import math
import random
import struct
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.stream.messages import BY_NAME, TOPICS, AudioBlock, Ended, FeatureBlock, Level, ScoreBlock, Topic
from earwitness.stream.testing import example, examples
from earwitness.stream.wire import (
    MalformedMessage,
    belongs,
    decode,
    encode,
    is_probe,
    make_probe,
    payload_bytes,
)

EXAMPLES = list(examples())
ROWS = [(row, kind) for row in TOPICS for kind in row.messages]
NAMES = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=20)
COUNTS = st.integers(0, (1 << 62) - 1)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value that a field of this type may have."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return st.builds(hint, **{name: values(inner) for name, inner in get_type_hints(hint).items()})
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(inside)
    if origin is tuple and inside[-1] is ...:
        return st.lists(values(inside[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(each) for each in inside))
    if origin is dict:
        return st.dictionaries(values(inside[0]), values(inside[1]), max_size=3)
    finite = st.floats(allow_nan=False, allow_infinity=False)
    return {str: st.text(max_size=30), int: COUNTS, float: finite, bool: st.booleans()}[hint]


@st.composite
def frames(draw: st.DrawFn, row: Topic, kind: type) -> tuple[str, Any, bytes]:
    """A topic, a message and a payload that belong together, everything else being arbitrary."""
    fields = {name: draw(values(hint)) for name, hint in get_type_hints(kind).items()}
    fields |= {name: draw(NAMES) for name in ("stream", "node", "front_end", "model") if name in fields}
    if "rate" in fields:
        fields["rate"] = draw(st.integers(1, (1 << 31) - 1))
    for first, end in (("first_sample", "end_sample"), ("onset_sample", "offset_sample")):
        if first in fields and end in fields:
            fields[first], fields[end] = sorted((fields[first], fields[end]))
    small = {"channels": st.integers(1, 4), "frames": st.integers(0, 5), "dims": st.integers(0, 5)}
    fields |= {name: draw(small[name]) for name in small if name in fields}
    if kind is AudioBlock:
        length = draw(st.integers(0, 10))
        fields["first_sample"] = max(0, fields["end_sample"] - length)
    if kind is ScoreBlock:
        fields["classes"] = draw(st.integers(0, 5))
    message = kind(**fields)
    key = [fields.get(part.lower()) or draw(NAMES) for part in row.key.split("/")]
    size = payload_bytes(message)
    return "/".join((row.name, *key)), message, draw(st.binary(min_size=size, max_size=size))


@pytest.mark.parametrize(("row", "kind"), ROWS, ids=[f"{row.name}-{kind.__name__}" for row, kind in ROWS])
@given(data=st.data())
def test_what_is_sent_comes_out_the_same(row: Topic, kind: type, data: st.DataObject) -> None:
    topic, message, payload = data.draw(frames(row, kind))
    sender, seq = data.draw(st.tuples(*[st.integers(0, (1 << 64) - 1)] * 2))
    frame = encode(topic, sender, seq, message, payload)
    envelope = decode(frame)
    assert (envelope.topic, envelope.sender, envelope.seq) == (topic, sender, seq)
    assert envelope.message == message
    assert type(envelope.message) is kind
    assert bytes(envelope.payload) == payload
    assert belongs(frame, row.channel)
    assert not any(belongs(frame, other.channel) for other in TOPICS if other.channel != row.channel)
    assert not is_probe(frame)


def test_the_bytes_are_those_of_the_description() -> None:
    ended = Ended(stream="hall", epoch=1, end_sample=7, rate=48_000, reason="stopped", final=True)
    header = msgspec.msgpack.encode(
        {
            "kind": "ended",
            "stream": "hall",
            "epoch": 1,
            "end_sample": 7,
            "rate": 48_000,
            "reason": "stopped",
            "final": True,
        }
    )
    assert encode("audio/hall", 258, 3, ended) == (
        b"audio/hall\0"
        + bytes([0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3])
        + struct.pack(">I", len(header))
        + header
    )


@pytest.mark.parametrize(("topic", "message", "payload"), EXAMPLES)
def test_cut_short_or_too_long_anywhere_is_refused(topic: str, message: Any, payload: bytes) -> None:
    frame = encode(topic, 1, 0, message, payload)
    decode(frame)
    for length in range(len(frame)):
        with pytest.raises(MalformedMessage):
            decode(frame[:length])
    with pytest.raises(MalformedMessage):
        decode(frame + b"\0")


WRONG: dict[type, list[Any]] = {
    int: [-1, 1 << 62, 1 << 63, -(1 << 63), 1.0, 0.5, math.nan, True, "1", None, [], {}, b"1"],
    float: [math.nan, math.inf, -math.inf, "1.0", None, True, [], {}],
    str: [1, 0.5, None, True, [], {}, b"x"],
    bool: [0, 1, "true", None, []],
    tuple: [1, None, "x", {}, [[]], [None], [1], ["x"], [[1, 2, 3]], [["x", math.nan]], [{"a": -1}]],
    dict: [1, None, "x", [], {"a": None}, {"a": -1}, {"a": "x"}, {1: 1}, {"a": [math.nan, 0.0]}, {"a": [1.0]}],
}


@pytest.mark.parametrize(("topic", "message", "payload"), EXAMPLES)
def test_a_wrong_type_or_value_in_any_field_is_refused(topic: str, message: Any, payload: bytes) -> None:
    plain = msgspec.to_builtins(message)
    for field, value in plain.items():
        kind = {list: tuple}.get(type(value), type(value))
        for wrong in WRONG[kind]:
            with pytest.raises(MalformedMessage):
                decode(forge(topic, {**plain, field: wrong}, payload))
        # `replaced` has a default; where a topic has one kind of message, it need not say which it is
        if field != "replaced" and (field != "kind" or len(BY_NAME[topic.partition("/")[0]].messages) > 1):
            with pytest.raises(MalformedMessage):
                decode(forge(topic, {name: each for name, each in plain.items() if name != field}, payload))


def forge(topic: str, header: Any, payload: bytes = b"", **declared: int) -> bytes:
    """A frame around anything that msgpack can say."""
    encoded = msgspec.msgpack.encode(header)
    return topic.encode() + b"\0" + struct.pack(">QQI", 1, 0, declared.get("length", len(encoded))) + encoded + payload


@pytest.mark.parametrize(("topic", "message", "payload"), EXAMPLES)
def test_another_topic_or_key_is_refused(topic: str, message: Any, payload: bytes) -> None:
    name = topic.partition("/")[0]
    wrong = [name, f"{name}/", f"{name}/x/", f"{name}//x", f"{topic}/x", f"{topic}y", f"{name}/y/y", "", "/", "other/x"]
    for other in TOPICS:
        if type(message) not in other.messages:
            wrong.append("/".join((other.name, *("x" for _ in other.key.split("/")))))
    for each in wrong:
        with pytest.raises(MalformedMessage):
            decode(forge(each, msgspec.to_builtins(message), payload))


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(struct.pack(">QQI", 1, 0, 0xFFFFFFFF) + b"\x80", id="a header of 4 GB, it says"),
        pytest.param(struct.pack(">QQI", 1, 0, 5) + b"\xdd\xff\xff\xff\xff", id="an array of 4 G items, it says"),
        pytest.param(struct.pack(">QQI", 1, 0, 5) + b"\xdf\xff\xff\xff\xff", id="a map of 4 G keys, it says"),
        pytest.param(struct.pack(">QQI", 1, 0, 5) + b"\xdb\xff\xff\xff\xff", id="a text of 4 GB, it says"),
        pytest.param(struct.pack(">QQI", 1, 0, 50_000) + b"\x91" * 50_000, id="nested lists"),
        pytest.param(struct.pack(">QQI", 1, 0, 50_003) + b"\x81\xa1?" + b"\x91" * 50_000, id="nested, ignored"),
        pytest.param(struct.pack(">QQI", 1, 0, 40_000) + b"\x81\xa1a" * 13_334, id="nested maps"),
        pytest.param(struct.pack(">QQI", 1, 0, 8) + b"\x81\xa4kind\xa2\xff\xff", id="no UTF-8 in the kind"),
        pytest.param(struct.pack(">QQI", 1, 0, 5) + b"\x81\xa2\xff\xff\x01", id="no UTF-8 in a key"),
        pytest.param(struct.pack(">QQI", 1, 0, 0), id="no header"),
        pytest.param(struct.pack(">QQI", 1, 0, 1) + b"\xc1", id="a byte that msgpack does not use"),
    ],
)
def test_hostile_headers_are_refused_on_every_topic(rest: bytes) -> None:
    for row in TOPICS:
        with pytest.raises(MalformedMessage):
            decode(f"{row.name}/x".encode() + b"\0" + rest)


def test_text_that_is_no_utf8_is_refused_wherever_it_stands() -> None:
    for topic, message, payload in EXAMPLES:
        frame = encode(topic, 1, 0, message, payload)
        for at in range(len(frame)):
            if frame[at : at + 1] == b"x":
                broken = frame[:at] + b"\xff" + frame[at + 1 :]
                with pytest.raises(MalformedMessage):
                    decode(broken)


def test_a_frame_larger_than_its_topic_allows_is_neither_made_nor_taken() -> None:
    for row in TOPICS:
        topic, message, _ = next(each for each in EXAMPLES if each[0].startswith(f"{row.name}/"))
        with pytest.raises(ValueError, match="at most"):
            encode(topic, 1, 0, message, bytes(row.max_bytes))
        frame = forge(topic, msgspec.to_builtins(message), bytes(row.max_bytes))
        assert not belongs(frame, row.channel)
        with pytest.raises(MalformedMessage, match="at most"):
            decode(frame)


@pytest.mark.parametrize(
    "change",
    [{"first_sample": 4}, {"channels": 0}, {"channels": 257}, {"rate": 0}, {"rate": 1 << 31}, {"dtype": "int8"}],
)
def test_an_audio_block_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    topic, message, payload = next(each for each in EXAMPLES if type(each[1]) is AudioBlock)
    with pytest.raises(MalformedMessage):
        decode(forge(topic, {**msgspec.to_builtins(message), **change}, payload))


def test_shapes_whose_product_is_astronomic_are_refused_without_being_made() -> None:
    for kind, change in ((FeatureBlock, {"frames": 1 << 61, "dims": 1 << 61}), (AudioBlock, {"end_sample": 1 << 61})):
        topic, message, payload = next(each for each in EXAMPLES if type(each[1]) is kind)
        with pytest.raises(MalformedMessage, match="payload"):
            decode(forge(topic, {**msgspec.to_builtins(message), **change}, payload))


def test_ten_thousand_random_or_damaged_frames_are_refused_or_are_messages() -> None:
    """Nothing but MalformedMessage ever comes out, and what is accepted is a message that can be sent again."""
    rng = random.Random(20261121)
    originals = [encode(topic, 1, 0, message, payload) for topic, message, payload in EXAMPLES]
    refused = 0
    for turn in range(10_000):
        frame = bytearray(rng.choice(originals))
        if turn % 3 == 0:
            start = frame.index(b"\0") + 1 if rng.random() < 0.5 else 0
            frame[start:] = rng.randbytes(rng.randrange(300))
        else:
            for _ in range(rng.randint(1, 6)):
                frame[rng.randrange(len(frame))] = rng.randrange(256)
        try:
            envelope = decode(bytes(frame))
        except MalformedMessage:
            refused += 1
        else:
            decode(encode(envelope.topic, 0, 0, envelope.message, envelope.payload))
    assert refused > 9_000


def test_a_probe_passes_on_every_channel_and_is_no_message() -> None:
    probe = make_probe(b"12345678")
    assert is_probe(probe)
    assert all(belongs(probe, row.channel) for row in BY_NAME.values())
    assert not is_probe(probe + bytes(100))
    with pytest.raises(MalformedMessage):
        decode(probe)


def test_the_level_of_silence_has_to_be_a_number() -> None:
    level = msgspec.structs.replace(example(Level), rms_db=-math.inf)
    with pytest.raises(MalformedMessage, match="rms_db"):
        decode(encode("level/x", 1, 0, level))
