"""A network that decides every hop, from recordings to events: what is over is over."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models.bundle import Bundle
from earwitness.models.data import background
from earwitness.models.evaluate import evaluate_bundle, listen
from earwitness.models.runtime import open_runtime
from earwitness.models.train import train_bundle
from earwitness.models.training import training_data
from earwitness.models.training.recipe import recipe_of

from .live import live
from .scene import SR, tone

RECIPE = recipe_of(
    {
        "name": "tones-stream",
        "window_frames": 160,
        "data": {"name": "tones", "folds": [1, 2, 3], "test_folds": [4], "backgrounds": ["synthesised"]},
        "network": {"kind": "stream", "channels": [8, 8, 16, 16, 24], "dropout": 0.0},
        "training": {
            "steps": 100, "judge_every": 100, "batch": 16, "learning_rate": 0.01, "averaging": 0.9, "hop_weight": 0.5,
        },
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    with pytest.MonkeyPatch.context() as patch:
        few = functools.partial(background.synthesised, seconds=2.0)
        patch.setattr(training_data, "synthesised", lambda seed, sr, count: few(seed, sr, min(count, 12)))
        return train_bundle(RECIPE, tmp_path_factory.mktemp("out"), tones, threads=1, say=lambda line: None)


def test_it_hears_the_tones_of_a_fold_it_never_saw(trained: Bundle, tones: Path) -> None:
    judgement = evaluate_bundle(trained, "tones", tones, (4,))
    assert judgement.accuracy >= 0.8  # chance: 0.33
    assert judgement.accuracy == pytest.approx(trained.manifest.scores["fold4_clip_accuracy"], abs=1e-4)


def test_its_bundle_is_stateful_and_decides_every_hop(trained: Bundle) -> None:
    manifest = trained.manifest
    assert [state.input for state in manifest.states] == ["state"]
    assert manifest.window_frames == manifest.hop_frames == 10
    assert manifest.detection["context_s"] == 2.0


def test_a_tone_in_a_quiet_room_is_an_event_that_ends_before_the_sound_does(trained: Bundle) -> None:
    rng = np.random.default_rng(4)
    samples = (1e-4 * rng.standard_normal(6 * SR)).astype(np.float32)
    samples[SR : 3 * SR] += tone(rng, "middle")
    scores, events = listen(trained, open_runtime(trained, "cpu"), samples)
    assert events == ["middle"]
    middle = scores[:, trained.manifest.labels.index("middle")]
    assert middle[:8].max() < 0.5
    assert middle[12:25].max() > 0.8
    assert middle[-10:].max() < 0.2, "the tone was over two seconds before"
    scores_live, events_live = live(trained, samples, SR, device="cpu")
    np.testing.assert_array_equal(scores_live, scores)
    assert events_live == events
