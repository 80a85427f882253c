"""Bundles that teach: their judgement of each training window is learnt beside its label (distillation).

A small network learns more from how sure a good one is of every label than from the right label alone (Hinton et al.,
2015, https://arxiv.org/abs/1503.02531). Several teachers are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...stream.errors import EarwitnessError, nearest
from ..bundle import Bundle, find_bundle
from ..runtime import Runtime, TorchRuntime, open_runtime, why_no_cuda
from .recipe import Recipe

Teaching = Callable[[Tensor], Tensor]


def open_teachers(recipe: Recipe, labels: Sequence[str], multi_label: bool, device: str) -> Teaching | None:
    """What the teachers of a recipe say of windows [batch, frames, dims]: probabilities [batch, labels], their mean.

    A teacher with a shorter window hears all of its windows in the training window, and the mean is taken.

    Args:
        labels: the pupil's; of a teacher's others nothing is taken.
        device: where the windows are, "cpu" or "cuda".

    Raises:
        EarwitnessError: no such bundle; one of another front end, with a longer window, or without one of the labels.
    """
    if not recipe.training.teachers:
        return None
    teachers = [_Teacher(find_bundle(name), recipe, labels, multi_label, device) for name in recipe.training.teachers]
    return lambda windows: torch.stack([teacher(windows) for teacher in teachers]).mean(0)


class _Teacher:
    def __init__(self, bundle: Bundle, recipe: Recipe, labels: Sequence[str], multi_label: bool, device: str) -> None:
        manifest = bundle.manifest
        if manifest.front_end.hash != recipe.front_end.hash:
            raise EarwitnessError(f"teacher {manifest.name} has another front end than {recipe.name}")
        if manifest.window_frames > recipe.window_frames:
            raise EarwitnessError(
                f"teacher {manifest.name} hears {manifest.window_frames} frames at a time, "
                f"{recipe.name} {recipe.window_frames}"
            )
        if manifest.states:
            raise EarwitnessError(f"teacher {manifest.name} carries states: only one that hears windows can teach")
        for label in labels:
            if label not in manifest.labels:
                raise EarwitnessError(
                    f"teacher {manifest.name} does not know {label!r}: {nearest(label, manifest.labels)}"
                )
        self._columns = [manifest.labels.index(label) for label in labels]
        self._frames, self._hop, self._exclusive = manifest.window_frames, manifest.hop_frames, not multi_label
        on_gpu = device.startswith("cuda") and why_no_cuda(bundle) is None
        self._runtime: Runtime = TorchRuntime(bundle, device) if on_gpu else open_runtime(bundle, "cpu")

    def __call__(self, windows: Tensor) -> Tensor:
        parts = windows.unfold(1, self._frames, self._hop).transpose(2, 3)  # [batch, parts, frames, dims]
        heard: NDArray[np.float32] = np.ascontiguousarray(parts.flatten(0, 1).cpu().numpy())
        scores: Tensor = torch.from_numpy(self._runtime.scores(heard)[:, self._columns])
        scores = scores.unflatten(0, parts.shape[:2]).mean(1)
        if self._exclusive:
            scores = scores / scores.sum(1, keepdim=True).clamp(min=1e-6)
        return scores.to(windows.device)
