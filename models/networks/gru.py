"""Gated recurrent units: an LSTM with two gates in place of three (Cho et al., 2014, https://arxiv.org/abs/1406.1078)."""

from __future__ import annotations

from torch import nn

from .recurrent import Recurrent, RecurrentOptions


class Options(RecurrentOptions, frozen=True, kw_only=True):
    """See `Recurrent`."""


def build(shape: tuple[int, int], classes: int, options: Options) -> Recurrent:
    """See `registry.build_network`."""
    cells = nn.GRU(shape[1], options.hidden, options.layers, batch_first=True, bidirectional=options.bidirectional)
    return Recurrent(cells, classes, options)
