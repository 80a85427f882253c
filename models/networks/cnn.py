"""A compact convolutional network on log-mel windows: blocks in stages, mean and maximum over the window.

It takes decibels as the front end gives them (`input`). A stem of one convolution is followed by stages; the stem and
each stage make time and frequency smaller by their stride. The rule for lists of one number for the stem and each
stage: the last number holds for those that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from ...stream.errors import EarwitnessError
from .activations import ActivationKind, activation
from .blocks import BLOCKS, BlockKind, NormKind, Pair, Style, convolution, norm
from .inputs import InputKind, Normalised
from .registry import Dropout, NetworkOptions, Sizes, check_odd
from .summaries import Summary, SummaryKind

RETIRED = ("mels",)


class Options(NetworkOptions, frozen=True, kw_only=True):
    """See `Cnn`."""

    channels: Annotated[Sizes, Meta(description="of the stem and of each stage")] = (32, 64, 128, 256)
    depth: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...], Meta(description="blocks of each stage, beside the one that shrinks")
    ] = (1, 2, 2)
    block: Annotated[
        BlockKind,
        Meta(
            description="separable: depthwise and pointwise; inverted: wide in between, depthwise; plain: one dense "
            "convolution; basic: two dense convolutions"
        ),
    ] = "separable"
    kernels: Annotated[Sizes, Meta(description="of the stem and of each stage, odd")] = (5, 3)
    strides: Annotated[Sizes, Meta(description="of the stem and of each stage's first block")] = (2,)
    frame_strides: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        Meta(description="the same over frames alone, where it is to differ from that over bands; none: `strides`"),
    ] = ()
    dilations: Annotated[Sizes, Meta(description="of the kernels of the stem and of each stage")] = (1,)
    pooling: Annotated[
        Literal["stride", "max", "mean"],
        Meta(description="how maps shrink: by the convolution's stride, or by a maximum or mean over it behind it"),
    ] = "stride"
    norm: Annotated[NormKind, Meta(description="behind each convolution; batch norms cost nothing in use")] = "batch"
    activation: ActivationKind = "relu"
    residual: Annotated[bool, Meta(description="add a block's input to its output")] = True
    squeeze: Annotated[
        int, Meta(ge=0, description="squeeze and excitation in each block, narrower than it by this factor; 0: none")
    ] = 0
    pitch: Annotated[bool, Meta(description="tell the network at which frequency it looks")] = True
    summary: Annotated[SummaryKind, Meta(description="what is kept of the last maps, over time and frequency")] = (
        "mean_max"
    )
    dropout: Dropout = 0.2
    input: InputKind = "decibels"

    def __post_init__(self) -> None:
        if len(self.depth) != len(self.channels) - 1:
            raise ValueError(
                f"channels {list(self.channels)} have {len(self.channels) - 1} stages, depth {list(self.depth)}"
            )
        check_odd(self.kernels)


class Cnn(nn.Module):
    """Logits of a window.

    Shape: [batch, frames, dims] -> logits [batch, classes]; any number of frames that the strides leave something of.
    """

    def __init__(self, shape: tuple[int, int], classes: int, options: Options) -> None:
        super().__init__()
        stages = len(options.channels)
        kernels, dilations = (_each(values, stages) for values in (options.kernels, options.dilations))
        strides = list(
            zip(_each(options.frame_strides or options.strides, stages), _each(options.strides, stages), strict=True)
        )
        style = Style(options.activation, options.norm, options.residual, options.squeeze)
        channels, pooled = options.channels, options.pooling != "stride"
        self.input = Normalised(shape[1], options.input)
        self.stem = convolution(1, channels[0], kernels[0], (1, 1) if pooled else strides[0], dilations[0], style=style)
        self.stem_norm = norm(channels[0], style)
        # A convolution does not know where it is, and a pitch is a place: this tells it.
        bands = shape[1] if pooled else -(-shape[1] // strides[0][1])
        self.pitch = nn.Parameter(0.1 * torch.randn(channels[0], 1, bands)) if options.pitch else None
        self.activation = activation(options.activation)
        layers: list[nn.Module] = [] if not pooled else [_pool(options.pooling, strides[0])]
        block = BLOCKS[options.block]
        for stage in range(1, stages):
            inputs, outputs = channels[stage - 1 : stage + 1]
            kernel, dilation = kernels[stage], dilations[stage]
            layers.append(block(inputs, outputs, kernel, (1, 1) if pooled else strides[stage], dilation, style))
            layers += [
                block(outputs, outputs, kernel, (1, 1), dilation, style) for _ in range(options.depth[stage - 1])
            ]
            if pooled:
                layers.append(_pool(options.pooling, strides[stage]))
        self.body = nn.Sequential(*layers)
        self.summary = Summary(channels[-1], options.summary)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(self.summary.width + 1, classes)

    def forward(self, x: Tensor) -> Tensor:
        x, level = self.input(x)
        maps = self.stem_norm(self.stem(x.unsqueeze(1)))
        if self.pitch is not None:
            maps = _told_pitch(maps, self.pitch) if self.training else maps + self.pitch
        maps = self.body(self.activation(maps))
        summary = torch.cat([self.summary(maps), level], dim=1)
        logits: Tensor = self.head(self.dropout(summary))
        return logits


def build(shape: tuple[int, int], classes: int, options: Options) -> Cnn:
    """See `registry.build_network`."""
    if options.pooling != "stride":
        for axis, strides in ((0, options.frame_strides or options.strides), (1, options.strides)):
            left = shape[axis]
            for stride in _each(strides, len(options.channels)):
                left //= stride
            if not left:
                raise EarwitnessError(
                    f"network cnn: its pooling leaves nothing of a window {list(shape)}: try smaller strides"
                )
    return Cnn(shape, classes, options)


def _told_pitch(maps: Tensor, pitch: Tensor) -> Tensor:
    """Maps [batch, channels, frames, bands] + pitch [channels, 1, bands], for training.

    The sum is that of rows, one for each batch and frame, as maps lie in memory channels last: its gradient is then a
    sum of rows too, a tenth of the cost of one over two axes. A pitch in single precision would make single precision
    of all that follows.
    """
    rows = maps.permute(0, 2, 3, 1)
    told = rows.flatten(0, 1).flatten(1) + pitch.permute(1, 2, 0).flatten().to(maps.dtype)
    return told.view(rows.shape).permute(0, 3, 1, 2)


def _each(values: Sequence[int], count: int) -> list[int]:
    """One value for the stem and each stage."""
    return [values[min(place, len(values) - 1)] for place in range(count)]


def _pool(kind: str, stride: Pair) -> nn.Module:
    return nn.MaxPool2d(stride) if kind == "max" else nn.AvgPool2d(stride)
