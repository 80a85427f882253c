"""The data sets by name, and any other folder by what lies in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...stream.errors import EarwitnessError, nearest
from .audio import audio_blocks, read_audio, read_clip
from .clip import BACKGROUND, FREE_LICENCES, NOT_EVENTS, Clip, Dataset
from .esc import open_esc
from .fsdd import open_fsdd
from .root import data_root
from .splits import split_by_recording, without_shared_recordings
from .urbansound import open_urbansound

__all__ = [
    "BACKGROUND", "DATASETS", "FREE_LICENCES", "NOT_EVENTS", "Clip", "Dataset", "audio_blocks", "dataset_names",
    "open_dataset", "read_audio", "read_clip", "split_by_recording", "without_shared_recordings",
]  # fmt: skip

DATASETS = {
    "esc50": "50 everyday sounds, 2,000 clips of 5 s in 5 folds",
    "esc10": "ten of them, 400 clips; of esc50's folder where it has none of its own",
    "urbansound8k": "ten sounds of a city, 8,732 clips of up to 4 s in 10 folds",
    "fsdd": "spoken digits by their official split",
    "fsdd-speakers": "spoken digits, a speaker left out at a time",
}


def dataset_names() -> list[str]:
    """The names that `open_dataset` knows; it takes any folder beside."""
    return list(DATASETS)


def open_dataset(name: str, root: str | Path | None = None) -> Dataset:
    """A data set by its name.

    Args:
        name: one of DATASETS, the name of another folder under `root`, or a path; what lies in a folder says how it
            is read.
        root: the folder of the data sets: see `data_root`.

    Raises:
        EarwitnessError: there is none, with the nearest name; its table is none; no clip of it is there.
    """
    folder = _folder_of(name, root)
    match name:
        case "esc10":
            return open_esc(name, folder, only_esc10=True)
        case "fsdd-speakers":
            return open_fsdd(name, folder, by_speaker=True)
    for marker, opener in _LAYOUTS:
        if (folder / marker).exists():
            return opener(name, folder)
    raise EarwitnessError(f"{folder}: nothing in it says what data set it is")


_LAYOUTS: tuple[tuple[str, Callable[[str, Path], Dataset]], ...] = (
    ("meta/esc50.csv", open_esc),
    ("metadata/UrbanSound8K.csv", open_urbansound),
    ("recordings", open_fsdd),
)

_FOLDERS = {"esc10": ("esc10", "esc50"), "fsdd-speakers": ("fsdd",)}


def _folder_of(name: str, root: str | Path | None) -> Path:
    if len(Path(name).parts) > 1 or name in (".", ".."):
        if Path(name).is_dir():
            return Path(name)
        raise EarwitnessError(f"no folder {name}")
    base = data_root(root)
    for folder in _FOLDERS.get(name, (name,)):
        if (base / folder).is_dir():
            return base / folder
    known = {*DATASETS, *(entry.name for entry in base.iterdir() if entry.is_dir())}
    hint = f"earwitness data get {name}" if name in DATASETS else nearest(name, known)
    raise EarwitnessError(f"no data set {name!r} in {base}: {hint}")
