"""The training loop: random windows in, averaged weights out. Deterministic by seed; an interrupted run resumes."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from ..stream.errors import EarwitnessError
from .augment import WindowMaker
from .recipes import Recipe

Trained = TypeVar("Trained", bound=nn.Module)

REPORT_EVERY = 250  # steps


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Tiny numbers count as 0, which is faster; they count again afterwards, for whoever else lives in this process."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_without_denormals()
def fit(
    network: Trained,
    maker: WindowMaker,
    recipe: Recipe,
    seed: int,
    checkpoint: Path,
    judge: Callable[[nn.Module], str],
    say: Callable[[str], None],
    device: str = "cpu",
) -> tuple[Trained, float]:
    """Train `network`; return it with the running mean of its weights, ready for use, and the minutes that took.

    Every `REPORT_EVERY` steps the state is written to `checkpoint`; when that file exists and stems from the same
    recipe and seed, training goes on from there, to the same result.

    Args:
        judge: a figure to report for the averaged network, such as its accuracy on the validation clips.
        say: takes the lines of the report.

    Raises:
        EarwitnessError: the checkpoint is of another recipe or seed, or the loss is no longer a number.
    """
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # a quarter faster
    optimizer = torch.optim.AdamW(_groups(network, recipe.weight_decay), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.15
    )
    averaged = copy.deepcopy(network).eval()
    parts: dict[str, Any] = {
        "network": network, "averaged": averaged, "optimizer": optimizer, "schedule": schedule,
    }  # fmt: skip
    step, seconds = _resume(parts, checkpoint, recipe, seed)
    began, losses = time.monotonic() - seconds, []
    network.train()
    while step < recipe.steps:
        torch.manual_seed(seed * 1_000_003 + step)  # dropout: the same whether resumed or not
        windows, targets = (torch.from_numpy(array).to(device) for array in maker.draw(recipe.batch, (seed, step)))
        loss = soft_cross_entropy(network(windows), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        step += 1
        # Early on the mean forgets faster, or it would carry the random beginning along.
        _average(averaged, network, min(recipe.averaging, step / (step + 10)))
        losses.append(float(loss.detach()))
        if not np.isfinite(losses[-1]):
            raise EarwitnessError(f"the loss is {losses[-1]} at step {step}: try a lower learning rate")
        if step % REPORT_EVERY == 0 or step == recipe.steps:
            seconds = time.monotonic() - began
            say(
                f"step {step}/{recipe.steps} loss {np.mean(losses[-REPORT_EVERY:]):.3f} {judge(averaged)} "
                f"{seconds / step * 1000:.0f} ms a step, {seconds / step * (recipe.steps - step) / 60:.0f} min left"
            )
            _save(parts, checkpoint, {"recipe": _identity(recipe), "seed": seed, "step": step, "seconds": seconds})
    return averaged.cpu(), seconds / 60


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy against shares of labels [batch, classes]."""
    return -(targets * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay for matrices and kernels, none for biases and norms."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _identity(recipe: Recipe) -> str:
    """What of a recipe decides the weights."""
    return repr(msgspec.structs.replace(recipe, description="", licence=""))


def _save(parts: dict[str, Any], checkpoint: Path, about: dict[str, Any]) -> None:
    temporary = checkpoint.with_suffix(".tmp")
    torch.save({name: part.state_dict() for name, part in parts.items()} | about, temporary)
    os.replace(temporary, checkpoint)


def _resume(parts: dict[str, Any], checkpoint: Path, recipe: Recipe, seed: int) -> tuple[int, float]:
    """Fill `parts` from the checkpoint, if there is one; return the steps done and the seconds they took."""
    if not checkpoint.exists():
        return 0, 0.0
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if (state["recipe"], state["seed"]) != (_identity(recipe), seed):
        raise EarwitnessError(f"{checkpoint} is of another recipe or seed: remove it, or name another --out")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"]), float(state["seconds"])
