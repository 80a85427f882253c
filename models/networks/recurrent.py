"""What the recurrent networks `rnn`, `lstm` and `gru` have in common: cells that carry a memory from frame to frame."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from .inputs import InputKind, Normalised
from .registry import Dropout, NetworkOptions
from .summaries import Summary


class RecurrentOptions(NetworkOptions, frozen=True, kw_only=True):
    """See `Recurrent`."""

    hidden: Annotated[int, Meta(ge=1, description="values of the memory, in each layer and direction")] = 96
    layers: Annotated[int, Meta(ge=1, description="layers of cells")] = 2
    bidirectional: Annotated[bool, Meta(description="go through the window backwards too")] = False
    summary: Annotated[
        Literal["last", "mean_max", "mean", "max", "statistics", "attention"],
        Meta(description="what is kept of the frames' memories; last: that of the last one"),
    ] = "mean_max"
    dropout: Dropout = 0.2
    input: InputKind = "decibels"


class Recurrent(nn.Module):
    """Logits from the memories of the last layer.

    Args:
        cells: given the number of values of a frame; takes [batch, frames, dims], gives [batch, frames, width] first.

    Shape: [batch, frames, dims] -> logits [batch, classes]
    """

    def __init__(self, cells: nn.RNNBase, classes: int, options: RecurrentOptions) -> None:
        super().__init__()
        self.input = Normalised(cells.input_size, options.input)
        self.cells = cells
        self.directions = 2 if options.bidirectional else 1
        width = options.hidden * self.directions
        self.summary = None if options.summary == "last" else Summary(width, options.summary)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear((self.summary.width if self.summary else width) + 1, classes)

    def forward(self, x: Tensor) -> Tensor:
        x, level = self.input(x)
        memories, last = self.cells(x)
        if self.summary is None:
            last = last[0] if isinstance(last, tuple) else last  # an LSTM has its cells' states beside
            kept = last[-self.directions :].transpose(0, 1).reshape(-1, self.head.in_features - 1)
        else:
            kept = self.summary(memories.transpose(1, 2))
        logits: Tensor = self.head(self.dropout(torch.cat([kept, level], dim=1)))
        return logits
