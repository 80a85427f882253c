"""From the values of every frame to one row for the window."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

SummaryKind = Literal["mean_max", "mean", "max", "statistics", "attention"]


class Summary(nn.Module):
    """One row for a window, whatever its number of frames.

    Args:
        values: of each frame.
        kind: "mean"; "max"; "mean_max", both; "statistics", mean and standard deviation (the pooling of x-vectors,
            Snyder et al., 2018); "attention", a mean weighted by a softmax over frames that is learnt for each value.

    Shape: [batch, values, frames], or maps [batch, values, frames, bands] -> [batch, `width`]
    """

    def __init__(self, values: int, kind: SummaryKind) -> None:
        super().__init__()
        self.kind = kind
        self.width = values * (2 if kind in ("mean_max", "statistics") else 1)
        if kind == "attention":
            self.attention = nn.Conv1d(values, values, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind in ("attention", "statistics"):
            x = x.flatten(2)
        if self.kind == "attention":
            return (x * torch.softmax(self.attention(x), dim=2)).sum(2)
        parts, places = [], tuple(range(2, x.dim()))
        if self.kind != "max":
            parts.append(x.mean(places))
        if self.kind in ("max", "mean_max"):
            parts.append(x.amax(places))
        if self.kind == "statistics":
            parts.append(deviation(x, parts[0]))
        return torch.cat(parts, dim=1)


def deviation(x: Tensor, mean: Tensor) -> Tensor:
    """Standard deviation over the last axis; a hair above 0 where nothing changes, so that it has a gradient there."""
    return torch.sqrt((x - mean.unsqueeze(-1)).square().mean(-1) + 1e-6)
