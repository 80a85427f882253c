"""The training loop: random windows in, averaged weights out. Deterministic by seed; an interrupted run resumes."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ...stream.errors import EarwitnessError
from ..augmentation.batches import Batch, BatchMaker, drawn_ahead
from .checkpoints import load_checkpoint, save_checkpoint, save_weights
from .distributed import World
from .hop_targets import hop_targets
from .losses import distillation, loss_of
from .optimizers import average, learning_rate, make_optimizer
from .precision import Precision
from .progress import Moment, Reporter
from .recipe import TrainingSettings

Trained = TypeVar("Trained", bound=nn.Module)

CHECK_EVERY = 25  # steps between looks at the losses: on a GPU each look waits for it
EXPLODED = 20.0  # a loss so many times the first one is not learning any more


class Figure(Protocol):
    """What a network is chosen by: more is better."""

    @property
    def name(self) -> str:
        """As it is reported."""
        ...

    def __call__(self, network: nn.Module) -> float:
        """The figure of a network in evaluation mode, on its device."""
        ...


@dataclass
class Look:
    """What is to be seen of a run every `judge_every` steps."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    figure: float | None
    network: nn.Module  # the averaged one


@dataclass
class Job:
    """What a run needs beside the network and the batches.

    Attributes:
        identity: what else decides the weights; a checkpoint of another one is refused.
        checkpoint: the file for the state.
        figure: judges on the validation part; None without one.
        background: the column of the background's label; None without one.
        teach: windows -> the teachers' probabilities [batch, labels].
        watch: is shown every look.
    """

    settings: TrainingSettings
    seed: int
    identity: str
    checkpoint: Path
    reporter: Reporter
    figure: Figure | None = None
    multi_label: bool = False
    background: int | None = None
    teach: Callable[[Tensor], Tensor] | None = None
    watch: Callable[[Look], None] | None = None
    world: World = field(default_factory=World)


@dataclass
class Fitted(Generic[Trained]):
    """What a run gives: the network with averaged weights (with patience the best), on the CPU, and the way there."""

    network: Trained
    steps: int
    minutes: float
    figure: float | None


def fit(network: Trained, maker: BatchMaker, job: Job) -> Fitted[Trained]:
    """Train `network`.

    Every `judge_every` steps the averaged network is judged and the state is written to the checkpoint; when that file
    exists and is of the same identity and seed, training goes on from there, to the same result bit for bit. A
    checkpoint that cannot be written is told and is not the end.

    Raises:
        EarwitnessError: the checkpoint is of another run; or the loss is no number any more or has exploded: the last
            good weights are then in `CHECKPOINT.good.safetensors`, and the checkpoint is gone.
    """
    with _without_denormals(), _repeatable(job.world.device):
        run: _Run[Trained] = _Run(network, job)
        mine = _Share(maker, job.settings, job.world)
        steps = () if run.stopped else range(run.step, job.settings.steps)
        try:
            with drawn_ahead(mine, job.settings.batch, ((job.seed, step) for step in steps)) as batches:
                for windows, targets in batches:
                    if not run.advance(windows, targets):
                        break
        except KeyboardInterrupt:
            if job.world.is_first:
                job.reporter.line(f"interrupted at step {run.step}: the same command goes on from step {run.saved}")
            raise
    kept = run.averaged
    if job.settings.patience and run.best:
        kept.load_state_dict(run.best)
    figure = run.best_figure if job.settings.patience else run.figure
    return Fitted(kept.cpu(), run.step, run.seconds / 60, figure)


class _Run(Generic[Trained]):
    """The state of a run, and one step of it."""

    def __init__(self, network: Trained, job: Job) -> None:
        self._job, self._settings, device = job, job.settings, job.world.device
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster
        self._network.train()
        self.averaged: Trained = copy.deepcopy(self._network).eval()
        self._optimizer = make_optimizer(self._network, job.settings)
        self._precision = Precision(job.settings.precision, device)
        self._reconstructs = hasattr(network, "reconstructs")
        self._loss = loss_of(job.settings, job.multi_label, self._reconstructs)
        self.step, self.seconds, self.saved = 0, 0.0, 0
        self.stopped: bool = False
        self.figure: float | None = None
        self.best: dict[str, Tensor] = {}
        self.best_figure: float | None = None
        self._stale = 0
        self._first = math.nan  # the first loss
        self._resume()
        decides = _EachHop(self._network) if hasattr(network, "hops") else self._network
        self._shared = job.world.share(decides)
        self._began = time.monotonic() - self.seconds
        self._judged = bool(job.world.agreed(job.figure is not None))  # the first alone may have a figure
        self._losses: list[Tensor] = []
        self._norm = torch.zeros(())
        self._good, self._good_step = _copied(self.averaged), self.step

    def advance(self, windows: Tensor, targets: Tensor) -> bool:
        """One step, and what is due after it; whether it goes on."""
        settings = self._settings
        rate = learning_rate(settings, self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss_of_batch(windows, targets)
        self._optimizer.zero_grad()
        scaler = self._precision.scaler
        scaler.scale(loss).backward()
        scaler.unscale_(self._optimizer)
        limit = settings.clip_norm or math.inf
        self._norm = nn.utils.clip_grad_norm_(self._network.parameters(), limit).detach()
        scaler.step(self._optimizer)
        scaler.update()
        self.step += 1
        # Early on the mean forgets faster, or it would carry the random beginning along.
        average(self.averaged, self._network, min(settings.averaging, self.step / (self.step + 10)))
        self._losses.append(loss.detach())
        last = self.step == settings.steps
        look = last or self.step % settings.judge_every == 0
        if look or self.step % CHECK_EVERY == 0:
            mean = self._check(rate)
            if look:
                self._look(mean, rate)
            self._tell(mean, look)
        if look and self._job.world.is_first:
            self._save()
        return not self.stopped

    def _loss_of_batch(self, windows: Tensor, targets: Tensor) -> Tensor:
        job = self._job
        # Dropout: the same whether resumed or not, and not the same in every process.
        torch.manual_seed((job.seed * 1_000_003 + self.step) * 1024 + job.world.rank)
        with self._precision.autocast():
            outputs = self._shared(windows)
        if self._reconstructs:
            return self._loss(outputs.float(), self._network.wanted(windows).detach().float())
        loss = self._loss(outputs, targets) if outputs.ndim == 2 else self._loss_of_hops(outputs, targets, windows)
        if job.teach is None or not self._settings.teacher_weight:
            return loss
        weight = self._settings.teacher_weight
        logits = outputs if outputs.ndim == 2 else outputs.mean(1)
        taught = distillation(logits, job.teach(windows), self._settings.teacher_temperature, job.multi_label)
        return loss * (1 - weight) + taught * weight

    def _loss_of_hops(self, outputs: Tensor, targets: Tensor, windows: Tensor) -> Tensor:
        """Of a network that decides every hop, logits [batch, hops, labels]: of the mean of those that heard something
        of the sound, and of each by itself."""
        weight, hop_frames = self._settings.hop_weight, self._network.hop_frames
        recent, wanted = hop_targets(windows, targets, hop_frames, self._job.background)
        mean = (outputs.float() * recent.unsqueeze(2)).sum(1) / recent.sum(1, keepdim=True)
        each = self._loss(outputs.flatten(0, 1), wanted.flatten(0, 1))
        return self._loss(mean, targets) * (1 - weight) + each * weight

    def _check(self, rate: float) -> float:
        """The mean of the losses since the last check. EarwitnessError when nothing is learnt any more."""
        losses: list[float] = self._job.world.mean(torch.stack(self._losses)).tolist()
        start = self.step - len(losses)
        self._losses.clear()
        if not start:
            self._first = losses[0]
        mean = sum(losses) / len(losses)
        bad = next((k for k, loss in enumerate(losses) if not math.isfinite(loss)), None)
        if bad is None and mean > EXPLODED * max(self._first, 1.0):
            bad = len(losses) - 1
        if bad is None and not all(bool(value.isfinite().all()) for value in self.averaged.state_dict().values()):
            bad, losses[-1] = len(losses) - 1, math.nan
        if bad is not None:
            raise EarwitnessError(self._diverged(losses[bad], start + bad + 1, rate))
        self._good, self._good_step = _copied(self.averaged), self.step
        return mean

    def _diverged(self, loss: float, step: int, rate: float) -> str:
        """Keeps the last good weights, and says so."""
        checkpoint = self._job.checkpoint
        path = checkpoint.with_name(f"{checkpoint.stem}.good.safetensors")
        said = f"the loss is {loss:.3g} at step {step}, with a learning rate of {rate:.2g}: stopped; "
        if self._job.world.is_first:
            save_weights(path, self._good)
            checkpoint.unlink(missing_ok=True)  # it would lead here again
        return (
            f"{said}try a lower training.learning_rate. The weights of step {self._good_step} are kept in {path}; "
            f"training.start_from = {str(path)!r} begins with them"
        )

    def _look(self, mean: float, rate: float) -> None:
        job = self._job
        if self._judged:
            figure = job.figure(self.averaged) if job.figure is not None and job.world.is_first else 0.0
            self.figure = job.world.agreed(figure)
            if self.best_figure is None or self.figure > self.best_figure:
                self._stale, self.best_figure = 0, self.figure
                self.best = _copied(self.averaged) if self._settings.patience else {}
            else:
                self._stale += 1
            if self._settings.patience and self._stale >= self._settings.patience:
                self.stopped = True
        if job.watch is not None and job.world.is_first:
            job.watch(Look(self.step, mean, rate, float(self._norm), self.figure, self.averaged))

    def _tell(self, mean: float, look: bool) -> None:
        job, self.seconds = self._job, time.monotonic() - self._began
        judged = "" if job.figure is None or self.figure is None else f"{job.figure.name} {self.figure:.3f}"
        step_s = self.seconds / self.step
        left_s = 0.0 if self.stopped else step_s * (self._settings.steps - self.step)
        job.reporter.moment(Moment(self.step, self._settings.steps, mean, judged, look, step_s, left_s))
        if self.stopped:
            job.reporter.line(f"stopped early: no better than {self.best_figure:.3f} for {self._stale} looks")

    # ---- interruptions

    _VALUES = ("step", "seconds", "stopped", "figure", "best", "best_figure", "_stale", "_first")

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self._network, "averaged": self.averaged, "optimizer": self._optimizer,
            "scaler": self._precision.scaler,
        }  # fmt: skip

    def _identity(self) -> list[str]:
        return [self._job.identity, str(self._job.seed), self._precision.name]

    def _save(self) -> None:
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {name: getattr(self, name) for name in self._VALUES} | {"identity": self._identity()}
        try:
            save_checkpoint(self._job.checkpoint, state)
            self.saved = self.step
        except EarwitnessError as error:
            self._job.reporter.line(f"{error}; what was saved at step {self.saved} stays, and training goes on")

    def _resume(self) -> None:
        state = load_checkpoint(self._job.checkpoint)
        if state is None:
            return
        if state.get("identity") != self._identity():
            raise EarwitnessError(
                f"{self._job.checkpoint} is of another recipe or seed: remove it, or name another --out"
            )
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for name in self._VALUES:
            setattr(self, name, state[name])
        self.saved = self.step
        self._job.reporter.line(f"going on from step {self.step} of {self._job.checkpoint}")


class _EachHop(nn.Module):
    """A network with `hops`, called for these."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        decisions: Tensor = self.network.hops(windows)  # type: ignore[operator]
        return decisions


class _Share:
    """Draws this process's share of a batch, which consists of `settings.draws` parts, each by a seed of its own."""

    def __init__(self, maker: BatchMaker, settings: TrainingSettings, world: World) -> None:
        self._maker, self._draws, self._world = maker, settings.draws, world

    def draw(self, size: int, seed: Sequence[int]) -> Batch:
        """See `BatchMaker`; `size` is that of the whole batch."""
        draws, rank, size_of_world = self._draws, self._world.rank, self._world.size
        if draws == size_of_world == 1:
            return self._maker.draw(size, seed)
        own = draws % size_of_world == 0  # then each process draws its own parts, and no others
        parts = range(rank * draws // size_of_world, (rank + 1) * draws // size_of_world) if own else range(draws)
        drawn = [self._maker.draw(size // draws, (*seed, part) if draws > 1 else seed) for part in parts]
        windows, targets = (torch.cat([batch[k] for batch in drawn]) for k in (0, 1))
        mine = slice(None) if own else slice(rank * size // size_of_world, (rank + 1) * size // size_of_world)
        return windows[mine], targets[mine]


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@contextmanager
def _repeatable(device: str) -> Iterator[None]:
    """On a GPU, only algorithms that give the same bits each time; torch warns where it has none."""
    if not device.startswith("cuda"):
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for, for the same reason
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Tiny numbers count as 0, which is faster; they count again afterwards, for whoever else lives in this process."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
