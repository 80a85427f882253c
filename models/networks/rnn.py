"""The plain recurrent network: the memory is bent anew at every frame, so what is long ago fades, and so do gradients.

Elman, 1990, https://doi.org/10.1207/s15516709cog1402_1.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from torch import nn

from .recurrent import Recurrent, RecurrentOptions


class Options(RecurrentOptions, frozen=True, kw_only=True):
    """See `Recurrent`."""

    activation: Annotated[Literal["tanh", "relu"], Meta(description="what bends the sums of a cell")] = "tanh"


def build(shape: tuple[int, int], classes: int, options: Options) -> Recurrent:
    """See `registry.build_network`."""
    cells = nn.RNN(
        shape[1], options.hidden, options.layers, options.activation, batch_first=True,
        bidirectional=options.bidirectional,
    )  # fmt: skip
    return Recurrent(cells, classes, options)
