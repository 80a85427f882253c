"""Where each stream stands that cannot be read again, in memory that a node shares with its supervisor.

A mark costs no message and is there after a kill -9: the supervisor reads where the epoch ended, to the sample.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile

import msgspec

_SLOT = struct.Struct("<64sQQQ")  # stream, epoch, rate, end_sample; all zero: not used
_NUMBERS = struct.Struct("<QQQ")


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Set before samples are published that nobody could read again: where the epoch ends if this node dies now."""

    stream: str
    epoch: int
    rate: int
    end_sample: int


def make_marks(streams: int) -> int:
    """The descriptor of new shared memory for so many streams, to be handed to a child and closed."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("marks")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, max(1, streams) * _SLOT.size)
    return fd


class Marks:
    """The marks behind a descriptor, for writing on one side and reading on the other."""

    def __init__(self, fd: int):
        self._memory = mmap.mmap(fd, 0)
        self._slots: dict[str, int] = {}

    def put(self, mark: Mark) -> None:
        """Sets one stream's mark."""
        slot = self._slots.get(mark.stream)
        if slot is None:
            slot = self._slots[mark.stream] = len(self._slots) * _SLOT.size
            _SLOT.pack_into(self._memory, slot, mark.stream.encode(), mark.epoch, mark.rate, mark.end_sample)
        else:
            _NUMBERS.pack_into(self._memory, slot + 64, mark.epoch, mark.rate, mark.end_sample)

    def read(self) -> list[Mark]:
        """All marks that were set."""
        found = []
        for slot in range(0, len(self._memory), _SLOT.size):
            name, epoch, rate, end_sample = _SLOT.unpack_from(self._memory, slot)
            if name.strip(b"\0"):
                stream = name.rstrip(b"\0").decode()
                found.append(Mark(stream=stream, epoch=epoch, rate=rate, end_sample=end_sample))
        return found

    def close(self) -> None:
        """Lets go."""
        self._memory.close()
