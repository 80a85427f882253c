"""A window as one row of numbers, for networks without a sense of time."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from .inputs import InputKind, Normalised
from .summaries import deviation

ViewKind = Annotated[
    Literal["statistics", "flat"],
    Meta(
        description="what the first layer sees. statistics: mean, deviation and maximum of each dim over the frames; "
        "flat: every value of the window, so that a sound that comes a frame later is another one"
    ),
]


class View(nn.Module):
    """See `ViewKind`; the level is the last number.

    Args:
        shape: (window_frames, dims).
        kind: see `ViewKind`.
        input: see `inputs.InputKind`.

    Shape: [batch, frames, dims] -> [batch, `width`]
    """

    def __init__(self, shape: tuple[int, int], kind: ViewKind, input: InputKind) -> None:
        super().__init__()
        frames, dims = shape
        self.kind = kind
        self.input = Normalised(dims, input)
        self.width = (3 * dims if kind == "statistics" else frames * dims) + 1

    def forward(self, x: Tensor) -> Tensor:
        x, level = self.input(x)
        if self.kind == "flat":
            return torch.cat([x.flatten(1), level], dim=1)
        x = x.transpose(1, 2)
        mean = x.mean(2)
        return torch.cat([mean, deviation(x, mean), x.amax(2), level], dim=1)
