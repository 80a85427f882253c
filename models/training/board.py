"""What TensorBoard shows of a training run: `tensorboard --logdir FOLDER`. Needs the extra `train`.

While it runs: loss, learning rate, norm of the gradients, the figure on the validation part. At the beginning: the
network's graph. At the end, of the validation clips: the confusion matrix, precision-recall curves, spectrograms and
sound of what was misheard, and the last layer's inputs as embeddings for the projector.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...stream.errors import EarwitnessError
from ..data.datasets import read_clip
from ..judging.metrics import confusion_matrix
from .fit import Look
from .validation import ValidationClips, clip_scores

MOST_MISHEARD = 16
MOST_CURVES = 60  # labels with a precision-recall curve of their own
MOST_POINTS = 2000  # windows among the embeddings


class Board:
    """Writes the files of one run.

    Args:
        folder: where they go; what an earlier run left there is removed, but for one that goes on.
        going_on: whether this run goes on from a checkpoint.

    Raises:
        EarwitnessError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, going_on: bool = False) -> None:
        if folder.exists() and not going_on:
            shutil.rmtree(folder)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise EarwitnessError("TensorBoard is not installed: pip install 'earwitness[train]'") from error
        self._writer: Any = SummaryWriter(str(folder))

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def graph(self, network: nn.Module, window: tuple[int, int]) -> None:
        """The network's graph, for windows of that shape."""
        network = network.eval()
        example = torch.zeros(1, *window, device=next(network.parameters()).device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer speaks of Python values that are constants here
            self._writer.add_graph(network, example, use_strict_trace=False)
        network.train()

    def look(self, look: Look) -> None:
        """The figures of a moment."""
        scalars = {"loss": look.loss, "learning rate": look.learning_rate, "gradient norm": look.gradient_norm}
        if look.figure is not None:
            scalars["validation"] = look.figure
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, look.step)

    def judge(self, network: nn.Module, clips: ValidationClips, sr: int, step: int) -> None:
        """What the network makes of the validation clips, for one that gives logits."""
        if not clips.clips:
            return
        scores = clip_scores(network, clips)
        self._curves(scores, clips, step)
        if not clips.multi_label:
            named = scores[:, : clips.events].argmax(axis=1)
            self._confusion(named, clips, step)
            self._misheard(named, scores, clips, sr, step)
        if not hasattr(network, "hops"):
            self._embeddings(network, clips, step)

    def _curves(self, scores: NDArray[np.float32], clips: ValidationClips, step: int) -> None:
        truth = clips.truth
        for k, label in enumerate(clips.labels[: min(clips.events, MOST_CURVES)]):
            self._writer.add_pr_curve(f"precision-recall/{label}", truth[:, k], scores[:, k], step)

    def _confusion(self, named: NDArray[np.int64], clips: ValidationClips, step: int) -> None:
        from matplotlib.figure import Figure

        labels = clips.labels[: clips.events]
        counts = confusion_matrix([clip.label for clip in clips.clips], [labels[k] for k in named], labels)
        size = 3 + 0.2 * len(labels)
        figure = Figure((size, size), layout="tight")
        axes = figure.add_subplot()
        axes.imshow(counts, cmap="Blues")
        axes.set(xlabel="named", ylabel="is", xticks=range(len(labels)), yticks=range(len(labels)))
        axes.set_xticklabels(labels, rotation=90)
        axes.set_yticklabels(labels)
        for row, column in np.argwhere(counts):
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7)
        self._writer.add_figure("confusion", figure, step)

    def _misheard(
        self, named: NDArray[np.int64], scores: NDArray[np.float32], clips: ValidationClips, sr: int, step: int
    ) -> None:
        """The clips that were named wrong with the greatest certainty."""
        wrong = [k for k, clip in enumerate(clips.clips) if clips.labels[named[k]] != clip.label]
        for k in sorted(wrong, key=lambda k: -float(scores[k, named[k]]))[:MOST_MISHEARD]:
            clip = clips.clips[k]
            name = f"misheard/{clip.label} taken for {clips.labels[named[k]]}/{clip.path.name}"
            picture = np.concatenate([*clips.windows[k]]).T[::-1]  # windows one after the other
            low, high = np.percentile(picture, (5, 100))
            picture = np.clip((picture - low) / max(high - low, 1e-6), 0, 1)
            self._writer.add_image(name, picture, step, dataformats="HW")
            self._writer.add_audio(name, torch.from_numpy(read_clip(clip, sr)), step, sample_rate=sr)

    def _embeddings(self, network: nn.Module, clips: ValidationClips, step: int) -> None:
        windows = np.concatenate(clips.windows)
        labels = [clip.label for clip, own in zip(clips.clips, clips.windows, strict=True) for _ in own]
        chosen = np.random.default_rng(0).permutation(len(windows))[:MOST_POINTS]
        device = next(network.parameters()).device
        values = embeddings(network, torch.from_numpy(windows[chosen]).to(device))
        if values is not None:
            self._writer.add_embedding(values, [labels[k] for k in chosen], global_step=step, tag="last layer")


@torch.inference_mode()
def embeddings(network: nn.Module, windows: Tensor) -> Tensor | None:
    """What the network's last linear layer is given, [windows, values] on the CPU; None where it has none."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        return None
    given: list[Tensor] = []
    hook = linear[-1].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].detach().cpu()))
    try:
        for part in windows.split(256):
            network(part)
    finally:
        hook.remove()
    values = torch.cat(given)
    return values if values.ndim == 2 else None
