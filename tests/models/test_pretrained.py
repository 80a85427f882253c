"""The bundles in the box: what they promise, on silence and noise, and on a few real clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earwitness.models.bundle import PRETRAINED, bundle_names, find_bundle
from earwitness.models.catalog import size_bytes
from earwitness.models.data.background import coloured_noise
from earwitness.models.data.datasets import open_dataset, read_audio
from earwitness.models.evaluate import listen
from earwitness.models.runtime import TorchRuntime, open_runtime
from earwitness.models.training.recipe import read_recipe, recipe_named

from .live import live

PROMISED = {"esc50-cnn": 0.75, "esc10-cnn": 0.90, "esc50-stream": 0.75}  # of what was kept out of the training


@pytest.mark.parametrize("name", PROMISED)
def test_each_is_in_order_small_credited_and_good_enough(name: str) -> None:
    bundle = find_bundle(name)
    assert bundle.manifest.name == name
    assert size_bytes(bundle) + (bundle.path / "manifest.toml").stat().st_size <= 2_000_000
    assert bundle.contents["CREDITS.txt"].count(b"freesound.org") >= 200
    assert bundle.manifest.training is not None
    assert bundle.manifest.training.command.startswith(f"earwitness train --recipe {name}")
    assert bundle.manifest.training.folds == [1, 2, 3, 4]
    assert bundle.manifest.scores["validation"] >= PROMISED[name]
    assert recipe_named(name) == read_recipe(bundle.path / "recipe.toml")


def test_nothing_else_is_in_the_box() -> None:
    assert bundle_names(PRETRAINED) == sorted(PROMISED)
    assert sum(size_bytes(find_bundle(name)) for name in PROMISED) <= 4_000_000


@pytest.mark.parametrize("name", ["esc50-cnn", "esc50-stream"])
def test_the_fifty_credit_no_clip_under_other_licences_than_cc0_and_cc_by(name: str) -> None:
    lines = find_bundle(name).contents["CREDITS.txt"].decode().splitlines()
    clips = [line for line in lines if line.startswith("[")]
    assert {line.rsplit("[", 1)[1] for line in clips} <= {"CC0]", "CC-BY]"}


@pytest.mark.parametrize("name", PROMISED)
def test_silence_and_faint_noise_are_no_events(name: str, rng: np.random.Generator) -> None:
    bundle = find_bundle(name)
    runtime = open_runtime(bundle, "cpu")
    for level_db in (-np.inf, -80.0, -60.0, -40.0):
        noise = 10 ** (level_db / 20) * rng.standard_normal(5 * bundle.manifest.front_end.sr)
        scores, heard = listen(bundle, runtime, noise.astype(np.float32))
        assert heard == []
        assert (scores.argmax(axis=1) == bundle.manifest.labels.index("background")).all()


@pytest.mark.parametrize("name", PROMISED)
def test_a_microphone_that_is_muted_in_between_is_no_event(name: str, rng: np.random.Generator) -> None:
    bundle = find_bundle(name)
    runtime, sr = open_runtime(bundle, "cpu"), bundle.manifest.front_end.sr
    for slope in (0.0, 3.0, 6.0):
        for level_db in (-60.0, -40.0):
            noise = 10 ** (level_db / 20) * coloured_noise(rng, 10 * sr, slope)
            noise[3 * sr : 6 * sr] = 0
            noise[8 * sr : 8 * sr + 2000] = 0
            assert listen(bundle, runtime, noise.astype(np.float32))[1] == []


@pytest.mark.data
@pytest.mark.parametrize("name", PROMISED)
def test_real_clips_are_named(name: str, data_root: Path) -> None:
    """Most of which it has learnt from: how good it is on others stands in docs/how-to/train.md."""
    bundle = find_bundle(name)
    runtime, labels = open_runtime(bundle, "cpu"), bundle.manifest.labels
    clips = open_dataset(name.split("-")[0], data_root).choose((4,))[:: 2 if name == "esc10-cnn" else 5]
    named = 0
    for clip in clips:
        scores, _ = listen(bundle, runtime, read_audio(clip.path, bundle.manifest.front_end.sr))
        named += labels[int(scores.mean(axis=0)[:-1].argmax())] == clip.label
    assert named / len(clips) >= PROMISED[name]


@pytest.mark.data
@pytest.mark.parametrize("name", PROMISED)
def test_torch_onnx_and_a_live_run_give_the_same_scores(name: str, data_root: Path) -> None:
    pytest.importorskip("torch")
    bundle = find_bundle(name)
    runtime, sr = open_runtime(bundle, "cpu"), bundle.manifest.front_end.sr
    for clip in open_dataset(name.split("-")[0], data_root).choose((4,))[:: 16 if name == "esc10-cnn" else 80]:
        samples = read_audio(clip.path, sr)
        scores, _ = listen(bundle, runtime, samples)
        assert np.array_equal(live(bundle, samples, sr, device="cpu")[0], scores)
        np.testing.assert_allclose(listen(bundle, TorchRuntime(bundle, "cpu"), samples)[0], scores, atol=1e-4)
