"""What a network is chosen by while it trains: how it names clips that were kept out, in windows as they come live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...stream.errors import EarwitnessError
from ...stream.features.frontend import silence
from ...stream.windowing import windows_of
from ..data.cache import FeatureCache
from ..data.datasets import Clip
from ..judging.metrics import average_precisions
from .losses import probabilities
from .recipe import Recipe

Forward = Callable[[Tensor], Tensor]

BATCH = 256  # windows in one call


@dataclass
class ValidationClips:
    """Clips and their windows.

    Attributes:
        clips: those that could be read.
        windows: of each, float32 [windows, window_frames, dims], as they come live; for a network with states all
            frames of the clip as one window.
        labels: the model's.
        events: how many of the labels, from the first on, are events: the background's is the last.
    """

    clips: list[Clip]
    windows: list[NDArray[np.float32]] = field(repr=False)
    labels: list[str]
    events: int
    multi_label: bool

    @property
    def truth(self) -> NDArray[np.bool_]:
        """What sounds in each clip, [clips, labels]."""
        return np.array([[label in clip.labels for label in self.labels] for clip in self.clips])


def read_validation(
    recipe: Recipe,
    clips: Sequence[Clip],
    labels: list[str],
    background: str,
    multi_label: bool,
    step_frames: int,
    cache: FeatureCache,
    say: Callable[[str], None],
) -> ValidationClips:
    """The clips' windows; those that cannot be read, or are shorter than a frame, are said and left out.

    Args:
        step_frames: of a network with states, the frames of a step; 0 for one that sees windows.
    """
    spec, kept, windows = recipe.front_end, [], []
    for clip in clips:
        if clip.label == background:
            continue
        try:
            frames = cache.frames(clip, spec, say)
        except EarwitnessError as error:
            say(str(error))
            continue
        length, hop = (step_frames, step_frames) if step_frames else (recipe.window_frames, recipe.hop_frames)
        found = windows_of(frames, length, hop, silence(spec))
        if step_frames:
            found = found.reshape(1, -1, spec.dims)
        if found.size:
            kept.append(clip)
            windows.append(found)
        else:
            say(f"{clip.path} is shorter than a frame")
    return ValidationClips(kept, windows, labels, len(labels) - bool(background), multi_label)


@dataclass
class Accuracy:
    """The share of clips that are named right by the mean of their windows' probabilities; mAP for several labels."""

    clips: ValidationClips

    @property
    def name(self) -> str:
        """As it is reported."""
        return "validation mAP" if self.clips.multi_label else "validation accuracy"

    def __call__(self, network: nn.Module) -> float:
        scores = clip_scores(network, self.clips)[:, : self.clips.events]
        truth = self.clips.truth[:, : self.clips.events]
        if self.clips.multi_label:
            return float(np.nanmean(average_precisions(scores, truth)))
        return float(truth[np.arange(len(truth)), scores.argmax(axis=1)].mean())


@dataclass
class Reconstruction:
    """How well an autoencoder gives the clips back: the mean squared error of what it computes, negative."""

    clips: ValidationClips
    name: str = "validation reconstruction"

    @torch.inference_mode()
    def __call__(self, network: nn.Module) -> float:
        windows, wanted = _joined(self.clips, network), cast(Forward, network.wanted)
        errors = [float((network(part) - wanted(part)).square().mean()) * len(part) for part in windows.split(BATCH)]
        return -sum(errors) / len(windows)


@torch.inference_mode()
def clip_scores(network: nn.Module, clips: ValidationClips) -> NDArray[np.float32]:
    """The mean of the windows' probabilities of each clip, [clips, labels]."""
    if hasattr(network, "hops"):
        device = next(network.parameters()).device
        hops = cast(Forward, network.hops)
        each = [hops(torch.from_numpy(sound).to(device))[0] for sound in clips.windows]
        return np.stack([probabilities(logits, clips.multi_label).mean(0).cpu().numpy() for logits in each])
    logits = torch.cat([network(part).float() for part in _joined(clips, network).split(BATCH)])
    scores = probabilities(logits, clips.multi_label).split([len(windows) for windows in clips.windows])
    return torch.stack([part.mean(0) for part in scores]).cpu().numpy()


def _joined(clips: ValidationClips, network: nn.Module) -> Tensor:
    device = next(network.parameters()).device
    return torch.from_numpy(np.concatenate(clips.windows)).to(device)
