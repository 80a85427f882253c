"""Frames of clips, kept on the disk: what was computed once is read from there by any later training or evaluation.

    ~/.cache/earwitness/features/3f/3f9c….npy      ($XDG_CACHE_HOME where that is set; $EARWITNESS_CACHE wins)

An entry's name is a hash of all that decides its values: the file's content, which part of it, the speed, the front
end, the resampler, and the code and libraries of all of them. So nothing in here is ever out of date; what was used
longest ago goes when the folder has grown beyond its limit. Entries are written under a temporary name and renamed, so
that any number of processes can share the folder, and what a power failure spoils is found by its checksum and computed
again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ...stream.features.frontend import FrontEndSpec
from ...stream.features.kernel import COMPILED
from .audio import frame_blocks
from .cache_entry import Frames, read_entry, write_entry
from .clip import Clip

Say = Callable[[str], None]

LIMIT = 20_000_000_000  # bytes
TOUCHED_S = 3600  # an entry's time of use is written down as often as that
STALE_S = 3600  # a temporary file of that age is one that a killed process left
KEPT = 0.8  # of the limit, when what is older has to go

_PACKAGE = Path(__file__).resolve().parents[2]
_CODE = ("stream/features", "stream/resample.py", "stream/sources/file.py", "stream/sources/recording.py")


def cache_folder() -> Path:
    """`$EARWITNESS_CACHE`, else `$XDG_CACHE_HOME/earwitness/features`, else that in `~/.cache`."""
    if own := os.environ.get("EARWITNESS_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "earwitness" / "features"


class FeatureCache:
    """Frames of clips by the front end, from the disk where they are there. For any number of threads and processes.

    Where the folder cannot be written, the frames are computed all the same.

    Args:
        folder: made when the first entry is written; `cache_folder()` when None.
        limit: bytes that it may grow to.
        say: is told, once, why nothing can be kept.

    Attributes:
        hits, misses: clips that were there, and those that had to be computed.
    """

    def __init__(self, folder: Path | None = None, limit: int = LIMIT, say: Say | None = None) -> None:
        self.folder = cache_folder() if folder is None else folder
        self.limit = limit
        self.hits = self.misses = 0
        self._say = say
        self._bytes: int | None = None  # None: not counted yet
        self._lock = threading.Lock()

    def frames(self, clip: Clip, spec: FrontEndSpec, say: Say | None = None, speed: float = 1.0) -> Frames:
        """The frames of a clip, float32 `[frames, dims]`, not to be written into: those that a live run computes.

        They are mapped from the file: memory is taken only for what is used, and given back when others need it.

        Args:
            say: is told what is wrong with a file that can be read.
            speed: at which the sound is played, pitch and all.

        Raises:
            EarwitnessError: the file cannot be read, or no sound is in it.
        """
        path = self._path(clip, spec, speed)
        entry = read_entry(path, spec.dims) if path else None
        with self._lock:
            self.hits += entry is not None
            self.misses += entry is None
        if entry is None:
            entry = self._make(path, clip, spec, speed)
        elif path:
            _touch(path)
        frames, notes = entry
        for note in notes if say else ():
            say(note)  # type: ignore[misc]
        return frames

    def _path(self, clip: Clip, spec: FrontEndSpec, speed: float) -> Path | None:
        """Where the clip's frames are or will be; None where its file cannot be read."""
        try:
            about = clip.path.stat()
            content = _content(clip.path, about.st_size, about.st_mtime_ns)
        except OSError:
            return None
        parts = (_code(), spec.hash, content, repr(clip.start_s), repr(clip.end_s), repr(speed))
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.npy"

    def _make(self, path: Path | None, clip: Clip, spec: FrontEndSpec, speed: float) -> tuple[Frames, list[str]]:
        if path is not None:
            try:
                self._write(path, clip, spec, speed)
            except OSError as error:
                self._cannot(error)
            else:
                if entry := read_entry(path, spec.dims):  # else another process has just removed it
                    return entry
        notes: list[str] = []
        return np.concatenate(list(frame_blocks(clip, spec, notes.append, speed))), notes

    def _write(self, path: Path, clip: Clip, spec: FrontEndSpec, speed: float) -> None:
        notes: list[str] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.stem}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            with part.open("wb") as file:
                size = write_entry(file, spec.dims, frame_blocks(clip, spec, notes.append, speed), lambda: notes)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        with self._lock:
            if self._bytes is not None:
                self._bytes += size
            if self._bytes is None or self._bytes > self.limit:
                self._bytes = self._remove_oldest()

    def _remove_oldest(self) -> int:
        """Bring the folder under its limit; returns its bytes. What others remove meanwhile is gone, too."""
        entries = []
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(OSError):
                about = path.stat()
                if path.suffix == ".npy":
                    entries.append((about.st_mtime, about.st_size, path))
                elif path.suffix == ".part" and about.st_mtime < time.time() - STALE_S:
                    path.unlink()
        total = sum(size for _, size, _ in entries)
        if total > self.limit:
            for _, size, path in sorted(entries):
                if total <= KEPT * self.limit:
                    break
                with contextlib.suppress(OSError):
                    path.unlink()
                total -= size
        return total

    def _cannot(self, error: OSError) -> None:
        with self._lock:
            say, self._say = self._say, None
        if say is not None:
            say(f"features are not kept in {self.folder}: {error.strerror or error}")


@lru_cache(maxsize=100_000)
def _content(path: Path, size: int, mtime_ns: int) -> str:
    """The hash of a file's content; size and time say whether it was taken of this content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


@cache
def _code() -> str:
    """What computes: the hash of our own code, and the libraries' versions."""
    digest = hashlib.sha256()
    for name in _CODE:
        place = _PACKAGE / name
        for path in sorted(place.glob("*.[pc]*")) if place.is_dir() else [place]:
            if path.is_file():
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
    libraries = (f"{name} {version(name)}" for name in ("numpy", "soxr", "soundfile"))
    return " ".join((digest.hexdigest(), *libraries, f"kernel {COMPILED}"))


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_mtime < time.time() - TOUCHED_S:
            os.utime(path)
