"""Ten thousand malformed or random messages on the bus of a running program: each is counted, nothing dies."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import zmq

from earwitness.stream.bus import ZmqBus, endpoint
from earwitness.stream.messages import CHANNELS, TOPICS, Health
from earwitness.tests.live.conftest import Start
from earwitness.tests.live.program import Program

COUNT = 10_000


def bus_of(program: Program) -> str:
    """The address of a run's bus; its folder is named by the socket that its broker holds."""
    folders = list(Path(os.environ["XDG_RUNTIME_DIR"]).glob("earwitness-*"))
    assert len(folders) == 1, folders
    return f"ipc://{folders[0]}"


def test_rubbish_is_counted_and_nothing_dies(start: Start, scene: Path) -> None:
    program = start("--source", f"s={scene}")
    program.wait_for(lambda: program.of("start"), what="no event")
    before = program.nodes()
    address = bus_of(program)
    health = ZmqBus(address).subscriber(["health/"], "latest")
    try:
        _pour_rubbish(address)
        counted: dict[str, int] = {}
        deadline = time.monotonic() + 20
        while sum(counted.values()) < COUNT and time.monotonic() < deadline:
            for envelope in health.receive(0.2):
                if isinstance(envelope.message, Health):
                    counted[envelope.message.node] = envelope.message.counts.get("malformed", 0)
    finally:
        health.close()
    assert sum(counted.values()) >= COUNT, counted
    assert program.nodes() == before
    assert program.wait(30) == 0, program.told()
    assert all(line["balanced"] for line in program.of("ledger")), program.told()
    assert not program.of("alarm"), program.told()


def _pour_rubbish(address: str) -> None:
    """On every channel, under the topics that somebody listens to, waiting where there is no room.

    Every second one under `status` is of a topic of which only the latest is wanted: when these come faster than they
    are read some are passed by, so they come beside the COUNT that must be counted.
    """
    generator = random.Random(7)
    topics = {
        delivery: {
            channel: [t.name.encode() for t in TOPICS if t.channel == channel and t.delivery == delivery]
            for channel in CHANNELS
        }
        for delivery in ("lossless", "latest")
    }
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets = {}
    for channel in CHANNELS:
        socket = sockets[channel] = context.socket(zmq.XPUB)
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        socket.connect(endpoint(address, channel, "in"))
        assert socket.poll(5000), f"nobody listens on {channel}"
    for number in range(COUNT):
        channel = CHANNELS[number % len(CHANNELS)]
        for prefixes in (topics["lossless"][channel], topics["latest"][channel]):
            if prefixes:
                frame = generator.choice(prefixes) + b"/s\0" + generator.randbytes(generator.randrange(300))
                _send(sockets[channel], frame)
    for socket in sockets.values():
        socket.close(linger=5000)
    context.term()


def _send(socket: zmq.Socket[bytes], frame: bytes) -> None:
    while True:
        try:
            socket.send(frame, zmq.NOBLOCK)
            return
        except zmq.Again:
            time.sleep(0.001)
