"""Take what is wanted out of a .zip or .tar.gz that somebody else made: nothing outside of its folder, no flood."""

from __future__ import annotations

import gzip
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from ...stream.errors import EarwitnessError

MOST_FILES = 100_000
BLOCK = 1 << 18

_FOREIGN = re.compile(r"^/|^[A-Za-z]:|\\|\0")  # what begins at a root, on some system


def unpack(archive: Path, out: Path, keep: Sequence[str], largest: int) -> int:
    """Unpack into the folder `out`, which is made; returns the number of files.

    The folder at the top of the archive, one for all, falls away.

    Args:
        keep: patterns as `audio/*.wav`, of what is wanted; the rest stays packed.
        largest: bytes that all of it may have.

    Raises:
        EarwitnessError: it is no archive, is damaged, holds more than agreed on, or a name or a link in it leads out.
        OSError: the disk does not take it.
    """
    written = files = 0
    try:
        for name, file in _members(archive):
            path = _place(archive, out, name)
            if path is None or not any(fnmatchcase(path.relative_to(out).as_posix(), pattern) for pattern in keep):
                continue
            files += 1
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as copy:
                while block := file.read(BLOCK):
                    written += len(block)
                    if written > largest or files > MOST_FILES:
                        raise EarwitnessError(f"{archive} holds more than it should: nothing of it is used")
                    copy.write(block)
    except FileExistsError as error:
        raise EarwitnessError(f"{archive} holds {error.filename} twice: nothing of it is used") from None
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise EarwitnessError(f"{archive} is damaged or no archive: {error}") from None
    return files


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every plain file. Links and devices are refused where they stand."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                mode = info.external_attr >> 16
                if info.flag_bits & 1:
                    raise EarwitnessError(f"{archive} is encrypted")
                if not info.is_dir():
                    _check_plain(archive, info.filename, not mode or not stat.S_IFMT(mode) or stat.S_ISREG(mode))
                    with packed.open(info) as file:
                        yield info.filename, file
        return
    with gzip.open(archive) as inflated, tarfile.open(fileobj=inflated, mode="r|") as packed_tar:
        for member in packed_tar:
            if not member.isdir():
                _check_plain(archive, member.name, member.isfile())
                content = packed_tar.extractfile(member)
                assert content is not None
                yield member.name, content
        while inflated.read(BLOCK):  # to its end, where the checksum is
            pass


def _check_plain(archive: Path, name: str, plain: bool) -> None:
    if not plain:
        raise EarwitnessError(f"{archive}: {name!r} in it is a link or a device: nothing of it is used")


def _place(archive: Path, out: Path, name: str) -> Path | None:
    """Where a member goes; None for what lies beside the folder at the top."""
    parts = PurePosixPath(name).parts
    if (
        not parts
        or name.startswith("/")
        or ".." in parts
        or "\\" in name
        or "\0" in name
        or re.match(r"[A-Za-z]:", name)
    ):
        raise EarwitnessError(f"{archive}: {name!r} in it leads out of the folder: nothing of it is used")
    return out.joinpath(*parts[1:]) if len(parts) > 1 else None
