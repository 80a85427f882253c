"""The shallow network: one hidden layer, which is enough to tell apart what no straight line can."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from torch import Tensor, nn

from .activations import ActivationKind, activation
from .inputs import InputKind
from .registry import Dropout, NetworkOptions
from .views import View, ViewKind


class Options(NetworkOptions, frozen=True, kw_only=True):
    """See `Shallow`."""

    hidden: Annotated[int, Meta(ge=1, description="neurons of the hidden layer")] = 128
    activation: ActivationKind = "relu"
    dropout: Dropout = 0.1
    view: ViewKind = "statistics"
    input: InputKind = "decibels"


class Shallow(nn.Module):
    """Logits of one hidden layer.

    Shape: [batch, frames, dims] -> logits [batch, classes]
    """

    def __init__(self, shape: tuple[int, int], classes: int, options: Options) -> None:
        super().__init__()
        self.view = View(shape, options.view, options.input)
        self.hidden = nn.Linear(self.view.width, options.hidden)
        self.activation = activation(options.activation)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(options.hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.activation(self.hidden(self.view(x)))))
        return logits


build = Shallow
