"""Batches of windows that are made of samples, for any front end and for networks that take samples.

In the order in which it happens to a sound: a recording is played (faster, higher), mixed with another, made louder or
fainter; it sounds in a room, over a background; a microphone colours and clips it, a telephone narrows it; then the
front end on tensors makes frames, and these are mixed and hidden as any. All on the device, without a loop over rows.

**Speeds** are at most `ALTERATIONS` different ones in a batch: a Fourier transform and a vocoder for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...stream.features.delta import parse_delta
from ...stream.features.frontend import FrontEndSpec
from ..data.recordings import level_step
from ..frontend import TorchFrontEnd
from .audio import (
    MARGIN,
    band_places,
    companded,
    filtered,
    filters_of,
    overdriven,
    played,
    stretched,
    telephoned,
)
from .draws import Draws
from .mixtures import Mixture, Mixtures, level_db
from .rooms import impulse_responses
from .windows import hidden, mixed_up, response_db

ALTERATIONS = 4  # different speeds of a batch
MEMORY = 12  # time constants that pcen, which begins as after a full-scale sound, hears before a window
ECHO_S = 0.3  # how far back a room is heard in a window
EQUALISER_S = 0.064  # length of a microphone's filter


class AudioMaker:
    """Draws batches of training windows of any front end; see `batches.BatchMaker`.

    Args:
        mixtures: what sounds in the windows; its recordings are kept as samples, at one speed.
        spec: the front end.
        window_frames: frames per window.

    Raises:
        EarwitnessError: a feature not to be had on tensors.
    """

    def __init__(self, mixtures: Mixtures, spec: FrontEndSpec, window_frames: int) -> None:
        self._mixtures, self._settings, self._device = mixtures, mixtures.augmentation, mixtures.device
        self._front_end = TorchFrontEnd(spec, self._device)
        self._spec, self._frames = spec, window_frames
        self._lead, tail = _context(self._front_end)
        if self._settings.room:  # what came before a window is heard in it
            self._lead += math.ceil(min(self._settings.rt60_s[1], ECHO_S) * spec.sr / spec.hop_length)
        frames = self._lead + window_frames + tail
        self._samples = window_samples(spec, frames)
        taps = 2 ** round(math.log2(EQUALISER_S * spec.sr))
        band = (spec.fmin, spec.fmax) if spec.hop_length > 1 else (50.0, spec.sr / 2)
        self._places = band_places(taps, spec.sr, *band)

    @torch.no_grad()
    def draw(self, size: int, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A batch: see `batches.BatchMaker`."""
        draws = Draws(seed)
        mixture = self._mixtures.draw(size, draws)
        frames = self._front_end(self._changed(self._mixed(mixture, draws), draws, mixture))
        windows, targets = mixed_up(
            frames[:, self._lead : self._lead + self._frames], mixture.targets, draws, self._settings
        )
        return hidden(windows.contiguous(), draws, self._settings), torch.from_numpy(targets).to(self._device)

    def _mixed(self, mixture: Mixture, draws: Draws) -> Tensor:
        """The sounds of each window over each other, `[size, samples]`."""
        rows, columns = np.nonzero(mixture.recordings >= 0)
        pieces = self._pieces(mixture, rows, columns, draws)
        step = level_step(self._spec)
        levels = torch.full(mixture.recordings.shape, 0.0, device=self._device)
        inside = pieces[:, self._lead * self._spec.hop_length :]
        blocks = inside[:, : inside.shape[1] // step * step].unflatten(1, (-1, step))
        levels[rows, columns] = level_db(blocks.square().mean(2))
        amplitudes = 10 ** (mixture.loudness_db(levels)[rows, columns] / 20)
        pieces *= amplitudes[:, None]
        sound, second, under = (torch.from_numpy(columns == k).to(self._device) for k in range(3))
        row = torch.from_numpy(rows).to(self._device)
        mixed = pieces[sound]
        mixed[row[second]] += pieces[second]
        mixed = self._in_rooms(mixed, draws)
        mixed[row[under]] += pieces[under]
        return mixed

    def _pieces(
        self, mixture: Mixture, rows: NDArray[np.int64], columns: NDArray[np.int64], draws: Draws
    ) -> Tensor:  # fmt: skip
        """What each recording gives to its window, `[pieces, samples]`."""
        recordings = mixture.recordings[rows, columns]
        starts = mixture.starts[rows, columns] - self._lead * self._spec.hop_length
        speeds, rates = mixture.speeds[rows, columns], mixture.rates[rows, columns]
        altered = np.flatnonzero((speeds != 1) | (rates != 1))
        models = altered[:ALTERATIONS]
        groups = np.full(len(rows), -1)
        groups[altered] = np.arange(len(altered)) % ALTERATIONS
        pieces = self._mixtures.shelf.cut(recordings, starts, self._samples)
        for number, model in enumerate(models):
            mine = np.flatnonzero(groups == number)
            changed = self._played(recordings[mine], starts[mine], float(speeds[model]), float(rates[model]))
            pieces[torch.from_numpy(mine).to(self._device)] = changed
        return pieces

    def _played(
        self, recordings: NDArray[np.int64], starts: NDArray[np.int64], speed: float, rate: float
    ) -> Tensor:  # fmt: skip
        """Windows of recordings at another speed and tempo; what was in the middle stays there."""
        count = self._samples + 2 * MARGIN
        length = round(count * speed)
        source = math.ceil(length * rate)
        samples = self._mixtures.shelf.cut(recordings, starts + (self._samples - source) // 2, source)
        if rate != 1:
            samples = stretched(samples, rate, self._spec.sr)
            samples = torch.nn.functional.pad(samples, (0, max(0, length - samples.shape[1])))[:, :length]
        return played(samples, count)[:, MARGIN:-MARGIN]

    def _in_rooms(self, samples: Tensor, draws: Draws) -> Tensor:
        chosen = np.flatnonzero(draws.chance("room", self._settings.room, len(samples)))
        if len(chosen):
            rt60 = draws.uniform("rt60", self._settings.rt60_s, len(samples))[chosen]
            direct = draws.uniform("direct", self._settings.direct_db, len(samples))[chosen]
            rooms = torch.from_numpy(impulse_responses(rt60, direct, self._spec.sr, draws.of("room")))
            where = torch.from_numpy(chosen).to(self._device)
            samples[where] = filtered(samples[where], rooms.to(self._device))
        return samples

    def _changed(self, samples: Tensor, draws: Draws, mixture: Mixture) -> Tensor:
        """What the microphone and the line do."""
        settings, size = self._settings, len(samples)
        if settings.tilt_db or settings.ripple_db or settings.band_limit:
            response = torch.from_numpy(response_db(self._places, size, draws, settings)).to(self._device)
            samples = filtered(samples, filters_of(response))
        first, end = torch.from_numpy(mixture.muted * self._frames + self._lead).to(self._device).round().unbind(1)
        frame = torch.arange(samples.shape[1], device=self._device) // self._spec.hop_length
        samples = samples.masked_fill((frame >= first[:, None]) & (frame < end[:, None]), 0)
        above = torch.from_numpy(draws.uniform("overdrive", settings.overdrive_db, size)).float().to(self._device)
        low, high = settings.compand_bits
        bits = torch.from_numpy(draws.uniform("compand", (low, high), size).round()).to(self._device)
        for name, change in (
            ("overdrive", lambda rows, where: overdriven(rows, above[where])),
            ("compand", lambda rows, where: companded(rows, bits[where])),
            ("telephone", lambda rows, where: telephoned(rows, self._spec.sr)),
        ):
            chosen = np.flatnonzero(draws.chance(name, getattr(settings, name), size))
            if len(chosen):
                where = torch.from_numpy(chosen).to(self._device)
                samples[where] = change(samples[where], where)
        return samples


def window_samples(spec: FrontEndSpec, frames: int) -> int:
    """The fewest samples that have so many frames."""
    return max(1, (frames - 1) * spec.hop_length + spec.frame_length - 2 * spec.lead)


def _context(front_end: TorchFrontEnd) -> tuple[int, int]:
    """How many frames before and after a window are computed, so that its own are as they are live."""
    spec = front_end.spec
    beside = spec.delta_width // 2 if any(parse_delta(name)[1] for name in spec.features) else 0
    carries = any(feature.initial for feature in front_end.ordered())
    memory = math.ceil(MEMORY * spec.pcen_time_constant * spec.sr / spec.hop_length) if carries else 0
    lead = math.ceil((spec.lead + front_end.before) / spec.hop_length) + beside + memory
    return lead, math.ceil((spec.lead + front_end.after) / spec.hop_length) + beside
