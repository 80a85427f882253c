from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models.data.recordings import Recording  # noqa: E402
from earwitness.models.data.shelf import Shelf  # noqa: E402


def recording(
    first: int, length: int, starts: tuple[int, ...] = (0,), weights: tuple[float, ...] = (1.0,)
) -> Recording:
    return Recording(
        "x", "event", np.arange(first, first + length, dtype=np.float32), np.array(starts), np.array(weights)
    )


SHELF = Shelf(
    {"a": [recording(10, 5, (0, 1, 2), (1, 2, 1)), recording(20, 3)], "none": [], "b": [recording(30, 4, (-1,))]}
)


def test_windows_are_cut_by_index_with_zeros_outside_of_their_recording() -> None:
    recordings, starts = np.array([0, 1, 2, 2]), np.array([0, -2, 2, 9])
    expected = [[10, 11, 12, 13], [0, 0, 20, 21], [32, 33, 0, 0], [0, 0, 0, 0]]
    assert SHELF.cut(recordings, starts, 4).tolist() == expected
    assert SHELF.values[SHELF.rows(recordings, starts, 4, np.ones(4))].tolist() == expected


def test_no_recording_gives_silence_and_a_step_leaves_values_out() -> None:
    rows = SHELF.rows(np.array([[-1, 0]]), np.array([[0, 0]]), 3, np.array([[1.0, 2.0]]))
    assert SHELF.values[rows].tolist() == [[[0, 0, 0], [10, 12, 14]]]
    slow = SHELF.rows(np.array([0]), np.array([0]), 8, np.array([0.6]))
    assert SHELF.values[slow].tolist() == [[10, 11, 11, 12, 12, 13, 14, 14]]


def test_a_group_without_recordings_is_none() -> None:
    assert SHELF.groups == ["a", "b"]
    drawn = SHELF.draw_of(np.repeat([0, 1], 1000), np.random.default_rng(0))
    assert set(drawn[:1000]) == {0, 1}
    assert 400 < (drawn[:1000] == 0).sum() < 600
    assert set(drawn[1000:]) == {2}
    versions = SHELF.draw_of(np.zeros(100, int), np.random.default_rng(0), versions=2)
    assert set(versions) == {0}  # the first of both


def test_places_are_drawn_by_their_weights_and_never_from_a_neighbour() -> None:
    starts = SHELF.draw_starts(np.zeros(4000, int), np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(starts) / 4000, [0.25, 0.5, 0.25], atol=0.03)

    class Edge:
        def __init__(self, value: float) -> None:
            self.value = value

        def random(self, size: int) -> np.ndarray:
            return np.full(size, self.value)

    for edge in (0.0, np.nextafter(1.0, 0.0)):
        starts = SHELF.draw_starts(np.array([0, 1, 2]), Edge(edge))  # type: ignore[arg-type]
        assert starts.tolist() == [0 if edge == 0 else 2, 0, -1]


def test_windows_of_powers_are_cut_alike() -> None:
    powers = np.arange(12, dtype=np.float32).reshape(4, 3)
    shelf = Shelf({"a": [Recording("x", "event", powers, np.array([0]), np.ones(1))]})
    assert shelf.cut(np.array([0]), np.array([2]), 3).tolist() == [[[6, 7, 8], [9, 10, 11], [0, 0, 0]]]
