"""Many clips at once: read, decoded, resampled and turned into frames by threads, in order and ahead of the taker.

All of that work is done in libraries that let other threads run (libsndfile, soxr, the front end's kernel), so threads
are enough; nothing is pickled. Of 5 s clips in Ogg Vorbis at 16 kHz, a core decodes and computes about 270 a second and
maps about 1,600 from the cache: all 1,600 clips of ESC-50 are in memory within seconds, and training never waits.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from ...stream.errors import EarwitnessError
from .clip import Clip

Say = Callable[[str], None]
Made = TypeVar("Made")

AHEAD = 4  # clips a thread that may be ready and not taken: what a slow taker costs in memory


def load(
    clips: Iterable[Clip], read: Callable[[Clip, Say], Made], say: Say, workers: int | None = None
) -> Iterator[tuple[Clip, Made]]:
    """Each clip with what `read` makes of it, in order. What cannot be read is said, counted at the end, and left out.

    Args:
        read: such as `read_clip` or `FeatureCache.frames`; it is called in threads, and may tell of the file what a
            person should know.
        say: is told that, in the caller's thread.
        workers: threads; the number of CPUs when None.
    """

    def noting(clip: Clip) -> tuple[Made, list[str]]:
        notes: list[str] = []
        return read(clip, notes.append), notes

    total = out = 0
    for clip, result in in_threads(clips, noting, workers):
        total += 1
        if isinstance(result, EarwitnessError):
            out += 1
            say(f"left out: {result}")
            continue
        for note in result[1]:
            say(note)
        yield clip, result[0]
    if out:
        say(f"{out} of {total} clips are left out: they cannot be read")


def in_threads(
    items: Iterable[Clip], work: Callable[[Clip], Made], workers: int | None = None
) -> Iterator[tuple[Clip, Made | EarwitnessError]]:
    """Each item with what `work` makes of it, or with the EarwitnessError that it raised, in order.

    At most `AHEAD` results a thread wait to be taken.
    """
    count = max(1, workers or os.cpu_count() or 1)
    coming = iter(items)
    waiting: deque[tuple[Clip, Future[Made]]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="clips") as pool:
        try:
            while True:
                for item in islice(coming, AHEAD * count - len(waiting)):
                    waiting.append((item, pool.submit(work, item)))
                if not waiting:
                    return
                item, future = waiting.popleft()
                try:
                    made = future.result()
                except EarwitnessError as error:
                    yield item, error
                else:
                    yield item, made
        finally:  # whoever takes them has enough, or failed
            for _, future in waiting:
                future.cancel()
