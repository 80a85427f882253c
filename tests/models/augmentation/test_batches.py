from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models.augmentation.audio_batches import AudioMaker  # noqa: E402
from earwitness.models.augmentation.batches import drawn_ahead, make_batches  # noqa: E402
from earwitness.models.augmentation.power_batches import PowerMaker  # noqa: E402
from earwitness.models.augmentation.settings import PLAIN, Augmentation  # noqa: E402
from earwitness.models.data.background import Background  # noqa: E402
from earwitness.models.data.datasets import Clip, open_dataset  # noqa: E402
from earwitness.stream.features.frontend import FrontEndSpec  # noqa: E402

QUIET = [Background("noise", "white", np.random.default_rng(0).normal(0, 0.01, 48000).astype(np.float32))]


def clips_of(root: Path) -> tuple[list[Clip], list[str]]:
    """The clips of the tones, and labels with the background's."""
    data = open_dataset("tones", root)
    return data.choose((1, 2)), [*data.labels, "background"]


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
    from .test_power_batches import maker

    power = maker(Augmentation())
    with drawn_ahead(power, 16, ((0, step) for step in range(3))) as batches:
        ahead = [windows.numpy() for windows, _ in batches]
    for step, windows in enumerate(ahead):
        np.testing.assert_array_equal(windows, power.draw(16, (0, step))[0].numpy())


def test_recordings_are_read_and_kept_as_front_end_and_changes_want_them(tones: Path) -> None:
    clips, labels = clips_of(tones)
    said: list[str] = []
    for spec, frames, settings, kind in (
        (FrontEndSpec(), 50, Augmentation(), PowerMaker),
        (FrontEndSpec(log="ln"), 50, Augmentation(speed=0.5), PowerMaker),
        (FrontEndSpec(), 50, Augmentation(room=0.5), AudioMaker),
        (FrontEndSpec(feature=("mfcc", "rms")), 50, Augmentation(), AudioMaker),
        (FrontEndSpec(feature="waveform"), 8000, Augmentation(speed=0.5), AudioMaker),
    ):
        maker = make_batches(clips, QUIET, labels, spec, frames, settings, say=said.append)
        assert isinstance(maker, kind)
        windows, targets = maker.draw(10, (0,))
        assert windows.shape == (10, frames, spec.dims)
        assert windows.dtype == targets.dtype == torch.float32
        assert torch.isfinite(windows).all()
        assert targets.sum(1).tolist() == pytest.approx([1] * 10)
        assert targets[:, labels.index("background")].sum() == 2
    assert not said


@pytest.mark.parametrize(
    "spec",
    [FrontEndSpec(), FrontEndSpec(log="ln"), FrontEndSpec(log="ln", log_offset=1e-6)],
    ids=["db", "ln", "offset"],
)
def test_both_makers_hear_the_same_in_a_clip(tones: Path, spec: FrontEndSpec) -> None:
    clips, labels = clips_of(tones)
    means = []
    for kind in (PowerMaker, AudioMaker):
        changes = PLAIN if kind is PowerMaker else PLAIN.replace(overdrive=1e-9)
        maker = make_batches(clips, [], labels, spec, 50, changes)
        assert isinstance(maker, kind)
        windows, targets = maker.draw(300, (0,))
        means.append(torch.stack([windows[targets[:, k] == 1].mean((0, 1)) for k in range(3)]))
    neper = 10 / np.log(10) if spec.log == "ln" else 1.0
    powers, samples = (mean * neper for mean in means)
    assert (powers - samples).abs().max() < 3  # dB: other windows, and samples keep their rounding in silence
    assert (powers.amax(1) - powers.amin(1)).min() > 15


def test_clips_of_the_background_are_backgrounds_and_what_is_broken_is_left_out(tones: Path, tmp_path: Path) -> None:
    clips, labels = clips_of(tones)
    nothing = [replace(clip, label="background") for clip in clips if clip.label == "low"]
    events = [clip for clip in clips if clip.label != "low"]
    broken = Clip(tmp_path / "none.wav", "high", 1, "none")
    said: list[str] = []
    maker = make_batches([*events, *nothing, broken], [], labels, FrontEndSpec(), 50, Augmentation(), say=said.append)
    _, targets = maker.draw(40, (0,))
    assert targets[:, labels.index("background")].sum() == 8
    assert targets[:, labels.index("low")].sum() == 0
    assert any("none.wav" in line for line in said)


@pytest.mark.parametrize("feature", ["log_mel", "waveform"])
def test_more_windows_take_no_more_steps_to_draw(tones: Path, feature: str) -> None:
    """What is done window by window would be done by calls from Python."""
    clips, labels = clips_of(tones)
    spec = FrontEndSpec(feature=feature)
    settings = Augmentation(mixup=0.5, speed=0.5, stretch=0.5 * (feature == "log_mel"))
    maker = make_batches(clips, QUIET, labels, spec, 50 if feature == "log_mel" else 800, settings)
    maker.draw(64, (0,))
    few, many = (calls(lambda size=size: maker.draw(size, (0,))) for size in (64, 512))
    assert 100 < few < 3000
    assert many <= few + 10


def calls(run: Callable[[], object]) -> int:
    """How many functions are called, Python's and others."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("settings", [Augmentation(), Augmentation(room=0.5, telephone=0.2, pitch=0.5, overdrive=0.2)])
def test_a_batch_on_a_gpu_is_that_on_the_cpu_to_rounding(tones: Path, settings: Augmentation) -> None:
    clips, labels = clips_of(tones)
    here, there = (
        make_batches(clips, QUIET, labels, FrontEndSpec(), 50, settings, device).draw(64, (0,))
        for device in ("cpu", "cuda")
    )
    assert there[0].is_cuda
    assert there[1].is_cuda
    assert torch.equal(here[1], there[1].cpu())
    difference = (here[0] - there[0].cpu()).abs()
    assert difference[here[0] > -60].max() < 0.5  # dB; mean far below
    assert difference.mean() < 0.01
