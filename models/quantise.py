"""A bundle in 8-bit integers: for small boards, at the price of some accuracy, which `earwitness evaluate` tells."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from ..stream.errors import EarwitnessError
from ..stream.features.frontend import clean, compute, silence
from ..stream.windowing import windows_of
from .bundle import Bundle, Manifest, write_bundle
from .data.audio import read_clip
from .data.datasets import open_dataset
from .runtimes.layout import Tensor
from .runtimes.onnx import MODEL, OnnxRuntime
from .single_file import single_onnx

Array = NDArray[np.float32]

CALIBRATION_CLIPS = 200
CALIBRATION_WINDOWS = 1000
LAYERS = ("Conv", "Gemm", "MatMul")
BETWEEN = ("Relu", "Add", "MaxPool")  # in integers too, or every layer would turn its values around


def quantise(bundle: Bundle, windows: Array) -> dict[str, bytes]:
    """The files of the bundle with `model.onnx` in 8-bit integers.

    Weights are signed and scaled channel by channel, activations unsigned, by the range that they have on `windows`.
    What ONNX Runtime has no integers for, the recurrent cells among it, stays as it is. The weights for torch are left
    away: such a bundle runs on a CPU.

    Args:
        windows: float32 [windows, window_frames, dims], some hundreds of the sounds that it will hear; those of one
            sound, from its beginning on, where the bundle carries states.

    Raises:
        EarwitnessError: it has no ONNX model, or is in integers already.
    """
    name = bundle.manifest.name
    model = single_onnx(bundle)
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        raise EarwitnessError(f"{name} is in 8-bit integers already")
    if not len(windows):
        raise EarwitnessError(f"{name} cannot become 8-bit without sounds to find its ranges by")
    watched = _Watched(bundle)
    watched.scores(windows)
    kept = {file: data for file, data in bundle.contents.items() if not file.startswith("model.")}
    kinds = LAYERS if bundle.manifest.states else LAYERS + BETWEEN  # what is carried on for hours stays exact
    return kept | {MODEL: _quantised(model, kinds, watched.feeds)}


def write_int8(
    bundle: Bundle,
    out: Path,
    data: str | None = None,
    root: Path | None = None,
    say: Callable[[str], None] = print,
) -> Bundle:
    """Write the bundle in 8-bit integers as `out/NAME-int8`; its scores, which were another model's, are left away.

    Args:
        data, root: see `calibration_windows`.
        say: takes a line on what became of it.

    Raises:
        EarwitnessError: see `quantise` and `calibration_windows`.
    """
    windows = calibration_windows(bundle, data, root)
    files = quantise(bundle, windows)
    manifest = msgspec.structs.replace(
        bundle.manifest,
        name=f"{bundle.manifest.name}-int8",
        description=f"{bundle.manifest.description}, in 8-bit integers",
        scores={},
    )
    made = write_bundle(out / manifest.name, manifest, files)
    sizes = [
        sum(len(data) for name, data in each.contents.items() if name.startswith("model.")) for each in (bundle, made)
    ]
    say(
        f"{made.tag}: {sizes[1] / 1e6:.2f} MB in place of {sizes[0] / 1e6:.2f}; its ranges are those of {len(windows)} "
        f"windows. What it costs: earwitness evaluate --model {made.path}, and the same of {bundle.manifest.name}"
    )
    return made


def calibration_windows(bundle: Bundle, data: str | None = None, root: Path | None = None) -> Array:
    """Windows of clips that the bundle learnt from, for `quantise`: at most 1,000, from all over the data set.

    Args:
        data, root: see `open_dataset`; the data set that the manifest names where it is None. Of another one, all folds
            are taken.

    Raises:
        EarwitnessError: no such data, or the manifest names none.
    """
    manifest, spec = bundle.manifest, bundle.manifest.front_end
    data = data or _learnt_from(manifest)
    if data is None:
        raise EarwitnessError(
            f"{manifest.name} does not say what it learnt from: name sounds for its ranges with --data"
        )
    folds = manifest.training.folds if manifest.training and data == _learnt_from(manifest) else None
    dataset = open_dataset(data, root)
    clips = [clip for clip in dataset.clips if not folds or clip.fold in folds]
    if not clips:
        raise EarwitnessError(f"{data} has no clips of folds {folds}, which {manifest.name} learnt from")
    clips = sorted(clips, key=lambda clip: str(clip.path))[:: -(-len(clips) // CALIBRATION_CLIPS)]
    parts = []
    for clip in clips:
        frames = compute(spec, clean(read_clip(clip, spec.sr))[0])
        parts.append(windows_of(frames, manifest.window_frames, manifest.hop_frames, silence(spec)))
    every = -(-sum(map(len, parts)) // CALIBRATION_WINDOWS)
    if manifest.states:  # a window goes on from the one before: whole clips
        return np.concatenate(parts[::every])
    return np.concatenate(parts)[::every]


def _learnt_from(manifest: Manifest) -> str | None:
    return manifest.training.data.partition(",")[0] if manifest.training else None


class _Watched(OnnxRuntime):
    """Keeps what its model is given."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.feeds: list[Mapping[str, Tensor]] = []

    def _run(self, feeds: Mapping[str, Tensor], outputs: Sequence[str]) -> Sequence[Tensor]:
        self.feeds.append(feeds)
        return super()._run(feeds, outputs)


def _quantised(model: onnx.ModelProto, kinds: Sequence[str], feeds: Sequence[Mapping[str, Tensor]]) -> bytes:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds: Iterator[Any] = iter(feeds)

        def get_next(self) -> Any:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder, _quiet():
        ready, made = Path(folder) / "ready.onnx", Path(folder) / "made.onnx"
        quant_pre_process(model, ready, skip_symbolic_shape=True)
        quantize_static(
            ready, made, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=[*kinds],
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
            reduce_range=True,  # 7 bits of weight: x86 without VNNI adds up pairs of products in 16
        )  # fmt: skip
        quantised = onnx.load(made)
    quantised.producer_name = quantised.producer_version = ""
    return bytes(quantised.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the hints that onnxruntime logs for people who call it themselves."""
    root = logging.getLogger()
    before, root.level = root.level, logging.ERROR
    try:
        yield
    finally:
        root.level = before
