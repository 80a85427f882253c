"""ESC-50 and its subset ESC-10 (K. J. Piczak, 2015, https://doi.org/10.1145/2733373.2806390).

A folder holds `meta/esc50.csv`, `audio/` and, for credits and licences, `LICENSE` or `LICENSE-clips.txt`. Clips cut
from one recording share a fold in the original; four recordings of ESC-50 stand in two folds, so splits here go by
recording, not by clip.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...stream.errors import EarwitnessError
from .clip import Clip, Dataset
from .table import judged_by_folds, present, read_table

TABLE = Path("meta") / "esc50.csv"
CREDITS = ("LICENSE-clips.txt", "LICENSE")  # where the text may be: the second is the original's name

_CREDIT = re.compile(r"- \[(\d-\d+-[A-Z])\.ogg\](?:.*\[([^\]]+)\]$)?")


def open_esc(name: str, folder: Path, only_esc10: bool = False) -> Dataset:
    """The data set in a folder, or of ESC-50 the clips that are ESC-10's.

    Raises:
        EarwitnessError: the table is missing or is none, or none of its clips is there.
    """
    rows = read_table(folder / TABLE, ("filename", "fold", "category", "src_file"), "ESC-50")
    if only_esc10:
        rows = [row for row in rows if row.get("esc10", "").casefold() == "true"]
    licences = {} if rows and rows[0].get("licence") else _licences(folder)
    try:
        listed = [
            Clip(
                folder / "audio" / row["filename"], row["category"], int(row["fold"]), row["src_file"],
                row.get("licence") or licences.get(_credited(row["filename"]), ""),
            )
            for row in rows
        ]  # fmt: skip
    except ValueError as error:
        raise EarwitnessError(f"{folder / TABLE} is not the table of ESC-50: {error}") from error
    clips, problems = present(listed)
    return judged_by_folds(name, folder, clips, problems)


def credits_of(folder: Path, clips: Iterable[Clip]) -> list[str]:
    """One line a clip (file, title, address, author, licence), from the data set's own text about it."""
    names = {_credited(clip.path.name) for clip in clips}
    return [line for name, line, _ in _credits(folder) if name in names]


def _licences(folder: Path) -> dict[str, str]:
    return {name: licence for name, _, licence in _credits(folder)}


def _credited(file_name: str) -> str:
    """A clip's name as the text has it, which leaves out the number of the class."""
    return file_name.rpartition(".")[0].rpartition("-")[0]


def _credits(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Name, whole line and licence of each clip that the text tells of; nothing where there is no text."""
    for name in CREDITS:
        if (folder / name).is_file():
            for line in map(str.strip, (folder / name).read_text(encoding="utf-8", errors="replace").splitlines()):
                if found := _CREDIT.match(line):
                    yield found[1], line.removeprefix("- "), found[2] or ""
            return
