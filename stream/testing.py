"""For tests: the bus in memory, with the same interface but no sockets, and an example of every message."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from .bus import QUEUE_MESSAGES, SequenceWatch, subscription
from .messages import BY_NAME, TOPICS, Delivery, Message
from .wire import Envelope, MalformedMessage, decode, encode, payload_bytes, topic_in


def examples() -> Iterator[tuple[str, Message, bytes]]:
    """Topic, message and payload for every kind of every row of the table, made from the types alone."""
    for row in TOPICS:
        for kind in row.messages:
            yield "/".join((row.name, *("x" for _ in row.key.split("/")))), *_example(kind)


class MemoryBus:
    """Delivers at once, through the real wire format, into bounded queues.

    A full `lossless` queue refuses the message for everybody, a full `latest` one loses it, as with the real bus.
    """

    def __init__(self, queue: int = QUEUE_MESSAGES * 1000) -> None:
        self.queue = queue
        self.sent: list[Envelope] = []  # everything that was ever published, for assertions
        self._subscribers: list[MemorySubscriber] = []
        self._senders = 0

    def publisher(self) -> MemoryPublisher:
        self._senders += 1
        return MemoryPublisher(self, self._senders)

    def subscriber(self, topics: Iterable[str], delivery: Delivery = "lossless") -> MemorySubscriber:
        subscriber = MemorySubscriber(self, tuple(topics), delivery)
        self._subscribers.append(subscriber)
        return subscriber

    def of(self, *kinds: type[Message]) -> list[Message]:
        """The published messages of these kinds, in order."""
        return [envelope.message for envelope in self.sent if isinstance(envelope.message, kinds)]

    def inject(self, frame: bytes) -> bool:
        """Puts raw bytes on the bus, as a broken or hostile peer would."""
        matching = [subscriber for subscriber in self._subscribers if subscriber.wants(frame)]
        if any(s.delivery == "lossless" and len(s.frames) >= self.queue for s in matching):
            return False
        for subscriber in matching:
            if len(subscriber.frames) < self.queue:
                subscriber.frames.append(frame)
        return True


class MemoryPublisher:
    """See `bus.Publisher`."""

    def __init__(self, bus: MemoryBus, sender: int):
        self._bus, self._sender = bus, sender
        self._sequence: Counter[str] = Counter()

    def send(
        self,
        topic: str,
        message: Message,
        payload: bytes | memoryview = b"",
        *,
        wait: bool = False,
        give_up: Callable[[], bool] = lambda: False,
    ) -> bool:
        frame = encode(topic, self._sender, self._sequence[topic], message, payload)
        if not self._bus.inject(frame):
            return False
        self._sequence[topic] += 1
        self._bus.sent.append(decode(frame))
        return True

    def heard(self, topic: str) -> bool:
        return True  # what was sent is in `MemoryBus.sent`, whoever subscribed

    def close(self) -> None:
        pass


class MemorySubscriber:
    """See `bus.Subscriber`."""

    def __init__(self, bus: MemoryBus, prefixes: tuple[str, ...], delivery: Delivery):
        self._bus, self._prefixes, self.delivery = bus, prefixes, delivery
        self.frames: deque[bytes] = deque()
        self._held: frozenset[str] = frozenset()
        self._followed: tuple[str, ...] = ()
        self.malformed = 0
        self.ignores: Callable[[str], bool] | None = None
        self._watch = SequenceWatch()
        self.missed = self._watch.missed

    def wants(self, frame: bytes) -> bool:
        return any(frame.startswith(subscription(prefix)) for prefix in self._prefixes + self._followed)

    def receive(self, timeout_s: float = 0.0, at_most: int = 256) -> list[Envelope]:
        ready: list[Envelope] = []
        left: list[bytes] = []
        while self.frames and len(ready) < at_most:
            frame = self.frames.popleft()
            if self.ignores is not None and self.ignores(topic_in(frame)):
                continue
            try:
                envelope = decode(frame)
            except MalformedMessage:
                self.malformed += 1
                continue
            if BY_NAME[envelope.topic.partition("/")[0]].channel in self._held:
                left.append(frame)
                continue
            self._watch.see(envelope)
            ready.append(envelope)
        self.frames.extendleft(reversed(left))
        return ready

    def hold(self, channels: Collection[str]) -> None:
        self._held = frozenset(channels)

    def follow(self, topics: Collection[str]) -> None:
        self._followed = tuple(topics)

    def close(self) -> None:
        self.frames.clear()


def example(kind: type[Message]) -> Any:
    """One message of a kind, its stream `x`."""
    return next(message for _, message, _ in examples() if isinstance(message, kind))


def _example(kind: type[Message]) -> tuple[Message, bytes]:
    message = kind(**{name: _value(hint) for name, hint in get_type_hints(kind).items()})
    if hasattr(message, "end_sample"):
        message = msgspec.structs.replace(message, end_sample=3)  # a span that holds something
    return message, bytes(payload_bytes(message))


def _value(hint: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint(**{name: _value(inner) for name, inner in get_type_hints(hint).items()})
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Literal:
        return inside[0]
    if origin is tuple:
        return tuple(_value(each) for each in inside if each is not ...)
    if origin is dict:
        return {_value(inside[0]): _value(inside[1])}
    return {str: "x", int: 1, float: 0.5, bool: True}[hint]
