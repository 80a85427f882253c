"""Recordings as the front end sees them: the form in which training keeps sounds in memory and mixes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ...stream.features.frontend import FrontEndSpec, compute
from .background import Background
from .esc import Clip, read_audio

ACTIVE_DB = 30.0  # a frame sounds when it is within this of the clip's loudest one
SHORTEST_FRAMES = 10  # that many sounding frames make a window an example of its class


@dataclass
class Recording:
    """One recording's frames and the places where a training window of it may begin."""

    label: str
    kind: str  # of a background; "event" for a clip of a class
    powers: np.ndarray  # float32 [frames, mels], linear, so that sounds add
    starts: np.ndarray = field(repr=False)  # int [n], where windows may begin; below 0: before the clip
    cumulated: np.ndarray = field(repr=False)  # float [n], rising to 1: how likely a window begins at or before each

    def draw_start(self, rng: np.random.Generator) -> int:
        """A random place for a window."""
        return int(self.starts[np.searchsorted(self.cumulated, rng.random())])

    def cut(self, start: int, frames: int) -> np.ndarray:
        """Powers [frames, mels] from `start` on, zeros outside the recording."""
        out = np.zeros((frames, self.powers.shape[1]), np.float32)
        first, end = max(start, 0), min(start + frames, len(self.powers))
        out[first - start : end - start] = self.powers[first:end]
        return out


def of_clips(clips: Iterable[Clip], spec: FrontEndSpec, window_frames: int) -> list[Recording]:
    """Clips of classes: windows begin wherever enough of the sound falls into them, cut at an edge or not."""
    recordings = []
    for clip in clips:
        powers = to_powers(compute(spec, read_audio(clip.path, spec.sr)))
        starts, weights = sounding_starts(powers, window_frames)
        recordings.append(Recording(clip.label, "event", powers, starts, _cumulate(weights)))
    return recordings


def of_backgrounds(
    backgrounds: Iterable[Background], label: str, spec: FrontEndSpec, window_frames: int
) -> list[Recording]:
    """Backgrounds: every window that lies inside is as good as another."""
    recordings = []
    for background in backgrounds:
        powers = to_powers(compute(spec, background.samples))
        starts = np.arange(max(1, len(powers) - window_frames + 1))
        recordings.append(Recording(label, background.kind, powers, starts, _cumulate(np.ones(len(starts)))))
    return recordings


def to_powers(decibels: np.ndarray) -> np.ndarray:
    """Linear powers of a log-mel picture in dB."""
    return np.asarray(10.0 ** (decibels / 10.0), dtype=np.float32)


def sounding_starts(powers: np.ndarray, window_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Places where a window catches the sound, and a weight for each: the sounding frames in it, up to a half window.

    Clips of short sounds are padded with silence, and a silent window teaches nothing about its class.
    """
    levels = 10 * np.log10(powers.sum(axis=1) + 1e-10)
    active = levels > levels.max() - ACTIVE_DB
    loud = levels > levels.max() - ACTIVE_DB / 2
    starts = np.arange(-window_frames // 2, max(1, len(powers) - window_frames // 2))
    counts, louds = (_count_inside(flags, starts, window_frames) for flags in (active, loud))
    enough = min(SHORTEST_FRAMES, int(counts[louds > 0].max()))  # a click may have fewer
    weights = np.where((counts >= enough) & (louds > 0), np.minimum(counts, window_frames // 2), 0)
    return starts, weights.astype(float)


def _count_inside(flags: np.ndarray, starts: np.ndarray, window_frames: int) -> np.ndarray:
    total = np.concatenate(([0], np.cumsum(flags)))
    first, end = np.clip(starts, 0, len(flags)), np.clip(starts + window_frames, 0, len(flags))
    return np.asarray(total[end] - total[first])


def _cumulate(weights: np.ndarray) -> np.ndarray:
    cumulated = np.cumsum(weights)
    return np.asarray(cumulated / cumulated[-1])
