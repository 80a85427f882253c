"""How fast the models are beside YAMNet: the tables of docs/benchmarks.md, and what is to be reached.

    earwitness bench --only models

`model_cases` has what is measured, in a process of its own with one thread. A time is the median over the rounds;
a ratio is the median of the ratios of each round, so that both sides have met the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from ...stream.bench import machine
from ...stream.clock import iso
from .frontend import measured_apart
from .model_cases import BATCHES, FP32, FRONT_END, INT8, LITERT, TORCH, YAMNET, case_of

PACKAGES = ("numpy", "onnxruntime", "torch", "ai-edge-litert")
WINDOWED_GOAL, STREAM_GOAL = 5.0, 10.0  # times as fast as YAMNet
LIVE_HOP_S = 0.1  # of a model that goes on


@dataclass(frozen=True)
class Figures:
    """What `model_cases.measure` tells."""

    models: dict[str, dict[str, Any]]
    missing: dict[str, str]
    rounds: list[dict[str, float]]  # CPU seconds of one decision of each case, round by round

    def has(self, case: str) -> bool:
        return case in self.rounds[0]

    def ours(self) -> list[str]:
        """The models that have our front end."""
        return [name for name in self.models if name != YAMNET]

    def hop_s(self, model: str) -> float:
        """Seconds from one decision to the next."""
        return float(self.models[model]["hop_s"])

    def ms(self, case: str) -> float:
        """CPU milliseconds of one decision."""
        return median(1000 * costs[case] for costs in self.rounds)

    def per_decision(self, model: str, runtime: str, batch: int, hop_s: float) -> float:
        """How many times as fast as a window of YAMNet's a decision is, with our front end over `hop_s` of sound."""
        yamnet, ours = case_of(YAMNET, LITERT, 1), case_of(model, runtime, batch)
        front_end, own_hop_s = case_of(model, FRONT_END, batch), self.hop_s(model)
        return median(costs[yamnet] / (costs[ours] + costs[front_end] * hop_s / own_hop_s) for costs in self.rounds)

    def per_second(self, model: str, runtime: str, batch: int) -> float:
        """The same of a second of sound, where each model decides at its own hop."""
        hop_s = self.hop_s(model)
        return self.per_decision(model, runtime, batch, hop_s) * hop_s / self.hop_s(YAMNET)


def bench_models(tell: Callable[[str], None], quick: bool = False) -> list[str]:
    """Measures, about five minutes long or one, tells each line, and returns them. Raises EarwitnessError."""
    from .gpu import gpu_lines

    figures = Figures(**measured_apart("model_cases", "the models", quick))
    lines = [f"Measured on {iso(time.time_ns())[:10]}: {machine(PACKAGES)}.", "", *model_lines(figures)]
    lines += ["## Models on a GPU", "", *gpu_lines(), ""]
    for line in lines:
        tell(line)
    return lines


def model_lines(figures: Figures) -> Iterator[str]:
    """All tables."""
    yield from contender_lines(figures)
    yield f"## CPU milliseconds of a decision, the model alone, {len(figures.rounds)} rounds"
    yield from ("", *cost_lines(figures, lambda case: f"{figures.ms(case):.3f}"), "")
    yield "## Decisions per second and core, the model alone"
    yield from ("", *cost_lines(figures, lambda case: f"{1000 / figures.ms(case):,.0f}"), "")
    yield from front_end_lines(figures)
    yield from goal_lines(figures)


def contender_lines(figures: Figures) -> Iterator[str]:
    """Who takes part, and what a decision of each is."""
    yield from ("| model | parameters | a decision is | it comes every | |", "| --- " * 5 + "|")
    for name, told in figures.models.items():
        what = "a hop" if told["goes_on"] else f"a window of {told['window_s']:.3f} s"
        parameters = f"{told['parameters']:,}" if told["parameters"] else ""
        yield f"| {name} | {parameters} | {what} | {told['hop_s']:.4g} s | {told['remark']} |"
    for name, why in figures.missing.items():
        yield from ("", f"Not measured: {name}, {why}.")
    yield ""


def cost_lines(figures: Figures, cell: Callable[[str], str]) -> Iterator[str]:
    """A row for each model in each runtime, a column for each batch."""
    yield from _head("decisions in one call")
    for model in figures.models:
        for runtime in (TORCH, FP32, INT8, LITERT):
            cases = [case_of(model, runtime, batch) for batch in BATCHES]
            if any(map(figures.has, cases)):
                cells = [cell(case) if figures.has(case) else "" for case in cases]
                yield f"| {model}, {runtime} | {' | '.join(cells)} |"


def front_end_lines(figures: Figures) -> Iterator[str]:
    yield "## CPU milliseconds of the front end for a decision"
    yield from ("", *_head("streams in one push"))
    for model in figures.ours():
        cells = [f"{figures.ms(case_of(model, FRONT_END, batch)):.3f}" for batch in BATCHES]
        yield f"| {model}, {figures.hop_s(model):.4g} s of sound | {' | '.join(cells)} |"
    yield ""


def goal_lines(figures: Figures) -> Iterator[str]:
    """How many times as fast as YAMNet, front ends included, and whether that is what was to be reached."""
    yield from ("## Times as fast as YAMNet, front ends included", "")
    if not figures.has(case_of(YAMNET, LITERT, 1)):
        yield from ("There is nothing to compare with: YAMNet was not measured.", "")
        return
    yield from _head("decisions in one call", "goal")
    for what, goal, values in goals(figures):
        cells = [f"{value:.2f}" if value >= goal else f"**{value:.2f}**" for value in values]
        yield f"| {what} | >= {goal:g} | {' | '.join(cells)} |"
    yield from (
        "",
        "In bold what misses its goal. YAMNet's file takes one window a call, and costs the same in any batch.",
        "",
    )


def goals(figures: Figures) -> Iterator[tuple[str, float, list[float]]]:
    """What is compared, the least that is wanted, and the figure for each batch."""
    rate_s = figures.hop_s(YAMNET)
    for model in figures.ours():
        hop_s, goes_on = figures.hop_s(model), figures.models[model]["goes_on"]
        for runtime in (FP32, INT8):
            if not figures.has(case_of(model, runtime, BATCHES[0])):
                continue
            if goes_on:
                told = f"{model}, {runtime}: a decision every {hop_s:.4g} s, beside a window of YAMNet's as often"
                yield told, STREAM_GOAL, [figures.per_decision(model, runtime, batch, hop_s) for batch in BATCHES]
                continue
            told = f"{model}, {runtime}: a second of sound, a decision every {rate_s:.4g} s by both"
            yield told, WINDOWED_GOAL, [figures.per_decision(model, runtime, batch, rate_s) for batch in BATCHES]
            told = f"{model}, {runtime}: a second of sound, every {hop_s:.4g} s by ours, every {rate_s:.4g} s by YAMNet"
            yield told, WINDOWED_GOAL, [figures.per_second(model, runtime, batch) for batch in BATCHES]


def _head(*first: str) -> Iterator[str]:
    columns = (*first, *map(str, BATCHES))
    yield f"| {' | '.join(columns)} |"
    yield "| --- " * len(columns) + "|"
