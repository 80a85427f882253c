"""The bus: publishers and subscribers that meet at one broker, and never hold a reference to each other.

The broker has a few channels (`messages.CHANNELS`), one for each step of the way, so that back-pressure runs from the
sink to the source and never in a circle. Each channel has three ends: `in` for publishers, `lossless` for subscribers
that hold the flow back when they fall behind, `latest` for subscribers that lose what they cannot take.
"""

from __future__ import annotations

import os
import struct
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

import zmq

from .errors import EarwitnessError
from .keys import Keys
from .messages import BY_NAME, CHANNELS, Delivery, Message
from .wire import Envelope, MalformedMessage, decode, encode, is_probe, make_probe, topic_in

QUEUE_MESSAGES = 128  # between any two sockets; what does not fit waits in the capture ring
LINGER_S = 3.0  # how long a publisher that closes may wait for room
LINK_TIMEOUT_S = 30.0  # a tcp link on which nothing gets through for so long is given up and made anew
SIDES: tuple[str, ...] = ("in", "lossless", "latest")


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
        """Sends one message. False: it was not sent, for there was no room for it; or, on a lossless topic, nobody
        who listens. With `wait` it is held back until there is, or until `give_up`, asked often, says so.
        """

    def heard(self, topic: str) -> bool:
        """Whether anybody subscribes to this topic now."""

    def close(self) -> None:
        """Sends what is queued, waiting at most LINGER_S for room, and lets go."""


class Subscriber(Protocol):
    """Receives messages, and counts what it missed."""

    missed: Counter[str]  # by topic name: messages that its sequence numbers say were lost
    malformed: int
    ignores: Callable[[str], bool] | None  # of what topics messages are dropped undecoded and uncounted

    def receive(self, timeout_s: float, at_most: int = 256) -> list[Envelope]:
        """All that is ready, waiting at most this long for the first; of each channel at most so many."""

    def hold(self, channels: Collection[str]) -> None:
        """Leaves what comes on these channels unread, so that it holds the flow back, until the next call."""

    def follow(self, topics: Collection[str]) -> None:
        """Subscribes to these too, on channels that it has, in place of those of the last call."""

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

    def forget(self, topic: str) -> None:
        """Takes what comes next on a topic for the first."""
        for key in [key for key in self._next if key[0] == topic]:
            del self._next[key]


def endpoint(address: str, channel: str, side: str) -> str:
    """The socket address of one end of a channel. Raises EarwitnessError.

    An `ipc://FOLDER` bus has one socket file an end; a `tcp://HOST:PORT` bus one port an end, counted up from PORT.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "ipc" and rest.strip("/"):
        return f"ipc://{rest.rstrip('/')}/{channel}.{side}"
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or not host or not (port.isascii() and port.isdecimal()):
        raise EarwitnessError(f"bus address {address!r}: expected ipc://FOLDER or tcp://HOST:PORT")
    number = int(port) + CHANNELS.index(channel) * len(SIDES) + SIDES.index(side)
    if int(port) == 0 or number > 65535:
        last = 65535 - len(CHANNELS) * len(SIDES) + 1
        raise EarwitnessError(f"bus address {address!r}: the bus takes 12 ports from PORT on; PORT is 1 to {last}")
    return f"tcp://{host}:{number}"


def check_address(address: str, keys: Keys | None) -> None:
    """Refuses an address that is no address, or that would leave the machine without keys. Raises EarwitnessError."""
    longest = max((endpoint(address, channel, side) for channel in CHANNELS for side in SIDES), key=len)
    if address.startswith("ipc://"):
        if len(os.fsencode(longest.removeprefix("ipc://"))) > 107:
            raise EarwitnessError(f"bus address {address!r}: too long a path for a socket; choose a shorter folder")
    elif keys is None:
        raise EarwitnessError(f"bus address {address!r}: over tcp only with keys; make them with `earwitness keys`")


class ZmqBus:
    """The bus over ZeroMQ sockets. `keys` are needed for tcp. Raises EarwitnessError."""

    def __init__(self, address: str, keys: Keys | None = None):
        check_address(address, keys)
        self.address, self.keys = address, keys

    def publisher(self) -> ZmqPublisher:
        return ZmqPublisher(self)

    def subscriber(self, topics: Iterable[str], delivery: Delivery = "lossless") -> ZmqSubscriber:
        return (Lossless if delivery == "lossless" else Latest)(self, topics)

    def join(self, timeout_s: float = 1.0) -> bool:
        """Whether the broker answers. Raises EarwitnessError when it refuses these keys, for then no waiting helps."""
        deadline = time.monotonic() + timeout_s
        failed = 0
        with zmq.Context() as context, self.open(context, zmq.SUB, CHANNELS[-1]) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            events |= zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            with socket.get_monitor_socket(events) as monitor:
                self.connect(socket, CHANNELS[-1], "latest")
                while monitor.poll(max(0, round((deadline - time.monotonic()) * 1000))):
                    (event,) = struct.unpack_from("=H", monitor.recv_multipart()[0])
                    if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                        return True
                    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                        raise EarwitnessError(f"bus {self.address}: the broker does not know this host's key")
                    failed += 1
                    if failed == 3:  # one alone may be a broker that just ended
                        raise EarwitnessError(f"bus {self.address}: what answers there has other keys, or none")
                socket.disable_monitor()
        return False

    def open(self, context: zmq.Context[zmq.Socket[bytes]], kind: int, channel: str) -> zmq.Socket[bytes]:
        """A socket with everything set that has to be before `connect`."""
        socket = context.socket(kind)
        configure(socket, channel, self.address)
        if self.keys is not None:
            self.keys.secure_client(socket)
        return socket

    def connect(self, socket: zmq.Socket[bytes], channel: str, side: str) -> None:
        """Connects, now or as soon as there is a broker. A broker's `*` means this machine."""
        address = endpoint(self.address, channel, side).replace("tcp://*:", "tcp://127.0.0.1:")
        try:
            socket.connect(address)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise EarwitnessError(f"bus address {address}: {error.strerror}") from None


def configure(socket: zmq.Socket[bytes], channel: str, address: str) -> None:
    """What every socket of the bus has in common: bounded queues and sizes, quick reconnects, dead links noticed.

    No ZMTP heartbeats: they cannot pass a peer that is held back, whose healthy link they then cut, and messages with
    it (or libzmq aborts, its issue 3937). The kernel does it: a dead process closes its sockets, and tcp gives up a
    link on which neither data nor keepalive probes got through. A shorter cut costs nothing, tcp sends it all again.
    """
    # What subscribers send is subscriptions, and libzmq drops those that find no room, for good.
    subscribes = socket.type in (zmq.SUB, zmq.XSUB)
    socket.setsockopt(zmq.SNDHWM, 0 if subscribes else QUEUE_MESSAGES)
    socket.setsockopt(zmq.RCVHWM, QUEUE_MESSAGES)
    socket.setsockopt(zmq.MAXMSGSIZE, max(topic.max_bytes for topic in BY_NAME.values() if topic.channel == channel))
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 250)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, 3000)
    socket.setsockopt(zmq.IPV6, "[" in address)  # a name that has both kinds would be tried by IPv6 alone
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, max(1, round(LINK_TIMEOUT_S / 3)))
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, max(1, round(LINK_TIMEOUT_S / 6)))
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 4)
    socket.setsockopt(zmq.TCP_MAXRT, round(LINK_TIMEOUT_S * 1000))


class ZmqPublisher:
    """Publishes on any channel; a channel's socket is opened when it is first used."""

    def __init__(self, bus: ZmqBus):
        self._bus = bus
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()  # its own: ending it waits for what is queued
        self._sender = int.from_bytes(os.urandom(8), "big") >> 1
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
        row = BY_NAME[topic.partition("/")[0]]
        socket = self._socket(row.channel)
        frame = encode(topic, self._sender, self._sequence[topic], message, payload)
        while (wait or row.delivery == "lossless") and not self.heard(topic):
            if not wait or give_up():
                return False
            socket.poll(50)  # a subscription is what can arrive here
        while True:
            try:
                socket.send(frame, 0 if wait else zmq.NOBLOCK)
            except zmq.Again:
                if not wait or give_up():
                    return False
                continue
            self._sequence[topic] += 1
            return True

    def heard(self, topic: str) -> bool:
        known = self._subscribed(BY_NAME[topic.partition("/")[0]].channel)
        name = topic.encode() + b"\0"
        return name in known or any(name.startswith(prefix) for prefix in known)  # of a thousand streams each is there

    def _subscribed(self, channel: str) -> set[bytes]:
        """What is subscribed to on a channel now."""
        socket, known = self._socket(channel), self._subscriptions[channel]
        while int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            change = socket.recv(zmq.NOBLOCK)
            if change[:1] == b"\1":
                known.add(change[1:])
            elif change[:1] == b"\0":
                known.discard(change[1:])
        return known

    def close(self) -> None:
        deadline = time.monotonic() + LINGER_S
        sent = {BY_NAME[topic.partition("/")[0]] for topic in self._sequence}
        for channel in {row.channel for row in sent if row.delivery == "lossless"}:
            self._settle(channel, deadline)
        for socket in self._sockets.values():
            socket.close(linger=max(0, round(1000 * (deadline - time.monotonic()))))
        self._sockets.clear()
        self._context.term()

    def _settle(self, channel: str, deadline: float) -> None:
        """Waits until the broker has passed on what was sent: a probe that is sent behind it comes back.

        What a broker that is held back has not read yet is lost when the link ends: libzmq drops it.
        """
        probe = make_probe(os.urandom(8))
        socket, known = self._socket(channel), self._subscriptions[channel]
        if not self._subscribed(channel):
            return  # nobody listens, or there is no broker
        with self._bus.open(self._context, zmq.SUB, channel) as echo:
            echo.setsockopt(zmq.LINGER, 0)
            echo.setsockopt(zmq.SUBSCRIBE, probe)
            self._bus.connect(echo, channel, "latest")
            sent = False
            while time.monotonic() < deadline and self._subscribed(channel) and not echo.poll(0 if not sent else 20):
                if not sent and probe not in known:
                    socket.poll(20)
                elif not sent:
                    try:
                        socket.send(probe)  # waits for at most SNDTIMEO
                        sent = True
                    except zmq.Again:
                        pass

    def _socket(self, channel: str) -> zmq.Socket[bytes]:
        if channel not in self._sockets:
            socket = self._bus.open(self._context, zmq.XPUB, channel)
            socket.setsockopt(zmq.XPUB_NODROP, 1)
            socket.setsockopt(zmq.SNDTIMEO, 100)
            # Without a broker there are no subscriptions then, so that `heard` tells, and nothing is queued for a
            # broker that would come back without its subscribers.
            socket.setsockopt(zmq.IMMEDIATE, 1)
            self._bus.connect(socket, channel, "in")
            self._sockets[channel] = socket
            self._subscriptions[channel] = set()
        return self._sockets[channel]


class ZmqSubscriber:
    """Subscribes to topics: `audio/` is all that begin so, `audio/kitchen` exactly that one."""

    delivery: Delivery

    def __init__(self, bus: ZmqBus, topics: Iterable[str]):
        self._bus = bus
        self._watch = SequenceWatch()
        self.missed = self._watch.missed
        self.malformed = 0
        self.ignores: Callable[[str], bool] | None = None
        self._early: list[Envelope] = []  # came while synchronising
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._held: frozenset[str] = frozenset()
        self._followed: frozenset[str] = frozenset()
        self._poller = zmq.Poller()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        for prefix in topics:
            channel = BY_NAME[prefix.partition("/")[0]].channel
            if channel not in self._sockets:
                socket = self._sockets[channel] = bus.open(context, zmq.SUB, channel)
                self._poller.register(socket, zmq.POLLIN)
                bus.connect(socket, channel, self.delivery)
            self._sockets[channel].setsockopt(zmq.SUBSCRIBE, subscription(prefix))

    def synchronise(self, timeout_s: float = 10.0) -> bool:
        """Returns when the broker knows every subscription and has told the publishers; False on a time-out.

        A message is sent through each channel until it comes back; the subscription to it was made last, and the
        broker takes them in order.
        """
        deadline = time.monotonic() + timeout_s
        for channel, socket in self._sockets.items():
            probe = make_probe(os.urandom(8))
            socket.setsockopt(zmq.SUBSCRIBE, probe)
            echo = self._bus.open(zmq.Context.instance(), zmq.PUB, channel)
            self._bus.connect(echo, channel, "in")
            try:
                while True:
                    echo.send(probe)
                    if socket.poll(20) and self._drain_until(socket, probe):
                        break
                    if time.monotonic() > deadline:
                        return False
            finally:
                echo.close(linger=0)
                socket.setsockopt(zmq.UNSUBSCRIBE, probe)
        return True

    def receive(self, timeout_s: float, at_most: int = 256) -> list[Envelope]:
        ready, self._early = self._early, []
        deadline = time.monotonic() + timeout_s
        while True:
            if not ready:
                self._poller.poll(max(0, round((deadline - time.monotonic()) * 1000)))
            malformed = self.malformed
            for channel, socket in self._sockets.items():
                if channel in self._held:
                    socket.getsockopt(zmq.EVENTS)  # so that it subscribes again when the broker came back meanwhile
                    continue
                for _ in range(at_most):
                    try:
                        self._take(socket.recv(zmq.NOBLOCK), ready)
                    except zmq.Again:
                        break
            # A probe that comes late wakes the poller, and is nothing that anybody waits for.
            if ready or self.malformed > malformed or time.monotonic() >= deadline:
                return ready

    def hold(self, channels: Collection[str]) -> None:
        for channel, socket in self._sockets.items():
            if channel in channels and channel not in self._held:
                self._poller.unregister(socket)
            elif channel in self._held and channel not in channels:
                self._poller.register(socket, zmq.POLLIN)
        self._held = frozenset(channels)

    def follow(self, topics: Collection[str]) -> None:
        if self._followed == topics:
            return
        for topic in self._followed ^ frozenset(topics):
            change = zmq.UNSUBSCRIBE if topic in self._followed else zmq.SUBSCRIBE
            self._sockets[BY_NAME[topic.partition("/")[0]].channel].setsockopt(change, subscription(topic))
            self._watch.forget(topic)  # what is sent meanwhile is not missed
        self._followed = frozenset(topics)

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
        if is_probe(frame) or (self.ignores is not None and self.ignores(topic_in(frame))):
            return
        try:
            envelope = decode(frame)
        except MalformedMessage:
            self.malformed += 1
            return
        self._watch.see(envelope)
        into.append(envelope)


def subscription(prefix: str) -> bytes:
    """The bytes to subscribe to. A whole topic ends with its NUL, so that audio/hall does not bring audio/hallway."""
    return prefix.encode() + (b"" if prefix.endswith("/") else b"\0")


class Lossless(ZmqSubscriber):
    """Holds the flow back when it falls behind; sees every message that passes while it is connected, unless it
    stops reading for longer than the broker's patience, and then counts what it missed.
    """

    delivery: Delivery = "lossless"


class Latest(ZmqSubscriber):
    """Delays nobody; what it cannot take is dropped at the broker, and counted here."""

    delivery: Delivery = "latest"


def private_folder(parent: Path) -> Path:
    """A new folder that only this user can enter, for the sockets of one run."""
    folder = parent / f"earwitness-{os.urandom(6).hex()}"
    folder.mkdir(mode=0o700)
    return folder
