"""Standard output that may be slow, full, stopped or closed, written without ever stopping the node for long.

A reader that pauses (`| less`, Ctrl-S) would otherwise hold the monitor until it counts as hung.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque

_CHUNK = 4096  # POSIX's PIPE_BUF on Linux: so much never blocks on a pipe that poll calls writable
_RETRY_S = 0.5  # a full disk is tried again this often


class Output:
    """Queues whole texts and writes them in order as the reader takes them.

    fd: where to write; it stays open.
    limit_bytes: what may wait. A text that would pass it is dropped whole, and counted in `lost`.
    """

    def __init__(self, fd: int, limit_bytes: int = 16 << 20):
        self.fd = fd
        self.closed = False  # nobody will ever read it: the other end of the pipe is gone
        self.lost = 0  # texts that were dropped
        self.error = ""  # why nothing can be written now; "" when it can
        self.waiting = 0  # bytes
        self._limit = limit_bytes
        self._queue: deque[memoryview] = deque()
        self._retry_at = 0.0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def write(self, text: str) -> None:
        """Queues a text and writes what can be written at once."""
        data = text.encode(errors="replace")
        if self.closed or self.waiting + len(data) > self._limit:
            self.lost += 1
            return
        self._queue.append(memoryview(data))
        self.waiting += len(data)
        self.pump()

    def pump(self, wait_s: float = 0.0) -> bool:
        """Writes what is queued, waiting at most this long for the reader. True when nothing is left."""
        deadline = time.monotonic() + wait_s
        while self._writable(max(0.0, deadline - time.monotonic())):
            self._write_some()
        return not self.waiting

    def _writable(self, wait_s: float) -> bool:
        """Whether there is something to write and room for it. Learns, even with nothing to write, of a gone reader."""
        if self.closed:
            return False
        if (pause_s := self._retry_at - time.monotonic()) > 0:
            time.sleep(min(wait_s, pause_s))
            if wait_s < pause_s:
                return False
        events = sum(event for _, event in self._poll.poll(round(wait_s * 1000) if self._queue else 0))
        # A pipe whose reader is gone says POLLERR. So does a terminal that hung up, but clips may still be wanted then.
        if events & (select.POLLERR | select.POLLNVAL) and not os.isatty(self.fd):
            self._close()
        return bool(events & select.POLLOUT) and bool(self._queue)

    def _write_some(self) -> None:
        chunk = self._queue[0]
        try:
            written = os.write(self.fd, chunk[:_CHUNK])
        except BrokenPipeError:
            self._close()
            return
        except BlockingIOError:  # somebody made it non-blocking, and poll promised too much
            return
        except OSError as error:  # the disk is full, the terminal is gone
            self.error = error.strerror or type(error).__name__
            self._retry_at = time.monotonic() + _RETRY_S
            return
        self.error = ""
        self.waiting -= written
        if written == len(chunk):
            self._queue.popleft()
        else:
            self._queue[0] = chunk[written:]

    def _close(self) -> None:
        self.closed = True
        self.lost += len(self._queue)
        self._queue.clear()
        self.waiting = 0
