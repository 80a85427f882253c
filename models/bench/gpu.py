"""How many real-time streams a GPU holds, and how late their scores come: a part of `earwitness bench --only models`.

A step is what the classify node does where all streams are in step: the next window of each lies in this process's
memory, and is done when its probabilities are back there. So many streams are real-time as long as 99 of 100 steps
take less than the time between two decisions. The front end is not in it: where it runs on the GPU, it is measured in
`tensors`. On the CPU the measurement takes the same way, for tests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..bundle import Bundle
from ..runtime import WEIGHTS, Scorer, TorchRuntime
from .model_cases import contenders, windows_of_streams

STREAMS = (64, 256, 1024, 2048, 4096, 8192, 16384)
TOGETHER = (32, 0)  # windows in one call: as many as the classify node takes at most; all
WARM_UP = 3
STEPS, MOST_S = 300, 5.0


class GpuSpeed(NamedTuple):
    """Steps of so many streams.

    Attributes:
        streams: how many.
        together: windows in one call at most; 0 is all.
        p50_s, p99_s: wall time of a step.
        real_time: whether 99 of 100 steps were done before the next decision was due.
    """

    streams: int
    together: int
    p50_s: float
    p99_s: float
    real_time: bool


def gpu_lines(streams: Sequence[int] = STREAMS) -> Iterator[str]:
    """The measurement as lines of docs/benchmarks.md; nothing but a remark where there is no GPU."""
    if not torch.cuda.is_available():
        yield "Models on CUDA were not measured: there is no CUDA device here."
        return
    yield f"Streams in step on {torch.cuda.get_device_name()}, windows from the host, probabilities back there."
    columns = ("model", "windows in one call", "real-time streams", "of tried", "p50 at so many, ms", "p99, ms")
    yield from ("", f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|")
    for bundle in (each.bundle for each in contenders() if WEIGHTS in each.bundle.contents):
        for together in TOGETHER:
            speeds = list(measure_gpu(bundle, "cuda", streams, together))
            held = max((speed for speed in speeds if speed.real_time), default=None)
            row = (f"{held.streams:,}", speeds[-1].streams, 1e3 * held.p50_s, 1e3 * held.p99_s) if held else None
            told = "{} | {:,} | {:.1f} | {:.1f}".format(*row) if row else f"fewer than {streams[0]} | | |"
            yield f"| {bundle.manifest.name} | {together or 'all'} | {told} |"


def measure_gpu(
    bundle: Bundle, device: str, streams: Sequence[int], together: int = 0, steps: int = STEPS
) -> Iterator[GpuSpeed]:
    """More and more streams, until they are no longer real-time or the device's memory is full."""
    manifest = bundle.manifest
    hop_s = manifest.hop_frames * manifest.front_end.hop_length / manifest.front_end.sr
    runtime = TorchRuntime(bundle, device)
    for number in streams:
        try:
            times = _step_times(Scorer(runtime, manifest.states), bundle, number, together or number, steps)
        except torch.cuda.OutOfMemoryError:
            return
        p50_s, p99_s = map(float, np.percentile(times, (50, 99)))
        yield GpuSpeed(number, together, p50_s, p99_s, p99_s < hop_s)
        if p99_s >= hop_s:
            return


def _step_times(scorer: Scorer, bundle: Bundle, streams: int, together: int, steps: int) -> list[float]:
    sets = windows_of_streams(bundle.manifest, streams, 2)
    times: list[float] = []
    end = float("inf")
    for number in range(WARM_UP + steps):
        windows = sets[number % len(sets)]
        begun = time.perf_counter()
        for first in range(0, streams, together):
            rows = range(first, min(first + together, streams))
            scorer.scores(windows[first : first + together], rows)
        times.append(time.perf_counter() - begun)
        if number + 1 == WARM_UP:
            end = time.perf_counter() + MOST_S
        if time.perf_counter() > end and len(times) > WARM_UP:
            break
    return times[WARM_UP:]
