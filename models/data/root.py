"""Where the recordings are."""

from __future__ import annotations

import os
from pathlib import Path

from ...stream.errors import EarwitnessError, nearest


def data_root(given: str | Path | None = None, make: bool = False) -> Path:
    """The folder that holds the data sets.

    The one given, else `$EARWITNESS_DATA`, else `../shared/data` where that is there, else `earwitness` in
    `$XDG_DATA_HOME` or `~/.local/share`.

    Args:
        make: make it where it is not there.

    Raises:
        EarwitnessError: there is no such folder, or it cannot be made.
    """
    named = given or os.environ.get("EARWITNESS_DATA")
    root = Path(named).expanduser() if named else _beside_the_checkout()
    if not named and not root.is_dir():
        root = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "earwitness"
    if make:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EarwitnessError(f"cannot make {root}: {error.strerror}; choose another with --root") from None
    if not root.is_dir():
        raise EarwitnessError(f"no folder of data at {root}: name one with --root or EARWITNESS_DATA")
    return root


def data_folder(root: Path, name: str) -> Path:
    """The folder of one data set, such as `esc50`, under `root`; EarwitnessError when it is not there."""
    folder = root / name
    if not folder.is_dir():
        there = [entry.name for entry in root.iterdir() if entry.is_dir()]
        raise EarwitnessError(f"no data set {name!r} in {root}: {nearest(name, there)}")
    return folder


def _beside_the_checkout() -> Path:
    return Path(__file__).resolve().parents[2].parent / "shared" / "data"
