"""The process that measures the front end beside others: `python -m earwitness.models.bench.rounds [--quick]`.

All cases are made first. Then every round goes through all of them, forth and back in turn, so that a machine that
grows slower does so for all; a case works for about `SPELL_S` each time. The time is CPU time of the whole process, and
`frontend` starts it with one thread for every library. After that: two threads and two processes by wall time,
and front ends that have run for long. The last line it prints is JSON.
"""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing
import os
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...stream.features.frontend import FrontEnd
from .contenders import BLOCKS, SPECS, Makers, Step, blocks_of, live_makers, makers, ours

SPELL_S = 0.04
FEWEST_ROUNDS = 3
WALL_CASES = {
    "ours": [ours(what, 256, block) for what in SPECS if what != "cwt" for block in BLOCKS],
    "kaldi_native_fbank": [f"kaldi, {block}" for block in BLOCKS],
    "librosa": ["librosa, 60 s at once"],
    "torchaudio": ["torchaudio, 60 s at once"],
    "opensmile": ["opensmile, 60 s at once"],
}
PUSHES = 100_000
TIMED = 500  # pushes that the time of one is the median of


def measure(quick: bool = False) -> dict[str, Any]:
    """Everything, for `frontend` to make tables of."""
    cases, missing = makers()
    most_s = 1.0 if quick else 20.0
    return {
        "missing": missing,
        "rounds": rounds(cases, 5.0 if quick else 75.0),
        "wall": wall(("kaldi_native_fbank",) if quick else tuple(WALL_CASES)[1:], 0.1 if quick else 0.4),
        "memory": {what: FrontEnd(spec).bytes_per_stream for what, spec in SPECS.items()},
        "age": {what: age(what, PUSHES, most_s if what == "log_mel" else most_s / 3) for what in SPECS},
    }


def rounds(cases: Makers, duration_s: float) -> list[dict[str, float]]:
    """CPU seconds for each of what a step returns (seconds of sound, or decisions), of each case in each round.

    As many rounds as fit into the time, but at least some.
    """
    _say(f"making {len(cases)} cases")
    spells = {name: _spell(make()) for name, make in cases.items()}
    measured: list[dict[str, float]] = []
    end = time.monotonic() + duration_s
    for number in itertools.count(1):
        _say(f"round {number}")
        order = list(spells.items())[:: 1 if number % 2 else -1]
        measured.append({name: spell() for name, spell in order})
        if number >= FEWEST_ROUNDS and time.monotonic() > end:
            return measured
    raise AssertionError


def _spell(step: Step) -> Callable[[], float]:
    """The step so often that it takes a measurable time; warm it is by then."""
    begun = time.process_time()
    step()
    often = 1
    if time.process_time() - begun < 10 * SPELL_S:  # else it is long enough by far, slow as the first call may be
        times, total = 0, 0.0
        begun = time.process_time()
        while total < SPELL_S:
            step()
            times, total = times + 1, time.process_time() - begun
        often = max(1, math.ceil(times * SPELL_S / total))

    def spell() -> float:
        begun = time.process_time()
        seconds = sum(step() for _ in range(often))
        return (time.process_time() - begun) / seconds

    return spell


def wall(peers: tuple[str, ...], duration_s: float) -> dict[str, dict[str, float]]:
    """Seconds of sound per second of wall time: one thread, two threads, two processes, each with its own streams."""
    cases, missing = live_makers(peers)
    peers = tuple(peer for peer in peers if peer not in missing)
    there = [name for peer in ("ours", *peers) for name in WALL_CASES[peer] if name in cases]
    _say("two threads, two processes")
    one: list[dict[str, float]] = []
    _work(there, peers, duration_s, threading.Barrier(1), one)
    threads: list[dict[str, float]] = []
    barrier = threading.Barrier(2)
    workers = [threading.Thread(target=_work, args=(there, peers, duration_s, barrier, threads)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        processes: Any = manager.list()
        gate = context.Barrier(2)
        children = [context.Process(target=_work, args=(there, peers, duration_s, gate, processes)) for _ in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        both = list(processes)
    kinds = {"one thread": one, "two threads": threads, "two processes": both}
    return {name: {kind: sum(part[name] for part in parts) for kind, parts in kinds.items()} for name in there}


def _work(names: list[str], peers: tuple[str, ...], duration_s: float, gate: Any, results: Any) -> None:
    """Each case for so long, all workers at the same time; the sum of their speeds is what is told."""
    warnings.simplefilter("ignore")
    cases, _ = live_makers(peers)
    steps = {name: cases[name]() for name in names}
    speeds = {}
    for name, step in steps.items():
        step()
        gate.wait(300)
        begun, seconds, now = time.monotonic(), 0.0, 0.0
        while now < duration_s:
            seconds += step()
            now = time.monotonic() - begun
        speeds[name] = seconds / now
    results.append(speeds)


def age(what: str, pushes: int, most_s: float) -> dict[str, float]:
    """One stream in 10 ms blocks: what a push takes when it is young and when it is old, and what memory has grown.

    Twice so many pushes, or as many as fit into the time: by themselves, then under `tracemalloc`, which slows them.
    """
    _say(f"age of {what}")
    front_end = FrontEnd(SPECS[what])
    blocks = itertools.cycle(blocks_of(1, BLOCKS["10 ms"]))

    def push(number: int) -> int:
        until = time.monotonic() + most_s
        for done in range(number):
            if not done % 256 and time.monotonic() > until:
                return done
            front_end.push(next(blocks))
        return number

    def median_us() -> float:
        times = []
        for _ in range(TIMED):
            begun = time.perf_counter()
            front_end.push(next(blocks))
            times.append(time.perf_counter() - begun)
        return 1e6 * float(np.median(times))

    median_us()
    young, resident = median_us(), _resident()
    told = {"young_us": young, "pushes": push(pushes), "old_us": median_us()}
    told["grown_resident_bytes"] = _resident() - resident
    tracemalloc.start()
    push(500)
    held = tracemalloc.get_traced_memory()[0]
    told["traced"] = push(pushes)
    told["grown_bytes"] = tracemalloc.get_traced_memory()[0] - held
    tracemalloc.stop()
    return told


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(measure(quick="--quick" in sys.argv)))
