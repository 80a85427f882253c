"""Files that are whole or not there at all, whenever the power goes: temporary name, sync, rename, sync the folder."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from .errors import EarwitnessError


def write_whole(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Writes `path` atomically: readers see the old content or the new one. On OSError the old one stays."""
    part = part_of(path)
    unlink(part)
    try:
        write_synced(part, data)
        os.rename(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            unlink(part)
        raise
    sync_folder(path.parent)


def part_of(path: Path) -> Path:
    """The temporary name: hidden, in the same folder, and known by its end `.part` to be worthless after a kill."""
    return path.with_name(f".{path.name}.part")


def write_synced(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Writes a new file and waits until the disk has it. Raises FileExistsError where there is one."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        for piece in (data,) if isinstance(data, bytes) else data:
            write_all(file, piece)
        os.fsync(file)
    finally:
        os.close(file)


def write_all(file: int, data: bytes) -> None:
    """os.write, which may write less than it is given, until all is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def sync_folder(folder: Path) -> None:
    """Waits until the disk has the names in a folder: a rename is not safe before that."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def unlink(path: Path) -> None:
    """Removes a file that may be gone already. A link is removed, not what it points to."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def check_writable(folder: Path) -> None:
    """Makes a folder and a file in it, and takes the file away again; a disk that is only full passes.

    Raises EarwitnessError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise EarwitnessError(f"cannot write into {folder}: {error.strerror}; choose another with --out") from None
