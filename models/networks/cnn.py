"""A compact convolutional network on log-mel windows: depthwise separable blocks, mean and maximum over the window.

Depthwise separable convolutions are those of MobileNet (Howard et al., 2017, https://arxiv.org/abs/1704.04861). The
network takes decibels as the front end gives them. What it sees of them is the shape, with the window's mean taken
away, so that a microphone's gain does not matter; the mean itself is given to the last layer as one number, because a
faint hiss and a loud one are not the same thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn

from .registry import NetworkOptions, for_use

SCALE_DB = 20.0
RANGE_DB = 80.0  # what lies deeper below the window's loudest cell is cut off: silence in a file is no mark of a class
RETIRED = ("mels",)


class Options(NetworkOptions, frozen=True, kw_only=True):
    """See `Cnn`."""

    channels: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=2, description="of the stem and of each stage after it")
    ] = (32, 64, 128, 256)
    depth: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...], Meta(description="blocks behind the halving one in each stage")
    ] = (1, 2, 2)
    dropout: Annotated[float, Meta(ge=0, lt=1, description="share of values left out before the last layer")] = 0.2


class SeparableBlock(nn.Module):
    """Depthwise 3×3, then pointwise, each normalised; a residual path where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
        self.depthwise_norm: nn.Module = nn.BatchNorm2d(inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pointwise_norm: nn.Module = nn.BatchNorm2d(outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.depthwise_norm(self.depthwise(x)))
        y = self.pointwise_norm(self.pointwise(y))
        return torch.relu(x + y if self.residual else y)


class Cnn(nn.Module):
    """Logits of a window.

    Args:
        classes: how many logits.
        mels: bands of the front end.
        channels: of the first convolution and of each stage after it; each halves time and frequency.
        depth: blocks that follow the halving one in each stage.
        dropout: before the last layer, 0..1.

    Shape: decibels [batch, frames, mels] -> logits [batch, classes]; 16 frames or more.
    """

    def __init__(
        self,
        classes: int,
        mels: int = 64,
        channels: Sequence[int] = (32, 64, 128, 256),
        depth: Sequence[int] = (1, 2, 2),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.stem: nn.Module = nn.Conv2d(1, channels[0], 5, stride=2, padding=2, bias=False)
        self.stem_norm: nn.Module = nn.BatchNorm2d(channels[0])
        # A convolution does not know where it is, and a pitch is a place: this tells it.
        self.pitch = nn.Parameter(0.1 * torch.randn(channels[0], 1, (mels + 1) // 2))
        layers: list[nn.Module] = []
        for inputs, outputs, more in zip(channels, channels[1:], depth, strict=False):
            layers.append(SeparableBlock(inputs, outputs, stride=2))
            layers += [SeparableBlock(outputs, outputs, stride=1) for _ in range(more)]
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * channels[-1] + 1, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.maximum(x, x.amax((1, 2), keepdim=True) - RANGE_DB)
        level = x.mean((1, 2), keepdim=True)
        maps = self.stem_norm(self.stem(((x - level) / SCALE_DB).unsqueeze(1)))
        maps = self.body(torch.relu(maps + self.pitch))
        summary = torch.cat([maps.mean((2, 3)), maps.amax((2, 3)), level.flatten(1) / 50.0], dim=1)
        logits: Tensor = self.head(self.dropout(summary))
        return logits

    def folded(self) -> Cnn:
        """See `registry.for_use`."""
        network = for_use(self)
        assert isinstance(network, Cnn)
        return network


def build(shape: tuple[int, int], classes: int, options: Options) -> Cnn:
    """See `registry.build_network`."""
    return Cnn(classes, shape[1], options.channels, options.depth, options.dropout)
