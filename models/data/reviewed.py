"""The clips that the recorder saved and a person reviewed: OUT/clips with its metadata.csv.

A row whose column `review` is filled is used, and what the person wrote is the label, not what the program heard:

    dog              a dog
    dog; speech      both can be heard
    background       no event (so do noise, silence, other)
    ?                nobody can tell: left out

Clips of one hour, and those that share sound over its end, are one recording: whichever stream they are from, they may
have heard the same thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ...stream.errors import EarwitnessError
from .clip import BACKGROUND, Clip, Dataset, event_label
from .folder import TABLE, fold_of
from .table import Row, counted, inside, judged_by_folds, mistyped, present, read_table

UNSURE = "?"
COLUMNS = ("file_name", "label", "utc", "duration_s", "onset_s", "offset_s", "review")
AROUND_S = 1.0  # of the sound before and after an event that is used too


def open_reviewed(name: str, folder: Path, only_reviewed: bool = True) -> Dataset:
    """The clips in a folder.

    Args:
        only_reviewed: leave out what nobody has reviewed; else its label is what the program heard.

    Raises:
        EarwitnessError: its metadata.csv is missing or is none, or no clip is reviewed.
    """
    problems: list[str] = []
    rows = read_table(folder / TABLE, COLUMNS, "the recorder's clips")
    used = [row for row in rows if row["review"].strip() or (not only_reviewed and row["label"].strip())]
    unsure = [row for row in used if row["review"].strip() == UNSURE]
    clips, missing = present(_clips([row for row in used if row not in unsure], folder, problems))
    if len(used) < len(rows):
        problems.append(f"{len(rows) - len(used)} of {len(rows)} clips have no review: write there what they were")
    problems += missing + mistyped(clips)
    return judged_by_folds(name, folder, clips, problems)


def is_reviewed(folder: Path) -> bool:
    """Whether a folder is one of the recorder's."""
    try:
        read_table(folder / TABLE, COLUMNS, "the recorder's clips")
    except EarwitnessError:
        return False
    return True


def labels_of(review: str) -> tuple[str, ...]:
    """What a person's review says can be heard, each once; what is no event only where nothing else is.

    >>> labels_of("dog; speech"), labels_of("noise"), labels_of("dog; background")
    (('dog', 'speech'), ('background',), ('dog',))
    """
    labels = list(dict.fromkeys(label for text in re.split(r"[;|]", review) if (label := event_label(text))))
    return tuple(label for label in labels if label != BACKGROUND) or tuple(labels)


def _clips(rows: list[Row], folder: Path, problems: list[str]) -> Iterator[Clip]:
    outside: list[str] = []
    wrong: list[str] = []
    timed: list[tuple[datetime, datetime, Path, float, float, tuple[str, ...]]] = []
    for row in rows:
        path = inside(folder, row["file_name"])
        try:
            if path is None:
                outside.append(row["file_name"])
            else:
                onset_s, offset_s = float(row["onset_s"]), float(row["offset_s"])
                labels = labels_of(row["review"]) or labels_of(row["label"])
                begin = datetime.fromisoformat(row["utc"]).astimezone(UTC) - timedelta(seconds=onset_s)
                end = begin + timedelta(seconds=float(row["duration_s"]))
                timed.append((begin, end, path, onset_s, offset_s, labels))
        except ValueError:
            wrong.append(row["file_name"])
    hour = ""
    until: datetime | None = None
    for begin, end, path, onset_s, offset_s, labels in sorted(timed, key=lambda each: each[:2]):
        if until is None or begin >= until:
            hour = begin.strftime("%Y-%m-%dT%H")
        until = end if until is None else max(until, end)
        yield Clip(
            path, labels[0], fold_of(hour), hour, "", max(0.0, onset_s - AROUND_S), offset_s + AROUND_S, labels[1:]
        )
    problems += counted("named outside of the folder", outside)
    problems += counted("whose row is damaged", wrong)
