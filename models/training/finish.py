"""The end of a training run, whatever was trained: what thresholds are chosen by, and what the manifest tells of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from ..augmentation.batches import BatchMaker, make_batches
from ..augmentation.settings import Augmentation
from ..bundle import FORMAT_VERSION, Bundle, Input, Manifest, Output, Training, write_bundle
from ..data.cache import FeatureCache
from ..data.datasets import BACKGROUND
from ..evaluate import evaluate_bundle, false_alarms
from ..export import INPUT
from ..runtime import activate, open_runtime
from .calibrate import best_temperature, choose_thresholds
from .progress import clock
from .recipe import Recipe, recipe_named, recipe_names, to_toml
from .training_data import TrainingData, credits_of

Array = NDArray[np.float32]
Bools = NDArray[np.bool_]

RECIPE = "recipe.toml"  # in the bundle
DRAWN = 200  # windows at once
PLAIN_THRESHOLD = 0.5  # where nothing was kept to choose one by


def held_out_windows(
    data: TrainingData, augmentation: Augmentation, count: int, cache: FeatureCache, *leave_out: str
) -> tuple[Array, Bools]:
    """Random windows of the clips that were kept out, and of backgrounds to choose by.

    Args:
        count: how many.
        leave_out: labels; BACKGROUND among them leaves the backgrounds out.

    Returns:
        windows `[count, window_frames, dims]`, and what sounds in each `[count, labels]`.
    """
    recipe = data.recipe
    clips = [clip for clip in data.validation or data.training if clip.label not in leave_out]
    backgrounds = [] if BACKGROUND in leave_out else data.backgrounds("choice")
    settings = augmentation.without_mixing().replace(background_share=0.0 if leave_out else 0.3)
    maker = make_batches(
        clips, backgrounds, data.labels, recipe.front_end, recipe.window_frames, settings, "cpu", lambda line: None,
        cache,
    )  # fmt: skip
    windows, targets = drawn(maker, count, 1)
    return windows, targets > 0.5


def drawn(maker: BatchMaker, count: int, seed: int) -> tuple[Array, Array]:
    """Windows `[count, window_frames, dims]` and targets `[count, labels]`, drawn on the CPU in batches of `DRAWN`."""
    sizes = [min(DRAWN, count - first) for first in range(0, count, DRAWN)]
    batches = [maker.draw(size, (seed, batch)) for batch, size in enumerate(sizes)]
    windows, targets = (np.concatenate([np.asarray(batch[k]) for batch in batches]) for k in (0, 1))
    return windows, targets


def calibrated(data: TrainingData, output: Output, logits: Array, truth: Bools) -> tuple[Output, dict[str, float]]:
    """The output with its temperature, and a threshold for each event, by logits of windows that were kept out.

    Args:
        logits, truth: `[windows, labels]`, the labels those of `data`.
    """
    events = [label for label in data.labels if label != data.background]
    told = truth if data.multi_label or data.background else truth & truth.any(1, keepdims=True)
    chosen = np.ones(len(told), bool) if data.multi_label else told.any(1)
    temperature = best_temperature(logits[chosen], told[chosen], data.multi_label)
    output = msgspec.structs.replace(output, temperature=temperature)
    clips = [sum(label in clip.labels for clip in data.validation) for label in events]
    return output, choose_thresholds(activate(logits, output), told, events, clips)


def plain_thresholds(labels: list[str], background: str) -> dict[str, float]:
    """A threshold for each event, where nothing was kept out to choose one by."""
    return {label: PLAIN_THRESHOLD for label in labels if label != background}


def manifest_of(recipe: Recipe, window_frames: int, hop_frames: int, **trained: Any) -> Manifest:
    """The manifest: what the recipe says of it, and the fields that only what was trained can tell."""
    return Manifest(
        format_version=FORMAT_VERSION,
        name=recipe.name,
        description=recipe.description or f"{recipe.network.kind} on {recipe.data.name}",
        licence=recipe.licence,
        window_frames=window_frames,
        hop_frames=hop_frames,
        front_end=recipe.front_end,
        input=Input(name=INPUT, shape=[0, window_frames, recipe.front_end.dims]),
        **trained,
    )


def training_table(data: TrainingData, command: str, steps: int, batch: int, minutes: float) -> Training:
    """How the bundle was made, for its manifest."""
    part = data.recipe.data
    return Training(
        command=command,
        seed=data.recipe.seed,
        data=part.name + (f", clips under {', '.join(part.licences)}" if part.licences else ""),
        data_sha256=data.sha256,
        clips=len(data.training),
        folds=sorted({clip.fold for clip in data.training}),
        validation=f"{len(data.validation)} clips of them, split by recording" if data.validation else "none",
        steps=steps,
        batch=batch,
        minutes=round(minutes, 1),
        torch=str(torch.__version__),
    )


def write_judged(
    path: Path,
    manifest: Manifest,
    model: Mapping[str, bytes],
    data: TrainingData,
    check: Callable[[Bundle], None],
    figures: Mapping[str, float],
    test: bool = True,
) -> Bundle:
    """Write the bundle, check and judge it, and write it again with its scores.

    Args:
        path: its folder.
        model: its model files; credits and recipe are added.
        check: raises where the file does not compute what was trained.
        figures: to stand beside the scores.
        test: whether the test folds are judged; held-out backgrounds are, always.
    """
    files = {**model, "CREDITS.txt": credits_of(data).encode(), RECIPE: to_toml(data.recipe).encode()}
    bundle = write_bundle(path, manifest, files)
    check(bundle)
    scores = _judge(bundle, data, test) | dict(figures)
    rounded = {name: round(value, 4) for name, value in scores.items()}
    return write_bundle(path, msgspec.structs.replace(manifest, scores=rounded), files)


def told_of(bundle: Bundle, minutes: float) -> str:
    """The last line of a run: the bundle, and how good it is."""
    scores = "".join(f", {name} {value}" for name, value in bundle.manifest.scores.items())
    return f"{bundle.tag} in {bundle.path}, after {clock(60 * minutes)}{scores}"


def command_of(recipe: Recipe, threads: int | None) -> str:
    """What makes this bundle again."""
    boxed = recipe.name in recipe_names() and recipe_named(recipe.name, {"seed": recipe.seed}) == recipe
    made = f"--recipe {recipe.name}" if boxed else f"--config {RECIPE}"
    return f"earwitness train {made} --seed {recipe.seed}" + (f" --threads {threads}" if threads else "")


def _judge(bundle: Bundle, data: TrainingData, test: bool) -> dict[str, float]:
    """The test folds, all clips and those under the licences trained on, and backgrounds that were held out."""
    recipe = data.recipe
    scores: dict[str, float] = {}
    if data.test_folds and test:
        folds = "fold" + "_".join(map(str, data.test_folds))
        judgement = evaluate_bundle(bundle, recipe.data.name, data.root, data.test_folds)
        scores[f"{folds}_clip_accuracy"] = judgement.accuracy
        scores[f"{folds}_window_accuracy"] = judgement.window_accuracy
        scores[f"{folds}_clips_heard"] = judgement.heard
        scores[f"{folds}_clips_misheard"] = judgement.misheard
        if recipe.data.licences:
            free = evaluate_bundle(bundle, recipe.data.name, data.root, data.test_folds, recipe.data.licences)
            scores[f"{folds}_clip_accuracy_free_licences"] = free.accuracy
    for kind, alarms in false_alarms(bundle, open_runtime(bundle, "cpu"), data.backgrounds("test")).items():
        scores[f"false_alarms_per_hour_{kind.replace(' ', '_')}"] = alarms.per_hour
    return scores
