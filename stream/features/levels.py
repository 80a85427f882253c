"""Sound levels of IEC 61672-1: A-, C- and Z-weighted, as the mean over a frame or with fast or slow time weighting.

A level is `10 * log10(mean square) + calibration_db`, where full scale is 1: without a calibration dB relative to full
scale (a full-scale sine of 1 kHz is at -3.01 dB), with one dB of sound pressure. The mean square is at least 1e-12, so
silence is at -120 dB + `calibration_db`.

The weighting filter runs through all samples of a stream, from silence before the first; overlapping frames do not pass
through it again. Levels of one weighting in one front end share it. What a frame adds is its last `hop_length` samples;
they are filtered as one step, so that a frame's values are the same bits whatever the blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .feature import Batch, Feature
from .spec import check_range
from .weighting import FAST_S, HIGHEST_RATE, LOWEST_RATE, SLOW_S, Curve, Weighting, forgetting

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]
Values = NDArray[np.float64]

FLOOR = 1e-12
"""The least mean square: silence is at -120 dB relative to full scale."""


class _Level(Feature):
    curve: ClassVar[Curve]

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self._weighting = Weighting(self.curve, spec.sr)
        self.initial = {"filter": np.zeros(self._weighting.size)}

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        if cls.curve != "Z":
            check_range("sr", spec.sr, LOWEST_RATE, HIGHEST_RATE, f"{cls.curve}-weighting")
        check_range("calibration_db", spec.calibration_db, -200, 300)

    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        return (f"dB({cls.curve})",)

    def _squares(self, batch: Batch) -> _Squares:
        """Squares of the weighted samples that the batch's frames add; the first level of this weighting makes them."""
        name = f"squares {self.curve}"
        if name not in batch.shared:
            batch.shared[name] = self._make_squares(batch)
        squares: _Squares = batch.shared[name]
        return squares

    def _make_squares(self, batch: Batch) -> _Squares:
        hop, old = self.spec.hop_length, self.spec.frame_length - self.spec.hop_length
        begin = batch.before + old
        kept = self.carried["filter"]
        state = kept[batch.slots]
        opening = None
        if batch.opening and old:
            opening = self._weighting.apply(batch.samples[:, batch.before : begin], state)
            opening *= opening
        new = self._weighting.apply(batch.samples[:, begin : begin + batch.count * hop], state, hop)
        new *= new
        kept[batch.slots] = state
        return _Squares(opening, new)

    def _decibels(self, mean_squares: Values) -> Samples:
        """Of one mean square for each row, `[rows, 1]`."""
        db = 10.0 * np.log10(np.maximum(mean_squares.reshape(-1, 1), FLOOR)) + self.spec.calibration_db
        return np.asarray(db, np.float32)


class _Squares(NamedTuple):
    opening: Values | None  # of the first frame but for its last hop, `[streams, frame_length - hop_length]`
    new: Values  # of the last hop of each frame, `[streams, count * hop_length]`


class _Equivalent(_Level):
    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self.initial = {**self.initial, "squares": np.zeros(spec.frame_length - spec.hop_length)}

    def compute(self, batch: Batch) -> Samples:
        squares = self._squares(batch)
        hop, length = self.spec.hop_length, self.spec.frame_length
        kept = self.carried["squares"]
        whole = np.concatenate((kept[batch.slots] if squares.opening is None else squares.opening, squares.new), axis=1)
        kept[batch.slots] = whole[:, batch.count * hop :]
        frames = np.lib.stride_tricks.sliding_window_view(whole, length, axis=1)[:, ::hop]
        rows = np.ascontiguousarray(frames).reshape(batch.rows, length)
        return self._decibels(rows.sum(axis=1) / length)


class _Exponential(_Level):
    time_constant: ClassVar[float]  # seconds

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self.initial = {**self.initial, "mean_square": np.zeros(())}
        self._opening = forgetting(spec.frame_length - spec.hop_length, spec.sr * self.time_constant)
        self._new = forgetting(spec.hop_length, spec.sr * self.time_constant)

    def compute(self, batch: Batch) -> Samples:
        squares = self._squares(batch)
        kept = self.carried["mean_square"]
        now: Values = kept[batch.slots]
        if squares.opening is not None:
            now = now * self._opening.remains + (squares.opening * self._opening.weights).sum(axis=1)
        hops = squares.new.reshape(len(batch.slots), batch.count, self.spec.hop_length)
        adds = (hops * self._new.weights).sum(axis=2)
        for frame in range(batch.count):
            adds[:, frame] = now = now * self._new.remains + adds[:, frame]
        kept[batch.slots] = now
        return self._decibels(adds)


# ---- the features ----------------------------------------------------------------------------------------------------


class Laeq(_Equivalent):
    """A-weighted equivalent level over the frame's `frame_length` samples, dB, `[1]` (IEC 61672-1, 3.9: LAeq)."""

    curve = "A"


class Lceq(_Equivalent):
    """C-weighted equivalent level over the frame, dB, `[1]` (LCeq)."""

    curve = "C"


class Lzeq(_Equivalent):
    """Equivalent level over the frame without frequency weighting, dB, `[1]` (LZeq): the RMS in dB, offset included."""

    curve = "Z"


class Laf(_Exponential):
    """A-weighted level with fast time weighting (125 ms) at the frame's end, dB, `[1]` (IEC 61672-1, 3.6: LAF).

    `mean += (square - mean) / tau` at every sample, the exact exponential. In silence it falls by 34.7 dB a second. It
    begins in silence, and has come within 0.1 dB of a steady sound after 0.5 s.
    """

    curve, time_constant = "A", FAST_S


class Las(_Exponential):
    """A-weighted level with slow time weighting (1 s) at the frame's end, dB, `[1]` (LAS); falls by 4.3 dB a second."""

    curve, time_constant = "A", SLOW_S


class Lcf(_Exponential):
    """C-weighted level with fast time weighting at the frame's end, dB, `[1]` (LCF)."""

    curve, time_constant = "C", FAST_S


class Lcs(_Exponential):
    """C-weighted level with slow time weighting at the frame's end, dB, `[1]` (LCS)."""

    curve, time_constant = "C", SLOW_S


class Lzf(_Exponential):
    """Level without frequency weighting, with fast time weighting, at the frame's end, dB, `[1]` (LZF)."""

    curve, time_constant = "Z", FAST_S


class Lzs(_Exponential):
    """Level without frequency weighting, with slow time weighting, at the frame's end, dB, `[1]` (LZS)."""

    curve, time_constant = "Z", SLOW_S


FEATURES: dict[str, type[Feature]] = {
    "laeq": Laeq,
    "lceq": Lceq,
    "lzeq": Lzeq,
    "laf": Laf,
    "las": Las,
    "lcf": Lcf,
    "lcs": Lcs,
    "lzf": Lzf,
    "lzs": Lzs,
}
