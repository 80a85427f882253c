"""Which clips a bundle may be judged by: what it was trained on flatters it, and is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from ...stream.errors import EarwitnessError
from ..bundle import Bundle
from ..data.clip import Clip, Dataset
from ..data.datasets import open_dataset, without_shared_recordings

SAME_FOLDS = ({"esc50", "esc10"},)  # the second is a part of the first, in the same folds


def folds_to_judge(
    bundle: Bundle, dataset: Dataset, folds: Collection[int] | None
) -> tuple[tuple[int, ...], list[str]]:
    """The folds asked for; without them those that the bundle was not trained on, else the official test's, else all.

    Returns:
        The folds, and notes on what was chosen that a person should know.

    Raises:
        EarwitnessError: folds are asked for of data that has none.
    """
    if folds is not None:
        if len(dataset.folds) < 2:
            raise EarwitnessError(f"{dataset.name} has no folds: leave --folds out")
        return tuple(folds), []
    trained = _folds_trained_on(bundle, dataset)
    left = tuple(fold for fold in dataset.folds if fold not in trained)
    if trained and left:
        return left, []
    return dataset.test_folds or dataset.folds, []


def heard_in_training(bundle: Bundle, dataset: Dataset, clips: Sequence[Clip], root: Path | None) -> list[str]:
    """A note on the clips that the bundle was trained on, or on others of whose recordings; none where there are none.

    Clips of another data set than the one trained on are compared by recording, where that one is at hand.
    """
    training = bundle.manifest.training
    if training is None:
        return []
    trained = _folds_trained_on(bundle, dataset)
    if trained:
        known = [clip for clip in clips if clip.fold in trained]
    else:
        try:
            heard = open_dataset(_data_of(training.data), root).choose(training.folds)
        except EarwitnessError:
            return []
        known = without_shared_recordings(clips, heard)[1]
    if not known:
        return []
    return [
        f"{len(known)} of the {len(clips)} clips are of recordings that {bundle.manifest.name} was trained on: "
        "the figures flatter it"
    ]


def _folds_trained_on(bundle: Bundle, dataset: Dataset) -> tuple[int, ...]:
    """Empty where it was trained on other data."""
    training = bundle.manifest.training
    if training is None:
        return ()
    data = _data_of(training.data)
    same = data == dataset.name or any({data, dataset.name} <= family for family in SAME_FOLDS)
    return tuple(training.folds) if same else ()


def _data_of(text: str) -> str:
    """The name of a data set in front of what a manifest says about the choice of its clips."""
    return text.partition(",")[0].strip()
