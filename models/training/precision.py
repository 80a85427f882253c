"""In which precision the products of a training run are computed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from ...stream.errors import EarwitnessError


class Precision:
    """Autocast for the forward pass, and for fp16 the scaling of gradients that keeps small ones.

    Weights, losses, norms and the optimizer are float32 always.

    Args:
        name: "fp32", "bf16", "fp16", or "auto": bf16 where the device has units for its products (CUDA from
            capability 8.0 on, CPUs with AMX: dense convolutions are several times as fast), else fp32.
        device: "cpu" or "cuda".

    Attributes:
        name: "fp32", "bf16" or "fp16".
        scaler: scales the loss; does nothing but for fp16.
    """

    def __init__(self, name: str, device: str) -> None:
        kind = torch.device(device).type
        if name == "auto":
            name = "bf16" if _has_units(kind) else "fp32"
        if name not in ("fp32", "bf16", "fp16"):
            raise EarwitnessError(f"no precision {name!r}: fp32, bf16, fp16 or auto")
        self.name = name
        self._kind = kind
        self.scaler = torch.amp.GradScaler(kind, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager[object]:
        """For the forward pass."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self._kind, torch.bfloat16 if self.name == "bf16" else torch.float16)


def _has_units(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.get_device_capability()[0] >= 8
    return kind == "cpu" and torch.cpu._is_amx_tile_supported()
