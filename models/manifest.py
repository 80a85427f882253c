"""The contents of a bundle's manifest.toml: what a model takes and gives, for the box's own and for foreign ones.

Its structs, what contradicts itself in them, and how they are written as TOML and read back. No torch here.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ..stream.errors import EarwitnessError, nearest
from ..stream.features.frontend import FrontEndSpec

FORMAT_VERSION = 1
LARGEST_WINDOW = 1 << 21  # values of one window, of a constant or of a state: 43 s at 48 kHz

Option = bool | int | float | str | list[int | str]
Dtype = Literal["float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of the manifest and its tables: unknown keys are refused."""


class FileEntry(Part, frozen=True, kw_only=True):
    """One file of the bundle."""

    bytes: int
    sha256: str


class Input(Part, frozen=True, kw_only=True):
    """What the model takes of the sound.

    Attributes:
        shape: of the tensor, one number for each of `axes`; a batch of 0 is any number of windows, 1 one a call.
        axes: what each axis is. "batch" may be missing (one window a call), "dims" where the front end has one value a
            frame (a waveform), "one" is an axis of length 1 (a channel). Any order: the window is transposed.
        dtype: of the tensor. Whole numbers are rounded and clipped to their range; LiteRT's 8-bit tensors are filled by
            the file's own scale and zero point.
        scale, offset: the model gets `value * scale + offset`: scale 32768 where it wants samples as 16-bit numbers.
    """

    name: str
    shape: list[int]
    axes: tuple[Literal["batch", "frames", "dims", "one"], ...] = ("batch", "frames", "dims")
    dtype: Literal["float32", "float16", "float64", "int8", "uint8", "int16"] = "float32"
    scale: float = 1.0
    offset: float = 0.0

    @property
    def one_a_call(self) -> bool:
        """Whether the model takes a single window at a time."""
        return "batch" not in self.axes or self.shape[self.axes.index("batch")] == 1


class Constant(Part, frozen=True, kw_only=True):
    """A further input that always has the same value, as the sample rate.

    Attributes:
        shape: of the tensor; [] a single number. A first 0 is the batch: the rest is repeated for each window.
        values: all of them in C order, or one for all.
    """

    name: str
    shape: list[int] = []
    dtype: Dtype = "float32"
    values: list[float | int | bool]


class State(Part, frozen=True, kw_only=True):
    """What a stateful model carries from window to window of one stream: zeros at first.

    Attributes:
        input: the name by which the model takes it.
        output: the name by which it gives the next one.
        shape: of one stream's state, without the batch axis.
        batch_axis: where the batch axis stands in the model's tensor; -1: it has none.
    """

    input: str
    output: str
    shape: list[int]
    batch_axis: int = 0
    dtype: Dtype = "float32"


class Output(Part, frozen=True, kw_only=True):
    """What the model gives: one column a label, and what the runtime still does to it.

    Attributes:
        name: of the scores among the outputs.
        activation: what the runtime applies: "none" where the model gives probabilities.
        temperature: logits are divided by it before the activation; above 1 makes less sure.
        axes: what each axis of the tensor is. "batch" may be missing; "one" has length 1; "frames" are several rows of
            scores for one window.
        reduce: how the scores of those frames, after the activation, become one row.
        ignored: the names of outputs that nobody needs.
    """

    name: str
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    temperature: float = 1.0
    axes: tuple[Literal["batch", "frames", "labels", "one"], ...] = ("batch", "labels")
    reduce: Literal["mean", "max", "last"] | None = None
    ignored: list[str] = []


class Network(Part, frozen=True, kw_only=True):
    """How to build the network in torch: a module of `models/networks` and the arguments of its class."""

    kind: str
    options: dict[str, Option] = {}
    parameters: int = 0


class Training(Part, frozen=True, kw_only=True):
    """How the bundle was made."""

    command: str
    seed: int
    data: str
    data_sha256: str
    clips: int
    folds: list[int]
    validation: str
    steps: int
    batch: int
    minutes: float
    torch: str


class Manifest(Part, frozen=True, kw_only=True):
    """The contents of manifest.toml.

    Attributes:
        front_end: what the model's windows are made of.
        labels: of the output's columns, in order.
        background: the label that is never an event; "" where the model has none.
        multi_label: whether several labels may be true at once: their scores do not add up to 1.
        window_frames: frames of a window. Window k of a segment begins at frame k * hop_frames.
        thresholds: score from which a label is an event, 0..1; every label but the background has one.
        constants: further inputs that always have the same values.
        states: what the model carries from window to window of a stream; a bundle with any is stateful.
        detection: defaults for `stream.detect.DetectSettings`, by field name.
        scores: what was measured, by name; shares are 0..1.
    """

    format_version: int
    name: str
    description: str
    licence: str
    labels: list[str]
    background: str = ""
    multi_label: bool = False
    window_frames: int
    hop_frames: int
    front_end: FrontEndSpec
    input: Input
    output: Output
    thresholds: dict[str, float]
    constants: list[Constant] = []
    states: list[State] = []
    network: Network | None = None
    detection: dict[str, Option] = {}
    training: Training | None = None
    scores: dict[str, float] = {}
    files: dict[str, FileEntry] = {}

    def check(self) -> str | None:
        """What contradicts itself in this manifest, in one line; None when all is well."""
        if not 0 < self.hop_frames <= self.window_frames:
            return f"hop_frames is {self.hop_frames}: it must be 1 to window_frames, {self.window_frames}"
        return (
            self._check_labels() or self._check_input() or self._check_output() or self._check_further()
            or self._check_thresholds()
        )  # fmt: skip

    @property
    def events(self) -> list[str]:
        """The labels that events may have: all but the background."""
        return [label for label in self.labels if label != self.background]

    def _check_labels(self) -> str | None:
        if not self.events or len(set(self.labels)) != len(self.labels):
            return "labels must be one or several beside the background, each once"
        for label in self.labels:
            if not label.strip() or not label.isprintable():
                return f"label {label!r}: it must be a text of one line"
        if self.background and self.background not in self.labels:
            return f"background {self.background!r} is none of the labels; {nearest(self.background, self.labels)}"
        return None

    def _check_input(self) -> str | None:
        given, dims = self.input, self.front_end.dims
        values = self.window_frames * dims
        if values > LARGEST_WINDOW:
            return f"a window of {self.window_frames} frames of {dims} is {values} values; at most {LARGEST_WINDOW}"
        problem = _axes_problem("input", given.axes, given.shape) or _finite_problem("input", given)
        if problem:
            return problem
        if "frames" not in given.axes or ("dims" not in given.axes and dims > 1):
            return f"input.axes are {list(given.axes)}: 'frames' and 'dims' must be among them"
        lengths = {"batch": 0, "frames": self.window_frames, "dims": dims, "one": 1}
        shape = [lengths[axis] for axis in given.axes]
        if "batch" in given.axes and given.shape[at := given.axes.index("batch")] == 1:
            shape[at] = 1
        if given.shape != shape:
            return f"input.shape is {given.shape}, but window and front end give {shape}"
        return None

    def _check_output(self) -> str | None:
        output = self.output
        if not 0 < output.temperature < math.inf:
            return f"output.temperature is {output.temperature}: it must be above 0"
        if problem := _axes_problem("output", output.axes):
            return problem
        if "labels" not in output.axes:
            return f"output.axes are {list(output.axes)}: 'labels' must be among them"
        if ("frames" in output.axes) != (output.reduce is not None):
            return "output.reduce (mean, max or last) tells what becomes of the axis 'frames': both or neither"
        if self.multi_label and output.activation == "softmax":
            return "multi_label goes with activation sigmoid or none: softmax's scores add up to 1"
        return None

    def _check_further(self) -> str | None:
        """Constants, states and ignored outputs: each name once, no tensor beyond all bounds."""
        taken = [self.input.name, *(each.name for each in self.constants), *(each.input for each in self.states)]
        given = [self.output.name, *self.output.ignored, *(each.output for each in self.states)]
        for kind, names in (("input", taken), ("output", given)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                return f"{kind} {twice[0]!r} is named twice"
        for constant in self.constants:
            size = math.prod(constant.shape[1:] if constant.shape[:1] == [0] else constant.shape)
            if min(constant.shape[1:], default=1) < 1 or min(constant.shape, default=0) < 0 or size > LARGEST_WINDOW:
                return f"constant {constant.name!r}: shape {constant.shape} is none; only the first may be 0, the batch"
            if len(constant.values) not in (1, size):
                return f"constant {constant.name!r} has {len(constant.values)} values; one, or {size} for its shape"
        for state in self.states:
            if min(state.shape, default=1) < 1 or math.prod(state.shape) > LARGEST_WINDOW:
                return f"state {state.input!r}: shape {state.shape} is none; it is one stream's, without the batch axis"
            if not -1 <= state.batch_axis <= len(state.shape):
                return f"state {state.input!r}: batch_axis is {state.batch_axis}; -1 (none) to {len(state.shape)}"
            if state.batch_axis < 0 and not self.input.one_a_call:
                return f"state {state.input!r} has no batch axis, so the input's batch must be 1"
        return None

    def _check_thresholds(self) -> str | None:
        events = self.events
        known = set(events)
        for label, threshold in self.thresholds.items():
            if label not in known:
                return f"threshold for {label!r}, which is no event; {nearest(label, events)}"
            if not 0 < threshold <= 1:
                return f"threshold of {label!r} is {threshold}: it must be above 0 and at most 1"
        missing = sorted(known - set(self.thresholds))
        return f"no threshold for {missing[0]!r}" if missing else None


def read_manifest(raw: bytes, where: str) -> Manifest:
    """A manifest from the bytes of its TOML. `where` begins the line that tells what is wrong with it.

    Raises:
        EarwitnessError: it is no TOML, of another format version, has unknown keys, or its front end cannot work. What
            contradicts itself beyond that, `Manifest.check` tells.
    """
    try:
        values = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EarwitnessError(f"{where}: it is no TOML: {error}") from error
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        raise EarwitnessError(f"{where} has format version {version}; this program reads version {FORMAT_VERSION}")
    return manifest_of(values, where)


def manifest_of(values: dict[str, Any], where: str) -> Manifest:
    """A manifest from plain values. Raises as `read_manifest`."""
    known = [field.name for field in msgspec.structs.fields(Manifest)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise EarwitnessError(f"{where}: unknown key {unknown[0]!r}; {nearest(unknown[0], known)}")
    try:
        return msgspec.convert(values, Manifest)
    except msgspec.ValidationError as error:
        raise EarwitnessError(f"{where}: {error}") from error
    except EarwitnessError as error:  # the front end's own checks
        raise EarwitnessError(f"{where}: {error}") from error


def to_toml(manifest: Manifest) -> str:
    """The manifest as TOML: single values first, then one table after the other; what is empty is left out."""
    values: dict[str, Any] = msgspec.to_builtins(manifest)
    for name in ("constants", "states"):
        if not values[name]:
            del values[name]
    return values_to_toml(values)


def values_to_toml(values: Mapping[str, Any]) -> str:
    """Plain values as TOML: single ones first, then one table after the other; None is left out."""
    lines = [f"{key} = {toml_value(value)}" for key, value in values.items() if _is_single(value)]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _table(key, value)
        elif isinstance(value, list) and not _is_single(value):
            for row in value:
                lines += ["", f"[[{_key(key)}]]", *(f"{_key(name)} = {toml_value(each)}" for name, each in row.items())]
    return "\n".join(lines) + "\n"


def _table(name: str, table: dict[str, Any]) -> list[str]:
    lines = ["", f"[{name}]"]
    lines += [f"{_key(key)} = {toml_value(value)}" for key, value in table.items() if _is_single(value)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _table(f"{name}.{_key(key)}", value)
    return lines


def _is_single(value: Any) -> bool:
    tables = isinstance(value, list) and value and isinstance(value[0], dict)
    return value is not None and not isinstance(value, dict) and not tables


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)


def toml_value(value: Any) -> str:
    """A number, word, boolean or list of them, as TOML writes it."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # TOML's strings, numbers and booleans are written as JSON's


def _axes_problem(table: str, axes: tuple[str, ...], shape: list[int] | None = None) -> str | None:
    if shape is not None and len(axes) != len(shape):
        return f"{table}.axes has {len(axes)} names, {table}.shape {len(shape)} numbers"
    twice = [axis for axis in axes if axis != "one" and axes.count(axis) > 1]
    return f"{table}.axes names {twice[0]!r} twice" if twice else None


def _finite_problem(table: str, given: Input) -> str | None:
    if not (math.isfinite(given.scale) and math.isfinite(given.offset) and given.scale != 0):
        return f"{table}.scale is {given.scale}, {table}.offset {given.offset}: finite numbers, the scale not 0"
    return None
