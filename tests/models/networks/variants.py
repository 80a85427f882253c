"""The networks that tests go through, each small enough for that, with what they take."""

from __future__ import annotations

from typing import Any

import torch

from earwitness.models.networks.registry import NETWORKS, build_network

SHAPES = {"cnn1d": (4500, 1)}
CLASSES = {"autoencoder": 2}
# Variants that compute otherwise than the default.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in NETWORKS),
    ("perceptron", {"view": "flat"}),
    ("perceptron", {"input": "none"}),
    ("deep", {"input": "batch", "activation": "softplus"}),
    ("deep", {"batch_norm": False, "activation": "tanh", "layers": [8]}),
    ("autoencoder", {"input": "batch"}),
    ("rnn", {"activation": "relu", "summary": "last", "bidirectional": True, "hidden": 16}),
    ("lstm", {"bidirectional": True, "layers": 1, "hidden": 16}),
    ("gru", {"summary": "last"}),
    ("tdnn", {"summary": "attention", "input": "batch"}),
    ("cnn", {"block": "basic", "squeeze": 8, "channels": [16, 24], "depth": [1]}),
    ("cnn", {"block": "inverted", "norm": "group", "channels": [16, 24], "depth": [1]}),
]


def build(kind: str, options: dict[str, Any]) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network(kind, SHAPES.get(kind, (40, 64)), CLASSES.get(kind, 3), options)


def windows_of(kind: str, count: int) -> torch.Tensor:
    """Windows as the front end gives them: decibels, or samples."""
    generator = torch.Generator().manual_seed(count)
    noise = torch.randn(count, *SHAPES.get(kind, (40, 64)), generator=generator)
    return 0.1 * noise if kind == "cnn1d" else 12 * noise - 45
