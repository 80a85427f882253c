"""Tables of data sets: CSV files, and the files that they name."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from ...stream.errors import EarwitnessError
from .clip import BACKGROUND, Clip

NAMED = 3  # problems of one kind that are told one by one


def read_table(path: Path, columns: Iterable[str], what: str) -> list[dict[str, str]]:
    """The rows of a CSV file with a heading.

    Args:
        columns: those that must be there.
        what: whose table it should be, for messages.

    Raises:
        EarwitnessError: it cannot be read, or a column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise EarwitnessError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise EarwitnessError(f"{path} is not the table of {what}: {error}") from error
    missing = [column for column in columns if not rows or rows[0].get(column) is None]
    if missing:
        raise EarwitnessError(f"{path} is not the table of {what}: it has no {missing[0]!r}")
    return rows


def present(clips: Iterable[Clip]) -> tuple[tuple[Clip, ...], list[str]]:
    """The clips whose files are there, and a line about those whose are not."""
    listed: dict[Path, set[str]] = {}
    there, missing = [], []
    for clip in clips:
        folder = clip.path.parent
        if folder not in listed:  # one look at a folder, not one at each file
            listed[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
        (there if clip.path.name in listed[folder] else missing).append(clip)
    return tuple(there), counted("listed and not there", [str(clip.path) for clip in missing])


def counted(what: str, names: list[str]) -> list[str]:
    """One line about many: how many, and the first of them by name; no line about none.

    >>> counted("not there", ["a.wav", "b.wav", "c.wav", "d.wav"])
    ['4 files not there: a.wav, b.wav, c.wav, …']
    """
    if not names:
        return []
    files = "1 file" if len(names) == 1 else f"{len(names)} files"
    return [f"{files} {what}: {', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''}"]


def label_problems(clips: Iterable[Clip]) -> list[str]:
    """Labels that look mistyped: of one clip, and close to a label of many."""
    counts = Counter(label for clip in clips for label in clip.labels if label != BACKGROUND)
    lines = []
    for label in sorted(label for label, count in counts.items() if count == 1):
        near = get_close_matches(label, [other for other, count in counts.items() if count > 1], n=1, cutoff=0.75)
        lines += [f"label {label!r} stands on one clip only: is it {near[0]!r}?"] if near else []
    return lines


def checked(name: str, folder: Path, clips: tuple[Clip, ...], problems: list[str]) -> None:
    """Raises EarwitnessError where no clip is left."""
    if not clips:
        why = f" ({problems[0]})" if problems else ""
        raise EarwitnessError(f"{name}: no clip in {folder}{why}")
