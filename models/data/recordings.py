"""Recordings as training keeps them: the values that are mixed, and the places where windows of them may begin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...stream.features.frontend import FrontEndSpec, compute
from ...stream.resample import resample
from .audio import read_clip
from .background import Background
from .cache import FeatureCache
from .clip import BACKGROUND, Clip
from .loading import load

Values = NDArray[np.float32]
Say = Callable[[str], None]

ACTIVE_DB = 30.0  # a frame sounds when it is within this of the clip's loudest one
SHORTEST_FRAMES = 10  # that many sounding frames make a window an example of its class


@dataclass(frozen=True)
class Recording:
    """One recording and the places where a training window of it may begin.

    Attributes:
        kind: of a background; "event" for a clip of a class.
        values: float32 `[frames, mels]`, linear powers, so that sounds add; or samples, `[samples]`.
        starts: int `[n]`, where windows may begin, in frames or samples; below 0: before the recording.
        weights: float `[n]`, above 0, how likely each is.
        further_labels: what sounds in it beside `label`.
        speed: at which it is played here.
    """

    label: str
    kind: str
    values: Values
    starts: NDArray[np.int64] = field(repr=False)
    weights: NDArray[np.float64] = field(repr=False)
    further_labels: tuple[str, ...] = ()
    speed: float = 1.0


@dataclass(frozen=True)
class Keeping:
    """How recordings are kept.

    Attributes:
        spec: the front end: its sample rate and, of powers, its mel bands.
        window: values along time in a training window: frames of powers, or samples.
        samples: whether samples are kept, not mel powers.
        outside: share of a window, or of a recording shorter than it, that may be cut off at the recording's ends.
        speeds: at each of which events are kept, one after the other.
    """

    spec: FrontEndSpec
    window: int
    samples: bool = False
    outside: float = 0.5
    speeds: Sequence[float] = (1.0,)

    @property
    def step(self) -> int:
        """Values along time from one place where a window may begin to the next: 10 ms or so."""
        return level_step(self.spec) if self.samples else 1

    def values_of(self, samples: Values) -> Values:
        """What is kept of a sound."""
        return samples if self.samples else to_powers(compute(self.spec, samples), self.spec)

    def levels_of(self, values: Values) -> Values:
        """Powers `[frames, bands]` by which it is told where a recording sounds."""
        if not self.samples:
            return values
        blocks = values[: len(values) // self.step * self.step].reshape(-1, self.step)
        return np.asarray(np.square(blocks).mean(axis=1, keepdims=True))


def of_clips(
    clips: Iterable[Clip], keeping: Keeping, say: Say = print, cache: FeatureCache | None = None
) -> list[Recording]:
    """Clips of classes, at each speed: windows begin wherever enough of the sound falls into them.

    What cannot be read is said and left out; so is what is shorter than a frame.

    Args:
        cache: where frames of clips are kept between runs; None keeps none.
    """
    recordings = []
    for clip, versions in load(clips, lambda clip, note: _versions(clip, keeping, cache, note), say):
        levels = [keeping.levels_of(values) for values in versions]
        if not min(map(len, levels)):
            say(f"left out: {clip.path}: it is shorter than a frame")
            continue
        for values, level, speed in zip(versions, levels, keeping.speeds, strict=True):
            starts, weights = sounding_starts(level, keeping.window // keeping.step, keeping.outside)
            recordings.append(
                Recording(clip.label, "event", values, starts * keeping.step, weights, clip.further_labels, speed)
            )
    return recordings


def of_backgrounds(
    backgrounds: Iterable[Background], keeping: Keeping, clips: Iterable[Clip] = (), say: Say = print
) -> list[Recording]:
    """Backgrounds, and clips in which nothing happens: every window that lies inside is as good as another."""
    sounds = [(background.kind, background.samples) for background in backgrounds]
    read = load(clips, lambda clip, note: read_clip(clip, keeping.spec.sr, note), say)
    sounds += [("clip", samples) for _, samples in read]
    recordings = []
    for kind, samples in sounds:
        values = keeping.values_of(samples)
        starts = np.arange(0, max(1, len(values) - keeping.window + 1), keeping.step)
        recordings.append(Recording(BACKGROUND, kind, values, starts, np.ones(len(starts))))
    return recordings


def _versions(clip: Clip, keeping: Keeping, cache: FeatureCache | None, note: Say) -> list[Values]:
    """What is kept of a clip at each speed."""
    if cache and not keeping.samples:
        notes = [note, *[None] * (len(keeping.speeds) - 1)]  # what is wrong with the file is told once
        frames = (cache.frames(clip, keeping.spec, *each) for each in zip(notes, keeping.speeds, strict=True))
        return [to_powers(each, keeping.spec) for each in frames]
    sr, samples = keeping.spec.sr, read_clip(clip, keeping.spec.sr, note)
    played = (samples if speed == 1.0 else resample(samples, round(sr * speed), sr) for speed in keeping.speeds)
    return [keeping.values_of(each) for each in played]


def level_step(spec: FrontEndSpec) -> int:
    """Samples of a block by whose power levels are told: a hop, or 10 ms of a waveform."""
    return spec.hop_length if spec.hop_length > 1 else max(1, spec.sr // 100)


def to_powers(frames: Values, spec: FrontEndSpec) -> Values:
    """Linear powers of a log-mel picture by the front end's logarithm."""
    if spec.log == "db":
        return np.asarray(10.0 ** (frames / 10.0), dtype=np.float32)
    return np.asarray(np.maximum(np.exp(frames) - spec.log_offset, 0.0), dtype=np.float32)


def sounding_starts(
    powers: Values, window_frames: int, outside: float = 0.5
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Places where a window catches the sound, and a weight for each: the sounding frames in it, up to a half window.

    Clips of short sounds are padded with silence, and a silent window teaches nothing about its class.

    Args:
        powers: `[frames, bands]` of a recording.
        outside: share of a window, or of a recording shorter than it, that may be cut off at the recording's ends.
    """
    levels = 10 * np.log10(powers.sum(axis=1) + 1e-10)
    active = levels > levels.max() - ACTIVE_DB
    loud = levels > levels.max() - ACTIVE_DB / 2
    spare, cut = len(powers) - window_frames, round(outside * min(len(powers), window_frames))
    starts = np.arange(min(0, spare) - cut, max(0, spare) + cut + 1)
    counts, louds = (_count_inside(flags, starts, window_frames) for flags in (active, loud))
    enough = min(SHORTEST_FRAMES, int(counts[louds > 0].max()))  # a click may have fewer
    weights = np.where((counts >= enough) & (louds > 0), np.minimum(counts, window_frames // 2), 0)
    return starts[weights > 0], weights[weights > 0].astype(float)


def _count_inside(flags: NDArray[np.bool_], starts: NDArray[np.int64], window_frames: int) -> NDArray[np.int64]:
    total = np.concatenate(([0], np.cumsum(flags)))
    first, end = np.clip(starts, 0, len(flags)), np.clip(starts + window_frames, 0, len(flags))
    return np.asarray(total[end] - total[first])
