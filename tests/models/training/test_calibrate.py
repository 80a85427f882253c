from __future__ import annotations

import numpy as np
import pytest

from earwitness.models.training.calibrate import HIGHEST, LOWEST, best_temperature, choose_thresholds

EVENTS = ["a", "b"]


def test_the_temperature_that_made_the_logits_is_found(rng: np.random.Generator) -> None:
    logits = rng.normal(0, 2, (20000, 5)).astype(np.float32)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (chances.cumsum(axis=1) > rng.random((len(logits), 1))).argmax(axis=1)
    assert best_temperature(logits * 2.5, truth_of(targets, 5)) == pytest.approx(2.5, rel=0.05)


def test_so_is_that_of_labels_that_are_true_each_for_itself(rng: np.random.Generator) -> None:
    logits = rng.normal(0, 2, (20000, 3)).astype(np.float32)
    truth = 1 / (1 + np.exp(-logits)) > rng.random(logits.shape)
    assert best_temperature(logits * 2.5, truth, multi_label=True) == pytest.approx(2.5, rel=0.05)


def truth_of(targets: np.ndarray, labels: int = 3) -> np.ndarray:
    """What is true of windows of one label each; the last label is the background's."""
    return np.asarray(np.arange(labels) == targets[:, None])


def scores_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([a, b, 1 - a - b], axis=1).astype(np.float32)


def test_a_threshold_lies_between_right_and_wrong() -> None:
    right = np.linspace(0.7, 0.95, 50)
    wrong = np.linspace(0.0, 0.45, 50)
    scores = scores_of(np.concatenate([right, wrong, wrong]), np.concatenate([wrong / 2, right / 20, wrong / 2]))
    targets = np.repeat([0, 1, 2], 50)
    thresholds = choose_thresholds(scores, truth_of(targets), EVENTS, [100, 100])
    assert 0.44 < thresholds["a"] <= 0.75
    assert set(thresholds) == {"a", "b"}


def test_background_that_passes_raises_the_threshold() -> None:
    scores = scores_of(np.repeat([0.8, 0.0, 0.75], 400), np.repeat([0.0, 0.9, 0.0], 400))
    targets = np.repeat([0, 1, 2], 400)
    few = scores.copy()
    few[800:, 0] = 0.1
    assert choose_thresholds(few, truth_of(targets), EVENTS, [9, 9])["a"] < 0.75
    assert choose_thresholds(scores, truth_of(targets), EVENTS, [9, 9])["a"] >= 0.75


def test_thresholds_stay_in_bounds() -> None:
    scores = scores_of(np.repeat([0.05, 0.0, 0.0], 10), np.repeat([0.0, 0.99, 0.99], 10) * 0.99)
    thresholds = choose_thresholds(scores, truth_of(np.repeat([0, 1, 2], 10)), EVENTS, [50, 50])
    assert thresholds["a"] == LOWEST
    assert thresholds["b"] == HIGHEST
