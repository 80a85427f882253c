"""One entry of the feature cache as a file: a .npy of float32 [frames, dims] with an end of its own.

The end is notes on the sound file as JSON, then 12 bytes: a mark, the length of the notes, and a CRC-32 over values and
notes. Values are written as they come, so that an entry may be larger than memory.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.float32]

_END = struct.Struct("<4sII")
_MARK = b"EWF1"
_BLOCK = 1 << 20


def write_entry(file: BinaryIO, dims: int, parts: Iterable[Frames], notes: Callable[[], list[str]]) -> int:
    """Write an entry; returns its bytes. What can be noted is known when the last part has come."""
    start = _write_head(file, 0, dims)
    count, checksum = 0, 0
    for part in parts:
        data = np.ascontiguousarray(part, "<f4").data.cast("B") if part.size else b""
        file.write(data)
        checksum = zlib.crc32(data, checksum)
        count += len(part)
    told = msgspec.json.encode(notes())
    file.write(told)
    file.write(_END.pack(_MARK, len(told), zlib.crc32(told, checksum)))
    size = file.tell()
    if _write_head(file, count, dims) != start:
        raise ValueError("the heading of a .npy file grew with the number of frames")
    return size


def read_entry(path: Path, dims: int) -> tuple[Frames, list[str]] | None:
    """Frames, mapped from the file and not to be written into, and notes; None where it is missing or damaged."""
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            start, size = file.tell(), file.seek(0, 2)
            file.seek(-_END.size, 2)
            mark, told, checksum = _END.unpack(file.read())
            values = size - _END.size - told - start
            if mark != _MARK or dtype != np.dtype("<f4") or shape[1:] != (dims,) or values != 4 * dims * shape[0]:
                return None
            file.seek(start)
            if _checksum(file, values + told) != checksum:
                return None
            file.seek(start + values)
            notes = msgspec.json.decode(file.read(told), type=list[str])
            if not shape[0]:
                return np.empty((0, dims), np.float32), notes
            return np.memmap(file, np.float32, "r", start, shape), notes
    except (OSError, ValueError, struct.error, IndexError, msgspec.DecodeError):
        return None


def _write_head(file: BinaryIO, count: int, dims: int) -> int:
    """Write the heading at the beginning; returns its length, which numpy makes the same for any count."""
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (count, dims)})
    return file.tell()


def _checksum(file: BinaryIO, size: int) -> int:
    checksum = 0
    while size > 0 and (block := file.read(min(size, _BLOCK))):
        checksum = zlib.crc32(block, checksum)
        size -= len(block)
    return checksum if size == 0 else -1
