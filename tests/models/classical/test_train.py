"""The classical families the whole way: from recordings of tones to bundles that name a sound live."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

pytest.importorskip("torch", reason="training windows are drawn with torch (extra train)")
pytest.importorskip("skl2onnx", reason="the families are exported by skl2onnx (extra train)")

from earwitness.launch import app
from earwitness.models.bundle import Bundle
from earwitness.models.classical import train
from earwitness.models.classical.families import FAMILIES
from earwitness.models.data import background
from earwitness.models.evaluate import evaluate_bundle
from earwitness.models.train import train_bundle
from earwitness.models.training import training_data
from earwitness.models.training.recipe import DataChoice, Recipe, recipe_for, recipe_of
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec

from ..live import live
from ..scene import CLASSES, SR, tone, write_data

SMALL: dict[str, dict[str, Any]] = {
    "random_forest": {"trees": 30},
    "adaboost": {"trees": 15},
    "gradient_boosting": {"rounds": 10},
    "kmeans": {"clusters": 40},
    "rbm": {"hidden": 128, "learning_rate": 0.05, "rounds": 20},
    "pca": {"components": 16},
}


def recipe(family: str, **changes: Any) -> Recipe:
    return recipe_of(
        {
            "name": f"tones-{family}",
            "window_frames": 48,
            "hop_frames": 12,
            "data": {"name": "tones", "folds": [1, 2, 3], "test_folds": [4], "backgrounds": ["synthesised"]},
            "front_end": {"n_mels": 20, "amin": 1e-7},
            "network": {"kind": family, "windows": 300, "statistics": ["mean", "max", "delta_std"], "cepstra": 4,
                        **SMALL.get(family, {}), **changes},
            "augmentation": {"tilt_db": 0.0, "ripple_db": 0.0, "band_limit": 0.0},
        }
    )  # fmt: skip


@pytest.fixture(autouse=True)
def few_windows(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """Few backgrounds, and few windows to choose thresholds by."""
    few = functools.partial(background.synthesised, seconds=1.0)
    monkeypatch.setattr(training_data, "synthesised", lambda seed, sr, count: few(seed, sr, min(count, 8)))
    monkeypatch.setattr(train, "CALIBRATION_WINDOWS", 200)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_learns_tones_and_names_one_live(family: str, tones: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    bundle = train_bundle(recipe(family), tmp_path, tones, say=lines.append)
    assert any("ONNX Runtime differs from scikit-learn" in line for line in lines)
    assert set(bundle.contents) == {"model.onnx", "CREDITS.txt", "recipe.toml"}  # nothing that executes when loaded
    assert bundle.manifest.scores["fold4_clip_accuracy"] >= 0.66  # chance: 0.33
    rng = np.random.default_rng(11)
    right = 0
    for label in CLASSES:
        scores, _ = live(bundle, tone(rng, label)[: round(1.5 * SR)], SR)
        right += bundle.manifest.labels[int(scores[:, :3].mean(axis=0).argmax())] == label
    assert right >= 2
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


@pytest.fixture
def forest(tones: Path, tmp_path: Path) -> Bundle:
    return train_bundle(recipe("random_forest"), tmp_path / "once", tones, say=lambda line: None)


def test_an_event_begins_where_the_tone_is(forest: Bundle) -> None:
    _, events = live(forest, tone(np.random.default_rng(3), "high"), SR)
    assert events[:1] == ["high"]


def test_the_manifest_tells_family_options_and_how_it_was_made(forest: Bundle, tones: Path, tmp_path: Path) -> None:
    manifest = forest.manifest
    assert manifest.network is not None
    assert manifest.network.kind == "random_forest"
    assert manifest.network.options["trees"] == 30
    assert manifest.network.options["statistics"] == ["mean", "max", "delta_std"]
    assert manifest.network.parameters > 100
    assert manifest.training is not None
    assert manifest.training.folds == [1, 2, 3]
    assert manifest.training.batch == 300
    assert manifest.labels == ["high", "low", "middle", "background"]
    judgement = evaluate_bundle(forest, "tones", tones, (4,))
    assert judgement.accuracy == pytest.approx(manifest.scores["fold4_clip_accuracy"], abs=1e-4)
    assert judgement.cost.parameters == manifest.network.parameters


def test_the_same_seed_gives_the_same_model_and_no_other_does(forest: Bundle, tones: Path, tmp_path: Path) -> None:
    def model(seed: int) -> bytes:
        trained = train_bundle(recipe("random_forest"), tmp_path / f"{seed}", tones, seed=seed, say=lambda line: None)
        return trained.contents["model.onnx"]

    assert model(0) == forest.contents["model.onnx"]
    assert model(1) != forest.contents["model.onnx"]


def test_any_front_end_serves(tones: Path, tmp_path: Path) -> None:
    mixed = FrontEndSpec(feature=("mfcc", "zero_crossing_rate", "spectral_centroid"), n_mfcc=8, n_mels=20)
    told = msgspec.structs.replace(recipe("lda"), front_end=mixed)
    assert train_bundle(told, tmp_path, tones, say=lambda line: None).manifest.scores["fold4_clip_accuracy"] >= 0.66


def test_without_validation_clips_thresholds_are_plain(tones: Path, tmp_path: Path) -> None:
    everything = DataChoice(name="tones", test_folds=(), validation_part=0.0, backgrounds=())
    told = msgspec.structs.replace(recipe("logistic_regression"), data=everything)
    bundle = train_bundle(told, tmp_path, tones, say=lambda line: None)
    assert bundle.manifest.background == ""
    assert bundle.manifest.thresholds == {"high": 0.5, "low": 0.5, "middle": 0.5}
    assert bundle.manifest.scores == {}


def test_a_label_without_a_window_is_one_line(tones: Path, tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match=r"none of the 1 windows is of '.*network.windows is too low"):
        train_bundle(recipe("lda", windows=1), tmp_path, tones, say=lambda line: None)
    root = write_data(tmp_path / "data", clips_per_fold=1)
    for path in (root / "tones" / "audio").glob("*-2.wav"):
        path.write_bytes(b"not a sound")
    with pytest.raises(EarwitnessError, match="is of 'high': it has no recording that can be read"):
        train_bundle(recipe("lda"), tmp_path, root, say=lambda line: None)


def test_one_class_only_is_one_line(tmp_path: Path) -> None:
    rng, folder = np.random.default_rng(2), tmp_path / "sounds" / "beep"
    folder.mkdir(parents=True)
    for number in range(4):
        soundfile.write(folder / f"{number}.wav", tone(rng, "low"), SR)
    values = {"name": "one", "data": {"name": str(tmp_path / "sounds"), "backgrounds": []}, "network": {"kind": "svm"}}
    with pytest.raises(EarwitnessError, match="two, or one and backgrounds, are needed"):
        train_bundle(recipe_of(values), tmp_path / "out", say=lambda line: None)


def test_the_command_line_has_a_plain_recipe_and_tells_the_options() -> None:
    plain = recipe_for(network="svm", data="esc10", changes={"network.C": 3.0})
    assert plain.name == "esc10-svm"
    assert plain.window_frames == 200
    assert plain.front_end.n_mels == 40
    assert plain.network.options == {"C": 3.0}
    with pytest.raises(EarwitnessError, match="family svm has no option 'gama'; did you mean 'gamma'"):
        recipe_for(network="svm", data="esc10", changes={"network.gama": 3.0})
    told = CliRunner().invoke(app, ["train", "--network", "random_forest", "--help"]).output
    assert "network.min_samples_leaf=2" in told
    assert "training windows in a leaf, at least" in told
