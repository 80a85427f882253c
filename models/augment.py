"""Random training windows: sounds placed, mixed, filtered and made louder or fainter, as rooms and microphones do.

All of it happens on mel powers. Powers of sounds that know nothing of each other add, a gain is a factor and a filter a
factor per band, so a mixture of windows is the window of the mixture, at a hundredth of the cost of computing it from
samples. Every batch is drawn from a seed of its own: the same seed, the same batch, whatever was drawn before.

What is no factor for each band (reverberation, clipping, another speed, a codec) has to be done to samples, before the
front end: `frontend.TorchFrontEnd` shows how, with the frames computed on the device that trains.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from ..stream.features.frontend import FrontEndSpec
from .data.recordings import Recording

WEIGHTS = {"room": 3, "speech": 3}  # of a kind of background among the others, which have 1: what is hardest


class Augmentation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How strongly training windows are changed. Probabilities 0..1, levels in dB."""

    background_share: float = 0.2  # of a batch: windows in which nothing happens
    gain_db: tuple[float, float] = (-30.0, 15.0)  # of a window with an event, against the recording
    background_gain_db: tuple[float, float] = (-50.0, 10.0)
    mixup: float = 0.5  # how often two classes are mixed (between-class learning, https://arxiv.org/abs/1711.10282)
    noise: float = 0.7  # how often a background is laid under an event
    noise_below_db: tuple[float, float] = (0.0, 35.0)  # how far it lies below the event
    tilt_db: float = 6.0  # at the ends of the band
    ripple_db: float = 3.0  # standard deviation of a smooth random frequency response
    band_limit: float = 0.2  # how often the top or the bottom of the band is missing
    mute: float = 0.3  # how often part of a background is digital silence: a mute switch, a noise gate
    mask: float = 0.6  # how often SpecAugment hides bands and frames (https://arxiv.org/abs/1904.08779)


class WindowMaker:
    """Draws batches of training windows.

    Args:
        events: recordings of the classes; `labels` without the last one.
        backgrounds: recordings in which nothing happens.
        labels: all labels, the background's last.
        spec: the front end; its floor and logarithm finish each window.
        window_frames: frames per window.
    """

    def __init__(
        self,
        events: Sequence[Recording],
        backgrounds: Sequence[Recording],
        labels: Sequence[str],
        spec: FrontEndSpec,
        window_frames: int,
        augmentation: Augmentation,
    ) -> None:
        if spec.log != "db" or spec.power != 2.0:
            raise ValueError("windows are mixed as powers in dB: the front end needs log 'db' and power 2")
        self._classes = [[event for event in events if event.label == label] for label in labels[:-1]]
        kinds = sorted({background.kind for background in backgrounds})
        self._kinds = [
            [b for b in backgrounds if b.kind == kind] for kind in kinds for _ in range(WEIGHTS.get(kind, 1))
        ]
        self._present = [k for k, recordings in enumerate(self._classes) if recordings]
        self._labels = len(labels)
        self._amin = spec.amin
        self._frames = window_frames
        self._settings = augmentation

    def draw(self, size: int, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """A batch: windows float32 [size, frames, mels] in dB and targets float32 [size, labels] that sum to 1."""
        rng, settings = np.random.default_rng(seed), self._settings
        empty = round(settings.background_share * size)
        labels = np.concatenate((rng.choice(self._present, size - empty), np.full(empty, -1)))
        targets = np.eye(self._labels, dtype=np.float32)[labels]

        powers = np.stack([self._of(int(label), rng) for label in labels])
        levels = level_db(powers)
        self._mix_classes(powers, targets, levels, size - empty, rng)
        gains = np.where(
            labels < 0, rng.uniform(*settings.background_gain_db, size), rng.uniform(*settings.gain_db, size)
        )
        powers *= from_db(gains)
        self._lay_under(powers, levels + gains, rng)
        powers *= from_db(self._responses(size, powers.shape[2], rng), axes=(0, 2))
        self._mute(powers[size - empty :], rng)
        decibels = 10 * np.log10(np.maximum(powers, self._amin))
        self._hide(decibels, rng)
        return decibels.astype(np.float32), targets

    def _of(self, label: int, rng: np.random.Generator) -> np.ndarray:
        """A window of a class, or of a background when `label` is -1."""
        recordings = self._classes[label] if label >= 0 else self._kinds[rng.integers(len(self._kinds))]
        recording = recordings[rng.integers(len(recordings))]
        return recording.cut(recording.draw_start(rng), self._frames)

    def _mix_classes(
        self, powers: np.ndarray, targets: np.ndarray, levels: np.ndarray, events: int, rng: np.random.Generator
    ) -> None:
        """In part of the windows with an event, mix in another of the batch, brought to the same level first."""
        chosen = np.flatnonzero(rng.random(events) < self._settings.mixup)
        partners = rng.integers(events, size=len(chosen))
        share = rng.beta(1.0, 1.0, len(chosen)).astype(np.float32)  # of the amplitude
        other = powers[partners] * from_db(levels[chosen] - levels[partners])
        powers[chosen] = powers[chosen] * _square(share) + other * _square(1 - share)
        mixed = targets[chosen] * share[:, None] + targets[partners] * (1 - share[:, None])
        targets[chosen] = mixed

    def _lay_under(self, powers: np.ndarray, levels: np.ndarray, rng: np.random.Generator) -> None:
        """In part of the windows, add a background at a random distance below the window's own level."""
        chosen = np.flatnonzero(rng.random(len(powers)) < self._settings.noise)
        if not len(chosen):
            return
        under = np.stack([self._of(-1, rng) for _ in chosen])
        below = rng.uniform(*self._settings.noise_below_db, len(chosen))
        powers[chosen] += under * from_db(np.maximum(levels[chosen] - below, -110) - level_db(under))

    def _responses(self, size: int, mels: int, rng: np.random.Generator) -> np.ndarray:
        """Frequency responses in dB [size, mels]: a tilt, a smooth ripple, sometimes one end of the band cut off."""
        settings, place = self._settings, np.linspace(-1, 1, mels)
        response = rng.uniform(-1, 1, (size, 1)) * settings.tilt_db * place
        knots = rng.normal(0, settings.ripple_db, (size, 6))
        position = (place + 1) * 2.5
        low = np.minimum(position.astype(int), 4)
        response += knots[:, low] * (1 - (position - low)) + knots[:, low + 1] * (position - low)
        for row in np.flatnonzero(rng.random(size) < settings.band_limit):
            if rng.random() < 0.6:  # a telephone, a cheap microphone, a recording at a low rate
                response[row] -= np.clip((np.arange(mels) - rng.integers(mels * 6 // 10, mels)) * 12.0, 0, 60)
            else:
                response[row] -= np.clip((rng.integers(1, mels // 6) - np.arange(mels)) * 6.0, 0, 40)
        return response

    def _mute(self, powers: np.ndarray, rng: np.random.Generator) -> None:
        """In part of the backgrounds, silence a stretch. Clips of events bring such edges with them already."""
        frames = powers.shape[1]
        for row in np.flatnonzero(rng.random(len(powers)) < self._settings.mute):
            first = rng.integers(-frames // 2, frames)
            powers[row, max(first, 0) : max(first + rng.integers(frames // 16, frames), 0)] = 0

    def _hide(self, decibels: np.ndarray, rng: np.random.Generator) -> None:
        """In part of the windows, replace some bands and frames by the window's mean."""
        size, frames, mels = decibels.shape
        for row in np.flatnonzero(rng.random(size) < self._settings.mask):
            mean = decibels[row].mean()
            for _ in range(2):
                width = rng.integers(1, mels // 8 + 1)
                first = rng.integers(mels - width + 1)
                decibels[row, :, first : first + width] = mean
            width = rng.integers(1, frames // 6 + 1)
            first = rng.integers(frames - width + 1)
            decibels[row, first : first + width] = mean


def level_db(powers: np.ndarray) -> np.ndarray:
    """Level of each window [batch] in dB: the mean power of the frames within 30 dB of its loudest one."""
    frames = powers.sum(axis=2, dtype=np.float64)
    active = frames > frames.max(axis=1, keepdims=True) * 1e-3
    mean = (frames * active).sum(axis=1) / np.maximum(active.sum(axis=1), 1)
    return np.asarray(10 * np.log10(mean + 1e-11))


def from_db(decibels: np.ndarray, axes: tuple[int, ...] = (0,)) -> np.ndarray:
    """Power factors, shaped to multiply [batch, frames, mels] along `axes`."""
    missing = tuple(axis for axis in range(3) if axis not in axes)
    return np.expand_dims(10.0 ** (np.asarray(decibels) / 10), missing).astype(np.float32)


def _square(share: np.ndarray) -> np.ndarray:
    return np.asarray((share**2)[:, None, None])
