"""Fetches a file from its address: what was interrupted goes on, what is not the promised file is never left behind."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ...stream.errors import EarwitnessError

BLOCK = 1 << 18  # bytes
TIMEOUT_S = 30.0  # without a single byte

Progress = Callable[[int, int | None], None]


def download(url: str, to: Path, checksum: str, size: int | None = None, progress: Progress | None = None) -> Path:
    """The file at an address, complete and verified, in the place where it belongs.

    While it comes it is `to` with `.part` at the end; a later call goes on from there where the server can. A file that
    is there already with the right checksum is not fetched again.

    Args:
        url: http or https; redirects are followed.
        to: where it goes; its folder is made.
        checksum: "sha256:…" or "md5:…", in hex.
        size: in bytes, where it is known: more is not taken.
        progress: called with the bytes that are there and how many it will be, None where nobody knows.

    Raises:
        EarwitnessError: no connection, the server's refusal, no room, or another file than the promised one.
    """
    if to.is_file() and file_checksum(to, checksum) == checksum:
        return to
    part = to.with_name(to.name + ".part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.is_file() and part.stat().st_size > 0
        _fetch(url, part, size, progress)
        if file_checksum(part, checksum) != checksum and resumed:  # what was there may have been of another file
            part.unlink()
            _fetch(url, part, size, progress)
        if file_checksum(part, checksum) != checksum:
            part.unlink()
            raise EarwitnessError(
                f"{url} gave another file than the promised one: its {checksum.split(':')[0]} differs"
            )
        os.replace(part, to)
    except urllib.error.HTTPError as error:
        raise EarwitnessError(f"{url}: the server says {error.code} {error.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        kept = "; what has come is kept, the next call goes on from there" if part.is_file() else ""
        raise EarwitnessError(f"{url} cannot be reached ({reason}){kept}") from None
    except OSError as error:
        raise EarwitnessError(f"{error.filename or part}: {error.strerror or error}") from None
    return to


def file_checksum(path: Path, like: str) -> str:
    """The checksum of a file, of the kind that `like` begins with: "sha256:…" or "md5:…"."""
    kind = like.partition(":")[0]
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def _fetch(url: str, part: Path, size: int | None, progress: Progress | None) -> None:
    """Bytes from the address to the end of `part`, until there are no more."""
    have = part.stat().st_size if part.is_file() else 0
    if size is not None and have >= size:
        return
    headers = {"User-Agent": "earwitness"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing behind what is there: it is complete, or of another file
            return
        raise
    with answer:
        if have and answer.status != 206:  # this server begins anew
            have = 0
        left = answer.headers.get("Content-Length")
        total = size or (have + int(left) if left and left.isdigit() else None)
        with part.open("ab" if have else "wb") as file:
            while block := answer.read(BLOCK):
                have += len(block)
                if size is not None and have > size:
                    part.unlink()
                    raise EarwitnessError(f"{url} gives more than the promised {size} bytes")
                file.write(block)
                if progress is not None:
                    progress(have, total)
        if total is not None and have < total:
            raise ConnectionError(f"it broke off after {have} of {total} bytes")
