"""What each hop of a training window is: the sound, or nothing yet, or nothing any more.

A clip's label holds for the clip. A network that decides every hop would learn from it to name a bark seconds after it,
and before it: live, an event without an end. So hops with nothing of the sound in their last second are background.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d, pad

from ..frontend_batch import DB_PER_NEPER

SOUNDING_DB = 25.0  # below the loudest hop of the window
RECENT_HOPS = 10


@torch.no_grad()
def hop_targets(windows: Tensor, targets: Tensor, hop_frames: int, background: int | None) -> tuple[Tensor, Tensor]:
    """Targets hop by hop.

    Args:
        windows: decibels of power [batch, frames, dims], half a dozen hops or more.
        targets: shares of labels [batch, labels] of whole windows.
        background: the column of the background's label; without one, hops with nothing have targets of 0.

    Returns:
        Whether a hop has something of the sound behind it, 0 or 1 [batch, hops]; targets [batch, hops, labels].
    """
    hops = windows.shape[1] // hop_frames
    powers = torch.exp(windows[:, : hops * hop_frames].float() / DB_PER_NEPER)
    levels = powers.mean(2).unflatten(1, (hops, hop_frames)).mean(2)
    sounding = (levels >= levels.amax(1, keepdim=True) * 10 ** (-SOUNDING_DB / 10)).float()
    recent = max_pool1d(pad(sounding, (RECENT_HOPS - 1, 0)).unsqueeze(1), RECENT_HOPS, 1).squeeze(1)
    nothing = torch.zeros_like(targets)
    if background is not None:
        nothing[:, background] = 1
    share = recent.unsqueeze(2)
    return recent, share * targets.unsqueeze(1) + (1 - share) * nothing.unsqueeze(1)
