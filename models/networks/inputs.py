"""What a network sees of a window: its shape, in numbers around 0, and its level apart."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from torch import Tensor, maximum, nn, relu

InputKind = Annotated[
    Literal["decibels", "peak", "batch", "none"],
    Meta(
        description="what is done to the values first. decibels: the window's mean is taken away and given apart, and "
        "what lies 80 dB below its loudest value is cut off; peak: its loudest value is given apart, and what is left "
        "is how far each lies above 60 dB below it; batch: each dim by the mean and deviation of the training windows, "
        "for features that are no decibels; none: nothing"
    ),
]

SCALE_DB = 20.0
LEVEL_DB = 50.0
PEAK_RANGE_DB = 60.0
RANGE_DB = 80.0  # what lies deeper below the window's loudest cell is cut off: silence in a file is no mark of a class


class Normalised(nn.Module):
    """Values around 0, and one number for the level.

    In decibels, a microphone's gain does not change the shape: the window's mean is taken away. It is given apart,
    because a faint hiss and a loud one are not the same thing.

    Args:
        dims: of the window.
        kind: see `InputKind`.

    Shape: [batch, frames, dims] -> [batch, frames, dims], [batch, 1]
    """

    def __init__(self, dims: int, kind: InputKind) -> None:
        super().__init__()
        self.kind = kind
        if kind == "batch":
            self.values_norm: nn.Module = nn.BatchNorm1d(dims)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.kind == "decibels":
            x = maximum(x, x.amax((1, 2), keepdim=True) - RANGE_DB)
            level = x.mean((1, 2), keepdim=True)
            return (x - level) / SCALE_DB, level.flatten(1) / LEVEL_DB
        if self.kind == "peak":
            level = x.amax((1, 2), keepdim=True)
            return relu(x - (level - PEAK_RANGE_DB)) / SCALE_DB, level.flatten(1) / LEVEL_DB
        if self.kind == "batch":
            x = self.values_norm(x.flatten(0, 1)).reshape(-1, x.shape[1], x.shape[2])
        return x, x.mean((1, 2), keepdim=True).flatten(1)


class Scaled(nn.Module):
    """What becomes of a batch norm over rows in use.

    Shape: [rows, values] -> [rows, values]
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias
