"""Rings against the simplest model of them: a list of all samples that ever were."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.ring import HandOver, History


def numbered(first: int, count: int, channels: int = 1) -> NDArray[np.int32]:
    """Samples that say their own index, 1-based so that none is silent; other channels are negative."""
    column = np.arange(first + 1, first + count + 1, dtype=np.int32)
    return np.stack([column * (-1) ** channel for channel in range(channels)], axis=1)


# ---- HandOver --------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    capacity=st.integers(1, 50),
    blocks=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from(["write", "write", "lose", "read"]), st.integers(0, 20)), max_size=80),
)
def test_every_sample_comes_out_at_its_index_or_is_told_as_lost_there(
    capacity: int, blocks: int, steps: list[tuple[str, int]]
) -> None:
    ring = HandOver(capacity, 2, "int32", blocks)
    index, position = 0, 0
    kept: deque[tuple[int, int]] = deque()  # (first, count) of what was accepted, to be read
    waiting = 0
    for step, size in [*steps, *[("read", 7)] * 60]:
        if step == "write":
            fits = size <= capacity - waiting and len(kept) < blocks
            assert ring.write(numbered(index, size, 2), index, -index) is (fits or size == 0)
            if fits and size:
                kept.append((index, size))
                waiting += size
            index += size
        elif step == "lose":
            ring.lose(size)
            index += size
        else:
            taken = ring.read(size + 1)
            assert len(taken.samples) <= size + 1
            assert taken.first_sample - taken.lost == position
            np.testing.assert_array_equal(taken.samples, numbered(taken.first_sample, len(taken.samples), 2))
            position = taken.first_sample + len(taken.samples)
            rest, last = len(taken.samples), None
            while rest:
                first, count = last = kept.popleft()
                part = min(rest, count)
                if part < count:
                    kept.appendleft((first + part, count - part))
                rest, waiting = rest - part, waiting - part
            if last is not None:  # the stamp of the block that the last sample came in
                assert taken.wall_ns == -taken.monotonic_ns <= last[0] < taken.wall_ns + 21
            assert len(taken.samples) or not kept, "a read yields something while something waits"
        assert ring.waiting == waiting
    assert position == index
    assert ring.waiting == 0


def test_a_stopped_writers_last_loss_is_told_without_samples() -> None:
    ring = HandOver(10, 1, "int32")
    ring.write(numbered(0, 10))
    ring.write(numbered(10, 5))
    assert ring.lost == 5
    assert ring.read(100).lost == 0
    taken = ring.read(100)
    assert (taken.first_sample, len(taken.samples), taken.lost) == (15, 0, 5)
    assert ring.read(100).lost == 0
    ring.write(numbered(15, 3))
    taken = ring.read(100)
    assert (taken.first_sample, taken.samples[:, 0].tolist(), taken.lost) == (15, [16, 17, 18], 0)


def test_a_block_larger_than_the_ring_is_lost_and_counted() -> None:
    ring = HandOver(10, 1, "int16")
    assert not ring.write(np.ones((11, 1), np.int16))
    assert ring.read(5).lost == 11
    assert ring.capacity == 10


def test_what_was_read_is_not_overwritten_later() -> None:
    ring = HandOver(8, 1, "int32")
    ring.write(numbered(0, 8))
    taken = ring.read(8)
    ring.write(numbered(8, 8))
    np.testing.assert_array_equal(taken.samples, numbered(0, 8))


def test_reading_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="limit is 0"):
        HandOver(8, 1, "int32").read(0)


def test_two_threads_agree_on_every_sample() -> None:
    """A writer that never waits against a reader that is sometimes too slow: what came and what was told is all."""
    ring = HandOver(500, 1, "int32", 40)
    total, done = 200_000, threading.Event()

    def produce() -> None:
        rng, index = np.random.default_rng(3), 0
        samples = numbered(0, total)
        while index < total:
            size = int(rng.integers(1, 60))
            ring.write(samples[index : index + size])
            index = min(total, index + size)
            if rng.random() < 0.02:
                time.sleep(0.0005)
        done.set()

    writer = threading.Thread(target=produce)
    writer.start()
    position, heard, lost, deadline = 0, 0, 0, time.monotonic() + 60
    while time.monotonic() < deadline:
        over = done.is_set()
        taken = ring.read(97)
        assert taken.first_sample - taken.lost == position
        if len(taken.samples):
            assert taken.samples[0, 0] == taken.first_sample + 1
            assert np.all(np.diff(taken.samples[:, 0]) == 1)
        position = taken.first_sample + len(taken.samples)
        heard, lost = heard + len(taken.samples), lost + taken.lost
        if over and not len(taken.samples) and not taken.lost:
            break
    writer.join(timeout=60)
    assert position == total
    assert heard + lost == total
    assert lost == ring.lost
    assert heard > 500


def test_writing_keeps_no_memory_and_takes_microseconds() -> None:
    ring, block = HandOver(48_000, 2, "int16"), np.ones((960, 2), np.int16)
    tracemalloc.start()
    try:
        ring.write(block)
        ring.read(960)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for turn in range(40):
            ring.write(block, turn, turn)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now - before < 1000
    assert peak - before < 2000, "views and numbers only, never a block"


# ---- History ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(data=st.data())
def test_a_cut_is_what_was_heard_there_and_silence_elsewhere(data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, 40))
    history = History(kept, 2, "int32")
    truth: dict[int, int] = {}  # index: what was heard
    end = 0
    for _ in range(data.draw(st.integers(0, 15))):
        step, size = data.draw(st.sampled_from(["next", "ahead", "overlap", "skip"])), data.draw(st.integers(0, 60))
        if step == "skip":
            history.skip(end + size - 10)
            end = max(end, end + size - 10)
        else:
            shift = data.draw(st.integers(1, 50)) * {"next": 0, "ahead": 1, "overlap": -1}[step]
            first = max(0, end + shift)
            history.append(first, numbered(first, size, 2))
            truth |= {index: index + 1 for index in range(max(first, end), first + size)}
            end = max(end, first + size) if size or first > end else end
        assert history.end_sample == end
        assert history.first_sample == max(0, end - kept)
        low = data.draw(st.integers(0, end + 10))
        high = data.draw(st.integers(low, end + 20))
        cut = history.cut(low, high)
        expected = [truth.get(i, 0) if history.first_sample <= i < end else 0 for i in range(low, high)]
        assert cut.first_sample == low
        assert cut.samples[:, 0].tolist() == expected
        assert cut.samples[:, 1].tolist() == [-value for value in expected]
        silent = [i for first, after in cut.gaps for i in range(first, after)]
        assert silent == [low + i for i, value in enumerate(expected) if value == 0]
        assert all(a[1] < b[0] for a, b in zip(cut.gaps, cut.gaps[1:], strict=False)), "gaps that touch are one"


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_a_cut_keeps_the_depth_and_is_a_copy(dtype: Any) -> None:
    history = History(10, 1, dtype)
    history.append(0, np.full((10, 1), 1, dtype))
    cut = history.cut(0, 10)
    history.append(10, np.full((10, 1), 2, dtype))
    assert cut.samples.dtype == np.dtype(dtype)
    assert set(cut.samples[:, 0].tolist()) == {1}
    assert history.nbytes == 10 * np.dtype(dtype).itemsize


def test_an_empty_span_is_an_empty_cut() -> None:
    history = History(10, 1, "int16")
    history.append(0, np.ones((5, 1), np.int16))
    assert history.cut(3, 3).samples.shape == (0, 1)
    assert history.cut(3, 3).gaps == ()
    assert history.cut(4, 2).samples.shape == (0, 1)


def test_gaps_are_forgotten_with_the_samples_around_them() -> None:
    history, sample = History(100, 1, "int16"), np.ones((1, 1), np.int16)
    tracemalloc.start()
    try:
        for index in range(0, 400, 2):
            history.append(index, sample)
        before = tracemalloc.get_traced_memory()[0]
        for index in range(400, 10_000, 2):
            history.append(index, sample)
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
    finally:
        tracemalloc.stop()
    assert len(history.cut(0, 10_000).gaps) == 51
