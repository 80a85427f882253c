"""AudioFolder, as Hugging Face's `datasets` reads it: a folder for each class, perhaps a metadata.csv.

    FOLDER/dog/1.wav                 its class is the folder's name; `background`, `noise`, `silence`, `other`: no event
    FOLDER/train/dog/1.wav           with the parts that it names: train, validation, test
    FOLDER/metadata.csv              file_name, and beside it label, fold, recording, licence, start_s, end_s; it wins

Where nothing says which part a clip belongs to, the hash of its recording does: a clip that comes later changes no
other's fold, so that what was judged by yesterday is not trained on tomorrow.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

from ...stream.errors import EarwitnessError
from .clip import Clip, Dataset, event_label
from .table import SOUNDS, Row, check_some, counted, inside, judged_by_folds, mistyped, present, read_table

TABLE = "metadata.csv"
FOLDS = 5
TRAIN, VALIDATION, TEST = 1, 2, 3
PARTS = {
    "train": TRAIN, "training": TRAIN, "test": TEST, "testing": TEST,
    "validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION, "dev": VALIDATION,
}  # fmt: skip


def open_folder(name: str, folder: Path) -> Dataset:
    """The sounds in a folder.

    Raises:
        EarwitnessError: no sound with a label is in it, or its metadata.csv is none.
    """
    parts = {entry: PARTS[entry.name.casefold()] for entry in _folders(folder) if entry.name.casefold() in PARTS}
    parted = len(set(parts.values())) > 1
    problems: list[str] = []
    listed: list[Clip] = []
    for base, part in parts.items() if parted else [(folder, 0)]:
        listed += _of_table(base, part, problems) if (base / TABLE).is_file() else _of_folders(base, part, problems)
    clips, missing = present(listed)
    problems += missing + mistyped(clips)
    if parted:
        check_some(name, folder, clips, problems)
        names = {TRAIN: "train", VALIDATION: "validation", TEST: "test"}
        test = TEST if TEST in parts.values() else VALIDATION
        protocol = f"the part {names[test]} is judged after training on the rest"
        return Dataset(name, folder, clips, protocol, (test,), names, tuple(problems))
    return judged_by_folds(name, folder, clips, problems)


def fold_of(recording: str, folds: int = FOLDS) -> int:
    """1..folds, by the recording's name alone."""
    return 1 + int.from_bytes(hashlib.sha256(recording.encode("utf-8", "surrogateescape")).digest()[:8]) % folds


def _of_folders(base: Path, part: int, problems: list[str]) -> Iterator[Clip]:
    loose = [path.name for path in base.iterdir() if path.suffix.lower() in SOUNDS]
    problems += counted(f"in no class's folder of {base}", sorted(loose))
    for entry in _folders(base):
        sounds = sorted(_sounds(entry))
        if not sounds:
            problems.append(f"class {entry.name!r} is left out: no sound in {entry}")
        for path in sounds:
            recording = path.relative_to(base).as_posix()
            yield Clip(path, event_label(entry.name), part or fold_of(recording), recording)


def _of_table(base: Path, part: int, problems: list[str]) -> Iterator[Clip]:
    """What metadata.csv lists; a sound that it does not list counts by its folder."""
    outside: list[str] = []
    unlabelled: list[str] = []
    wrong: list[str] = []
    seen: set[Path] = set()
    for row in read_table(base / TABLE, ("file_name",), "an AudioFolder"):
        path = inside(base, row["file_name"])
        if path is None:
            outside.append(row["file_name"])
            continue
        seen.add(path)
        label = event_label(row.get("label", "")) or _label_by_folder(base, path)
        if not label:
            unlabelled.append(row["file_name"])
            continue
        try:
            yield _clip(row, path, label, part)
        except ValueError:
            wrong.append(row["file_name"])
    others = sorted(path for path in _sounds(base) if path not in seen)
    for path in others:
        if label := _label_by_folder(base, path):
            recording = path.relative_to(base).as_posix()
            yield Clip(path, label, part or fold_of(recording), recording)
        else:
            unlabelled.append(path.name)
    problems += counted("named outside of the folder", outside)
    problems += counted("without a label", unlabelled)
    problems += counted("whose fold, start_s or end_s is no number", wrong)


def _clip(row: Row, path: Path, label: str, part: int) -> Clip:
    """Raises ValueError where a number is none."""
    recording = row.get("recording") or row["file_name"]
    start_s, end_s = float(row.get("start_s") or 0), float(row.get("end_s") or math.inf)
    if not 0 <= start_s < end_s:
        raise ValueError(row["file_name"])
    return Clip(
        path, label, part or (int(row["fold"]) if row.get("fold") else fold_of(recording)), recording,
        row.get("licence") or row.get("license") or "", start_s, None if end_s == math.inf else end_s,
    )  # fmt: skip


def _label_by_folder(base: Path, path: Path) -> str:
    parts = path.relative_to(base).parts
    return event_label(parts[0]) if len(parts) > 1 else ""


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise EarwitnessError(f"cannot read {folder}: {error.strerror}") from error


def _sounds(folder: Path) -> Iterator[Path]:
    return (
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SOUNDS and not path.name.startswith(".") and path.is_file()
    )
