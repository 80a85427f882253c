"""What the runtimes of model files share: named tensors in and out, put together as the manifest says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

import numpy as np

from ...stream.errors import EarwitnessError, nearest
from ..bundle import Bundle
from ..manifest import Dtype
from .layout import Array, Tensor, constant_tensor, first_state, state_shape, to_scores, to_tensor
from .scorer import Scorer

LARGEST_BATCH = 16  # windows in one call


class Port(NamedTuple):
    """A tensor that a model file takes or gives; a length of None is any, a shape of None is not told."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        shape = "" if self.shape is None else f" [{', '.join('any' if n is None else str(n) for n in self.shape)}]"
        return f"{self.name} {self.dtype}{shape}"


class GraphRuntime:
    """A bundle's model file, open on the CPU. The kinds of files fill in `_run`."""

    device = "cpu"

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.manifest = bundle, bundle.manifest
        self._input = bundle.manifest.input  # as the file wants it filled, see LiteRtRuntime
        self._labels = len(bundle.manifest.labels)
        self._outputs = [self.manifest.output.name, *(state.output for state in self.manifest.states)]
        self._constants: tuple[int, dict[str, Tensor]] = (-1, {})  # for so many windows, as were in the last call

    def _run(self, feeds: Mapping[str, Tensor], outputs: Sequence[str]) -> Sequence[Tensor]:
        """The named outputs for the named inputs."""
        raise NotImplementedError

    def scores(self, windows: Array) -> Array:
        """See `Runtime`. Large batches are taken in parts: no slower, and memory stays the same.

        The windows of a stateful bundle are taken for consecutive ones of one stream, from its beginning on.
        """
        if self.manifest.states and len(windows):
            return Scorer(self, self.manifest.states).scores(windows, [0] * len(windows))
        if 0 < len(windows) <= LARGEST_BATCH:
            return self.call(windows, {})[0]
        parts = [
            self.call(windows[first : first + LARGEST_BATCH], {})[0] for first in range(0, len(windows), LARGEST_BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self._labels), np.float32)

    def first_states(self, streams: int) -> dict[str, Tensor]:
        """What so many streams carry at their beginning, by the names of the model's inputs, in its layout."""
        return {state.input: first_state(state, streams) for state in self.manifest.states}

    def call(self, windows: Array, states: Mapping[str, Tensor]) -> tuple[Array, dict[str, Tensor]]:
        """One window each of as many streams, or as many windows where the bundle has no states.

        Args:
            windows: float32 [batch, window_frames, dims], at least one.
            states: as `first_states` and this function give them; row k of each batch axis belongs to window k.

        Returns:
            Probabilities [batch, labels], and the states behind these windows.

        Raises:
            ValueError: several windows, and a state without batch axis: such streams go one by one.
        """
        if not self._input.one_a_call or len(windows) == 1:
            return self._call(windows, states)
        if any(state.batch_axis < 0 for state in self.manifest.states):
            raise ValueError("a state without batch axis is one stream's: one window a call")
        scores, behind = zip(*(self._call(windows[k : k + 1], self._row(states, k)) for k in range(len(windows))),
                             strict=True)  # fmt: skip
        return np.concatenate(scores), {
            state.input: np.concatenate([row[state.input] for row in behind], axis=state.batch_axis)
            for state in self.manifest.states
        }

    def _call(self, windows: Array, states: Mapping[str, Tensor]) -> tuple[Array, dict[str, Tensor]]:
        count = len(windows)
        if self._constants[0] != count:
            self._constants = count, {each.name: constant_tensor(each, count) for each in self.manifest.constants}
        feeds = {self._input.name: to_tensor(windows, self._input), **states, **self._constants[1]}
        values, *carried = self._run(feeds, self._outputs)
        try:
            scores = to_scores(values, self.manifest.output, count, self._labels)
        except EarwitnessError as error:
            raise EarwitnessError(f"bundle {self.bundle.path}: {error}") from None
        for state, each in zip(self.manifest.states, carried, strict=True):
            if list(each.shape) != (shape := state_shape(state, count)):
                raise self._misfit(f"it gives the state {state.output!r} as {list(each.shape)}, not {shape}")
        return scores, {state.input: each for state, each in zip(self.manifest.states, carried, strict=True)}

    def _row(self, states: Mapping[str, Tensor], row: int) -> dict[str, Tensor]:
        return {
            state.input: np.take(states[state.input], [row], axis=state.batch_axis) for state in self.manifest.states
        }

    def _check_ports(self, file: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
        """EarwitnessError when the file's inputs and outputs are not what the manifest says."""
        manifest, batch = self.manifest, 1 if self._input.one_a_call else None
        told = [Port(manifest.input.name, manifest.input.dtype, _lengths(manifest.input.shape, batch))]
        told += [Port(each.name, each.dtype, _lengths(each.shape, batch)) for each in manifest.constants]
        told += [Port(each.input, each.dtype, _lengths(state_shape(each, 0), batch)) for each in manifest.states]
        expected = {port.name: port for port in told}
        self._check_names(file, "takes", [port.name for port in inputs], list(expected))
        for port in inputs:
            if not _takes(port, expected[port.name]):
                raise self._misfit(f"{file} takes {port}, the manifest says {expected[port.name]}")
        given = {port.name: port for port in outputs}
        self._check_names(file, "gives", list(given), [*self._outputs, *manifest.output.ignored])
        scores = given[manifest.output.name]
        if scores.dtype not in get_args(Dtype):
            raise self._misfit(f"{file} gives {scores.name} as {scores.dtype}, which is no tensor of numbers")
        axes = manifest.output.axes
        fixed = {"labels": self._labels, "one": 1}
        if scores.shape is not None and (
            len(scores.shape) != len(axes)
            or any(n not in (None, fixed.get(axis, n)) for axis, n in zip(axes, scores.shape, strict=True))
        ):
            raise self._misfit(f"{file} gives {scores}, the manifest says {list(axes)} with {self._labels} labels")

    def _check_names(self, file: str, verb: str, have: list[str], told: list[str]) -> None:
        for name in told:
            if name not in have:
                raise self._misfit(f"{file} {verb} no {name!r}, which the manifest names; {nearest(name, have)}")
        for name in have:
            if name not in told:
                where = "a constant or a state" if verb == "takes" else "output.ignored"
                raise self._misfit(f"{file} {verb} {name!r} too, which the manifest does not name as {where}")

    def _misfit(self, what: str) -> EarwitnessError:
        return EarwitnessError(f"bundle {self.bundle.path}: {what}")


def _lengths(shape: Sequence[int], batch: int | None) -> tuple[int | None, ...]:
    """A shape of the manifest, in which 0 is the batch."""
    return tuple(batch if length == 0 else length for length in shape)


def _takes(port: Port, told: Port) -> bool:
    """Whether all tensors of the told kind can be given to this one."""
    if port.dtype != told.dtype:
        return False
    if port.shape is None or told.shape is None:
        return True
    return len(port.shape) == len(told.shape) and all(
        here is None or here == there for here, there in zip(port.shape, told.shape, strict=True)
    )
