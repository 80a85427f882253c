"""What a run is told: one tree of structs, read from TOML, the environment and the command line, in that order.

Every option of `earwitness run` has its key here. Unknown keys are refused with the nearest known one.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from .clips import RecorderSettings
from .detect_settings import detect_settings
from .errors import EarwitnessError, nearest
from .shares import MOST_WORKERS

NODES: tuple[str, ...] = ("broker", "capture", "features", "classify", "recorder", "monitor")
ENVIRONMENT = "EARWITNESS_"
_NOT_OPTIONS = {"EARWITNESS_DATA", "EARWITNESS_CACHE"}  # where training looks for data sets, and keeps features


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class SourceSettings(_Settings):
    """One thing to listen to; the stream is called `name`."""

    source: str  # mic, mic:ID, a path, -, rtsp://…, http://…, demo
    name: str = ""  # made from the source when empty
    channel: int = 0  # 0: all are kept, the model hears their mean; N: only the N-th, counted from 1
    rate: int = 48_000  # of `-`, Hz
    channels: int = 1  # of `-`
    dtype: str = "int16"  # of `-`: int16, int24, int32, float32, uint8, or as arecord and ffmpeg call them
    calibration_db: float | None = None  # dB of sound pressure at 0 dB relative to full scale; None: not known

    def __post_init__(self) -> None:
        if not self.source:
            raise EarwitnessError("a source is empty: name a microphone, a file, an address, - or demo")
        if self.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name):
            raise EarwitnessError(f"stream name {self.name!r}: letters, digits, '.', '_' and '-', at most 64")
        if self.channel < 0:
            raise EarwitnessError(f"channel {self.channel}: 0 mixes all, 1 is the first")
        if not 1 <= self.rate <= 768_000:
            raise EarwitnessError(f"rate {self.rate} Hz: 1 to 768000")
        if not 1 <= self.channels <= 256:
            raise EarwitnessError(f"channels {self.channels}: 1 to 256")
        if self.calibration_db is not None and not 0.0 <= self.calibration_db <= 250.0:
            raise EarwitnessError(f"calibration_db {self.calibration_db:g}: 0 to 250 dB, of most microphones 90 to 140")


class ModelSettings(_Settings):
    """One model that listens to every stream."""

    bundle: str = "esc50-cnn"  # a name in the box, or a folder
    thresholds: dict[str, float] = {}  # by label, in place of the bundle's

    def __post_init__(self) -> None:
        for label, threshold in self.thresholds.items():
            if not 0.0 < threshold <= 1.0:
                raise EarwitnessError(f"threshold of {label!r} is {threshold}: more than 0, at most 1")


class BusSettings(_Settings):
    """Where the broker is."""

    address: str = ""  # tcp://HOST:PORT, ipc://FOLDER; empty: a private folder of this run
    keys: str = ""  # the folder that `earwitness keys` made; needed for tcp


class SupervisorSettings(_Settings):
    """When a node counts as dead, and when to stop trying."""

    hang_s: float = 5.0  # no sign of life for so long: killed and started again
    start_s: float = 30.0  # not ready after so long: the same
    failures: int = 8  # so many within `failures_s`: given up, the run ends
    failures_s: float = 60.0
    stop_s: float = 5.0  # from Ctrl-C to the end

    def __post_init__(self) -> None:
        for name in ("hang_s", "start_s", "failures", "failures_s", "stop_s"):
            if getattr(self, name) <= 0:
                raise EarwitnessError(f"supervisor.{name} is {getattr(self, name)}: more than 0")
        if self.hang_s < 1.0:
            raise EarwitnessError(f"supervisor.hang_s is {self.hang_s}: at least 1, two signs of life are 0.5 s apart")


class Config(_Settings):
    """A run."""

    sources: tuple[SourceSettings | str, ...] = ()
    models: tuple[ModelSettings | str, ...] = ("esc50-cnn",)
    pace: Literal["real", "max"] = "real"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    out: str = "earwitness-out"
    clips: bool = True
    json: bool = False
    only: tuple[str, ...] = ()  # these nodes here, the others elsewhere; empty: all
    block_s: float = 0.0  # how much sound a block holds; 0: 24 ms live, more with many streams or at --pace max
    ring_s: float = 10.0  # how much a live source may be behind before sound is lost
    level_period_s: float = 60.0  # what maximum, mean and percentile levels are of
    workers: int = 1  # processes that compute features, each of a share of the streams
    detect: dict[str, float] = {}  # fields of DetectSettings, in place of the bundle's
    recorder: RecorderSettings = RecorderSettings()
    bus: BusSettings = BusSettings()
    supervisor: SupervisorSettings = SupervisorSettings()

    def __post_init__(self) -> None:
        for node in self.only:
            if node not in NODES:
                raise EarwitnessError(f"only: there is no node {node!r}: {nearest(node, NODES)}")
        detect_settings(self.detect)
        if self.block_s and not 0.001 <= self.block_s <= 1.0:
            raise EarwitnessError(f"block_s is {self.block_s}: 0.001 to 1 s, or 0 for automatic")
        if not 1.0 <= self.ring_s <= 600.0:
            raise EarwitnessError(f"ring_s is {self.ring_s}: 1 to 600 s")
        if not 1.0 <= self.level_period_s <= 3600.0:
            raise EarwitnessError(f"level_period_s is {self.level_period_s}: 1 to 3600 s")
        if not 1 <= self.workers <= MOST_WORKERS:
            raise EarwitnessError(f"workers is {self.workers}: 1 to {MOST_WORKERS} processes for features")

    @property
    def source_settings(self) -> tuple[SourceSettings, ...]:
        """The sources, those written as `name=SOURCE` taken apart."""
        return tuple(parse_source(source) if isinstance(source, str) else source for source in self.sources)

    @property
    def model_settings(self) -> tuple[ModelSettings, ...]:
        """The models, those written as a name taken as a bundle."""
        return tuple(ModelSettings(bundle=model) if isinstance(model, str) else model for model in self.models)


def sources_with(sources: Sequence[str] | None, options: Mapping[str, Any]) -> list[Any] | None:
    """The sources of a command line, with the options that were told for all of them; None where there are none.

    Raises EarwitnessError on options without a source.
    """
    if not options:
        return list(sources) if sources else None
    if not sources:
        raise EarwitnessError(f"--{next(iter(options))} belongs to --source, and there is none")
    named = [parse_source(text) for text in sources]
    return [{"source": one.source, "name": one.name, **options} for one in named]


def load_config(path: Path | None, options: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Config:
    """The file's keys, overridden by `EARWITNESS_…` variables, overridden by `options` (dotted keys; None: not given).

    A variable's value is read as TOML would, else as text, else as a list with commas: `EARWITNESS_SOURCES=mic,demo`,
    `EARWITNESS_BUS__ADDRESS=tcp://server:5550`. Raises EarwitnessError that names the file, the variable or the option.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            tree = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise EarwitnessError(f"config {path}: {(error.strerror or str(error)).lower()}") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise EarwitnessError(f"config {path}: {error}") from None
    build(tree, f"config {path}")
    complaints: list[EarwitnessError] = []
    for variable, text in sorted(environment.items()):
        if variable.startswith(ENVIRONMENT) and variable not in _NOT_OPTIONS:
            key = variable.removeprefix(ENVIRONMENT).lower().replace("__", ".")
            tree = _first_that_fits(tree, key, _readings(text), variable, complaints)
    for key, value in options.items():
        if value is not None:
            tree = _first_that_fits(tree, key, [value], f"option {key}", complaints)
    try:
        return build(tree, "the options together")
    except EarwitnessError:
        if complaints:  # what was wrong by itself says more than what is wrong in the end
            raise complaints[0] from None
        raise


def build(tree: Mapping[str, Any], where: str) -> Config:
    """The structs of a tree of plain values. Raises EarwitnessError with the nearest known key or value."""
    try:
        return msgspec.convert(tree, Config, strict=True)
    except EarwitnessError as error:
        raise EarwitnessError(f"{where}: {error}") from None
    except msgspec.ValidationError as error:
        raise EarwitnessError(f"{where}: {_in_our_words(str(error))}") from None


def parse_source(text: str) -> SourceSettings:
    """`name=SOURCE` or `SOURCE`. A path or an address that holds a '=' is no name unless what precedes it is one."""
    name, equals, rest = text.partition("=")
    if equals and rest and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) and not Path(text).exists():
        return SourceSettings(source=rest, name=name)
    return SourceSettings(source=text)


def _first_that_fits(
    tree: dict[str, Any], key: str, readings: list[Any], where: str, complaints: list[EarwitnessError]
) -> dict[str, Any]:
    """The tree with the key set to the first reading that makes a valid run so far, else to the first reading."""
    changed = [_put(tree, key, reading, where) for reading in readings]
    for each in changed:
        try:
            build(each, where)
        except EarwitnessError as error:
            if each is changed[0]:
                complaint = error
        else:
            return each
    complaints.append(complaint)
    return changed[0]


def _readings(text: str) -> list[Any]:
    """What the text of a variable may mean: a TOML value, itself, a list of texts."""
    readings: list[Any] = [text, [part.strip() for part in text.split(",")]]
    try:
        readings.insert(0, tomllib.loads(f"value = {text}")["value"])
    except tomllib.TOMLDecodeError:
        pass
    return readings


def _put(tree: dict[str, Any], key: str, value: Any, where: str) -> dict[str, Any]:
    name, dot, rest = key.partition(".")
    inner = tree.get(name, {}) if dot else value
    if dot and not isinstance(inner, dict):
        raise EarwitnessError(f"{where}: {name!r} holds no keys")
    return {**tree, name: _put(inner, rest, value, where) if dot else value}


def _in_our_words(text: str) -> str:
    """msgspec's complaint, with the key first and the valid choices last."""
    text, _, place = text.partition(" - at `$")
    place = place.rstrip("`").lstrip(".")
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", text):
        parent = f"{place}." if place else ""
        names = [field.name for field in msgspec.structs.fields(_struct_at(place))]
        return f"unknown key {parent + unknown[1]!r}: {nearest(unknown[1], names)}"
    if choice := re.fullmatch(r"Invalid enum value '(.*)'", text):
        parent, _, name = place.rpartition(".")
        valid = sorted(get_args(get_type_hints(_struct_at(parent))[name]))
        return f"{place} is {choice[1]!r}: valid: {', '.join(map(repr, valid))}"
    text = text.replace("`", "").replace("object", "table").replace("Object", "table")
    return f"{place}: {text[:1].lower()}{text[1:]}" if place else text


def _struct_at(place: str) -> type[msgspec.Struct]:
    """The struct at a place as msgspec writes it: `sources[0]`, `bus`; the whole run at none."""
    kind: type[msgspec.Struct] = Config
    for part in place.split(".") if place else ():
        hint = get_type_hints(kind)[part.partition("[")[0]]
        inside = [hint, *get_args(hint), *(inner for each in get_args(hint) for inner in get_args(each))]
        kind = next(each for each in inside if isinstance(each, type) and issubclass(each, msgspec.Struct))
    return kind
