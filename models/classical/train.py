"""Train a classical family: random windows, their statistics, scikit-learn's classifier, one ONNX file.

    earwitness train --network svm --data esc10
    earwitness train --network random_forest --data ./sounds --set network.trees=400

Clips, folds, augmentation, thresholds and judgement are those of the networks (`train.py`); only what learns differs.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin

from ...stream.errors import EarwitnessError
from ..augmentation.batches import make_batches
from ..bundle import Bundle, Network, Output
from ..data.cache import FeatureCache
from ..export import OUTPUT
from ..judging.cost import count_onnx
from ..runtime import activate
from ..training.finish import (
    calibrated,
    command_of,
    drawn,
    held_out_windows,
    manifest_of,
    plain_thresholds,
    told_of,
    training_table,
    write_judged,
)
from ..training.progress import Reporter
from ..training.recipe import Recipe
from ..training.training_data import TrainingData, read_data
from ..training.validation import ValidationClips, read_validation
from .export import check_export, logits_of, to_onnx
from .families import FamilyOptions, fit_family, read_family_options
from .statistics import WindowStatistics

Array = NDArray[np.float32]

CALIBRATION_WINDOWS = 4_000  # drawn at most for temperature and thresholds; never more than were trained on


def train_classical(
    recipe: Recipe, out: Path, root: Path | None, reporter: Reporter, threads: int | None = None
) -> Bundle:
    """Train by a recipe whose network is one of `families.FAMILIES`, and write the bundle `out/NAME`.

    Of the recipe's table `[training]` nothing counts; mixtures of classes and masks are left out of the augmentation.

    Raises:
        EarwitnessError: data missing or unreadable, a label without windows, clips with several labels.
    """
    began = time.monotonic()
    family = recipe.network.kind
    options = read_family_options(family, recipe.network.options)
    data = read_data(recipe, root, reporter.line)
    if data.multi_label:
        raise EarwitnessError(
            f"{family} gives each window one label, and clips of {data.dataset.name} have several: take a network, or "
            "--set data.multi_label=false"
        )
    cache = FeatureCache(say=reporter.line)
    statistics = _statistics_for(recipe, options)
    windows, targets = _training_windows(data, options.windows, cache, reporter)
    reporter.line(f"{len(windows)} windows, {statistics.size} statistics of each")
    classifier = fit_family(options, statistics.fit(windows), targets, recipe.seed)
    minutes = (time.monotonic() - began) / 60
    kept = read_validation(recipe, data.validation, data.labels, data.background, False, 0, cache, reporter.line)
    model = to_onnx(statistics, classifier)
    count = min(options.windows, CALIBRATION_WINDOWS)
    output, thresholds = _calibrated(data, count, kept, statistics, classifier, cache)
    manifest = manifest_of(
        recipe,
        recipe.window_frames,
        recipe.hop_frames,
        labels=data.labels,
        background=data.background,
        output=output,
        thresholds=thresholds,
        network=Network(kind=family, options=msgspec.to_builtins(options), parameters=count_onnx(model)[0]),
        training=training_table(data, command_of(recipe, threads), 1, len(windows), minutes),
    )

    def check(bundle: Bundle) -> None:
        some = np.concatenate(kept.windows)[:256] if kept.clips else windows[:256]
        differing = check_export(bundle, statistics, classifier, some)
        reporter.line(f"ONNX Runtime differs from scikit-learn by {differing:.1g}")

    figures = {}
    if kept.clips:
        logits = logits_of(classifier, statistics(np.concatenate(kept.windows)))
        figures["validation"] = _share_right(kept, logits, output)
    bundle = write_judged(out / recipe.name, manifest, {"model.onnx": model}, data, check, figures)
    reporter.line(told_of(bundle, minutes))
    return bundle


def _statistics_for(recipe: Recipe, options: FamilyOptions) -> WindowStatistics:
    spec = recipe.front_end
    bands = spec.columns.get("log_mel")
    cepstra = options.cepstra if bands else 0
    return WindowStatistics(options.statistics, recipe.window_frames, spec.dims, cepstra, bands or slice(None))


def _training_windows(
    data: TrainingData, count: int, cache: FeatureCache, reporter: Reporter
) -> tuple[Array, NDArray[np.int64]]:
    """Random windows [windows, window_frames, dims] and the column of each one's label [windows].

    Raises:
        EarwitnessError: a label has none.
    """
    recipe = data.recipe
    maker = make_batches(
        data.training, data.backgrounds("training"), data.labels, recipe.front_end, recipe.window_frames,
        recipe.augmentation.without_mixing(), "cpu", reporter.line, cache,
    )  # fmt: skip
    windows, targets = drawn(maker, count, recipe.seed)
    windows, targets = windows[targets.any(axis=1)], targets[targets.any(axis=1)]
    columns = targets.argmax(axis=1)
    missing = sorted(set(range(len(data.labels))) - set(columns.tolist()))
    if missing:
        raise EarwitnessError(
            f"{data.dataset.name}: none of the {count} windows is of {data.labels[missing[0]]!r}: it has no recording "
            "that can be read, or network.windows is too low"
        )
    return windows, columns


def _calibrated(
    data: TrainingData,
    count: int,
    kept: ValidationClips,
    statistics: WindowStatistics,
    classifier: ClassifierMixin,
    cache: FeatureCache,
) -> tuple[Output, dict[str, float]]:
    """The output with its temperature, and thresholds; plain ones where nothing was kept out."""
    output = Output(name=OUTPUT, activation="softmax")
    if not kept.clips:
        return output, plain_thresholds(data.labels, data.background)
    windows, truth = held_out_windows(data, data.recipe.augmentation, count, cache)
    return calibrated(data, output, logits_of(classifier, statistics(windows)), truth)


def _share_right(kept: ValidationClips, logits: Array, output: Output) -> float:
    """The share of clips that are named right by the mean of their windows' probabilities."""
    scores = activate(logits, output)[:, : kept.events]
    ends = np.cumsum([len(windows) for windows in kept.windows])[:-1]
    found = [part.mean(axis=0).argmax() for part in np.split(scores, ends)]
    return float(kept.truth[np.arange(len(found)), found].mean())
