"""The folder of clips: each clip whole, each listed, all within their limits, whatever stops the program.

    OUT/clips/metadata.csv                                       one row a clip (the AudioFolder convention)
    OUT/clips/kitchen/2026-11-21/2026-11-21T10-00-12.340Z_dog_093.flac
    OUT/clips/kitchen/2026-11-21/2026-11-21T10-00-12.340Z_dog_093.json

A clip is written in this order: JSON and sound under hidden temporary names (`.STEM.flac.part`) in the same folder,
each synced to the disk; the JSON renamed, then the sound renamed, which is the moment from which the clip exists; the
folder synced; its row appended to metadata.csv. It is removed in the opposite order. Killed anywhere between, the next
start puts right what is left (`ClipLibrary.reconcile`): temporary files and a JSON without its sound go, a row without
a clip goes, a clip without a row gets its row again from its JSON.

Nothing is ever removed but clips that this program wrote, which are known by their place, name and JSON, inside
OUT/clips; symbolic links are not followed. A clip that a person has reviewed (a text in the column `review`) is never
removed: it counts towards the quota of bytes, not towards the limits of its class.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import sys
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from .clip_table import ClipTable, Fields, Place
from .clips import ClipRecord, Keep, RecorderSettings, clip_fields, safe_name
from .clock import NS, day, file_stamp, parse_utc
from .durable import part_of, sync_folder, unlink, write_synced, write_whole
from .errors import EarwitnessError

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_STEM = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z_.+_\d{3}(-\d+)?")
_SOUND = (".flac", ".wav")


class NotKept(msgspec.Struct, frozen=True):
    """A clip that the limits do not admit; nothing was written or removed."""

    reason: Literal["class", "quota"]
    text: str


class ClipLibrary:
    """Opens `out`/clips for writing: locks it, puts it right, brings it within its limits.

    One process and one thread at a time. Raises EarwitnessError when another process holds the folder, OSError when
    it cannot be written; `add` raises OSError likewise, leaves nothing behind, and may be tried again at any time.
    """

    def __init__(self, out: Path, settings: RecorderSettings) -> None:
        self.settings = settings
        self.root = (out / "clips").resolve()  # OUT/clips itself may be a link to another disk
        self.root.mkdir(parents=True, exist_ok=True)
        self.bytes = 0  # of sound and JSON
        self.removed = 0  # clips that had to go since the start
        self._table = ClipTable(self.root / "metadata.csv")
        self._clips: dict[str, _Entry] = {}
        self._by_age: list[tuple[int, str]] = []  # sorted (utc_ns, file_name)
        self._lock = FolderLock(self.root)
        try:
            self.mended = self.reconcile()
            self.prune(time.time_ns())
        except BaseException:
            self._lock.release()
            raise

    def __len__(self) -> int:
        return len(self._clips)

    def close(self) -> None:
        """Lets go of the folder; everything is on the disk already."""
        self._lock.release()

    def add(self, record: ClipRecord, sound: bytes, suffix: str) -> ClipRecord | NotKept:
        """Writes a clip. `sound` is the whole file, `suffix` ".flac" or ".wav". Returns the record with its name."""
        if self._table.changed():
            self.reconcile()  # a person reviewed clips, or removed some
        utc_ns = parse_utc(record.utc)
        record = msgspec.structs.replace(record, file_name=self._free_name(record, utc_ns, suffix))
        document = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
        size = len(sound) + len(document)
        victims = self._victims(record, utc_ns, size)
        if isinstance(victims, NotKept):
            return victims
        self._check_free(size - sum(self._clips[name].size for name in victims))
        self._remove(victims)
        path = self._make_folder(record.file_name) / Path(record.file_name).name
        try:
            self._write(path, document, sound)
            place = self._table.append(clip_fields(record))
        except OSError:
            for left in (path, path.with_suffix(".json"), part_of(path), part_of(path.with_suffix(".json"))):
                with contextlib.suppress(OSError):
                    unlink(left)
            raise
        entry = _Entry(record.file_name, record.label, record.score, utc_ns, size, place)
        self._clips[entry.file_name] = entry
        insort(self._by_age, (utc_ns, entry.file_name))
        self.bytes += size
        return record

    def prune(self, now_ns: int) -> None:
        """Removes what has become too old, and what the limits, when they were lowered, no longer admit."""
        for label in sorted({entry.label for entry in self._clips.values()}):
            keep = self.settings.keeps(label)
            if keep.rule in ("newest", "best"):
                mine = sorted(self._unreviewed(label), key=_rank(keep))
                self._remove(entry.file_name for entry in mine[: max(0, len(mine) - keep.count)])
        self._remove(list(self._too_old_or_too_much(now_ns, 0, ())))

    def probe(self) -> None:
        """Finds out whether a clip could be written now: raises OSError where not."""
        self._check_free(0)
        write_whole(self.root / ".probe", b"\0" * 65_536)
        unlink(self.root / ".probe")

    def reconcile(self) -> int:
        """Makes files and rows agree, which they may not after a kill or a person's editing; returns what it mended."""
        found: dict[str, int] = {}  # file_name -> bytes of sound and JSON
        mended = sum(self._scan(folder, found) for folder in list(self._day_folders()))
        clips: dict[str, _Entry] = {}
        foreign: set[str] = set()
        wrong = 0
        for fields, place in self._table.read():
            name = fields["file_name"]
            if name in found and name not in clips:
                clips[name] = self._entry(fields, place, found[name])
            elif name not in clips and name not in foreign and self._is_foreign(name):
                foreign.add(name)
            else:
                wrong += 1
        added: list[Fields] = []
        for name in sorted(found.keys() - clips.keys()):
            record = _read_record(self.root / name)
            if record is not None:  # else somebody else's file with a name like ours: left alone
                added.append(clip_fields(msgspec.structs.replace(record, file_name=name)))
                clips[name] = self._entry(added[-1], Place(0, 0), found[name])
        mended += wrong + len(added) + self._table.damaged
        if wrong or added or self._table.stale:
            known = {*clips, *foreign}
            places = self._table.rewrite(known.__contains__, added)
            for name, entry in clips.items():
                entry.place = places[name]
        self._clips = clips
        self._by_age = sorted((entry.utc_ns, name) for name, entry in clips.items())
        self.bytes = sum(entry.size for entry in clips.values())
        return mended

    # ---- what is there

    def _day_folders(self) -> Iterator[Path]:
        for stream in os.scandir(self.root):
            if stream.is_dir(follow_symlinks=False):
                for entry in os.scandir(stream.path):
                    if entry.is_dir(follow_symlinks=False) and _DAY.fullmatch(entry.name):
                        yield Path(entry.path)

    def _scan(self, folder: Path, found: dict[str, int]) -> int:
        """Adds the clips of one folder to `found`, removes what a kill left half done; returns how much that was."""
        with os.scandir(folder) as entries:
            sizes = {
                entry.name: entry.stat(follow_symlinks=False).st_size
                for entry in entries
                if entry.is_file(follow_symlinks=False)
            }
        mended = 0
        relative = folder.relative_to(self.root).as_posix()
        for name, size in sizes.items():
            stem, suffix = os.path.splitext(name)
            half_written = suffix == ".part" and _STEM.fullmatch(os.path.splitext(stem)[0].removeprefix("."))
            ours = _STEM.fullmatch(stem)
            if half_written or (ours and suffix == ".json" and not any(stem + sound in sizes for sound in _SOUND)):
                unlink(folder / name)
                mended += 1
            elif ours and suffix in _SOUND and stem + ".json" in sizes:
                found[f"{relative}/{name}"] = size + sizes[stem + ".json"]
        return mended

    def _entry(self, fields: Fields, place: Place, size: int) -> _Entry:
        name = fields["file_name"]
        reviewed = bool(fields["review"].strip()) if "review" in fields else False
        try:
            label, score, utc_ns = fields["label"], float(fields["score"]), parse_utc(fields["utc"])
        except ValueError:  # a spreadsheet made "0,93" of it
            record = _read_record(self.root / name)
            label, score = (record.label, record.score) if record else (fields["label"], 0.0)
            utc_ns = _stamp_ns(name)
        return _Entry(name, sys.intern(label), score, utc_ns, size, place, reviewed)

    def _is_foreign(self, name: str) -> bool:
        """A row that a person added for a sound of their own stays, as long as the sound is there."""
        return bool(name) and ".." not in name.split("/") and not name.startswith("/") and (self.root / name).is_file()

    # ---- what may stay

    def _victims(self, record: ClipRecord, utc_ns: int, size: int) -> set[str] | NotKept:
        """The clips that must go before this one can be written."""
        keep = self.settings.keeps(record.label)
        victims: set[str] = set()
        if keep.rule == "none":
            return NotKept("class", f"no clips of {record.label!r} are kept")
        if keep.rule in ("newest", "best"):
            rank = _rank(keep)
            mine = sorted(self._unreviewed(record.label), key=rank)
            excess = mine[: max(0, len(mine) - keep.count + 1)]
            if excess and rank(_Entry("", record.label, record.score, utc_ns, size, Place(0, 0))) < rank(excess[-1]):
                return NotKept("class", f"not among the {keep.count} {keep.rule} clips of {record.label!r}")
            victims.update(entry.file_name for entry in excess)
        victims.update(self._too_old_or_too_much(time.time_ns(), size, victims))
        if self.bytes + size - sum(self._clips[name].size for name in victims) > self.settings.quota_bytes:
            return NotKept("quota", f"the quota of {self.settings.quota_bytes} bytes has no room beside reviewed clips")
        return victims

    def _too_old_or_too_much(self, now_ns: int, size: int, going: Collection[str]) -> Iterator[str]:
        """The oldest clips that must go besides `going`: none may be too old, and `size` more bytes fit the quota."""
        days = self.settings.max_age_days
        oldest_ns = 0 if days is None else now_ns - int(days * 86_400 * NS)
        total = self.bytes + size - sum(self._clips[name].size for name in going)
        for utc_ns, name in self._by_age:
            if total <= self.settings.quota_bytes and utc_ns >= oldest_ns:
                return
            entry = self._clips[name]
            if name not in going and not entry.reviewed:
                total -= entry.size
                yield name

    def _unreviewed(self, label: str) -> list[_Entry]:
        return [entry for entry in self._clips.values() if entry.label == label and not entry.reviewed]

    def _check_free(self, size: int) -> None:
        disk = os.statvfs(self.root)
        free = disk.f_bavail * disk.f_frsize
        if free - size < self.settings.min_free_bytes:
            text = os.strerror(errno.ENOSPC)
            if self.settings.min_free_bytes:
                reserve = f"{self.settings.min_free_bytes / 1e6:.0f} MB are to stay free (recorder.min_free_bytes)"
                text = f"{text}: {free / 1e6:.0f} MB are free, {reserve}"
            raise OSError(errno.ENOSPC, text, str(self.root))

    # ---- in and out

    def _free_name(self, record: ClipRecord, utc_ns: int, suffix: str) -> str:
        percent = round(100 * min(1.0, max(0.0, record.score)))
        stem = f"{safe_name(record.stream)}/{day(utc_ns)}/{file_stamp(utc_ns)}_{safe_name(record.label)}_{percent:03d}"
        for number in itertools.count(1):
            name = stem if number == 1 else f"{stem}-{number}"
            if not any(os.path.lexists(self.root / (name + end)) for end in (*_SOUND, ".json")):
                return name + suffix
        raise AssertionError

    def _make_folder(self, file_name: str) -> Path:
        folder = (self.root / file_name).parent
        for level in (folder.parent, folder):
            if level.is_symlink():
                raise OSError(errno.ELOOP, "is a symbolic link; clips are not written through one", str(level))
            if not level.is_dir():
                level.mkdir()
                sync_folder(level.parent)
        return folder

    def _write(self, path: Path, document: bytes, sound: bytes) -> None:
        companion = path.with_suffix(".json")
        write_synced(part_of(companion), document)
        write_synced(part_of(path), sound)
        os.rename(part_of(companion), companion)
        os.rename(part_of(path), path)
        sync_folder(path.parent)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            entry, path = self._clips[name], self.root / name
            if path.parent.is_symlink() or path.parent.parent.is_symlink():
                raise OSError(errno.ELOOP, "is a symbolic link; clips are not removed through one", str(path.parent))
            unlink(path)
            unlink(path.with_suffix(".json"))
            self._table.blank(entry.place, name)
            del self._clips[name], self._by_age[bisect_left(self._by_age, (entry.utc_ns, name))]
            self.bytes -= entry.size
            self.removed += 1
            with contextlib.suppress(OSError):  # not empty
                path.parent.rmdir()
                path.parent.parent.rmdir()
        if self._table.wasteful():
            for name, place in self._table.rewrite(lambda _: True).items():
                if name in self._clips:
                    self._clips[name].place = place


class FolderLock:
    """Holds a folder for this process until `release` or the process's end, however it ends.

    Raises EarwitnessError naming the holder when another process has it.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / ".earwitness.lock"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 20).decode("ascii", "replace").strip() or "of an unknown number"
            os.close(self._file)
            raise EarwitnessError(
                f"{folder} is in use by process {holder}: stop that one, or choose another folder with --out"
            ) from None
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # on a full disk the lock holds all the same, it only cannot say whose it is

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class _Entry:
    """What the limits need to know of a clip, held in memory: about 400 bytes a clip."""

    __slots__ = ("file_name", "label", "place", "reviewed", "score", "size", "utc_ns")

    def __init__(
        self, file_name: str, label: str, score: float, utc_ns: int, size: int, place: Place, reviewed: bool = False
    ) -> None:
        self.file_name, self.label, self.score, self.utc_ns = file_name, label, score, utc_ns
        self.size, self.place, self.reviewed = size, place, reviewed


def _rank(keep: Keep) -> Callable[[_Entry], tuple[float, int]]:
    """The order in which clips of a class are given up, first to last."""
    if keep.rule == "best":
        return lambda entry: (round(entry.score, 4), entry.utc_ns)  # as the table holds it
    return lambda entry: (0.0, entry.utc_ns)


def _read_record(path: Path) -> ClipRecord | None:
    """The JSON beside a sound; None when there is none that this program wrote."""
    try:
        return msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=ClipRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _stamp_ns(file_name: str) -> int:
    """The UTC that a clip's file name begins with."""
    return parse_utc(file_name.rpartition("/")[2].partition("_")[0])
