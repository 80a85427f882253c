"""The broker: the one address where publishers and subscribers meet.

Each channel is an XSUB for publishers and two XPUBs for subscribers. The lossless one (`ZMQ_XPUB_NODROP`) refuses a
message while any of its matching subscribers is full; the channel then stops reading, and so the publishers feel it.
The other one drops for those that are full, and they count it. Of a message only the topic and the size are looked at.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import stat
import time
from collections import Counter
from pathlib import Path

import zmq

from ..stream.bus import Publisher, check_address, configure, endpoint
from ..stream.errors import EarwitnessError
from ..stream.keys import Gatekeeper, Keys, load_keys
from ..stream.messages import CHANNELS
from ..stream.wire import belongs
from .node import Job, Node, run_node

QUIET_S = 60.0  # an alarm about a client that was refused is over when so long nobody was

CALM_S = 10.0  # an alarm about a count is over when it has stood still for so long


class Broker:
    """The sockets of all channels, served by one loop that never blocks on one of them.

    `counts` has, by channel, what was passed on, and how often a subscriber was `forced` to lose; what was malformed,
    who was denied for an unknown key, and whose handshake failed.
    """

    def __init__(self, address: str, keys: Keys | None = None, patience_s: float | None = None):
        """`patience_s`: how long a lossless subscriber that does not read may hold a channel; then it loses messages
        like any other until it reads again. None: for ever, as files allow. Raises EarwitnessError.
        """
        check_address(address, keys)
        self.counts: Counter[str] = Counter()
        self._folder = _claim_folder(address)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._selector = selectors.DefaultSelector()
        self._channels: list[_Channel] = []
        self._gate: Gatekeeper | None = None
        try:
            if keys is not None:
                self._gate = Gatekeeper(self._context, keys, self.counts)
            for name in CHANNELS:
                self._channels.append(_Channel(self._context, address, name, keys, self._gate, patience_s, self.counts))
        except BaseException:
            self.close()
            raise
        # zmq_poll asks every socket at every turn, which costs more than passing a message: the selector tells which
        # channel has news.
        for channel in self._channels:
            for socket in channel.sockets:
                self._selector.register(socket.FD, selectors.EVENT_READ, channel)
        for socket in self._gate.sockets if self._gate else ():
            self._selector.register(socket.FD, selectors.EVENT_READ, self._gate)
        self._busy: set[_Channel | Gatekeeper] = {*self._channels, *([self._gate] if self._gate else [])}

    def serve(self, timeout_s: float) -> bool:
        """Passes on what is ready; waits at most this long when nothing is. Whether there was anything."""
        held = {channel for channel in self._channels if channel.held is not None}
        # When the subscriber that holds a channel reads again nothing becomes readable: it is tried every millisecond.
        wait_s = 0.0 if self._busy - held else 0.001 if held else timeout_s
        ready = {key.data for key, _ in self._selector.select(wait_s)}
        self._busy = {each for each in ready | self._busy | held if each.serve()}
        return bool(ready or self._busy)

    def close(self) -> None:
        """Closes all sockets; what is queued gets a moment. Socket files are removed."""
        self._selector.close()
        for channel in self._channels:
            channel.close()
        if self._gate is not None:
            self._gate.close()
        self._context.destroy(linger=200)
        if self._folder is not None:
            for channel in self._channels:
                for path in channel.socket_files:
                    path.unlink(missing_ok=True)
            os.close(self._folder)
            self._folder = None


class _Channel:
    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        name: str,
        keys: Keys | None,
        gate: Gatekeeper | None,
        patience_s: float | None,
        counts: Counter[str],
    ):
        self.name, self.patience_s, self.counts = name, patience_s, counts
        self.held: bytes | None = None  # the message that a lossless subscriber has no room for
        self._held_since = 0.0
        self.sockets: list[zmq.Socket[bytes]] = []
        self.socket_files: list[Path] = []
        for kind, side in ((zmq.XSUB, "in"), (zmq.XPUB, "lossless"), (zmq.XPUB, "latest")):
            socket = context.socket(kind)
            self.sockets.append(socket)
            configure(socket, name, address)
            socket.setsockopt(zmq.LINGER, 200)
            if keys is not None and gate is not None:
                keys.secure_server(socket)
                gate.watch(socket)
            end = endpoint(address, name, side)
            _bind(socket, end)
            if end.startswith("ipc://"):
                self.socket_files.append(Path(end.removeprefix("ipc://")))
        self.publishers, self.lossless, self.latest = self.sockets
        self.lossless.setsockopt(zmq.XPUB_NODROP, 1)

    def serve(self, at_most: int = 200) -> bool:
        """Passes subscriptions and messages on. Whether to come back at once: not all of it may be read.

        A socket's descriptor tells of news once only, and any call on the socket may take the news in; so each of the
        three is read until it is empty, after the last call that may have.
        """
        more = self._pass_messages(at_most)
        return self._pass_subscriptions() or more

    def _pass_subscriptions(self) -> bool:
        passed = False
        for side in (self.lossless, self.latest):
            while True:
                try:
                    change = side.recv(zmq.NOBLOCK)
                except zmq.Again:
                    break
                if change[:1] in (b"\0", b"\1"):
                    self.publishers.send(change)
                    passed = True
                else:
                    self.counts["malformed"] += 1  # only a broken peer sends anything else up here
        return passed

    def _pass_messages(self, at_most: int) -> bool:
        for _ in range(at_most):
            if self.held is None:
                try:
                    frame = self.publishers.recv(zmq.NOBLOCK)
                except zmq.Again:
                    return False
                if not belongs(frame, self.name):
                    self.counts["malformed"] += 1
                    continue
            else:
                frame, self.held = self.held, None
            if not self._pass(frame):
                self.held = frame
                self.publishers.getsockopt(zmq.EVENTS)  # quietens its descriptor, for it is not read now
                return True
            self.counts[f"passed_{self.name}"] += 1
        return True

    def _pass(self, frame: bytes) -> bool:
        try:
            self.lossless.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            now = time.monotonic()
            self._held_since = self._held_since or now
            if self.patience_s is None or now - self._held_since < self.patience_s:
                return False
            # Sent without NODROP once, it goes to those that have room, and libzmq leaves the full ones out of all
            # that follows, NODROP or not, until they have read half of what is queued for them.
            self.counts[f"forced_{self.name}"] += 1
            self.lossless.setsockopt(zmq.XPUB_NODROP, 0)
            self.lossless.send(frame, zmq.NOBLOCK)
            self.lossless.setsockopt(zmq.XPUB_NODROP, 1)
        self._held_since = 0.0
        self.latest.send(frame, zmq.NOBLOCK)
        return True

    def close(self) -> None:
        for socket in self.sockets:
            socket.disable_monitor()
            socket.close()


def _claim_folder(address: str) -> int | None:
    """Locks the folder of an ipc address for this broker: libzmq's bind would take a living broker's sockets away.

    The lock goes with the process, however it ends, so the sockets that a dead broker left are taken over.
    """
    if not address.startswith("ipc://"):
        return None
    folder = Path(address.removeprefix("ipc://"))
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise EarwitnessError(f"bus folder {folder}: {error.strerror}") from None
    try:
        status = os.fstat(opened)
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid != os.geteuid():
            raise EarwitnessError(f"bus folder {folder}: others may enter it; make it yours and chmod 700 it")
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EarwitnessError(f"bus folder {folder}: another broker serves it; choose another folder") from None
    except EarwitnessError:
        os.close(opened)
        raise
    return opened


def _bind(socket: zmq.Socket[bytes], address: str) -> None:
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        held = "; another program holds this port" if error.errno == zmq.EADDRINUSE else ""
        raise EarwitnessError(f"bus address {address}: {error.strerror}{held}") from None


class BrokerNode(Node):
    """The broker as a process."""

    def __init__(self, job: Job, publisher: Publisher):
        super().__init__(job, publisher)
        config = job.config
        keys = load_keys(Path(config.bus.keys)) if config.bus.keys else None
        # A file can be held back for ever; a microphone cannot, and its ring must outlast the patience.
        patience_s = None if config.pace == "max" else config.ring_s / 3
        self._broker = Broker(config.bus.address, keys, patience_s)
        self._refused, self._refused_at = 0, 0.0

    def tick(self) -> float:
        self._broker.serve(0.05)
        self.counts.update({name: count - self.counts[name] for name, count in self._broker.counts.items()})
        self._watch_the_door()
        return 0.0

    def finish(self) -> None:
        deadline = time.monotonic() + 1.0
        while self._broker.serve(0.05) and time.monotonic() < deadline:
            pass
        self._broker.close()

    def _watch_the_door(self) -> None:
        refused = self.counts["denied"] + self.counts["handshake_failed"]
        if refused > self._refused:
            self._refused, self._refused_at = refused, time.monotonic()
            self.alarm("client-refused", "somebody without a known key tries to join the bus")
        elif time.monotonic() > self._refused_at + QUIET_S:
            self.clear_alarm("client-refused", f"nobody without a known key for {QUIET_S:.0f} s")


def main() -> None:
    """Runs the broker as a child of the supervisor."""
    run_node(BrokerNode)


if __name__ == "__main__":
    main()
