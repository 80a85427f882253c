"""What a picture of a recording shows, as few numbers as it has columns: gathered in one pass, whatever the length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import EarwitnessError, nearest
from .feature_options import COMPLEX, spec_for
from .features.catalog import FEATURES, find_feature
from .features.delta import parse_delta
from .features.frontend import FrontEnd
from .features.spec import WAVEFORM, FrontEndSpec
from .features.weighting import LOWEST_RATE
from .sources.recording import Recording

Samples = NDArray[np.float32]

COLUMNS = 1000
"""About as many as a picture has pixels from its left to its right."""

ROWS: dict[str, tuple[str, ...]] = {
    "waveform": ("amplitude_envelope", "rms"),
    "stft_db": ("stft_db",),
    "log_mel": ("log_mel",),
    "cwt": ("cwt",),
    "descriptors": ("spectral_centroid", "spectral_bandwidth", "spectral_rolloff", "rms"),
    "level": ("laf", "las", "laeq"),
    "spectrum": ("stft_power",),
}
"""The usual rows from the top, and the features that each is drawn of."""

SHOWN_AS = {"stft": "stft_db", "stft_magnitude": "stft_db", "stft_power": "stft_db", "mel": "log_mel"}
"""Powers and magnitudes are seen in dB only."""

# The loudest of what falls into one column is shown of these, of all others the mean.
_LOUDEST = {"stft_db", "log_mel", "cwt", "amplitude_envelope", "peak", "clipping", "pcen", "spectral_flux",
            "laf", "las", "lcf", "lcs", "lzf", "lzs"}  # fmt: skip


@dataclass
class Columns:
    """Frames, some of them in each column.

    Attributes:
        start_s: the first column's left edge, seconds.
        step_s: from column to column.
        values: for each feature `[columns, dims]`.
    """

    start_s: float
    step_s: float
    values: dict[str, Samples]

    @property
    def times(self) -> NDArray[np.float64]:
        """The columns' middles."""
        count = max(map(len, self.values.values()), default=0)
        return np.asarray(self.start_s + self.step_s * (np.arange(count) + 0.5), np.float64)

    @property
    def end_s(self) -> float:
        return self.start_s + self.step_s * max(map(len, self.values.values()), default=0)


@dataclass
class PlotData:
    """All that is drawn.

    Attributes:
        name, rate, samples: of the recording.
        rows: from the top.
        spec: of the front end; `wavelets` that of `cwt`, which is sampled more densely.
        frames: of the features but for `cwt`.
        scalogram: of `cwt`.
        low, high: the samples' least and greatest in each of many short spans of `span` samples.
        power, loudest: mean and greatest of the frames' power spectra, `[bins]`.
    """

    name: str
    rate: int
    samples: int
    rows: tuple[str, ...]
    spec: FrontEndSpec
    wavelets: FrontEndSpec
    frames: Columns
    scalogram: Columns
    low: Samples
    high: Samples
    span: int
    power: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    loudest: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def duration_s(self) -> float:
        return self.samples / self.rate


def gather(
    recording: Recording,
    rows: Sequence[str],
    options: Mapping[str, Any],
    progress: Callable[[float], None] | None = None,
) -> PlotData:
    """Reads a recording to its end and computes what the rows show.

    Args:
        recording: read, but not closed.
        rows: names of `ROWS` or of features; none is all of `ROWS`.
        options: of the front end; those left open are `spec_for`'s, but frames are as dense as there are columns.
        progress: is told how far it is, 0..1.

    Raises EarwitnessError on unknown rows and bad options.
    """
    chosen = _resolved(rows, recording.rate)
    wanted = tuple(dict.fromkeys(name for row in chosen for name in ROWS.get(row, (row,))))
    spec, wavelets = _specs(recording, wanted, options)
    main = FrontEnd(spec)
    main_pools = _pools(spec, recording.samples)
    dense = FrontEnd(wavelets) if "cwt" in wanted else None
    dense_pools = _pools(wavelets, recording.samples)
    span = max(1, recording.samples // (3 * COLUMNS))
    low, high = _Pool(span, "min"), _Pool(span, "max")
    sum_power, loudest, frames = np.zeros(1), np.zeros(1), 0

    def take(values: Samples) -> None:
        nonlocal sum_power, loudest, frames
        for name, columns in spec.columns.items():
            if name == "stft_power" and len(values):
                sum_power = sum_power + values[:, columns].sum(axis=0, dtype=np.float64)
                loudest = np.maximum(loudest, values[:, columns].max(axis=0))
            else:
                main_pools[name].add(values[:, columns])
        frames += len(values)

    heard = 0
    for block in recording:
        heard += len(block)
        low.add(block[:, None])
        high.add(block[:, None])
        take(main.push({"": block})[""].values)
        if dense is not None:
            dense_pools["cwt"].add(dense.push({"": block})[""].values)
        if progress is not None:
            progress(min(1.0, heard / max(1, recording.samples)))
    take(main.flush("").values)
    if dense is not None:
        dense_pools["cwt"].add(dense.flush("").values)
    return PlotData(
        name=recording.name,
        rate=recording.rate,
        samples=heard,
        rows=chosen,
        spec=spec,
        wavelets=wavelets,
        frames=_columns(spec, main_pools),
        scalogram=_columns(wavelets, dense_pools),
        low=low.result()[:, 0],
        high=high.result()[:, 0],
        span=span,
        power=sum_power / max(1, frames),
        loudest=loudest,
    )


def _resolved(rows: Sequence[str], rate: int) -> tuple[str, ...]:
    """The rows to draw, each once. Raises EarwitnessError on an unknown one."""
    if not rows:
        return tuple(row for row in ROWS if row != "level" or rate >= LOWEST_RATE)
    chosen = []
    for row in rows:
        name = SHOWN_AS.get(row, row)
        if name not in ROWS and parse_delta(name)[0] not in FEATURES:
            raise EarwitnessError(f"unknown row {row!r}; {nearest(row, [*ROWS, *FEATURES, *SHOWN_AS])}")
        bare, order = parse_delta(name)
        if order and bare in (*COMPLEX, WAVEFORM):
            raise EarwitnessError(f"{row} cannot be drawn; take {SHOWN_AS.get(bare, bare)}")
        chosen.append(name)
    return tuple(dict.fromkeys(chosen))


def _specs(
    recording: Recording, wanted: Sequence[str], options: Mapping[str, Any]
) -> tuple[FrontEndSpec, FrontEndSpec]:
    main = [name for name in wanted if name != "cwt"] or ["rms"]
    spec = spec_for(recording.rate, main, options)
    if "hop_length" not in options:  # short sounds are looked at closely
        hop = min(spec.hop_length, max(1, recording.samples // COLUMNS))
        spec = spec_for(recording.rate, main, {**options, "hop_length": hop})
    # Short wavelets hear little of what lies between their samples.
    hop = max(1, min(spec.hop_length, recording.samples // (4 * COLUMNS), spec.n_fft // 8))
    rate = recording.rate
    seen = {"voices_per_octave": 12, "cwt_fmin": min(40.0, rate / 16), "cwt_fmax": min(0.4 * rate, 16e3)}
    return spec, spec_for(rate, ["cwt"], seen | {**options, "hop_length": hop, "n_fft": spec.n_fft})


def _pools(spec: FrontEndSpec, samples: int) -> dict[str, _Pool]:
    group = -(-max(1, spec.frames_of(samples)) // COLUMNS)
    return {name: _Pool(group, "max" if name in _LOUDEST else "mean") for name in spec.columns}


def _columns(spec: FrontEndSpec, pools: Mapping[str, _Pool]) -> Columns:
    values = {name: values for name, pool in pools.items() if len(values := pool.result())}
    step = spec.hop_length / spec.sr
    group = next(iter(pools.values())).group
    return Columns(spec.frame_time(0) - step / 2, step * group, values)


class _Pool:
    """Rows one after the other, so many of them made one."""

    def __init__(self, group: int, how: str) -> None:
        self.group = group
        self._reduce = getattr(np, how)
        self._rest: Samples | None = None
        self._done: list[Samples] = []

    def add(self, rows: Samples) -> None:
        if self._rest is not None:
            rows = np.concatenate((self._rest, rows))
        whole = len(rows) // self.group * self.group
        if whole:
            self._done.append(self._reduce(rows[:whole].reshape(-1, self.group, rows.shape[1]), axis=1))
        self._rest = rows[whole:].copy()

    def result(self) -> Samples:
        """`[columns, dims]`; the last column is of what was left."""
        done = list(self._done)
        if self._rest is not None and len(self._rest):
            done.append(self._reduce(self._rest, axis=0, keepdims=True))
        return np.concatenate(done) if done else np.zeros((0, 1), np.float32)


def labels_of(spec: FrontEndSpec, feature: str) -> tuple[str, ...]:
    """`Feature.labels`, of deltas too."""
    return find_feature(feature).labels(spec)
