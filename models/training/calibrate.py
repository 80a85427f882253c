"""Temperature and thresholds, chosen on recordings that were kept out of training.

They are judged on random windows of these recordings, with the gains, backgrounds and cut edges of training but without
its mixtures of classes and masks: what a microphone will hear, rather than clean clips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Bools = NDArray[np.bool_]

LOWEST, HIGHEST = 0.3, 0.9  # no threshold lies outside
LONELY_CLIPS = 4.0  # a class with that many validation clips counts as much as all classes together
BACKGROUND_ALARMS = 0.002  # the share of background windows that one class may claim


def best_temperature(logits: Array, truth: Bools, multi_label: bool = False) -> float:
    """The temperature 0.003..5 with the lowest cross-entropy of logits [n, labels] against what is true of each.

    Networks are too sure, and need one above 1; classical families may be a hundredth as sure as they are right.
    """
    entropy = _binary_cross_entropy if multi_label else _cross_entropy
    candidates = np.geomspace(0.003, 5, 300)
    best = candidates[np.argmin([entropy(logits / t, truth) for t in candidates])]
    return float(f"{best:.3g}")


def choose_thresholds(scores: Array, truth: Bools, events: Sequence[str], clips: Sequence[int]) -> dict[str, float]:
    """A threshold for every event.

    Each is the one with the best F0.5 (precision counts double: a false alarm annoys more than a late start) over the
    windows, drawn towards the one with the best F0.5 over all events together (an event with few validation clips
    more), raised until at most `BACKGROUND_ALARMS` of the windows without any event pass, and kept within `LOWEST` and
    `HIGHEST`.

    Args:
        scores: probabilities [windows, events or more].
        truth: what is true of each window, [windows, events or more].
        events: the labels of the first columns.
        clips: how many validation clips each event has.
    """
    scores, truth = scores[:, : len(events)], truth[:, : len(events)]
    grid = np.arange(LOWEST, HIGHEST + 0.005, 0.01)
    counts = np.array([[_counts(scores[:, k], truth[:, k], level) for level in grid] for k in range(len(events))])
    together = grid[np.argmax(_f_half(counts.sum(axis=0)))]
    empty = scores[~truth.any(axis=1)]
    thresholds = {}
    for k, label in enumerate(events):
        own = grid[np.argmax(_f_half(counts[k]))]
        weight = clips[k] / (clips[k] + LONELY_CLIPS)
        level = weight * own + (1 - weight) * together
        if len(empty):
            level = max(level, float(np.quantile(empty[:, k], 1 - BACKGROUND_ALARMS)))
        thresholds[label] = round(float(np.clip(level, LOWEST, HIGHEST)), 3)
    return thresholds


def _cross_entropy(logits: Array, truth: Bools) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -float(logs[truth].mean())


def _binary_cross_entropy(logits: Array, truth: Bools) -> float:
    return float(np.logaddexp(0, np.where(truth, -logits, logits)).mean())


def _counts(scores: Array, right: Bools, level: float) -> tuple[int, int, int]:
    """True positives, false positives, false negatives."""
    over = scores >= level
    return int((over & right).sum()), int((over & ~right).sum()), int((~over & right).sum())


def _f_half(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    true, false, missed = np.moveaxis(counts, -1, 0)
    return np.asarray(1.25 * true / np.maximum(1.25 * true + false + 0.25 * missed, 1))
