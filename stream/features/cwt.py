"""The continuous wavelet transform, at the hop rate.

The numbers are those of `pywt.cwt` (PyWavelets 1.9) with the wavelets "cmor1.5-1.0" and "mexh" over the whole signal in
double precision, at the sample in the middle of each frame. There as here a wavelet is tabulated, summed up, read at
steps of one sample for each scale, and differenced: each scale is then one fixed filter. Where a filter's ends weigh
less than `NEGLIGIBLE` of the whole they are cut off, which makes it shorter by a third; what they weighed goes to the
taps that are then the last, so that the filter still hears no constant.

The filters are as long as they hear low. They lie one over the other, all centred on the frame's middle, so the samples
around it are taken once, and matrix products go from the middle outwards with ever fewer filters. BLAS may sum in
another order for another number of rows. Sums are kept in double precision and rounded once, so **a value may differ by
its last bit with the block sizes and the company** (seldom: less than one value in a million), never by more than 1e-6
of the largest of its scale.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .feature import Batch, Feature
from .spec import check_range

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]

LONGEST = 1 << 17
"""Samples of the longest wavelet: it bounds what is kept of each stream, and how long one waits for a frame."""

MOST_VOICES = 48
"""Scales of an octave at most: neighbours are then all but the same."""


class Cwt(Feature):
    """Continuous wavelet transform at the frame's middle, lowest frequency first, `[scales]`, in units of the samples.

    With `wavelet` "morlet" the magnitude of the complex coefficient, at least 0; with "mexican_hat" the coefficient,
    with its sign:

        W(s, t) = 1 / sqrt(s) * integral of x(u) conj(psi((u - t) / s)) du, u, t and s in samples
        morlet:       psi(x) = exp(2 pi i x) exp(-x^2 / 1.5) / sqrt(1.5 pi), s = sr / f
        mexican_hat:  psi(x) = 2 / (sqrt(3) pi^(1/4)) (1 - x^2) exp(-x^2 / 2), s = sr / (4 f)

    discretised as `pywt.cwt(x, s, "cmor1.5-1.0" or "mexh", precision=12)` does it, whose names for the frequencies
    these are. Frequencies f are `cwt_fmax * 2 ** (-i / voices_per_octave)` down to `cwt_fmin`. A sine of amplitude A
    gives about A / 2 * sqrt(s) with "morlet" at its scale. Outside of the signal are zeros.

    A frame waits for what follows its middle: with "morlet" about 5 periods of the lowest frequency, with "mexican_hat"
    1.7 (`latency_samples`, for each scale); all scales of a frame come together, with the lowest.
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self._filters = filters = _filters(spec)
        middle = spec.frame_length // 2
        self.before = max(0, -filters.first - middle)
        self.after = max(0, filters.end - (spec.frame_length - middle))
        # A long wavelet hides the whole frame, a short one lies within it.
        self._start = self.before + middle + filters.first

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        check_range("voices_per_octave", spec.voices_per_octave, 1, MOST_VOICES)
        lowest = _WAVELETS[spec.wavelet].lowest(spec.sr)
        check_range("cwt_fmax", spec.cwt_fmax, min(lowest, spec.sr / 2), spec.sr / 2, "half the sample rate")
        why = f"up to cwt_fmax, and a wavelet of at most {LONGEST} samples"
        check_range("cwt_fmin", spec.cwt_fmin, lowest, spec.cwt_fmax, why)

    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        return tuple(f"{hz:.5g} Hz" for hz in frequencies(spec))

    def compute(self, batch: Batch) -> Samples:
        around = batch.around(self.before, self.after)[:, :, self._start : self._start + self._filters.length]
        parts = self._filters.apply(around)
        if self.spec.wavelet == "mexican_hat":
            return parts.astype(np.float32)
        parts *= parts
        squares = parts[:, 0::2] + parts[:, 1::2]
        return np.sqrt(squares, out=squares).astype(np.float32)


_ROWS = 128


def wavelet_coefficients(spec: FrontEndSpec, samples: Samples) -> NDArray[np.complex64]:
    """The complex coefficients of one whole signal, whose magnitudes (or real parts, of the Mexican hat) `cwt` gives.

    Args:
        spec: a front end; `feature` may be any.
        samples: float32 `[samples]`, mono at `spec.sr`.

    Returns:
        complex64 `[frames, scales]`, lowest frequency first, `spec.frames_of(len(samples))` frames.
    """
    Cwt.check(spec)
    filters, count, middle = _filters(spec), spec.frames_of(len(samples)), spec.frame_length // 2
    if spec.center:
        samples = np.pad(samples, spec.lead, mode=spec.pad_mode)
    padded = np.pad(samples, (max(0, -filters.first), max(0, filters.end)))
    first = padded[middle + filters.first + max(0, -filters.first) :]
    step = first.strides[0]
    around = np.lib.stride_tricks.as_strided(
        first, (1, count, filters.length), (0, step * spec.hop_length, step), writeable=False
    )
    parts = np.concatenate([filters.apply(around[:, begin : begin + _ROWS]) for begin in range(0, max(count, 1), _ROWS)])
    complete = parts if spec.wavelet == "mexican_hat" else parts.view(np.complex128)
    return complete.astype(np.complex64)


def frequencies(spec: FrontEndSpec) -> NDArray[np.float64]:
    """Centre frequencies of the scales in Hz, ascending, `[scales]`.

    >>> from .spec import FrontEndSpec
    >>> frequencies(FrontEndSpec(cwt_fmin=1000.0, cwt_fmax=4000.0, voices_per_octave=1)).tolist()
    [1000.0, 2000.0, 4000.0]
    """
    # A lowest frequency that is a whole number of voices away counts, whatever the logarithm's last bit.
    voices = math.floor(spec.voices_per_octave * math.log2(spec.cwt_fmax / spec.cwt_fmin) + 1e-9)
    return spec.cwt_fmax * 2.0 ** (-np.arange(voices, -1, -1) / spec.voices_per_octave)


def scales(spec: FrontEndSpec) -> NDArray[np.float64]:
    """The scales of `frequencies` in samples, as `pywt.cwt` takes them, descending, `[scales]`."""
    return np.asarray(_WAVELETS[spec.wavelet].centre * spec.sr / frequencies(spec))


def latency_samples(spec: FrontEndSpec) -> NDArray[np.intp]:
    """How many samples after a frame's middle each scale looks at, `[scales]`: its own latency, without the framing.

    A frame is out when the slowest has them (`FrontEndSpec.latency_samples` counts from the frame's beginning on).
    """
    return np.array([kernel.last for kernel in _kernels(spec)], np.intp)


class _Wavelet(NamedTuple):
    """A mother wavelet as PyWavelets has it.

    Attributes:
        centre: the frequency that it counts as, in periods for each unit of its time.
        psi: its values, float64 or complex128.
    """

    centre: float
    psi: NDArray[np.float64] | NDArray[np.complex128]

    def lowest(self, sr: int) -> float:
        """The lowest frequency whose wavelet is no longer than `LONGEST`, rounded up to 0.001 Hz."""
        return math.ceil(1000.0 * self.centre * sr * (_TIMES[-1] - _TIMES[0]) / (LONGEST - 1)) / 1000.0


# pywt.ContinuousWavelet.wavefun(level=12): -8..8 in 4,096 steps.
_TIMES = np.linspace(-8.0, 8.0, 1 << 12)
_WAVELETS = {
    "morlet": _Wavelet(1.0, np.exp(2j * np.pi * _TIMES - _TIMES**2 / 1.5) / np.sqrt(1.5 * np.pi)),
    # Its spectrum peaks at 0.2251; 0.25 is what pywt.central_frequency finds in its table, and where, divided by the
    # square root of the scale as here, a sine is heard most (0.2516).
    "mexican_hat": _Wavelet(
        0.25, 2.0 / (math.sqrt(3.0) * math.pi**0.25) * (1.0 - _TIMES**2) * np.exp(-(_TIMES**2) / 2.0)
    ),
}

NEGLIGIBLE = 1e-10
"""Share of the sum of a filter's magnitudes that is cut off at each end."""


class _Kernel(NamedTuple):
    """One scale's filter: the coefficient at sample t is `sum(taps * x[t + first : t + end]) + rest * x[t + last]`.

    Attributes:
        first, taps: see above.
        last, rest: one tap by itself, far behind the others. The Morlet wavelet's integral is not 0 but 4e-7; as its
            table ends, all of that comes back at once.
    """

    first: int
    taps: NDArray[np.complex128]
    last: int
    rest: complex

    @property
    def end(self) -> int:
        return self.first + len(self.taps)


def _kernel(wavelet: _Wavelet, scale: float) -> _Kernel:
    """`pywt.cwt` at one scale, as a filter; the same operations in the same order, so that the same steps are read."""
    step = _TIMES[1] - _TIMES[0]
    summed = np.conj(np.cumsum(wavelet.psi) * step)
    places = (np.arange(scale * (_TIMES[-1] - _TIMES[0]) + 1) / (scale * step)).astype(int)
    read = summed[places[places < len(summed)]]
    # Convolution with the reversed table is correlation with the table itself.
    taps = math.sqrt(scale) * np.diff(read, prepend=0.0, append=0.0).astype(np.complex128)
    first, last = -((len(read) + 1) // 2), len(read) // 2
    weight = np.cumsum(np.abs(taps[:-1]))
    begin = int(np.searchsorted(weight, NEGLIGIBLE * weight[-1]))
    end = int(np.searchsorted(weight, (1.0 - NEGLIGIBLE) * weight[-1])) + 1
    kept = taps[begin:end].copy()
    kept[0] += taps[:begin].sum()
    kept[-1] += taps[end:-1].sum()
    rest = complex(taps[-1])
    if abs(rest) < NEGLIGIBLE * weight[-1]:
        kept[-1] += rest
        last, rest = first + end - 1, 0j
    return _Kernel(first + begin, kept, last, rest)


def _kernels(spec: FrontEndSpec) -> list[_Kernel]:
    return [_kernel(_WAVELETS[spec.wavelet], scale) for scale in scales(spec).tolist()]


class _Filters:
    """All filters of a spec, cut into rings around the frame's middle that hold few zeros.

    Attributes:
        first, end: the samples of all filters, from the frame's middle on.
        length: how many these are.
    """

    def __init__(self, kernels: list[_Kernel], parts: int) -> None:
        self.first = min(kernel.first for kernel in kernels)
        self.end = max(max(kernel.end, kernel.last + 1) for kernel in kernels)
        self.length = self.end - self.first
        self._outputs = parts * len(kernels)
        matrix = np.zeros((self.length, self._outputs))
        rest = np.zeros_like(matrix)
        for place, kernel in enumerate(kernels):
            columns = slice(parts * place, parts * (place + 1))
            under = matrix[kernel.first - self.first : kernel.end - self.first]
            under[:, columns] = kernel.taps.view(np.float64).reshape(-1, 2)[:, :parts]
            rest[kernel.last - self.first, columns] = (kernel.rest.real, kernel.rest.imag)[:parts]
        # From the middle, where all filters are, outwards to where only the longest are, on both sides.
        self._rings: list[_Ring] = []
        inner = range(-self.first, -self.first)
        for place in range(len(kernels), 0, -_TOGETHER):
            group = kernels[max(0, place - _TOGETHER) : place]
            low = min(inner.start, *(kernel.first - self.first for kernel in group))
            high = max(inner.stop, *(kernel.end - self.first for kernel in group))
            samples = np.r_[low : inner.start, inner.stop : high]
            for start in range(0, len(samples), _DEEP):
                some = samples[start : start + _DEEP]
                self._rings.append(_Ring(_runs(some), matrix[some, : parts * place]))
            inner = range(low, high)
        alone = np.flatnonzero(rest.any(axis=1))
        if len(alone):
            self._rings.append(_Ring(_runs(alone), rest[alone]))
        self._deepest = max(len(ring.weights) for ring in self._rings)

    def apply(self, around: Samples) -> NDArray[np.float64]:
        """The outputs of `around` `[streams, frames, length]`, `[streams * frames, outputs]`.

        Args:
            around: samples from `first` to `end` around each frame's middle.
        """
        streams, count, _ = around.shape
        rows = streams * count
        results = np.empty((rows, self._outputs))
        samples, product = np.empty(rows * self._deepest), np.empty(rows * self._outputs)
        for place, (runs, weights) in enumerate(self._rings):
            depth, outputs = weights.shape
            ring = samples[: rows * depth].reshape(streams, count, depth)
            at = 0
            for begin, end in runs:
                ring[..., at : (at := at + end - begin)] = around[..., begin:end]
            sums = product[: rows * outputs].reshape(rows, outputs) if place else results
            np.matmul(ring.reshape(rows, depth), weights, out=sums)
            if place:
                results[:, :outputs] += sums
        return results


class _Ring(NamedTuple):
    """Some samples around the frame's middle and the filters there.

    Attributes:
        runs: `[begin, end)` of the samples.
        weights: of the longest filters, `[samples, outputs]`.
    """

    runs: list[tuple[int, int]]
    weights: NDArray[np.float64]


def _runs(places: NDArray[np.intp]) -> list[tuple[int, int]]:
    """`[begin, end)` of each run of consecutive numbers."""
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)]


_TOGETHER = 8
"""Scales that are taken for equally long: fewer products, more zeros in them."""

_DEEP = 512
"""Samples of one product at most: they stay in the cache, and OpenBLAS is faster on small matrices."""


@lru_cache(maxsize=8)
def _filters_of(wavelet: str, sr: int, fmin: float, fmax: float, voices: int) -> _Filters:
    from .spec import FrontEndSpec

    spec = FrontEndSpec(feature="stft", wavelet=wavelet, sr=sr, cwt_fmin=fmin, cwt_fmax=fmax, voices_per_octave=voices)
    return _Filters(_kernels(spec), 1 if wavelet == "mexican_hat" else 2)


def _filters(spec: FrontEndSpec) -> _Filters:
    """The filters of a spec, made once."""
    return _filters_of(spec.wavelet, spec.sr, spec.cwt_fmin, spec.cwt_fmax, spec.voices_per_octave)


FEATURES: dict[str, type[Feature]] = {"cwt": Cwt}
