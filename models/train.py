"""Make a bundle from recordings by one command:

    earwitness train --recipe esc50-cnn --out runs
    earwitness train --config doorbell.toml --out runs --set training.steps=4000
    earwitness train --network gru --data esc10 --out runs

The steps: read the clips, keep part of them for validation, train, choose temperature and thresholds on that part,
export, check the export, judge the test folds. The recipe lies in the bundle, so that it can be made again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from ..stream.errors import EarwitnessError
from .augmentation.batches import make_batches
from .bundle import Bundle, Manifest, Network, Output
from .classical.families import FAMILIES
from .data.cache import FeatureCache
from .data.datasets import BACKGROUND
from .export import OUTPUT, check_export, states_of, to_onnx
from .networks.registry import build_network, for_use, read_options
from .training.checkpoints import load_weights
from .training.distributed import World, joined
from .training.finish import (
    calibrated,
    command_of,
    held_out_windows,
    manifest_of,
    plain_thresholds,
    told_of,
    training_table,
    write_judged,
)
from .training.fit import Fitted, Job, fit
from .training.hop_targets import hop_targets
from .training.progress import Lines, Reporter, Silent
from .training.recipe import Recipe, recipe_named
from .training.teachers import open_teachers
from .training.training_data import read_data
from .training.validation import Accuracy, Reconstruction, ValidationClips, read_validation

CALIBRATION_WINDOWS = 12_000  # drawn at most for temperature and thresholds; never more than were trained on


def train_bundle(
    recipe: Recipe | str,
    out: Path,
    root: Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    say: Callable[[str], None] = print,
    reporter: Reporter | None = None,
    board: Path | None = None,
) -> Bundle:
    """Train by a recipe and write the bundle `out/NAME`.

    While training, `out/NAME.checkpoint` holds the state; an interrupted run goes on from it. Under `torchrun` all
    processes train together, and the first one judges and writes.

    Args:
        recipe: a recipe, or the name of one in the box.
        root: folder of the data sets, see `data_root`.
        seed: in place of the recipe's.
        device: "cpu", "cuda", or "auto": CUDA where there is a GPU.
        threads: CPU threads; torch's own choice when None. The result depends on it in the last bits.
        say: takes the lines of the report, where no `reporter` is given.
        board: a folder for TensorBoard's files, which go to `board/NAME`; None for none.

    Raises:
        EarwitnessError: data missing or unreadable, a checkpoint of another run, a loss that is no number.
    """
    recipe = recipe_named(recipe) if isinstance(recipe, str) else recipe
    if seed is not None:
        recipe = msgspec.structs.replace(recipe, seed=seed)
    if threads:
        torch.set_num_threads(threads)
    if recipe.network.kind in FAMILIES:
        from .classical.train import train_classical  # and with it scikit-learn

        return train_classical(recipe, out, root, reporter or Lines(say), threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise EarwitnessError("device 'cuda': torch sees no GPU here; --device cpu works everywhere")
    with joined(device) as world:
        told = (reporter or Lines(say)) if world.is_first else Silent()
        out.mkdir(parents=True, exist_ok=True)
        training = _Trainer(recipe, out, root, world, told, command_of(recipe, threads))
        fitted = training.fit(board)
        if world.is_first:
            training.finish(fitted)
        world.wait()
    return Bundle.load(out / recipe.name)


class _Trainer:
    """One run: what is made of a recipe, in order."""

    def __init__(
        self, recipe: Recipe, out: Path, root: Path | None, world: World, reporter: Reporter, command: str
    ) -> None:
        if recipe.training.batch % world.size:
            raise EarwitnessError(f"batch {recipe.training.batch} is no multiple of the {world.size} processes")
        self._recipe, self._out, self._world, self._reporter, self._command = recipe, out, world, reporter, command
        self._checkpoint = out / f"{recipe.name}.checkpoint"
        self._data = read_data(recipe, root, reporter.line)
        module = importlib.import_module(f".networks.{recipe.network.kind}", __package__)
        own_labels = list(getattr(module, "LABELS", ()))  # an autoencoder's, which learns none
        self._calibrate_own = getattr(module, "calibrate", None)
        self._labels: list[str] = own_labels or self._data.labels
        self._background = BACKGROUND if BACKGROUND in self._labels else ""
        self._background_column = self._labels.index(BACKGROUND) if self._background else None
        torch.manual_seed(recipe.seed)
        shape = recipe.window_frames, recipe.front_end.dims
        self._network = build_network(recipe.network.kind, shape, len(self._labels), recipe.network.options)
        self._reconstructs, self._stateful = bool(own_labels), hasattr(self._network, "hops")
        # A network with states decides at its own hop; its training windows are as long as one likes.
        self._hop_frames: int = self._network.hop_frames if self._stateful else recipe.hop_frames  # type: ignore[assignment]
        if recipe.training.start_from:
            _begin_with(self._network, Path(recipe.training.start_from))
        self._multi_label = self._data.multi_label and not self._reconstructs
        augmentation = recipe.augmentation
        if self._multi_label:  # whatever can be heard in a mixture is true of it
            augmentation = augmentation.replace(mixed_targets="present")
        self._augmentation = augmentation
        self._cache = FeatureCache(say=reporter.line)
        self._clips = self._validation_clips()

    def fit(self, board: Path | None) -> Fitted[nn.Module]:
        """Train the network."""
        recipe, world = self._recipe, self._world
        clips = [clip for clip in self._data.training if not (self._reconstructs and clip.label == BACKGROUND)]
        maker = make_batches(
            clips, self._data.backgrounds("training"), self._data.labels, recipe.front_end, recipe.window_frames,
            self._augmentation, world.device, self._reporter.line, self._cache,
        )  # fmt: skip
        figure = None
        if self._clips.clips:
            figure = Reconstruction(self._clips) if self._reconstructs else Accuracy(self._clips)
        job = Job(
            settings=recipe.training, seed=recipe.seed, identity=recipe.identity, checkpoint=self._checkpoint,
            reporter=self._reporter, figure=figure, multi_label=self._multi_label, background=self._background_column,
            teach=open_teachers(recipe, self._labels, self._multi_label, world.device), world=world,
        )  # fmt: skip
        if board is None or not world.is_first:
            return fit(self._network, maker, job)
        from .training.board import Board

        with Board(board / recipe.name, self._checkpoint.exists()) as shown:
            shown.graph(self._network, (recipe.window_frames, recipe.front_end.dims))
            job.watch = shown.look
            fitted = fit(self._network, maker, job)
            if not self._reconstructs:
                shown.judge(fitted.network, self._clips, recipe.front_end.sr, fitted.steps)
        return fitted

    def finish(self, fitted: Fitted[nn.Module]) -> Bundle:
        """Choose temperature and thresholds, export, judge, write; and take the checkpoint away."""
        recipe, told = self._recipe, self._reporter
        trained_on = fitted.steps * recipe.training.batch
        temperature, thresholds = self._calibrated(fitted.network, min(trained_on, CALIBRATION_WINDOWS))
        used = for_use(fitted.network)
        manifest = self._manifest(used, fitted, temperature, thresholds)
        files = to_onnx(used, (manifest.window_frames, recipe.front_end.dims))

        def check(bundle: Bundle) -> None:
            told.line(f"ONNX Runtime differs from torch by {check_export(bundle, used, self._some_windows()):.1g}")

        figures = {} if fitted.figure is None else {"validation": fitted.figure}
        path = self._out / recipe.name
        bundle = write_judged(path, manifest, files, self._data, check, figures, test=not self._reconstructs)
        self._checkpoint.unlink(missing_ok=True)
        told.line(told_of(bundle, fitted.minutes))
        return bundle

    def _validation_clips(self) -> ValidationClips:
        """What the network is chosen by, in the process that chooses."""
        clips = self._data.validation if self._world.is_first else []
        return read_validation(
            self._recipe, clips, self._data.labels, self._data.background, self._multi_label,
            self._hop_frames if self._stateful else 0, self._cache, self._reporter.line,
        )  # fmt: skip

    def _some_windows(self) -> np.ndarray:
        """For the check of the export: up to 256; of a network with states, one sound hop by hop."""
        windows = self._clips.windows or [self._drawn(256)[0]]
        if not self._stateful:
            return np.concatenate(windows)[:256]
        hop = self._hop_frames
        sound: np.ndarray = windows[0][0]
        return sound[: len(sound) // hop * hop].reshape(-1, hop, sound.shape[1])

    def _drawn(self, count: int, *leave_out: str) -> tuple[np.ndarray, np.ndarray]:
        return held_out_windows(self._data, self._augmentation, count, self._cache, *leave_out)

    def _calibrated(self, network: nn.Module, count: int) -> tuple[float, dict[str, float]]:
        """Temperature and thresholds; plain ones where nothing was kept out."""
        plain = plain_thresholds(self._labels, self._background)
        if self._calibrate_own is not None:
            self._calibrate_own(network, torch.from_numpy(self._drawn(min(count, 3_000), BACKGROUND)[0]))
            return 1.0, plain
        if not self._clips.clips:
            return 1.0, plain
        windows, truth = self._drawn(count)
        with torch.inference_mode():
            parts = torch.from_numpy(windows).split(200)
            logits = torch.cat([network.hops(p)[:, -1] if self._stateful else network(p) for p in parts]).numpy()  # type: ignore[operator]
        if self._stateful:
            shares = torch.from_numpy(truth.astype(np.float32))
            wanted = hop_targets(torch.from_numpy(windows), shares, self._hop_frames, self._background_column)[1]
            truth = wanted[:, -1].numpy() > 0.5
        output, thresholds = calibrated(self._data, self._output(1.0), logits, truth)
        return output.temperature, thresholds

    def _output(self, temperature: float) -> Output:
        activation = "sigmoid" if self._multi_label else "softmax"
        return Output(name=OUTPUT, activation=activation, temperature=temperature)  # type: ignore[arg-type]

    def _manifest(
        self, used: nn.Module, fitted: Fitted[nn.Module], temperature: float, thresholds: dict[str, float]
    ) -> Manifest:
        recipe, data = self._recipe, self._data
        window_frames = self._hop_frames if self._stateful else recipe.window_frames
        options = msgspec.to_builtins(read_options(recipe.network.kind, recipe.network.options))
        return manifest_of(
            recipe,
            window_frames,
            self._hop_frames,
            labels=self._labels,
            background=self._background,
            multi_label=self._multi_label,
            output=self._output(temperature),
            thresholds=thresholds,
            states=states_of(used),
            detection=getattr(self._network, "detection", {}),
            network=Network(
                kind=recipe.network.kind, options=options, parameters=sum(p.numel() for p in used.parameters())
            ),
            training=training_table(data, self._command, fitted.steps, recipe.training.batch, fitted.minutes),
        )


def _begin_with(network: nn.Module, path: Path) -> None:
    """Load weights; those of a last layer for other classes are left out. EarwitnessError where hardly any fits."""
    given, own = load_weights(path), network.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if 2 * len(fitting) < len(own):
        raise EarwitnessError(f"{path} fits {len(fitting)} of {len(own)} tensors: it is of another network")
    network.load_state_dict(own | fitting)
