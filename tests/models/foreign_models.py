"""Model files such as others have, made here: small, and with values that a test can work out by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Shape = Sequence[int | str]


def onnx_file(
    nodes: Sequence[Any],
    inputs: Mapping[str, tuple[str, Shape]],
    outputs: Mapping[str, tuple[str, Shape]],
    weights: Mapping[str, NDArray[Any]],
    opset: int = 17,
    **further: Any,
) -> bytes:
    """A graph of `onnx.helper` nodes; tensors are (numpy dtype, shape)."""
    from onnx import helper, numpy_helper

    def ports(told: Mapping[str, tuple[str, Shape]]) -> list[Any]:
        return [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))
            for name, (dtype, shape) in told.items()
        ]

    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(list(nodes), "model", ports(inputs), ports(outputs), constants)
    opsets = [helper.make_opsetid("", opset), *further.pop("opsets", [])]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9, **further).SerializeToString()
    return data


def linear(
    shape: Shape, weights: Array, *, dtype: str = "float32", activation: str | None = None, batch: bool = True,
    second: str | None = None,
) -> bytes:  # fmt: skip
    """`x`, all its axes but the batch in one, times `weights` [values, labels], as `y`.

    activation: an operator of ONNX behind that. batch: whether the first axis is one. second: a further output of that
    name, the values themselves.
    """
    from onnx import helper

    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=1),
        helper.make_node("Reshape", ["float", "flat_shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["product" if activation else "y"]),
    ]
    if activation:
        nodes.append(helper.make_node(activation, ["product"], ["y"]))
    first = shape[0] if batch else 1
    outputs: dict[str, tuple[str, Shape]] = {"y": ("float32", [first, weights.shape[1]])}
    if second:
        nodes.append(helper.make_node("Identity", ["flat"], [second]))
        outputs[second] = ("float32", [first, weights.shape[0]])
    flat = np.array([0 if batch else 1, weights.shape[0]], np.int64)
    return onnx_file(nodes, {"x": (dtype, shape)}, outputs, {"flat_shape": flat, "weights": weights})


def memory(decay: float = 0.5, *, window: int = 576, batch: bool = True) -> bytes:
    """As Silero's: `input` [batch, window], `state` [2, batch, 4], `sr`; `output` [batch, 1], `stateN`.

    The next state is decay * state + the window's mean; the output the sigmoid of its mean times sr / 16000.
    """
    from onnx import helper

    many: int | str = "batch" if batch else 1
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["state", "decay"], ["less"]),
        helper.make_node("Add", ["less", "mean"], ["stateN"]),
        helper.make_node("ReduceMean", ["stateN"], ["both"], axes=[0, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["both", "last"], ["column"]),
        helper.make_node("Cast", ["sr"], ["rate"], to=1),
        helper.make_node("Div", ["rate", "sixteen"], ["share"]),
        helper.make_node("Mul", ["column", "share"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["output"]),
    ]
    return onnx_file(
        nodes,
        {"input": ("float32", [many, window]), "state": ("float32", [2, many, 4]), "sr": ("int64", [])},
        {"output": ("float32", [many, 1]), "stateN": ("float32", [2, many, 4])},
        {
            "decay": np.array(decay, np.float32), "sixteen": np.array(16000, np.float32),
            "last": np.array([1], np.int64),
        },
    )  # fmt: skip


def lite_file(
    shape: Sequence[int], weights: Array, *, custom: str | None = None, quantized: tuple[float, int] | None = None
) -> bytes:
    """A LiteRT file: `x` of that shape, taken as one row, times `weights` [values, labels], then a sigmoid as `y`.

    custom: the name of an operator of others in place of the sigmoid. quantized: step and zero point of `x` in int8.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, shape: Sequence[int], buffer: int, dtype: int = schema.TensorType.FLOAT32) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name.encode(), list(shape), buffer, dtype
        return made

    def buffer(data: bytes = b"") -> Any:
        made = schema.BufferT()
        made.data = np.frombuffer(data, np.uint8) if data else None
        return made

    def code(builtin: int, name: str | None = None) -> Any:
        made = schema.OperatorCodeT()
        made.builtinCode, made.deprecatedBuiltinCode = builtin, min(builtin, 127)
        made.customCode = name.encode() if name else None
        return made

    def operator(index: int, takes: list[int], gives: list[int]) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = index, takes, gives
        return made

    values, labels = weights.shape
    kinds = schema.BuiltinOperator
    codes = [code(kinds.CUSTOM, custom) if custom else code(kinds.LOGISTIC), code(kinds.FULLY_CONNECTED)]
    tensors = [
        tensor("x", shape, 0), tensor("weights", [labels, values], 1), tensor("sum", [1, labels], 0),
        tensor("y", [1, labels], 0),
    ]  # fmt: skip
    multiply = operator(1, [0, 1, -1], [2])
    multiply.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    multiply.builtinOptions = schema.FullyConnectedOptionsT()
    steps = [multiply, operator(0, [2], [3])]
    first = 0
    if quantized:
        step, zero = quantized
        whole = tensor("x", shape, 0, schema.TensorType.INT8)
        whole.quantization = schema.QuantizationParametersT()
        whole.quantization.scale, whole.quantization.zeroPoint = [step], [zero]
        tensors[0].name = b"floats"
        tensors.append(whole)
        codes.append(code(kinds.DEQUANTIZE))
        steps.insert(0, operator(2, [4], [0]))
        first = 4
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [first], [3], steps
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, codes, [graph]
    model.buffers = [buffer(), buffer(np.ascontiguousarray(weights.T).tobytes())]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
