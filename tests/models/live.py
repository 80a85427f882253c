"""A bundle live: samples through the features and the classify node on a bus in memory, as a run has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earwitness.models.bundle import Bundle
from earwitness.nodes.classify import ClassifyNode
from earwitness.nodes.features import FeaturesNode, Wanted
from earwitness.nodes.node import Job
from earwitness.stream.config import Config, build
from earwitness.stream.messages import AudioBlock, Ended, EventStart, ScoreBlock
from earwitness.stream.testing import MemoryBus

Array = NDArray[np.float32]
BEGAN_NS = 10**18


def live(bundle: Bundle, samples: Array, rate: int, block: int = 4000, device: str = "auto") -> tuple[Array, list[str]]:
    """Scores [windows, labels] and the labels of the events that begin, of float32 samples of one source."""
    manifest, bus = bundle.manifest, MemoryBus()
    wanted = Wanted(manifest.front_end, manifest.window_frames, manifest.hop_frames)
    nodes = [
        FeaturesNode(Job(node="features", config=Config()), bus.publisher(), wanted=[wanted]),
        ClassifyNode(Job(node="classify", config=build({"device": device}, "a test")), bus.publisher(), bundle=bundle),
    ]
    inboxes = [bus.subscriber(node.subscriptions()[0]) for node in nodes]
    sender = bus.publisher()

    def run() -> None:
        for node, inbox in zip(nodes, inboxes, strict=True):
            while envelopes := inbox.receive(0.0):
                node.handle(envelopes)

    for first in range(0, len(samples), block):
        part = samples[first : first + block]
        message = AudioBlock(
            stream="s", epoch=1, first_sample=first, end_sample=first + len(part), rate=rate, channels=1,
            dtype="float32", utc_ns=BEGAN_NS + first * 1_000_000_000 // rate, utc_error_ns=0, heard_ns=1,
        )  # fmt: skip
        assert sender.send("audio/s", message, part.astype("<f4").tobytes())
        run()
    ended = Ended(stream="s", epoch=1, end_sample=len(samples), rate=rate, reason="end of file", final=True)
    assert sender.send("audio/s", ended)
    run()
    labels = len(manifest.labels)
    parts = [
        np.frombuffer(each.payload, "<f4").reshape(-1, labels)
        for each in bus.sent
        if isinstance(each.message, ScoreBlock)
    ]
    events = [message.label for message in bus.of(EventStart) if isinstance(message, EventStart)]
    return np.concatenate(parts) if parts else np.empty((0, labels), np.float32), events
