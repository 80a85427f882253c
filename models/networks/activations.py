"""The activations that a network's options may name."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from torch import nn

Activation = Literal["relu", "elu", "softplus", "sigmoid", "tanh", "gelu", "silu"]
ActivationKind = Annotated[Activation, Meta(description="what bends the sums of a layer")]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
"""By name; sigmoid and tanh are there to be compared: deep networks of them learn slowly, their gradients vanish."""


def activation(name: Activation) -> nn.Module:
    """The module of that name."""
    return ACTIVATIONS[name]()
