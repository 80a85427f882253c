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
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ..stream.errors import EarwitnessError, nearest
from .manifest import (
    FORMAT_VERSION,
    Constant,
    FileEntry,
    Input,
    Manifest,
    Network,
    Option,
    Output,
    State,
    Training,
    read_manifest,
    to_toml,
)

__all__ = [
    "FORMAT_VERSION", "MANIFEST", "MODEL_FILES", "PRETRAINED", "Bundle", "Constant", "FileEntry", "Input", "Manifest",
    "Network", "Option", "Output", "State", "Training", "bundle_names", "find_bundle", "remove_bundle", "to_toml",
    "user_folder", "write_bundle",
]  # fmt: skip

MANIFEST = "manifest.toml"
MODEL_FILES = ("model.onnx", "model.tflite")
PRETRAINED = Path(__file__).resolve().parent / "pretrained"
KNOWN = Path(__file__).resolve().parent / "foreign" / "known"  # manifests of models that `models add` knows by name
LARGEST_MANIFEST = 1 << 20  # bytes
LARGEST_FILE = 1 << 31  # bytes: what ONNX's own format ends at


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
        manifest = read_manifest(raw, f"bundle {folder}: {MANIFEST}")
        problem = manifest.check()
        if problem:
            raise EarwitnessError(f"bundle {folder}: {problem}")
        contents = _verified_files(folder, manifest.files)
        in_torch = manifest.network is not None and manifest.network.kind == "transformers"
        if not in_torch and not any(name in contents for name in MODEL_FILES):
            raise EarwitnessError(f"bundle {folder}: its manifest lists no model; one of {', '.join(MODEL_FILES)}")
        return cls(folder, manifest, hashlib.sha256(raw).hexdigest(), contents)

    @property
    def tag(self) -> str:
        """Name and the beginning of the hash, as events carry it: `esc10-cnn@4f1c2a`."""
        return f"{self.manifest.name}@{self.sha256[:6]}"


def user_folder() -> Path:
    """Where `models add` puts bundles: `earwitness/models` in $XDG_DATA_HOME, else in ~/.local/share."""
    base = os.environ.get("XDG_DATA_HOME", "")
    # The XDG base directory specification: a path that is not absolute counts for nothing.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "share") / "earwitness" / "models"


def find_bundle(name: str | Path, folder: Path | None = None) -> Bundle:
    """The bundle of that name in a folder of bundles, or the one in the folder that `name` is a path of.

    Args:
        folder: None: the box, then the user's own (`user_folder`).

    Raises:
        EarwitnessError: there is none, with the nearest name; or it is not in order, see `Bundle.load`.
    """
    path = Path(name)
    if len(path.parts) == 1:
        for shelf in _shelves(folder):
            if (shelf / path / MANIFEST).is_file():
                return Bundle.load(shelf / path)
    if path.is_dir():
        return Bundle.load(path)
    hint = nearest(str(name), bundle_names(folder))
    if folder is None and len(path.parts) == 1 and (KNOWN / f"{name}.toml").is_file():
        hint = f"earwitness models add {name} brings it here"
    raise EarwitnessError(f"no model {str(name)!r}: {hint}")


def bundle_names(folder: Path | None = None) -> list[str]:
    """The names of the bundles there are, sorted; they are not verified by this. `folder` as in `find_bundle`."""
    found = {entry.parent.name for shelf in _shelves(folder) for entry in shelf.glob(f"*/{MANIFEST}")}
    return sorted(name for name in found if not name.startswith("."))


def remove_bundle(name: str) -> Path:
    """Delete the bundle of that name from the user's folder; its path, which is no more.

    Raises:
        EarwitnessError: there is none, with the nearest name; those in the box stay.
    """
    folder = user_folder()
    path = folder / name
    if name not in bundle_names(folder) or path.is_symlink():
        raise EarwitnessError(f"no model {name!r} was added; {nearest(name, bundle_names(folder))}")
    shutil.rmtree(path)
    return path


def _shelves(folder: Path | None) -> tuple[Path, ...]:
    return (PRETRAINED, user_folder()) if folder is None else (folder,)


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


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise EarwitnessError(f"{folder} is no bundle: it has no {MANIFEST}")
    if path.stat().st_size > LARGEST_MANIFEST:
        raise EarwitnessError(f"bundle {folder}: {MANIFEST} is larger than {LARGEST_MANIFEST} bytes")
    return path.read_bytes()


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
        if entry.bytes > LARGEST_FILE:
            raise EarwitnessError(f"bundle {folder}: {name} is larger than {LARGEST_FILE} bytes")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise EarwitnessError(f"bundle {folder}: {name} was changed: its SHA-256 is not the manifest's")
        contents[name] = data
    return contents
