"""Batches of windows that are mixed as mel powers: a tenth of the cost of making them from samples.

Powers of sounds that know nothing of each other add, a gain is a factor and a filter a factor for each band, so a
mixture of windows is the window of the mixture. All recordings lie as powers in one tensor on the device; a window is a
sum of weighted rows of it, and one call of `embedding_bag` makes the sums of a whole batch.

**Speed and pitch.** Each recording is kept at several speeds, resampled before the front end: pitches move exactly, but
in steps. Tempo is changed along the frames; the nearest one is taken, which leaves the statistics of noise alone where
a mean of two would smooth it. The picture is never shifted along its bands: they are not equally wide on a scale on
which a change of pitch is a shift.

What is no factor for each band (rooms, clipping, companding) wants samples: see `audio_batches`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ...stream.errors import EarwitnessError
from ...stream.features.frontend import FrontEndSpec
from ..frontend_batch import DB_PER_NEPER
from .draws import Draws
from .mixtures import Mixture, Mixtures, level_db
from .settings import Augmentation
from .windows import hidden, mixed_up, response_db


class PowerMaker:
    """Draws batches of training windows of a log-mel front end; see `batches.BatchMaker`.

    Args:
        mixtures: what sounds in the windows; its recordings are kept as powers.
        spec: the front end; its floor and logarithm finish each window.
        window_frames: frames per window.

    Raises:
        EarwitnessError: a front end or a change that mel powers do not give.
    """

    def __init__(self, mixtures: Mixtures, spec: FrontEndSpec, window_frames: int) -> None:
        if obstacle := why_not_powers(spec, mixtures.augmentation):
            raise EarwitnessError(f"windows cannot be mixed as mel powers: {obstacle}")
        self._mixtures, self._settings, self._device = mixtures, mixtures.augmentation, mixtures.device
        self._totals = self._mixtures.shelf.values.sum(1)
        self._spec, self._frames = spec, window_frames

    @torch.no_grad()
    def draw(self, size: int, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A batch: see `batches.BatchMaker`."""
        draws = Draws(seed)
        mixture = self._mixtures.draw(size, draws)
        windows, targets = mixed_up(self._windows(mixture, draws), mixture.targets, draws, self._settings)
        return hidden(windows, draws, self._settings), torch.from_numpy(targets).to(self._device)

    def _windows(self, mixture: Mixture, draws: Draws) -> Tensor:
        shelf, frames, size = self._mixtures.shelf, self._frames, len(mixture.shares)
        starts = mixture.starts + frames / 2 * (1 - mixture.rates)  # what was in the middle stays there
        rows = shelf.rows(mixture.recordings, starts, frames, mixture.rates)
        loudness = 10 ** (mixture.loudness_db(level_db(self._totals[rows])) / 10)
        first, end = torch.from_numpy(mixture.muted * frames).to(self._device).round().unbind(1)
        place = torch.arange(frames, device=self._device)
        muted = (place >= first[:, None]) & (place < end[:, None])
        rows = torch.where(muted[:, None], shelf.silence, rows)
        powers = embedding_bag(
            rows.transpose(1, 2).reshape(-1, 3), shelf.values, mode="sum",
            per_sample_weights=loudness[:, None].expand(size, frames, 3).reshape(-1, 3),
        ).view(size, frames, -1)  # fmt: skip
        places = np.linspace(0, 1, powers.shape[2])
        response = torch.from_numpy(response_db(places, size, draws, self._settings)).to(self._device)
        return self._logarithm(powers.mul_((10 ** (response / 10))[:, None]))

    def _logarithm(self, powers: Tensor) -> Tensor:
        """As the front end takes it, in place."""
        spec = self._spec
        if spec.log == "db":
            return powers.clamp_(min=spec.amin).log_().mul_(DB_PER_NEPER)
        return powers.add_(spec.log_offset).log_() if spec.log_offset else powers.clamp_(min=spec.amin).log_()


def why_not_powers(spec: FrontEndSpec, augmentation: Augmentation) -> str | None:
    """What keeps windows of a front end from being mixed as mel powers; None when nothing does."""
    if spec.feature != "log_mel":
        return f"the front end gives {spec.feature}, not log_mel"
    if spec.power != 2.0:
        return f"the front end's power is {spec.power:g}, not 2"
    if augmentation.from_samples:
        return f"{augmentation.from_samples[0]} changes samples"
    return None
