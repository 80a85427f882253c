"""How fast the front end is on tensors: log-mel of many live streams on a GPU, and what copying to it costs.

`measure_tensors` is a part of `earwitness bench` where there is a CUDA device. On the CPU it takes the same way, for
tests and for those who wonder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from ...stream.features.spec import FrontEndSpec
from ..frontend_streams import TorchStreams

STREAMS = 1000
BLOCKS_S = (0.1, 1.0)
WARM_UP = 3


class TensorSpeed(NamedTuple):
    """What steps of one size took; a step copies a block of each stream to the device and computes its frames there.

    Attributes:
        device: its name.
        streams, block_s: what a step has.
        step_s, copy_s: median times of a step, and of the copying in it. On CUDA by the device's own events.
    """

    device: str
    streams: int
    block_s: float
    step_s: float
    copy_s: float

    @property
    def audio_s_per_s(self) -> float:
        """Seconds of sound of all streams together, each second."""
        return self.streams * self.block_s / self.step_s

    @property
    def copy_share(self) -> float:
        """Share of the step that is copying, 0..1."""
        return self.copy_s / self.step_s


def tensor_lines(streams: int = STREAMS, steps: int = 30) -> Iterator[str]:
    """The measurement as lines of docs/benchmarks.md; nothing but a remark where there is no GPU."""
    if not torch.cuda.is_available():
        yield "Log-mel on CUDA was not measured: there is no CUDA device here."
        return
    speeds = [measure_tensors(streams, block_s, steps, "cuda") for block_s in BLOCKS_S]
    yield f"Log-mel of {streams} streams on {speeds[0].device}, samples from pinned memory, medians of {steps} steps."
    yield from ("", "| block, s | seconds of sound per second | step, ms | of it copying to the device, % |")
    yield "| --- | --- | --- | --- |"
    for speed in speeds:
        yield (
            f"| {speed.block_s:g} | {speed.audio_s_per_s:,.0f} | {1e3 * speed.step_s:.2f} | "
            f"{100 * speed.copy_share:.0f} |"
        )


def measure_tensors(
    streams: int, block_s: float, steps: int, device: str, spec: FrontEndSpec | None = None
) -> TensorSpeed:
    """Log-mel of so many streams in step, each block copied from pinned memory, after a few steps to warm up."""
    spec = spec or FrontEndSpec()
    front_end = TorchStreams(spec, streams, device)
    host = 0.1 * torch.randn(streams, round(block_s * spec.sr), generator=torch.Generator().manual_seed(1))
    if front_end.device.type == "cuda":
        host, name, step = host.pin_memory(), torch.cuda.get_device_name(front_end.device), _step_on_cuda
    else:
        name, step = "CPU", _step_on_cpu
    slots = torch.arange(streams)

    def compute(blocks: Tensor) -> None:
        front_end.push(slots, blocks)

    times = [step(host, front_end.device, compute) for _ in range(WARM_UP + steps)][WARM_UP:]
    return TensorSpeed(name, streams, block_s, median(sum(both) for both in times), median(copy for copy, _ in times))


def _step_on_cuda(host: Tensor, device: torch.device, compute: Callable[[Tensor], None]) -> tuple[float, float]:
    """Seconds that copying and computing took on the device."""
    begun, copied, done = (torch.cuda.Event(enable_timing=True) for _ in range(3))
    torch.cuda.synchronize(device)
    begun.record()
    blocks = host.to(device, non_blocking=True)
    copied.record()
    compute(blocks)
    done.record()
    done.synchronize()
    return begun.elapsed_time(copied) / 1e3, copied.elapsed_time(done) / 1e3


def _step_on_cpu(host: Tensor, device: torch.device, compute: Callable[[Tensor], None]) -> tuple[float, float]:
    """The same by the clock; copying is a copy in memory."""
    begun = time.perf_counter()
    blocks = host.to(device, copy=True)
    copied = time.perf_counter()
    compute(blocks)
    return copied - begun, time.perf_counter() - copied
