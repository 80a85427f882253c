"""How large a network is, and how much arithmetic a window costs."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def parameters(network: nn.Module) -> int:
    """The numbers that are learnt."""
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module, shape: tuple[int, int]) -> int:
    """Multiply-adds for one window, in use (`registry.for_use` first, if norms are not to be there).

    Convolutions, linear layers and recurrent cells are counted, as is usual (thop, fvcore); what is done value by value
    (activations, norms, gates) is not. `torch.utils.flop_counter` counts twice as many operations, without cells.

    Args:
        shape: (window_frames, dims).
    """
    counted = 0

    def count(layer: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        nonlocal counted
        if isinstance(layer, nn.modules.conv._ConvTransposeNd):
            counted += given[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.modules.conv._ConvNd):
            counted += made.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            counted += made.numel() * layer.in_features
        elif isinstance(layer, nn.RNNBase):
            frames = given[0].numel() // layer.input_size
            counted += frames * sum(value.numel() for value in layer.parameters() if value.ndim > 1)

    watched = copy.deepcopy(network).eval()
    for layer in watched.modules():
        layer.register_forward_hook(count)
    with torch.inference_mode():
        watched(torch.zeros(1, *shape, device=next(watched.parameters()).device))
    return counted
