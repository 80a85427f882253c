"""UrbanSound8K (J. Salamon, C. Jacoby, J. P. Bello, 2014, https://doi.org/10.1145/2647868.2655045).

A folder holds `metadata/UrbanSound8K.csv` and `audio/foldN/`. Slices of one recording share a fold. What of it is not
there is not used: where only some folds are, those are judged by in turn.
"""

from __future__ import annotations

from pathlib import Path

from ...stream.errors import EarwitnessError
from .clip import Clip, Dataset
from .table import judged_by_folds, present, read_table

TABLE = Path("metadata") / "UrbanSound8K.csv"


def open_urbansound(name: str, folder: Path) -> Dataset:
    """The data set in a folder.

    Raises:
        EarwitnessError: the table is missing or is none, or none of its clips is there.
    """
    rows = read_table(folder / TABLE, ("slice_file_name", "fsID", "fold", "class"), "UrbanSound8K")
    try:
        listed = [
            Clip(
                folder / "audio" / f"fold{int(row['fold'])}" / row["slice_file_name"], row["class"], int(row["fold"]),
                row["fsID"], "CC-BY-NC",
            )
            for row in rows
        ]  # fmt: skip
    except ValueError as error:
        raise EarwitnessError(f"{folder / TABLE} is not the table of UrbanSound8K: {error}") from error
    clips, problems = present(listed)
    return judged_by_folds(name, folder, clips, problems)
