"""The broker: the one address where publishers and subscribers meet.

Each channel is an XSUB for publishers and two XPUBs for subscribers. The lossless one (`ZMQ_XPUB_NODROP`) refuses a
message while any of its matching subscribers is full; the channel then stops reading, and so the publishers feel it.
The other one drops for those that are full, and they count it. Messages are passed on unread.
"""

from __future__ import annotations

import stat
import time
from collections import Counter
from pathlib import Path

import zmq

from ..stream.bus import Publisher, check_address, configure, endpoint
from ..stream.errors import EarwitnessError
from ..stream.keys import Keys, load_keys
from ..stream.messages import CHANNELS
from .node import Job, Node, run_node


class Broker:
    """The sockets of all channels, served by one loop that never blocks on one of them."""

    def __init__(
        self,
        address: str,
        keys: Keys | None = None,
        patience_s: float | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ):
        """`patience_s`: how long a lossless subscriber that does not read may hold a channel; then it loses messages
        like any other until it reads again. None: for ever, as files allow. Raises EarwitnessError.
        """
        check_address(address, keys)
        self.counts: Counter[str] = Counter()
        self._poller = zmq.Poller()
        context = context or zmq.Context.instance()
        self._channels = [_Channel(context, address, name, keys, patience_s, self.counts) for name in CHANNELS]
        for channel in self._channels:
            for socket in (channel.publishers, channel.lossless, channel.latest):
                self._poller.register(socket, zmq.POLLIN)

    def serve(self, timeout_s: float) -> None:
        """Passes on what is ready; waits at most this long when nothing is."""
        held = [channel for channel in self._channels if channel.held is not None]
        for channel in held:
            # A channel that is held does not read, so its publishers must not wake the poller.
            self._poller.modify(channel.publishers, 0)
        ready = dict(self._poller.poll(1 if held else max(1, round(timeout_s * 1000))))
        for channel in held:
            self._poller.modify(channel.publishers, zmq.POLLIN)
        for channel in self._channels:
            channel.pass_subscriptions(ready)
            if channel.held is not None or channel.publishers in ready:
                channel.pass_messages()

    def close(self) -> None:
        """Closes all sockets; what is queued gets a moment."""
        for channel in self._channels:
            channel.close()


class _Channel:
    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        name: str,
        keys: Keys | None,
        patience_s: float | None,
        counts: Counter[str],
    ):
        self.name, self.patience_s, self.counts = name, patience_s, counts
        self.held: bytes | None = None  # the message that a lossless subscriber has no room for
        self._held_since = 0.0
        self._overrun = False  # a subscriber has used up the patience, and has not caught up yet
        self.publishers = _bind(context, zmq.XSUB, endpoint(address, name, "in"), keys)
        self.lossless = _bind(context, zmq.XPUB, endpoint(address, name, "lossless"), keys)
        self.latest = _bind(context, zmq.XPUB, endpoint(address, name, "latest"), keys)
        self.lossless.setsockopt(zmq.XPUB_NODROP, 1)

    def pass_subscriptions(self, ready: dict[zmq.Socket[bytes], int]) -> None:
        for side in (self.lossless, self.latest):
            if side in ready:
                try:
                    while True:
                        self.publishers.send(side.recv(zmq.NOBLOCK))
                except zmq.Again:
                    pass

    def pass_messages(self, at_most: int = 200) -> None:
        for _ in range(at_most):
            if self.held is None:
                try:
                    frame = self.publishers.recv(zmq.NOBLOCK)
                except zmq.Again:
                    return
            else:
                frame, self.held = self.held, None
            if not self._pass(frame):
                return
            self.counts[f"passed_{self.name}"] += 1

    def _pass(self, frame: bytes) -> bool:
        try:
            self.lossless.send(frame, zmq.NOBLOCK)
            self._held_since, self._overrun = 0.0, False
        except zmq.Again:
            now = time.monotonic()
            self._held_since = self._held_since or now
            if self.patience_s is None or (not self._overrun and now - self._held_since < self.patience_s):
                self.held = frame
                return False
            self._overrun = True
            self.counts[f"forced_{self.name}"] += 1
            self.lossless.setsockopt(zmq.XPUB_NODROP, 0)
            self.lossless.send(frame, zmq.NOBLOCK)
            self.lossless.setsockopt(zmq.XPUB_NODROP, 1)
        self.latest.send(frame, zmq.NOBLOCK)
        return True

    def close(self) -> None:
        for socket in (self.publishers, self.lossless, self.latest):
            socket.close(linger=200)


def _bind(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, address: str, keys: Keys | None
) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    configure(socket)
    if keys is not None:
        keys.secure_server(socket)
    if address.startswith("ipc://"):
        path = Path(address.removeprefix("ipc://"))
        if not path.parent.is_dir():
            raise EarwitnessError(f"bus folder {path.parent}: no such folder")
        if path.parent.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise EarwitnessError(f"bus folder {path.parent}: others may enter it; chmod 700 it")
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        raise EarwitnessError(f"bus address {address}: {error.strerror}; another program may hold it") from None
    return socket


class BrokerNode(Node):
    """The broker as a process."""

    def __init__(self, job: Job, publisher: Publisher):
        super().__init__(job, publisher)
        config = job.config
        keys = load_keys(Path(config.bus.keys)) if config.bus.keys else None
        # A file can be held back for ever; a microphone cannot, and its ring must outlast the patience.
        patience_s = None if config.pace == "max" else config.ring_s / 3
        self._broker = Broker(config.bus.address, keys, patience_s)

    def tick(self) -> float:
        self._broker.serve(0.05)
        self.counts.update({name: count - self.counts[name] for name, count in self._broker.counts.items()})
        return 0.0

    def finish(self) -> None:
        self._broker.serve(0.05)
        self._broker.close()


def main() -> None:
    """Runs the broker as a child of the supervisor."""
    run_node(BrokerNode)


if __name__ == "__main__":
    main()
