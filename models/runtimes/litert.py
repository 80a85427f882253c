"""Runs `model.tflite` in LiteRT on the CPU (extra `litert`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from ...stream.errors import EarwitnessError
from ..bundle import Bundle
from .graph import GraphRuntime, Port
from .layout import Array, Tensor
from .litert_file import check_litert

MODEL = "model.tflite"


class LiteRtRuntime(GraphRuntime):
    """`model.tflite` with the verified bytes of the bundle.

    A batch that may be any is settled anew for each size of batch; a tensor of 8 or 16 bits with a scale in the file is
    filled and read by that scale.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        super().__init__(bundle)
        if MODEL not in bundle.contents:
            raise EarwitnessError(f"bundle {bundle.path}: it has no {MODEL}")
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise EarwitnessError(
                f"bundle {bundle.path}: {MODEL} needs LiteRT: pip install 'earwitness[litert]'"
            ) from None

        try:
            check_litert(bundle.contents[MODEL])
        except EarwitnessError as error:
            raise EarwitnessError(f"bundle {bundle.path}: {MODEL} {error}") from None
        try:
            with _without_chatter():
                self._net = Interpreter(model_content=bundle.contents[MODEL], num_threads=threads)
            inputs, outputs = self._net.get_input_details(), self._net.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise self._refusal("refuses", error) from error
        self._check_ports(MODEL, [*map(_port, inputs)], [*map(_port, outputs)])
        self._inputs = {detail["name"]: detail for detail in inputs}
        self._given = {detail["name"]: detail for detail in outputs}
        step, zero = self._inputs[self._input.name]["quantization"]
        if step and self._inputs[self._input.name]["dtype"] != np.float32:
            given = self._input
            self._input = msgspec.structs.replace(given, scale=given.scale / step, offset=given.offset / step + zero)
        self._shapes: dict[str, tuple[int, ...]] = {}

    def _run(self, feeds: Mapping[str, Tensor], outputs: Sequence[str]) -> Sequence[Tensor]:
        try:
            self._settle({name: tensor.shape for name, tensor in feeds.items()})
            for name, tensor in feeds.items():
                self._net.set_tensor(self._inputs[name]["index"], tensor)
            self._net.invoke()
            return [self._read(name) for name in outputs]
        except (ValueError, RuntimeError) as error:
            raise self._refusal("cannot run", error) from error

    def _settle(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Let the tensors have these shapes, and their memory."""
        if shapes == self._shapes:
            return
        for name, shape in shapes.items():
            if tuple(self._inputs[name]["shape"]) != shape or self._shapes:
                self._net.resize_tensor_input(self._inputs[name]["index"], shape, strict=True)
        with _without_chatter():
            self._net.allocate_tensors()
        self._shapes = shapes

    def _read(self, name: str) -> Tensor:
        detail = self._given[name]
        values: Tensor = self._net.get_tensor(detail["index"])
        step, zero = detail["quantization"]
        if name != self.manifest.output.name or not step or values.dtype == np.float32:
            return values  # states go back as they came
        scores: Array = (values.astype(np.float32) - np.float32(zero)) * np.float32(step)
        return scores

    def _refusal(self, verb: str, error: Exception) -> EarwitnessError:
        reason = next(iter(str(error).splitlines()), "no reason given")
        return EarwitnessError(f"bundle {self.bundle.path}: LiteRT {verb} {MODEL}: {reason}")


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """LiteRT greets on standard error, where a person reads; what goes wrong it tells by exceptions too."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _port(detail: dict[str, Any]) -> Port:
    shape = tuple(None if length < 0 else int(length) for length in detail["shape_signature"])
    return Port(detail["name"], np.dtype(detail["dtype"]).name, shape)
