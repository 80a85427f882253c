"""Where the recordings are: `$EARWITNESS_DATA`, else `../shared/data` beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

from ...stream.errors import EarwitnessError, nearest


def data_root(given: str | Path | None = None) -> Path:
    """The folder that holds the data sets: the one given, else `$EARWITNESS_DATA`, else `../shared/data`.

    Raises:
        EarwitnessError: there is no such folder.
    """
    named = given or os.environ.get("EARWITNESS_DATA")
    root = Path(named) if named else Path(__file__).resolve().parents[2].parent / "shared" / "data"
    if not root.is_dir():
        raise EarwitnessError(f"no folder of data at {root}: name one with --data-root or EARWITNESS_DATA")
    return root


def data_folder(root: Path, name: str) -> Path:
    """The folder of one data set, such as `esc50`, under `root`; EarwitnessError when it is not there."""
    folder = root / name
    if not folder.is_dir():
        there = [entry.name for entry in root.iterdir() if entry.is_dir()]
        raise EarwitnessError(f"no data set {name!r} in {root}: {nearest(name, there)}")
    return folder
