"""One of the processes that train together: `python one_of_two.py FOLDER`, started as torchrun starts it.

Its network has batch norms, since these must take the statistics of the whole batch, and no dropout.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.models.networks.registry import build_network
from earwitness.models.training.checkpoints import save_weights
from earwitness.models.training.distributed import World, joined
from earwitness.models.training.fit import Job, fit
from earwitness.models.training.progress import Silent
from earwitness.models.training.recipe import TrainingSettings


class Bands:
    def draw(self, size: int, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(seed)
        labels = rng.integers(3, size=size)
        windows = rng.normal(-40, 3, (size, 16, 16)).astype(np.float32)
        # The halves of a batch differ, so that norms of half a batch would show.
        windows[: size // 2] *= 1.5
        windows[np.arange(size), :, labels] += 25
        return torch.from_numpy(windows), torch.eye(3)[labels]


class Figure:
    name = "figure"

    def __init__(self) -> None:
        self.values = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.1])

    def __call__(self, network: nn.Module) -> float:
        return next(self.values)


RUNS = {"whole": (1, 6), "shared": (2, 6), "long": (1, 50)}
"""Parts that a batch is drawn in, and steps, of each run."""


def train(folder: Path, name: str, world: World) -> dict[str, Tensor]:
    """The weights that this process ends a run with, and `steps`."""
    draws, steps = RUNS[name]
    settings = TrainingSettings(
        optimizer="sgd", momentum=0.5, learning_rate=0.05, schedule="constant", steps=steps, batch=16, draws=draws,
        averaging=0.5, judge_every=2, patience=3, precision="fp32",
    )  # fmt: skip
    torch.manual_seed(0)
    options: dict[str, Any] = {"channels": (4, 8), "depth": (1,), "dropout": 0.0}
    network = build_network("cnn", (16, 16), 3, options)
    checkpoint = folder / f"{name}-of-{world.size}.checkpoint"
    job = Job(settings, 0, "", checkpoint, Silent(), Figure() if world.is_first else None, world=world)
    fitted = fit(network, Bands(), job)
    return dict(fitted.network.state_dict()) | {"steps": torch.tensor([float(fitted.steps)])}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined("cpu") as together:
        for run in RUNS:
            weights = train(Path(sys.argv[1]), run, together)
            save_weights(Path(sys.argv[1]) / f"{run}.{together.rank}", weights)
