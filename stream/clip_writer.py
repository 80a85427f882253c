"""Writes clips in a thread of its own, so that a slow disk delays no audio, and a full one stops recording alone.

The queue is bounded by bytes. When the disk fails, recording stops: clips are refused at once, and the folder is tried
again after a pause that doubles each time. What happened is told by `outcomes`, to be asked from the other thread.
"""

from __future__ import annotations

import errno
import functools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy.typing as npt

from .clip_library import ClipLibrary, NotKept
from .clips import ClipRecord, RecorderSettings
from .errors import EarwitnessError
from .flac import encode_sound

QUEUE_BYTES = 12_000_000  # of samples; one clip is taken whatever its size
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0
_PRUNE_EVERY_S = 3600.0


class Saved(NamedTuple):
    """A clip stands on the disk."""

    record: ClipRecord
    seconds: float  # from `submit` on


class Refused(NamedTuple):
    """A clip was not written: the limits do not admit it, or recording has stopped."""

    record: ClipRecord
    reason: str  # "class", "quota", "stopped"
    text: str


class Stopped(NamedTuple):
    """The folder cannot be written: told once, until `Resumed`."""

    text: str
    mendable: bool  # nobody but a person will change it: it is read-only, or somebody else's


class Resumed(NamedTuple):
    """The folder can be written again."""


Outcome = Saved | Refused | Stopped | Resumed


class ClipWriter:
    """Opens `out`/clips and writes what is submitted, in order. `close` ends the thread."""

    def __init__(self, out: Path, settings: RecorderSettings) -> None:
        self._out, self._settings = out, settings
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._outcomes: deque[Outcome] = deque()
        self._lock = threading.Lock()
        self._bytes = 0  # of samples queued or being written
        self._library: ClipLibrary | None = None
        self._pause_s = 0.0  # 0: recording
        self._try_at = 0.0
        self._bug: Exception | None = None
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._work, name="clip-writer", daemon=True)
        self._thread.start()

    def wait_until_open(self, seconds: float) -> None:
        """Waits until the folder was opened or could not be, at most so long: a large one takes its time."""
        self._opened.wait(seconds)

    def has_room(self, nbytes: int) -> bool:
        """Whether so many bytes of samples may be submitted now."""
        with self._lock:
            return self._bytes == 0 or self._bytes + nbytes <= QUEUE_BYTES

    def submit(self, record: ClipRecord, samples: npt.NDArray[Any]) -> None:
        """Queues a clip: `[samples, channels]`, to be left alone from now on."""
        with self._lock:
            self._bytes += samples.nbytes
        self._jobs.put(_Job(record, samples, time.monotonic()))

    def outcomes(self) -> list[Outcome]:
        """What happened since the last call, in order. Raises what a bug raised in the thread."""
        if self._bug is not None:
            raise RuntimeError("the thread that writes clips has ended") from self._bug
        told = []
        while self._outcomes:
            told.append(self._outcomes.popleft())
        return told

    @property
    def idle(self) -> bool:
        """Whether all that was submitted has its outcome."""
        with self._lock:
            return self._bytes == 0

    def close(self, seconds: float) -> bool:
        """Ends the thread when all is written; False when that takes longer than `seconds`: it is left behind then."""
        self._jobs.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # ---- the thread

    def _work(self) -> None:
        try:
            self._work_until_closed()
        except Exception as bug:
            self._bug = bug
        finally:
            self._opened.set()
            if self._library is not None:
                self._library.close()

    def _work_until_closed(self) -> None:
        self._open()
        self._opened.set()
        prune_at = time.monotonic() + _PRUNE_EVERY_S
        while True:
            until = self._try_at if self._pause_s else prune_at
            try:
                job = self._jobs.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                if self._pause_s:
                    self._open()
                elif self._library is not None:
                    prune_at = time.monotonic() + _PRUNE_EVERY_S
                    self._try(functools.partial(self._library.prune, time.time_ns()))
                continue
            if job is None:
                return
            if self._pause_s and time.monotonic() >= self._try_at:
                self._open()
            self._outcomes.append(self._write(job))
            with self._lock:
                self._bytes -= job.samples.nbytes

    def _open(self) -> None:
        """Opens the folder, or tries again after a failure: from the start, for anything may have happened to it."""

        def open_and_probe() -> None:
            self._library = ClipLibrary(self._out, self._settings)
            self._library.probe()

        if self._try(open_and_probe) and self._pause_s:
            self._pause_s = 0.0
            self._outcomes.append(Resumed())

    def _write(self, job: _Job) -> Saved | Refused:
        library = self._library
        if library is None:
            return Refused(job.record, "stopped", "recording has stopped")
        if self._settings.keeps(job.record.label).rule == "none":
            return Refused(job.record, "class", f"no clips of {job.record.label!r} are kept")
        sound = encode_sound(job.samples, job.record.rate)
        notes = (*job.record.notes, *sound.notes)
        record = msgspec.structs.replace(job.record, encoding=sound.encoding, notes=notes)
        added: list[ClipRecord | NotKept] = []
        if not self._try(lambda: added.append(library.add(record, sound.data, sound.suffix))):
            return Refused(record, "stopped", "recording has stopped")
        if isinstance(added[0], NotKept):
            return Refused(record, added[0].reason, added[0].text)
        return Saved(added[0], time.monotonic() - job.submitted_at)

    def _try(self, act: Callable[[], object]) -> bool:
        """Does something with the folder; on an error recording stops, and a longer pause begins."""
        try:
            act()
        except (OSError, EarwitnessError) as error:
            if self._library is not None:
                self._library.close()
                self._library = None
            if not self._pause_s:
                mendable = isinstance(error, EarwitnessError) or error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
                self._outcomes.append(Stopped(_in_words(error), mendable))
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s or FIRST_PAUSE_S)
            self._try_at = time.monotonic() + self._pause_s
            return False
        return True


class _Job(NamedTuple):
    record: ClipRecord
    samples: npt.NDArray[Any]
    submitted_at: float


def _in_words(error: OSError | EarwitnessError) -> str:
    if isinstance(error, EarwitnessError):
        return str(error)
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}"
