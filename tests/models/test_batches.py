from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models.batches import drawn_ahead  # noqa: E402


class Counting:
    """Batches of one number, the last of their seed."""

    def __init__(self, fail_at: int = -1) -> None:
        self.drawn: list[int] = []
        self.fail_at = fail_at
        self.threads: set[str] = set()
        self.begun = threading.Semaphore(0)

    def draw(self, size: int, seed: Sequence[int]) -> tuple[Any, Any]:
        if seed[-1] == self.fail_at:
            raise RuntimeError("no more")
        self.drawn.append(seed[-1])
        self.threads.add(threading.current_thread().name)
        self.begun.release()
        return torch.full((size,), seed[-1]), torch.zeros(size)


def left_over() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


def _train_until(wrong: type[BaseException]) -> None:
    with drawn_ahead(Counting(), 2, ((step,) for step in range(1000))) as batches:
        next(batches)
        raise wrong


def test_batches_come_in_the_order_of_their_seeds_and_one_is_drawn_ahead() -> None:
    maker = Counting()
    with drawn_ahead(maker, 2, ((7, step) for step in range(5))) as batches:
        first = next(batches)
        for _ in range(2):
            assert maker.begun.acquire(timeout=60)
        assert maker.drawn == [0, 1]  # the second is made while the first is used, the third is not
        assert [int(windows[0]) for windows, _ in [first, *batches]] == [0, 1, 2, 3, 4]
    assert maker.threads != {threading.current_thread().name}
    assert not left_over()


def test_the_thread_ends_with_the_trainer_whatever_ends_it() -> None:
    for wrong in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(wrong):
            _train_until(wrong)
        assert not left_over()


def test_what_goes_wrong_in_the_thread_is_raised_where_its_batch_is_asked_for() -> None:
    with drawn_ahead(Counting(fail_at=2), 2, ((step,) for step in range(5))) as batches:
        assert int(next(batches)[0][0]) == 0
        assert int(next(batches)[0][0]) == 1
        with pytest.raises(RuntimeError, match="no more"):
            next(batches)
    assert not left_over()


def test_no_seeds_give_no_batches() -> None:
    with drawn_ahead(Counting(), 2, []) as batches:
        assert list(batches) == []


def test_numbers_drawn_in_the_thread_are_those_drawn_here() -> None:
    from .test_power_batches import Augmentation, maker

    power = maker(Augmentation())
    with drawn_ahead(power, 16, ((0, step) for step in range(3))) as batches:
        ahead = [windows.numpy() for windows, _ in batches]
    for step, windows in enumerate(ahead):
        np.testing.assert_array_equal(windows, power.draw(16, (0, step))[0].numpy())
