"""Whatever can be trained hears: each network and family learns ten sounds, is exported, and names a clip live.

Trained for seconds on two folds of ESC-10 and judged by a third. That shows that it learns, not how well it could.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earwitness.models.data.datasets import open_dataset, read_clip
from earwitness.models.evaluate import listen
from earwitness.models.runtime import open_runtime
from earwitness.models.training.kinds import KINDS
from earwitness.tests.models.live import live

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")

from earwitness.models.train import train_bundle
from earwitness.models.training.recipe import recipe_for

CLEARLY_BETTER = 0.25  # than a tenth, which is chance: of 80 clips so many are right once in 30,000 times
WITHOUT_LABELS = ("autoencoder",)
SHORT = {
    "data.folds": [1, 2],
    "data.test_folds": [3],
    "data.validation_part": 0.0,
    "data.backgrounds": [],
    "augmentation.background_share": 0.0,
    "augmentation.noise": 0.0,
    "augmentation.speed": 0.0,
}
STEPS = {"training.steps": 60, "training.batch": 32}
FEW_NUMBERS = {"network.statistics": ["mean", "std"], "network.windows": 1500}
SPECIAL = {
    "cnn": {"training.steps": 50},
    "cnn1d": {"training.steps": 100, "training.batch": 16},
    "crnn": {"training.steps": 40},
    "random_forest": {"network.trees": 50},
    "stream": {"training.steps": 40, "window_frames": 150},
}


@pytest.mark.data
def test_an_autoencoder_learns_what_is_usual_and_judges_live_as_offline(data_root: Path, tmp_path: Path) -> None:
    recipe = recipe_for(network="autoencoder", data="esc10", changes=SHORT | STEPS | {"data.validation_part": 0.2})
    bundle = train_bundle(recipe, tmp_path, data_root, device="cpu", threads=1, say=lambda line: None)
    assert bundle.manifest.labels == ["unfamiliar", "background"]
    sr = bundle.manifest.front_end.sr
    samples = read_clip(open_dataset("esc10", data_root).clips[0], sr)
    offline, _ = listen(bundle, open_runtime(bundle, "cpu"), samples)
    scores, _ = live(bundle, samples, sr, device="cpu")
    assert np.abs(scores - offline).max() <= 1e-5


@pytest.mark.data
@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(WITHOUT_LABELS)))
def test_it_learns_is_exported_and_names_a_clip_live(kind: str, data_root: Path, tmp_path: Path) -> None:
    from earwitness.models.networks.registry import NETWORKS

    changes = SHORT | (STEPS if kind in NETWORKS else FEW_NUMBERS) | SPECIAL.get(kind, {})
    recipe = recipe_for(network=kind, data="esc10", changes=changes)
    bundle = train_bundle(recipe, tmp_path, data_root, device="cpu", threads=1, say=lambda line: None)
    assert bundle.manifest.scores["fold3_clip_accuracy"] >= CLEARLY_BETTER

    runtime, labels = open_runtime(bundle, "cpu"), np.array(bundle.manifest.labels)
    for clip in open_dataset("esc10", data_root).choose((3,))[::8]:
        samples = read_clip(clip, bundle.manifest.front_end.sr)
        offline, _ = listen(bundle, runtime, samples)
        if labels[offline.mean(axis=0).argmax()] == clip.label:
            break
    else:
        pytest.fail("it names none of ten clips right")
    scores, _ = live(bundle, samples, bundle.manifest.front_end.sr, device="cpu")
    assert labels[scores.mean(axis=0).argmax()] == clip.label
    assert np.abs(scores - offline).max() <= 1e-5
