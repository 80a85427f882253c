"""Makes bundles of models that others trained: a `.onnx` or `.tflite` file and a manifest that says what it takes, or a
folder of `transformers`, which says so itself.

    earwitness models add birds.tflite --manifest birds.toml

The manifest is a bundle's (`manifest.py`), and may leave out or write shortly what is tiresome: see `read_foreign`. The
file is checked before it is opened, then tried on silence and noise in a process of its own; only then it is installed.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ...stream.errors import EarwitnessError, nearest
from ..bundle import LARGEST_FILE, LARGEST_MANIFEST, PRETRAINED, Bundle, bundle_names, user_folder, write_bundle
from ..manifest import FORMAT_VERSION, Manifest, manifest_of
from ..runtimes.litert_file import check_litert
from ..runtimes.onnx_file import check_onnx, read_onnx
from .transformers_folder import manifest_values, read_folder

TRIAL_S = 300.0
THRESHOLD = 0.5  # of labels, where the manifest names none
KINDS = {".onnx": "model.onnx", ".tflite": "model.tflite"}
PICKLES = {
    ".pt": "torch.onnx.export", ".pth": "torch.onnx.export", ".ckpt": "torch.onnx.export", ".bin": "torch.onnx.export",
    ".pkl": "skl2onnx.to_onnx", ".pickle": "skl2onnx.to_onnx", ".joblib": "skl2onnx.to_onnx",
    ".h5": "tf.lite.TFLiteConverter", ".hdf5": "tf.lite.TFLiteConverter", ".keras": "tf.lite.TFLiteConverter",
    ".pb": "tf.lite.TFLiteConverter",
}  # fmt: skip
"""Formats that hold or may hold code, which opening would run; and what makes one that does not of such a model."""


@dataclass(frozen=True)
class Added:
    """A bundle that was made, and what is odd about it."""

    bundle: Bundle
    remarks: list[str]


def add_model(
    file: Path,
    manifest_file: Path | None,
    name: str | None = None,
    out: Path | None = None,
    *,
    extra: Mapping[str, bytes] | None = None,
) -> Added:
    """Make a bundle of a model of others, and install it.

    Args:
        file: the model, `.onnx` or `.tflite`, or a folder of `transformers`; files that an ONNX model has its weights
            in lie beside it.
        manifest_file: see `read_foreign`; a folder needs none.
        name: of the bundle, in place of the manifest's.
        out: the folder of bundles that it goes to; None: `user_folder`.
        extra: further files of the bundle, by name, such as a licence.

    Raises:
        EarwitnessError: the file is none that may be opened, it is not what the manifest says, or its trial failed.
            Nothing was installed then.
    """
    if file.is_dir():
        contents = read_folder(file)
        manifest = read_foreign(manifest_file, name, manifest_values(file, contents))
    else:
        contents = {**read_model(file), **(extra or {})}
        manifest = read_foreign(manifest_file, name)
    check_name(manifest.name, out)
    remarks = _tried(manifest, contents)
    return Added(write_bundle((out or user_folder()) / manifest.name, manifest, contents), remarks)


def check_name(name: str, out: Path | None = None) -> None:
    """EarwitnessError where a bundle cannot have that name: it is none of a folder, or one in the box has it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise EarwitnessError(
            f"name {name!r}: a bundle is called by letters, digits, -, _ and .; choose one with --name"
        )
    if out is None and name in bundle_names(PRETRAINED):
        raise EarwitnessError(f"name {name!r}: a model in the box is called so; choose another with --name")


def read_model(file: Path) -> dict[str, bytes]:
    """The model file under its name in a bundle, and the files its weights are in, checked but not opened.

    Raises:
        EarwitnessError: missing, too large, of a kind that is not taken, damaged, or asking for what it shall not have.
    """
    kind = file.suffix.lower()
    if kind in PICKLES:
        raise EarwitnessError(
            f"{file}: {kind} may hold code that opening it would run; export it with {PICKLES[kind]} to "
            f"{'.tflite' if 'TFLite' in PICKLES[kind] else '.onnx'} and add that"
        )
    if kind not in KINDS:
        raise EarwitnessError(f"{file}: a model is a .onnx or a .tflite file; {nearest(kind, KINDS)}")
    data = _read(file)
    try:
        if kind == ".tflite":
            _check_litert(data)
            return {KINDS[kind]: data}
        contents = {KINDS[kind]: data}
        for location in sorted({location for location, _, _ in read_onnx(data).external}):
            if location != Path(location).name or "\\" in location or location in ("", ".", "..", *KINDS.values()):
                raise EarwitnessError(f"has weights in {location!r}, which leaves its folder")
            contents[location] = _read(file.parent / location)
        check_onnx(data, {name: len(each) for name, each in contents.items()})
    except EarwitnessError as error:
        raise EarwitnessError(str(error) if str(error).startswith(str(file.parent)) else f"{file} {error}") from None
    return contents


def read_foreign(path: Path | None, name: str | None = None, told: Mapping[str, Any] | None = None) -> Manifest:
    """A manifest for a model of others.

    As a bundle's manifest.toml, with these differences: `format_version`, `description`, `licence`, `files` may be left
    out; `labels` may be a table `{file = "labels.txt"}`, one a line, or `{file = "map.csv", column = "display_name"}`,
    the file lying beside the manifest; `thresholds` may be one number for all, or have a `default` among its labels, or
    be left out, which is 0.5.

    Args:
        path: of the manifest; None where `told` tells it all.
        name: of the bundle, in place of the manifest's.
        told: what is known already, by the manifest's keys; the manifest has the last word.

    Raises:
        EarwitnessError: it is missing, no TOML, or contradicts itself.
    """
    where = f"manifest {path}" if path else "the model's own configuration"
    defaults = {"format_version": FORMAT_VERSION, "description": "a model of others", "licence": "not told"}
    values: dict[str, Any] = {**defaults, **(told or {}), **(_read_toml(path) if path else {})}
    if told and isinstance(values["window_frames"], int):
        values["input"] = {**values["input"], "shape": [0, values["window_frames"]]}
    values["name"] = name or values.get("name") or (path.stem if path else "")
    values["labels"] = _labels(values.get("labels"), path or Path())
    values["thresholds"] = _thresholds(values.get("thresholds", THRESHOLD), values)
    manifest = manifest_of(values, where)
    if manifest.format_version != FORMAT_VERSION:
        raise EarwitnessError(f"{where} has format version {manifest.format_version}; it is {FORMAT_VERSION}")
    if problem := manifest.check():
        raise EarwitnessError(f"{where}: {problem}")
    return msgspec.structs.replace(manifest, files={})


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            raise EarwitnessError(f"manifest {path}: larger than {LARGEST_MANIFEST} bytes")
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise EarwitnessError(f"manifest {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EarwitnessError(f"manifest {path} is no TOML: {error}") from None


def _labels(told: Any, manifest: Path) -> list[str]:
    if isinstance(told, list):
        return told  # its elements are checked with all the rest
    if not isinstance(told, dict) or not isinstance(told.get("file"), str) or set(told) - {"file", "column"}:
        raise EarwitnessError(
            f'manifest {manifest}: labels are a list, {{file = "labels.txt"}} or {{file = "map.csv", column = "name"}}'
        )
    path, column = manifest.parent / told["file"], told.get("column")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EarwitnessError(f"labels {path}: {getattr(error, 'strerror', None) or error}") from None
    if column is None:
        return [line.strip() for line in text.splitlines() if line.strip()]
    rows = csv.DictReader(text.splitlines())
    if column not in (names := list(rows.fieldnames or ())):
        raise EarwitnessError(f"labels {path}: no column {column!r}; {nearest(str(column), names)}")
    return [row[column] or "" for row in rows]


def _thresholds(told: Any, values: Mapping[str, Any]) -> Any:
    """A threshold for each label that may be an event."""
    default = told.get("default") if isinstance(told, dict) else told
    if not isinstance(default, (int, float)):
        return told
    own = {label: each for label, each in told.items() if label != "default"} if isinstance(told, dict) else {}
    events = [label for label in values["labels"] if label != values.get("background", "")]
    return {**dict.fromkeys(events, default), **own}


def _tried(manifest: Manifest, contents: Mapping[str, bytes]) -> list[str]:
    """What the trial remarked. It runs in a process of its own: a file that brings the runtime down ends that one."""
    with tempfile.TemporaryDirectory(prefix="earwitness-trial-") as folder:
        bundle = write_bundle(Path(folder) / manifest.name, manifest, contents)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "earwitness.models.foreign.trial", str(bundle.path)],
                capture_output=True, text=True, timeout=TRIAL_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise EarwitnessError(f"{manifest.name}: its trial took more than {TRIAL_S:g} s") from None
        if done.returncode == 2:
            raise EarwitnessError(done.stderr.strip().splitlines()[-1].replace(f"bundle {bundle.path}: ", ""))
        if done.returncode:
            raise EarwitnessError(f"{manifest.name}: the file brought its runtime down (exit {done.returncode})")
    return done.stdout.splitlines()


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise EarwitnessError(f"{path}: no such file")
        if path.stat().st_size > LARGEST_FILE:
            raise EarwitnessError(f"{path}: larger than {LARGEST_FILE} bytes")
        return path.read_bytes()
    except OSError as error:
        raise EarwitnessError(f"{path}: {error.strerror}") from None


def _check_litert(data: bytes) -> None:
    try:
        check_litert(data)
    except ImportError:
        raise EarwitnessError("needs LiteRT: pip install 'earwitness[litert]'") from None
