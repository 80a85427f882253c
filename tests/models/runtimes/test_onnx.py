"""Models of other shapes in ONNX Runtime: as a test computes them by itself, and live as offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from earwitness.models.bundle import Bundle, write_bundle
from earwitness.models.manifest import Constant, Input, Manifest, Output, State
from earwitness.models.runtime import open_runtime
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec, compute, silence
from earwitness.stream.windowing import windows_of

onnx = pytest.importorskip("onnx", reason="model files are made with onnx (extra train)")

from ..foreign_models import linear, memory, onnx_file  # noqa: E402
from ..live import live  # noqa: E402

Array = NDArray[np.float32]
FRAMES, DIMS, LABELS = 12, 64, 3
WEIGHTS = np.random.default_rng(3).normal(0, 0.002, (FRAMES, DIMS, LABELS)).astype(np.float32)


def bundle(tmp_path: Path, data: bytes, **changes: Any) -> Bundle:
    labels = changes.get("labels", ["a", "b", "c"])
    fields: dict[str, Any] = {
        "format_version": 1,
        "name": "other",
        "description": "",
        "licence": "CC0",
        "labels": labels,
        "window_frames": FRAMES,
        "hop_frames": 6,
        "front_end": FrontEndSpec(),
        "input": Input(name="x", shape=[0, FRAMES, DIMS]),
        "output": Output(name="y", activation="sigmoid"),
        "multi_label": True,
        "thresholds": dict.fromkeys(labels, 0.5),
    }
    return write_bundle(tmp_path / "other", Manifest(**{**fields, **changes}), {"model.onnx": data})


def windows(count: int = 5) -> Array:
    return np.random.default_rng(1).normal(-40, 15, (count, FRAMES, DIMS)).astype(np.float32)


def sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


def offline(other: Bundle, samples: Array) -> Array:
    manifest, spec = other.manifest, other.manifest.front_end
    cut = windows_of(compute(spec, samples), manifest.window_frames, manifest.hop_frames, silence(spec))
    return open_runtime(other, "cpu").scores(cut)


def speech(rate: int, seconds: float) -> Array:
    """Noise that comes and goes."""
    length = round(rate * seconds)
    loud = 0.2 + 0.2 * np.sin(np.arange(length) / rate * 5)
    return (loud * np.random.default_rng(5).uniform(-1, 1, length)).astype(np.float32)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        (("batch", "frames", "dims"), [0, FRAMES, DIMS]),
        (("batch", "dims", "frames"), [0, DIMS, FRAMES]),
        (("batch", "one", "frames", "dims"), [0, 1, FRAMES, DIMS]),
        (("batch", "one", "dims", "frames"), [1, 1, DIMS, FRAMES]),
        (("batch", "frames", "dims", "one"), [1, FRAMES, DIMS, 1]),
        (("frames", "dims"), [FRAMES, DIMS]),
        (("one", "dims", "frames"), [1, DIMS, FRAMES]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_patches_go_in_as_the_model_lays_them_out(tmp_path: Path, axes: Any, shape: list[int], dtype: Any) -> None:
    turned = WEIGHTS if axes.index("frames") < axes.index("dims") else WEIGHTS.transpose(1, 0, 2)
    graph = ["batch" if axis == "batch" and n == 0 else n for axis, n in zip(axes, shape, strict=True)]
    data = linear(graph, turned.reshape(-1, LABELS), dtype=dtype, batch="batch" in axes)
    other = bundle(tmp_path, data, input=Input(name="x", shape=shape, axes=axes, dtype=dtype))
    scores = open_runtime(other, "cpu").scores(windows())
    expected = sigmoid(windows().reshape(5, -1) @ WEIGHTS.reshape(-1, LABELS))
    np.testing.assert_allclose(scores, expected, atol=1e-5 if dtype == "float32" else 5e-3)
    assert np.ptp(expected) > 0.05


def test_patches_live_are_patches_offline(tmp_path: Path) -> None:
    data = linear(["batch", 1, DIMS, FRAMES], WEIGHTS.transpose(1, 0, 2).reshape(-1, LABELS))
    given = Input(name="x", shape=[0, 1, DIMS, FRAMES], axes=("batch", "one", "dims", "frames"))
    other = bundle(tmp_path, data, input=given)
    samples = speech(16000, 1.0)
    scores, events = live(other, samples, 16000, block=333)
    np.testing.assert_allclose(scores, offline(other, samples), atol=1e-6)
    heard = {label for label, column in zip("abc", scores.T, strict=True) if column.max() > 0.55}
    assert heard <= set(events)


def birds(tmp_path: Path, **changes: Any) -> Bundle:
    """As BirdNET's: 3 s at 48 kHz, logits, embeddings beside them."""
    samples = 3 * 48000
    weights = (np.sin(np.outer(np.arange(samples), [0.1, 0.2])) * 0.01).astype(np.float32)
    fields: dict[str, Any] = {
        "labels": ["Turdus merula_Blackbird", "Parus major_Great Tit"],
        "window_frames": samples,
        "hop_frames": samples // 2,
        "front_end": FrontEndSpec(feature="waveform", sr=48000),
        "input": Input(name="x", shape=[0, samples], axes=("batch", "frames")),
        "output": Output(name="y", activation="sigmoid", ignored=["embeddings"]),
        "thresholds": {"Turdus merula_Blackbird": 0.5, "Parus major_Great Tit": 0.5},
    }
    return bundle(tmp_path, linear(["batch", samples], weights, second="embeddings"), **{**fields, **changes})


def test_three_seconds_at_48_khz_live_and_offline(tmp_path: Path) -> None:
    other, samples = birds(tmp_path), speech(48000, 7.0)
    scores, _ = live(other, samples, 48000, block=4801)
    expected = offline(other, samples)
    assert expected.shape == (4, 2)  # at 0, 1.5, 3.0 s and the filled last one
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_an_output_that_is_neither_used_nor_ignored_is_told(tmp_path: Path) -> None:
    other = birds(tmp_path, output=Output(name="y", activation="sigmoid"))
    with pytest.raises(EarwitnessError, match=r"gives 'embeddings' too, which the manifest does not name as output.i"):
        open_runtime(other, "cpu")
    with pytest.raises(EarwitnessError, match=r"gives no 'embedings'.* did you mean 'embeddings'"):
        open_runtime(birds(tmp_path, output=Output(name="y", ignored=["embedings"])), "cpu")


def test_any_number_of_samples_at_32_khz_and_probabilities_beside_an_embedding(tmp_path: Path) -> None:
    """As PANNs': the file leaves the number of samples open, the manifest settles it."""
    nodes = [
        onnx.helper.make_node("Abs", ["x"], ["abs"]),
        onnx.helper.make_node("ReduceMean", ["abs"], ["loud"], axes=[1], keepdims=1),
        onnx.helper.make_node("Mul", ["loud", "gains"], ["clipwise"]),
        onnx.helper.make_node("Identity", ["loud"], ["embedding"]),
    ]
    data = onnx_file(
        nodes, {"x": ("float32", ["batch", "samples"])},
        {"clipwise": ("float32", ["batch", 3]), "embedding": ("float32", ["batch", 1])},
        {"gains": np.array([[0.5, 1.0, 2.0]], np.float32)},
    )  # fmt: skip
    other = bundle(
        tmp_path, data, window_frames=32000, hop_frames=8000, front_end=FrontEndSpec(feature="waveform", sr=32000),
        input=Input(name="x", shape=[0, 32000], axes=("batch", "frames")),
        output=Output(name="clipwise", ignored=["embedding"]),
    )  # fmt: skip
    samples = speech(32000, 2.0)
    scores, _ = live(other, samples, 32000)
    assert len(scores) == 5
    means = [np.abs(samples[start : start + 32000]).mean() for start in range(0, 32001, 8000)]
    np.testing.assert_allclose(scores, np.outer(means, [0.5, 1.0, 2.0]), rtol=1e-4)


def test_samples_of_16_bits(tmp_path: Path) -> None:
    weights = np.full((160, 1), 1 / 32768 / 160, np.float32)
    other = bundle(
        tmp_path, linear([1, 160], weights, dtype="int16"), labels=["dc"], thresholds={"dc": 0.5}, window_frames=160,
        hop_frames=160, front_end=FrontEndSpec(feature="waveform"),
        input=Input(name="x", shape=[1, 160], axes=("batch", "frames"), dtype="int16", scale=32768.0),
        output=Output(name="y"),
    )  # fmt: skip
    levels = np.array([0.25, 0.5, 1.0], np.float32)
    scores = open_runtime(other, "cpu").scores(np.repeat(levels, 160).reshape(3, 160, 1))
    np.testing.assert_allclose(scores[:, 0], [0.25, 0.5, 32767 / 32768], atol=1e-5)


def test_rows_of_frames_become_one_row(tmp_path: Path) -> None:
    """As a detector's: a row of scores for each frame of the patch."""
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])]
    weights = np.random.default_rng(0).normal(0, 0.01, (DIMS, LABELS)).astype(np.float32)
    data = onnx_file(
        nodes, {"x": ("float32", ["batch", FRAMES, DIMS])}, {"y": ("float32", ["batch", FRAMES, LABELS])},
        {"w": weights},
    )  # fmt: skip
    for reduce, expected in (("mean", np.mean), ("max", np.max)):
        output = Output(name="y", activation="sigmoid", axes=("batch", "frames", "labels"), reduce=reduce)
        scores = open_runtime(bundle(tmp_path, data, output=output), "cpu").scores(windows())
        np.testing.assert_allclose(scores, expected(sigmoid(windows() @ weights), axis=1), atol=1e-6)


# ---- constants and states


def vad(tmp_path: Path, batch: bool = True, **changes: Any) -> Bundle:
    fields: dict[str, Any] = {
        "labels": ["speech"],
        "thresholds": {"speech": 0.5},
        "window_frames": 576,
        "hop_frames": 512,
        "front_end": FrontEndSpec(feature="waveform"),
        "input": Input(name="input", shape=[0 if batch else 1, 576], axes=("batch", "frames")),
        "output": Output(name="output"),
        "constants": [Constant(name="sr", dtype="int64", values=[8000])],
        "states": [State(input="state", output="stateN", shape=[2, 4], batch_axis=1)],
    }
    return bundle(tmp_path, memory(batch=batch), **{**fields, **changes})


@pytest.mark.parametrize("batch", [True, False])
def test_a_state_goes_from_window_to_window_and_a_constant_is_always_there(tmp_path: Path, batch: bool) -> None:
    other = vad(tmp_path, batch)
    levels = np.array([0.8, 0.4, 0.0, 1.0], np.float32)
    scores = open_runtime(other, "cpu").scores(np.repeat(levels, 576).reshape(4, 576, 1))
    state, expected = 0.0, []
    for level in levels:
        state = 0.5 * state + level
        expected.append(sigmoid(np.float32(state * 8000 / 16000)))
    np.testing.assert_allclose(scores[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("batch", [True, False])
def test_a_stateful_model_live_is_the_one_offline(tmp_path: Path, batch: bool) -> None:
    other, samples = vad(tmp_path, batch), np.abs(speech(16000, 1.0))
    scores, _ = live(other, samples, 16000, block=777)
    expected = offline(other, samples)
    assert len(expected) == 32
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_streams_that_are_scored_together_keep_their_states_apart(tmp_path: Path) -> None:
    for batch in (True, False):
        runtime: Any = open_runtime(vad(tmp_path, batch), "cpu")
        pair = np.repeat(np.array([0.8, 0.2], np.float32), 576).reshape(2, 576, 1)
        states = runtime.first_states(2)
        for _ in range(3):
            scores, states = runtime.call(pair, states)
        for stream in range(2):
            alone = runtime.scores(np.repeat(pair[stream : stream + 1], 3, axis=0))
            np.testing.assert_allclose(scores[stream], alone[-1], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"constants": []}, "takes 'sr' too, which the manifest does not name as a constant or a state"),
        ({"constants": [Constant(name="sr", values=[1])]}, "takes sr int64, the manifest says sr float32"),
        ({"constants": [Constant(name="rate", values=[1])]}, "takes no 'rate', which the manifest names"),
        (
            {"states": [State(input="state", output="stateN", shape=[2, 5], batch_axis=1)]},
            r"takes state float32 \[2, any, 4\], the manifest says state float32 \[2, any, 5\]",
        ),
        (
            {"states": [State(input="state", output="stateN", shape=[2, 4], batch_axis=0)]},
            r"the manifest says state float32 \[any, 2, 4\]",
        ),
        ({"states": [State(input="state", output="state_n", shape=[2, 4], batch_axis=1)]}, "did you mean 'stateN'"),
        (
            {"input": Input(name="input", shape=[1, 576], axes=("batch", "frames"), dtype="int16")},
            r"takes input float32 \[any, 576\], the manifest says input int16 \[1, 576\]",
        ),
    ],
)
def test_inputs_that_are_not_what_the_manifest_says_are_told(tmp_path: Path, changes: Any, complaint: str) -> None:
    with pytest.raises(EarwitnessError, match=complaint) as caught:
        open_runtime(vad(tmp_path, **changes), "cpu")
    assert "\n" not in str(caught.value)


def test_a_file_that_takes_one_window_is_not_given_several(tmp_path: Path) -> None:
    one = linear([1, FRAMES, DIMS], WEIGHTS.reshape(-1, LABELS))
    with pytest.raises(EarwitnessError, match=r"takes x float32 \[1, 12, 64\], the manifest says x float32 \[any, 12"):
        open_runtime(bundle(tmp_path, one), "cpu")


def test_logits_that_were_told_to_be_probabilities_are_refused_not_passed_on(tmp_path: Path) -> None:
    data = linear(["batch", FRAMES, DIMS], 100 * WEIGHTS.reshape(-1, LABELS))
    runtime = open_runtime(bundle(tmp_path, data, output=Output(name="y")), "cpu")
    with pytest.raises(EarwitnessError, match="no probabilities; are they logits"):
        runtime.scores(windows())


def test_what_fails_while_it_runs_is_one_line(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Reshape", ["x", "shape"], ["y"])]
    data = onnx_file(
        nodes, {"x": ("float32", ["batch", FRAMES, DIMS])}, {"y": ("float32", ["batch", LABELS])},
        {"shape": np.array([7, 3], np.int64)},
    )  # fmt: skip
    with pytest.raises(EarwitnessError, match=r"ONNX Runtime cannot run model.onnx") as caught:
        open_runtime(bundle(tmp_path, data), "cpu").scores(windows())
    assert "\n" not in str(caught.value)


def test_scores_in_a_table_by_label_are_refused(tmp_path: Path) -> None:
    """As skl2onnx makes them unless it is told not to (zipmap)."""
    helper, kinds = onnx.helper, onnx.TensorProto
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    table = helper.make_map_type_proto(kinds.INT64, helper.make_tensor_type_proto(kinds.FLOAT, []))
    output = helper.make_value_info("y", helper.make_sequence_type_proto(table))
    given = helper.make_tensor_value_info("x", kinds.FLOAT, [None, LABELS])
    graph = helper.make_graph([node], "g", [given], [output])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    other = bundle(
        tmp_path, data, window_frames=LABELS, hop_frames=LABELS, front_end=FrontEndSpec(feature="waveform"),
        input=Input(name="x", shape=[0, LABELS], axes=("batch", "frames")),
    )  # fmt: skip
    with pytest.raises(EarwitnessError, match="which is no tensor of numbers"):
        open_runtime(other, "cpu")
