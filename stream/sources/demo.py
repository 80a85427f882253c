"""A scene that the program makes itself, with its truth known: the demo of a machine without microphone or files.

The same seed gives the same scene. Sounds follow each other over a faint room noise, each fading
out before the next begins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import demo_sounds
from .source import Chunk, Format, SourceSpec, check_channel

RATE = 44_100  # Hz
DEFAULT_SEED = 1
LABELS = tuple(make.__name__ for make in demo_sounds.SOUNDS)
_FIRST_ONSET_S = 1.0
_PAUSE_S = 1.2
_LONGEST_S = 2.6
_LEVEL_DB = -20.0  # RMS of each sound's loudest part
_PEAK_DB = -1.0
_ROOM_DB = -66.0


class Truth(NamedTuple):
    """One sound of the scene."""

    label: str  # of ESC-50
    onset_s: float
    offset_s: float


class Scene(NamedTuple):
    """A scene and what is in it."""

    samples: NDArray[np.int16]  # [samples], at RATE
    truth: tuple[Truth, ...]


def make_scene(seed: int = DEFAULT_SEED, labels: tuple[str, ...] = LABELS) -> Scene:
    """The scene of this seed, about 30 s: every label once, in an order that the seed decides."""
    rng = np.random.default_rng(seed)
    truth: list[Truth] = []
    parts: list[NDArray[np.float32]] = []
    at = round(_FIRST_ONSET_S * RATE)
    for label in rng.permutation(labels):
        sound = _levelled(getattr(demo_sounds, label)(rng, RATE)[: round(_LONGEST_S * RATE)])
        truth.append(Truth(str(label), at / RATE, (at + len(sound)) / RATE))
        parts.append(sound)
        at += len(sound) + round(_PAUSE_S * RATE)
    scene = rng.standard_normal(at, np.float32) * np.float32(10 ** (_ROOM_DB / 20))
    for sound, (_, onset_s, _) in zip(parts, truth, strict=True):
        first = round(onset_s * RATE)
        scene[first : first + len(sound)] += sound
    return Scene(np.round(scene * 32767).astype(np.int16), tuple(truth))


class Demo:
    """See `source.Source`. `spec.target` is the seed, "" the usual one."""

    live = False

    def __init__(self, spec: SourceSpec):
        self.spec = spec
        self._samples: NDArray[np.int16] | None = None
        self._position = 0

    def open(self, first_sample: int = 0) -> Format:
        seed = int(self.spec.target or DEFAULT_SEED)
        channels = check_channel(self.spec, 1, "demo")
        self._samples = make_scene(seed).samples
        self._position = first_sample
        return Format(RATE, channels, "int16", f"demo scene {seed}", len(self._samples))

    def read(self, frames: int) -> Chunk | None:
        if self._samples is None or self._position >= len(self._samples):
            return None
        samples = self._samples[self._position : self._position + frames, None]
        self._position += len(samples)
        return Chunk(samples)

    def close(self) -> None:
        self._samples = None

    def warning(self) -> str | None:
        return None


def _levelled(sound: demo_sounds.Signal) -> NDArray[np.float32]:
    """At the scene's level, its silent tail cut, its end faded."""
    step = round(0.1 * RATE)
    power = np.add.reduceat(sound**2, np.arange(0, len(sound), step)) / step
    loud = np.flatnonzero(power > power.max() * 1e-4)  # 40 dB below its loudest tenth of a second it is over
    sound = sound[: (int(loud[-1]) + 1) * step].copy()
    fade = min(len(sound), round(0.15 * RATE))
    sound[-fade:] *= np.cos(np.linspace(0, np.pi / 2, fade)) ** 2
    loudest = np.sqrt(np.convolve(power, np.ones(4) / 4, "valid").max())
    gain = min(10 ** (_LEVEL_DB / 20) / loudest, 10 ** (_PEAK_DB / 20) / np.abs(sound).max())
    return np.asarray(sound * gain, np.float32)
