"""Which of several workers takes which streams: one rule that every process computes for itself, restarts included."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import lru_cache

MOST_WORKERS = 64


class Share:
    """The streams of worker number `worker` of `workers`, counted from 1.

    Where all streams of a run are known beforehand they are dealt out in the order of their names, so that no worker
    has more than one more than another. Streams that may come from other hosts are parted by their names alone.

    Args:
        worker, workers: 1..workers.
        streams: all streams of the run; empty: not known.

    >>> Share(1, 2, ["hall", "attic", "yard"]).topics("audio")
    ('audio/attic', 'audio/yard')
    >>> Share(2, 2, ["hall", "attic", "yard"]).topics("audio")
    ('audio/hall',)
    >>> Share(1, 2).topics("audio")
    ('audio/',)
    """

    def __init__(self, worker: int = 1, workers: int = 1, streams: Iterable[str] = ()) -> None:
        if not 1 <= worker <= workers:
            raise ValueError(f"worker {worker} of {workers}")
        self.worker, self.workers = worker, workers
        self.known = tuple(sorted(streams))
        self._own = frozenset(self.known[worker - 1 :: workers])
        self.takes = lru_cache(maxsize=10_000)(self._takes)
        """Whether a stream, by its name, is this worker's."""

    @classmethod
    def parse(cls, text: str, streams: Iterable[str] = ()) -> Share:
        """The share that was written as "WORKER/WORKERS"; "" is all there is."""
        worker, _, workers = text.partition("/")
        return cls(int(worker), int(workers), streams) if text else cls(1, 1)

    @property
    def whole(self) -> bool:
        """Whether one worker takes all."""
        return self.workers == 1

    def topics(self, name: str) -> tuple[str, ...]:
        """What to subscribe to: this worker's streams where they are known, else all, of which `takes` says the own."""
        if self.whole or not self.known:
            return (f"{name}/",)
        return tuple(f"{name}/{stream}" for stream in self.known if stream in self._own)

    def _takes(self, stream: str) -> bool:
        if self.whole or stream in self._own:
            return True
        return not self.known and zlib.crc32(stream.encode()) % self.workers == self.worker - 1
