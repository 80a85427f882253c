"""Statistics of a window: those of numpy and scipy, the same alone and in company, standardised."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="training needs onnx (extra train)")
pytest.importorskip("scipy", reason="training needs scikit-learn, and with it scipy (extra train)")

from scipy import stats

from earwitness.models.classical.statistics import STATISTICS, WindowStatistics
from earwitness.stream.errors import EarwitnessError

FRAMES, DIMS = 31, 5


@pytest.fixture
def windows(rng: np.random.Generator) -> np.ndarray:
    """Something like log-mel in dB, with a silent window."""
    drawn = rng.gamma(2.0, 10.0, (40, FRAMES, DIMS)) - 80
    drawn[7] = -100
    return drawn.astype(np.float32)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("mean", lambda x: x.mean(axis=1)),
        ("std", lambda x: x.std(axis=1)),
        ("min", lambda x: x.min(axis=1)),
        ("max", lambda x: x.max(axis=1)),
        ("median", lambda x: np.median(x, axis=1)),
        ("p10", lambda x: np.percentile(x, 10, axis=1)),
        ("p25", lambda x: np.percentile(x, 25, axis=1)),
        ("p75", lambda x: np.percentile(x, 75, axis=1)),
        ("p90", lambda x: np.percentile(x, 90, axis=1)),
        ("delta_mean", lambda x: np.abs(np.diff(x, axis=1)).mean(axis=1)),
        ("delta_std", lambda x: np.diff(x, axis=1).std(axis=1)),
    ],
)
def test_a_statistic_is_numpys(name: str, reference: object, windows: np.ndarray) -> None:
    found = WindowStatistics([name], FRAMES, DIMS)(windows)
    np.testing.assert_allclose(found, reference(windows.astype(float)), rtol=1e-5, atol=1e-4)  # type: ignore[operator]


def test_skewness_is_scipys_and_none_where_nothing_changes(windows: np.ndarray) -> None:
    found = WindowStatistics(["skewness"], FRAMES, DIMS)(windows)
    assert np.abs(found[7]).max() < 1e-3
    others = np.arange(len(windows)) != 7
    np.testing.assert_allclose(found[others], stats.skew(windows[others].astype(float), axis=1), rtol=1e-3, atol=1e-3)


def test_every_statistic_is_known_to_the_graph_and_stands_in_its_order(windows: np.ndarray) -> None:
    every = WindowStatistics(list(STATISTICS), FRAMES, DIMS)(windows)
    assert every.shape == (len(windows), len(STATISTICS) * DIMS)
    for place, name in enumerate(STATISTICS):
        alone = WindowStatistics([name], FRAMES, DIMS)(windows)
        np.testing.assert_array_equal(every[:, place * DIMS : (place + 1) * DIMS], alone)


def test_fitting_standardises_and_what_never_changes_stays_zero(windows: np.ndarray) -> None:
    windows[:, :, 2] = 3.0
    statistics = WindowStatistics(["mean", "max"], FRAMES, DIMS)
    fitted = statistics.fit(windows)
    varying = [0, 1, 3, 4, 5, 6, 8, 9]
    np.testing.assert_allclose(fitted[:, varying].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(fitted[:, varying].std(axis=0), 1, atol=1e-5)
    windows[:, :, 2] = 1e6
    assert np.abs(statistics(windows)[:, [2, 7]]).max() == 0
    np.testing.assert_array_equal(statistics(windows)[:, varying], fitted[:, varying])
    assert statistics.fit(windows)[:, varying].std() == pytest.approx(1, abs=1e-5)  # a second fit forgets the first


def test_cepstra_of_log_mel_are_librosas_mfcc(rng: np.random.Generator) -> None:
    librosa = pytest.importorskip("librosa")
    bands = rng.uniform(-80, 0, (3, FRAMES, 12)).astype(np.float32)
    level = rng.uniform(0, 1, (3, FRAMES, 1)).astype(np.float32)
    windows = np.concatenate((level, bands), axis=2)
    found = WindowStatistics(["mean", "max"], FRAMES, 13, cepstra=5, bands=slice(1, 13))(windows)
    mfcc = np.stack([librosa.feature.mfcc(S=window.T, n_mfcc=5) for window in bands])
    assert found.shape == (3, 2 * 18)
    np.testing.assert_allclose(found[:, 13:18], mfcc.mean(axis=2), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found[:, 31:36], mfcc.max(axis=2), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found[:, :13], windows.mean(axis=1), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("cepstra", [0, 4])
def test_a_window_has_the_same_bits_in_any_company(cepstra: int, windows: np.ndarray) -> None:
    statistics = WindowStatistics(list(STATISTICS), FRAMES, DIMS, cepstra)
    statistics.fit(windows)
    together = statistics(windows)
    alone = np.concatenate([statistics(windows[k : k + 1]) for k in range(len(windows))])
    np.testing.assert_array_equal(together, alone)
    assert statistics(windows[:0]).shape == (0, statistics.size)


def test_wrong_statistics_are_one_line() -> None:
    with pytest.raises(EarwitnessError, match="no statistic 'medain': did you mean 'median'"):
        WindowStatistics(["mean", "medain"], FRAMES, DIMS)
    with pytest.raises(EarwitnessError, match="each once"):
        WindowStatistics(["mean", "mean"], FRAMES, DIMS)
    with pytest.raises(EarwitnessError, match="one or several"):
        WindowStatistics([], FRAMES, DIMS)
    with pytest.raises(EarwitnessError, match="window_frames must be 2 or more"):
        WindowStatistics(["mean"], 1, DIMS)
