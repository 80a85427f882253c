"""Temperature and thresholds, chosen on recordings that were kept out of training.

They are judged on random windows of these recordings, with the gains, backgrounds and cut edges of training but without
its mixtures of classes and masks: what a microphone will hear, rather than clean clips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

LOWEST, HIGHEST = 0.3, 0.9  # no threshold lies outside
LONELY_CLIPS = 4.0  # a class with that many validation clips counts as much as all classes together
BACKGROUND_ALARMS = 0.002  # the share of background windows that one class may claim


def best_temperature(logits: Array, targets: Array) -> float:
    """The temperature 0.3..5 with the lowest cross-entropy of logits [n, labels] against labels [n]."""
    candidates = np.geomspace(0.3, 5, 120)
    return float(round(candidates[np.argmin([_cross_entropy(logits / t, targets) for t in candidates])], 3))


def choose_thresholds(
    scores: Array, targets: NDArray[np.int64], labels: Sequence[str], clips: Sequence[int]
) -> dict[str, float]:
    """A threshold for every label but the last, the background's.

    Each is the one with the best F0.5 (precision counts double: a false alarm annoys more than a late start) over the
    windows of its class, drawn towards the one with the best F0.5 over all classes together (a class with few
    validation clips more), raised until at most `BACKGROUND_ALARMS` of the windows of background pass, and kept within
    `LOWEST` and `HIGHEST`.

    Args:
        scores: probabilities [windows, labels].
        targets: the right column of each window.
        clips: how many validation clips each label has.
    """
    events = range(len(labels) - 1)
    grid = np.arange(LOWEST, HIGHEST + 0.005, 0.01)
    counts = np.array([[_counts(scores[:, k], targets == k, level) for level in grid] for k in events])
    together = grid[np.argmax(_f_half(counts.sum(axis=0)))]
    empty = scores[targets == len(labels) - 1]
    thresholds = {}
    for k in events:
        own = grid[np.argmax(_f_half(counts[k]))]
        weight = clips[k] / (clips[k] + LONELY_CLIPS)
        level = weight * own + (1 - weight) * together
        if len(empty):
            level = max(level, float(np.quantile(empty[:, k], 1 - BACKGROUND_ALARMS)))
        thresholds[labels[k]] = round(float(np.clip(level, LOWEST, HIGHEST)), 3)
    return thresholds


def _cross_entropy(logits: Array, targets: Array) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -float(logs[np.arange(len(logits)), targets].mean())


def _counts(scores: Array, right: NDArray[np.bool_], level: float) -> tuple[int, int, int]:
    """True positives, false positives, false negatives."""
    over = scores >= level
    return int((over & right).sum()), int((over & ~right).sum()), int((~over & right).sum())


def _f_half(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    true, false, missed = np.moveaxis(counts, -1, 0)
    return np.asarray(1.25 * true / np.maximum(1.25 * true + false + 0.25 * missed, 1))
