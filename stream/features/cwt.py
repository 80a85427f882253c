"""The continuous wavelet transform, at the hop rate.

The numbers are those of `pywt.cwt` (PyWavelets 1.9) with the wavelets "cmor1.5-1.0" and "mexh" over the whole signal in
double precision, at the sample in the middle of each frame. There as here a wavelet is tabulated, summed up, read at
steps of one sample for each scale, and differenced: each scale is then one fixed filter. Where a filter's ends weigh
less than `NEGLIGIBLE` of the whole they are cut off, which makes it shorter by a third; what they weighed goes to the
taps that are then the last, so that the filter still hears no constant.

The filters are as long as they hear low. They lie one over the other, all centred on the frame's middle, and are cut
into pieces of a hop; one matrix product for each piece, with as many filters as reach so far, takes all frames. Sums
are in double precision and rounded once: in single precision a band 60 dB below the rest would be rounding noise.

**Bits**: BLAS may sum in another order for another number of rows, so a value is promised to within 1e-6 of the largest
of its scale whatever the block sizes and the company, not to the bit. Products are shaped so that OpenBLAS keeps one
order (no more than 256 samples deep, at least 2 rows and 4 columns); on the machines tried the bits were the same.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

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
    gives about A / 2 * sqrt(s) with "morlet" at its scale, times sin(x) / x with x = pi f / sr, since the wavelet is
    averaged over each sample: 0.9 dB less at sr / 4. Outside of the signal are zeros.

    A frame waits for what follows its middle: with "morlet" 8 periods of the lowest frequency, with "mexican_hat" 1.8
    (`latency_samples`, for each scale); all scales of a frame come together, with the lowest.
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self._filters = filters = _filters(spec)
        self._room = _Room()
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
        parts = self._filters.apply(
            batch.samples[:, batch.before - self.before + self._start :], batch.count, self._room
        )
        if self.spec.wavelet == "mexican_hat":
            return parts.astype(np.float32)
        parts *= parts
        squares = parts[:, 0::2] + parts[:, 1::2]
        return np.sqrt(squares, out=squares).astype(np.float32)


def wavelet_coefficients(spec: FrontEndSpec, samples: Samples) -> NDArray[np.complex64]:
    """The complex coefficients of one whole signal, whose magnitudes (or real parts, of the Mexican hat) `cwt` gives.

    Args:
        spec: a front end; `feature` may be any.
        samples: float32 `[samples]`, mono at `spec.sr`.

    Returns:
        complex64 `[frames, scales]`, lowest frequency first, `spec.frames_of(len(samples))` frames.
    """
    Cwt.check(spec)
    filters, count, middle, room = _filters(spec), spec.frames_of(len(samples)), spec.frame_length // 2, _Room()
    if spec.center:
        samples = np.pad(samples, spec.lead, mode=spec.pad_mode)
    padded = np.pad(samples, (max(0, -filters.first), max(0, filters.end)))
    first = padded[None, middle + filters.first + max(0, -filters.first) :]
    parts = np.concatenate(
        [
            filters.apply(first[:, begin * spec.hop_length :], min(_ROWS, count - begin), room)
            for begin in range(0, count, _ROWS)
        ]
        or [filters.apply(first, 0, room)]
    )
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
    return np.array([kernel.last for kernel in kernels_of(spec)], np.intp)


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
        return math.ceil(1000.0 * self.centre * sr * _SUPPORT / (LONGEST - 1)) / 1000.0


# pywt.ContinuousWavelet.wavefun(level=12): -8..8 in 4,096 steps.
_SUPPORT = 16.0
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

    def inside(self, span: range) -> NDArray[np.complex128]:
        """The taps of consecutive samples, zeros where there is none."""
        taps = np.zeros(len(span), np.complex128)
        low, high = max(span.start, self.first), min(span.stop, self.end)
        if low < high:
            taps[low - span.start : high - span.start] = self.taps[low - self.first : high - self.first]
        return taps


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


def kernels_of(spec: FrontEndSpec) -> list[_Kernel]:
    return [_kernel(_WAVELETS[spec.wavelet], scale) for scale in scales(spec).tolist()]


class _Room:
    """Memory that is used again: new pages for each call would take as long as the sums."""

    def __init__(self) -> None:
        self._values = np.empty(0)

    def take(self, *shape: int) -> NDArray[np.float64]:
        """An array of that shape with any contents, until the next call."""
        size = math.prod(shape)
        if size > len(self._values):
            self._values = np.empty(size)
        return self._values[:size].reshape(shape)


class _Piece(NamedTuple):
    """A stretch of the filters that lies within one hop.

    Attributes:
        hop: which hop it is, counted from the beginning of the longest filter.
        samples: which samples of it.
        weights: of the longest filters, those that reach so far, `[samples, outputs]`.
    """

    hop: int
    samples: slice
    weights: NDArray[np.float64]


class _Filters:
    """All filters of a spec, longest first, cut into pieces of a hop and less.

    Samples are laid out hop by hop. A piece of the filters then meets the samples of all frames as one matrix that lies
    there already: nothing is copied for the overlap of the frames, and few zeros are multiplied.

    Attributes:
        first, end: the samples of all filters, from the frame's middle on.
        length: how many these are.
    """

    def __init__(self, kernels: list[_Kernel], parts: int, hop: int) -> None:
        self.first = min(kernel.first for kernel in kernels)
        self.end = max(kernel.last + 1 for kernel in kernels)
        self.length = self.end - self.first
        self._hop, self._hops = hop, -(-self.length // hop)
        self._outputs = parts * len(kernels)
        # BLAS takes other ways, which sum in another order, for very few outputs: some stay zeros.
        self._columns = max(_FEWEST_OUTPUTS, self._outputs)
        depth = -(-hop // -(-hop // _DEEPEST))
        self._pieces = [
            _Piece(number, slice(begin, min(begin + depth, hop)), weights)
            for number in range(self._hops)
            for begin in range(0, hop, depth)
            if len(weights := self._weights(kernels, parts, number * hop + begin, min(depth, hop - begin)))
        ]
        # One tap by itself of each filter: how many samples behind the first, and what it weighs.
        self._alone = np.repeat([kernel.last - self.first for kernel in kernels], parts)
        self._rest = np.array([(kernel.rest.real, kernel.rest.imag)[:parts] for kernel in kernels]).reshape(-1)

    def _weights(self, kernels: list[_Kernel], parts: int, begin: int, depth: int) -> NDArray[np.float64]:
        """The filters at `depth` samples from `begin` on, `[samples, outputs]`; empty where none reaches so far."""
        span = range(self.first + begin, self.first + begin + depth)
        reaching = [
            place for place, kernel in enumerate(kernels) if kernel.first < span.stop and kernel.end > span.start
        ]
        if not reaching:
            return np.empty((0, 0))
        weights = np.zeros((depth, max(_FEWEST_OUTPUTS, parts * (reaching[-1] + 1))))
        for place in reaching:
            inside = kernels[place].inside(span).view(np.float64).reshape(-1, 2)
            weights[:, parts * place : parts * (place + 1)] = inside[:, :parts]
        return weights

    def apply(self, samples: Samples, count: int, room: _Room) -> NDArray[np.float64]:
        """The outputs of `count` frames of each stream, float64 `[streams * count, outputs]`.

        Args:
            samples: `[streams, n]`: of frame f those of the filters begin at sample `f * hop_length`.
            count: see above.
            room: for intermediate values.
        """
        streams, rows = len(samples), len(samples) * count
        if rows == 1:  # a product with a vector sums in another order
            return self.apply(np.repeat(samples, 2, axis=0), count, room)[:1]
        results = np.zeros((count, streams, self._columns))
        if rows:
            self._sum(samples, count, room, results)
        outputs: NDArray[np.float64] = results.transpose(1, 0, 2)[..., : self._outputs].reshape(rows, self._outputs)
        return outputs

    def _sum(self, samples: Samples, count: int, room: _Room, results: NDArray[np.float64]) -> None:
        """Adds up all pieces in `results` `[frames, streams, outputs]`."""
        streams, rows, hop = len(samples), len(samples) * count, self._hop
        hops = room.take(count + self._hops - 1, streams, hop)
        needed = (count - 1) * hop + self.length
        whole = needed // hop
        hops[:whole] = samples[:, : whole * hop].reshape(streams, whole, hop).transpose(1, 0, 2)
        if needed % hop:
            hops[whole, :, : needed % hop] = samples[:, whole * hop : needed]
            hops[whole, :, needed % hop :] = 0
        flat, product = results.reshape(rows, -1), np.empty(rows * self._columns)
        for number, span, weights in self._pieces:
            columns = weights.shape[1]
            sums = product[: rows * columns].reshape(rows, columns)
            np.matmul(hops[number : number + count].reshape(rows, hop)[:, span], weights, out=sums)
            flat[:, :columns] += sums
        if self._rest.any():
            behind, within = np.divmod(self._alone, hop)
            places = np.arange(rows)[:, None] * hop + (behind * streams * hop + within)
            taps = hops.reshape(-1).take(places)
            taps *= self._rest
            flat[:, : self._outputs] += taps


_DEEPEST = 256
"""Samples of a piece: so deep OpenBLAS sums all of a product in one order, whatever its rows."""

_FEWEST_OUTPUTS = 4

_ROWS = 128
"""Frames of one product in `wavelet_coefficients`: their samples stay in the cache."""


@lru_cache(maxsize=4)
def _filters_of(
    wavelet: Literal["morlet", "mexican_hat"], sr: int, hop: int, fmin: float, fmax: float, voices: int
) -> _Filters:
    from .spec import FrontEndSpec

    spec = FrontEndSpec(feature="stft", wavelet=wavelet, sr=sr, cwt_fmin=fmin, cwt_fmax=fmax, voices_per_octave=voices)
    return _Filters(kernels_of(spec), 1 if wavelet == "mexican_hat" else 2, hop)


def _filters(spec: FrontEndSpec) -> _Filters:
    """The filters of a spec, made once."""
    return _filters_of(spec.wavelet, spec.sr, spec.hop_length, spec.cwt_fmin, spec.cwt_fmax, spec.voices_per_octave)


FEATURES: dict[str, type[Feature]] = {"cwt": Cwt}
