"""The deep network: a multilayer perceptron with any number of hidden layers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from torch import Tensor, nn

from .activations import Activation, ActivationKind, activation
from .inputs import InputKind
from .registry import Dropout, NetworkOptions, Sizes
from .views import View, ViewKind


class Options(NetworkOptions, frozen=True, kw_only=True):
    """See `Deep`."""

    layers: Annotated[Sizes, Meta(description="neurons of each hidden layer")] = (256, 128, 64)
    activation: ActivationKind = "relu"
    batch_norm: Annotated[bool, Meta(description="normalise each layer by the batch, before its activation")] = True
    dropout: Dropout = 0.1
    view: ViewKind = "statistics"
    input: InputKind = "decibels"


class Layer(nn.Module):
    """Linear, normalised, activated."""

    def __init__(self, inputs: int, outputs: int, kind: Activation, batch_norm: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.linear_norm: nn.Module = nn.BatchNorm1d(outputs) if batch_norm else nn.Identity()
        self.activation = activation(kind)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.linear_norm(self.linear(x)))
        return y


class Deep(nn.Module):
    """Logits of a multilayer perceptron.

    Shape: [batch, frames, dims] -> logits [batch, classes]
    """

    def __init__(self, shape: tuple[int, int], classes: int, options: Options) -> None:
        super().__init__()
        self.view = View(shape, options.view, options.input)
        widths = (self.view.width, *options.layers)
        self.layers = nn.Sequential(
            *(
                Layer(inputs, outputs, options.activation, options.batch_norm)
                for inputs, outputs in zip(widths, options.layers, strict=False)
            )
        )
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.layers(self.view(x))))
        return logits


build = Deep
