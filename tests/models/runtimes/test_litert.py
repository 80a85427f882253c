"""Models in LiteRT: as a test computes them by itself, and live as offline."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from earwitness.models.bundle import Bundle, write_bundle
from earwitness.models.manifest import Input, Manifest, Output
from earwitness.models.runtime import open_runtime
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec, compute, silence
from earwitness.stream.windowing import windows_of

pytest.importorskip("ai_edge_litert", reason="LiteRT runs these (extra litert)")

from ..foreign_models import lite_file
from ..live import live

Array = NDArray[np.float32]
SAMPLES, LABELS = 1600, 2
WEIGHTS = (np.sin(np.outer(np.arange(SAMPLES), [0.05, 0.4])) * 0.05).astype(np.float32)


def bundle(tmp_path: Path, data: bytes, **changes: Any) -> Bundle:
    fields: dict[str, Any] = {
        "format_version": 1,
        "name": "lite",
        "description": "",
        "licence": "CC0",
        "labels": ["a", "b"],
        "multi_label": True,
        "window_frames": SAMPLES,
        "hop_frames": SAMPLES // 2,
        "front_end": FrontEndSpec(feature="waveform"),
        "input": Input(name="x", shape=[1, SAMPLES], axes=("batch", "frames")),
        "output": Output(name="y"),
        "thresholds": {"a": 0.6, "b": 0.6},
    }
    return write_bundle(tmp_path / "lite", Manifest(**{**fields, **changes}), {"model.tflite": data})


def sounds(count: int) -> Array:
    return np.random.default_rng(2).uniform(-1, 1, (count, SAMPLES, 1)).astype(np.float32)


def expected(windows: Array) -> Array:
    return 1 / (1 + np.exp(-windows[:, :, 0] @ WEIGHTS))


@pytest.mark.parametrize(("shape", "axes"), [([1, SAMPLES], ("batch", "frames")), ([SAMPLES], ("frames",))])
def test_samples_go_in_with_or_without_a_batch_axis(tmp_path: Path, shape: list[int], axes: Any) -> None:
    other = bundle(tmp_path, lite_file(shape, WEIGHTS), input=Input(name="x", shape=shape, axes=axes))
    runtime = open_runtime(other, "cpu")
    for count in (1, 3, 0):
        np.testing.assert_allclose(runtime.scores(sounds(count)), expected(sounds(count)), atol=1e-5)


def test_eight_bits_are_filled_by_the_step_and_the_zero_of_the_file(tmp_path: Path) -> None:
    data = lite_file([1, SAMPLES], WEIGHTS, quantized=(1 / 128, -3))
    other = bundle(tmp_path, data, input=Input(name="x", shape=[1, SAMPLES], axes=("batch", "frames"), dtype="int8"))
    windows = sounds(4)
    rounded = (np.clip(np.rint(windows * 128) - 3, -128, 127) + 3) / 128
    scores = open_runtime(other, "cpu").scores(windows)
    np.testing.assert_allclose(scores, expected(rounded.astype(np.float32)), atol=1e-5)
    assert np.abs(scores - expected(windows)).max() < 0.05


def test_live_is_as_offline(tmp_path: Path) -> None:
    other = bundle(tmp_path, lite_file([1, SAMPLES], WEIGHTS))
    samples = (0.5 * np.sin(np.arange(8000) * 0.05)).astype(np.float32)
    scores, events = live(other, samples, 16000, block=333)
    spec = other.manifest.front_end
    windows = windows_of(compute(spec, samples), SAMPLES, SAMPLES // 2, silence(spec))
    np.testing.assert_array_equal(scores, open_runtime(other, "cpu").scores(windows))
    assert len(scores) == 9
    assert "a" in events


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"input": Input(name="z", shape=[1, SAMPLES], axes=("batch", "frames"))}, "takes no 'z'"),
        ({"output": Output(name="z")}, "gives no 'z'"),
        (
            {"input": Input(name="x", shape=[0, SAMPLES], axes=("batch", "frames"))},
            r"takes x float32 \[1, 1600\], the manifest says x float32 \[any, 1600\]",
        ),
        (
            {"labels": ["a", "b", "c"], "thresholds": {"a": 0.5, "b": 0.5, "c": 0.5}},
            r"gives y float32 \[1, 2\], the manifest says \['batch', 'labels'\] with 3 labels",
        ),
    ],
)
def test_a_file_that_is_not_what_the_manifest_says_is_refused(tmp_path: Path, changes: Any, complaint: str) -> None:
    with pytest.raises(EarwitnessError, match=complaint):
        open_runtime(bundle(tmp_path, lite_file([1, SAMPLES], WEIGHTS), **changes), "cpu")


def test_operators_of_others_are_refused_before_the_file_is_opened(tmp_path: Path) -> None:
    data = lite_file([1, SAMPLES], WEIGHTS, custom="FlexErf")
    with pytest.raises(EarwitnessError, match=r"model.tflite uses 'FlexErf', an operator of TensorFlow itself"):
        open_runtime(bundle(tmp_path, data), "cpu")


def test_without_litert_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = bundle(tmp_path, lite_file([1, SAMPLES], WEIGHTS))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(EarwitnessError, match=r"needs LiteRT: pip install 'earwitness\[litert\]'"):
        open_runtime(other, "cpu")


def test_a_live_process_stays_quiet_and_loads_no_torch(tmp_path: Path) -> None:
    other = bundle(tmp_path, lite_file([1, SAMPLES], WEIGHTS))
    program = f"""
import sys
from earwitness.models.bundle import Bundle
from earwitness.models.runtime import open_runtime
import numpy as np
open_runtime(Bundle.load({str(other.path)!r}), "cpu").scores(np.zeros((2, {SAMPLES}, 1), np.float32))
loaded = {{name.split(".")[0] for name in sys.modules}}
print(sorted({{"torch", "onnx", "tensorflow", "librosa", "onnxruntime"}} & loaded))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
