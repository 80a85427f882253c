"""Scores the windows of many streams in one call, and keeps what a stateful model carries for each of them.

Live and offline go through here alike: a stream whose windows come one by one, in whatever company, has the scores of
the same sound in a file. States lie in this process's memory, whatever device scores, so that they outlive a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from ..manifest import State
from .layout import Array, Tensor

Result = TypeVar("Result")


class Scoring(Protocol):
    """What a scorer wants of a runtime: see `runtime.Runtime`."""

    @property
    def device(self) -> str: ...

    def scores(self, windows: Array) -> Array: ...

    def call(self, windows: Array, states: Mapping[str, Tensor]) -> tuple[Array, dict[str, Tensor]]: ...


class Scorer:
    """Scores for streams that are not in step with each other.

    Args:
        runtime: what scores.
        states: those of the bundle's manifest; without any, all windows are alike.
        spare: opens what takes over should `runtime` fail on a GPU. Without it, and on a CPU, failures are raised.

    Attributes:
        runtime: what scores now.
        failure: one line on what went wrong on the GPU, once the spare has taken over; "" before.
    """

    def __init__(
        self, runtime: Scoring, states: Sequence[State] = (), spare: Callable[[], Scoring] | None = None
    ) -> None:
        self.runtime, self.failure = runtime, ""
        self._spare = spare
        self._memory = Memory(states)
        self._one_by_one = any(state.batch_axis < 0 for state in states)

    def scores(self, windows: Array, streams: Sequence[Hashable]) -> Array:
        """Probabilities [batch, labels] of windows [batch, window_frames, dims].

        Args:
            windows: row k is the next window of stream `streams[k]`. A stream may have several, in their order; one
                that is new, or was forgotten, begins.
        """
        if not self._memory.states or not len(windows):
            return self._safely(lambda runtime: runtime.scores(windows))
        at_once = 1 if self._one_by_one else len(windows)
        if len(set(streams)) == len(streams) <= at_once:
            return self._step(windows, streams)
        rounds = _one_each(streams, at_once)
        found = [self._step(windows[rows], [streams[row] for row in rows]) for rows in rounds]
        return np.concatenate(found)[np.argsort(np.concatenate(rounds))]

    def forget(self, stream: Hashable) -> None:
        """The stream's segment is over: should another window of it come, that begins anew."""
        self._memory.free(stream)

    def _step(self, windows: Array, streams: Sequence[Hashable]) -> Array:
        """One window each of different streams."""
        slots = self._memory.slots(streams)
        states = self._memory.take(slots)
        scores, behind = self._safely(lambda runtime: runtime.call(windows, states))
        self._memory.put(slots, behind)
        return scores

    def _safely(self, score: Callable[[Scoring], Result]) -> Result:
        try:
            return score(self.runtime)
        except Exception as error:  # what a GPU that is gone raises has no name that holds for all versions of torch
            if self._spare is None or self.runtime.device == "cpu":
                raise
            self.failure = next(iter(str(error).splitlines()), "") or type(error).__name__
            self.runtime, self._spare = self._spare(), None
        return score(self.runtime)


class Memory:
    """The states of streams that come and go, a slot for each; zeros at first."""

    def __init__(self, states: Sequence[State]) -> None:
        self.states = states
        self._slots: dict[Hashable, int] = {}
        self._free: list[int] = []
        # By the input's name: [slots, …], whatever the model's batch axis.
        self._pools = {state.input: np.zeros((0, *state.shape), state.dtype) for state in states}

    def slots(self, streams: Sequence[Hashable]) -> list[int]:
        """Of each stream; those that have none get one."""
        for stream in streams:
            if stream not in self._slots:
                if not self._free:
                    self._grow()
                self._slots[stream] = slot = self._free.pop()
                for pool in self._pools.values():
                    pool[slot] = 0
        return [self._slots[stream] for stream in streams]

    def take(self, slots: Sequence[int]) -> dict[str, Tensor]:
        """What lies in some slots, in the model's layout."""
        taken, rows = {}, _rows(slots)
        for state in self.states:
            values = self._pools[state.input][rows]
            if state.batch_axis != 0:
                values = np.moveaxis(values, 0, state.batch_axis) if state.batch_axis > 0 else values[0]
            taken[state.input] = values
        return taken

    def put(self, slots: Sequence[int], behind: Mapping[str, Tensor]) -> None:
        """What the model gave for these slots takes the place of what lay there."""
        rows = _rows(slots)
        for state in self.states:
            values = behind[state.input]
            if state.batch_axis > 0:
                values = np.moveaxis(values, state.batch_axis, 0)
            self._pools[state.input][rows] = values

    def free(self, stream: Hashable) -> None:
        """Nothing is left of the stream."""
        slot = self._slots.pop(stream, None)
        if slot is not None:
            self._free.append(slot)

    def _grow(self) -> None:
        old = len(self._slots)
        new = max(1, 2 * old)
        for name, pool in self._pools.items():
            self._pools[name] = np.concatenate((pool, np.zeros((new - old, *pool.shape[1:]), pool.dtype)))
        self._free.extend(reversed(range(old, new)))


def _rows(slots: Sequence[int]) -> slice | list[int]:
    """A single one without a copy: one stream in a call is the most usual case."""
    return slice(slots[0], slots[0] + 1) if len(slots) == 1 else list(slots)


def _one_each(streams: Sequence[Hashable], at_once: int) -> list[list[int]]:
    """Rows that can be scored together, one a stream: the first of each, then the second ones, and so on."""
    rounds: list[list[int]] = []
    reached: dict[Hashable, int] = {}
    for row, stream in enumerate(streams):
        at = reached[stream] = reached.get(stream, -1) + 1
        if at == len(rounds):
            rounds.append([])
        rounds[at].append(row)
    return [rows[first : first + at_once] for rows in rounds for first in range(0, len(rows), at_once)]
