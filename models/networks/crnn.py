"""Convolutions that look, recurrent cells that remember: Çakır et al., 2017, https://arxiv.org/abs/1702.06286.

The convolutions make bands and frames few; gated recurrent units go through what is left, frame by frame.
"""

from __future__ import annotations

from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn

from ...stream.errors import EarwitnessError
from .activations import ActivationKind
from .blocks import Plain, Style
from .inputs import InputKind, Normalised
from .registry import Dropout, NetworkOptions, Sizes, check_odd
from .summaries import Summary, SummaryKind


class Options(NetworkOptions, frozen=True, kw_only=True):
    """See `Crnn`."""

    channels: Annotated[Sizes, Meta(description="of each convolution")] = (32, 64, 64)
    kernel: Annotated[int, Meta(ge=1, description="of each convolution, odd")] = 3
    band_pools: Annotated[Sizes, Meta(description="each is followed by a maximum over so many bands")] = (4, 4, 2)
    frame_pools: Annotated[Sizes, Meta(description="and so many frames")] = (2, 2, 1)
    activation: ActivationKind = "relu"
    hidden: Annotated[int, Meta(ge=1, description="values of the memory, in each direction")] = 64
    bidirectional: Annotated[bool, Meta(description="go through the window backwards too")] = True
    summary: Annotated[SummaryKind, Meta(description="what is kept of the frames' memories")] = "mean_max"
    dropout: Dropout = 0.2
    input: InputKind = "decibels"

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.band_pools) == len(self.frame_pools):
            raise ValueError("channels, band_pools and frame_pools must be equally many: one for each convolution")
        check_odd([self.kernel])


class Crnn(nn.Module):
    """Logits of a window.

    Shape: [batch, frames, dims] -> logits [batch, classes]
    """

    def __init__(self, shape: tuple[int, int], classes: int, options: Options) -> None:
        super().__init__()
        self.input = Normalised(shape[1], options.input)
        layers: list[nn.Module] = []
        inputs, bands = 1, shape[1]
        style = Style(options.activation)
        for outputs, frame_pool, band_pool in zip(
            options.channels, options.frame_pools, options.band_pools, strict=True
        ):
            layers += [
                Plain(inputs, outputs, options.kernel, (1, 1), 1, style),
                nn.MaxPool2d((frame_pool, band_pool)),
            ]
            inputs, bands = outputs, bands // band_pool
        self.convolutions = nn.Sequential(*layers)
        self.cells = nn.GRU(inputs * bands, options.hidden, batch_first=True, bidirectional=options.bidirectional)
        self.summary = Summary(options.hidden * (2 if options.bidirectional else 1), options.summary)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(self.summary.width + 1, classes)

    def forward(self, x: Tensor) -> Tensor:
        x, level = self.input(x)
        maps = self.convolutions(x.unsqueeze(1))
        memories = self.cells(maps.transpose(1, 2).flatten(2))[0]
        summary = self.summary(memories.transpose(1, 2))
        logits: Tensor = self.head(self.dropout(torch.cat([summary, level], dim=1)))
        return logits


def build(shape: tuple[int, int], classes: int, options: Options) -> Crnn:
    """See `registry.build_network`."""
    frames, bands = shape
    for frame_pool, band_pool in zip(options.frame_pools, options.band_pools, strict=True):
        frames, bands = frames // frame_pool, bands // band_pool
    if not frames or not bands:
        raise EarwitnessError(f"network crnn: its pooling leaves nothing of a window {list(shape)}: try smaller pools")
    return Crnn(shape, classes, options)
