"""Every fold is judged by a bundle that never heard it; what is trained already is not trained again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs torch (extra train)")
pytest.importorskip("sklearn", reason="figures are counted by scikit-learn (extra train)")

from earwitness.models import train
from earwitness.models.bundle import Bundle
from earwitness.models.judging.cross_validate import cross_validate, pool, report
from earwitness.models.training.recipe import DataChoice, Recipe
from earwitness.stream.errors import EarwitnessError

from ..hearers import clip, hearer, hearing, trained_on

RECIPE = Recipe(name="hearer", data=DataChoice(name="tones"))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """What was to be trained; each time it is a bundle that needs no training, of seed 1 one that is always wrong."""
    seen: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []

    def train_bundle(recipe: Recipe, out: Path, root: Path, seed: int, *_: Any, **__: Any) -> Bundle:
        seen.append((seed, recipe.data.folds, recipe.data.test_folds))
        labels = ["low", "middle", "high", "background"] if seed == 1 else ["high", "low", "middle", "background"]
        return hearer(out, labels, training=trained_on("tones", *recipe.data.folds))

    monkeypatch.setattr(train, "train_bundle", train_bundle)
    return seen


def test_each_fold_is_left_out_once_and_judged_then(calls: list[Any], tmp_path: Path, tones: Path) -> None:
    page = tmp_path / "page.html"
    found = cross_validate(RECIPE, tmp_path, tones, (0,), say=lambda line: None, page=page)
    assert calls == [(0, (2, 3, 4), (1,)), (0, (1, 3, 4), (2,)), (0, (1, 2, 4), (3,)), (0, (1, 2, 3), (4,))]
    assert [(each.folds, each.figures["accuracy"]) for each in found.rounds] == [([k], 1.0) for k in (1, 2, 3, 4)]
    assert found.pooled.clips == 24
    assert found.pooled.folds == [1, 2, 3, 4]
    assert found.pooled.notes == []  # none was heard in training
    assert found.figures["accuracy"].deviation == 0.0
    assert "hearer" in page.read_text()


def test_seeds_spread_and_what_is_there_is_not_trained_again(calls: list[Any], tmp_path: Path, tones: Path) -> None:
    cross_validate(RECIPE, tmp_path, tones, (0,), say=lambda line: None)
    said: list[str] = []
    found = cross_validate(RECIPE, tmp_path, tones, (0, 1), say=said.append)
    assert [seed for seed, *_ in calls] == [0] * 4 + [1] * 4
    accuracy = found.figures["accuracy"]
    assert (accuracy.mean, accuracy.lowest, accuracy.highest) == (0.5, 0.0, 1.0)
    assert accuracy.deviation == pytest.approx(0.5**0.5)
    assert found.by_folds == {"1": 0.5, "2": 0.5, "3": 0.5, "4": 0.5}
    assert "0.5000 ± 0.7071 (0.0000 to 1.0000)  accuracy" in report(found)
    assert any(line.startswith("seed 1, folds 4: 0.0000") for line in said)


def test_another_recipe_of_the_same_name_is_trained_anew(calls: list[Any], tmp_path: Path, tones: Path) -> None:
    cross_validate(RECIPE, tmp_path, tones, (0,), say=lambda line: None)
    other = Recipe(name="hearer", data=DataChoice(name="tones"), window_frames=64)
    cross_validate(other, tmp_path, tones, (0,), say=lambda line: None)
    assert len(calls) == 8


def test_no_seed_is_refused(tmp_path: Path, tones: Path) -> None:
    with pytest.raises(EarwitnessError, match="one seed at least"):
        cross_validate(RECIPE, tmp_path, tones, ())


def test_pooled_scores_find_their_columns() -> None:
    first = hearing(["cat", "dog"], (clip(1, "cat"), [[0.9, 0.1]], []))
    second = hearing(["dog", "owl"], (clip(2, "owl", fold=2), [[0.2, 0.8]], []), folds=(2,))
    together = pool([first, second], "both")
    assert together.labels == ["cat", "dog", "owl"]
    assert [each.scores[0].tolist() for each in together.clips] == [
        pytest.approx([0.9, 0.1, 0.0]), pytest.approx([0.0, 0.2, 0.8]),
    ]  # fmt: skip
    assert together.folds == (1, 2)
