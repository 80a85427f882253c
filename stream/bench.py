"""The measurements of docs/benchmarks.md, taken as a user would: the program is started, and its messages are timed.

    earwitness bench --only program                   all but the last of them, about ten minutes
    earwitness bench --only program --quick           a look, about two minutes
    earwitness bench --minutes 20                     also whether memory grows, over so long
    earwitness bench --page docs/benchmarks.md        and writes the tables there

Without --only the front end and the models are measured too, by themselves: `models/bench/frontend.py` and
`models/bench/models.py`.

Delay is told by stage. A window cannot be scored before its last sample has sounded; what is added to that:

    block      the rest of the block that its last sample came in, and the resampler's and the front end's look-ahead
    features   from the arrival of that block to its features
    classify   from the features to the scores
    deliver    from the scores to a subscriber
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from .bus import ZmqBus, ZmqSubscriber, private_folder
from .clock import iso
from .errors import EarwitnessError
from .messages import Health, ScoreBlock
from .sources.demo import RATE, make_scene

STAGES = ("block", "features", "classify", "deliver", "all")
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
FRONT_END = ("<!-- bench front end: begin -->", "<!-- bench front end: end -->")
MODELS = ("<!-- bench models: begin -->", "<!-- bench models: end -->")
STREAMS = (16, 32, 64, 96, 128, 192, 256)
LATE_S = 1.0  # real-time streams whose scores come later than this are more than the machine can hold


class Load(NamedTuple):
    """What a node took, at one time."""

    at_s: float  # since the start of the run
    rss_bytes: int
    cpu_s: float  # of its life


@dataclass
class Watched:
    """What one run of the program showed to a subscriber, and what it told at its end."""

    code: int = 0
    errors: str = ""
    wall_s: float = 0.0
    lines: list[dict[str, Any]] = field(default_factory=list)
    delays_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    flow_s: float = 0.0  # from the first scores to the last
    nodes: dict[str, list[Load]] = field(default_factory=lambda: defaultdict(list))

    def memory_mb(self, node: str, from_s: float = 0.0, to_s: float = float("inf")) -> float:
        """The most that a node held, between two times since the start of the run."""
        return max((load.rss_bytes for load in self.nodes[node] if from_s <= load.at_s < to_s), default=0) / 1e6

    def cpu_percent(self, node: str) -> float:
        """Of one core, from the first that is known of the node to the last; its start is not in it."""
        first, last = self.nodes[node][0], self.nodes[node][-1]
        return 100 * (last.cpu_s - first.cpu_s) / max(last.at_s - first.at_s, 1e-9)

    def lost(self) -> int:
        """Samples that any place of the ledger names as lost."""
        return sum(sum(line["lost"].values()) for line in self.ledger())

    def samples(self) -> int:
        """Samples of all streams together."""
        return sum(line["samples"] for line in self.ledger())

    def ledger(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == "ledger"]


def bench(tell: Callable[[str], None], quick: bool = False, minutes: float = 0.0) -> list[str]:
    """Takes all measurements, tells each line as it is there, and returns the page's lines."""
    page: list[str] = []

    def add(lines: Iterable[str]) -> None:
        for line in lines:
            page.append(line)
            tell(line)

    add([f"Measured on {iso(time.time_ns())[:10]}: {machine()}.", ""])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        add(delay_lines(Path(folder), 60.0 if quick else 255.0))
        add(speed_lines(Path(folder), 300.0 if quick else 1800.0))
        add(streams_lines(Path(folder), STREAMS[:3] if quick else STREAMS, 10.0 if quick else 30.0))
        if minutes:
            add(growth_lines(Path(folder), 60 * minutes))
    return page


def delay_lines(folder: Path, duration_s: float) -> Iterator[str]:
    """One real-time stream: delay by stage, memory and CPU by node."""
    sound = write_sound(folder / "delay.wav", duration_s)
    watched = watch(["--source", f"one={sound}"])
    windows = len(watched.delays_ms["all"])
    yield f"## Delay, one real-time stream, {windows} windows"
    yield from ("", "| stage | p50, ms | p99, ms |", "| --- | --- | --- |")
    for stage in STAGES:
        p50, p99 = np.percentile(watched.delays_ms[stage], (50, 99))
        yield f"| {stage} | {p50:.1f} | {p99:.1f} |"
    yield from ("", f"## Memory and CPU, the same run ({duration_s:.0f} s)", "")
    yield from ("| node | resident, MB | CPU, % of one core |", "| --- | --- | --- |")
    for node in watched.nodes:
        yield f"| {node} | {watched.memory_mb(node):.0f} | {watched.cpu_percent(node):.1f} |"
    memory_mb, cpu = sum(map(watched.memory_mb, watched.nodes)), sum(map(watched.cpu_percent, watched.nodes))
    yield from (f"| all | {memory_mb:.0f} | {cpu:.1f} |", "")


def speed_lines(folder: Path, duration_s: float) -> Iterator[str]:
    """One file at --pace max."""
    sound = write_sound(folder / "speed.wav", duration_s)
    watched = watch(["--source", f"one={sound}", "--pace", "max", "--no-clips"])
    yield f"## Speed, one file of {duration_s:.0f} s at --pace max"
    yield from ("", "| | times real time |", "| --- | --- |")
    yield f"| from the first scores to the last | {duration_s / max(watched.flow_s, 1e-9):.0f} |"
    yield f"| start and stop of the program included | {duration_s / watched.wall_s:.0f} |"
    yield from ("", f"{watched.samples()} samples, {watched.lost()} lost.", "")


def streams_lines(folder: Path, numbers: Iterable[int], duration_s: float) -> Iterator[str]:
    """More and more real-time streams, until scores come late or sound is lost."""
    sound = write_sound(folder / "streams.wav", duration_s)
    yield f"## Real-time streams at once, {duration_s:.0f} s each"
    yield from ("", "| streams | delay p50, ms | p99, ms | CPU, % of one core | lost samples |", "| --- " * 5 + "|")
    for number in numbers:
        sources = [word for index in range(number) for word in ("--source", f"s{index}={sound}")]
        watched = watch([*sources, "--no-clips"])
        p50, p99 = np.percentile(watched.delays_ms["all"], (50, 99))
        cpu = sum(map(watched.cpu_percent, watched.nodes))
        yield f"| {number} | {p50:.0f} | {p99:.0f} | {cpu:.0f} | {watched.lost()} |"
        if watched.lost() or p99 > 1000 * LATE_S:
            break
    yield ""


def growth_lines(folder: Path, duration_s: float) -> Iterator[str]:
    """Four real-time streams: what each node holds after a tenth of the time, and at the end."""
    sound = write_sound(folder / "growth.wav", duration_s)
    sources = [word for index in range(4) for word in ("--source", f"s{index}={sound}")]
    watched = watch(sources)
    early, late = 0.1 * duration_s, 0.9 * duration_s
    yield f"## Memory over {duration_s / 60:.0f} minutes, four real-time streams"
    yield from ("", "| node | after a tenth, MB | at the end, MB |", "| --- | --- | --- |")
    for node in watched.nodes:
        begin_mb, end_mb = watched.memory_mb(node, 0.5 * early, early), watched.memory_mb(node, late)
        yield f"| {node} | {begin_mb:.1f} | {end_mb:.1f} |"
    yield from ("", f"{watched.samples()} samples, {watched.lost()} lost.", "")


def watch(arguments: list[str]) -> Watched:
    """Runs `earwitness run --json` with these arguments and listens to its scores and health from outside.

    Raises EarwitnessError when the run does not end with 0.
    """
    watched = Watched()
    with tempfile.TemporaryDirectory(prefix="bench-") as out, open(f"{out}/told", "w+") as told, \
            open(f"{out}/errors", "w+") as errors:  # fmt: skip
        bus = f"ipc://{private_folder(Path(out))}"
        command = [sys.executable, "-m", "earwitness.launch", "run", "--json", "--out", f"{out}/out", "--bus", bus]
        begun = time.monotonic()
        process = subprocess.Popen([*command, *arguments], stdout=told, stderr=errors, stdin=subprocess.DEVNULL)
        subscriber = ZmqBus(bus).subscriber(("scores/", "health/"), "latest")
        try:
            _listen(subscriber, process, watched)
        finally:
            if process.poll() is None:
                process.terminate()
            watched.code = process.wait()
            subscriber.close()
        watched.wall_s = time.monotonic() - begun
        for stream in (told, errors):
            stream.seek(0)
        watched.lines = [json.loads(line) for line in told]
        watched.errors = errors.read()
    if watched.code or not watched.delays_ms:
        last = (watched.errors.strip().splitlines() or ["it told nothing"])[-1]
        raise EarwitnessError(f"bench: the run ended with {watched.code}: {last}")
    return watched


def _listen(subscriber: ZmqSubscriber, process: subprocess.Popen[bytes], watched: Watched) -> None:
    begun = time.monotonic()
    first = last = 0.0
    while process.poll() is None:
        if supervisor := _supervisor(process.pid, time.monotonic() - begun):
            watched.nodes["supervisor"].append(supervisor)
        for envelope in subscriber.receive(0.2):
            match envelope.message:
                case ScoreBlock() as scores:
                    last = time.monotonic()
                    first = first or last
                    _note_delays(scores, time.time_ns(), watched.delays_ms)
                case Health() as health:
                    load = Load(time.monotonic() - begun, health.rss_bytes, health.cpu_s)
                    watched.nodes[health.node].append(load)
    watched.flow_s = last - first


def _supervisor(pid: int, at_s: float) -> Load | None:
    """The supervisor sends no health; Linux tells of it. None where it does not."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except (OSError, IndexError):
        return None
    return Load(at_s, pages * os.sysconf("SC_PAGE_SIZE"), sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"))


def _note_delays(scores: ScoreBlock, now_ns: int, delays_ms: dict[str, list[float]]) -> None:
    """Every window of the message; those that waited in it for the last one have waited in `block`."""
    for _, end_sample in scores.spans:
        stages = {
            "block": 1000 * max(0, scores.heard_sample - end_sample) / scores.rate,
            "features": (scores.computed_ns - scores.heard_ns) / 1e6,
            "classify": (scores.scored_ns - scores.computed_ns) / 1e6,
            "deliver": (now_ns - scores.scored_ns) / 1e6,
        }
        for stage, delay_ms in (*stages.items(), ("all", sum(stages.values()))):
            delays_ms[stage].append(delay_ms)


def write_sound(path: Path, duration_s: float) -> Path:
    """A WAV file of that length: the demo's scene again and again, 16 bits, mono."""
    scene = make_scene().samples
    rest = round(duration_s * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        while rest > 0:
            file.write(scene[:rest])
            rest -= len(scene)
    return path


def write_page(page: Path, lines: Iterable[str], marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Puts the lines between two marks of a Markdown page. Raises EarwitnessError where they are not."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    head, begin, rest = text.partition(marks[0])
    _, end, tail = rest.partition(marks[1])
    if not begin or not end:
        raise EarwitnessError(f"bench: {page} has no {marks[0]} … {marks[1]} to write between")
    page.write_text("\n".join([head + begin, "", *lines, end + tail]), encoding="utf-8")


def machine(packages: Iterable[str] = ("numpy", "onnxruntime", "pyzmq")) -> str:
    """What was measured on: processor, cores, memory, system, and the versions of those packages that are there."""
    model = _value("/proc/cpuinfo", "model name") or platform.machine()
    memory_kb = int(_value("/proc/meminfo", "MemTotal").removesuffix("kB") or 0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version}" for name in packages if (version := _version(name)))
    return (
        f"{model}, {cores} cores, {memory_kb / 1e6:.1f} GB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, {versions}"
    )


def _version(package: str) -> str:
    """"" where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _value(path: str, key: str) -> str:
    """What the first `key: value` line of a file of /proc says; "" where there is none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
