"""Which of two bundles is better, and whether that can be told from these clips: a paired test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..bundle import Bundle
from ..data.clip import Clip
from ..data.datasets import open_dataset
from ..evaluate import hear
from ..runtime import open_runtime
from . import metrics
from .judgement import Hearing, examples_of
from .label_map import find_label_map
from .metrics import Interval
from .unheard import folds_to_judge

SURE = 0.05


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two bundles on the same clips, each named by the mean of its windows' scores.

    Attributes:
        models: the tags of both.
        clips: those that both could read and of labels that both know. `left_out`: the others.
        accuracy: of both, 0..1. `intervals`: Wilson's, 95 %.
        difference: second minus first. `difference_interval`: 95 %, by drawing recordings.
        both, first_only, second_only, neither: how many clips were named right by whom.
        p_clips: McNemar's exact test: how likely so great a difference were if clips were as easily won by either.
        p_recordings: the same with the clips of one recording held together; the one to go by.
        classes: how many clips of each class there are, and how many each of the two named right.
    """

    models: tuple[str, str]
    data: str
    folds: list[int]
    clips: int
    recordings: int
    left_out: int
    accuracy: tuple[float, float]
    intervals: tuple[Interval, Interval]
    difference: float
    difference_interval: Interval
    both: int
    first_only: int
    second_only: int
    neither: int
    p_clips: float
    p_recordings: float
    classes: dict[str, tuple[int, int, int]]
    notes: list[str]


def compare_bundles(
    first: Bundle,
    second: Bundle,
    data: str = "esc50",
    root: Path | None = None,
    folds: Collection[int] | None = None,
    licences: Collection[str] | None = None,
    device: str = "cpu",
    label_map: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Comparison:
    """Let both hear the same clips; see `evaluate.evaluate_bundle`.

    Args:
        folds: None is those that neither was trained on, where there are any.
        label_map: for the one of the two whose labels it fits; both where it fits both.
    """
    dataset = open_dataset(data, root)
    if folds is None:
        judged = [set(folds_to_judge(bundle, dataset, None)[0]) for bundle in (first, second)]
        folds = sorted(judged[0] & judged[1]) or sorted(judged[0] | judged[1])
        folds = folds if len(dataset.folds) > 1 else None
    hearings = [
        hear(
            bundle, dataset, root, folds, licences, open_runtime(bundle, device), _fitting(label_map, bundle), progress
        )
        for bundle in (first, second)
    ]
    return compare(*hearings)


def _fitting(label_map: str | None, bundle: Bundle) -> str | None:
    """The map, where the bundle knows the labels that it names."""
    if label_map is None:
        return None
    named = {source for sources in find_label_map(label_map).labels.values() for source in sources}
    return label_map if named <= set(bundle.manifest.labels) else None


def compare(first: Hearing, second: Hearing) -> Comparison:
    """The figures of two hearings of the same clips."""
    named = [_named_right(hearing) for hearing in (first, second)]
    common = [key for key in named[0] if key in named[1]]
    right = np.array([[each[key][1] for key in common] for each in named], bool).reshape(2, -1)
    clips = [named[0][key][0] for key in common]
    recordings = [clip.recording for clip in clips]
    wins = right[1].astype(int) - right[0].astype(int)
    names, of_clip = np.unique(recordings, return_inverse=True)
    by_recording = np.zeros(len(names), int)
    np.add.at(by_recording, of_clip, wins)
    draws = metrics.bootstrap_counts(recordings)
    return Comparison(
        models=(first.model, second.model),
        data=first.data,
        folds=sorted({clip.fold for clip in clips}),
        clips=len(clips),
        recordings=len(names),
        left_out=len(named[0].keys() | named[1].keys()) - len(common),
        accuracy=(float(right[0].mean()), float(right[1].mean())),
        intervals=(
            metrics.wilson_interval(int(right[0].sum()), len(clips)),
            metrics.wilson_interval(int(right[1].sum()), len(clips)),
        ),
        difference=float(wins.mean()),
        difference_interval=metrics.interval(draws @ wins.astype(np.float32) / draws.sum(axis=1)),
        both=int((right[0] & right[1]).sum()),
        first_only=int((wins < 0).sum()),
        second_only=int((wins > 0).sum()),
        neither=int((~right[0] & ~right[1]).sum()),
        p_clips=metrics.paired_p_value(wins.tolist()),
        p_recordings=metrics.paired_p_value(by_recording.tolist()),
        classes={
            label: (len(at), int(right[0][at].sum()), int(right[1][at].sum()))
            for label in sorted({clip.label for clip in clips})
            if (at := [index for index, clip in enumerate(clips) if clip.label == label])
        },
        notes=list(dict.fromkeys([*first.notes, *second.notes])),
    )


def report(comparison: Comparison) -> str:
    """For a person: who is better, by how much, and whether that may be chance."""
    return "\n".join(_lines(comparison))


def _lines(comparison: Comparison) -> Iterator[str]:
    folds = ", ".join(map(str, comparison.folds))
    first, second = comparison.models
    width = max(map(len, comparison.models))
    yield f"{comparison.clips} clips of {comparison.recordings} recordings of {comparison.data}, folds {folds}"
    for note in comparison.notes:
        yield f"note: {note}"
    if comparison.left_out:
        yield f"{comparison.left_out} clips are left out: only one of the two knows their labels or could read them"
    for model, accuracy, (low, high) in zip(comparison.models, comparison.accuracy, comparison.intervals, strict=True):
        yield f"  {model:{width}}  {accuracy:.3f}  ({low:.3f} to {high:.3f})  clips named right"
    low, high = comparison.difference_interval
    yield f"  {'difference':{width}} {comparison.difference:+.3f}  ({low:+.3f} to {high:+.3f})"
    yield (
        f"right by both {comparison.both}, by {first} alone {comparison.first_only}, by {second} alone "
        f"{comparison.second_only}, by neither {comparison.neither}"
    )
    yield (
        f"paired tests: p = {comparison.p_recordings:.3g} by recording, {comparison.p_clips:.3g} by clip "
        "(McNemar's, exact)"
    )
    better = second if comparison.difference > 0 else first
    sure = comparison.p_recordings < SURE
    yield f"{better} is better" if sure else "which one is better cannot be told from these clips: it may be chance"
    moved = {label: counts for label, counts in comparison.classes.items() if counts[1] != counts[2]}
    for label, (clips, one, other) in sorted(moved.items(), key=lambda item: item[1][2] - item[1][1]):
        yield f"  {label:18} {one:3} -> {other:<3} of {clips}"


def _named_right(hearing: Hearing) -> dict[Any, tuple[Clip, bool]]:
    right = examples_of(hearing, "clip").right
    return {
        (each.clip.path, each.clip.start_s): (each.clip, bool(won))
        for each, won in zip(hearing.clips, right, strict=True)
    }
