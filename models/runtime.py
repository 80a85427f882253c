"""Runs a bundle: windows in, probabilities out. ONNX Runtime on a CPU; torch on CUDA where both are there.

Importing this loads neither; a live process on a CPU never loads torch.
"""

from __future__ import annotations

import importlib
import importlib.util
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..stream.errors import EarwitnessError, nearest
from .bundle import Bundle, Output

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float32]

DEVICES = ("auto", "cpu", "cuda")
WEIGHTS = "model.safetensors"
LARGEST_BATCH = 16  # windows in one call of ONNX Runtime


class Runtime(Protocol):
    """A bundle that is ready to score."""

    device: str  # "cpu" or "cuda"

    def scores(self, windows: Array) -> Array:
        """Probabilities 0..1 [batch, labels] of windows [batch, window_frames, dims] as the front end made them."""
        ...


def open_runtime(bundle: Bundle, device: str = "auto", threads: int = 1) -> Runtime:
    """Make a bundle ready to run.

    Args:
        device: "cpu"; "cuda", which must be there; "auto": CUDA where a GPU, torch for it and the bundle's weights for
            torch are there, else the CPU.
        threads: CPU threads for one batch.

    Raises:
        EarwitnessError: no such device, CUDA asked for and not there, or a model that does not fit its manifest.
    """
    if device not in DEVICES:
        raise EarwitnessError(f"unknown device {device!r}: {nearest(device, DEVICES)}")
    obstacle = None if device == "cpu" else why_no_cuda(bundle)
    if device == "cuda" and obstacle:
        raise EarwitnessError(f"device 'cuda': {obstacle}; --device cpu works everywhere")
    if device == "cpu" or obstacle:
        return OnnxRuntime(bundle, threads)
    return TorchRuntime(bundle, "cuda")


def why_no_cuda(bundle: Bundle) -> str | None:
    """What keeps this bundle from running on a GPU here; None when nothing does.

    torch is loaded only where an NVIDIA driver is: a process that ends up on the CPU shall not carry it.
    """
    if not any(map(Path.exists, map(Path, ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")))):
        return "no NVIDIA GPU is to be seen"
    if bundle.manifest.network is None or WEIGHTS not in bundle.contents:
        return f"{bundle.manifest.name} has no weights for torch"
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed (pip install 'earwitness[gpu]')"
    import torch

    return None if torch.cuda.is_available() else "torch sees no CUDA device"


class OnnxRuntime:
    """`model.onnx` in ONNX Runtime on the CPU."""

    device = "cpu"

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        if "model.onnx" not in bundle.contents:
            raise EarwitnessError(f"bundle {bundle.path}: it has no model.onnx, which the CPU needs")
        import onnxruntime

        manifest = bundle.manifest
        self._output, self._labels = manifest.output, len(manifest.labels)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.enable_mem_pattern = False  # it keeps a plan, and memory, for every batch size ever seen
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the core alone
        if WEIGHTS in bundle.contents:  # the verified bytes, whatever has become of the file since
            weights = bundle.contents[WEIGHTS]
            options.add_external_initializers_from_files_in_memory([WEIGHTS], [weights], [len(weights)])
        try:
            self._session = onnxruntime.InferenceSession(
                bundle.contents["model.onnx"], options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own kinds have no common base
            reason = str(error).splitlines()[0]
            raise EarwitnessError(f"bundle {bundle.path}: ONNX Runtime refuses model.onnx: {reason}") from error
        self._input = manifest.input.name
        _check_graph(bundle, self._session)

    def scores(self, windows: Array) -> Array:
        """See `Runtime`. Large batches are taken in parts: no slower, and memory stays the same."""
        parts = [
            self._session.run([self._output.name], {self._input: windows[first : first + LARGEST_BATCH]})[0]
            for first in range(0, len(windows), LARGEST_BATCH)
        ]
        values = np.concatenate(parts) if parts else np.empty((0, self._labels), np.float32)
        return activate(values, self._output)


class TorchRuntime:
    """The network of `models/networks` that the manifest names, with the weights of `model.safetensors`."""

    def __init__(self, bundle: Bundle, device: str = "cuda") -> None:
        import torch

        network = bundle.manifest.network
        # By its name at run time: what nodes import must not draw the networks, and with them torch, in.
        registry = importlib.import_module(".networks.registry", __package__)
        if network is None or network.kind not in registry.NETWORKS or WEIGHTS not in bundle.contents:
            raise EarwitnessError(f"bundle {bundle.path}: it names no network that torch could build here")
        shape, classes = bundle.manifest.input.shape[1:], len(bundle.manifest.labels)
        model = registry.for_use(registry.build_network(network.kind, shape, classes, network.options))
        weights = {name: torch.from_numpy(array) for name, array in read_safetensors(bundle.contents[WEIGHTS]).items()}
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise EarwitnessError(f"bundle {bundle.path}: {WEIGHTS} is not of its network") from error
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # the CPU's scores, to 1e-5
        self.device = device
        self._model: torch.nn.Module = model.eval().to(device)
        self._output = bundle.manifest.output

    def scores(self, windows: Array) -> Array:
        """See `Runtime`."""
        import torch

        with torch.inference_mode():
            values = self._model(torch.from_numpy(np.ascontiguousarray(windows)).to(self.device)).cpu().numpy()
        return activate(values, self._output)


def activate(values: Array, output: Output) -> Array:
    """Probabilities from what a model gives, by its manifest: temperature and activation."""
    if output.activation == "none":
        return values
    logits = values / np.float32(output.temperature)
    if output.activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


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


def _check_graph(bundle: Bundle, session: Any) -> None:
    """EarwitnessError when the graph's inputs and outputs are not what the manifest says."""
    manifest = bundle.manifest
    (given, *more), (*outputs,) = session.get_inputs(), session.get_outputs()
    if more or given.name != manifest.input.name or list(given.shape[1:]) != manifest.input.shape[1:]:
        raise EarwitnessError(
            f"bundle {bundle.path}: model.onnx takes {given.name} {given.shape}, "
            f"the manifest says {manifest.input.name} {manifest.input.shape}"
        )
    shapes = {output.name: list(output.shape) for output in outputs}
    if shapes.get(manifest.output.name, [0, 0])[1:] != [len(manifest.labels)]:
        raise EarwitnessError(
            f"bundle {bundle.path}: model.onnx gives {shapes}, "
            f"the manifest says {manifest.output.name} [0, {len(manifest.labels)}]"
        )
