"""Changes of finished windows, and random frequency responses: what mel powers and samples have in common."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .draws import Draws
from .settings import Augmentation

AUDIBLE_SHARE = 0.1  # of a mixture, from which on a label counts as present
KNOTS = 6  # of a ripple
HIGHEST_CUT, LOWEST_CUT = 0.6, 1 / 6  # of the band: a missing top begins above, a missing bottom ends below
TOP_SLOPE_DB, BOTTOM_SLOPE_DB = 768.0, 384.0  # over the whole band: 12 and 6 dB for each of 64
TOP_LOSS_DB, BOTTOM_LOSS_DB = 60.0, 40.0
TOPS = 0.6  # share of limits that are at the top: telephones, cheap microphones, recordings at a low rate


def response_db(places: NDArray[np.floating], size: int, draws: Draws, settings: Augmentation) -> NDArray[np.float32]:
    """Random frequency responses in dB, `[size, len(places)]`: a tilt, a ripple, sometimes one end cut off.

    Args:
        places: where in the band they are wanted, 0 its bottom, 1 its top.
    """
    place = np.clip(places, 0, 1)
    response = draws.uniform("tilt", (-1, 1), size)[:, None] * settings.tilt_db * (2 * place - 1)
    knots = draws.of("ripple").normal(0, 1, (size, KNOTS)) * settings.ripple_db
    position = place * (KNOTS - 1)
    low = np.minimum(position.astype(int), KNOTS - 2)
    response += knots[:, low] * (1 - (position - low)) + knots[:, low + 1] * (position - low)
    limited = draws.chance("band limit", settings.band_limit, size)
    top = draws.chance("band limit at the top", TOPS, size)
    highest = draws.uniform("top", (HIGHEST_CUT, 1), size)[:, None]
    lowest = draws.uniform("bottom", (0, LOWEST_CUT), size)[:, None]
    top_loss = np.clip((place - highest) * TOP_SLOPE_DB, 0, TOP_LOSS_DB)
    bottom_loss = np.clip((lowest - place) * BOTTOM_SLOPE_DB, 0, BOTTOM_LOSS_DB)
    response -= np.where(limited[:, None], np.where(top[:, None], top_loss, bottom_loss), 0)
    return np.asarray(response, np.float32)


def mixed_up(
    windows: Tensor, targets: NDArray[np.float32], draws: Draws, settings: Augmentation
) -> tuple[Tensor, NDArray[np.float32]]:
    """In part of the windows, the mean with another of the batch, and of their targets (mixup, Zhang et al. 2018,
    https://arxiv.org/abs/1710.09412)."""
    size = len(windows)
    if not settings.mixup or size < 2:
        return windows, targets
    drawn = draws.of("mixup").beta(settings.mixing_alpha, settings.mixing_alpha, size)
    share = np.where(draws.chance("mixup", settings.mixup, size), drawn, 1.0).astype(np.float32)
    other = (np.arange(size) + draws.of("mixup partner").integers(1, size, size)) % size
    first = torch.from_numpy(share).to(windows.device)
    mixed = torch.lerp(windows[torch.from_numpy(other).to(windows.device)], windows, first[:, None, None])
    return mixed, shared_targets(targets, targets[other], share[:, None], settings)


def shared_targets(
    first: NDArray[np.float32], second: NDArray[np.float32], share: NDArray[np.float32], settings: Augmentation
) -> NDArray[np.float32]:
    """The target of a mixture, `[size, labels]`, of which `share` `[size, 1]` is the first sound."""
    if settings.mixed_targets == "present":
        return np.asarray(np.maximum(first * (share >= AUDIBLE_SHARE), second * (1 - share >= AUDIBLE_SHARE)))
    return np.asarray(first * share + second * (1 - share), np.float32)


def hidden(windows: Tensor, draws: Draws, settings: Augmentation) -> Tensor:
    """In part of the windows, stripes of columns and of frames get the window's mean; in place.

    SpecAugment (Park et al. 2019, https://arxiv.org/abs/1904.08779) without its warp. torchaudio's masks take their
    numbers from torch's global generator, which a thread that draws ahead must leave alone.
    """
    size, frames, dims = windows.shape
    chosen = draws.chance("mask", settings.mask, size)
    bands = _stripes(dims, settings.mask_bands, settings.mask_band_share, "bands", chosen, draws)
    times = _stripes(frames, settings.mask_times, settings.mask_time_share, "times", chosen, draws)
    mean = windows.mean((1, 2))
    for hide, view in ((bands, windows.transpose(1, 2)), (times, windows)):
        rows, places = (torch.from_numpy(each).to(windows.device) for each in np.nonzero(hide))
        view[rows, places] = mean[rows, None]
    return windows


def _stripes(
    length: int, stripes: int, share: float, purpose: str, chosen: NDArray[np.bool_], draws: Draws
) -> NDArray[np.bool_]:
    """What lies in one of the stripes, `[size, length]`."""
    size = (len(chosen), stripes, 1)
    widest = int(share * length + 1e-9)  # a sixth of 96 is 16
    if not widest or not stripes:
        return np.zeros((len(chosen), length), bool)
    width = draws.of(f"width of {purpose}").integers(1, widest + 1, size) * chosen[:, None, None]
    first = draws.of(f"first of {purpose}").random(size) * (length - width + 1)
    place = np.arange(length) - first.astype(int)
    return np.asarray(((place >= 0) & (place < width)).any(axis=1))
