"""Make a bundle from recordings by one command:

    earwitness train --bundle esc50-cnn --out models/pretrained
    earwitness train --bundle esc10-cnn --out models/pretrained --data-root DIR --seed 0

What is trained on which data is said in `recipes.py`. The steps: read the clips, keep part of the training folds for
validation, train, choose temperature and thresholds on that part, export, check the export, judge the test fold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from ..stream.features.frontend import compute, silence
from ..stream.windowing import windows_of
from .augment import WindowMaker
from .bundle import FORMAT_VERSION, Bundle, Input, Manifest, Network, Output, Training, write_bundle
from .calibrate import best_temperature, choose_thresholds
from .data import background, esc, recordings
from .data.esc import Clip
from .data.recordings import Recording
from .data.root import data_folder, data_root
from .evaluate import evaluate_bundle, false_alarms, held_out_backgrounds
from .export import INPUT, OUTPUT, check_export, to_onnx
from .fit import fit
from .networks.cnn import Cnn
from .recipes import BACKGROUND_CREDITS, RECIPES, Recipe, recipe_named
from .runtime import activate, open_runtime

BACKGROUND = "background"
VALIDATION_WINDOWS = 12_000  # drawn for temperature and thresholds


@dataclass
class Data:
    """What a recipe trains on and chooses by."""

    root: Path
    training: list[Clip]
    validation: list[Clip]
    labels: list[str]
    events: list[Recording]
    kept: list[Recording]  # of the validation clips
    backgrounds: list[Recording]
    kept_backgrounds: list[Recording]


def train_bundle(
    recipe: Recipe | str,
    out: Path,
    root: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    say: Callable[[str], None] = print,
) -> Bundle:
    """Train by a recipe and write the bundle `out/NAME`.

    While training, `out/NAME.checkpoint` holds the state; an interrupted run goes on from it.

    Args:
        recipe: one of `recipes.RECIPES`, or its name.
        root: folder of the data sets, see `data_root`.
        device: "cpu" or "cuda".
        threads: CPU threads; torch's own choice when None. The result depends on it in the last bits.
        say: takes the lines of the report.

    Raises:
        EarwitnessError: data missing or unreadable, a checkpoint of another run, a loss that is no number.
    """
    recipe = recipe_named(recipe) if isinstance(recipe, str) else recipe
    if threads:
        torch.set_num_threads(threads)
    command = _command(recipe, seed, threads)
    out.mkdir(parents=True, exist_ok=True)
    data = read_data(recipe, data_root(root), say)
    torch.manual_seed(seed)
    network = Cnn(len(data.labels), recipe.front_end.dims, recipe.channels, recipe.depth, recipe.dropout)
    checkpoint = out / f"{recipe.name}.checkpoint"
    maker = WindowMaker(
        data.events, data.backgrounds, data.labels, recipe.front_end, recipe.window_frames, recipe.augmentation
    )
    windows = [_windows(recipe, clip) for clip in data.validation]
    right = [data.labels.index(clip.label) for clip in data.validation]
    network, minutes = fit(
        network, maker, recipe, seed, checkpoint, lambda net: f"validation {_share_right(net, windows, right):.3f}",
        say, device,
    )  # fmt: skip
    manifest = _manifest(recipe, data, network, seed, command, minutes)
    files = to_onnx(network.folded(), (recipe.window_frames, recipe.front_end.dims))
    files["CREDITS.txt"] = _credits(recipe, data).encode()
    bundle = write_bundle(out / recipe.name, manifest, files)
    say(f"ONNX Runtime differs from torch by {check_export(bundle, network, np.concatenate(windows)[:256]):.1g}")
    scores = _judge(bundle, recipe, data) | {"validation_clip_accuracy": _share_right(network, windows, right)}
    rounded = {name: round(value, 4) for name, value in scores.items()}
    bundle = write_bundle(out / recipe.name, msgspec.structs.replace(manifest, scores=rounded), files)
    checkpoint.unlink()
    say(f"{bundle.tag} in {bundle.path}: " + ", ".join(f"{name} {value}" for name, value in rounded.items()))
    return bundle


def read_data(recipe: Recipe, root: Path, say: Callable[[str], None]) -> Data:
    """The clips of the training folds, without recordings that stand in the test fold too, and the backgrounds."""
    folder = data_folder(root, recipe.data)
    tested = {clip.recording for clip in esc.read_clips(folder, (recipe.test_fold,))}
    allowed = esc.read_clips(folder, recipe.folds, recipe.licences)
    clips = [clip for clip in allowed if clip.recording not in tested]
    training, validation = esc.split_by_recording(clips, recipe.folds[-1], recipe.validation_part, seed=0)
    spec, frames = recipe.front_end, recipe.window_frames
    noises = (
        *background.synthesised(0, spec.sr),
        *background.real(root, spec.sr, "training"),
    )
    others = (*background.synthesised(1, spec.sr, count=80), *background.real(root, spec.sr, "choice"))
    say(f"{recipe.name}: {len(training)} clips to train on, {len(validation)} to choose by, {len(noises)} backgrounds")
    return Data(
        root=root,
        training=training,
        validation=validation,
        labels=[*sorted({clip.label for clip in clips}), BACKGROUND],
        events=recordings.of_clips(training, spec, frames),
        kept=recordings.of_clips(validation, spec, frames),
        backgrounds=recordings.of_backgrounds(noises, BACKGROUND, spec, frames),
        kept_backgrounds=recordings.of_backgrounds(others, BACKGROUND, spec, frames),
    )


def _command(recipe: Recipe, seed: int, threads: int | None) -> str:
    """What makes this bundle again."""
    usual = recipe.name in RECIPES and RECIPES[recipe.name].steps == recipe.steps
    return (
        f"earwitness train --bundle {recipe.name} --seed {seed}"
        + (f" --threads {threads}" if threads else "")
        + ("" if usual else f" --steps {recipe.steps}")
    )


def _windows(recipe: Recipe, clip: Clip) -> np.ndarray:
    """The windows of a whole clip, as they come live."""
    spec = recipe.front_end
    frames = compute(spec, esc.read_audio(clip.path, spec.sr))
    return windows_of(frames, recipe.window_frames, recipe.hop_frames, silence(spec))


@torch.inference_mode()
def _share_right(network: nn.Module, windows: Sequence[np.ndarray], right: Sequence[int]) -> float:
    """Clip accuracy by the mean of the windows' scores."""
    device = next(network.parameters()).device
    means = [torch.softmax(network(torch.from_numpy(clip).to(device)), 1).mean(0)[:-1] for clip in windows]
    return sum(int(mean.argmax()) == label for mean, label in zip(means, right, strict=True)) / max(len(right), 1)


def _manifest(recipe: Recipe, data: Data, network: nn.Module, seed: int, command: str, minutes: float) -> Manifest:
    temperature, thresholds = _calibrated(recipe, data, network)
    return Manifest(
        format_version=FORMAT_VERSION,
        name=recipe.name,
        description=recipe.description,
        licence=recipe.licence,
        labels=data.labels,
        background=BACKGROUND,
        window_frames=recipe.window_frames,
        hop_frames=recipe.hop_frames,
        front_end=recipe.front_end,
        input=Input(name=INPUT, shape=[0, recipe.window_frames, recipe.front_end.dims]),
        output=Output(name=OUTPUT, activation="softmax", temperature=temperature),
        thresholds=thresholds,
        network=Network(
            kind="cnn",
            options={
                "mels": recipe.front_end.dims,
                "channels": list(recipe.channels),
                "depth": list(recipe.depth),
            },
            parameters=sum(p.numel() for p in network.parameters()),
        ),
        training=Training(
            command=command,
            seed=seed,
            data=recipe.data + (f", clips under {', '.join(recipe.licences)}" if recipe.licences else ""),
            data_sha256=_hash(clip.path for clip in data.training + data.validation),
            clips=len(data.training),
            folds=list(recipe.folds),
            validation=f"{len(data.validation)} clips of fold {recipe.folds[-1]}, split by recording",
            steps=recipe.steps,
            batch=recipe.batch,
            minutes=round(minutes, 1),
            torch=str(torch.__version__),
        ),
    )


@torch.inference_mode()
def _calibrated(recipe: Recipe, data: Data, network: nn.Module) -> tuple[float, dict[str, float]]:
    settings = msgspec.structs.replace(recipe.augmentation, mixup=0.0, mask=0.0, background_share=0.3)
    maker = WindowMaker(data.kept, data.backgrounds, data.labels, recipe.front_end, recipe.window_frames, settings)
    logits, targets = [], []
    for batch in range(VALIDATION_WINDOWS // 200):
        windows, wanted = maker.draw(200, (1, batch))
        logits.append(network(torch.from_numpy(windows)).numpy())
        targets.append(wanted.argmax(axis=1))
    every, right = np.concatenate(logits), np.concatenate(targets)
    temperature = best_temperature(every, right)
    scores = activate(every, Output(name=OUTPUT, activation="softmax", temperature=temperature))
    clips = [sum(clip.label == label for clip in data.validation) for label in data.labels]
    return temperature, choose_thresholds(scores, right, data.labels, clips)


def _judge(bundle: Bundle, recipe: Recipe, data: Data) -> dict[str, float]:
    """The test fold, all clips and those under the licences trained on, and backgrounds that were held out."""
    fold = f"fold{recipe.test_fold}"
    judgement = evaluate_bundle(bundle, recipe.data, data.root, (recipe.test_fold,))
    scores = {
        f"{fold}_clip_accuracy": judgement.accuracy,
        f"{fold}_window_accuracy": judgement.window_accuracy,
        f"{fold}_clips_heard": judgement.heard,
        f"{fold}_clips_misheard": judgement.misheard,
    }
    if recipe.licences:
        free = evaluate_bundle(bundle, recipe.data, data.root, (recipe.test_fold,), recipe.licences)
        scores[f"{fold}_clip_accuracy_free_licences"] = free.accuracy
    held_out = held_out_backgrounds(data.root, recipe.front_end.sr)
    for kind, alarms in false_alarms(bundle, open_runtime(bundle, "cpu"), held_out).items():
        scores[f"false_alarms_per_hour_{kind.replace(' ', '_')}"] = alarms.per_hour
    return scores


def _credits(recipe: Recipe, data: Data) -> str:
    lines = esc.credits_of(data_folder(data.root, recipe.data), data.training + data.validation)
    return "\n".join(
        [
            f"{recipe.name} learnt from these recordings of ESC-50 (K. J. Piczak, https://github.com/karoldvl/ESC-50):",
            "",
            *lines,
            "",
            BACKGROUND_CREDITS,
            "",
        ]
    )


def _hash(paths: Iterable[Path]) -> str:
    """One SHA-256 over names and contents."""
    lines = sorted(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
