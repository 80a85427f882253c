"""What a feature is, and the batch of frames that all features of a front end share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .logarithm import log_scale
from .spectra import Spectra, frames_of, gather
from .weighing import Weights

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Array = NDArray[Any]
T = TypeVar("T")
Samples = NDArray[np.float32]


class lazy(Generic[T]):
    """`functools.cached_property` without its lock, which would cost more than what is computed of a small batch."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        value = instance.__dict__[self._name] = self._compute(instance)
        return value


class Feature:
    """One named number, or a row of them, for each frame. A family's file has a class for each; `catalog` names them.

    A feature takes its intermediates from the `Batch`, which computes each only once for all features. A frame's values
    must not depend on what else is in the batch: numpy's elementwise operations and its sums along the last,
    contiguous axis are so; matrix products by BLAS are not (`weighing.Weights` is).

    Attributes:
        before, after: samples beside the frame that it looks at. `after` adds to the latency of the whole front end.
        initial: what is carried from frame to frame for each stream, by name, as it is before the first one.
        carried: the same for all streams, `[slots, ...]`; the front end makes it and lets it grow.
    """

    before: int = 0
    after: int = 0

    def __init__(self, spec: FrontEndSpec) -> None:
        self.spec = spec
        self.initial: Mapping[str, Array] = {}
        self.carried: dict[str, Array] = {}

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        """Raises EarwitnessError on options of this feature that cannot work, with the nearest that do."""

    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        """What each value is, for tables and pictures: its unit or its place, such as a band's frequency in Hz."""
        raise NotImplementedError

    @classmethod
    def dims(cls, spec: FrontEndSpec) -> int:
        """Values per frame."""
        return len(cls.labels(spec))

    def compute(self, batch: Batch) -> Samples:
        """The values of all frames of the batch, float32 `[rows, dims]`."""
        raise NotImplementedError


class Descriptor(Feature):
    """One value a frame, in `unit`."""

    unit: str

    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        return (cls.unit,)


class Tables:
    """What is made once for a front end: windows, roots and filters. `lone`: it has a single feature to compute."""

    def __init__(self, spec: FrontEndSpec, lone: bool = False) -> None:
        self.spec, self.lone = spec, lone

    @lazy
    def spectra(self) -> Spectra:
        return Spectra(self.spec)

    @lazy
    def mel(self) -> Weights:
        from .mel import mel_weights

        return mel_weights(self.spec)


class Batch:
    """The same number of consecutive frames of one or more streams, and what is computed of them, each thing once.

    Rows are frames, stream after stream: row `s * count + f` is frame f of stream s. Everything is float32 and
    C-contiguous, and nobody's to change: other features read it too.

    Args:
        source: samples, contiguous.
        starts: where in `source` each stream's samples begin, `[streams]`.
        length: how many of each.

    Attributes:
        spec: of the front end.
        before: of a stream's samples before its first frame: frame f is `samples[:, before + f * hop_length :]`,
            `frame_length` of them.
        slots: `[streams]`, the streams' places in `Feature.carried`, each once.
        count: frames of each stream, at least 1.
        opening: whether these are the streams' first frames.
        shared: what features with a state leave for others of their family, by a name of theirs.
    """

    def __init__(
        self,
        tables: Tables,
        source: Samples,
        starts: NDArray[np.intp],
        length: int,
        before: int,
        slots: NDArray[np.intp],
        count: int,
        opening: bool,
    ) -> None:
        self.spec, self._tables = tables.spec, tables
        self._source, self._starts, self._length = source, starts, length
        self.before, self.slots, self.count, self.opening = before, slots, count, opening
        self.shared: dict[str, Any] = {}
        self._once: dict[Callable[[Batch], Array], Array] = {}

    @property
    def rows(self) -> int:
        return len(self.slots) * self.count

    def once(self, make: Callable[[Batch], Array]) -> Array:
        """`make(self)`, computed the first time only: what features of one family share."""
        made = self._once.get(make)
        if made is None:
            made = self._once[make] = make(self)
        return made

    @lazy
    def samples(self) -> Samples:
        """All samples that the frames and their surroundings need, `[streams, length]`."""
        return gather(self._source, self._starts, self._length)

    def around(self, before: int = 0, after: int = 0) -> Samples:
        """Each frame with so many samples before and after it, a read-only view `[streams, frames, samples]`."""
        length = before + self.spec.frame_length + after
        return frames_of(self.samples, self.before - before, self.spec.hop_length, self.count, length)

    @lazy
    def frames(self) -> Samples:
        """The samples of each frame, `[rows, frame_length]`."""
        return self.around().reshape(self.rows, self.spec.frame_length)  # copies: frames overlap

    @lazy
    def stft(self) -> NDArray[np.complex64]:
        """Complex spectrum under the window, complex64 `[rows, 1 + n_fft // 2]`."""
        return self._tables.spectra.stft(self._source, self._starts, self.before, self.count)

    @lazy
    def power(self) -> Samples:
        """Squared magnitudes of `stft`, `[rows, bins]`."""
        return self._tables.spectra.power(self._source, self._starts, self.before, self.count)

    @lazy
    def magnitude(self) -> Samples:
        """Magnitudes of `stft`, `[rows, bins]`."""
        return np.sqrt(self.power)

    def spectrum(self, exponent: float) -> Samples:
        """Magnitudes to the power of `exponent`, `[rows, bins]`."""
        if exponent == 2.0:
            return self.power
        if exponent == 1.0:
            return self.magnitude
        return np.power(self.power, np.float32(exponent / 2.0))

    @lazy
    def mel(self) -> Samples:
        """Mel spectrum, `[rows, n_mels]`: the filters of the spec over `spectrum(spec.power)`."""
        tables = self._tables
        if tables.lone and self.spec.power == 2.0:  # nobody else asks for the powers
            return tables.spectra.weighted(self._source, self._starts, self.before, self.count, tables.mel)
        return tables.mel.apply(self.spectrum(self.spec.power))

    @lazy
    def log_mel(self) -> Samples:
        """`mel` on the logarithmic scale of the spec, `[rows, n_mels]`."""
        return log_scale(self.mel, self.spec)


def bin_frequencies(spec: FrontEndSpec) -> Samples:
    """The frequencies of the FFT's bins in Hz, float32 `[1 + n_fft // 2]`, as `librosa.fft_frequencies` gives them."""
    return np.asarray(np.arange(1 + spec.n_fft // 2) * (spec.sr / spec.n_fft), np.float32)
