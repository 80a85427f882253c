"""The data sets by name, and any other folder by what lies in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...stream.errors import EarwitnessError, nearest
from . import esc, urbansound
from .audio import audio_blocks, read_audio, read_clip
from .clip import BACKGROUND, FREE_LICENCES, NOT_EVENTS, Clip, Dataset
from .esc import open_esc
from .folder import open_folder
from .fsdd import open_fsdd
from .reviewed import is_reviewed, open_reviewed
from .root import data_root
from .splits import label_problems, split_by_recording, without_shared_recordings
from .urbansound import open_urbansound

__all__ = [
    "BACKGROUND",
    "DATASETS",
    "FREE_LICENCES",
    "NOT_EVENTS",
    "Clip",
    "Dataset",
    "audio_blocks",
    "dataset_names",
    "label_problems",
    "open_dataset",
    "read_audio",
    "read_clip",
    "split_by_recording",
    "without_shared_recordings",
]  # fmt: skip

DATASETS = {
    "esc50": "50 everyday sounds, 2,000 clips of 5 s in 5 folds",
    "esc10": "ten of them, 400 clips; read out of esc50 where it has no folder of its own",
    "urbansound8k": "ten sounds of a city, 8,732 clips of up to 4 s in 10 folds",
    "fsdd": "spoken digits: takes 0 to 4 are judged",
    "fsdd-speakers": "spoken digits: one speaker after the other is judged",
    "clips": "what the recorder saved and a person reviewed; --root is OUT of the run",
    "folder": "a folder for each class, as AudioFolder; --root is the folder",
}

_FOLDERS = {"esc10": ("esc10", "esc50"), "fsdd-speakers": ("fsdd",), "clips": ("clips", "."), "folder": (".",)}


RUNS = "earwitness-out"  # where a run puts its clips unless told otherwise


def dataset_names() -> list[str]:
    """The names that `open_dataset` knows; it takes any folder beside."""
    return list(DATASETS)


def open_dataset(name: str, root: str | Path | None = None) -> Dataset:
    """A data set by its name.

    Args:
        name: one of DATASETS, the name of another folder under `root`, or a path; what lies in a folder says how it
            is read.
        root: the folder of the data sets: see `data_root`. For `folder` it is the data set itself, for `clips` what a
            run's `--out` was.

    Raises:
        EarwitnessError: there is none, with the nearest name; its table is none; no clip of it is there.
    """
    folder = _folder_of(name, root)
    match name:
        case "esc10":
            return open_esc(name, folder, only_esc10=True)
        case "fsdd-speakers":
            return open_fsdd(name, folder, by_speaker=True)
        case "clips":
            return open_reviewed(name, folder)
        case "folder":
            return open_folder(name, folder)
    return _opener(folder)(name, folder)


def _opener(folder: Path) -> Callable[[str, Path], Dataset]:
    """What reads a folder, by what lies in it."""
    if (folder / esc.TABLE).exists():
        return open_esc
    if (folder / urbansound.TABLE).exists():
        return open_urbansound
    if (folder / "recordings").is_dir():
        return open_fsdd
    return open_reviewed if is_reviewed(folder) else open_folder


def _folder_of(name: str, root: str | Path | None) -> Path:
    if "/" in name or name in (".", ".."):
        if Path(name).is_dir():
            return Path(name)
        raise EarwitnessError(f"no folder {name}")
    if name == "folder" and root is None:
        raise EarwitnessError("data set 'folder': name the folder with --root")
    base = data_root(RUNS if name == "clips" and root is None else root)
    for folder in _FOLDERS.get(name, (name,)):
        if (base / folder).is_dir():
            return base / folder
    if name in DATASETS:
        raise EarwitnessError(f"no data set {name!r} in {base}: earwitness data get {name} --root {base} fetches it")
    known = {*DATASETS, *(entry.name for entry in base.iterdir() if entry.is_dir())}
    raise EarwitnessError(f"no data set {name!r} in {base}: {nearest(name, known)}")
