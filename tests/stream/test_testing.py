"""The bus in memory behaves as the real one where a node can tell the difference."""

from __future__ import annotations

import msgspec

from earwitness.stream.messages import TOPICS, Ended, Level
from earwitness.stream.testing import MemoryBus, example, examples
from earwitness.stream.wire import encode


def note(index: int, stream: str = "hall") -> Ended:
    return Ended(stream=stream, epoch=1, end_sample=index, rate=1, reason="", final=False)


LEVEL = msgspec.structs.replace(example(Level), stream="hall")


def test_a_message_reaches_whoever_subscribed_and_nobody_else() -> None:
    bus = MemoryBus()
    everything, hall, scores = bus.subscriber(["audio/"]), bus.subscriber(["audio/hall"]), bus.subscriber(["scores/"])
    publisher = bus.publisher()
    assert publisher.send("audio/hall", note(1))
    assert publisher.send("audio/hallway", note(2, "hallway"))
    assert [envelope.topic for envelope in everything.receive()] == ["audio/hall", "audio/hallway"]
    assert [envelope.message for envelope in hall.receive()] == [note(1)]
    assert scores.receive() == []
    assert bus.of(Ended) == [note(1), note(2, "hallway")]


def test_a_full_lossless_queue_refuses_and_a_full_latest_one_loses_and_counts() -> None:
    bus = MemoryBus(queue=2)
    lossless, latest = bus.subscriber(["audio/"]), bus.subscriber(["audio/"], "latest")
    publisher = bus.publisher()
    assert [publisher.send("audio/hall", note(index)) for index in range(3)] == [True, True, False]
    assert [envelope.seq for envelope in lossless.receive()] == [0, 1]
    assert [publisher.send("audio/hall", note(index)) for index in (2, 3)] == [True, True]  # latest is full by now
    assert [envelope.seq for envelope in latest.receive()] == [0, 1]
    assert [envelope.seq for envelope in lossless.receive()] == [2, 3]
    assert publisher.send("audio/hall", note(4))
    assert [envelope.seq for envelope in latest.receive()] == [4]
    assert latest.missed == {"audio": 2}
    assert not lossless.missed


def test_no_more_than_asked_for_is_given_and_the_rest_waits() -> None:
    bus = MemoryBus()
    subscriber, publisher = bus.subscriber(["audio/"]), bus.publisher()
    for index in range(5):
        publisher.send("audio/hall", note(index))
    assert len(subscriber.receive(0.0, at_most=3)) == 3
    assert len(subscriber.receive(0.0, at_most=3)) == 2


def test_a_channel_that_is_held_is_not_read() -> None:
    bus = MemoryBus()
    subscriber, publisher = bus.subscriber(["audio/", "level/"]), bus.publisher()
    publisher.send("audio/hall", note(1))
    publisher.send("level/hall", LEVEL)
    subscriber.hold(["audio"])
    assert [envelope.message for envelope in subscriber.receive()] == [LEVEL]
    subscriber.hold(())
    assert [envelope.message for envelope in subscriber.receive()] == [note(1)]


def test_rubbish_is_counted() -> None:
    bus = MemoryBus()
    subscriber = bus.subscriber(["audio/"])
    assert bus.inject(b"audio/hall\0rubbish")
    assert bus.inject(encode("audio/hall", 7, 0, note(1)))
    assert [envelope.message for envelope in subscriber.receive()] == [note(1)]
    assert subscriber.malformed == 1


def test_there_is_an_example_of_every_message() -> None:
    made = [(topic.partition("/")[0], type(message)) for topic, message, _ in examples()]
    assert made == [(row.name, kind) for row in TOPICS for kind in row.messages]
