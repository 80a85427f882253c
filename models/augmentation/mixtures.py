"""What sounds in each window of a batch: which recordings, from where on, how loud, and what the target is.

That is decided here, with numpy and without a loop over rows; what makes windows of it (`power_batches` of mel powers,
`audio_batches` of samples) is in step with it and with the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...stream.errors import EarwitnessError, nearest
from ..data.clip import BACKGROUND
from ..data.recordings import Recording
from ..data.shelf import Shelf
from .draws import Draws
from .settings import Augmentation
from .windows import shared_targets

Numbers = NDArray[np.float64]
Whole = NDArray[np.int64]

WEIGHTS = {"room": 3, "speech": 3}  # of a kind of background among the others, which have 1: what is hardest
QUIETEST_DB = -110.0  # no background is laid lower: a 16-bit microphone's own noise is higher
LOUDEST_FRAMES = 1e-3  # power beside the loudest frame's from which on a frame counts for the level


@dataclass(frozen=True)
class Mixture:
    """A batch before it sounds. The second axis is: the sound, one mixed into it, a background under it.

    Attributes:
        recordings: int `[size, 3]`, numbers on the shelf; -1 for none.
        starts: `[size, 3]`, where in them, at the speed that they are kept at.
        speeds: `[size, 3]`, at which each is played, pitch and all: the kept speed nearest to what was drawn, or what
            was drawn where recordings are kept at one speed only.
        rates: `[size, 3]`, how much faster it is made then, at the pitch it has.
        shares: `[size]`, of the amplitude, of the first; 1 where it is alone.
        gains_db: `[size]`.
        snr_db: `[size]`.
        muted: `[size, 2]`, first and end of a silent stretch, as parts of the window; both 0 for none.
        targets: float32 `[size, labels]`.
    """

    recordings: Whole
    starts: Whole
    speeds: Numbers
    rates: Numbers
    shares: Numbers
    gains_db: Numbers
    snr_db: Numbers
    muted: Numbers
    targets: NDArray[np.float32]

    def loudness_db(self, levels_db: Tensor) -> Tensor:
        """What the three of each window are made louder by, `[size, 3]`, when their own levels are `levels_db`.

        Two classes are brought to one level and mixed by amplitude (Tokozume et al. 2018,
        https://arxiv.org/abs/1711.10282, equation 2, where the mixture has the level that the two had).
        """
        device = levels_db.device
        share, gain, snr = (
            torch.from_numpy(each).to(device, torch.float32) for each in (self.shares, self.gains_db, self.snr_db)
        )
        first, second, under = levels_db.unbind(1)
        whole = 10 * torch.log10(share.square() + (1 - share).square())
        amplitudes = 20 * torch.log10(torch.stack((share, 1 - share), 1).clamp(min=1e-6)) - whole[:, None]
        floor = (first + gain - snr).clamp(min=QUIETEST_DB)
        return torch.stack((amplitudes[:, 0] + gain, amplitudes[:, 1] + gain + first - second, floor - under), 1)


class Mixtures:
    """Draws what sounds in the windows of a batch.

    Args:
        events: recordings of the classes; where they are kept at several speeds, those of one clip in a row.
        backgrounds: recordings in which nothing happens.
        labels: of the targets; BACKGROUND among them or not.

    Attributes:
        shelf: all recordings.
        kept_speeds: those that each event is kept at.
        augmentation, device: as given.

    Raises:
        EarwitnessError: no recording at all, or one of an unknown label.
    """

    def __init__(
        self,
        events: Sequence[Recording],
        backgrounds: Sequence[Recording],
        labels: Sequence[str],
        augmentation: Augmentation,
        device: str | torch.device = "cpu",
    ) -> None:
        if not events and not backgrounds:
            raise EarwitnessError("there is no recording to train on")
        self.augmentation, self.device = augmentation, torch.device(device)
        self.kept_speeds = np.array(list(dict.fromkeys(event.speed for event in events)) or [1.0])
        self._classes = list(dict.fromkeys(event.label for event in events))
        kinds = sorted({background.kind for background in backgrounds})
        self.shelf = Shelf(
            {f"class {name}": [each for each in events if each.label == name] for name in self._classes}
            | {f"kind {kind}": [each for each in backgrounds if each.kind == kind] for kind in kinds},
            device,
        )
        weights = np.array([WEIGHTS.get(kind, 1) for kind in kinds], float)
        self._kinds = np.cumsum(weights / weights.sum()) if kinds else weights
        self._targets = _targets(self._classes, events, labels)
        self._nothing = np.array([label == BACKGROUND for label in labels], np.float32)

    def draw(self, size: int, draws: Draws) -> Mixture:
        """What sounds in the windows of one batch; those in which nothing happens are the last."""
        settings, classes = self.augmentation, len(self._classes)
        empty = round(settings.background_share * size) if len(self._kinds) else 0
        empty = empty if classes else size
        events = size - empty
        recordings = np.full((size, 3), -1, np.int64)
        speeds, rates = np.ones((size, 3)), np.ones((size, 3))
        of_class = draws.of("class").integers(max(classes, 1), size=events)
        recordings[:events, 0] = self._event(of_class, "event", draws, speeds[:events, 0], rates[:events, 0])
        recordings[events:, 0] = self._background(empty, "background", draws)

        mixed = draws.chance("between_class", settings.between_class, events) & (classes > 1)
        other = (of_class + draws.of("other class").integers(1, max(classes, 2), size=events)) % max(classes, 1)
        recordings[:events, 1] = self._event(other, "partner", draws, speeds[:events, 1], rates[:events, 1])
        recordings[:events, 1][~mixed] = -1
        share = draws.of("share").beta(settings.mixing_alpha, settings.mixing_alpha, events)
        shares = np.concatenate((np.where(mixed, share, 1.0), np.ones(empty)))

        if len(self._kinds):
            noisy = draws.chance("noise", settings.noise, size)
            recordings[:, 2] = np.where(noisy, self._background(size, "noise", draws), -1)
        loud = draws.uniform("gain", settings.gain_db, size)
        faint = draws.uniform("background gain", settings.background_gain_db, size)
        return Mixture(
            recordings=recordings,
            starts=np.stack([self._starts(each, f"start {k}", draws) for k, each in enumerate(recordings.T)], 1),
            speeds=speeds,
            rates=rates,
            shares=shares,
            gains_db=np.where(np.arange(size) < events, loud, faint),
            snr_db=draws.uniform("snr", settings.snr_db, size),
            muted=self._muted(size, events, draws),
            targets=self._shared(recordings, shares, events),
        )

    def _event(self, classes: Whole, purpose: str, draws: Draws, speeds: Numbers, rates: Numbers) -> Whole:
        """A recording of each class; `speeds` and `rates` are filled in."""
        if not len(classes):
            return classes
        settings, size = self.augmentation, len(classes)
        chosen = self.shelf.draw_of(classes, draws.of(purpose), len(self.kept_speeds))

        def often(what: str, share: float, between: tuple[float, float]) -> Numbers:
            if not share:
                return np.ones(size)
            ratios = draws.ratios(f"{purpose} {what}", between, size)
            return np.where(draws.chance(f"{purpose} {what}", share, size), ratios, 1.0)

        low, high = (2 ** (semitones / 12) for semitones in settings.pitch_semitones)
        speed = often("speed", settings.speed, settings.speed_range)
        stretch = often("stretch", settings.stretch, settings.stretch_range)
        pitch = often("pitch", settings.pitch, (low, high))
        rates[:] = stretch / pitch
        speeds[:] = speed * pitch
        if len(self.kept_speeds) == 1:
            return chosen
        nearest_kept = np.abs(np.log(speeds[:, None] / self.kept_speeds)).argmin(axis=1)
        speeds[:] = self.kept_speeds[nearest_kept]
        return np.asarray(chosen + nearest_kept)

    def _background(self, size: int, purpose: str, draws: Draws) -> Whole:
        """A recording of a random kind."""
        if not size:
            return np.zeros(0, np.int64)
        kinds = np.searchsorted(self._kinds[:-1], draws.of(f"{purpose} kind").random(size), side="right")
        return self.shelf.draw_of(len(self._classes) + kinds, draws.of(purpose))

    def _starts(self, recordings: Whole, purpose: str, draws: Draws) -> Whole:
        return np.where(recordings < 0, 0, self.shelf.draw_starts(np.maximum(recordings, 0), draws.of(purpose)))

    def _muted(self, size: int, events: int, draws: Draws) -> Numbers:
        """A stretch of some backgrounds. Clips of events bring such edges with them already."""
        if not self.augmentation.mute:
            return np.zeros((size, 2))
        first = draws.uniform("mute from", (-0.5, 1.0), size)
        length = draws.uniform("mute for", (1 / 16, 1.0), size)
        muted = draws.chance("mute", self.augmentation.mute, size) & (np.arange(size) >= events)
        return np.where(muted[:, None], np.stack((first, first + length), 1), 0.0)

    def _shared(self, recordings: Whole, shares: Numbers, events: int) -> NDArray[np.float32]:
        targets = np.tile(self._nothing, (len(shares), 1))
        first, second = self._targets[recordings[:events, 0]], self._targets[recordings[:events, 1]]
        targets[:events] = shared_targets(first, second, shares[:events, None].astype(np.float32), self.augmentation)
        return targets


def level_db(powers: Tensor) -> Tensor:
    """Level in dB of windows whose frames have these powers, `[..., frames]`: the mean of all that are within 30 dB of
    the loudest."""
    active = powers > powers.amax(-1, keepdim=True) * LOUDEST_FRAMES
    mean = (powers * active).sum(-1) / active.sum(-1).clamp(min=1)
    return 10 * torch.log10(mean + 10 ** (QUIETEST_DB / 10))


def _targets(classes: Sequence[str], events: Sequence[Recording], labels: Sequence[str]) -> NDArray[np.float32]:
    """What is in each recording, `[recordings, labels]`, in the order of the shelf."""
    ordered = [event for name in classes for event in events if event.label == name]
    targets = np.zeros((len(ordered), len(labels)), np.float32)
    for row, event in enumerate(ordered):
        for label in (event.label, *event.further_labels):
            if label not in labels:
                raise EarwitnessError(f"a recording of {label!r}, which is no label: {nearest(label, labels)}")
            targets[row, labels.index(label)] = 1.0
    return targets
