"""The blocks that the two-dimensional networks are made of, each a few convolutions with their norms and activation."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from torch import Tensor, nn

from .activations import Activation, activation

BlockKind = Literal["separable", "inverted", "plain", "basic"]
NormKind = Literal["batch", "group", "none"]
Pair = tuple[int, int]


class Style(NamedTuple):
    """What all blocks of a network have in common."""

    activation: Activation = "relu"
    norm: NormKind = "batch"
    residual: bool = True  # a block's input is added to its output
    squeeze: int = 0  # reduction of `SqueezeExcitation`; 0: none


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: Pair = (1, 1),
    dilation: int = 1,
    *,
    style: Style,
    groups: int = 1,
) -> nn.Conv2d:
    """A convolution with an odd kernel whose output has ceil(size / stride) values along each axis.

    It has a bias where no norm follows that would take it away.
    """
    padding = dilation * (kernel - 1) // 2
    bias = style.norm == "none"
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=bias)


def norm(channels: int, style: Style) -> nn.Module:
    """Batch norm; group norm of (up to) 8 groups, which does not depend on the batch; or nothing."""
    if style.norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(math.gcd(8, channels), channels) if style.norm == "group" else nn.Identity()


class SqueezeExcitation(nn.Module):
    """Weighs the channels by what all of the maps hold (Hu et al., 2018, https://arxiv.org/abs/1709.01507)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return x * weights


class Block(nn.Module):
    """The base: maps [batch, inputs, frames, bands] -> [batch, outputs, ceil(frames / s), ceil(bands / s)].

    Args of every block:
        inputs, outputs: channels.
        kernel: odd.
        stride: over frames and over bands.
        dilation: of the kernel.
        style: see `Style`.
    """

    def __init__(self, inputs: int, outputs: int, stride: Pair, style: Style) -> None:
        super().__init__()
        self.residual = style.residual and stride == (1, 1) and inputs == outputs
        self.activation = activation(style.activation)
        self.squeezed: nn.Module = SqueezeExcitation(outputs, style.squeeze) if style.squeeze else nn.Identity()

    def changed(self, x: Tensor) -> Tensor:
        """What the convolutions make of the maps."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.squeezed(self.changed(x))
        y = self.activation(x + y if self.residual else y)
        return y


class Separable(Block):
    """Depthwise, then pointwise, as in MobileNet (Howard et al., 2017, https://arxiv.org/abs/1704.04861)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: Pair, dilation: int, style: Style) -> None:
        super().__init__(inputs, outputs, stride, style)
        self.depthwise = convolution(inputs, inputs, kernel, stride, dilation, style=style, groups=inputs)
        self.depthwise_norm = norm(inputs, style)
        self.pointwise = convolution(inputs, outputs, 1, style=style)
        self.pointwise_norm = norm(outputs, style)

    def changed(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.depthwise_norm(self.depthwise(x)))
        y = self.pointwise_norm(self.pointwise(y))
        return y


class Inverted(Block):
    """Wider by `EXPANSION`, depthwise, narrow again: MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381)."""

    EXPANSION = 4

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: Pair, dilation: int, style: Style) -> None:
        super().__init__(inputs, outputs, stride, style)
        wide = inputs * self.EXPANSION
        self.expand = convolution(inputs, wide, 1, style=style)
        self.expand_norm = norm(wide, style)
        self.depthwise = convolution(wide, wide, kernel, stride, dilation, style=style, groups=wide)
        self.depthwise_norm = norm(wide, style)
        self.project = convolution(wide, outputs, 1, style=style)
        self.project_norm = norm(outputs, style)

    def changed(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.expand_norm(self.expand(x)))
        y = self.activation(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(self.project(y))
        return y

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.squeezed(self.changed(x))
        return x + y if self.residual else y  # nothing bends the narrow ends


class Plain(Block):
    """One dense convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: Pair, dilation: int, style: Style) -> None:
        super().__init__(inputs, outputs, stride, style)
        self.conv = convolution(inputs, outputs, kernel, stride, dilation, style=style)
        self.conv_norm = norm(outputs, style)

    def changed(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_norm(self.conv(x))
        return y


class Basic(Block):
    """Two dense convolutions, as in ResNet (He et al., 2015, https://arxiv.org/abs/1512.03385).

    Where the shape changes, a pointwise convolution brings the block's input into it.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: Pair, dilation: int, style: Style) -> None:
        super().__init__(inputs, outputs, stride, style)
        self.first = convolution(inputs, outputs, kernel, stride, dilation, style=style)
        self.first_norm = norm(outputs, style)
        self.second = convolution(outputs, outputs, kernel, (1, 1), dilation, style=style)
        self.second_norm = norm(outputs, style)
        self.projects = style.residual and not self.residual
        if self.projects:
            self.shortcut = convolution(inputs, outputs, 1, stride, style=style)
            self.shortcut_norm = norm(outputs, style)

    def changed(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return y

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.squeezed(self.changed(x))
        if self.projects:
            y = y + self.shortcut_norm(self.shortcut(x))
        y = self.activation(x + y if self.residual else y)
        return y


BLOCKS = {"separable": Separable, "inverted": Inverted, "plain": Plain, "basic": Basic}
