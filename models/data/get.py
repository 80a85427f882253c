"""Data sets from where their makers publish them."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...stream.errors import EarwitnessError, nearest
from .clip import Dataset
from .datasets import DATASETS, open_dataset
from .download import PAUSE_S, download
from .root import data_root
from .unpack import unpack

Say = Callable[[str], None]
Progress = Callable[[float], None]  # the share of it that is done, 0..1


@dataclass(frozen=True)
class Archive:
    """A data set as it is published.

    Attributes:
        url: the official address.
        folder: the data set's under the root.
        clips: how many it holds.
        keep: what of it is wanted, patterns under its top folder.
        bytes: of the archive; it may be a tenth larger.
        unpacked: bytes of what is kept, about; it may be half as much again.
        licence: of the whole.
        md5: as the publisher states it; "" where he states none.
        sha256: of an archive that was seen to be good, where nothing is stated: one that differs is told, not refused,
            since GitHub packs anew at will. What counts then is that all clips are there and every file's CRC is right.
    """

    url: str
    folder: str
    clips: int
    keep: tuple[str, ...]
    bytes: int
    unpacked: int
    licence: str
    md5: str = ""
    sha256: str = ""


ARCHIVES = {
    "esc50": Archive(
        url="https://github.com/karolpiczak/ESC-50/archive/master.zip",
        folder="esc50",
        clips=2000,
        keep=("audio/*.wav", "meta/esc50.csv", "LICENSE", "README.md"),
        bytes=645_695_005,
        unpacked=883_000_000,
        licence="CC BY-NC 3.0 as a whole, clip by clip in LICENSE; its subset ESC-10 CC BY 3.0",
        sha256="805afc618aff80eff0641d51311647871fead5807da68bb18e43a27db47a79ce",
    ),
    "urbansound8k": Archive(
        url="https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz",
        folder="urbansound8k",
        clips=8732,
        keep=("audio/fold*/*.wav", "metadata/UrbanSound8K.csv", "*.txt"),
        bytes=6_100_000_000,
        unpacked=7_500_000_000,
        licence="CC BY-NC 3.0",
        md5="9aa69802bbf37fb986f71ec1483a196e",
    ),
    "fsdd": Archive(
        url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip",
        folder="fsdd",
        clips=3000,
        keep=("recordings/*.wav", "README.md", "metadata.py"),
        bytes=16_419_872,
        unpacked=21_200_000,
        licence="CC BY-SA 4.0",
        sha256="c680098f5d2355ba7cc4bd8b0ca9e0a24c00ebe3b4c552208889a4d28d4fbc2b",
    ),
}

PART_OF = {"esc10": "esc50", "fsdd-speakers": "fsdd"}  # read out of another's folder


def get_dataset(
    name: str,
    root: str | Path | None = None,
    say: Say = print,
    progress: Progress | None = None,
    archive: Path | None = None,
    archives: dict[str, Archive] = ARCHIVES,
    pause_s: float = PAUSE_S,
) -> Dataset:
    """Load a data set into a folder under `root`, where it appears when it is whole and has been looked through.

    Args:
        name: one of `archives`, or of PART_OF.
        root: as for `open_dataset`; it is made where it is named and not there.
        archive: a file that was loaded elsewhere.

    Raises:
        EarwitnessError: no such data set, offline, disk full, another content than published; what is there is other.
    """
    packed = _archive_of(name, archives)
    base = data_root(root, make=True)
    folder = base / packed.folder
    if folder.exists():
        return _there(name, base, packed, say)
    file = archive or base / f"{packed.folder}-{Path(packed.url).name}"
    if archive is None and not file.exists():
        say(f"{name}: {packed.url}, {packed.bytes / 1e6:,.0f} MB; licence: {packed.licence}")
        told = None if progress is None else lambda have, total: progress(have / max(have, total or packed.bytes))
        download(packed.url, file, packed.bytes * 11 // 10, packed.unpacked, told, pause_s)
    try:
        _verify(file, packed, say)
        dataset = _unpack(name, file, folder, packed)
    except _DiskError:
        raise
    except EarwitnessError:
        if archive is None:
            file.unlink(missing_ok=True)  # it would be no better next time
        raise
    if archive is None:
        file.unlink()
    say(f"{name}: {len(dataset.clips)} clips in {folder}")
    return open_dataset(name, base)


def _archive_of(name: str, archives: dict[str, Archive]) -> Archive:
    found = archives.get(PART_OF.get(name, name))
    if found is None and name in DATASETS:
        raise EarwitnessError(f"{name!r} are your own recordings: there is nothing to load")
    if found is None:
        raise EarwitnessError(f"no data set {name!r}: {nearest(name, (*archives, *PART_OF))}")
    return found


def _there(name: str, base: Path, packed: Archive, say: Say) -> Dataset:
    """What is there already is never touched."""
    whole, dataset = open_dataset(packed.folder, base), open_dataset(name, base)
    if len(whole.clips) < packed.clips:
        raise EarwitnessError(
            f"{whole.folder} is there with {len(whole.clips)} of {packed.clips} clips: earwitness data check {name} "
            "tells of them; move it away to load all, or load into another --root"
        )
    say(f"{name}: {len(dataset.clips)} clips are in {dataset.folder} already")
    return dataset


def _verify(file: Path, packed: Archive, say: Say) -> None:
    for kind, expected in (("md5", packed.md5), ("sha256", packed.sha256)):
        if not expected:
            continue
        try:
            with file.open("rb") as content:
                found = hashlib.file_digest(content, kind).hexdigest()
        except OSError as error:
            raise EarwitnessError(f"cannot read {file}: {error.strerror}") from None
        if found == expected:
            say(f"{file.name}: {kind.upper()} {found}: as it should be")
        elif kind == "md5":
            raise EarwitnessError(f"{file} is not what was published: its MD5 is {found} instead of {expected}")
        else:
            say(f"{file.name}: SHA-256 {found}, not that of the archive we know: its content is looked through instead")


def _unpack(name: str, file: Path, folder: Path, packed: Archive) -> Dataset:
    """Unpack beside the folder, count, and only then give it its name."""
    new = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(new, ignore_errors=True)  # what an interrupted call left
    try:
        unpack(file, new, packed.keep, packed.unpacked * 3 // 2)
        if not new.is_dir():
            raise EarwitnessError(f"{file} is not the archive of {name}: nothing in it is as expected")
        dataset = open_dataset(f"{new}/")
        if len(dataset.clips) < packed.clips:
            told = f" ({dataset.problems[0]})" if dataset.problems else ""
            raise EarwitnessError(f"{file} has {len(dataset.clips)} of {packed.clips} clips only{told}")
        os.sync()  # once for all files: with its name, it must have them
        os.rename(new, folder)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = f"the disk is full, {packed.unpacked / 1e6:,.0f} MB are needed" if full else error.strerror or str(error)
        raise _DiskError(f"cannot unpack into {folder}: {why}; {file} is kept") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return dataset


class _DiskError(EarwitnessError):
    """The archive is good, the disk is not."""
