"""What a training run tells: lines for a log, or one line that moves on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

LINE_EVERY_S = 20.0  # in a log, where no look at the validation part has said anything


@dataclass(frozen=True)
class Moment:
    """Where a run is.

    Attributes:
        step, steps: those done, and all.
        loss: its mean over the steps since the last moment.
        judged: the figure of the last look at the validation part, as "accuracy 0.912"; "" before the first.
        is_look: whether this look is new.
        step_s: seconds of a step.
        left_s: seconds that are left.
    """

    step: int
    steps: int
    loss: float
    judged: str
    is_look: bool
    step_s: float
    left_s: float

    def __str__(self) -> str:
        parts = [f"step {self.step}/{self.steps}", f"loss {self.loss:.3f}", self.judged]
        parts += [f"{self.step_s * 1000:.0f} ms a step", f"{clock(self.left_s)} left"]
        return "  ".join(part for part in parts if part)


class Reporter(Protocol):
    """Takes what a run tells."""

    def line(self, text: str) -> None:
        """Something that is to be read later too."""
        ...

    def moment(self, moment: Moment) -> None:
        """Called every few steps."""
        ...


class Lines:
    """A line for each look at the validation part, and in between where that takes long."""

    def __init__(self, say: Callable[[str], None], every_s: float = LINE_EVERY_S) -> None:
        self._say, self._every_s = say, every_s
        self._said = time.monotonic()

    def line(self, text: str) -> None:
        self._say(text)

    def moment(self, moment: Moment) -> None:
        now = time.monotonic()
        if moment.is_look or moment.step == moment.steps or now - self._said >= self._every_s:
            self._said = now
            self._say(str(moment))


class Silent:
    """Tells nothing: the processes beside the first."""

    def line(self, text: str) -> None:
        pass

    def moment(self, moment: Moment) -> None:
        pass


@contextmanager
def on_terminal() -> Iterator[Reporter]:
    """A bar on standard error that moves while the run lasts; lines stay above it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("step {task.completed:.0f}/{task.total:.0f}"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4, transient=True) as bar:
        yield _Bar(bar)


class _Bar:
    def __init__(self, bar: object) -> None:
        from rich.progress import Progress

        assert isinstance(bar, Progress)
        self._bar = bar
        self._task: object = None

    def line(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)

    def moment(self, moment: Moment) -> None:
        if self._task is None:
            self._task = self._bar.add_task("", total=moment.steps)
        words = [f"loss {moment.loss:.3f}", moment.judged, f"{clock(moment.left_s)} left"]
        task: int = self._task  # type: ignore[assignment]  # rich's TaskID is an int
        self._bar.update(task, completed=moment.step, description="  ".join(filter(None, words)))  # type: ignore[arg-type]
        if moment.is_look:
            self.line(str(moment))


def clock(seconds: float) -> str:
    """A duration as a person reads it.

    >>> clock(42), clock(723), clock(7380)
    ('42 s', '12 min', '2 h 03 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
