"""A one-dimensional convolution with its norm and activation: over frames, or over samples."""

from __future__ import annotations

from torch import Tensor, nn

from .activations import Activation, activation


class Layer(nn.Module):
    """Convolved, normalised by the batch, activated.

    Args:
        kernel: odd.

    Shape: [batch, inputs, places] -> [batch, outputs, ceil(places / stride)]
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, kind: Activation, *, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
        self.conv_norm: nn.Module = nn.BatchNorm1d(outputs)
        self.activation = activation(kind)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.conv_norm(self.conv(x)))
        return y
