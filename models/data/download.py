"""Load a large file over HTTP: with progress, going on where it stopped, and never more than was agreed on."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import msgspec

from ...stream.durable import part_of, write_all, write_whole
from ...stream.errors import EarwitnessError

Progress = Callable[[int, int | None], None]  # bytes that are there, bytes of the whole where that is known

TIMEOUT_S = 30.0
TRIES = 4  # in a row without a byte more
TRIES_UNANSWERED = 2  # where nobody has answered yet: who is offline wants to know soon
PAUSE_S = 2.0  # before the second try, twice as long before each after it
BLOCK = 1 << 18


class Begun(msgspec.Struct):
    """What is known of a file that was loaded in part: enough to be sure that the rest is of the same."""

    url: str
    validator: str  # its ETag, or the time of its last change; "" where the server tells neither


def download(
    url: str,
    path: Path,
    largest: int,
    room: int = 0,
    progress: Progress | None = None,
    pause_s: float = PAUSE_S,
    option: str = "--archive",
) -> None:
    """Load `url` into `path`. What came before an interruption, by whatever, is not loaded again.

    While it is loaded it is `.NAME.part`, and `.NAME.part.json` beside it tells of what; both stay for the next call.

    Args:
        largest: bytes; a file that is larger is not loaded.
        room: bytes that must be left on the disk when it is there.
        option: of the command, by which a file that was loaded elsewhere is named.

    Raises:
        EarwitnessError: offline, another answer than the file, too large, the disk full, or another process loads it.
    """
    part = part_of(path)
    with _locked(part) as file:
        failures, answered = 0, False
        while True:
            before = file.seek(0, os.SEEK_END)
            try:
                if _go_on(url, part, file, largest, room, progress):
                    break
                reason, answered = "the connection ended too early", True
            except urllib.error.HTTPError as error:
                error.close()
                answered = True
                reason = f"it answers {error.code} {error.reason}"
                if error.code < 500 and error.code not in (408, 429):
                    raise _unreachable(url, reason, part, option) from None
            except OSError as error:  # of the network: the disk's are told where they come from
                reason = _why(error)
            except http.client.HTTPException as error:
                reason = f"{type(error).__name__} {error}".strip()
            got_on = file.seek(0, os.SEEK_END) > before
            failures, answered = 0 if got_on else failures + 1, answered or got_on
            if failures >= (TRIES if answered else TRIES_UNANSWERED):
                raise _unreachable(url, reason, part, option)
            time.sleep(pause_s * 2 ** max(0, failures - 1))
        with _told(part):
            os.fsync(file.fileno())
            os.replace(part, path)
        _about(part).unlink(missing_ok=True)


def _go_on(
    url: str, part: Path, file: IO[bytes], largest: int, room: int, progress: Progress | None
) -> bool:  # fmt: skip
    """Load what is missing; whether that is all of it now."""
    have = file.seek(0, os.SEEK_END)
    begun = _read_about(part)
    if have and (begun is None or begun.url != url or not begun.validator):
        have = file.truncate(0)
    headers = {"User-Agent": "earwitness", "Accept-Encoding": "identity"}
    if have and begun is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": begun.validator}
    try:
        answer = _OPENER.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        if have and error.headers.get("Content-Range") == f"bytes */{have}":
            return True
        file.truncate(0)  # it has become another file: from the beginning
        return False
    with answer:
        have, total = _placed(answer, file, have)
        if total is not None and total > largest:
            raise EarwitnessError(f"{url} is larger than it can be: {_mb(total)} instead of {_mb(largest)} at most")
        with _told(part):
            _check_room(part.parent, max(0, (total or 0) - have) + room)
            write_whole(_about(part), msgspec.json.encode(Begun(url, _validator(answer))))
        while block := answer.read(BLOCK):
            with _told(part):
                write_all(file.fileno(), block)
            have += len(block)
            if have > min(largest, total or largest):
                file.truncate(0)
                raise EarwitnessError(f"{url} does not end where it should, after {_mb(total or largest)}")
            if progress is not None:
                progress(have, total)
        return total is None or have == total


def _placed(answer: Any, file: IO[bytes], have: int) -> tuple[int, int | None]:
    """Where in the file the answer goes, and how long the whole is."""
    length = answer.headers.get("Content-Length")
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) > have:
            raise http.client.HTTPException(f"an answer for other bytes than {have}-")
        have = file.truncate(int(found[1]))
        return have, int(found[2]) if found[2] != "*" else None
    return file.truncate(0), int(length) if length and length.isdigit() else None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other hosts, but not out of encryption."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(req.full_url).scheme == "https" != urlsplit(newurl).scheme:
            raise EarwitnessError(f"{req.full_url} leads to {newurl}, which is not encrypted: not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_Redirects)


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[IO[bytes]]:
    """The file to load into, for this process alone."""
    try:
        file = part.open("ab+", buffering=0)
    except OSError as error:
        raise EarwitnessError(f"cannot write {part}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EarwitnessError(f"another process is loading {part}: wait for it") from None
        try:
            yield file
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()


@contextlib.contextmanager
def _told(part: Path) -> Iterator[None]:
    """Errors of the disk as a line for a person."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EarwitnessError(f"the disk is full: {_kept(part)}; make room and call it again") from None
        raise EarwitnessError(f"cannot write {part}: {error.strerror or error}") from None


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EarwitnessError(
            f"{folder} has not enough room: {_mb(needed)} are needed, {_mb(free)} are free; choose another with --root"
        )


def _validator(answer: Any) -> str:
    etag = answer.headers.get("ETag", "")
    return (etag if not etag.startswith("W/") else "") or answer.headers.get("Last-Modified", "")


def _about(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_about(part: Path) -> Begun | None:
    try:
        return msgspec.json.decode(_about(part).read_bytes(), type=Begun)
    except (OSError, msgspec.DecodeError):
        return None


def _why(error: OSError) -> str:
    cause = getattr(error, "reason", error)
    if isinstance(cause, socket.gaierror):
        return "its host is not found: is this computer offline?"
    return str(getattr(cause, "strerror", None) or cause)


def _unreachable(url: str, reason: str, part: Path, option: str) -> EarwitnessError:
    return EarwitnessError(
        f"cannot load {url} ({reason}): {_kept(part)}; call it again to go on, "
        f"or load that file elsewhere and name it with {option}"
    )


def _kept(part: Path) -> str:
    size = part.stat().st_size if part.exists() else 0
    return f"the first {_mb(size)} are kept" if size else "nothing of it has come"


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
