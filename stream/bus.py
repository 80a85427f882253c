"""The bus: publishers and subscribers that meet at one broker, and never hold a reference to each other.

The broker has a few channels (`messages.CHANNELS`), one for each step of the way, so that back-pressure runs from the
sink to the source and never in a circle. Each channel has three ends: `in` for publishers, `lossless` for subscribers
that hold the flow back when they fall behind, `latest` for subscribers that lose what they cannot take.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import zmq

from .errors import EarwitnessError
from .keys import Keys
from .messages import BY_NAME, CHANNELS, Delivery, Message
from .wire import Envelope, MalformedMessage, decode, encode

QUEUE_MESSAGES = 128  # between any two sockets; what does not fit waits in the capture ring
SIDES: tuple[str, ...] = ("in", "lossless", "latest")
_LARGEST = max(topic.max_bytes for topic in BY_NAME.values())
_PROBE = b"\0probe"  # no topic begins with NUL


class Publisher(Protocol):
    """Sends messages."""

    def send(
        self,
        topic: str,
        message: Message,
        payload: bytes | memoryview = b"",
        *,
        wait: bool = False,
        give_up: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Sends one message. False: it did not fit (`wait=False`), or `give_up` said so; it was not sent then.

        With `wait` it is held back until somebody listens to the topic and has room for it.
        """

    def heard(self, topic: str) -> bool:
        """Whether anybody subscribes to this topic now."""

    def close(self) -> None:
        """Sends what is queued and lets go."""


class Subscriber(Protocol):
    """Receives messages, and counts what it missed."""

    missed: Counter[str]  # by topic name: messages that its sequence numbers say were lost
    malformed: int

    def receive(self, timeout_s: float, at_most: int = 256) -> list[Envelope]:
        """All that is ready, waiting at most this long for the first. Empty on a time-out."""

    def close(self) -> None:
        """Lets go; what was not received is dropped."""


class Bus(Protocol):
    """Where a node finds its publisher and its subscriber."""

    def publisher(self) -> Publisher: ...

    def subscriber(self, topics: Iterable[str], delivery: Delivery = "lossless") -> Subscriber: ...


class SequenceWatch:
    """Counts the messages missing between those that arrived, per topic and sender.

    A topic that falls silent for good (a stream that left) costs one dictionary entry; at 10,000 the oldest go.
    """

    def __init__(self) -> None:
        self.missed: Counter[str] = Counter()
        self._next: dict[tuple[str, int], int] = {}

    def see(self, envelope: Envelope) -> None:
        key = (envelope.topic, envelope.sender)
        expected = self._next.pop(key, envelope.seq)
        if envelope.seq > expected:
            self.missed[envelope.topic.partition("/")[0]] += envelope.seq - expected
        self._next[key] = envelope.seq + 1
        if len(self._next) > 10_000:
            self._next.pop(next(iter(self._next)))


def endpoint(address: str, channel: str, side: str) -> str:
    """The socket address of one end of a channel.

    An `ipc://FOLDER` bus has one socket file an end; a `tcp://HOST:PORT` bus one port an end, counted up from PORT.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "ipc":
        return f"ipc://{rest.rstrip('/')}/{channel}.{side}"
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or not host or not port.isdecimal():
        raise EarwitnessError(f"bus address {address!r}: expected ipc://FOLDER or tcp://HOST:PORT")
    number = int(port) + CHANNELS.index(channel) * len(SIDES) + SIDES.index(side)
    if number > 65535:
        raise EarwitnessError(f"bus address {address!r}: the bus takes 12 ports from PORT on, at most 65524")
    return f"tcp://{host}:{number}"


def check_address(address: str, keys: Keys | None) -> None:
    """Refuses an address that is no address, or that would leave the machine without keys. Raises EarwitnessError."""
    longest = max((endpoint(address, channel, side) for channel in CHANNELS for side in SIDES), key=len)
    if address.startswith("ipc://"):
        if len(longest) - len("ipc://") > 107:
            raise EarwitnessError(f"bus address {address!r}: the path is too long for a socket; choose a shorter folder")
        return
    if keys is None:
        raise EarwitnessError(f"bus address {address!r} leaves this process's folder: make keys with `earwitness keys`")


class ZmqBus:
    """The bus over ZeroMQ sockets. `keys` are needed for tcp."""

    def __init__(self, address: str, keys: Keys | None = None, context: zmq.Context[zmq.Socket[bytes]] | None = None):
        check_address(address, keys)
        self.address, self.keys = address, keys
        self._context = context or zmq.Context.instance()

    def publisher(self) -> ZmqPublisher:
        return ZmqPublisher(self)

    def subscriber(self, topics: Iterable[str], delivery: Delivery = "lossless") -> ZmqSubscriber:
        return (Lossless if delivery == "lossless" else Latest)(self, topics)

    def connect(self, kind: int, channel: str, side: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        configure(socket)
        if self.keys is not None:
            self.keys.secure_client(socket)
        socket.connect(endpoint(self.address, channel, side))
        return socket


def configure(socket: zmq.Socket[bytes]) -> None:
    """What every socket of the bus has in common: bounded queues and sizes, quick reconnects, dead links noticed."""
    socket.setsockopt(zmq.SNDHWM, QUEUE_MESSAGES)
    socket.setsockopt(zmq.RCVHWM, QUEUE_MESSAGES)
    socket.setsockopt(zmq.MAXMSGSIZE, _LARGEST)
    socket.setsockopt(zmq.LINGER, 1000)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
    socket.setsockopt(zmq.HEARTBEAT_TTL, 3000)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, 3000)


class ZmqPublisher:
    """Publishes on any channel; a channel's socket is opened when it is first used."""

    def __init__(self, bus: ZmqBus):
        self._bus = bus
        self._sender = secrets.randbits(63)
        self._sequence: Counter[str] = Counter()
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._subscriptions: dict[str, set[bytes]] = {}

    def send(
        self,
        topic: str,
        message: Message,
        payload: bytes | memoryview = b"",
        *,
        wait: bool = False,
        give_up: Callable[[], bool] = lambda: False,
    ) -> bool:
        socket = self._socket(BY_NAME[topic.partition("/")[0]].channel)
        frame = encode(topic, self._sender, self._sequence[topic], message, payload)
        while True:
            if wait and not self.heard(topic):
                if give_up():
                    return False
                socket.poll(50)  # a subscription is what can arrive here
                continue
            try:
                socket.send(frame, 0 if wait else zmq.NOBLOCK)
            except zmq.Again:
                if not wait or give_up():
                    return False
                continue
            self._sequence[topic] += 1
            return True

    def heard(self, topic: str) -> bool:
        channel = BY_NAME[topic.partition("/")[0]].channel
        socket, known = self._socket(channel), self._subscriptions[channel]
        while True:
            try:
                change = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            (known.add if change[:1] == b"\1" else known.discard)(change[1:])
        name = topic.encode()
        return any(name.startswith(prefix) for prefix in known)

    def close(self) -> None:
        for socket in self._sockets.values():
            socket.close()
        self._sockets.clear()

    def _socket(self, channel: str) -> zmq.Socket[bytes]:
        if channel not in self._sockets:
            socket = self._bus.connect(zmq.XPUB, channel, "in")
            socket.setsockopt(zmq.XPUB_NODROP, 1)
            socket.setsockopt(zmq.SNDTIMEO, 100)
            self._sockets[channel] = socket
            self._subscriptions[channel] = set()
        return self._sockets[channel]


class ZmqSubscriber:
    """Subscribes to topics by prefix (`audio/`, or `audio/kitchen` for exactly that one)."""

    delivery: Delivery

    def __init__(self, bus: ZmqBus, topics: Iterable[str]):
        self._bus = bus
        self._prefixes = tuple(topics)
        self._watch = SequenceWatch()
        self.missed = self._watch.missed
        self.malformed = 0
        self._early: list[Envelope] = []  # came while synchronising
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._poller = zmq.Poller()
        for prefix in self._prefixes:
            channel = BY_NAME[prefix.partition("/")[0]].channel
            if channel not in self._sockets:
                self._sockets[channel] = bus.connect(zmq.SUB, channel, self.delivery)
                self._poller.register(self._sockets[channel], zmq.POLLIN)
            self._sockets[channel].setsockopt(zmq.SUBSCRIBE, prefix.encode())

    def synchronise(self, timeout_s: float = 10.0) -> bool:
        """Returns when every subscription is known to the broker: nothing published from then on is missed.

        A message is sent through each channel until it comes back; the subscription to it was made last, and the
        broker takes them in order.
        """
        deadline = time.monotonic() + timeout_s
        for channel, socket in self._sockets.items():
            probe = _PROBE + secrets.token_bytes(8)
            socket.setsockopt(zmq.SUBSCRIBE, probe)
            echo = self._bus.connect(zmq.PUB, channel, "in")
            echo.setsockopt(zmq.LINGER, 0)
            try:
                while True:
                    echo.send(probe)
                    if socket.poll(20) and self._drain_until(socket, probe):
                        break
                    if time.monotonic() > deadline:
                        return False
            finally:
                echo.close()
                socket.setsockopt(zmq.UNSUBSCRIBE, probe)
        return True

    def receive(self, timeout_s: float, at_most: int = 256) -> list[Envelope]:
        ready, self._early = self._early, []
        if not ready:
            self._poller.poll(max(0, round(timeout_s * 1000)))
        for socket in self._sockets.values():
            while len(ready) < at_most:
                try:
                    self._take(socket.recv(zmq.NOBLOCK), ready)
                except zmq.Again:
                    break
        return ready

    def close(self) -> None:
        for socket in self._sockets.values():
            socket.close(linger=0)
        self._sockets.clear()

    def _drain_until(self, socket: zmq.Socket[bytes], probe: bytes) -> bool:
        while True:
            try:
                frame = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return False
            if frame == probe:
                return True
            self._take(frame, self._early)

    def _take(self, frame: bytes, into: list[Envelope]) -> None:
        if frame.startswith(_PROBE):
            return
        try:
            envelope = decode(frame)
        except MalformedMessage:
            self.malformed += 1
            return
        # A prefix without its trailing slash is a whole topic: audio/hall must not bring audio/hallway.
        if not any(envelope.topic == p or (p.endswith("/") and envelope.topic.startswith(p)) for p in self._prefixes):
            return
        self._watch.see(envelope)
        into.append(envelope)


class Lossless(ZmqSubscriber):
    """Holds the flow back when it falls behind; sees every message that passes while it is connected."""

    delivery: Delivery = "lossless"


class Latest(ZmqSubscriber):
    """Delays nobody; what it cannot take is dropped at the broker, and counted here."""

    delivery: Delivery = "latest"


def private_folder(parent: Path) -> Path:
    """A new folder that only this user can enter, for the sockets of one run."""
    folder = parent / f"earwitness-{secrets.token_hex(6)}"
    folder.mkdir(mode=0o700)
    return folder
