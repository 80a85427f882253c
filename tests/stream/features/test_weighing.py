"""Weighted sums are the matrix product, and the same bits for a row wherever it stands."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.stream.features import weighing
from earwitness.stream.features.mel import mel_filters
from earwitness.stream.features.weighing import Weights


def matrices() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    holes = rng.standard_normal((9, 40)) * (rng.random((9, 40)) < 0.2)
    holes[:, 3] = 1.0
    return {
        "mel": mel_filters(sr=16000, n_fft=512, n_mels=64, fmin=50.0, fmax=8000.0, norm="slaney"),
        "dense": rng.standard_normal((20, 64)),
        "holes": holes,
        "one": np.ones((1, 1)),
    }


@pytest.fixture(params=["compiled", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setattr(weighing, "COMPILED", False)
    elif not weighing.COMPILED:
        pytest.skip("the kernel was not compiled here")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", list(matrices()))
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 200])
def test_sums_are_the_matrix_product(name: str, rows: int) -> None:
    matrix = matrices()[name]
    values = np.random.default_rng(2).random((rows, matrix.shape[1])).astype(np.float32)
    theirs = values.astype(np.float64) @ matrix.astype(np.float32).astype(np.float64).T
    scale = values.astype(np.float64) @ np.abs(matrix).T
    ours = Weights(matrix).apply(values)
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape
    assert (np.abs(ours - theirs) <= 2e-6 * scale).all()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", list(matrices()))
def test_a_row_has_the_same_bits_at_every_place(name: str) -> None:
    weights = Weights(matrices()[name])
    row = np.random.default_rng(3).random(weights.matrix.shape[1]).astype(np.float32)
    alone = weights.apply(row[None])
    np.testing.assert_array_equal(weights.apply(np.tile(row, (77, 1))), np.tile(alone, (77, 1)))
