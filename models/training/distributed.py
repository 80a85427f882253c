"""Several processes that train one network: on several GPUs, on several hosts, or on a CPU's cores.

    torchrun --nproc-per-node 2 -m earwitness.launch train --recipe esc50-cnn --out runs

Each process takes its part of every batch; gradients are averaged by DistributedDataParallel, and batch norms take the
statistics of the whole batch. So the result is that of one process on the whole batch but for rounding, and for
dropout, whose random numbers each process draws for itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ...stream.errors import EarwitnessError

PATIENCE = timedelta(days=1)
"""How long processes wait for the first one, which judges and exports by itself. torchrun ends them if it fails."""


@dataclass(frozen=True)
class World:
    """The processes that train together.

    Attributes:
        rank: the number of this one; number 0 judges, writes and reports.
        size: how many there are.
        device: what this one computes on, as "cuda:1".
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """Whether this is the process that judges, writes and reports."""
        return self.rank == 0

    def share(self, network: nn.Module) -> nn.Module:
        """What to call in place of the network, whose parameters stay its own."""
        if self.size == 1:
            return network
        if self.device.startswith("cuda"):
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        else:
            _sync_norms(network)
        shared: nn.Module = DistributedDataParallel(network)
        return shared

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        if self.size == 1:
            return value
        value = value.clone()
        distributed.all_reduce(value)
        return value / self.size

    def agreed(self, value: float) -> float:
        """What the first process says."""
        if self.size == 1:
            return value
        said = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(said, 0)
        return float(said)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The world that `torchrun` has started this process in; this process alone where nothing has.

    Args:
        device: "cpu" or "cuda"; each process of a host gets a GPU of its own.

    Raises:
        EarwitnessError: more processes on this host than GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=device)
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise EarwitnessError(f"process {local} of this host has no GPU: {torch.cuda.device_count()} are here")
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    try:
        yield World(distributed.get_rank(), size, device)
    finally:
        distributed.destroy_process_group()


class _Sum(torch.autograd.Function):
    """The sum over the processes, and of the gradients on the way back."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


def _sync_norms(network: nn.Module) -> None:
    """torch's SyncBatchNorm is for GPUs alone: on a CPU, the norms' forward is replaced by one over all processes."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = _SyncedForward(module)  # type: ignore[method-assign,assignment]


class _SyncedForward:
    """`forward` of a batch norm, with mean and variance of the whole batch while training."""

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        self._norm = norm

    def __call__(self, x: Tensor) -> Tensor:
        norm = self._norm
        if not norm.training:
            return type(norm).forward(norm, x)
        others = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        values = x.float()
        count = float(_Sum.apply(torch.tensor(float(values.numel() // values.shape[1]))))
        mean: Tensor = _Sum.apply(values.sum(others)) / count
        centred = values - mean.view(shape)
        variance: Tensor = _Sum.apply(centred.square().sum(others)) / count
        with torch.no_grad():
            self._remember(mean, variance * count / max(count - 1, 1))
        scale = torch.rsqrt(variance + norm.eps) * (1.0 if norm.weight is None else norm.weight)
        out: Tensor = centred * scale.view(shape)
        out = out if norm.bias is None else out + norm.bias.view(shape)
        return out.to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        norm = self._norm
        if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
            return
        norm.num_batches_tracked += 1
        share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, share)
        norm.running_var.lerp_(variance, share)
