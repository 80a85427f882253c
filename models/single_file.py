"""A bundle's model as one ONNX file with its weights inside, for other programs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from ..stream.errors import EarwitnessError
from .bundle import Bundle
from .runtimes.onnx import MODEL


def write_single_file(bundle: Bundle, out: Path) -> Path:
    """Write `out/NAME.onnx`; what it takes and gives is told by the bundle's manifest.

    Raises:
        EarwitnessError: see `single_onnx`.
    """
    model = single_onnx(bundle)
    path = out / f"{bundle.manifest.name}.onnx"
    out.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def single_onnx(bundle: Bundle) -> onnx.ModelProto:
    """The bundle's graph with its weights.

    Raises:
        EarwitnessError: its model is of another kind.
    """
    if MODEL not in bundle.contents:
        raise EarwitnessError(f"{bundle.manifest.name} has no {MODEL}: only bundles with one are exported")
    with tempfile.TemporaryDirectory() as folder:  # onnx reads what a graph refers to from files alone
        for name, data in bundle.contents.items():
            (Path(folder) / name).write_bytes(data)
        return onnx.load(Path(folder) / MODEL)
