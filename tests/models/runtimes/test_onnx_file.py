"""What an ONNX file asks for is known before anything opens it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.models.runtimes.onnx_file import check_onnx, read_onnx
from earwitness.stream.errors import EarwitnessError

onnx = pytest.importorskip("onnx", reason="model files are made with onnx (extra train)")

from ..foreign_models import linear, onnx_file  # noqa: E402

PLAIN = linear(["batch", 6], np.ones((6, 2), np.float32))


def identity(opset: int = 17, **further: Any) -> bytes:
    node = onnx.helper.make_node("Identity", ["x"], ["y"], domain=further.pop("domain", ""))
    return onnx_file([node], {"x": ("float32", [1])}, {"y": ("float32", [1])}, {}, opset, **further)


def with_weights_in(location: str, inside: str = "graph", **entries: str) -> bytes:
    """A file whose weights lie elsewhere: of the graph itself, of a graph in a node, or of a node's attribute."""
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], b"\0" * 4, raw=True)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    branch = onnx.helper.make_graph([], "branch", [], [onnx.helper.make_tensor_value_info("w", 1, [1])], [tensor])
    empty = onnx.helper.make_graph([], "empty", [], [], [])
    nodes = {
        "graph": onnx.helper.make_node("Identity", ["w"], ["y"]),
        "branch": onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=empty),
        "attribute": onnx.helper.make_node("Constant", [], ["y"], value=tensor),
    }
    outputs = [onnx.helper.make_tensor_value_info("y", 1, [1])]
    graph = onnx.helper.make_graph([nodes[inside]], "g", [], outputs, [tensor] if inside == "graph" else [])
    data: bytes = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]).SerializeToString()
    return data


def test_opsets_and_operators_are_read() -> None:
    found = check_onnx(PLAIN, {})
    assert found.opsets == {"": 17}
    assert found.operators == {"": {"Cast", "Reshape", "MatMul"}}
    assert found.external == []


def test_an_opset_that_nobody_promises_to_run_is_refused() -> None:
    with pytest.raises(EarwitnessError, match="has opset 6; export it again with 7 or later"):
        check_onnx(identity(6), {})


def test_operators_that_onnx_runtime_does_not_have_are_refused_by_name() -> None:
    data = identity(domain="ai.onnx.contrib", opsets=[onnx.helper.make_opsetid("ai.onnx.contrib", 1)])
    with pytest.raises(EarwitnessError, match=r"operators of 'ai.onnx.contrib' \(Identity\)"):
        check_onnx(data, {})


def test_functions_that_the_file_brings_along_are_its_own() -> None:
    function = onnx.helper.make_function(
        "mine", "Double", ["a"], ["b"], [onnx.helper.make_node("Add", ["a", "a"], ["b"])],
        [onnx.helper.make_opsetid("", 17)],
    )  # fmt: skip
    node = onnx.helper.make_node("Double", ["x"], ["y"], domain="mine")
    data = onnx_file(
        [node], {"x": ("float32", [1])}, {"y": ("float32", [1])}, {},
        opsets=[onnx.helper.make_opsetid("mine", 1)], functions=[function],
    )  # fmt: skip
    assert check_onnx(data, {}).functions == {"mine"}


@pytest.mark.parametrize("inside", ["graph", "branch", "attribute"])
@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "sub/w", "other", ""])
def test_weights_outside_of_the_bundle_are_refused_wherever_they_are_named(inside: str, location: str) -> None:
    with pytest.raises(EarwitnessError, match="which is no file of the bundle"):
        check_onnx(with_weights_in(location, inside), {"w.data": 4})


def test_weights_beside_the_file_are_allowed_within_its_size() -> None:
    assert check_onnx(with_weights_in("w.data", length="4"), {"w.data": 4}).external == [("w.data", 0, 4)]
    for entries in ({"offset": "4", "length": "4"}, {"length": "5"}, {"offset": "-1"}, {"length": "-4"}):
        with pytest.raises(EarwitnessError, match=r"behind the end of 'w.data'"):
            check_onnx(with_weights_in("w.data", **entries), {"w.data": 4})


@pytest.mark.parametrize("data", [b"", b"\x00", b"not a graph", b"PK\x03\x04zip", bytes(range(256)), b"\xff" * 64])
def test_what_is_no_onnx_file_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(EarwitnessError, match="no ONNX file") as caught:
        read_onnx(data)
    assert "\n" not in str(caught.value)


def test_graphs_without_end_in_each_other_are_refused() -> None:
    data = b""
    for _ in range(300):  # of a graph the node's attribute's graph
        for key in (6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2):
            data = bytes([key]) + varint(len(data)) + data
    with pytest.raises(EarwitnessError, match="too deep"):
        read_onnx(bytes([7 << 3 | 2]) + varint(len(data)) + data)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(PLAIN) - 1), st.binary(min_size=1, max_size=4))
def test_a_damaged_file_is_read_or_refused_never_anything_else(at: int, damage: bytes) -> None:
    for data in (PLAIN[:at], PLAIN[:at] + damage + PLAIN[at + len(damage) :]):
        try:
            read_onnx(data)
        except EarwitnessError:
            pass
