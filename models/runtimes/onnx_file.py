"""What an ONNX file asks for, read before anything opens it: opset, operators of others, weights in other files.

A reader of the protobuf wire format (https://protobuf.dev/programming-guides/encoding) for the few fields of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) that matter here, because the package `onnx` is none of a live
process's. Tensors are passed over by their length: neither is anything of them kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ...stream.errors import EarwitnessError

OLDEST_OPSET = 7  # from which on ONNX Runtime promises compatibility
STANDARD = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # the domains whose operators ONNX Runtime brings along
DEEPEST = 64  # graphs within graphs

_MODEL_OPSET, _MODEL_GRAPH, _MODEL_FUNCTION = 8, 7, 25
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_FUNCTION_NODE, _FUNCTION_DOMAIN = 7, 10
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_SPARSE_TENSORS = (1, 2)
_TENSOR_EXTERNAL, _ENTRY_KEY, _ENTRY_VALUE = 13, 1, 2


@dataclass
class OnnxFile:
    """What a file asks for.

    Attributes:
        opsets: version by domain; "" is ONNX's own.
        operators: names of operators by domain.
        functions: the domains of functions that the file itself has.
        external: (file name, first byte, bytes or -1 for the rest) of each tensor whose values are in another file.
    """

    opsets: dict[str, int] = field(default_factory=dict)
    operators: dict[str, set[str]] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    external: list[tuple[str, int, int]] = field(default_factory=list)


def read_onnx(data: bytes) -> OnnxFile:
    """Read what a file asks for.

    Raises:
        EarwitnessError: it is cut short, or no ONNX file at all.
    """
    found = OnnxFile()
    graphs = 0
    try:
        for number, value in _fields(memoryview(data)):
            if number == _MODEL_OPSET:
                opset = dict(_fields(_message(value)))
                found.opsets[_text(opset.get(_OPSET_DOMAIN, b""))] = _number(opset.get(_OPSET_VERSION, 0))
            elif number == _MODEL_GRAPH:
                graphs += 1
                _read_graph(_message(value), found, 0)
            elif number == _MODEL_FUNCTION:
                for inner, part in _fields(_message(value)):
                    if inner == _FUNCTION_NODE:
                        _read_node(_message(part), found, 0)
                    elif inner == _FUNCTION_DOMAIN:
                        found.functions.add(_text(part))
    except (IndexError, ValueError) as error:
        raise EarwitnessError(f"is no ONNX file, or a damaged one: {error}") from None
    if not graphs or not found.opsets:
        raise EarwitnessError("is no ONNX file: it has no graph with an opset")
    return found


def check_onnx(data: bytes, beside: Mapping[str, int]) -> OnnxFile:
    """Refuse a file that ONNX Runtime shall not be asked to open.

    Args:
        beside: size in bytes of each file of the bundle, by name: the only ones that weights may lie in.

    Raises:
        EarwitnessError: damaged, too old an opset, operators that ONNX Runtime does not have, or weights elsewhere.
    """
    found = read_onnx(data)
    opset = found.opsets.get("", found.opsets.get("ai.onnx", OLDEST_OPSET))
    if opset < OLDEST_OPSET:
        raise EarwitnessError(f"has opset {opset}; export it again with {OLDEST_OPSET} or later, 17 is a good choice")
    for domain, operators in sorted(found.operators.items()):
        if domain not in STANDARD and domain not in found.functions:
            raise EarwitnessError(
                f"uses operators of {domain!r} ({', '.join(sorted(operators)[:3])}), which ONNX Runtime does not have "
                "by itself; export it without them"
            )
    for location, first, length in found.external:
        if location not in beside:
            raise EarwitnessError(
                f"has weights in {location!r}, which is no file of the bundle; only plain names beside it are allowed"
            )
        if first < 0 or length < -1 or first + max(0, length) > beside[location]:
            raise EarwitnessError(f"looks for weights behind the end of {location!r}")
    return found


def _read_graph(graph: memoryview, found: OnnxFile, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError("graphs lie too deep in each other")
    for number, value in _fields(graph):
        if number == _GRAPH_NODE:
            _read_node(_message(value), found, depth)
        elif number == _GRAPH_INITIALIZER:
            _read_tensor(_message(value), found)
        elif number == _GRAPH_SPARSE:
            _read_sparse(_message(value), found)


def _read_node(node: memoryview, found: OnnxFile, depth: int) -> None:
    domain = operator = ""
    for number, value in _fields(node):
        if number == _NODE_OPERATOR:
            operator = _text(value)
        elif number == _NODE_DOMAIN:
            domain = _text(value)
        elif number == _NODE_ATTRIBUTE:
            for kind, part in _fields(_message(value)):
                if kind in _ATTRIBUTE_GRAPHS:
                    _read_graph(_message(part), found, depth + 1)
                elif kind in _ATTRIBUTE_TENSORS:
                    _read_tensor(_message(part), found)
                elif kind in _ATTRIBUTE_SPARSE:
                    _read_sparse(_message(part), found)
    found.operators.setdefault(domain, set()).add(operator)


def _read_sparse(sparse: memoryview, found: OnnxFile) -> None:
    for number, value in _fields(sparse):
        if number in _SPARSE_TENSORS:
            _read_tensor(_message(value), found)


def _read_tensor(tensor: memoryview, found: OnnxFile) -> None:
    entries = {}
    for number, value in _fields(tensor):
        if number == _TENSOR_EXTERNAL:
            entry = dict(_fields(_message(value)))
            entries[_text(entry.get(_ENTRY_KEY, b""))] = _text(entry.get(_ENTRY_VALUE, b""))
    if entries:
        first, length = int(entries.get("offset", "0")), int(entries.get("length", "-1"))
        found.external.append((entries.get("location", ""), first, length))


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message: an int, or the bytes of what has a length."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if length > end - at:
            raise ValueError("it ends in the middle of a field")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number without end")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value


def _text(value: int | bytes | memoryview) -> str:
    if isinstance(value, int):
        raise ValueError("a number where a text belongs")
    return bytes(value[:1024]).decode()


def _number(value: int | bytes | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where a number belongs")
    return value
