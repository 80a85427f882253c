"""The features of `stream.features.catalog` on tensors; what each is says its class there.

A feature here has a class or a function of the same name. Tables, thresholds and what is carried from frame to frame
come from the feature there, so that each rule has one place; the arithmetic is written once more, for tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ..stream.errors import EarwitnessError
from ..stream.features import chroma, cwt, mfcc, pcen, spectral_bands, time_domain
from ..stream.features.catalog import find_feature
from ..stream.features.spec import FrontEndSpec
from ..stream.level import CLIPPED
from .frontend_batch import Sums, TensorBatch, decibels, root

State = dict[str, Tensor]

TINY = float(time_domain.TINY)


class TensorFeature(nn.Module):
    """One named number, or a row of them, for each frame.

    Attributes:
        before, after: samples beside the frame that it looks at.
        dims: values per frame.
        initial: what is carried for each stream, by name, as it is before the first frame.
    """

    def __init__(self, name: str, spec: FrontEndSpec) -> None:
        super().__init__()
        ours = find_feature(name)(spec)
        self.spec, self.before, self.after, self.dims = spec, ours.before, ours.after, ours.dims(spec)
        self.initial = {key: np.asarray(value, np.float32) for key, value in ours.initial.items()}

    def fresh(self, streams: int, device: torch.device) -> State:
        """What is carried of streams that begin, `[streams, ...]`."""
        return {
            name: torch.from_numpy(value).to(device).expand(streams, *value.shape)
            for name, value in self.initial.items()
        }

    def forward(self, batch: TensorBatch, carried: State) -> tuple[Tensor, State]:
        """Values `[streams, frames, dims]`, and what is carried as it was before each frame and after the last one.

        The latter is `[streams, frames + 1, ...]`, so that the next frame may be any, for each stream another.
        """
        return self.compute(batch), {}

    def compute(self, batch: TensorBatch) -> Tensor:
        """The values of a feature that carries nothing."""
        raise NotImplementedError


def tensor_feature(name: str, spec: FrontEndSpec) -> TensorFeature:
    """The feature of that name. Raises EarwitnessError where it is not to be had on tensors."""
    if name in CLASSES:
        return CLASSES[name](name, spec)
    if name in FUNCTIONS:
        return _Plain(name, spec)
    raise EarwitnessError(
        f"front end on tensors: no {name}, whose filter goes from sample to sample: numpy alone has it; on tensors: "
        + ", ".join((*FUNCTIONS, *CLASSES))
    )


class _Plain(TensorFeature):
    """A feature that is a function of the batch alone."""

    def __init__(self, name: str, spec: FrontEndSpec) -> None:
        super().__init__(name, spec)
        self._function = FUNCTIONS[name]

    def compute(self, batch: TensorBatch) -> Tensor:
        return self._function(batch)


# ---- samples


def _envelope(batch: TensorBatch) -> Tensor:
    return batch.frames.abs().amax(-1, keepdim=True)


def _peak(batch: TensorBatch) -> Tensor:
    return batch.frames.gather(-1, batch.frames.abs().argmax(-1, keepdim=True))


def _mean_squares(batch: TensorBatch) -> Tensor:
    return batch.frames.square().mean(-1, keepdim=True)


def _rms(batch: TensorBatch) -> Tensor:
    return root(batch.once(_mean_squares))


def _crest(batch: TensorBatch) -> Tensor:
    return _ratio(_envelope(batch), _rms(batch), batch.once(_mean_squares) >= TINY)


def _crossings(batch: TensorBatch) -> Tensor:
    negative = batch.frames < float(time_domain.BELOW_ZERO)
    return (negative[..., 1:] != negative[..., :-1]).sum(-1, keepdim=True) / batch.spec.frame_length


def _offset(batch: TensorBatch) -> Tensor:
    return batch.frames.mean(-1, keepdim=True)


def _clipping(batch: TensorBatch) -> Tensor:
    clipped = batch.frames.abs() >= float(np.float32(CLIPPED))
    return clipped.sum(-1, keepdim=True) / batch.spec.frame_length


# ---- spectra


def _stft(batch: TensorBatch) -> Tensor:
    return torch.view_as_real(batch.stft).flatten(-2)


def _stft_db(batch: TensorBatch) -> Tensor:
    return decibels(batch.power, batch.spec.amin)


def _weights(batch: TensorBatch) -> Tensor:
    """S[k] of stream/features/spectral.py."""
    return batch.spectrum(batch.spec.descriptor_power)


def _totals(batch: TensorBatch) -> Tensor:
    return batch.once(_weights).sum(-1, keepdim=True)


def _centroid(batch: TensorBatch) -> Tensor:
    moments = (batch.once(_weights) * batch.tables.frequencies).sum(-1, keepdim=True)
    return _share(moments, batch)


def _bandwidth(batch: TensorBatch) -> Tensor:
    order, nyquist = batch.spec.bandwidth_p, batch.spec.sr / 2
    distance = (batch.tables.frequencies / nyquist - batch.once(_centroid) / nyquist).abs()
    moments = _share((distance**order * batch.once(_weights)).sum(-1, keepdim=True), batch)
    return nyquist * (root(moments) if order == 2.0 else moments ** (1.0 / order))


def _rolloff(batch: TensorBatch) -> Tensor:
    sums = batch.once(_weights).cumsum(-1)
    below = (sums < batch.spec.roll_percent * sums[..., -1:]).sum(-1, keepdim=True)
    return batch.tables.frequencies[below.clamp(max=sums.shape[-1] - 1)]


def _flatness(batch: TensorBatch) -> Tensor:
    power = batch.power.clamp(min=batch.spec.amin)
    return (power.log().mean(-1, keepdim=True).exp() / power.mean(-1, keepdim=True)).clamp(max=1.0)


def _entropy(batch: TensorBatch) -> Tensor:
    weights, totals = batch.once(_weights), batch.once(_totals)
    logs = batch.power.clamp(min=TINY).log() * (batch.spec.descriptor_power / 2)
    entropy = totals.clamp(min=TINY).log() - _share((weights * logs).sum(-1, keepdim=True), batch)
    entropy = (entropy / np.log(weights.shape[-1])).clamp(0.0, 1.0)
    return torch.where(totals >= TINY, entropy, 0.0)


def _dominant(batch: TensorBatch) -> Tensor:
    return batch.tables.frequencies[batch.power.argmax(-1, keepdim=True)]


def _band_energy(batch: TensorBatch) -> Tensor:
    bounds = spectral_bands.band_bounds(batch.spec, spectral_bands.band_edges(batch.spec))
    bands = [batch.power[..., begin:end].sum(-1) for begin, end in pairwise(bounds)]
    return torch.stack(bands, -1)


def _contrast(batch: TensorBatch) -> Tensor:
    spec, contrasts = batch.spec, []
    for begin, end, few in spectral_bands.contrast_bins(spec, spec.contrast_bands):
        ordered = batch.magnitude[..., begin:end].sort(-1).values
        peak, valley = ordered[..., -few:].mean(-1), ordered[..., :few].mean(-1)
        contrasts.append(decibels(peak, spec.amin) - decibels(valley, spec.amin))
    return torch.stack(contrasts, -1)


def _share(sums: Tensor, batch: TensorBatch) -> Tensor:
    """`sums` by the sum of the spectrum, 0 where that is empty."""
    return _ratio(sums, batch.once(_totals), batch.once(_totals) >= TINY)


def _ratio(values: Tensor, totals: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, values / torch.where(where, totals, 1.0), 0.0)


class _Flux(TensorFeature):
    def forward(self, batch: TensorBatch, carried: State) -> tuple[Tensor, State]:
        history = torch.cat((carried["magnitude"][:, None], batch.magnitude), 1)
        change = root((history[:, 1:] - history[:, :-1]).square().sum(-1, keepdim=True)) / history.shape[-1]
        first = torch.where(batch.opening[:, None, None], 0.0, change[:, :1])
        return torch.cat((first, change[:, 1:]), 1), {"magnitude": history}


# ---- over filters


class _Mfcc(TensorFeature):
    lifter: Tensor

    def __init__(self, name: str, spec: FrontEndSpec) -> None:
        super().__init__(name, spec)
        self.cosines = Sums(mfcc.cosine_weights(spec.n_mels, spec.n_mfcc).matrix)
        lifter = mfcc.lifter_weights(spec.n_mfcc, spec.lifter) if spec.lifter else np.ones(spec.n_mfcc, np.float32)
        self.register_buffer("lifter", torch.from_numpy(lifter), persistent=False)

    def compute(self, batch: TensorBatch) -> Tensor:
        coefficients: Tensor = self.cosines(batch.log_mel) * self.lifter
        return coefficients


class _Chroma(TensorFeature):
    def __init__(self, name: str, spec: FrontEndSpec) -> None:
        super().__init__(name, spec)
        filters = chroma.chroma_filters(sr=spec.sr, n_fft=spec.n_fft, n_chroma=spec.n_chroma, tuning=spec.tuning)
        self.filters = Sums(filters)

    def compute(self, batch: TensorBatch) -> Tensor:
        energies: Tensor = self.filters(batch.spectrum(self.spec.power))
        strongest = energies.amax(-1, keepdim=True)
        return energies / torch.where(strongest < TINY, 1.0, strongest)


class _Pcen(TensorFeature):
    """The smoother is a scan by doubling: log2(frames) steps of whole tensors instead of one for each frame."""

    def forward(self, batch: TensorBatch, carried: State) -> tuple[Tensor, State]:
        spec, share = self.spec, pcen.smoothing_share(self.spec)
        # m[f] = decay m[f - 1] + x[f] for all f: after the step of width w each holds its last 2 w summands.
        past, width = torch.cat((carried["smoothed"][:, None], share * batch.mel), 1), 1
        while width < past.shape[1]:
            past = torch.cat((past[:, :width], past[:, width:] + (1.0 - share) ** width * past[:, :-width]), 1)
            width *= 2
        normalised = batch.mel * torch.exp(-spec.pcen_gain * torch.log(past[:, 1:] + spec.pcen_eps))
        return _compressed(normalised, spec.pcen_bias, spec.pcen_power), {"smoothed": past}


def _compressed(values: Tensor, bias: float, power: float) -> Tensor:
    """`(values + bias) ** power - bias ** power`, without cancellation where values are small."""
    if power == 0:
        return values.log1p()
    if bias == 0:
        return values.pow(power)
    return torch.expm1(power * torch.log1p(values / bias)) * float(bias**power)


class _Cwt(TensorFeature):
    def __init__(self, name: str, spec: FrontEndSpec) -> None:
        super().__init__(name, spec)
        kernels = cwt.kernels_of(spec)
        first, end = min(kernel.first for kernel in kernels), max(kernel.last + 1 for kernel in kernels)
        matrix = np.stack([kernel.inside(range(first, end)) for kernel in kernels])
        for row, kernel in zip(matrix, kernels, strict=True):
            row[kernel.last - first] += kernel.rest
        self.complex = spec.wavelet == "morlet"
        self.kernels = Sums(np.concatenate((matrix.real, matrix.imag)) if self.complex else matrix.real)
        self._start, self._length = self.before + spec.frame_length // 2 + first, end - first

    def compute(self, batch: TensorBatch) -> Tensor:
        around = batch.around(self.before, self.after)[..., self._start :][..., : self._length]
        parts: Tensor = self.kernels(around)
        if not self.complex:
            return parts
        real, imaginary = parts.chunk(2, -1)
        return root(real.square() + imaginary.square())


FUNCTIONS: dict[str, Callable[[TensorBatch], Tensor]] = {
    "waveform": lambda batch: batch.frames,
    "amplitude_envelope": _envelope,
    "peak": _peak,
    "rms": _rms,
    "crest_factor": _crest,
    "zero_crossing_rate": _crossings,
    "dc_offset": _offset,
    "clipping": _clipping,
    "stft": _stft,
    "stft_magnitude": lambda batch: batch.magnitude,
    "stft_power": lambda batch: batch.power,
    "stft_db": _stft_db,
    "spectral_centroid": _centroid,
    "spectral_bandwidth": _bandwidth,
    "spectral_rolloff": _rolloff,
    "spectral_flatness": _flatness,
    "spectral_entropy": _entropy,
    "dominant_frequency": _dominant,
    "spectral_contrast": _contrast,
    "band_energy": _band_energy,
    "mel": lambda batch: batch.mel,
    "log_mel": lambda batch: batch.log_mel,
}

CLASSES: dict[str, type[TensorFeature]] = {
    "spectral_flux": _Flux,
    "mfcc": _Mfcc,
    "chroma": _Chroma,
    "pcen": _Pcen,
    "cwt": _Cwt,
}
