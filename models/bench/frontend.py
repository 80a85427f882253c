"""How fast the front end is beside others: the tables of docs/benchmarks.md, and what is to be reached.

    earwitness bench --only front-end

`contenders` has what is measured, `rounds` how: here a fresh process is started for it, with one thread for
every library, and its figures become tables. A speed is the median over the rounds; a ratio is the median of the ratios
of each round, so that both sides have met the same machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from ...stream.bench import machine
from ...stream.clock import iso
from ...stream.errors import EarwitnessError
from .contenders import BLOCKS, CWT_STREAMS, STREAMS, ours, ours_in

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
"""For the environment: what the libraries read."""


PACKAGES = ("numpy", "scipy", "torch", "torchaudio", "librosa", "kaldi-native-fbank", "opensmile")


@dataclass(frozen=True)
class Figures:
    """What `rounds.measure` tells."""

    rounds: list[dict[str, float]]  # CPU seconds per second of sound of each case, round by round
    missing: dict[str, str]
    wall: dict[str, dict[str, float]]
    memory: dict[str, int]
    age: dict[str, dict[str, float]]

    def has(self, *cases: str) -> bool:
        return all(case in self.rounds[0] for case in cases)

    def named(self, start: str) -> list[str]:
        return [case for case in self.rounds[0] if case.startswith(start)]

    def speed(self, case: str) -> float:
        """Seconds of sound per CPU-second."""
        return median(1 / costs[case] for costs in self.rounds)

    def faster(self, case: str, than: str) -> float:
        """How many times."""
        return median(costs[than] / costs[case] for costs in self.rounds)

    def fastest(self, start: str) -> str:
        return max(self.named(start), key=self.speed)

    def times_floor(self, case: str) -> float:
        """Its time, over that of the fastest FFT and the fastest mel product."""
        fft, product = self.fastest("FFT"), self.fastest("mel product")
        return median(costs[case] / (costs[fft] + costs[product]) for costs in self.rounds)

    def floor_speed(self) -> float:
        fft, product = self.fastest("FFT"), self.fastest("mel product")
        return median(1 / (costs[fft] + costs[product]) for costs in self.rounds)


def bench_front_end(tell: Callable[[str], None], quick: bool = False) -> list[str]:
    """Measures, about four minutes long or one, tells each line, and returns them. Raises EarwitnessError."""
    from .tensors import tensor_lines  # torch, which the tables themselves do without

    figures = measured(quick)
    lines = [f"Measured on {iso(time.time_ns())[:10]}: {machine(PACKAGES)}.", "", *front_end_lines(figures)]
    lines += ["## On a GPU", "", *tensor_lines(), ""]
    for line in lines:
        tell(line)
    return lines


def front_end_lines(figures: Figures) -> Iterator[str]:
    """All tables."""
    yield from log_mel_lines(figures)
    yield from descriptor_lines(figures)
    yield from floor_lines(figures)
    yield from goal_lines(figures)
    yield from wall_lines(figures)
    yield from memory_lines(figures)
    for package, command in figures.missing.items():
        yield from (f"Not measured, since it is not installed: {package} (`{command}`).", "")


def measured(quick: bool = False) -> Figures:
    """The figures, from a process of its own."""
    return Figures(**measured_apart("rounds", "the front end", quick))


def measured_apart(module: str, what: str, quick: bool) -> dict[str, Any]:
    """What a module of this room tells as JSON in its last line, run by itself with one thread for every library.

    Raises:
        EarwitnessError: it failed; what it told of that has gone to standard error.
    """
    command = [sys.executable, "-m", f"earwitness.models.bench.{module}", *(["--quick"] if quick else [])]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise EarwitnessError(f"bench: measuring {what} ended with {done.returncode}; see above")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def log_mel_lines(figures: Figures) -> Iterator[str]:
    yield f"## Log-mel: seconds of 16 kHz sound per CPU-second, one thread, {len(figures.rounds)} rounds"
    yield from ("", f"| in blocks of | {' | '.join(BLOCKS)} |", "| --- " * (1 + len(BLOCKS)) + "|")
    for streams in STREAMS:
        yield _row(_streams(streams), figures, ours_in("log_mel", streams))
    yield _row("256 streams, out of step", figures, ours_in("log_mel out of step", 256))
    for name, start in (
        ("kaldi-native-fbank, OnlineFbank", "kaldi"),
        ("librosa, on each block", "librosa"),
        ("librosa, on each block, filters made once", "librosa with filters made once"),
        ("torchaudio, on each block", "torchaudio"),
    ):
        yield from _if_any(name, figures, start)
    yield ""
    yield from _single_lines(
        figures, ("librosa, 60 s at once", "torchaudio, 60 s at once", "torchaudio, 256 clips of 1 s")
    )


def descriptor_lines(figures: Figures) -> Iterator[str]:
    yield "## Descriptors and wavelets: the same measure"
    yield from ("", f"| in blocks of | {' | '.join(BLOCKS)} |", "| --- " * (1 + len(BLOCKS)) + "|")
    for streams in STREAMS:
        name = f"all time and frequency descriptors, {_streams(streams)}"
        yield from _if_any(name, figures, ours_in("descriptors", streams))
    name = "librosa: RMS, ZCR, centroid, bandwidth, roll-off, flatness, on each block"
    yield from _if_any(name, figures, "librosa descriptors")
    yield from _if_any("openSMILE eGeMAPSv02, begun anew on each block", figures, "opensmile on each")
    yield from _if_any(f"cwt, 64 scales, {CWT_STREAMS} streams", figures, ours_in("cwt", CWT_STREAMS))
    yield ""
    yield from _single_lines(
        figures, ("librosa descriptors, 60 s at once", "opensmile, 60 s at once", "opensmile, 20 s in 100 ms blocks")
    )


def floor_lines(figures: Figures) -> Iterator[str]:
    yield "## The floor: a bare FFT of 512 and a bare product of 257 x 64, the same measure"
    yield from ("", "| | times real time |", "| --- | --- |")
    for case in (*figures.named("FFT"), *figures.named("mel product")):
        yield f"| {case} | {figures.speed(case):,.0f} |"
    yield f"| the fastest of each, times added | {figures.floor_speed():,.0f} |"
    yield ""


def goal_lines(figures: Figures) -> Iterator[str]:
    """What was to be reached, and whether it is."""
    yield from ("## Reached or not", "", "| what | measured | goal | |", "| --- " * 4 + "|")
    for what, value, goal, least in goals(figures):
        sign, met = (">=", value >= goal) if least else ("<=", value <= goal)
        yield f"| {what} | {_number(value)} | {sign} {goal:,g} | {'met' if met else '**missed**'} |"
    yield ""


def goals(figures: Figures) -> Iterator[tuple[str, float, float, bool]]:
    """What, the figure, the goal, and whether that is the least that is wanted, else the most."""
    for streams in (256, 1000):
        for block in BLOCKS:
            case = ours("log_mel", streams, block)
            told = f"log-mel, {streams} streams, {block} blocks"
            yield f"{told}: its time over the floor's", figures.times_floor(case), 2.0, False
            if figures.has(rival := f"kaldi, {block}"):
                yield f"{told}: times as fast as kaldi-native-fbank", figures.faster(case, rival), 8.0, True
    pairs = [
        ("log-mel, 1 stream, 100 ms blocks: times as fast as kaldi-native-fbank",
         ours("log_mel", 1, "100 ms"), "kaldi, 100 ms", 1.0),
        ("log-mel, 1 stream, 10 ms blocks: times as fast as kaldi-native-fbank",
         ours("log_mel", 1, "10 ms"), "kaldi, 10 ms", 0.5),
        ("log-mel, 1 stream, 10 ms blocks: times as fast as librosa on each block",
         ours("log_mel", 1, "10 ms"), "librosa, 10 ms", 25.0),
    ]  # fmt: skip
    pairs += [
        (f"descriptors, 256 streams, {block} blocks: times as fast as openSMILE's eGeMAPS, 60 s at once",
         ours("descriptors", 256, block), "opensmile, 60 s at once", 20.0)
        for block in BLOCKS
    ]  # fmt: skip
    for what, case, rival, goal in pairs:
        if figures.has(case, rival):
            yield what, figures.faster(case, rival), goal, True
    for block in BLOCKS:
        if figures.has(case := ours("cwt", CWT_STREAMS, block)):
            what = f"cwt, 64 scales, {CWT_STREAMS} streams, {block} blocks: seconds per CPU-second"
            yield what, figures.speed(case), 1000.0, True


def wall_lines(figures: Figures) -> Iterator[str]:
    kinds = list(next(iter(figures.wall.values()), {}))
    yield "## One and two threads: seconds of 16 kHz sound per second of wall time"
    yield from ("", f"| | {' | '.join(kinds)} |", "| --- " * (1 + len(kinds)) + "|")
    for case, speeds in figures.wall.items():
        yield f"| {case} | {' | '.join(f'{speeds[kind]:,.0f}' for kind in kinds)} |"
    yield from (
        "",
        "Both threads or processes have streams of their own; their sum is told. Other work on the machine shows here.",
        "",
    )


def memory_lines(figures: Figures) -> Iterator[str]:
    yield "## Memory and age of one stream, 10 ms blocks"
    yield ""
    columns = ("", "bytes per stream", "a push, us", "after so many", "a push, us", "resident grown, kB", "traced",
               "grown, bytes")  # fmt: skip
    yield from (f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|")
    for what, age in figures.age.items():
        yield (
            f"| {what} | {figures.memory[what]:,} | {age['young_us']:.0f} | {age['pushes']:,} | {age['old_us']:.0f} | "
            f"{age['grown_resident_bytes'] / 1024:,.0f} | {age['traced']:,} | {age['grown_bytes']:,} |"
        )
    yield from (
        "",
        "Traced: so many pushes again; grown is what Python and numpy hold more at their end (`tracemalloc`).",
        "",
    )


def _row(name: str, figures: Figures, start: str) -> str:
    """The cases that begin so, block by block."""
    cases = [f"{start}, {block}" for block in BLOCKS]
    cells = [f"{figures.speed(case):,.0f}" if figures.has(case) else "" for case in cases]
    return f"| {name} | {' | '.join(cells)} |"


def _if_any(name: str, figures: Figures, start: str) -> Iterator[str]:
    if any(figures.has(f"{start}, {block}") for block in BLOCKS):
        yield _row(name, figures, start)


def _single_lines(figures: Figures, cases: Iterable[str]) -> Iterator[str]:
    there = [case for case in cases if figures.has(case)]
    if there:
        yield from ("| | times real time |", "| --- | --- |")
        yield from (f"| {case} | {figures.speed(case):,.0f} |" for case in there)
        yield ""


def _streams(number: int) -> str:
    return f"{number:,} stream{'s' if number > 1 else ''}"


def _number(value: Any) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"
