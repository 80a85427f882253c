"""Figures that judge scores against the truth. scikit-learn counts where it has the figure; no torch.

Throughout, `scores` are float [examples, classes] and `truth` is bool of the same shape: one True a row where each
example has one class, several where several sound at once. `recordings` names, for each example, what it was cut from:
examples of one recording are alike, so that uncertainty is estimated by drawing recordings, not examples.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...stream.errors import EarwitnessError

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

Interval = tuple[float, float]

CONFIDENCE = 0.95
REPEATS = 1000  # bootstrap samples of small data; fewer, 200 at least, where there are very many examples
BINS = 15  # of reliability, as Guo et al. (2017) and most after them
SMALLEST = 1e-7  # a probability of 0 has a logarithm too


class ClassFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How one class fared, 0..1: precision, recall, F1 of what was named, average precision of the scores' ranking."""

    precision: float
    recall: float
    f1: float
    average_precision: float


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True):
    """The examples whose confidence lies in one of `BINS` equal parts of 0..1, the upper edge included."""

    examples: int
    confidence: float  # their mean
    accuracy: float


def wilson_interval(right: int, total: int) -> Interval:
    """The 95 % interval of a share (E. B. Wilson, 1927); (0, 1) where there is nothing to count."""
    if not total:
        return 0.0, 1.0
    z = 1.959963984540054  # of CONFIDENCE, two-sided
    share, spread = right / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / total / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def class_figures(named: Bools, scores: Floats, truth: Bools) -> list[ClassFigures]:
    """For each class; `named` is bool [examples, classes], what was said. What is undefined is 0."""
    precision, recall, f1, _ = _sklearn().precision_recall_fscore_support(truth, named, average=None, zero_division=0)
    average = average_precisions(scores, truth)
    return [
        ClassFigures(precision=float(p), recall=float(r), f1=float(f), average_precision=float(np.nan_to_num(a)))
        for p, r, f, a in zip(precision, recall, f1, average, strict=True)
    ]


def average_precisions(scores: Floats, truth: Bools) -> NDArray[np.float64]:
    """Average precision of each class, NaN where no example is of it (`sklearn.metrics.average_precision_score`)."""
    average_precision = _sklearn().average_precision_score
    return np.array(
        [average_precision(truth[:, k], scores[:, k]) if truth[:, k].any() else np.nan for k in range(truth.shape[1])]
    )


def precision_recall_curve(scores: Floats, truth: Bools) -> tuple[Floats, Floats]:
    """Precision and recall of one class (scores and truth [examples]) at every threshold, from the lowest on."""
    precision, recall, _ = _sklearn().precision_recall_curve(truth, scores)
    return precision, recall


def confusion_matrix(right: Sequence[str], named: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """Counts [right label, named label]. (scikit-learn's warns where there is one label only.)"""
    index = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, ([index[label] for label in right], [index[label] for label in named]), 1)
    return counts


def among_best(scores: Floats, truth: Bools, k: int) -> Bools:
    """Whether a right class is among the k with the highest scores, for each example."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.asarray(np.take_along_axis(truth, best, axis=1).any(axis=1))


def reliability(confidence: Floats, right: Bools) -> list[ReliabilityBin]:
    """How often what was said with some confidence [examples], 0..1, was right [examples], bin by bin."""
    bins = np.clip(np.ceil(np.asarray(confidence, np.float64) * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    means = [np.bincount(bins, values, BINS) / np.maximum(counts, 1) for values in (confidence, right)]
    return [
        ReliabilityBin(examples=int(n), confidence=float(c), accuracy=float(a))
        for n, c, a in zip(counts, *means, strict=True)
    ]


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """The mean distance between confidence and accuracy, 0..1 (Guo et al., 2017, https://arxiv.org/abs/1706.04599)."""
    total = sum(bin.examples for bin in bins)
    return sum(bin.examples * abs(bin.confidence - bin.accuracy) for bin in bins) / max(total, 1)


def is_exclusive(scores: Floats) -> bool:
    """Whether the scores of an example add up to 1: a softmax's. Else each class stands by itself, as a sigmoid's."""
    return bool(len(scores)) and bool(np.allclose(scores.sum(axis=1), 1, atol=1e-3))


def scale(scores: Floats, temperature: float, exclusive: bool) -> Floats:
    """Probabilities as they were if their logits were divided by the temperature: above 1 less sure, below 1 surer."""
    logs = np.log(np.clip(scores, SMALLEST, 1))
    if exclusive:
        powers = np.exp((logs - logs.max(axis=1, keepdims=True)) / temperature)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    odds = (logs - np.log(np.clip(1 - scores, SMALLEST, 1))) / temperature
    return np.asarray(1 / (1 + np.exp(-odds)))


def fit_temperature(scores: Floats, truth: Bools, exclusive: bool) -> float:
    """The temperature 0.05..20 under which the truth is likeliest: least cross-entropy, binary where not exclusive."""
    from scipy.optimize import minimize_scalar  # comes with scikit-learn

    def cross_entropy(log_temperature: float) -> float:
        scaled = np.clip(scale(scores, math.exp(log_temperature), exclusive), SMALLEST, 1)
        loss = -np.log(scaled[truth]).sum()
        return float(loss if exclusive else loss - np.log(np.clip(1 - scaled[~truth], SMALLEST, 1)).sum())

    found = minimize_scalar(cross_entropy, bounds=(math.log(0.05), math.log(20)), method="bounded")
    return float(math.exp(found.x))


def bootstrap_counts(recordings: Sequence[str], seed: int = 0) -> NDArray[np.float32]:
    """How often each example is in each of many samples of recordings, drawn with replacement: [samples, examples]."""
    names, of_example = np.unique(np.asarray(recordings), return_inverse=True)
    repeats = int(np.clip(4_000_000 // max(len(recordings), 1), 200, REPEATS))
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=repeats)
    return drawn.astype(np.float32)[:, of_example]


def interval(values: Floats) -> Interval:
    """The middle 95 % of a figure's values over bootstrap samples; samples without one (NaN) are left out."""
    low, high = np.nanpercentile(values, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return float(low), float(high)


def shares(counts: Floats, right: Bools) -> Floats:
    """The share of examples that are right, in each sample of `bootstrap_counts`."""
    return np.asarray(counts @ right.astype(np.float32) / counts.sum(axis=1))


def macro_f1s(counts: Floats, named: Bools, truth: Bools) -> Floats:
    """The mean F1 over the classes that occur, in each sample of `bootstrap_counts`."""
    hits, said, wanted = (counts @ part.astype(np.float32) for part in (named & truth, named, truth))
    f1 = 2 * hits / np.maximum(said + wanted, 1)
    return np.asarray((f1 * (wanted > 0)).sum(axis=1) / np.maximum((wanted > 0).sum(axis=1), 1))


def mean_average_precisions(counts: Floats, scores: Floats, truth: Bools) -> Floats:
    """The mean average precision over the classes that occur, in each sample of `bootstrap_counts`."""
    total = np.zeros(len(counts))
    present = np.zeros(len(counts))
    for k in np.flatnonzero(truth.any(axis=0)):
        order = np.argsort(-scores[:, k], kind="stable")
        ranked = scores[order, k]
        last = np.append(ranked[1:] != ranked[:-1], True)  # examples with the same score pass a threshold together
        passed = counts[:, order]
        every = np.cumsum(passed, axis=1)[:, last]
        hits = np.cumsum(passed * truth[order, k], axis=1)[:, last]
        wanted = hits[:, -1]
        gained = np.diff(hits, axis=1, prepend=0)
        total += (gained * (hits / np.maximum(every, 1))).sum(axis=1) / np.maximum(wanted, 1)
        present += wanted > 0
    return np.asarray(total / np.maximum(present, 1))


def paired_p_value(differences: Sequence[int]) -> float:
    """Two-sided p of the hypothesis that each difference might as well have the other sign: an exact test.

    Each of the 2^n choices of signs is as likely as another; p is the share whose sum is at least as far from 0. Of
    differences of 1 between the answers of two models on one clip each, this is McNemar's exact test; of differences of
    counts on one recording each, its counterpart for clips that belong together.
    """
    sizes = [abs(difference) for difference in differences if difference]
    reach = sum(sizes)
    likelihood = np.zeros(2 * reach + 1)
    likelihood[reach] = 1.0
    for size in sizes:
        likelihood = (np.roll(likelihood, size) + np.roll(likelihood, -size)) / 2
    sums = np.abs(np.arange(-reach, reach + 1))
    return min(1.0, float(likelihood[sums >= abs(sum(differences))].sum()))


def _sklearn() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import sklearn.metrics
    except ModuleNotFoundError as error:
        raise EarwitnessError(f"judging needs {error.name}: pip install 'earwitness[train]'") from None
    return sklearn.metrics  # type: ignore[no-any-return]
