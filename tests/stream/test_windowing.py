"""The window rule: every frame is seen, by the same windows, whatever the portions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.stream.windowing import Windows, windows_of

SILENCE = -100.0


def frames_of(count: int) -> np.ndarray:
    return np.arange(count * 2, dtype=np.float32).reshape(count, 2)


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 9), st.lists(st.integers(0, 7), max_size=40))
def test_any_portions_give_the_windows_of_the_whole(count: int, length: int, hop: int, portions: list[int]) -> None:
    hop = min(hop, length)
    frames = frames_of(count)
    windows, first, got = Windows(length, hop, SILENCE), 0, []
    for portion in [*portions, count]:
        end = min(count, first + portion)
        got += windows.push(first, frames[first:end])
        first = end
    got += windows.flush()
    assert [window.number for window in got] == list(range(len(got)))
    np.testing.assert_array_equal(
        np.array([w.values for w in got]).reshape(-1, length, 2), windows_of(frames, length, hop, SILENCE)
    )
    seen = {frame for w in got for frame in range(w.number * hop, w.number * hop + w.frames)}
    assert seen == set(range(count))


def test_window_k_is_the_frames_from_k_hops_on() -> None:
    frames = frames_of(10)
    got = windows_of(frames, length=4, hop=3, silence=SILENCE)
    np.testing.assert_array_equal(got[0], frames[:4])
    np.testing.assert_array_equal(got[2], frames[6:10])
    assert len(got) == 3  # all frames are seen: nothing to fill up


def test_a_sound_shorter_than_a_window_is_filled_up_with_silence() -> None:
    (only,) = windows_of(frames_of(3), length=5, hop=2, silence=SILENCE)
    np.testing.assert_array_equal(only[:3], frames_of(3))
    assert (only[3:] == SILENCE).all()


def test_a_segment_joined_late_begins_with_its_first_whole_window() -> None:
    windows = Windows(4, 3, SILENCE)
    got = windows.push(7, frames_of(20)[7:20])
    assert [window.number for window in got] == [3, 4, 5]
    np.testing.assert_array_equal(got[0].values, frames_of(20)[9:13])


def test_frames_out_of_order_are_refused() -> None:
    windows = Windows(4, 2, SILENCE)
    windows.push(0, frames_of(3))
    with pytest.raises(ValueError, match="frame 3 is next"):
        windows.push(4, frames_of(1))


@pytest.mark.parametrize(("length", "hop"), [(4, 0), (4, 5), (0, 0)])
def test_a_hop_that_would_skip_frames_is_refused(length: int, hop: int) -> None:
    with pytest.raises(ValueError, match="hop"):
        Windows(length, hop, SILENCE)
