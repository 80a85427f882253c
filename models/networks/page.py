"""The page on the networks, made from the registry: `python -m earwitness.models.networks.page`."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from .counts import macs, parameters
from .registry import NETWORKS, build_network, describe, for_use

WINDOW = (96, 64)  # a second of log-mels
SAMPLES = (16000, 1)  # a second
CLASSES = 10


def reference_page() -> str:
    """Every network with its options as Markdown, for docs/reference/networks.md."""
    lines = [
        "# Networks",
        "",
        "Made by `python -m earwitness.models.networks.page`; a test holds this page to the code.",
        "",
        "`earwitness train --network NAME --data DATA` trains one, `--set network.OPTION=VALUE` changes an option, and",
        "`earwitness train --network NAME --help` tells these tables too. Parameters and multiply-adds are those of",
        "the defaults in use, for ten labels and a second of sound: 96 frames of 64 log-mels; `cnn1d` takes 16,000",
        "samples, `stream` a hop of 100 ms, ten of which are a second.",
        "",
        "| network | what it is | parameters | million multiply-adds |",
        "| --- | --- | --- | --- |",
    ]
    for kind, line in NETWORKS.items():
        size, cost = _cost(kind)
        lines.append(f"| [`{kind}`](#{kind}) | {line} | {size:,} | {cost / 1e6:.2f} |")
    for kind in NETWORKS:
        text = inspect.getdoc(importlib.import_module(f".{kind}", __package__)) or ""
        lines += ["", f"## {kind}", "", text, "", "| option | type | default | what |", "| --- | --- | --- | --- |"]
        lines += [f"| `{name}` | {shape} | {_told(value)} | {what} |" for name, shape, value, what in describe(kind)]
    return "\n".join(lines) + "\n"


def _cost(kind: str) -> tuple[int, int]:
    shape = SAMPLES if kind == "cnn1d" else WINDOW
    used = for_use(build_network(kind, shape, 2 if kind == "autoencoder" else CLASSES, {}))
    if hasattr(used, "hop_frames"):
        shape = (used.hop_frames, shape[1])  # type: ignore[assignment]
    return parameters(used), macs(used, shape)


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{list(value) if isinstance(value, tuple) else value}`"


if __name__ == "__main__":
    print(reference_page(), end="")
