"""From what a bundle made of the clips of a data set to the figures that tell how good it is.

A clip is named by the mean of its windows' scores, the background left out. Macro F1 and mean average precision are
means over the classes that occur. Intervals hold 95 %: Wilson's for shares of clips, and by drawing recordings again
and again (bootstrap) for all else, since clips of one recording are alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..data.clip import BACKGROUND, Clip
from . import metrics
from .cost import Cost
from .metrics import Bools, ClassFigures, Interval, ReliabilityBin

Array = NDArray[np.float32]
Unit = Literal["clip", "window"]

NOTHING = "nothing: too short"
TOP = 5
PARTS = 5  # of the recordings, to fit a temperature across


@dataclass(frozen=True)
class Heard:
    """What one clip gave: scores [windows, labels], and the label of each event that began."""

    clip: Clip
    scores: Array = field(repr=False)
    events: tuple[str, ...]


@dataclass(frozen=True)
class Hearing:
    """What a bundle made of the clips of a data set.

    Attributes:
        model: the bundle's tag.
        labels: of the scores' columns, all events.
        thresholds: from which a label counts as said, where several may be.
        exclusive: whether one score is lost to another, as a softmax's.
        multi_label: whether several labels are right for some clip.
        skipped: clips of labels that the model does not know.
        unknown: these labels, with the nearest that it knows; "" where none is near.
        unreadable: a line for each file that could not be read.
        notes: what a person should know about the figures.
    """

    model: str
    data: str
    protocol: str
    folds: tuple[int, ...]
    label_map: str
    labels: list[str]
    thresholds: dict[str, float]
    exclusive: bool
    multi_label: bool
    clips: list[Heard] = field(repr=False)
    skipped: int = 0
    unknown: dict[str, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class ClassResult(msgspec.Struct, frozen=True, kw_only=True):
    """How the examples of one class fared."""

    clips: int  # or windows, where these are judged
    correct: int
    heard: int  # in how many clips an event of the class began
    taken_for: dict[str, int]  # what the others were named
    figures: ClassFigures


class Confusion(msgspec.Struct, frozen=True, kw_only=True):
    """How often each label (a row) was named what (a column)."""

    labels: list[str]
    named: list[str]
    counts: list[list[int]]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a confidence of 0.8 is right in 8 of 10 times: the expected calibration error, 0..1, is 0 then.

    Confidence is the best label's share of the scores of all labels but the background; of windows, those count that
    the model does not take for background.

    Attributes:
        error: as the bundle is. `error_scaled`: with a temperature that the same examples had no part in.
        temperature: the mean of those, in units of the bundle's own.
        fitted: on what.
    """

    error: float
    error_scaled: float
    temperature: float
    fitted: str
    bins: list[ReliabilityBin]
    bins_scaled: list[ReliabilityBin]


class FalseAlarms(msgspec.Struct, frozen=True, kw_only=True):
    """The events that were heard where nothing happened."""

    seconds: float
    events: int
    per_hour: float
    labels: dict[str, int]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """How well a bundle names the clips of a data set. Shares are 0..1.

    Attributes:
        unit: what is counted as an example below: a clip or a window.
        accuracy: share of examples named right. `top5`: with the right label among the five best.
        window_accuracy: share of single windows named right.
        heard: share of clips, those of background aside, in which an event of the right label began by the bundle's
            thresholds.
        misheard: share of clips in which one of a wrong label did.
        intervals: 95 %, by figure; `accuracy_by_recording` is the bootstrap's beside Wilson's.
        confusion: none where several labels are right for a clip.
        calibration: of "clip" or "window", as `unit` says, and of single windows.
    """

    model: str
    data: str
    protocol: str
    folds: list[int]
    label_map: str
    unit: Unit
    multi_label: bool
    clips: int
    windows: int
    recordings: int
    skipped: int
    unknown: dict[str, str]
    unreadable: list[str]
    notes: list[str]
    accuracy: float
    top5: float
    window_accuracy: float
    macro_f1: float
    mean_average_precision: float
    heard: float
    misheard: float
    intervals: dict[str, Interval]
    classes: dict[str, ClassResult]
    confusion: Confusion | None
    calibration: dict[str, Calibration]
    false_alarms: dict[str, FalseAlarms] = {}
    cost: Cost | None = None


@dataclass(frozen=True)
class Examples:
    """Clips or windows as arrays.

    Attributes:
        scores: float [examples, labels]. `truth`: bool, the same shape.
        best: the column that each is named by; -1 where there was no window.
        clip: the number of the clip, for each.
        recordings: for each.
    """

    scores: Array
    truth: Bools
    best: NDArray[np.int64]
    clip: NDArray[np.int64]
    recordings: list[str]

    @property
    def right(self) -> Bools:
        """Whether each is named right."""
        return np.asarray(self.truth[np.arange(len(self.best)), self.best]) & (self.best >= 0)


def judge(hearing: Hearing, unit: Unit = "clip", cost: Cost | None = None) -> Judgement:
    """The figures of what was heard."""
    examples = examples_of(hearing, unit)
    windows = examples if unit == "window" else examples_of(hearing, "window")
    labels, right, heard = hearing.labels, examples.right, hearing.clips
    named = _said(hearing, examples)
    present = np.asarray(examples.truth.any(axis=0))
    figures = metrics.class_figures(named, examples.scores, examples.truth)
    hits = np.array(
        [any(label in each.events for label in each.clip.labels) for each in heard if each.clip.label != BACKGROUND]
    )
    misses = np.array([any(label not in each.clip.labels for label in each.events) for each in heard])
    recordings = [each.clip.recording for each in heard]
    draws = metrics.bootstrap_counts(examples.recordings)
    among = metrics.among_best(examples.scores, examples.truth, TOP) & (examples.best >= 0)
    intervals = {
        "accuracy_by_recording": metrics.interval(metrics.shares(draws, right)),
        "macro_f1": metrics.interval(metrics.macro_f1s(draws, named, examples.truth)),
        "mean_average_precision": metrics.interval(
            metrics.mean_average_precisions(draws, examples.scores, examples.truth)
        ),
        "heard": metrics.wilson_interval(int(hits.sum()), len(hits)),
        "misheard": metrics.wilson_interval(int(misses.sum()), len(misses)),
    }
    if unit == "clip":
        intervals["accuracy"] = metrics.wilson_interval(int(right.sum()), len(right))
        intervals["top5"] = metrics.wilson_interval(int(among.sum()), len(among))
    else:  # windows of one clip are alike: Wilson's interval would be far too narrow
        intervals["accuracy"] = intervals["accuracy_by_recording"]
        intervals["top5"] = metrics.interval(metrics.shares(draws, among))
    if len(windows.best):
        many = metrics.bootstrap_counts(windows.recordings)
        intervals["window_accuracy"] = metrics.interval(metrics.shares(many, windows.right))
    calibration = {
        unit: _calibration(hearing, examples, unit == "window"),
        "window": _calibration(hearing, windows, True),
    }
    return Judgement(
        model=hearing.model,
        data=hearing.data,
        protocol=hearing.protocol,
        folds=sorted(hearing.folds),
        label_map=hearing.label_map,
        unit=unit,
        multi_label=hearing.multi_label,
        clips=len(heard),
        windows=len(windows.best),
        recordings=len(set(recordings)),
        skipped=hearing.skipped,
        unknown=hearing.unknown,
        unreadable=hearing.unreadable,
        notes=hearing.notes,
        accuracy=_mean(right),
        top5=_mean(among),
        window_accuracy=_mean(windows.right),
        macro_f1=_mean([each.f1 for each, there in zip(figures, present, strict=True) if there]),
        mean_average_precision=_mean(
            [each.average_precision for each, there in zip(figures, present, strict=True) if there]
        ),
        heard=_mean(hits),
        misheard=_mean(misses),
        intervals=intervals,
        classes={
            label: _class_result(hearing, examples, index, figures[index])
            for index, label in enumerate(labels)
            if present[index]
        },
        confusion=None if hearing.multi_label else _confusion(hearing, examples),
        calibration={name: each for name, each in calibration.items() if each is not None},
        cost=cost,
    )


def examples_of(hearing: Hearing, unit: Unit) -> Examples:
    """What is counted: each clip, by the mean of its windows' scores, or each window."""
    columns = {label: index for index, label in enumerate(hearing.labels)}
    rows, truths, clips = [], [], []
    for number, each in enumerate(hearing.clips):
        truth = np.zeros(len(columns), bool)
        truth[[columns[label] for label in each.clip.labels if label in columns]] = True
        parts = each.scores if unit == "window" else [each.scores.mean(axis=0)] if len(each.scores) else [None]
        for part in parts:
            rows.append(part)
            truths.append(truth)
            clips.append(number)
    nothing = np.zeros(len(columns), np.float32)
    scores = np.array([nothing if row is None else row for row in rows], np.float32).reshape(-1, len(columns))
    best = [-1 if row is None else int(scores[index].argmax()) for index, row in enumerate(rows)]
    return Examples(
        scores,
        np.array(truths, bool).reshape(-1, len(columns)),
        np.array(best, np.int64),
        np.array(clips, np.int64),
        [hearing.clips[number].clip.recording for number in clips],
    )


def _said(hearing: Hearing, examples: Examples) -> Bools:
    """What counts as said, bool [examples, labels]: the best label, or all from their thresholds on."""
    if hearing.multi_label:
        return np.asarray(examples.scores >= [hearing.thresholds[label] for label in hearing.labels])
    return np.asarray(np.arange(len(hearing.labels)) == examples.best[:, None])


def _names(hearing: Hearing, examples: Examples) -> list[str]:
    return [hearing.labels[index] if index >= 0 else NOTHING for index in examples.best]


def _class_result(hearing: Hearing, examples: Examples, index: int, figures: ClassFigures) -> ClassResult:
    label = hearing.labels[index]
    its: Bools = examples.truth[:, index]
    names = Counter(name for name, is_its in zip(_names(hearing, examples), its, strict=True) if is_its)
    return ClassResult(
        clips=int(its.sum()),
        correct=int((examples.right & its).sum()) if hearing.multi_label else names[label],
        heard=sum(label in each.clip.labels and label in each.events for each in hearing.clips),
        taken_for={} if hearing.multi_label else {other: n for other, n in names.most_common() if other != label},
        figures=figures,
    )


def _confusion(hearing: Hearing, examples: Examples) -> Confusion:
    right = [hearing.clips[number].clip.label for number in examples.clip]
    names = _names(hearing, examples)
    labels = sorted(set(right))
    others = sorted(set(names) - set(labels) - {NOTHING}) + [NOTHING] * (NOTHING in names)
    counts = metrics.confusion_matrix(right, names, labels + others)
    return Confusion(labels=labels, named=labels + others, counts=counts[: len(labels)].tolist())


def _calibration(hearing: Hearing, examples: Examples, each_window: bool) -> Calibration | None:
    """Whether the share that the best label has of all scores but the background's says how often it is right.

    Windows that the model takes for background are left out: clips hold silence too. None where nothing is left to fit
    a temperature on.
    """
    every = examples.scores.astype(np.float64)
    total = every.sum(axis=1, keepdims=True)
    spoken = examples.best >= 0
    if hearing.exclusive:
        if each_window:
            spoken &= every.max(axis=1, initial=0) > 1 - total[:, 0]
        every /= np.maximum(total, metrics.SMALLEST)
    there = np.flatnonzero(spoken)
    parts, fitted = _parts(hearing, examples, there)
    if len(set(parts)) < 2:
        return None
    scores, truth = every[there], examples.truth[there]
    scaled, temperatures = np.empty_like(scores), []
    for part in sorted(set(parts)):
        temperatures.append(metrics.fit_temperature(scores[parts != part], truth[parts != part], hearing.exclusive))
        scaled[parts == part] = metrics.scale(scores[parts == part], temperatures[-1], hearing.exclusive)
    rows, best, right = np.arange(len(there)), examples.best[there], examples.right[there]
    before, after = (metrics.reliability(each[rows, best], right) for each in (scores, scaled))
    return Calibration(
        error=metrics.expected_calibration_error(before),
        error_scaled=metrics.expected_calibration_error(after),
        temperature=float(np.mean(temperatures)),
        fitted=fitted,
        bins=before,
        bins_scaled=after,
    )


def _parts(hearing: Hearing, examples: Examples, there: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    """Which part of the data each example is in, and how temperatures are fitted across the parts."""
    folds = [hearing.clips[number].clip.fold for number in examples.clip[there]]
    if len(set(folds)) > 1:
        return np.array(folds), "each fold by the temperature of the other ones judged"
    names, of_example = np.unique([examples.recordings[index] for index in there], return_inverse=True)
    part_of = np.random.default_rng(0).permutation(len(names)) % PARTS
    return part_of[of_example] if len(names) else of_example, (
        f"each of {min(PARTS, len(names))} parts of the recordings by the temperature of the others"
    )


def _mean(values: Sequence[float] | Bools) -> float:
    return float(np.mean(values)) if len(values) else 0.0
