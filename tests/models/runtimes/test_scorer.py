"""Scores of streams that are not in step: each has its own state, and outlives the GPU that scored it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.models.bundle import Bundle, Input, Network, State, find_bundle, write_bundle
from earwitness.models.runtime import OnnxRuntime, Scorer, TorchRuntime, open_runtime, why_no_cuda
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.sources.demo_sounds import church_bells, clapping, clock_alarm, door_wood_knock

from ..conftest import LABELS, manifest
from ..live import live

HOP = 10
OPTIONS = {"channels": [4, 6, 8, 10, 12], "memory_hops": [3, 9], "level_hops": 4, "hop_frames": HOP}


class Sums:
    """A model that adds up what it has heard of a stream, and counts how it was asked."""

    device = "cpu"

    def __init__(self, batch_axis: int = 0) -> None:
        self.batches: list[int] = []
        self.states = [State(input="sum", output="next", shape=[2], batch_axis=batch_axis)]
        self._axis = batch_axis

    def scores(self, windows: np.ndarray) -> np.ndarray:
        raise AssertionError("a stateful model is stepped")

    def call(self, windows: np.ndarray, states: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        self.batches.append(len(windows))
        heard = windows.mean(axis=(1, 2))[:, None] * np.array([1, 2], np.float32)
        behind = states["sum"] + (heard if self._axis == 0 else heard.T if self._axis == 1 else heard[0])
        scores = behind.T if self._axis == 1 else behind.reshape(-1, 2)
        return scores, {"sum": behind}


class Failing(Sums):
    """A GPU that is gone after so many calls."""

    device = "cuda"

    def __init__(self, works_for: int) -> None:
        super().__init__()
        self.left = works_for

    def call(self, windows: np.ndarray, states: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if not self.left:
            raise RuntimeError("CUDA error: unspecified launch failure\nCompile with …")
        self.left -= 1
        return super().call(windows, states)


def hops(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)[:, None, None] * np.ones((1, HOP, 4), np.float32)


@pytest.fixture(scope="session")
def made_stream(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny stateful bundle; not to be changed."""
    torch = pytest.importorskip("torch", reason="bundles are made with torch (extra train)")
    from earwitness.models.export import states_of, to_onnx
    from earwitness.models.networks.registry import build_network, for_use

    torch.manual_seed(0)
    network = build_network("stream", (HOP, 64), len(LABELS), OPTIONS)
    network.hops(torch.from_numpy(sounds(4, 30)).flatten(1, 2))  # norms that have seen something
    told = manifest(
        window_frames=HOP, hop_frames=HOP, input=Input(name="windows", shape=[0, HOP, 64]), states=states_of(network),
        network=Network(kind="stream", options=OPTIONS),
    )  # fmt: skip
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny", told, to_onnx(for_use(network), (HOP, 64)))


def sounds(streams: int, length: int) -> np.ndarray:
    """Decibels [streams, hops, HOP, 64], loud and quiet by turns."""
    rng = np.random.default_rng(2)
    levels = rng.choice([-100.0, -60.0, -10.0], size=(streams, length, 1, 1))
    return (levels + rng.normal(0, 10, (streams, length, HOP, 64))).astype(np.float32)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=6), st.sampled_from([0, 1, -1]))
def test_each_stream_has_the_scores_that_it_has_alone(batches: list[list[str]], axis: int) -> None:
    model = Sums(axis)
    scorer, number = Scorer(model, model.states), 0.0
    totals = dict.fromkeys("abc", 0.0)
    for batch in batches:
        values = [number := number + 1 for _ in batch]
        if not batch:
            continue
        scores = scorer.scores(hops(values), batch)
        for stream, value, row in zip(batch, values, scores, strict=True):
            totals[stream] += value
            np.testing.assert_allclose(row, [totals[stream], 2 * totals[stream]])


def test_streams_that_have_a_window_share_a_call() -> None:
    model = Sums()
    Scorer(model, model.states).scores(hops([1, 2, 3, 4, 5]), ["a", "a", "b", "c", "a"])
    assert model.batches == [3, 1, 1]


def test_a_model_whose_state_is_one_streams_is_called_with_one() -> None:
    model = Sums(batch_axis=-1)
    Scorer(model, model.states).scores(hops([1, 2, 3]), "abc")
    assert model.batches == [1, 1, 1]


def test_a_stream_that_was_forgotten_begins_anew_and_the_others_go_on() -> None:
    model = Sums()
    scorer = Scorer(model, model.states)
    scorer.scores(hops([1, 10]), "ab")
    scorer.forget("a")
    scorer.forget("nobody")
    np.testing.assert_allclose(scorer.scores(hops([2, 20, 5]), "abc")[:, 0], [2, 30, 5])


@settings(deadline=None)
@given(st.integers(0, 4))
def test_a_gpu_that_disappears_loses_no_window_and_no_state(works_for: int) -> None:
    spare = Sums()
    scorer = Scorer(Failing(works_for), spare.states, spare=lambda: spare)
    first = scorer.scores(hops([1, 2, 3]), "aab")
    second = scorer.scores(hops([4, 5]), "ba")
    np.testing.assert_allclose(first[:, 0], [1, 3, 3])
    np.testing.assert_allclose(second[:, 0], [7, 8])
    assert scorer.failure == ("" if works_for >= 3 else "CUDA error: unspecified launch failure")
    assert scorer.runtime.device == ("cuda" if works_for >= 3 else "cpu")


def test_what_fails_on_the_cpu_is_raised() -> None:
    class Broken(Failing):
        device = "cpu"

    with pytest.raises(RuntimeError, match="CUDA error"):
        Scorer(Broken(0), Sums().states, spare=Sums).scores(hops([1]), "a")


def test_the_exported_step_is_the_networks(made_stream: Bundle) -> None:
    from earwitness.models.export import check_export
    from earwitness.models.networks.registry import build_network, for_use

    torch = pytest.importorskip("torch")
    network = for_use(build_network("stream", (HOP, 64), len(LABELS), OPTIONS))
    from safetensors.torch import load

    network.load_state_dict(load(made_stream.contents["model.safetensors"]))
    windows = sounds(1, 40)[0]
    assert check_export(made_stream, network, windows) < 1e-5
    network.head.bias.data += torch.tensor([1.0, 0.0, 0.0])
    with pytest.raises(EarwitnessError, match="differs from torch"):
        check_export(made_stream, network, windows)


def test_torch_and_onnx_runtime_step_alike(made_stream: Bundle) -> None:
    heard = sounds(3, 20)
    found = []
    for runtime in (OnnxRuntime(made_stream), TorchRuntime(made_stream, "cpu")):
        scorer = Scorer(runtime, made_stream.manifest.states)
        found.append([scorer.scores(heard[:, hop], "abc") for hop in range(20)])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(order=st.lists(st.integers(0, 2), min_size=1, max_size=30), size=st.integers(1, 8))
def test_streams_of_a_stateful_bundle_score_the_same_bits_in_any_company(
    made_stream: Bundle, order: list[int], size: int
) -> None:
    runtime, heard = OnnxRuntime(made_stream), sounds(3, 30)
    scorer, at = Scorer(runtime, made_stream.manifest.states), [0, 0, 0]
    found: list[list[np.ndarray]] = [[], [], []]
    for first in range(0, len(order), size):
        streams, windows = order[first : first + size], []
        for stream in streams:
            windows.append(heard[stream, at[stream]])
            at[stream] += 1
        for stream, row in zip(streams, scorer.scores(np.stack(windows), streams), strict=True):
            found[stream].append(row)
    for stream, rows in enumerate(found):
        if rows:
            np.testing.assert_array_equal(rows, runtime.scores(heard[stream, : len(rows)]))


@pytest.mark.parametrize("block", [37, 1600, 40_000])
def test_a_stateful_bundle_hears_live_what_it_hears_in_a_file(made_stream: Bundle, block: int) -> None:
    from earwitness.models.evaluate import listen

    rng = np.random.default_rng(8)
    samples = (rng.standard_normal(41_500) * rng.choice([0, 0.01, 0.3], 83).repeat(500)).clip(-1, 1).astype(np.float32)
    scores, events = listen(made_stream, OnnxRuntime(made_stream), samples)
    scores_live, events_live = live(made_stream, samples, made_stream.manifest.front_end.sr, block, "cpu")
    np.testing.assert_array_equal(scores_live, scores)
    assert events_live == events
    assert len(scores) == 26, "the last hop is filled up with silence"


def test_a_network_without_states_is_no_stateful_bundle(made_stream: Bundle, tmp_path: Path) -> None:
    told = manifest(
        window_frames=HOP, hop_frames=HOP, input=Input(name="windows", shape=[0, HOP, 64]),
        states=made_stream.manifest.states,
    )  # fmt: skip
    bundle = write_bundle(tmp_path / "tiny", told, made_stream.contents)
    with pytest.raises(EarwitnessError, match=r"has states, which a network cnn does not carry|not of its network"):
        TorchRuntime(bundle, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["esc50-cnn", "stream"])
def test_a_classify_node_on_cuda_and_one_on_the_cpu_give_the_same_events(made_stream: Bundle, name: str) -> None:
    bundle = made_stream if name == "stream" else find_bundle(name)
    if obstacle := why_no_cuda(bundle):
        pytest.skip(obstacle)
    rng, sr = np.random.default_rng(3), bundle.manifest.front_end.sr
    scene = np.concatenate([0.3 * make(rng, sr) for make in (church_bells, clock_alarm, clapping, door_wood_knock)])
    samples = (scene + 1e-3 * rng.standard_normal(len(scene))).astype(np.float32)
    (on_cuda, heard_by_cuda), (on_cpu, heard_by_cpu) = (
        live(bundle, samples, sr, device=device) for device in ("cuda", "cpu")
    )
    assert heard_by_cuda == heard_by_cpu
    assert name == "stream" or heard_by_cpu
    np.testing.assert_allclose(on_cuda, on_cpu, atol=1e-4)


@pytest.mark.gpu
def test_a_stateful_bundle_steps_alike_on_cuda(made_stream: Bundle) -> None:
    if obstacle := why_no_cuda(made_stream):
        pytest.skip(obstacle)
    heard: Any = sounds(3, 20)
    found = []
    for device in ("cuda", "cpu"):
        scorer = Scorer(open_runtime(made_stream, device), made_stream.manifest.states)
        found.append([scorer.scores(heard[:, hop], "abc") for hop in range(20)])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
