"""What all features on tensors share: frames of many streams, their spectra, and fixed weighted sums.

`stream.features.feature.Batch` and `stream.features.weighing.Weights` for torch: the same names, the same numbers, and
window and filters made by the same functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from ..stream.features.catalog import find_feature
from ..stream.features.feature import bin_frequencies
from ..stream.features.mel import Mel, mel_weights
from ..stream.features.mfcc import Mfcc
from ..stream.features.spec import FrontEndSpec
from ..stream.features.windows import analysis_window

LONGEST_BAG = 64
"""Numbers that are summed one after another."""

DB_PER_NEPER = float(10.0 / np.log(10.0))


class Sums(nn.Module):
    """`weighing.Weights` on tensors: `values @ matrix.T`, zeros left out, gradients included.

    Each sum is taken in float32 in a fixed order, as bags of weighted rows and not as a matrix product. So TF32, which
    torch may use for products (10 bits of mantissa, an error of 1e-3), and autocast do not touch it, and a frame's sums
    do not depend on how many frames share the call.

    Args:
        matrix: `[out, values]`, each row with a weight that is not 0.
    """

    places: Tensor
    weights: Tensor
    bags: Tensor
    starts: Tensor

    def __init__(self, matrix: NDArray[np.floating]) -> None:
        super().__init__()
        self.outputs = len(matrix)
        outputs, places = np.nonzero(matrix)
        first = np.searchsorted(outputs, np.arange(len(matrix)))
        # Long sums are sums of short ones: a thousand numbers one after another would lose 1e-6 of the largest.
        bags = np.flatnonzero((np.arange(len(outputs)) - first[outputs]) % LONGEST_BAG == 0)
        tables = {"places": places, "bags": bags, "starts": np.searchsorted(outputs[bags], np.arange(len(matrix)))}
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table), persistent=False)
        weights = np.asarray(matrix[outputs, places], np.float32)
        self.register_buffer("weights", torch.from_numpy(weights), persistent=False)
        self._twice = len(bags) > len(matrix)

    def forward(self, values: Tensor) -> Tensor:
        """The sums of each row, `[..., values]` -> `[..., out]`."""
        rows = values.reshape(-1, values.shape[-1]).T.contiguous()
        sums = embedding_bag(self.places, rows, self.bags, mode="sum", per_sample_weights=self.weights)
        if self._twice:
            every = torch.arange(len(self.bags), device=sums.device)
            sums = embedding_bag(every, sums, self.starts, mode="sum")
        return sums.T.reshape(*values.shape[:-1], self.outputs)


class Tables(nn.Module):
    """The window and the filters of a spec, as buffers that travel with the module to its device."""

    window: Tensor
    frequencies: Tensor

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__()
        window = np.zeros(spec.frame_length, np.float32)
        window[spec.window_offset :][: spec.win_length] = analysis_window(spec.window, spec.win_length)
        self.register_buffer("window", torch.from_numpy(window), persistent=False)
        self.register_buffer("frequencies", torch.from_numpy(bin_frequencies(spec)), persistent=False)
        over_mel = any(issubclass(find_feature(name), (Mel, Mfcc)) for name in spec.features)
        self.mel = Sums(mel_weights(spec).matrix) if over_mel else None


class TensorBatch:
    """The same number of consecutive frames of one or more streams, and what is computed of them, each thing once.

    Attributes:
        spec, tables: the front end.
        samples: `[streams, n]`, from `before` samples before the first frame on.
        before: see above: frame f of each stream is `samples[:, before + f * hop_length :][:, :frame_length]`.
        count: frames of each stream, at least 1.
        opening: `[streams]`, whether these are the stream's first frames.
    """

    def __init__(
        self, spec: FrontEndSpec, tables: Tables, samples: Tensor, before: int, count: int, opening: Tensor
    ) -> None:
        self.spec, self.tables = spec, tables
        self.samples, self.before, self.count, self.opening = samples, before, count, opening
        self._made: dict[Callable[[TensorBatch], Tensor], Tensor] = {}

    def once(self, function: Callable[[TensorBatch], Tensor]) -> Tensor:
        """What `function` makes of this batch, computed the first time only."""
        if function not in self._made:
            self._made[function] = function(self)
        return self._made[function]

    def around(self, before: int = 0, after: int = 0) -> Tensor:
        """Each frame with so many samples before and after it, a view `[streams, frames, samples]`."""
        length = before + self.spec.frame_length + after
        end = (self.count - 1) * self.spec.hop_length + length
        return self.samples[:, self.before - before :][:, :end].unfold(1, length, self.spec.hop_length)

    @cached_property
    def frames(self) -> Tensor:
        """The samples of each frame, `[streams, frames, frame_length]`."""
        return self.around()

    @cached_property
    def stft(self) -> Tensor:
        """Complex spectrum under the window, complex64 `[streams, frames, 1 + n_fft // 2]`."""
        frames = self.frames
        if self.spec.remove_dc:
            frames = frames - frames.mean(-1, keepdim=True)
        if self.spec.preemphasis:
            frames = frames - self.spec.preemphasis * torch.cat((frames[..., :1], frames[..., :-1]), -1)
        spectra: Tensor = torch.fft.rfft(frames * self.tables.window, n=self.spec.n_fft)
        return spectra

    @cached_property
    def power(self) -> Tensor:
        """Squared magnitudes of `stft`, `[streams, frames, bins]`."""
        return self.stft.real.square() + self.stft.imag.square()

    @cached_property
    def magnitude(self) -> Tensor:
        """Magnitudes of `stft`, `[streams, frames, bins]`; their gradient is 0 where they are."""
        return root(self.power)

    def spectrum(self, exponent: float) -> Tensor:
        """Magnitudes to the power of `exponent`, `[streams, frames, bins]`."""
        if exponent == 2.0:
            return self.power
        return self.magnitude if exponent == 1.0 else torch.pow(self.magnitude, exponent)

    @cached_property
    def mel(self) -> Tensor:
        """Mel spectrum, `[streams, frames, n_mels]`."""
        assert self.tables.mel is not None
        sums: Tensor = self.tables.mel(self.spectrum(self.spec.power))
        return sums

    @cached_property
    def log_mel(self) -> Tensor:
        """`mel` on the logarithmic scale of the spec, `[streams, frames, n_mels]`."""
        spec = self.spec
        if spec.log == "db":
            return decibels(self.mel, spec.amin)
        return torch.log(self.mel + spec.log_offset if spec.log_offset else self.mel.clamp(min=spec.amin))


def decibels(power: Tensor, amin: float) -> Tensor:
    """`10 * log10(max(power, amin))`."""
    return torch.log(power.clamp(min=amin)) * DB_PER_NEPER


def root(squares: Tensor) -> Tensor:
    """Square roots whose gradient is 0, not infinite, where they are 0."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)
