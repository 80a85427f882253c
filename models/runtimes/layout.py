"""Windows as a model's input, a model's output as scores: what the manifest's axes, dtypes and scales say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream.errors import EarwitnessError
from ..manifest import Constant, Input, Output, State

Array = NDArray[np.float32]
Tensor = NDArray[Any]

ROUNDING = 1e-3  # by which a probability may lie outside of 0..1
USUAL_INPUT, USUAL_OUTPUT = ("batch", "frames", "dims"), ("batch", "labels")  # not worth the general rule's time


def to_tensor(windows: Array, given: Input) -> Tensor:
    """Windows [batch, frames, dims] as the model takes them: scaled, transposed, of its dtype.

    Where its input has no batch axis there must be one window.
    """
    values = windows
    if given.scale != 1.0 or given.offset != 0.0:
        values = values * np.float32(given.scale) + np.float32(given.offset)
    if given.axes == USUAL_INPUT and given.dtype == "float32":
        return np.ascontiguousarray(values)
    lengths = dict(zip(("batch", "frames", "dims"), windows.shape, strict=True))
    axes = [axis for axis in given.axes if axis != "one"]
    # Axes that the model does not have are 1 long: they go in front, and fall away when the shape is settled.
    order = [axis for axis in lengths if axis not in axes] + axes
    if order != list(lengths):
        values = values.transpose([list(lengths).index(axis) for axis in order])
    values = values.reshape([lengths.get(axis, 1) for axis in given.axes])
    if given.dtype == "float32":
        return np.ascontiguousarray(values)
    dtype = np.dtype(given.dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = np.clip(np.rint(values), info.min, info.max)
    return np.ascontiguousarray(values.astype(dtype))


def to_scores(tensor: Tensor, output: Output, windows: int, labels: int) -> Array:
    """Probabilities [windows, labels] from what the model gives for so many windows.

    Raises:
        EarwitnessError: the tensor is not what the manifest's axes say, or holds what is no probability.
    """
    values = np.asarray(tensor, np.float32)
    if output.axes == USUAL_OUTPUT and values.shape == (windows, labels):
        return _checked(values, output)
    if values.ndim != len(output.axes):
        raise EarwitnessError(
            f"output {output.name!r} is {list(values.shape)}, but output.axes are {list(output.axes)}"
        )
    axes: list[str] = list(output.axes)
    for at in reversed([at for at, axis in enumerate(axes) if axis == "one"]):
        if values.shape[at] != 1:
            raise EarwitnessError(f"output {output.name!r} is {list(values.shape)}: axis {at} is not of length 1")
        values = np.squeeze(values, at)
        del axes[at]
    for missing in {"batch", "frames"}.difference(axes):
        values = values[np.newaxis]
        axes.insert(0, missing)
    values = values.transpose([axes.index(axis) for axis in ("batch", "frames", "labels")])
    if values.shape[0] != windows or values.shape[1] < 1 or values.shape[2] != labels:
        raise EarwitnessError(
            f"output {output.name!r} is {list(np.shape(tensor))} for {windows} windows and {labels} labels"
        )
    return _checked(values, output)


def _checked(values: Array, output: Output) -> Array:
    """Probabilities [windows, labels] of what a model gave as [windows, labels] or [windows, frames, labels]."""
    if np.isfinite(values).all():
        scores = activate(values, output)
    else:
        with np.errstate(invalid="ignore"):  # what is no number is told below, in a line that says more
            scores = activate(values, output)
    if values.ndim == 3:
        if output.reduce == "mean":
            scores = scores.mean(axis=1, dtype=np.float32)
        elif output.reduce == "max":
            scores = scores.max(axis=1)
        else:
            scores = scores[:, -1]
    if not _are_probabilities(scores, output):
        raise EarwitnessError(
            f"output {output.name!r} has values from {scores.min():.4g} to {scores.max():.4g}, which are no "
            "probabilities; are they logits? Then output.activation is softmax or sigmoid"
        )
    return np.ascontiguousarray(scores)


def _are_probabilities(scores: Array, output: Output) -> bool:
    if output.activation != "none" or not scores.size:  # behind an activation nothing else can go wrong
        return not math.isnan(np.add.reduce(scores, axis=None))
    # Comparisons with NaN are false: it is refused with the rest.
    return bool(scores.min() >= -ROUNDING and scores.max() <= 1 + ROUNDING)


def activate(values: Array, output: Output) -> Array:
    """Probabilities from what a model gives, labels last, by its manifest: temperature and activation."""
    if output.activation == "none":
        return values
    logits = values / np.float32(output.temperature)
    if output.activation == "sigmoid":
        return np.asarray(np.exp(-np.logaddexp(np.float32(0), -logits)), dtype=np.float32)
    logits -= np.maximum.reduce(logits, axis=-1, keepdims=True)
    powers: Array = np.exp(logits, out=logits)
    powers /= np.add.reduce(powers, axis=-1, keepdims=True)
    return powers


def constant_tensor(constant: Constant, windows: int) -> Tensor:
    """The value of a further input for so many windows."""
    repeated = constant.shape[:1] == [0]
    shape = constant.shape[1:] if repeated else constant.shape
    values = np.asarray(constant.values).astype(constant.dtype)
    values = np.broadcast_to(values, math.prod(shape)).reshape(shape)
    return np.array(np.broadcast_to(values, (windows, *shape)) if repeated else values)


def first_state(state: State, windows: int) -> Tensor:
    """The state of so many streams that begin: zeros, in the model's layout."""
    return np.zeros(state_shape(state, windows), state.dtype)


def state_shape(state: State, windows: int) -> list[int]:
    """The shape of the model's tensor for so many streams."""
    shape = list(state.shape)
    if state.batch_axis >= 0:
        shape.insert(state.batch_axis, windows)
    return shape
