"""Raw PCM on standard input as a source: `arecord -t raw -f S16_LE -r 48000 … | earwitness run --source -`.

Nothing in raw PCM says what it is, so rate, channels and sample type are given on the command line. It is not
live in our sense: what is not read waits in the pipe and then holds the writer back.
"""

from __future__ import annotations

import os
import select
import stat
import time

import numpy as np
from numpy.typing import NDArray

from ..errors import EarwitnessError
from ..messages import SampleType
from .source import Chunk, Format, RawType, Samples, SourceSpec, check_channel, nothing, take_channel

DEFAULT_RATE, DEFAULT_CHANNELS = 48_000, 1
_BYTES: dict[RawType, int] = {"uint8": 1, "int16": 2, "int24": 3, "int32": 4, "float32": 4}
_DELIVERED: dict[RawType, SampleType] = {
    "uint8": "int16",
    "int16": "int16",
    "int24": "int32",
    "int32": "int32",
    "float32": "float32",
}


class RawPcm:
    """See `source.Source`. Reads the file descriptor `spec.fd`, and leaves its flags alone: others may share it."""

    live = False

    def __init__(self, spec: SourceSpec):
        self.spec = spec
        self._left = b""  # of a sample that came in two pieces
        self._over = False
        self._warning: str | None = None
        self._channels = spec.channels or DEFAULT_CHANNELS
        self._sample_bytes = _BYTES[spec.dtype] * self._channels
        self._format: Format | None = None

    def open(self, first_sample: int = 0) -> Format:
        try:
            mode = os.fstat(self.spec.fd).st_mode
        except OSError:
            raise EarwitnessError("standard input is closed: pipe raw PCM into it, as arecord -t raw writes") from None
        if os.isatty(self.spec.fd):
            raise EarwitnessError("standard input is a terminal: pipe raw PCM into it, as arecord -t raw writes")
        if stat.S_ISDIR(mode):
            raise EarwitnessError("standard input is a folder: pipe raw PCM into it, as arecord -t raw writes")
        delivered = check_channel(self.spec, self._channels, "standard input")
        rate = self.spec.rate or DEFAULT_RATE
        self._format = Format(rate, delivered, _DELIVERED[self.spec.dtype], f"standard input, {self.spec.dtype}")
        return self._format

    @property
    def paces_itself(self) -> bool:
        """A pipe comes at its writer's pace; a redirected file does not."""
        return not stat.S_ISREG(os.fstat(self.spec.fd).st_mode)

    def read(self, frames: int) -> Chunk | None:
        if self._format is None or self._over:
            return None
        if not _readable(self.spec.fd):
            return nothing(self._format)
        data = os.read(self.spec.fd, frames * self._sample_bytes - len(self._left))
        heard = time.time_ns(), time.monotonic_ns()
        if not data:
            self._over = True
            if self._left:
                self._warning = (
                    f"standard input: ended inside a sample, {len(self._left)} bytes of {self._sample_bytes}: "
                    "do --dtype and --channels fit?"
                )
            return None
        data = self._left + data
        whole = len(data) - len(data) % self._sample_bytes
        self._left = data[whole:]
        samples = _decoded(data[:whole], self.spec.dtype).reshape(-1, self._channels)
        return Chunk(take_channel(samples, self.spec.channel), heard=heard)

    def close(self) -> None:
        self._over = True  # the descriptor is not ours to close

    def warning(self) -> str | None:
        return self._warning


def _readable(fd: int) -> bool:
    """Whether a read returns at once, be it with the end."""
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(0))


def _decoded(data: bytes, dtype: RawType) -> Samples:
    """The samples of some bytes, as the delivered type: 8 and 24 bits are brought to the full scale of 16 and 32."""
    if dtype == "uint8":
        return ((np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8).astype(np.int16)
    if dtype == "int24":
        triples = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide: NDArray[np.uint8] = np.zeros((len(triples), 4), np.uint8)
        wide[:, 1:] = triples
        return wide.view("<i4")[:, 0].astype(np.int32, copy=False)
    little = {"int16": "<i2", "int32": "<i4", "float32": "<f4"}[dtype]
    return np.frombuffer(data, little)
