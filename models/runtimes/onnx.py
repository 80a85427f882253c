"""Runs `model.onnx` in ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...stream.errors import EarwitnessError
from ..bundle import Bundle
from .graph import GraphRuntime, Port
from .layout import Tensor
from .onnx_file import check_onnx

MODEL = "model.onnx"
DTYPES = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(int8)": "int8",
    "tensor(uint8)": "uint8", "tensor(int16)": "int16", "tensor(int32)": "int32", "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}  # fmt: skip


class OnnxRuntime(GraphRuntime):
    """`model.onnx` with the verified bytes of the bundle, whatever has become of its files since."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        super().__init__(bundle)
        if MODEL not in bundle.contents:
            raise EarwitnessError(f"bundle {bundle.path}: it has no {MODEL}, which the CPU needs")
        try:
            check_onnx(bundle.contents[MODEL], {name: len(data) for name, data in bundle.contents.items()})
        except EarwitnessError as error:
            raise EarwitnessError(f"bundle {bundle.path}: {MODEL} {error}") from None
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        # It keeps a plan, and memory, for every batch size ever seen; a model that goes on is small, and in a hurry.
        options.enable_mem_pattern = bool(bundle.manifest.states)
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the core alone
        weights = {name: data for name, data in bundle.contents.items() if name != MODEL}
        if weights:
            sizes = [len(data) for data in weights.values()]
            options.add_external_initializers_from_files_in_memory(list(weights), list(weights.values()), sizes)
        try:
            self._session = onnxruntime.InferenceSession(
                bundle.contents[MODEL], options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own kinds have no common base
            reason = str(error).splitlines()[0]
            raise EarwitnessError(f"bundle {bundle.path}: ONNX Runtime refuses {MODEL}: {reason}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._check_ports(MODEL, [*map(_port, inputs)], [*map(_port, outputs)])

    def _run(self, feeds: Mapping[str, Tensor], outputs: Sequence[str]) -> Sequence[Tensor]:
        try:
            found: Sequence[Tensor] = self._session.run(outputs, feeds)
            return found
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise EarwitnessError(f"bundle {self.bundle.path}: ONNX Runtime cannot run {MODEL}: {reason}") from error


def _port(tensor: Any) -> Port:
    """ONNX Runtime tells no shape and the shape of a single number alike: []."""
    shape = tuple(length if isinstance(length, int) else None for length in tensor.shape)
    return Port(tensor.name, DTYPES.get(tensor.type, tensor.type), shape or None)
