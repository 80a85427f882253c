"""The perceptron: one linear layer from a window's numbers to the logits, and nothing hidden between.

Rosenblatt, 1958, https://doi.org/10.1037/h0042519, with softmax and its gradient in place of his rule.
"""

from __future__ import annotations

from torch import Tensor, nn

from .inputs import InputKind
from .registry import NetworkOptions
from .views import View, ViewKind


class Options(NetworkOptions, frozen=True, kw_only=True):
    """See `Perceptron`."""

    view: ViewKind = "statistics"
    input: InputKind = "decibels"


class Perceptron(nn.Module):
    """Logits as weighted sums of what it sees.

    Shape: [batch, frames, dims] -> logits [batch, classes]
    """

    def __init__(self, shape: tuple[int, int], classes: int, options: Options) -> None:
        super().__init__()
        self.view = View(shape, options.view, options.input)
        self.head = nn.Linear(self.view.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.view(x))
        return logits


build = Perceptron
