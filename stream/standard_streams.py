"""Standard input, output and error as they are met: closed, read no more, a terminal or none."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path


def open_what_is_closed() -> None:
    """Where a standard stream was closed (`<&-`, some daemons), no socket may take its number, nor print fail."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
            os.set_inheritable(fd, True)
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))  # noqa: SIM115


def print_while_read(lines: list[str]) -> None:
    """Prints lines; when nobody reads any more, as behind `| head`, the rest is nobody's loss."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except OSError:  # a closed pipe, a terminal that hung up, a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more when it ends


@contextlib.contextmanager
def progress_of(file: str) -> Iterator[Callable[[float], None] | None]:
    """A line on a terminal that tells how far it is, and goes when it is done; None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    told = -1

    def tell(share: float) -> None:
        nonlocal told
        if int(100 * share) != told:
            told = int(100 * share)
            print(f"\r{Path(file).name}: {told} %", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
