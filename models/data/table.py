"""Tables of data sets: CSV files, and the files that they name."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from ...stream.errors import EarwitnessError
from .clip import BACKGROUND, Clip, Dataset

Row = dict[str, str]

NAMED = 3  # of many files with the same fault, those that are named
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus")


def read_table(path: Path, columns: Iterable[str], what: str) -> list[Row]:
    """The rows of a CSV file with a heading, every column filled (""); commas, semicolons or tabs part them.

    Args:
        columns: those that must be there.
        what: whose table it should be, for messages.

    Raises:
        EarwitnessError: it cannot be read, or a column is missing.
    """
    try:
        # Names of files need not be UTF-8; what was written by a spreadsheet may begin with a mark.
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            heading = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t", key=heading.count), restval="")
            rows = [{key: value for key, value in row.items() if key is not None} for row in reader]
    except OSError as error:
        raise EarwitnessError(f"cannot read {path}: {error.strerror}") from error
    except csv.Error as error:
        raise EarwitnessError(f"{path} is not the table of {what}: {error}") from error
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise EarwitnessError(f"{path} is not the table of {what}: it has no column {missing[0]!r}")
    return rows


def inside(folder: Path, name: str) -> Path | None:
    """The file of that name, "/" between its parts, in a folder; None where the name leads out of it."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if not name or parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
        return None
    return folder / parts


def present(clips: Iterable[Clip]) -> tuple[tuple[Clip, ...], list[str]]:
    """The clips whose files are there, and a line about those whose are not."""
    listed: dict[Path, set[str]] = {}
    there: list[Clip] = []
    missing: list[str] = []
    for clip in clips:
        folder = clip.path.parent
        if folder not in listed:  # one look at a folder, not one at each file
            listed[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
        if clip.path.name in listed[folder]:
            there.append(clip)
        else:
            missing.append(str(clip.path))
    return tuple(there), counted("listed and not there", missing)


def counted(what: str, names: list[str]) -> list[str]:
    """One line about many: how many, and the first of them by name; no line about none.

    >>> counted("not there", ["a.wav", "b.wav", "c.wav", "d.wav"])
    ['4 files not there: a.wav, b.wav, c.wav, …']
    """
    if not names:
        return []
    files = "1 file" if len(names) == 1 else f"{len(names)} files"
    return [f"{files} {what}: {', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''}"]


def mistyped(clips: Iterable[Clip]) -> list[str]:
    """A line about each label that stands on one clip only and looks like one of several clips."""
    counts = Counter(label for clip in clips for label in clip.labels if label != BACKGROUND)
    several = [label for label, count in counts.items() if count > 1]
    lines = []
    for label in sorted(label for label, count in counts.items() if count == 1):
        near = get_close_matches(label, several, n=1, cutoff=0.75)
        lines += [f"label {label!r} stands on one clip only: is it {near[0]!r}?"] if near else []
    return lines


def judged_by_folds(name: str, folder: Path, clips: tuple[Clip, ...], problems: list[str]) -> Dataset:
    """A data set of which each fold is judged in turn. Raises EarwitnessError where no clip is left."""
    check_some(name, folder, clips, problems)
    return Dataset(name, folder, clips, "each fold is judged after training on the others", problems=tuple(problems))


def check_some(name: str, folder: Path, clips: tuple[Clip, ...], problems: list[str]) -> None:
    """Raises EarwitnessError where no clip is left."""
    if not clips:
        why = f": {problems[0]}" if problems else ""
        raise EarwitnessError(f"{name}: no clip in {folder}{why}")
