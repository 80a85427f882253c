"""What one decision of a bundle costs: parameters, multiply-adds, milliseconds."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..runtime import Runtime, Scorer

TIMED = 50  # windows


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one window, or one hop where a model carries its state.

    Attributes:
        parameters: numbers that were learnt, not shapes, which ONNX keeps as int64; None where the file does not tell.
        macs: multiply-adds of convolutions, matrix products, recurrent layers and linear models; None as above.
        ms_per_window: the model alone, one window a call, one thread; the median of several.
        device: on which.
    """

    parameters: int | None
    macs: int | None
    ms_per_window: float | None
    device: str


def cost_of(bundle: Bundle, runtime: Runtime, windows: NDArray[np.float32]) -> Cost:
    """Counts in the bundle's file, times on `windows` [windows, frames, dims]; of none, no time is told."""
    parameters, macs = _counted(bundle)
    if bundle.manifest.network is not None and bundle.manifest.network.parameters:
        parameters = bundle.manifest.network.parameters
    median_ms = _median_ms(bundle, runtime, windows)
    return Cost(parameters=parameters, macs=macs, ms_per_window=median_ms, device=runtime.device)


def _median_ms(bundle: Bundle, runtime: Runtime, windows: NDArray[np.float32]) -> float | None:
    if not len(windows):
        return None
    scorer = Scorer(runtime, bundle.manifest.states)  # as live: one stream that goes on
    scorer.scores(windows[:1], [0])  # the first call of all is slower
    times = []
    for index in range(TIMED):
        one = windows[index % len(windows)][None]
        began = time.perf_counter()
        scorer.scores(one, [0])
        times.append(time.perf_counter() - began)
    return round(float(np.median(times)) * 1000, 4)


def _counted(bundle: Bundle) -> tuple[int | None, int | None]:
    """Parameters and multiply-adds; None for each that cannot be told, as without the package that reads the file."""
    try:
        if "model.onnx" in bundle.contents:
            return count_onnx(bundle.contents["model.onnx"])
        if "model.tflite" in bundle.contents:
            return count_tflite(bundle.contents["model.tflite"])
    except ModuleNotFoundError:
        pass
    return None, None


def count_onnx(model: bytes) -> tuple[int, int | None]:
    """Parameters and multiply-adds of an ONNX file, for a batch of one; None where a shape is not known beforehand."""
    import onnx

    proto = onnx.load_model_from_string(model)
    graph = proto.graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for given in graph.input:
        for dim in given.type.tensor_type.shape.dim:
            if not dim.dim_value:
                dim.dim_value = 1  # any number of windows: one
    for told in (*graph.output, *graph.value_info):  # the batch would contradict what they say
        told.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        inferred = graph
    shapes = dict(weights)
    for known in (*inferred.input, *inferred.value_info, *inferred.output):
        dims = known.type.tensor_type.shape.dim
        if known.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[known.name] = tuple(dim.dim_value for dim in dims)
    parameters = sum(math.prod(each.dims) for each in graph.initializer if each.data_type != onnx.TensorProto.INT64)
    macs: int | None = 0
    for node in inferred.node:
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        parameters += sum(len(attributes.get(name, ())) for name in _LEARNT_ATTRIBUTES)
        try:
            if macs is not None:
                macs += _onnx_macs(node, attributes, shapes)
        except KeyError:
            macs = None
    return parameters, macs


_LEARNT_ATTRIBUTES = ("coefficients", "support_vectors", "nodes_values", "target_weights", "class_weights")


def _onnx_macs(node: Any, attributes: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> int:
    """Of one node; KeyError where a shape that it needs is not known."""
    kind, inputs, outputs = node.op_type, node.input, node.output
    if kind in ("Conv", "ConvInteger", "QLinearConv"):
        kernel = shapes[inputs[3 if kind == "QLinearConv" else 1]]
        return math.prod(shapes[outputs[0]]) * math.prod(kernel[1:])
    if kind == "ConvTranspose":
        return math.prod(shapes[inputs[0]]) * math.prod(shapes[inputs[1]][1:])
    if kind in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        return math.prod(shapes[outputs[0]]) * shapes[inputs[0]][-1]
    if kind in ("Gemm", "QGemm"):
        return math.prod(shapes[outputs[0]]) * shapes[inputs[0]][0 if attributes.get("transA") else -1]
    if kind in ("LSTM", "GRU", "RNN"):  # the kernels hold all gates of all directions
        steps, batch, _ = shapes[inputs[0]]
        return steps * batch * (math.prod(shapes[inputs[1]]) + math.prod(shapes[inputs[2]]))
    return sum(len(attributes.get(name, ())) for name in ("coefficients", "support_vectors"))


def count_tflite(model: bytes) -> tuple[int, int | None]:
    """Parameters and multiply-adds of a LiteRT file, with the shapes that it states itself."""
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = Interpreter(model_content=model)
    shapes = {each["index"]: tuple(map(int, each["shape"])) for each in interpreter.get_tensor_details()}
    operations = interpreter._get_ops_details()  # the only place where it tells them
    made = {int(index) for each in operations for index in each["outputs"]}
    given = {int(each["index"]) for each in interpreter.get_input_details()}
    taken = {int(index) for each in operations for index in each["inputs"]} & set(shapes)
    parameters = sum(math.prod(shapes[index]) for index in taken - made - given)
    return parameters, sum(
        _tflite_macs(each["op_name"], each["inputs"], each["outputs"], shapes) for each in operations
    )


def _tflite_macs(kind: str, inputs: Sequence[int], outputs: Sequence[int], shapes: dict[int, tuple[int, ...]]) -> int:
    made = math.prod(shapes[int(outputs[0])]) if len(outputs) and int(outputs[0]) in shapes else 0
    if kind == "CONV_2D":
        return made * math.prod(shapes[int(inputs[1])][1:])
    if kind == "DEPTHWISE_CONV_2D":
        return made * math.prod(shapes[int(inputs[1])][1:3])
    if kind in ("FULLY_CONNECTED", "BATCH_MATMUL"):
        return made * shapes[int(inputs[1 if kind == "FULLY_CONNECTED" else 0])][-1]
    return 0
