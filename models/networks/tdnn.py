"""The time-delay network: one-dimensional convolutions over frames ever further apart, statistics over the window.

Waibel et al., 1989, https://doi.org/10.1109/29.21701; with statistics pooling as in the x-vectors of Snyder et al.,
2018, https://doi.org/10.1109/ICASSP.2018.8461375.
"""

from __future__ import annotations

from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn

from .activations import ActivationKind
from .inputs import InputKind, Normalised
from .layers import Layer
from .registry import Dropout, NetworkOptions, Sizes, check_odd
from .summaries import Summary, SummaryKind


class Options(NetworkOptions, frozen=True, kw_only=True):
    """See `Tdnn`."""

    channels: Annotated[Sizes, Meta(description="of each layer")] = (128, 128, 128, 128, 256)
    kernels: Annotated[Sizes, Meta(description="frames under each layer's convolution, odd")] = (
        5, 3, 3, 1, 1,
    )  # fmt: skip
    dilations: Annotated[Sizes, Meta(description="from one of those frames to the next, layer by layer")] = (
        1, 2, 3, 1, 1,
    )  # fmt: skip
    activation: ActivationKind = "relu"
    summary: Annotated[SummaryKind, Meta(description="what is kept of the frames")] = "statistics"
    dropout: Dropout = 0.2
    input: InputKind = "decibels"

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.kernels) == len(self.dilations):
            raise ValueError("channels, kernels and dilations must be equally many: one for each layer")
        check_odd(self.kernels)


class Tdnn(nn.Module):
    """Logits of a window.

    Shape: [batch, frames, dims] -> logits [batch, classes]
    """

    def __init__(self, shape: tuple[int, int], classes: int, options: Options) -> None:
        super().__init__()
        self.input = Normalised(shape[1], options.input)
        widths = (shape[1], *options.channels)
        self.layers = nn.Sequential(
            *(
                Layer(inputs, outputs, kernel, options.activation, dilation=dilation)
                for inputs, outputs, kernel, dilation in zip(
                    widths, options.channels, options.kernels, options.dilations, strict=False
                )
            )
        )
        self.summary = Summary(widths[-1], options.summary)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(self.summary.width + 1, classes)

    def forward(self, x: Tensor) -> Tensor:
        x, level = self.input(x)
        summary = self.summary(self.layers(x.transpose(1, 2)))
        logits: Tensor = self.head(self.dropout(torch.cat([summary, level], dim=1)))
        return logits


build = Tdnn
