"""Parameters and multiply-adds, of files whose layers can be reckoned by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the test's models are made with onnx (extra train)")
from onnx import helper

from earwitness.models.bundle import Bundle
from earwitness.models.judging.cost import cost_of, count_onnx, count_tflite
from earwitness.models.runtime import open_runtime

from ..foreign_models import linear, lite_file, onnx_file


def count(node: str, shape: list[int | str], weights: dict[str, tuple[int, ...]], **attributes: Any) -> Any:
    """Of a file with one node that takes `x` and the weights."""
    nodes = [helper.make_node(node, ["x", *weights], ["y"], **attributes)]
    arrays = {name: np.zeros(size, np.float32) for name, size in weights.items()}
    return count_onnx(onnx_file(nodes, {"x": ("float32", shape)}, {"y": ("float32", [None] * len(shape))}, arrays))


def test_a_convolution_multiplies_its_kernel_at_every_place() -> None:
    assert count("Conv", ["batch", 3, 10, 10], {"w": (8, 3, 3, 3), "b": (8,)}) == (8 * 27 + 8, 8 * 8 * 8 * 27)


def test_a_depthwise_convolution_with_a_stride_multiplies_far_less() -> None:
    counted = count("Conv", ["batch", 8, 10, 10], {"w": (8, 1, 3, 3)}, group=8, strides=[2, 2], pads=[1, 1, 1, 1])
    assert counted == (72, 5 * 5 * 8 * 9)


def test_a_transposed_convolution_spreads_its_kernel_from_every_place() -> None:
    assert count("ConvTranspose", ["batch", 4, 10], {"w": (4, 2, 3)}) == (24, 4 * 10 * 2 * 3)


def test_a_dense_layer_multiplies_each_weight_once() -> None:
    assert count("Gemm", ["batch", 20], {"w": (20, 5), "b": (5,)}) == (105, 100)
    assert count("MatMul", ["batch", 7, 20], {"w": (20, 5)}) == (100, 700)


def test_a_recurrent_layer_multiplies_its_gates_in_every_step() -> None:
    nodes = [helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=6)]
    weights = {"w": np.zeros((1, 18, 4), np.float32), "r": np.zeros((1, 18, 6), np.float32)}
    file = onnx_file(nodes, {"x": ("float32", [9, "batch", 4])}, {"y": ("float32", [9, 1, "batch", 6])}, weights)
    assert count_onnx(file) == (18 * 10, 9 * 18 * 10)


def test_a_shape_that_nobody_knows_beforehand_gives_no_count() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["numbers"], to=1),
        helper.make_node("MatMul", ["w", "numbers"], ["y"]),
    ]
    file = onnx_file(
        nodes, {"x": ("float32", ["batch", 4])}, {"y": ("float32", [3, None])}, {"w": np.zeros((3, 2), np.float32)}
    )
    assert count_onnx(file) == (6, None)


def test_a_litert_file_is_counted_too() -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed (extra litert)")
    assert count_tflite(lite_file([1, 6], np.zeros((6, 4), np.float32))) == (24, 24)


@pytest.mark.data
def test_yamnet_costs_what_its_makers_say(data_root: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed (extra litert)")
    path = data_root.parent / "models" / "yamnet_spectra_in.tflite"
    if not path.is_file():
        pytest.skip(f"no {path}")
    parameters, macs = count_tflite(path.read_bytes())
    assert parameters == pytest.approx(3.7e6, rel=0.02)  # 3.7 M weights, 69.2 M multiplies
    assert macs == pytest.approx(69.2e6, rel=0.002)


def test_the_networks_of_the_box_are_timed_and_counted(made: Bundle) -> None:
    cost = cost_of(made, open_runtime(made, "cpu"), np.zeros((2, 32, 64), np.float32))
    assert cost.device == "cpu"
    assert cost.ms_per_window is not None
    assert cost.parameters is not None
    weights = sum(len(each) for name, each in made.contents.items() if name.endswith(".safetensors")) / 4
    assert 0.5 * weights < cost.parameters < weights
    assert cost_of(made, open_runtime(made, "cpu"), np.zeros((0, 32, 64), np.float32)).ms_per_window is None


def test_it_counts_for_a_batch_of_one_and_without_shapes() -> None:
    weights = np.zeros((32, 3), np.float32)
    assert count_onnx(linear(["batch", 4, 8], weights)) == count_onnx(linear([1, 4, 8], weights)) == (96, 96)
