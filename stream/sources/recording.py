"""A recording from its beginning to its end as one signal: mono, in single precision, at any rate, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..errors import EarwitnessError
from ..features.frontend import clean
from ..messages import FULL_SCALE
from ..resample import Resampler, output_length
from .source import Kind, SourceSpec, make_source
from .source import Samples as Raw

Samples = NDArray[np.float32]

BLOCK = 1 << 16  # samples of the file that are in memory at once
_HIGHEST_RATE = 768_000  # Hz, of what is resampled


class Recording:
    """A file of sound, or the scene that the program makes itself (`demo`), as the front end takes it.

    Its channels are mixed (their mean), its rate is changed by `resample`, as in a live run. Not for several threads.

    Attributes:
        name: what it is called in a picture and in messages.
        rate: Hz, of the blocks.
        samples: how many there will be at that rate, as far as the file's header tells the truth.
        replaced: how many values were no sound (NaN, Inf) and became silence so far.
        warning: what is wrong with the file though it can be read; None where nothing is.

    Args:
        target: a path, or `demo`.
        rate: Hz; None keeps the file's own.
        channel: only this one, from 1; None and 0 mix all.
        start_s: how much of its beginning is left out, seconds.

    Raises:
        EarwitnessError: where there is no such file, none that can be read, or no such rate or channel.

    >>> with Recording("demo", rate=8000) as recording:
    ...     recording.rate, sum(map(len, recording)) == recording.samples
    (8000, True)
    """

    def __init__(self, target: str, rate: int | None = None, channel: int | None = None, start_s: float = 0.0) -> None:
        if rate is not None and not 1 <= rate <= _HIGHEST_RATE:
            raise EarwitnessError(f"a sample rate is 1 to {_HIGHEST_RATE} Hz, not {rate}")
        if channel is not None and channel < 0:
            raise EarwitnessError(f"channel {channel}: 0 mixes all, 1 is the first")
        demo = target == "demo" and not Path(target).exists()
        self.name = "demo" if demo else Path(target).name
        kind: Kind = "demo" if demo else "file"
        self._source = make_source(
            SourceSpec(name="recording", kind=kind, target="" if demo else target, channel=channel or None)
        )
        opened = self._source.open()
        first = round(start_s * opened.rate)
        if first:
            opened = self._source.open(first)
        self._scale = FULL_SCALE[opened.dtype]
        self.warning = self._source.warning()
        self.rate = opened.rate if rate is None else rate
        self.samples = output_length(max(0, (opened.samples or 0) - first), opened.rate, self.rate)
        self.replaced = 0
        self._resampler = Resampler(opened.rate, self.rate)

    def __iter__(self) -> Iterator[Samples]:
        """Blocks of float32 `[samples]`, full scale -1..1, once through."""
        while (chunk := self._source.read(BLOCK)) is not None:
            mono, bad = clean(self._mixed(chunk.samples))
            self.replaced += bad
            yield self._resampler.push(mono)
        yield self._resampler.flush()

    def notes(self) -> list[str]:
        """What a person should know of what was read, a line each."""
        notes = [self.warning] if self.warning else []
        if self.replaced:
            notes.append(f"{self.name}: {self.replaced} samples are no sound (NaN, Inf): they count as silence")
        return notes

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _mixed(self, block: Raw) -> Samples:
        channels = block.shape[1]
        if channels == 1 and self._scale == 1:
            return np.ascontiguousarray(block[:, 0], np.float32)
        total: Samples = block[:, 0].astype(np.float32) if channels == 1 else block.sum(axis=1, dtype=np.float32)
        total *= np.float32(1.0 / (self._scale * channels))
        return total
