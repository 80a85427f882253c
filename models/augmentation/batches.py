"""Batches to train on: what draws them, and a thread that has the next one ready.

Every batch is drawn from a seed of its own: the same seed gives the same batch, whatever was drawn before. So a run
that was interrupted goes on to the same result, and several processes can share a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from ...stream.features.frontend import FrontEndSpec
from ..data.background import Background
from ..data.cache import FeatureCache
from ..data.clip import BACKGROUND, Clip
from ..data.recordings import Keeping, of_backgrounds, of_clips
from .audio_batches import AudioMaker, window_samples
from .mixtures import Mixtures
from .power_batches import PowerMaker, why_not_powers
from .settings import PLAIN, Augmentation

Batch = tuple[Tensor, Tensor]


class BatchMaker(Protocol):
    """Draws batches of random training windows."""

    def draw(self, size: int, seed: Sequence[int]) -> Batch:
        """A batch, on the device that the maker was made for.

        Args:
            size: windows in it.
            seed: the same one gives the same batch; on a CPU bit for bit, beside another device to rounding.

        Returns:
            windows float32 `[size, window_frames, dims]`, as the front end gives them live; targets float32
            `[size, labels]` from 0 to 1. Where no clip has several labels they sum to 1, or to 0 where nothing happens
            and there is no label for that.
        """
        ...


def make_batches(
    clips: Sequence[Clip],
    backgrounds: Iterable[Background],
    labels: Sequence[str],
    spec: FrontEndSpec,
    window_frames: int,
    augmentation: Augmentation = PLAIN,
    device: str | torch.device = "cpu",
    say: Callable[[str], None] = print,
    cache: FeatureCache | None = None,
) -> BatchMaker:
    """Read recordings into memory, in the form that the front end and the changes want, and draw batches of them.

    Args:
        clips: to train on; those labelled BACKGROUND are backgrounds too.
        backgrounds: sounds that are no event.
        labels: of the targets, in order; BACKGROUND among them where the network tells it.
        window_frames: frames per window.
        augmentation: how windows are changed; as they are in the recordings when left out.
        device: where recordings and windows lie.
        say: is told what could not be read.
        cache: where frames of clips are kept between runs; None keeps none.

    Raises:
        EarwitnessError: nothing to train on, a clip of an unknown label, or a front end not to be had on tensors.
    """
    if why_not_powers(spec, augmentation):
        maker: type[PowerMaker | AudioMaker] = AudioMaker
        keeping = Keeping(spec, window_samples(spec, window_frames), samples=True, outside=augmentation.outside)
    else:
        maker = PowerMaker
        keeping = Keeping(spec, window_frames, outside=augmentation.outside, speeds=augmentation.kept_speeds)
    events = of_clips([clip for clip in clips if clip.label != BACKGROUND], keeping, say, cache)
    quiet = of_backgrounds(backgrounds, keeping, [clip for clip in clips if clip.label == BACKGROUND], say)
    return maker(Mixtures(events, quiet, labels, augmentation, device), spec, window_frames)


@contextmanager
def drawn_ahead(maker: BatchMaker, size: int, seeds: Iterable[Sequence[int]]) -> Iterator[Iterator[Batch]]:
    """Batches of the seeds in turn, each drawn in a thread while the one before is trained on.

    The thread ends with the block, whatever ends it. What goes wrong in it is raised where its batch is asked for.

        with drawn_ahead(maker, 64, ((seed, step) for step in range(first, steps))) as batches:
            for windows, targets in batches:
                ...
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as thread:

        def batches() -> Iterator[Batch]:
            coming: Future[Batch] | None = None
            for seed in seeds:
                ready, coming = coming, thread.submit(maker.draw, size, seed)
                if ready is not None:
                    yield ready.result()
            if coming is not None:
                yield coming.result()

        yield batches()
