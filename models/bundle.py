"""A bundle: a folder with a model and all that is needed to run it, verified before anything in it is opened.

    NAME/manifest.toml       what it is: front end, labels, window, thresholds, licence, how it was made, its scores
    NAME/model.onnx          the network
    NAME/model.safetensors   its weights, which the network file refers to
    NAME/CREDITS.txt         whose recordings it learnt from

The manifest lists every other file with its size and SHA-256. A folder that holds anything else, or whose files are not
the ones listed, is refused. No torch here: live processes import this.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..stream.errors import EarwitnessError, nearest
from ..stream.features.frontend import FrontEndSpec

FORMAT_VERSION = 1
MANIFEST = "manifest.toml"
MODEL_FILES = ("model.onnx", "model.tflite")
PRETRAINED = Path(__file__).resolve().parent / "pretrained"
LARGEST_MANIFEST = 1 << 20  # bytes

Option = bool | int | float | str | list[int]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of the manifest and its tables: unknown keys are refused."""


class FileEntry(Part, frozen=True, kw_only=True):
    """One file of the bundle."""

    bytes: int
    sha256: str


class Input(Part, frozen=True, kw_only=True):
    """What the model takes: `shape[0]` is 0, any number of windows."""

    name: str
    shape: list[int]
    dtype: Literal["float32"] = "float32"


class Output(Part, frozen=True, kw_only=True):
    """What the model gives, one row a window, one column a label; `activation` is what the runtime still applies."""

    name: str
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    temperature: float = 1.0  # logits are divided by it before the activation; above 1 makes less sure


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
        background: the label that is never an event.
        window_frames: frames of a window. Window k of a segment begins at frame k * hop_frames.
        thresholds: score from which a label is an event, 0..1; every label but the background has one.
        detection: defaults for `stream.detect.DetectSettings`, by field name.
        scores: what was measured, by name; shares are 0..1.
    """

    format_version: int
    name: str
    description: str
    licence: str
    labels: list[str]
    background: str
    window_frames: int
    hop_frames: int
    front_end: FrontEndSpec
    input: Input
    output: Output
    thresholds: dict[str, float]
    network: Network | None = None
    detection: dict[str, Option] = {}
    training: Training | None = None
    scores: dict[str, float] = {}
    files: dict[str, FileEntry] = {}

    def check(self) -> str | None:
        """What contradicts itself in this manifest, in one line; None when all is well."""
        events = [label for label in self.labels if label != self.background]
        shape = [0, self.window_frames, self.front_end.dims]
        if not events or len(set(self.labels)) != len(self.labels):
            return "labels must be several, each once"
        if self.background not in self.labels:
            return f"background {self.background!r} is none of the labels; {nearest(self.background, self.labels)}"
        if not 0 < self.hop_frames <= self.window_frames:
            return f"hop_frames is {self.hop_frames}: it must be 1 to window_frames, {self.window_frames}"
        if self.input.shape != shape:
            return f"input.shape is {self.input.shape}, but window and front end give {shape}"
        if not self.output.temperature > 0:
            return f"output.temperature is {self.output.temperature}: it must be above 0"
        for label, threshold in self.thresholds.items():
            if label not in events:
                return f"threshold for {label!r}, which is no event; {nearest(label, events)}"
            if not 0 < threshold <= 1:
                return f"threshold of {label!r} is {threshold}: it must be above 0 and at most 1"
        missing = sorted(set(events) - set(self.thresholds))
        return f"no threshold for {missing[0]!r}" if missing else None


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: its folder.
        manifest: what it says of itself.
        sha256: of manifest.toml, and through it of everything.
        contents: the listed files as they were when verified; what runs is these bytes, not the disk's.
    """

    path: Path
    manifest: Manifest
    sha256: str
    contents: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read a bundle's folder and verify every file in it.

        Raises:
            EarwitnessError: it is missing, of another format version, contradicts itself, or a file is missing,
                foreign, changed, or no plain file inside the folder.
        """
        folder = Path(path)
        raw = _read_manifest(folder)
        manifest = _decode(folder, raw)
        problem = manifest.check()
        if problem:
            raise EarwitnessError(f"bundle {folder}: {problem}")
        contents = _verified_files(folder, manifest.files)
        if not any(name in contents for name in MODEL_FILES):
            raise EarwitnessError(f"bundle {folder}: its manifest lists no model; one of {', '.join(MODEL_FILES)}")
        return cls(folder, manifest, hashlib.sha256(raw).hexdigest(), contents)

    @property
    def tag(self) -> str:
        """Name and the beginning of the hash, as events carry it: `esc10-cnn@4f1c2a`."""
        return f"{self.manifest.name}@{self.sha256[:6]}"


def find_bundle(name: str | Path, folder: Path = PRETRAINED) -> Bundle:
    """The bundle in the box of that name, or the one in the folder that `name` is a path of.

    Raises:
        EarwitnessError: there is none, with the nearest name; or it is not in order, see `Bundle.load`.
    """
    path = Path(name)
    if len(path.parts) == 1 and (folder / path / MANIFEST).is_file():
        return Bundle.load(folder / path)
    if path.is_dir():
        return Bundle.load(path)
    raise EarwitnessError(f"no model {str(name)!r}: {nearest(str(name), bundle_names(folder))}")


def bundle_names(folder: Path = PRETRAINED) -> list[str]:
    """The names of the bundles in the box, sorted; they are not verified by this."""
    return sorted(entry.parent.name for entry in folder.glob(f"*/{MANIFEST}"))


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle at once, in place of what is there: sizes and hashes are filled in, and it is verified.

    Args:
        folder: `.../NAME`; its parent is made when missing.
        manifest: `files` in it is ignored.
        files: every file but the manifest, by name.
    """
    entries = {
        name: FileEntry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()) for name, data in files.items()
    }
    text = to_toml(msgspec.structs.replace(manifest, files=entries))
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, data in {**files, MANIFEST: text.encode()}.items():
            (new / name).write_bytes(data)
        Bundle.load(new)
        new.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Bundle.load(folder)


def to_toml(manifest: Manifest) -> str:
    """The manifest as TOML: single values first, then one table after the other."""
    values: dict[str, Any] = msgspec.to_builtins(manifest)
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if _is_single(value)]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _table(key, value)
    return "\n".join(lines) + "\n"


def _table(name: str, table: dict[str, Any]) -> list[str]:
    lines = ["", f"[{name}]"]
    lines += [f"{_key(key)} = {_value(value)}" for key, value in table.items() if _is_single(value)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _table(f"{name}.{_key(key)}", value)
    return lines


def _is_single(value: Any) -> bool:
    return value is not None and not isinstance(value, dict)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # TOML's strings, numbers and booleans are written as JSON's


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise EarwitnessError(f"{folder} is no bundle: it has no {MANIFEST}")
    if path.stat().st_size > LARGEST_MANIFEST:
        raise EarwitnessError(f"bundle {folder}: {MANIFEST} is larger than {LARGEST_MANIFEST} bytes")
    return path.read_bytes()


def _decode(folder: Path, raw: bytes) -> Manifest:
    try:
        values = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EarwitnessError(f"bundle {folder}: {MANIFEST} is no TOML: {error}") from error
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        raise EarwitnessError(
            f"bundle {folder} has format version {version}; this program reads version {FORMAT_VERSION}"
        )
    unknown = sorted(set(values) - {field.name for field in msgspec.structs.fields(Manifest)})
    if unknown:
        known = [field.name for field in msgspec.structs.fields(Manifest)]
        raise EarwitnessError(f"bundle {folder}: unknown key {unknown[0]!r}; {nearest(unknown[0], known)}")
    try:
        return msgspec.convert(values, Manifest)
    except msgspec.ValidationError as error:
        raise EarwitnessError(f"bundle {folder}: {MANIFEST}: {error}") from error
    except EarwitnessError as error:  # the front end's own checks
        raise EarwitnessError(f"bundle {folder}: {error}") from error


def _verified_files(folder: Path, entries: Mapping[str, FileEntry]) -> dict[str, bytes]:
    """The listed files' bytes; EarwitnessError when the folder and the list differ in anything."""
    for name in entries:
        if name != Path(name).name or name in ("", ".", "..", MANIFEST) or "\\" in name:
            raise EarwitnessError(f"bundle {folder}: file {name!r} leaves the folder or is not a plain name")
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST and path.name not in entries:
            raise EarwitnessError(f"bundle {folder}: {path.name} is foreign: the manifest does not list it")
    contents = {}
    for name, entry in entries.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise EarwitnessError(f"bundle {folder}: {name} is missing, or no plain file")
        if path.stat().st_size != entry.bytes:
            size = path.stat().st_size
            raise EarwitnessError(f"bundle {folder}: {name} was changed: {size} bytes instead of {entry.bytes}")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise EarwitnessError(f"bundle {folder}: {name} was changed: its SHA-256 is not the manifest's")
        contents[name] = data
    return contents
