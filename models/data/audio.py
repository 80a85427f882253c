"""Sound files as training and evaluation take them: mono, float32, at the front end's rate; as a live run has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...stream.errors import EarwitnessError
from ...stream.features.frontend import FrontEnd, FrontEndSpec
from ...stream.resample import Resampler
from .clip import Clip

Samples = NDArray[np.float32]


def read_audio(
    path: Path,
    sr: int,
    start_s: float = 0.0,
    end_s: float | None = None,
    say: Callable[[str], None] | None = None,
) -> Samples:
    """A file's sound as mono float32 at `sr` Hz, full scale -1..1, shape [samples].

    The file is decoded and resampled block by block: memory is that of what is returned.

    Args:
        start_s, end_s: which seconds of it; None is its end.
        say: is told what is wrong with a file that can be read: cut off, a header that promises more, no numbers.

    Raises:
        EarwitnessError: the file cannot be read, or no sound is in it.
    """
    return np.concatenate(list(audio_blocks(path, sr, start_s, end_s, say)))


def read_clip(clip: Clip, sr: int, say: Callable[[str], None] | None = None) -> Samples:
    """`read_audio` of the part of the file that the clip is."""
    return read_audio(clip.path, sr, clip.start_s, clip.end_s, say)


def audio_blocks(
    path: Path,
    sr: int,
    start_s: float = 0.0,
    end_s: float | None = None,
    say: Callable[[str], None] | None = None,
) -> Iterator[Samples]:
    """The same, block by block, for what is longer than memory: joined, it is `read_audio` bit for bit."""
    from ...stream.sources.recording import Recording  # here, so that reading a table needs no audio library

    left = None if end_s is None else max(0, round((end_s - start_s) * sr))
    given = 0
    with Recording(str(path), sr, start_s=start_s) as recording:
        for block in recording:
            if left is not None:
                block = block[:left]
                left -= len(block)
            if len(block):
                yield block
            given += len(block)
            if left == 0:
                break
        if say is not None:
            for note in recording.notes():
                say(note)
    if not given:
        end = "its end" if end_s is None else f"{end_s:g} s"
        raise EarwitnessError(f"{path} holds no sound from {start_s:g} s to {end}")


def frame_blocks(
    clip: Clip, spec: FrontEndSpec, say: Callable[[str], None] | None = None, speed: float = 1.0
) -> Iterator[Samples]:
    """All frames of a clip, float32 `[frames, dims]`, some at a time: joined, they are those of `compute`, bit for bit.

    Args:
        speed: at which the sound is played, pitch and all.

    Raises:
        EarwitnessError: as `read_audio` does.
    """
    front_end, resampler = FrontEnd(spec), Resampler(round(spec.sr * speed), spec.sr)
    for block in audio_blocks(clip.path, spec.sr, clip.start_s, clip.end_s, say):
        yield front_end.push({"": resampler.push(block)})[""].values
    yield front_end.push({"": resampler.flush()})[""].values
    yield front_end.flush("").values
