"""The signals that ask a run to stop, as bytes on a socket, so that its loop meets them between two steps."""

from __future__ import annotations

import signal
import socket
from types import FrameType


class StopSignals:
    """Catches SIGINT, SIGTERM and SIGHUP while it is entered; `wakeup` becomes readable when one came."""

    STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __enter__(self) -> StopSignals:
        self.wakeup, self._write = socket.socketpair()
        for end in (self.wakeup, self._write):
            end.setblocking(False)
        nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        caught = [number for number in self.STOP if not (nohup and number == signal.SIGHUP)]
        self._old = {number: signal.signal(number, _ignore) for number in caught}
        self._old_fd = signal.set_wakeup_fd(self._write.fileno())
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self.wakeup.close()
        self._write.close()

    def take(self) -> list[int]:
        """The signals that came since the last call."""
        try:
            return [number for number in self.wakeup.recv(64) if number in self.STOP]
        except BlockingIOError:
            return []


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
