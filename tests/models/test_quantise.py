"""Bundles in 8-bit integers, and as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="bundles are made with torch (extra train)")

import onnxruntime  # noqa: E402

from earwitness.launch import app  # noqa: E402
from earwitness.models.bundle import Bundle, find_bundle, write_bundle  # noqa: E402
from earwitness.models.quantise import calibration_windows, quantise, write_int8  # noqa: E402
from earwitness.models.runtime import activate, open_runtime  # noqa: E402
from earwitness.stream.errors import EarwitnessError  # noqa: E402

from .conftest import manifest  # noqa: E402
from .networks.variants import windows_of  # noqa: E402
from .test_export import bundle_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("deep", {}),
        ("cnn", {"channels": [16, 32], "depth": [1], "block": "basic"}),
        ("cnn", {"channels": [32, 128], "depth": [1]}),
        ("gru", {"hidden": 16, "layers": 1}),
        ("stream", {}),
        ("autoencoder", {}),
    ],
    ids=str,
)
def test_in_integers_it_scores_nearly_the_same(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    bundle, _ = bundle_of(tmp_path, kind, options)
    windows = windows_of(kind, 60).numpy()[:, : bundle.manifest.window_frames]
    small = write_bundle(tmp_path / "small", bundle.manifest, quantise(bundle, windows[:40]))
    expected, scores = (open_runtime(each, "cpu").scores(windows) for each in (bundle, small))
    assert 0 < np.abs(scores - expected).max() <= 0.02
    assert "model.safetensors" not in small.contents
    if kind != "gru":  # whose cells stay as they are
        assert len(small.contents["model.onnx"]) < 0.65 * sum(map(len, bundle.contents.values()))


def test_the_same_windows_give_the_same_file(made: Bundle) -> None:
    windows = windows_of("cnn", 20).numpy()[:, :32]
    assert quantise(made, windows) == quantise(made, windows)


def test_ranges_are_found_on_what_it_learnt_from(made: Bundle, tones: Path, tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match=r"does not say what it learnt from: .* --data"):
        calibration_windows(made)
    windows = calibration_windows(made, "tones", tones)
    assert windows.shape[1:] == (32, 64)
    assert 100 < len(windows) <= 1000
    lines: list[str] = []
    small = write_int8(made, tmp_path, "tones", tones, lines.append)
    assert small.manifest.name == "tiny-int8"
    assert "earwitness evaluate --model" in lines[0]


def test_what_cannot_be_in_integers_is_said(made: Bundle, tmp_path: Path) -> None:
    windows = windows_of("cnn", 8).numpy()[:, :32]
    with pytest.raises(EarwitnessError, match="without sounds to find its ranges by"):
        quantise(made, windows[:0])
    small = write_bundle(tmp_path / "tiny", manifest(), quantise(made, windows))
    with pytest.raises(EarwitnessError, match="in 8-bit integers already"):
        quantise(small, windows)


def test_the_command_writes_a_file_that_stands_alone_or_a_bundle(made: Bundle, tones: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["export", "--model", str(made.path), "-o", str(tmp_path)])
    assert told.stdout == f"{tmp_path / 'tiny.onnx'}\n"
    windows = windows_of("cnn", 5).numpy()[:, :32]
    session = onnxruntime.InferenceSession(tmp_path / "tiny.onnx")
    scores = activate(session.run(None, {"windows": windows})[0], made.manifest.output)
    np.testing.assert_allclose(scores, open_runtime(made, "cpu").scores(windows), atol=1e-6)
    options = ["--int8", "--data", "tones", "--root", str(tones)]
    told = CliRunner().invoke(app, ["export", "--model", str(made.path), "-o", str(tmp_path), *options])
    assert find_bundle(told.stdout.strip()).manifest.name == "tiny-int8"
