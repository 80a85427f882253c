from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from earwitness.models.bundle import Bundle, Input, Network, Output, write_bundle
from earwitness.models.runtime import (
    OnnxRuntime,
    TorchRuntime,
    activate,
    open_runtime,
    read_safetensors,
    why_no_cuda,
)
from earwitness.models.runtimes.graph import LARGEST_BATCH
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import silence

from .conftest import manifest


def some_windows(count: int) -> np.ndarray:
    return (np.random.default_rng(1).normal(-50, 15, (count, 32, 64))).astype(np.float32)


def rewritten(bundle: Bundle, folder: Path, **changes: object) -> Bundle:
    """The bundle with another manifest."""
    return write_bundle(folder / "tiny", manifest(**changes), bundle.contents)


def test_scores_are_probabilities(made: Bundle) -> None:
    scores = open_runtime(made, "cpu").scores(some_windows(5))
    assert scores.shape == (5, 3)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("size", [0, 1, 2, LARGEST_BATCH, LARGEST_BATCH + 1, 50])
def test_a_window_scores_the_same_bits_in_any_company(made: Bundle, size: int) -> None:
    runtime, windows = open_runtime(made, "cpu"), some_windows(size)
    alone = [runtime.scores(windows[k : k + 1]) for k in range(size)]
    np.testing.assert_array_equal(runtime.scores(windows), np.concatenate(alone) if alone else np.empty((0, 3)))


def test_silence_is_scored_finitely(made: Bundle) -> None:
    quiet = np.full((1, 32, 64), silence(made.manifest.front_end), np.float32)
    assert np.isfinite(open_runtime(made).scores(quiet)).all()


def test_torch_and_onnx_runtime_agree(made: Bundle) -> None:
    windows = some_windows(20)
    np.testing.assert_allclose(TorchRuntime(made, "cpu").scores(windows), OnnxRuntime(made).scores(windows), atol=1e-5)


@pytest.mark.gpu
def test_cuda_and_cpu_agree(made: Bundle) -> None:
    if obstacle := why_no_cuda(made):
        pytest.skip(obstacle)
    runtime, windows = open_runtime(made, "auto"), some_windows(20)
    assert runtime.device == "cuda"
    np.testing.assert_allclose(runtime.scores(windows), OnnxRuntime(made).scores(windows), atol=1e-4)


def test_auto_falls_back_to_the_cpu_and_cuda_says_what_is_missing(made: Bundle) -> None:
    if why_no_cuda(made) is None:
        pytest.skip("there is a GPU here")
    assert open_runtime(made, "auto").device == "cpu"
    with pytest.raises(EarwitnessError, match=r"device 'cuda': .*--device cpu"):
        open_runtime(made, "cuda")


def test_an_unknown_device_gets_the_nearest_one(made: Bundle) -> None:
    with pytest.raises(EarwitnessError, match="did you mean 'cuda'"):
        open_runtime(made, "cida")


def test_what_runs_is_what_was_verified(made: Bundle, folder: Path) -> None:
    bundle = Bundle.load(folder)
    for name in bundle.contents:
        (folder / name).write_bytes(b"changed after the check")
    windows = some_windows(3)
    np.testing.assert_array_equal(OnnxRuntime(bundle).scores(windows), OnnxRuntime(made).scores(windows))


def test_a_model_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "tiny", manifest(), {"model.onnx": b"not a graph"})
    with pytest.raises(EarwitnessError, match=r"model.onnx is no ONNX file, or a damaged one") as caught:
        open_runtime(bundle, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"window_frames": 40, "input": Input(name="windows", shape=[0, 40, 64])},
            r"takes windows float32 \[any, 32, 64\], the manifest says windows float32 \[any, 40, 64\]",
        ),
        ({"input": Input(name="samples", shape=[0, 32, 64])}, "takes no 'samples', which the manifest names"),
        ({"output": Output(name="scores")}, "gives no 'scores', which the manifest names"),
        (
            {"labels": ["high", "low", "loud", "background"], "thresholds": {"high": 0.5, "low": 0.5, "loud": 0.5}},
            r"gives logits float32 \[any, 3\], the manifest says \['batch', 'labels'\] with 4 labels",
        ),
    ],
)
def test_a_model_that_does_not_fit_its_manifest_is_refused(
    made: Bundle, tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(EarwitnessError, match=complaint):
        open_runtime(rewritten(made, tmp_path, **changes), "cpu")


@pytest.mark.parametrize("network", [None, Network(kind="os"), Network(kind="../evil")])
def test_torch_builds_only_networks_it_knows(made: Bundle, tmp_path: Path, network: Network | None) -> None:
    with pytest.raises(EarwitnessError, match="names no network that torch could build"):
        TorchRuntime(rewritten(made, tmp_path, network=network), "cpu")


def test_weights_of_another_network_are_refused(made: Bundle, tmp_path: Path) -> None:
    other = Network(kind="cnn", options={"channels": [4, 9], "depth": [1]})
    with pytest.raises(EarwitnessError, match="is not of its network"):
        TorchRuntime(rewritten(made, tmp_path, network=other), "cpu")


@pytest.mark.parametrize("data", [b"", b"12", b"\xff" * 8 + b"{}", (2).to_bytes(8, "little") + b"[]", b"\2" + bytes(9)])
def test_broken_weights_are_refused(data: bytes) -> None:
    with pytest.raises(EarwitnessError, match="cannot be read"):
        read_safetensors(data)


def test_activations_and_temperature() -> None:
    logits = np.array([[2.0, 0.0]], np.float32)
    plain = Output(name="logits", activation="softmax")
    assert activate(logits, Output(name="x")) is logits
    np.testing.assert_allclose(activate(logits, plain), [[0.880797, 0.119203]], atol=1e-6)
    np.testing.assert_allclose(
        activate(logits, msgspec.structs.replace(plain, temperature=2.0)), [[0.731059, 0.268941]], atol=1e-6
    )
    np.testing.assert_allclose(activate(logits, Output(name="x", activation="sigmoid")), [[0.880797, 0.5]], atol=1e-6)


def test_a_live_process_loads_no_torch_and_stays_small(made: Bundle) -> None:
    program = f"""
import sys
from earwitness.models.bundle import Bundle
from earwitness.models.runtime import open_runtime
import numpy as np
runtime = open_runtime(Bundle.load({str(made.path)!r}), "cpu")
for count in range(64):
    runtime.scores(np.zeros((count, 32, 64), np.float32))
heavy = sorted(name for name in sys.modules if name.split(".")[0] in ("torch", "onnx", "librosa", "scipy", "sklearn"))
print(heavy)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    heavy, peak = result.stdout.splitlines()
    assert heavy == "[]"
    if sys.platform == "linux":
        assert int(peak) < 130 * 1024, "KB at the peak"
