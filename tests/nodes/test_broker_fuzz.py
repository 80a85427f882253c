"""Rubbish on the bus: every malformed message is counted once at each place it reaches, and nothing dies of it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from earwitness.nodes.node import resident_bytes
from earwitness.stream.bus import ZmqBus, endpoint
from earwitness.stream.messages import CHANNELS, TOPICS, Ended
from earwitness.stream.testing import examples
from earwitness.stream.wire import MalformedMessage, belongs, decode, encode

Wait = Callable[..., None]


def rubbish(rng: random.Random, count: int) -> list[bytes]:
    """Random bytes, topics of the table with random bytes, real frames cut short, lengthened or with bytes changed."""
    originals = [encode(topic, 1, 0, message, payload) for topic, message, payload in examples()]
    frames = []
    while len(frames) < count:
        frame = bytearray(rng.choice(originals))
        damage = rng.randrange(5)
        if damage == 0:
            frame = bytearray(rng.randbytes(rng.randrange(400)))
        elif damage == 1:
            frame[frame.index(b"\0") :] = rng.randbytes(rng.randrange(400))
        elif damage == 2:
            del frame[rng.randrange(len(frame)) :]
        elif damage == 3:
            frame += rng.randbytes(rng.randrange(1, 50_000))
        else:
            for _ in range(rng.randint(1, 5)):
                frame[rng.randrange(len(frame))] = rng.randrange(256)
        try:
            decode(bytes(frame))
        except MalformedMessage:
            frames.append(bytes(frame))
    return frames


def note(index: int) -> Ended:
    return Ended(stream="hall", epoch=1, end_sample=index, rate=1, reason="sound", final=False)


def test_ten_thousand_malformed_messages_are_counted_and_the_sound_goes_on(tmp_path: Path, serve: Any) -> None:
    rng = random.Random(7)
    frames = rubbish(rng, 10_000)
    channels = [CHANNELS[index % len(CHANNELS)] for index in range(len(frames))]
    expected: Counter[str] = Counter()
    for frame, channel in zip(frames, channels, strict=True):
        expected["listener" if belongs(frame, channel) else "broker"] += 1
    assert min(expected.values()) > 500

    address = f"ipc://{tmp_path}"
    with serve(address) as broker, zmq.Context() as context:
        bus = ZmqBus(address)
        listener = bus.subscriber([f"{row.name}/" for row in TOPICS])
        assert listener.synchronise()
        rogues = {}
        for channel in CHANNELS:
            tap = bus.open(context, zmq.SUB, channel)  # whoever subscribes to everything makes publishers send it
            tap.linger = 0
            tap.subscribe(b"")
            bus.connect(tap, channel, "latest")
            rogue = bus.open(context, zmq.XPUB, channel)
            rogue.setsockopt(zmq.XPUB_NODROP, 1)
            bus.connect(rogue, channel, "in")
            while rogue.recv() != b"\1":
                pass
            rogues[channel] = rogue, tap
        publisher = bus.publisher()
        before = resident_bytes()
        got: list[int] = []
        sent = 0

        def listen() -> None:
            got.extend(envelope.message.end_sample for envelope in listener.receive(0.0))  # type: ignore[attr-defined]

        for index, (frame, channel) in enumerate(zip(frames, channels, strict=True)):
            while True:
                try:
                    rogues[channel][0].send(frame, zmq.NOBLOCK)
                    break
                except zmq.Again:
                    listen()
            if index % 50 == 0:
                while not publisher.send("audio/hall", note(sent), wait=True, give_up=lambda: True):
                    listen()
                sent += 1
        while len(got) < sent or listener.malformed < expected["listener"]:
            before_that = listener.malformed
            waiting = listener.receive(5.0)  # which returns nothing when all that came was malformed
            assert waiting or listener.malformed > before_that
            got.extend(envelope.message.end_sample for envelope in waiting)  # type: ignore[attr-defined]
        deadline = time.monotonic() + 20
        while broker.counts["malformed"] < expected["broker"] and time.monotonic() < deadline:
            listener.receive(0.05)  # the other channels' rubbish may still be on its way to the broker
        assert got == list(range(sent))
        assert not listener.missed
        assert listener.malformed == expected["listener"]
        assert broker.counts["malformed"] == expected["broker"]
        assert resident_bytes() - before < 40 << 20
        publisher.close()
        listener.close()
        for rogue, tap in rogues.values():
            rogue.close(linger=0)
            tap.close(linger=0)


def test_what_no_publisher_would_send_harms_nobody(tmp_path: Path, serve: Any, eventually: Wait) -> None:
    """A message larger than the channel takes, a message in several parts, and messages up the subscribers' way."""
    address = f"ipc://{tmp_path}"
    with serve(address) as broker, zmq.Context() as context:
        bus = ZmqBus(address)
        listener = bus.subscriber(["audio/"])
        assert listener.synchronise()
        publisher = bus.publisher()
        assert publisher.send("audio/hall", note(0), wait=True)

        with context.socket(zmq.XPUB) as rogue:
            rogue.linger = 0
            rogue.connect(endpoint(address, "audio", "in"))
            while rogue.recv() != b"\1audio/":
                pass
            rogue.send_multipart([encode("audio/hall", 1, 0, note(1)), b"another part", b""])
            eventually(lambda: broker.counts["malformed"] == 2)
            rogue.send(b"audio/hall\0" + bytes(5 << 20))  # the link is cut at the announced length
            rogue.send(b"audio/hall\0")
            assert [e.message.end_sample for e in listener.receive(5.0)] == [0, 1]  # type: ignore[attr-defined]

        with context.socket(zmq.XSUB) as rogue:
            rogue.linger = 0
            rogue.connect(endpoint(address, "audio", "lossless"))
            for words in (b"\0audio/", b"Xaudio/", b"", b"\1" + bytes(1000)):
                rogue.send(words)
            eventually(lambda: broker.counts["malformed"] >= 4)
            assert publisher.heard("audio/hall")
            assert publisher.send("audio/hall", note(2))
            assert [e.message.end_sample for e in listener.receive(5.0)] == [2]  # type: ignore[attr-defined]
        assert not listener.missed
        publisher.close()
        listener.close()
