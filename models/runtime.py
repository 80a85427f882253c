"""Runs a bundle: windows in, probabilities out. ONNX Runtime or LiteRT on a CPU; torch on CUDA where both are there.

Importing this loads none of them; a live process on a CPU never loads torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ..stream.errors import EarwitnessError, nearest
from .bundle import Bundle
from .runtimes import litert, onnx
from .runtimes.layout import Array, Tensor, activate
from .runtimes.litert import LiteRtRuntime
from .runtimes.onnx import OnnxRuntime
from .runtimes.scorer import Scorer
from .runtimes.torch import WEIGHTS, TorchRuntime, read_safetensors
from .runtimes.transformers import TransformersRuntime, is_transformers

__all__ = [
    "DEVICES", "WEIGHTS", "LiteRtRuntime", "OnnxRuntime", "Runtime", "Scorer", "TorchRuntime",
    "TransformersRuntime", "activate", "open_runtime", "read_safetensors", "why_no_cuda",
]  # fmt: skip

DEVICES = ("auto", "cpu", "cuda")


class Runtime(Protocol):
    """A bundle that is ready to score."""

    device: str  # "cpu" or "cuda"

    def scores(self, windows: Array) -> Array:
        """Probabilities 0..1 [batch, labels] of windows [batch, window_frames, dims] as the front end made them.

        Those of a stateful bundle are taken for consecutive ones of one stream, from its beginning on.
        """
        ...

    def call(self, windows: Array, states: Mapping[str, Tensor]) -> tuple[Array, dict[str, Tensor]]:
        """One window each of as many streams, with what these carry and will carry; see `GraphRuntime.call`."""
        ...


def open_runtime(bundle: Bundle, device: str = "auto", threads: int = 1) -> Runtime:
    """Make a bundle ready to run.

    Args:
        device: "cpu"; "cuda", which must be there; "auto": CUDA where a GPU, torch for it and the bundle's weights for
            torch are there, else the CPU.
        threads: CPU threads for one batch.

    Raises:
        EarwitnessError: no such device, CUDA asked for and not there, or a model that does not fit its manifest.
    """
    if device not in DEVICES:
        raise EarwitnessError(f"unknown device {device!r}: {nearest(device, DEVICES)}")
    obstacle = None if device == "cpu" else why_no_cuda(bundle)
    if device == "cuda" and obstacle:
        raise EarwitnessError(f"device 'cuda': {obstacle}; --device cpu works everywhere")
    if is_transformers(bundle):
        if device == "auto" and obstacle:
            raise EarwitnessError(
                f"{bundle.manifest.name} runs in torch, which a run on the CPU loads only where that is asked for: "
                "--device cpu"
            )
        return TransformersRuntime(bundle, "cpu" if device == "cpu" else "cuda")
    if device == "cpu" or obstacle:
        if litert.MODEL in bundle.contents and onnx.MODEL not in bundle.contents:
            return LiteRtRuntime(bundle, threads)
        return OnnxRuntime(bundle, threads)
    return TorchRuntime(bundle, "cuda")


def why_no_cuda(bundle: Bundle) -> str | None:
    """What keeps this bundle from running on a GPU here; None when nothing does.

    torch is loaded only where an NVIDIA driver is: a process that ends up on the CPU shall not carry it.
    """
    if not any(map(Path.exists, map(Path, ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")))):
        return "no NVIDIA GPU is to be seen"
    if bundle.manifest.network is None or WEIGHTS not in bundle.contents:
        return f"{bundle.manifest.name} has no weights for torch"
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed (pip install 'earwitness[gpu]')"
    import torch

    return None if torch.cuda.is_available() else "torch sees no CUDA device"
