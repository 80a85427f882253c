"""The whole way from recordings to a judged bundle, on tones."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.launch import app
from earwitness.models.bundle import Bundle, find_bundle
from earwitness.models.data import background
from earwitness.models.evaluate import evaluate_bundle, false_alarms, report
from earwitness.models.runtime import open_runtime
from earwitness.models.train import train_bundle
from earwitness.models.training import training_data
from earwitness.models.training.recipe import read_recipe, recipe_named, recipe_of
from earwitness.models.training.training_data import read_data
from earwitness.stream.errors import EarwitnessError

RECIPE = recipe_of(
    {
        "name": "tones-cnn",
        "description": "three tones",
        "licence": "CC0",
        "seed": 1,
        "window_frames": 48,
        "hop_frames": 12,
        "data": {
            "name": "tones",
            "folds": [1, 2, 3],
            "test_folds": [4],
            "licences": ["CC0"],
            "backgrounds": ["synthesised", "rooms", "speech"],
        },
        "network": {"kind": "cnn", "channels": [8, 16], "depth": [1], "dropout": 0.0},
        "augmentation": {"between_class": 0.2},
        "training": {"steps": 250, "judge_every": 125, "batch": 24, "learning_rate": 0.01, "averaging": 0.9},
    }
)


@pytest.fixture(scope="module")
def trained(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        few = functools.partial(background.synthesised, seconds=2.0)
        patch.setattr(training_data, "synthesised", lambda seed, sr, count: few(seed, sr, min(count, 12)))
        bundle = train_bundle(RECIPE, tmp_path_factory.mktemp("out"), tones, threads=1, say=lines.append)
    assert any("ONNX Runtime differs from torch" in line for line in lines)
    return bundle


def test_training_hears_the_tones_of_a_fold_it_never_saw(trained: Bundle) -> None:
    assert trained.manifest.scores["fold4_clip_accuracy"] >= 0.8  # chance: 0.33


def test_the_bundle_says_how_it_was_made_and_nothing_else_is_left(trained: Bundle) -> None:
    assert trained.path.name == "tones-cnn"
    assert list(trained.path.parent.iterdir()) == [trained.path]
    manifest = find_bundle(trained.path).manifest
    assert manifest.training is not None
    assert manifest.training.command == "earwitness train --config recipe.toml --seed 1 --threads 1"
    assert manifest.training.folds == [1, 2, 3]
    assert manifest.labels == ["high", "low", "middle", "background"]
    credits = trained.contents["CREDITS.txt"].decode()
    assert "[CC0]" in credits
    assert "CC-BY-NC" not in credits
    assert "[4-" not in credits


def test_evaluation_gives_what_the_manifest_says(trained: Bundle, tones: Path) -> None:
    judgement = evaluate_bundle(trained, "tones", tones, (4,))
    assert judgement.accuracy == pytest.approx(trained.manifest.scores["fold4_clip_accuracy"], abs=1e-4)
    assert judgement.clips == 6
    assert sum(result.correct for result in judgement.classes.values()) == round(judgement.accuracy * 6)
    assert msgspec.json.decode(msgspec.json.encode(judgement), type=type(judgement)) == judgement
    assert "folds 4" in report(judgement)


def test_a_broken_clip_is_reported_and_not_the_end(trained: Bundle, tmp_path: Path) -> None:
    from .scene import write_data

    root = write_data(tmp_path / "data", clips_per_fold=1)
    broken = next((root / "tones" / "audio").glob("4-*-0.wav"))
    broken.write_bytes(b"not a sound")
    soundfile.write(next((root / "tones" / "audio").glob("4-*-1.wav")), np.zeros(10), 16000)  # shorter than a frame
    judgement = evaluate_bundle(trained, "tones", root, (4,))
    assert judgement.clips == 2
    (line,) = judgement.unreadable
    assert broken.name in line


def test_a_model_of_other_classes_cannot_be_judged(made: Bundle, trained: Bundle, tones: Path) -> None:
    assert evaluate_bundle(made, "tones", tones, (4,)).skipped == 2  # it knows no `middle`
    with pytest.raises(EarwitnessError, match="no data set 'esc50'"):
        evaluate_bundle(trained, "esc50", tones, (4,))


def test_false_alarms_are_counted_by_kind(trained: Bundle) -> None:
    time = np.arange(32000) / 16000
    tone = background.Background("noise", "tone", (0.3 * np.sin(2 * np.pi * 4000 * time)).astype(np.float32))
    silence = background.Background("silence", "none", np.zeros(32000, np.float32))
    alarms = false_alarms(trained, open_runtime(trained, "cpu"), [silence, silence, tone])
    assert alarms["silence"].events == alarms["silence"].per_hour == 0
    assert alarms["silence"].seconds == 4
    assert alarms["noise"].labels == {"high": 1}
    assert alarms["noise"].per_hour == 1800


def test_evaluate_prints_json(trained: Bundle, tones: Path) -> None:
    told = CliRunner().invoke(
        app, ["evaluate", "--model", str(trained.path), "--data", "tones", "--root", str(tones), "--json"]
    )
    assert msgspec.json.decode(told.output)["model"] == trained.tag


def test_the_recipe_lies_in_the_bundle_and_gives_it_again(trained: Bundle) -> None:
    assert read_recipe(trained.path / "recipe.toml") == RECIPE


@pytest.mark.data
def test_the_default_model_learns_from_free_clips_alone(data_root: Path) -> None:
    data = read_data(recipe_named("esc50-cnn"), data_root, lambda line: None)
    used = data.training + data.validation
    assert {clip.licence for clip in used} == {"CC0", "CC-BY"}
    assert {clip.fold for clip in used} == {1, 2, 3, 4}
    assert len({clip.label for clip in data.training}) == 50
