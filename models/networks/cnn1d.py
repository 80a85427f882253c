"""One-dimensional convolutions on the samples themselves: a network that learns its own front end.

It wants the front end `waveform`. After M5 to M18 of Dai et al., 2017, https://arxiv.org/abs/1610.00087: one long
kernel in place of a spectrum, then short ones, each stage with fewer places, and one row for the window at the end.
"""

from __future__ import annotations

from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn

from ...stream.errors import EarwitnessError
from .activations import ActivationKind
from .layers import Layer
from .registry import Dropout, NetworkOptions, Sizes, check_odd
from .summaries import Summary, SummaryKind


class Options(NetworkOptions, frozen=True, kw_only=True):
    """See `Cnn1d`."""

    channels: Annotated[Sizes, Meta(description="of each stage")] = (32, 64, 96, 128, 128)
    first_kernel: Annotated[int, Meta(ge=1, description="samples under the first convolution, odd")] = 81
    first_stride: Annotated[int, Meta(ge=1, description="samples from one of its places to the next")] = 4
    kernel: Annotated[int, Meta(ge=1, description="of the other stages, odd")] = 3
    pool: Annotated[int, Meta(ge=1, description="each stage ends with a maximum over so many places")] = 4
    activation: ActivationKind = "relu"
    summary: Annotated[SummaryKind, Meta(description="what is kept of the window")] = "mean_max"
    dropout: Dropout = 0.2

    def __post_init__(self) -> None:
        check_odd([self.first_kernel, self.kernel])


class Cnn1d(nn.Module):
    """Logits of samples. Their level is taken away and given apart, as one number.

    Shape: [batch, samples, 1] -> logits [batch, classes]
    """

    def __init__(self, shape: tuple[int, int], classes: int, options: Options) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        inputs = shape[1]
        for place, outputs in enumerate(options.channels):
            kernel, stride = (options.kernel, 1) if place else (options.first_kernel, options.first_stride)
            stages.append(Layer(inputs, outputs, kernel, options.activation, stride=stride))
            stages.append(nn.MaxPool1d(options.pool))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.summary = Summary(inputs, options.summary)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(self.summary.width + 1, classes)

    def forward(self, x: Tensor) -> Tensor:
        power = x.square().mean((1, 2), keepdim=True) + 1e-10
        level = torch.log10(power).flatten(1) / 5  # 50 dB are 1, as in the other networks
        x = (x * power.rsqrt()).transpose(1, 2)
        summary = torch.cat([self.summary(self.stages(x)), level], dim=1)
        logits: Tensor = self.head(self.dropout(summary))
        return logits


def build(shape: tuple[int, int], classes: int, options: Options) -> Cnn1d:
    """See `registry.build_network`."""
    left = -(-shape[0] // options.first_stride)
    for _ in options.channels:
        left //= options.pool
    if not left:
        raise EarwitnessError(
            f"network cnn1d: its pooling leaves nothing of a window of {shape[0]} frames; it wants thousands of them, "
            "samples of the front end 'waveform'"
        )
    return Cnn1d(shape, classes, options)
