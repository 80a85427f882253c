"""Figures of judgement, each beside scikit-learn, scipy or an example that can be reckoned by hand."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="figures are counted by scikit-learn (extra train)")
import sklearn.metrics
from scipy import stats

from earwitness.models.judging import metrics


@pytest.fixture
def scores(rng: np.random.Generator) -> np.ndarray:
    return rng.dirichlet(np.ones(5), 60).round(2)  # rounded: there are ties


@pytest.fixture
def truth(rng: np.random.Generator) -> np.ndarray:
    return np.eye(5, dtype=bool)[rng.integers(0, 4, 60)]  # the last class never occurs


def test_wilson_s_interval_is_scipy_s() -> None:
    for right, total in ((0, 10), (37, 40), (80, 80), (311, 400)):
        expected = stats.binomtest(right, total).proportion_ci(method="wilson")
        assert metrics.wilson_interval(right, total) == pytest.approx((expected.low, expected.high))
    assert metrics.wilson_interval(0, 0) == (0.0, 1.0)


def test_classes_have_the_figures_of_three_sounds_reckoned_by_hand() -> None:
    truth = np.array([[1, 0], [1, 0], [0, 1]], bool)
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    first, second = metrics.class_figures(np.eye(2, dtype=bool)[scores.argmax(axis=1)], scores, truth)
    assert (first.precision, first.recall, first.f1) == pytest.approx((1, 1 / 2, 2 / 3))
    assert (second.precision, second.recall, second.f1) == pytest.approx((1 / 2, 1, 2 / 3))
    assert (first.average_precision, second.average_precision) == pytest.approx((1, 1))


def test_a_class_without_examples_has_no_average_precision(scores: np.ndarray, truth: np.ndarray) -> None:
    average = metrics.average_precisions(scores, truth)
    assert np.isnan(average).tolist() == [False, False, False, False, True]
    assert average[1] == pytest.approx(sklearn.metrics.average_precision_score(truth[:, 1], scores[:, 1]))


def test_the_confusion_matrix_is_scikit_learn_s(rng: np.random.Generator) -> None:
    labels = ["a", "b", "c", "d"]
    right, named = (rng.choice(labels[:3], 50).tolist() for _ in range(2))
    expected = sklearn.metrics.confusion_matrix(right, named, labels=labels)
    assert (metrics.confusion_matrix(right, named, labels) == expected).all()
    assert metrics.confusion_matrix(["a"], ["a"], ["a"]).tolist() == [[1]]


def test_among_the_best_is_scikit_learn_s_top_k(scores: np.ndarray, truth: np.ndarray) -> None:
    distinct = scores + np.linspace(0, 1e-6, scores.size).reshape(scores.shape)
    for k in (1, 2, 3):
        expected = sklearn.metrics.top_k_accuracy_score(truth.argmax(axis=1), distinct, k=k, labels=range(5))
        assert metrics.among_best(distinct, truth, k).mean() == pytest.approx(expected)
    assert metrics.among_best(distinct, truth, 9).all()


def test_calibration_error_of_an_example_reckoned_by_hand() -> None:
    confidence, right = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5]), np.array([1, 1, 1, 0, 0, 1], bool)
    bins = metrics.reliability(confidence, right)
    assert [(bin.examples, bin.accuracy) for bin in bins if bin.examples] == [(2, 0.5), (4, 0.75)]
    assert metrics.expected_calibration_error(bins) == pytest.approx(4 / 6 * 0.15)


def test_the_edges_of_confidence_fall_into_the_first_and_the_last_bin() -> None:
    bins = metrics.reliability(np.array([0.0, 1.0]), np.array([False, True]))
    assert (bins[0].examples, bins[-1].examples, sum(bin.examples for bin in bins)) == (1, 1, 2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_scaling_probabilities_is_dividing_their_logits(temperature: float, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(20, 5))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    cooler = np.exp(logits / temperature) / np.exp(logits / temperature).sum(axis=1, keepdims=True)
    assert metrics.is_exclusive(softmax)
    np.testing.assert_allclose(metrics.scale(softmax, temperature, True), cooler, atol=1e-6)
    sigmoid = 1 / (1 + np.exp(-logits))
    assert not metrics.is_exclusive(sigmoid)
    np.testing.assert_allclose(
        metrics.scale(sigmoid, temperature, False), 1 / (1 + np.exp(-logits / temperature)), atol=1e-6
    )


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_temperature_of_scores_that_are_too_sure_is_found(exclusive: bool, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(4000, 4))
    if exclusive:
        honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        truth = np.eye(4, dtype=bool)[[rng.choice(4, p=row) for row in honest]]
    else:
        honest = 1 / (1 + np.exp(-logits))
        truth = rng.random(honest.shape) < honest
    too_sure = metrics.scale(honest, 0.5, exclusive)
    assert metrics.fit_temperature(too_sure, truth, exclusive) == pytest.approx(2, rel=0.08)


def test_recordings_are_drawn_whole_and_as_many_as_there_are() -> None:
    counts = metrics.bootstrap_counts(["a", "a", "b", "c"])
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 1:].sum(axis=1) == 3).all()
    assert counts.std(axis=0).min() > 0
    assert (metrics.bootstrap_counts(["a", "a", "b", "c"]) == counts).all()


def test_an_interval_over_recordings_is_wider_than_one_over_their_clips() -> None:
    right = np.repeat(np.arange(20) % 3 > 0, 10)
    together = metrics.interval(metrics.shares(metrics.bootstrap_counts([f"{k // 10}" for k in range(200)]), right))
    apart = metrics.interval(metrics.shares(metrics.bootstrap_counts([f"{k}" for k in range(200)]), right))
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])
    assert apart[0] < right.mean() < apart[1]


def test_samples_have_the_f1_and_average_precision_that_scikit_learn_finds_with_weights(
    scores: np.ndarray, truth: np.ndarray
) -> None:
    counts = metrics.bootstrap_counts([f"{k // 2}" for k in range(60)])[:5]
    named = np.eye(5, dtype=bool)[scores.argmax(axis=1)]
    f1s, averages = metrics.macro_f1s(counts, named, truth), metrics.mean_average_precisions(counts, scores, truth)
    for row, weights in enumerate(counts):
        present = np.flatnonzero(weights @ truth)
        f1 = sklearn.metrics.f1_score(
            truth.argmax(1), scores.argmax(1), labels=present, average="macro", sample_weight=weights, zero_division=0
        )
        average = np.mean(
            [sklearn.metrics.average_precision_score(truth[:, k], scores[:, k], sample_weight=weights) for k in present]
        )
        assert (f1s[row], averages[row]) == pytest.approx((f1, average), abs=1e-5)


def test_the_paired_test_on_single_clips_is_mcnemar_s_exact_test() -> None:
    for better, worse in ((9, 2), (5, 5), (1, 0), (30, 12)):
        differences = [1] * better + [-1] * worse + [0] * 50
        expected = stats.binomtest(better, better + worse, 0.5).pvalue
        assert metrics.paired_p_value(differences) == pytest.approx(expected)
    assert metrics.paired_p_value([0, 0]) == 1.0
    assert metrics.paired_p_value([]) == 1.0


def test_the_paired_test_on_recordings_is_scipy_s_exact_permutation_test() -> None:
    differences = [3, -1, 2, 2, 0, -1, 4, 1]
    expected = stats.permutation_test(
        (np.array(differences), np.zeros(8)), lambda a, b: np.sum(a - b), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert metrics.paired_p_value(differences) == pytest.approx(expected)


def test_neither_torch_nor_scikit_learn_is_loaded_by_importing_the_figures() -> None:
    code = (
        "import sys, earwitness.models.judging.metrics; "
        "print([name for name in ('torch', 'sklearn', 'scipy') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
