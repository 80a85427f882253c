"""Long short-term memory: cells with gates for what comes in, stays and goes out.

Hochreiter and Schmidhuber, 1997, https://doi.org/10.1162/neco.1997.9.8.1735.
"""

from __future__ import annotations

from torch import nn

from .recurrent import Recurrent, RecurrentOptions


class Options(RecurrentOptions, frozen=True, kw_only=True):
    """See `Recurrent`."""


def build(shape: tuple[int, int], classes: int, options: Options) -> Recurrent:
    """See `registry.build_network`."""
    cells = nn.LSTM(shape[1], options.hidden, options.layers, batch_first=True, bidirectional=options.bidirectional)
    return Recurrent(cells, classes, options)
