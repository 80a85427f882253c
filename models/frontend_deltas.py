"""Deltas of features on tensors: `stream.features.delta`, many streams at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..stream.features.delta import delta


def deltas(frames: Tensor, width: int, order: int) -> Tensor:
    """`stream.features.delta.delta` along the frames of `[streams, frames, dims]`, same shape."""
    count = frames.shape[1]
    if count < width and count <= order:  # no polynomial of that degree is to be had
        return torch.zeros_like(frames)
    inner = middles(frames, min(width, count), order)
    before = (count - inner.shape[1]) // 2
    after = count - inner.shape[1] - before
    return torch.cat((inner[:, :1].expand(-1, before, -1), inner, inner[:, -1:].expand(-1, after, -1)), 1)


def middles(frames: Tensor, width: int, order: int) -> Tensor:
    """The derivative at the middle of each `width` consecutive frames, `[streams, frames - width + 1, dims]`.

    The weights sum to 0, so differences stand for values, as in numpy: a constant has a delta of exactly 0.
    """
    # What the polynomial makes of a frame that is 1 among frames that are 0 is the weight of that frame.
    weights = delta(np.eye(width, dtype=np.float32), width, order)[0].tolist()
    count = frames.shape[1] - width + 1
    middle = frames[:, width // 2 :][:, :count]
    total = torch.zeros_like(middle)
    for place in range(width // 2):
        before, after = frames[:, place:][:, :count], frames[:, width - 1 - place :][:, :count]
        change = after - before if order == 1 else (after - middle) + (before - middle)
        total = total + weights[width - 1 - place] * change
    return total
