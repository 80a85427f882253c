"""The private folder that holds the sockets of one run, and the sweeping away of those that dead runs left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..stream.bus import private_folder

_LOCK = "lock"
_YOUNG_S = 60.0  # a folder without a lock may be one that is just being made


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A new folder, entered by this user alone, held by a lock while the run lives, and gone after it."""
    parent = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    for folder in parent.glob("earwitness-*"):
        _sweep(folder)
    with ExitStack() as stack:
        while True:
            folder = private_folder(parent)
            lock = stack.enter_context((folder / _LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / _LOCK).exists():  # else another run, just starting, found it without an owner
                break
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Removes a folder of this user whose run is dead; a run that lives holds its lock."""
    try:
        status = folder.lstat()
        if status.st_uid != os.getuid() or not folder.is_dir() or folder.is_symlink():
            return
        lock = folder / _LOCK
        if lock.exists():
            with lock.open("r+") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        elif time.time() - status.st_mtime > _YOUNG_S:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass  # it lives, or another run is sweeping too
