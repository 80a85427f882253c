"""What a LiteRT file asks for, read before anything opens it: operators of others, tensors beyond all bounds."""

from __future__ import annotations

import math
import struct

from ...stream.errors import EarwitnessError

LARGEST_TENSORS = 1 << 31  # bytes of all tensors together
IDENTIFIER = b"TFL3"  # of the file format, at bytes 4 to 8


def check_litert(data: bytes) -> None:
    """Refuse a file that LiteRT shall not be asked to open. Needs the extra `litert`, whose schema reads it.

    Raises:
        EarwitnessError: damaged, none at all, operators that LiteRT does not have, or tensors that fill the memory.
    """
    if data[4:8] != IDENTIFIER:
        raise EarwitnessError("is no LiteRT file: it does not say TFL3")
    from ai_edge_litert.schema_py_generated import BuiltinOperator, Model

    try:
        model = Model.GetRootAs(data, 0)
        for index in range(_counted(model.OperatorCodesLength(), data)):
            code = model.OperatorCodes(index)
            if code.BuiltinCode() == BuiltinOperator.CUSTOM:
                raise EarwitnessError(_why_not((code.CustomCode() or b"").decode(errors="replace")))
        if not model.SubgraphsLength():
            raise ValueError("it has no graph")
        total = 0
        for graph in map(model.Subgraphs, range(_counted(model.SubgraphsLength(), data))):
            for tensor in map(graph.Tensors, range(_counted(graph.TensorsLength(), data))):
                shape = [tensor.Shape(axis) for axis in range(_counted(tensor.ShapeLength(), data))]
                total += 8 * math.prod(max(1, length) for length in shape)
                if not 0 <= tensor.Buffer() < model.BuffersLength():
                    raise ValueError("a tensor has no buffer")
        for buffer in map(model.Buffers, range(_counted(model.BuffersLength(), data))):
            _counted(buffer.DataLength(), data)
            if buffer.DataLength():
                buffer.Data(buffer.DataLength() - 1)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError) as error:
        raise EarwitnessError(f"is a damaged LiteRT file: {error}") from None
    if total > LARGEST_TENSORS:
        raise EarwitnessError(f"wants tensors of {total / 1e9:.1f} GB; at most {LARGEST_TENSORS / 1e9:.1f}")


def _counted(count: int, data: bytes) -> int:
    if not 0 <= count <= len(data):
        raise ValueError(f"a list of {count}")
    return count


def _why_not(operator: str) -> str:
    if operator.startswith("Flex"):
        return (
            f"uses {operator!r}, an operator of TensorFlow itself; convert it again with "
            "supported_ops = [TFLITE_BUILTINS] alone"
        )
    return f"uses the custom operator {operator!r}, which LiteRT does not have by itself; convert it without"
