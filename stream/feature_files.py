"""Features of recordings as files of numbers: NumPy's .npz, CSV and Parquet, written while the recording is read."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from .durable import part_of
from .errors import EarwitnessError, nearest
from .feature_options import COMPLEX, frame_times, spec_for
from .features.catalog import find_feature
from .features.delta import parse_delta
from .features.frontend import FrontEnd
from .features.spec import FrontEndSpec
from .sources.recording import Recording

Array = NDArray[Any]
Samples = NDArray[np.float32]
Progress = Callable[[float], None]  # the share that is done, 0..1

_ROW_GROUP = 1 << 20  # values that a group of rows of a Parquet file holds at least
_NAME = "{}"


class Written(NamedTuple):
    """What came of one recording."""

    path: Path
    frames: int
    replaced: int  # samples that were no sound (NaN, Inf) and count as silence


def features_of_file(
    file: str,
    path: Path,
    features: Sequence[str],
    options: Mapping[str, Any],
    rate: int | None = None,
    channel: int | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """`write_features` of a file or `demo`, by the front end of `spec_for`. Returns notes for a person, a line each."""
    with Recording(file, rate, channel) as recording:
        spec = spec_for(recording.rate, features, options)
        written = write_features(recording, spec, path, progress)
        notes = recording.notes()
    if not written.frames:
        notes.append(f"{file}: too short for a frame of {spec.frame_length} samples at {spec.sr} Hz: {path} has none")
    return notes


def write_features(recording: Recording, spec: FrontEndSpec, path: Path, progress: Progress | None = None) -> Written:
    """Writes all frames of a recording; the suffix of `path` says how. It appears when it is whole.

    .npz: for each feature an array of its name, float32 `[frames, dims]` (complex64 for `stft`); `frame_times`,
    seconds from the recording's beginning to each frame's middle, float64 `[frames]`; `spec`, the front end's options
    as a JSON string. .csv and .parquet: a row a frame, `time_s` and a column for each value: the feature's name, and
    where it has several values `NAME_LABEL`. All values are written so that they are read as the same float32.

    Args:
        recording: read to its end, but not closed; its rate is that of the spec.
        spec: the front end.
        path: OUT.npz, OUT.csv or OUT.parquet; its folder is made.
        progress: is told how far it is, block by block.

    Raises:
        EarwitnessError: on another suffix, on complex values in a table, without pyarrow for Parquet, and where the
            disk does not take it.
    """
    make_sink = _sink_for(path, spec)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(path)
        try:
            with make_sink(part, spec) as sink:
                frames = 0
                for values in frames_of(recording, spec, progress):
                    sink.add(frame_times(spec, frames, len(values)), values)
                    frames += len(values)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise EarwitnessError(f"cannot write {path}: {error.strerror or error}") from None
    return Written(path, frames, recording.replaced)


def frames_of(recording: Recording, spec: FrontEndSpec, progress: Progress | None = None) -> Iterator[Samples]:
    """All frames of a recording, some at a time, `[frames, dims]`: those of a live run of the same spec."""
    front_end, heard = FrontEnd(spec), 0
    for block in recording:
        heard += len(block)
        yield front_end.push({"": block})[""].values
        if progress is not None:
            progress(min(1.0, heard / max(1, recording.samples)))
    yield front_end.flush("").values


def outputs(files: Sequence[str], out: str) -> list[Path]:
    """Where the features of each file go, by what was said with `-o`.

    `{}` in OUT stands for the file's name without its suffix; a folder (one that is there, or a name that ends in a
    slash) is short for `FOLDER/{}.npz`.

    Raises EarwitnessError where two files would go to the same place.

    >>> [str(path) for path in outputs(["a/dog.wav", "rain.flac"], "numbers/{}.csv")]
    ['numbers/dog.csv', 'numbers/rain.csv']
    """
    if out.endswith(("/", os.sep)) or Path(out).is_dir():
        out = os.path.join(out, f"{_NAME}.npz")
    if len(files) > 1 and _NAME not in out:
        folder = os.path.splitext(out)[0]
        raise EarwitnessError(
            f"{len(files)} files need as many outputs: -o {folder}/ for .npz, or -o '{folder}/{{}}"
            f"{os.path.splitext(out)[1] or '.csv'}'"
        )
    paths = [Path(out.replace(_NAME, Path(file).stem)).expanduser() for file in files]
    first: dict[Path, str] = {}
    for file, path in zip(files, paths, strict=True):
        if path in first:
            raise EarwitnessError(f"{first[path]} and {file} would both become {path}: call it once for each folder")
        first[path] = file
    for path in paths:
        _check_suffix(path)
    return paths


def column_names(spec: FrontEndSpec) -> list[str]:
    """A name for each value of a frame: the feature's, with the value's label where it has several.

    >>> column_names(FrontEndSpec(feature="log_mel", n_mels=2))
    ['log_mel_1041 Hz', 'log_mel_2886 Hz']
    """
    names: list[str] = []
    for feature in spec.features:
        labels = find_feature(feature).labels(spec)
        if len(labels) == 1:
            names.append(feature)
            continue
        unique = len(set(labels)) == len(labels)
        names += [f"{feature}_{label}" if unique else f"{feature}_{n}_{label}" for n, label in enumerate(labels)]
    return names


# ---- how each kind of file is written


class _Sink(Protocol):
    """Takes frames as they come. Its file is whole when the context is left without an error."""

    def __init__(self, path: Path, spec: FrontEndSpec) -> None: ...
    def __enter__(self) -> _Sink: ...
    def __exit__(self, kind: Any, error: Any, trace: Any) -> None: ...
    def add(self, times: NDArray[np.float64], values: Samples) -> None: ...


class _Npz:
    """Arrays grow in temporary files beside the output, since an archive wants to know first how long they are."""

    def __init__(self, path: Path, spec: FrontEndSpec) -> None:
        self._path, self._spec, self._frames = path, spec, 0

    def __enter__(self) -> _Npz:
        with contextlib.ExitStack() as stack:
            self._grown: dict[str, IO[bytes]] = {
                name: stack.enter_context(tempfile.TemporaryFile(dir=self._path.parent)) for name in self._spec.columns
            }
            self._stack = stack.pop_all()
        return self

    def add(self, times: NDArray[np.float64], values: Samples) -> None:
        self._frames += len(values)
        for name, columns in self._spec.columns.items():
            self._grown[name].write(np.ascontiguousarray(values[:, columns]).data)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        with self._stack:
            if kind is None:
                self._write()

    def _write(self) -> None:
        spec = self._spec
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, columns in spec.columns.items():
                dims, kind = columns.stop - columns.start, "<f4"
                if parse_delta(name)[0] in COMPLEX:
                    dims, kind = dims // 2, "<c8"
                with _entry(archive, name) as entry:
                    header = {"descr": kind, "fortran_order": False, "shape": (self._frames, dims)}
                    np.lib.format.write_array_header_1_0(entry, header)
                    self._grown[name].seek(0)
                    shutil.copyfileobj(self._grown[name], entry, 1 << 20)
            text = np.array(msgspec.json.encode(spec).decode())
            for name, array in (("frame_times", frame_times(spec, 0, self._frames)), ("spec", text)):
                with _entry(archive, name) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)


def _entry(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # A fixed date: the same sound makes the same bytes.
    return archive.open(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True)


class _Csv:
    def __init__(self, path: Path, spec: FrontEndSpec) -> None:
        self._path, self._names = path, column_names(spec)

    def __enter__(self) -> _Csv:
        self._file = self._path.open("w", encoding="utf-8", newline="")
        self._file.write(",".join(map(_quoted, ["time_s", *self._names])) + "\n")
        return self

    def add(self, times: NDArray[np.float64], values: Samples) -> None:
        # numpy writes float32 with the fewest digits that are read as the same number.
        for time, row in zip(times.tolist(), values.astype("U16").tolist(), strict=True):
            self._file.write(f"{time:.6f},{','.join(row)}\n")

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._file.close()


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


class _Parquet:
    def __init__(self, path: Path, spec: FrontEndSpec) -> None:
        import pyarrow

        self._path, self._waiting, self._values = path, list[tuple[Array, Array]](), 0
        fields = [("time_s", pyarrow.float64()), *((name, pyarrow.float32()) for name in column_names(spec))]
        self._schema = pyarrow.schema(fields, metadata={"spec": msgspec.json.encode(spec)})

    def __enter__(self) -> _Parquet:
        import pyarrow.parquet

        self._writer = pyarrow.parquet.ParquetWriter(self._path, self._schema)
        return self

    def add(self, times: NDArray[np.float64], values: Samples) -> None:
        self._waiting.append((times, values))
        self._values += values.size
        if self._values >= _ROW_GROUP:
            self._write_group()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        import pyarrow

        if self._waiting:
            times, values = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            columns = [times, *np.ascontiguousarray(values.T)]
            self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))
        self._waiting, self._values = [], 0


_SINKS: Mapping[str, type[_Sink]] = {".npz": _Npz, ".csv": _Csv, ".parquet": _Parquet}


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in _SINKS:
        hint = nearest(path.suffix, _SINKS) if path.suffix else "end it in .npz, .csv or .parquet"
        raise EarwitnessError(f"{path}: unknown kind of file {path.suffix!r}; {hint}")


def _sink_for(path: Path, spec: FrontEndSpec) -> type[_Sink]:
    _check_suffix(path)
    suffix = path.suffix.lower()
    if suffix != ".npz":
        _check_real(spec.features, suffix)
    if suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise EarwitnessError("Parquet needs pyarrow: pip install 'earwitness[parquet]', or take .csv") from None
    return _SINKS[suffix]


def _check_real(features: Iterable[str], suffix: str) -> None:
    for name in features:
        if parse_delta(name)[0] in COMPLEX:
            raise EarwitnessError(
                f"{name} is complex, {suffix} is not: take .npz, or stft_magnitude, stft_power, stft_db"
            )
