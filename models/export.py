"""From a trained network to the files of a bundle, checked against torch."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import numpy as np
import onnx
import torch
from safetensors.torch import save as to_safetensors
from torch import nn

from ..stream.errors import EarwitnessError
from .bundle import Bundle, State
from .runtime import WEIGHTS, Scorer, activate, open_runtime

INPUT, OUTPUT = "windows", "logits"
STATE, NEXT_STATE = "state", "next_state"
OPSET = 18
TOLERANCE = 1e-4  # of probabilities
LARGEST_CONSTANT = 256  # bytes that the graph may hold itself: shapes and the like


def to_onnx(network: nn.Module, window: tuple[int, int]) -> dict[str, bytes]:
    """The network as `model.onnx`, any number of windows [batch, *window], and its weights as `model.safetensors`.

    The weights are stored once: the ONNX file refers to the other by offset, torch loads it by name. For that, the
    network's norms are folded (see `registry.for_use`), and the file says what is made of parameters (the gates of
    recurrent cells in ONNX's order) instead of holding it: runtimes do that when they load it.

    A network with states becomes the graph of one step, which takes and gives those of `states_of`.
    """
    network = network.eval()
    examples = {INPUT: torch.zeros(2, *window)}
    examples |= {state.input: torch.zeros(2, *state.shape) for state in states_of(network)}
    graph = _exported(network, examples, [OUTPUT, *(state.output for state in states_of(network))])
    weights = to_safetensors({name: value.contiguous() for name, value in network.state_dict().items()})
    _refer(graph, weights)
    graph.producer_version = graph.doc_string = ""
    graph.graph.doc_string = ""
    del graph.graph.value_info[:], graph.metadata_props[:]
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return {"model.onnx": graph.SerializeToString(deterministic=True), WEIGHTS: weights}


def states_of(network: nn.Module) -> list[State]:
    """What a network carries from window to window of a stream, for the manifest; [] where each is seen afresh."""
    size = getattr(network, "state_size", 0)
    return [State(input=STATE, output=NEXT_STATE, shape=[size])] if size else []


def check_export(bundle: Bundle, network: nn.Module, windows: np.ndarray, batches: Sequence[int] = (1, 7, 16)) -> float:
    """Compare the bundle's probabilities with torch's, at several batch sizes, and return the largest difference.

    The windows [windows, window_frames, dims] for a network with states are those of one sound, from its beginning on.

    Raises:
        EarwitnessError: they differ by more than `TOLERANCE`.
    """
    runtime = open_runtime(bundle, "cpu")
    states, judged = bundle.manifest.states, cast(Any, network.eval())
    with torch.inference_mode():
        given = torch.from_numpy(windows)
        logits = judged.hops(given.flatten(0, 1).unsqueeze(0))[0] if states else judged(given)
    expected = activate(logits.numpy(), bundle.manifest.output)
    worst = 0.0
    for size in batches:
        if states:  # so many streams that hear the same
            scorer = Scorer(runtime, states)
            parts = [scorer.scores(np.stack([window] * size), range(size))[:1] for window in windows]
        else:
            parts = [runtime.scores(windows[k : k + size]) for k in range(0, len(windows), size)]
        worst = max(worst, float(np.abs(np.concatenate(parts) - expected).max()))
    if worst > TOLERANCE:
        raise EarwitnessError(f"the exported {bundle.manifest.name} differs from torch by {worst:.2g}")
    return worst


def _exported(network: nn.Module, examples: dict[str, torch.Tensor], outputs: list[str]) -> onnx.ModelProto:
    file: Any = io.BytesIO()  # which the older exporter takes, whatever its annotations say
    if len(examples) > 1:
        stepping: Any = copy.copy(network)
        stepping.forward = stepping.step  # the exporter follows no other method
        network = stepping
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is loud about its own future
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            network, tuple(examples.values()), file, dynamo=False, opset_version=OPSET, input_names=[*examples],
            output_names=outputs, dynamic_axes={name: {0: "batch"} for name in (*examples, *outputs)},
            do_constant_folding=False,
        )  # fmt: skip
    return onnx.load_model_from_string(file.getvalue())


def _refer(graph: onnx.ModelProto, weights: bytes) -> None:
    """Let the graph's initializers refer to the tensors of the same names in the safetensors file."""
    length = int.from_bytes(weights[:8], "little")
    header = msgspec.json.decode(weights[8 : 8 + length])
    for tensor in graph.graph.initializer:
        if tensor.name in header:
            first, end = header[tensor.name]["data_offsets"]
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", WEIGHTS), ("offset", 8 + length + first), ("length", end - first)):
                tensor.external_data.add(key=key, value=str(value))
    constants = [each.t for node in graph.graph.node if node.op_type == "Constant" for each in node.attribute]
    for tensor in (*graph.graph.initializer, *constants):
        if len(tensor.raw_data) > LARGEST_CONSTANT:
            raise EarwitnessError(
                f"the export holds {len(tensor.raw_data)} bytes {tensor.name} that are no weight of the network's: "
                "fold the norms first, and let what it computes with be a buffer"
            )
