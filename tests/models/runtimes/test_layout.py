"""Windows as models of others take them, and what they give as scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from earwitness.models.manifest import Constant, Input, Output, State
from earwitness.models.runtimes.layout import activate, constant_tensor, first_state, to_scores, to_tensor
from earwitness.stream.errors import EarwitnessError

WINDOWS = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
SAMPLES = np.random.default_rng(0).uniform(-1, 1, (3, 20, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        (("batch", "frames", "dims"), [0, 5, 4], WINDOWS),
        (("batch", "dims", "frames"), [0, 4, 5], WINDOWS.transpose(0, 2, 1)),
        (("batch", "one", "frames", "dims"), [0, 1, 5, 4], WINDOWS[:, None]),
        (("batch", "dims", "frames", "one"), [0, 4, 5, 1], WINDOWS.transpose(0, 2, 1)[..., None]),
        (("frames", "batch", "dims"), [5, 0, 4], WINDOWS.transpose(1, 0, 2)),
    ],
)
def test_a_window_lies_as_the_axes_say(axes: Any, shape: list[int], expected: np.ndarray) -> None:
    tensor = to_tensor(WINDOWS, Input(name="x", shape=shape, axes=axes))
    np.testing.assert_array_equal(tensor, expected)
    assert tensor.flags.c_contiguous


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        (("batch", "frames"), [0, 20], SAMPLES[:, :, 0]),
        (("batch", "one", "frames"), [0, 1, 20], SAMPLES[:, None, :, 0]),
        (("batch", "frames", "dims"), [0, 20, 1], SAMPLES),
    ],
)
def test_a_waveform_needs_no_axis_for_its_single_value(axes: Any, shape: list[int], expected: np.ndarray) -> None:
    np.testing.assert_array_equal(to_tensor(SAMPLES, Input(name="x", shape=shape, axes=axes)), expected)


def test_a_model_without_batch_axis_takes_one_window() -> None:
    tensor = to_tensor(SAMPLES[:1], Input(name="x", shape=[20], axes=("frames",)))
    np.testing.assert_array_equal(tensor, SAMPLES[0, :, 0])
    turned = to_tensor(WINDOWS[:1], Input(name="x", shape=[4, 5], axes=("dims", "frames")))
    np.testing.assert_array_equal(turned, WINDOWS[0].T)


def test_samples_become_whole_numbers_within_their_range() -> None:
    given = Input(name="x", shape=[0, 4], axes=("batch", "frames"), dtype="int16", scale=32768.0)
    windows = np.array([[0.5, -1.0, 1.0, 1e-5]], np.float32)[..., None]
    tensor = to_tensor(windows, given)
    assert tensor.dtype == np.int16
    assert tensor.tolist() == [[16384, -32768, 32767, 0]]


def test_scale_and_offset_and_half_precision() -> None:
    given = Input(name="x", shape=[0, 5, 4], dtype="float16", scale=2.0, offset=-1.0)
    tensor = to_tensor(WINDOWS, given)
    assert tensor.dtype == np.float16
    np.testing.assert_allclose(tensor, WINDOWS * 2 - 1, atol=0.01)


def test_the_windows_themselves_are_left_alone() -> None:
    before = WINDOWS.copy()
    to_tensor(WINDOWS, Input(name="x", shape=[0, 5, 4], scale=3.0, offset=1.0))
    np.testing.assert_array_equal(WINDOWS, before)


@pytest.mark.parametrize(
    ("axes", "reduce", "tensor", "expected"),
    [
        (("batch", "labels"), None, [[0.1, 0.2], [0.3, 0.4]], [[0.1, 0.2], [0.3, 0.4]]),
        (("labels", "batch"), None, [[0.1, 0.3], [0.2, 0.4]], [[0.1, 0.2], [0.3, 0.4]]),
        (("batch", "one", "labels"), None, [[[0.1, 0.2]], [[0.3, 0.4]]], [[0.1, 0.2], [0.3, 0.4]]),
        (("batch", "frames", "labels"), "mean", [[[0.1, 0.2], [0.3, 0.4]]], [[0.2, 0.3]]),
        (("batch", "labels", "frames"), "max", [[[0.1, 0.2], [0.3, 0.4]]], [[0.2, 0.4]]),
        (("frames", "labels"), "last", [[0.1, 0.2], [0.3, 0.4]], [[0.3, 0.4]]),
        (("frames", "labels"), "mean", [[0.1, 0.2]], [[0.1, 0.2]]),
        (("labels",), None, [0.1, 0.2], [[0.1, 0.2]]),
    ],
)
def test_scores_are_a_row_for_each_window(axes: Any, reduce: Any, tensor: Any, expected: Any) -> None:
    output = Output(name="y", axes=axes, reduce=reduce)
    scores = to_scores(np.array(tensor), output, len(expected), 2)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_frames_become_one_row_behind_the_activation() -> None:
    logits = np.array([[-4.0, 0.0], [4.0, 0.0]], np.float32)
    scores = to_scores(logits, Output(name="y", activation="sigmoid", axes=("frames", "labels"), reduce="mean"), 1, 2)
    np.testing.assert_allclose(scores, [[0.5, 0.5]], atol=1e-6)
    loudest = to_scores(logits, Output(name="y", activation="softmax", axes=("frames", "labels"), reduce="max"), 1, 2)
    np.testing.assert_allclose(loudest, [[0.98201, 0.98201]], atol=1e-4)


def test_sigmoid_of_extreme_logits_is_exact_and_silent() -> None:
    logits = np.array([[-1e4, 1e4, 0.0]], np.float32)
    assert activate(logits, Output(name="y", activation="sigmoid")).tolist() == [[0.0, 1.0, 0.5]]


@pytest.mark.parametrize("value", [-0.1, 1.1, 12.0, np.nan, np.inf])
def test_what_is_no_probability_is_refused_with_a_hint(value: float) -> None:
    with pytest.raises(EarwitnessError, match="no probabilities; are they logits") as caught:
        to_scores(np.array([[0.5, value]]), Output(name="y"), 1, 2)
    assert "\n" not in str(caught.value)


def test_rounding_just_beyond_0_and_1_is_none_of_that() -> None:
    to_scores(np.array([[-1e-4, 1.0005]]), Output(name="y"), 1, 2)


@pytest.mark.parametrize(
    ("shape", "axes", "complaint"),
    [
        ((2, 3), ("batch", "labels"), r"\[2, 3\] for 2 windows and 4 labels"),
        ((3, 4), ("batch", "labels"), r"\[3, 4\] for 2 windows"),
        ((2, 4, 1), ("batch", "labels"), r"but output.axes are \['batch', 'labels'\]"),
        ((2, 2, 4), ("batch", "one", "labels"), "axis 1 is not of length 1"),
    ],
)
def test_an_output_of_another_shape_is_refused(shape: tuple[int, ...], axes: Any, complaint: str) -> None:
    with pytest.raises(EarwitnessError, match=complaint):
        to_scores(np.zeros(shape), Output(name="y", axes=axes), 2, 4)


def test_constants_are_a_number_a_tensor_or_one_for_each_window() -> None:
    rate = constant_tensor(Constant(name="sr", dtype="int64", values=[16000]), 7)
    assert (rate.shape, rate.dtype, rate.item()) == ((), np.int64, 16000)
    mask = constant_tensor(Constant(name="mask", shape=[0, 3], dtype="bool", values=[True]), 2)
    assert mask.tolist() == [[True] * 3] * 2
    table = constant_tensor(Constant(name="t", shape=[2, 2], values=[1, 2, 3, 4]), 5)
    assert table.tolist() == [[1, 2], [3, 4]]
    np.testing.assert_array_equal(constant_tensor(Constant(name="l", shape=[0], values=[9]), 3), [9, 9, 9])


def test_states_begin_with_zeros_in_the_models_layout() -> None:
    state = State(input="s", output="t", shape=[2, 128], batch_axis=1)
    assert first_state(state, 3).shape == (2, 3, 128)
    alone = State(input="s", output="t", shape=[5], batch_axis=-1, dtype="float16")
    assert (first_state(alone, 1).shape, first_state(alone, 1).dtype) == ((5,), np.float16)
    assert not first_state(state, 3).any()
