"""Runs a network of `models/networks` in torch, on CUDA or the CPU. torch is loaded with the first runtime."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from ...stream.errors import EarwitnessError
from ..bundle import Bundle
from .layout import Array, Tensor, activate
from .scorer import Scorer

WEIGHTS = "model.safetensors"


class TorchRuntime:
    """The network of `models/networks` that the manifest names, with the weights of `model.safetensors`."""

    def __init__(self, bundle: Bundle, device: str = "cuda") -> None:
        import torch

        network = bundle.manifest.network
        # By its name at run time: what nodes import must not draw the networks, and with them torch, in.
        registry = importlib.import_module("..networks.registry", __package__)
        if network is None or network.kind not in registry.NETWORKS or WEIGHTS not in bundle.contents:
            raise EarwitnessError(f"bundle {bundle.path}: it names no network that torch could build here")
        shape = bundle.manifest.window_frames, bundle.manifest.front_end.dims
        model = registry.for_use(
            registry.build_network(network.kind, shape, len(bundle.manifest.labels), network.options)
        )
        weights = {name: torch.from_numpy(array) for name, array in read_safetensors(bundle.contents[WEIGHTS]).items()}
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise EarwitnessError(f"bundle {bundle.path}: {WEIGHTS} is not of its network") from error
        self._states = bundle.manifest.states
        if self._states and not hasattr(model, "step"):
            raise EarwitnessError(f"bundle {bundle.path}: it has states, which a network {network.kind} does not carry")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # the CPU's scores, to 1e-5
        self.device = device
        self._model: Any = model.eval().to(device)
        self._output = bundle.manifest.output

    def scores(self, windows: Array) -> Array:
        """See `Runtime`."""
        if self._states and len(windows):
            return Scorer(self, self._states).scores(windows, [0] * len(windows))
        return self.call(windows, {})[0]

    def call(self, windows: Array, states: Mapping[str, Tensor]) -> tuple[Array, dict[str, Tensor]]:
        """See `Runtime`."""
        import torch

        # Writable copies, so that torch does not warn; a batch of recorded frames is small.
        given = [torch.tensor(each, device=self.device) for each in (windows, *states.values())]
        with torch.inference_mode():
            values, *behind = self._model.step(*given) if states else (self._model(*given),)
        carried = {name: each.cpu().numpy() for name, each in zip(states, behind, strict=True)}
        return activate(values.cpu().numpy(), self._output), carried


def read_safetensors(data: bytes) -> dict[str, Array]:
    """The float32 arrays of a safetensors file (https://huggingface.co/docs/safetensors), writable copies.

    Raises:
        EarwitnessError: it is none, or holds something else.
    """
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > len(data) - 8:
            raise ValueError("it is cut short")
        header = msgspec.json.decode(data[8 : 8 + length], type=dict[str, dict[str, Any]])
        arrays = {}
        for name, entry in header.items():
            if name != "__metadata__":
                first, end = (8 + length + offset for offset in entry["data_offsets"])
                if entry["dtype"] != "F32":
                    raise ValueError(f"{name} is {entry['dtype']}, not F32")
                arrays[name] = np.frombuffer(data[first:end], "<f4").reshape(entry["shape"]).copy()
    except (struct.error, msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise EarwitnessError(f"{WEIGHTS} cannot be read: {error}") from error
    return arrays
