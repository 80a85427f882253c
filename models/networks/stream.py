"""Ours for live use: a causal network that carries its state from hop to hop of each stream.

A windowed network computes every window afresh, although most of it was in the window before. This one takes each frame
once: a decision every hop (100 ms) costs the arithmetic of a hop, and has seconds of sound behind it.

- **Level.** Decibels are taken relative to the running mean power, which rises at once and fades in `level_hops`, so
  that a microphone's gain does not matter; the level itself goes to the last layer as one number.
- **Front.** Three convolutions bring a hop, and the few frames behind it that their kernels reach, to one column of
  channels by bands. What is carried for them is the tail of the input, which is smaller than what they make of it.
- **Body.** Convolutions over this column and the `REACH` before it, `depth` with a way around them and one that halves
  the bands, then one layer over all bands: the features.
- **Memory.** Features are pooled over the past by means that fade in `memory_hops`, each hop weighted by a gate that
  learns to open where there is something to hear, and by a maximum that fades. As the means are divided by the sum of
  their weights they are means from the first hop on, and there is nothing that a long stream could pile up. A hop
  counts for something there even where the gate is shut: what is over shall be forgotten in silence too.

Offline (`hops`, `forward`) and hop by hop (`step`) do the same arithmetic: what is a running sum there is a product
with a triangular matrix here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn.functional import pad

from ...stream.errors import EarwitnessError
from .registry import Dropout, NetworkOptions

NEPERS = math.log(10.0) / 10.0  # decibels of power as natural logarithms
RANGE = 60.0 * NEPERS  # what lies deeper below the running level is silence, which is 0
FAINTEST = 1e-8  # power: what is fainter stays so, beside any other sound
KERNEL = 5  # of the first convolution, in frames and bands
SHUT = 0.25  # what a hop counts for at least, so that the past fades in silence too
REACH = 2  # earlier columns that a convolution of the body sees


class Options(NetworkOptions, frozen=True, kw_only=True):
    """See `Stream`."""

    hop_frames: Annotated[int, Meta(ge=1, le=1000, description="frames from one decision to the next")] = 10
    channels: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        Meta(
            min_length=5, max_length=5,
            description="of the three convolutions in front, of the columns behind the body, of the features",
        ),
    ] = (16, 32, 64, 96, 128)  # fmt: skip
    depth: Annotated[int, Meta(ge=0, description="convolutions of the body that have a way around them")] = 1
    memory_hops: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        Meta(min_length=1, description="in how many hops each mean of the past fades to 1/e"),
    ] = (4, 12)
    level_hops: Annotated[int, Meta(ge=1, description="in how many hops the running level fades to 1/e")] = 6
    dropout: Dropout = 0.3


class Residual(nn.Module):
    """A convolution over a column and the `REACH` before it, and a way around it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _convolution((REACH + 1) * channels, channels, (1, 3), (1, 1))
        self.conv_norm: nn.Module = nn.BatchNorm2d(channels)

    def forward(self, reached: Tensor, newest: Tensor) -> Tensor:
        """Columns and what they reach (see `_reached`), and these columns alone -> as many."""
        return torch.relu(self.conv_norm(self.conv(reached)) + newest)


class Stream(nn.Module):
    """Logits of every hop: offline, or as it comes.

    Args:
        classes: how many logits.
        dims: values of a frame, in decibels (log-mels with `log = "db"`).
        options: see `Options`.

    Attributes:
        hop_frames: frames of a hop.
        detection: settings of `DetectSettings` that its scores want.
        state_size: how many numbers a stream carries from hop to hop; all are 0 at first.
    """

    fading: Tensor
    spread: Tensor
    detection: Mapping[str, float] = {"smooth_windows": 5, "context_s": 2.0}

    def __init__(self, classes: int, dims: int, options: Options) -> None:
        super().__init__()
        first, second, column, deep, features = options.channels
        self.hop_frames, self._dims = options.hop_frames, dims
        halving = 2 if self.hop_frames % 2 == 0 else 1  # of the frames of a hop; the column takes what is left
        steps = self.hop_frames // halving
        self._tail = KERNEL + halving  # frames that the first two convolutions reach back, beyond the hop
        self._channels, self._bands = column, -(-dims // 8)  # of a column
        self.first = _convolution(1, first, (KERNEL, KERNEL), (halving, 2))
        self.first_norm: nn.Module = nn.BatchNorm2d(first)
        self.second = _convolution(first, second, (3, 3), (1, 2))
        self.second_norm: nn.Module = nn.BatchNorm2d(second)
        self.column = _convolution(second, column, (steps, 3), (steps, 2))
        self.column_norm: nn.Module = nn.BatchNorm2d(column)
        self.body = nn.ModuleList(Residual(column) for _ in range(options.depth))
        self.deep = _convolution((REACH + 1) * column, deep, (1, 3), (1, 2))
        self.deep_norm: nn.Module = nn.BatchNorm2d(deep)
        self.summary = nn.Linear(deep * -(-self._bands // 2), features, bias=False)
        self.summary_norm: nn.Module = nn.BatchNorm1d(features)
        self.gates = nn.Linear(features, len(options.memory_hops))
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear((len(options.memory_hops) + 1) * features + 1, classes)
        self._level_decay = math.exp(-1 / options.level_hops)
        self._decays = [math.exp(-1 / hops) for hops in options.memory_hops]
        self._peak_decay = max(self._decays)
        # The state: what fades (sums of powers and of their weights, of gated features and of their weights, maxima),
        # then tails (the input, columns before each convolution).
        means = len(self._decays) * features
        self._fading = [1, 1, means, means, features]
        by_mean = [decay for decay in self._decays for _ in range(features)]
        fading = [self._level_decay] * 2 + by_mean * 2 + [self._peak_decay] * features
        self.register_buffer("fading", torch.tensor(fading))
        self.register_buffer("spread", torch.eye(len(self._decays)).repeat_interleave(features, dim=1))
        earlier = [column * self._bands] * REACH * (options.depth + 1)
        self._parts = [len(fading), self._tail * dims, *earlier]
        self.state_size = sum(self._parts)

    def forward(self, x: Tensor) -> Tensor:
        """One decision on a whole sound, which is the mean over its hops.

        Shape: [batch, frames, dims] -> logits [batch, classes]; `hop_frames` or more frames.
        """
        return self.hops(x).mean(dim=1)

    def hops(self, x: Tensor) -> Tensor:
        """The decision at the end of each hop of sounds that begin here. Frames behind the last whole hop are left out.

        Shape: [batch, frames, dims] -> logits [batch, frames // hop_frames, classes].
        """
        hops = x.shape[1] // self.hop_frames
        with torch.autocast(x.device.type, enabled=False):  # half precision has not the range of powers
            x = x[:, : hops * self.hop_frames].float() * NEPERS
            power = torch.exp(x).mean(2).unflatten(1, (hops, self.hop_frames)).mean(2, keepdim=True)
            count = _faded_sums(torch.ones_like(power), self._level_decay)
            level = _level(_faded_sums(power, self._level_decay) / count)
            x = _relative(x, level.repeat_interleave(self.hop_frames, dim=1))
        columns = self._columns(pad(x, (0, 0, self._tail, 0)).unsqueeze(1))
        for residual in self.body:
            columns = residual(_reached(columns), columns)
        maps = self._deep(_reached(columns))
        features = self._features(maps.transpose(1, 2).flatten(0, 1))
        with torch.autocast(x.device.type, enabled=False):
            features = features.float().unflatten(0, (-1, hops))
            gates = torch.sigmoid(self.gates(features))
            means = [
                _faded_sums(gate * features, decay) / _faded_sums(gate.clamp_min(SHUT), decay)
                for gate, decay in zip(gates.split(1, dim=2), self._decays, strict=True)
            ]
            return self._decide(torch.cat(means, dim=2), _faded_maxima(features, self._peak_decay), level)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The next decision of streams, one hop of each, and their states behind it. In evaluation mode.

        Streams need not be in step with each other: a row takes the state of its stream, wherever that is.

        Shape: [batch, hop_frames, dims], [batch, state_size] -> logits [batch, classes], [batch, state_size].
        """
        faded, tail, *parts = state.split(self._parts, dim=1)
        earlier = [parts[first : first + REACH] for first in range(0, len(parts), REACH)]
        power, count, sums, weights, maxima = (faded * self.fading).split(self._fading, dim=1)
        x = x.flatten(1) * NEPERS
        power, count = power + torch.exp(x).mean(1, keepdim=True), count + 1.0
        level = _level(power / count)
        heard = torch.cat([tail, _relative(x, level)], dim=1)
        column = self._columns(heard.reshape(-1, 1, self._tail + self.hop_frames, self._dims))
        kept = [heard[:, -self._tail * self._dims :]]
        for residual, before in zip(self.body, earlier, strict=False):
            columns = [*before, column.flatten(1)]
            kept += columns[1:]
            column = residual(self._joined(columns), column)
        columns = [*earlier[-1], column.flatten(1)]
        kept += columns[1:]
        features = self._features(self._deep(self._joined(columns)))
        gates = torch.sigmoid(self.gates(features)) @ self.spread
        sums = sums + gates * torch.cat([features] * len(self._decays), dim=1)
        weights = weights + gates.clamp_min(SHUT)
        maxima = torch.maximum(maxima, features)
        logits = self._decide(sums / weights, maxima, level)
        return logits, torch.cat([power, count, sums, weights, maxima, *kept], dim=1)

    def _columns(self, x: Tensor) -> Tensor:
        """Relative levels [batch, 1, tail + frames, dims] -> columns [batch, channels, hops, bands]."""
        maps = torch.relu(self.first_norm(self.first(x)))
        maps = torch.relu(self.second_norm(self.second(maps)))
        return torch.relu(self.column_norm(self.column(maps)))

    def _deep(self, columns: Tensor) -> Tensor:
        """Columns of the body and what they reach -> maps [batch, channels, hops, bands / 2]."""
        return torch.relu(self.deep_norm(self.deep(columns)))

    def _features(self, maps: Tensor) -> Tensor:
        """Maps of single hops [batch, ...] -> features [batch, features]."""
        return torch.relu(self.summary_norm(self.summary(maps.flatten(1))))

    def _decide(self, means: Tensor, maxima: Tensor, level: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(torch.cat([means, maxima, level / 10.0], dim=-1)))
        return logits

    def _joined(self, columns: list[Tensor]) -> Tensor:
        """A column and the `REACH` before it, the newest last, each in a row: what `_reached` makes of one hop."""
        return torch.cat(columns, dim=1).reshape(-1, len(columns) * self._channels, 1, self._bands)


def build(shape: tuple[int, int], classes: int, options: Options) -> Stream:
    """See `registry.build_network`. The window of a stateful bundle is a hop; in training it is as long as one likes.

    Raises:
        EarwitnessError: the window is shorter than a hop.
    """
    if shape[0] < options.hop_frames:
        raise EarwitnessError(f"network stream: a window of {shape[0]} frames; hop_frames is {options.hop_frames}")
    return Stream(classes, shape[1], options)


def _convolution(inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int]) -> nn.Module:
    """Over frames and bands; the bands are padded, the frames are not."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=(0, kernel[1] // 2), bias=False)


def _level(power: Tensor) -> Tensor:
    """Level of a mean power, in its natural logarithm, as all levels here."""
    return torch.log(power + FAINTEST)


def _relative(x: Tensor, level: Tensor) -> Tensor:
    """Levels of frames above the floor of what is heard beside `level`, which is broadcast."""
    return torch.relu(x - (level - RANGE))


def _reached(columns: Tensor) -> Tensor:
    """Columns [batch, channels, hops, bands] and, as further channels in front, the `REACH` before each."""
    padded, hops = pad(columns, (0, 0, REACH, 0)), columns.shape[2]
    return torch.cat([padded[:, :, first : first + hops] for first in range(REACH + 1)], dim=1)


def _faded_sums(x: Tensor, decay: float) -> Tensor:
    """The sum of this hop and, fading, all before it: s[h] = decay * s[h - 1] + x[h]. Shape [batch, hops, values]."""
    ages = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
    ages = ages.unsqueeze(1) - ages
    return torch.where(ages >= 0, decay ** ages.clamp_min(0), 0.0) @ x


def _faded_maxima(x: Tensor, decay: float) -> Tensor:
    """m[h] = max(decay * m[h - 1], x[h]) of values of 0 and more, in steps that double. Shape [batch, hops, values]."""
    reach = 1
    while reach < x.shape[1]:
        x = torch.maximum(x, pad(x[:, :-reach], (0, 0, reach, 0)) * decay**reach)
        reach *= 2
    return x
