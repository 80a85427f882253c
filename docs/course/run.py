"""Run what a page of the course shows, as its reader would:

    python docs/course/run.py docs/course/04-stft.md
    python docs/course/run.py docs/course/*.md --pictures docs/pictures/course

Blocks marked `sh` and `python` are run in order in one empty folder; the Python blocks of a page share one namespace.
A block marked `text` right behind one of Python is what that one prints, as in a doctest. Every picture that the page
shows must have been made by then.
"""

from __future__ import annotations

import argparse
import contextlib
import doctest
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*?([a-z0-9-]+\.png)\)")
LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Wrong(Exception):
    """A page that does not do what it says."""


def run_page(page: Path, folder: Path) -> list[Path]:
    """Run the blocks of a page in `folder`; return the pictures that it shows. Raises Wrong."""
    text, names, printed = page.read_text(), {"__name__": "__main__"}, None
    for block in BLOCK.finditer(text):
        kind, code = block.groups()
        line = text.count("\n", 0, block.start()) + 2
        if kind == "text":
            if printed is not None and not doctest.OutputChecker().check_output(code, printed, LENIENT):
                raise Wrong(f"{page.name}:{line} says:\n{code}but it prints:\n{printed}")
            printed = None
        elif kind == "python":
            printed = run_python("\n" * (line - 1) + code, str(page), names)
        else:
            run_shell(code, f"{page.name}:{line}")
            printed = None
    pictures = [folder / name for name in dict.fromkeys(PICTURE.findall(text))]
    missing = [picture.name for picture in pictures if not picture.exists()]
    if missing:
        raise Wrong(f"{page.name} shows {', '.join(missing)}, which nothing on it makes")
    return pictures


def run_python(code: str, name: str, names: dict[str, Any]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, name, "exec"), names)
    return printed.getvalue()


def run_shell(code: str, place: str) -> None:
    done = subprocess.run(["bash", "-euc", code], capture_output=True, text=True)
    if done.returncode:
        raise Wrong(f"{place} ends with {done.returncode}:\n{code}{done.stdout}{done.stderr}")


def main() -> None:
    options = argparse.ArgumentParser(description="Run what pages of the course show.")
    options.add_argument("pages", nargs="+", type=Path)
    options.add_argument("--pictures", type=Path, help="keep the pictures that the pages show in this folder")
    asked = options.parse_args()
    pages = [page.resolve() for page in asked.pages]
    keep = asked.pictures.resolve() if asked.pictures else None
    # The reader's `earwitness` is this one, pictures all look alike, nothing opens a window, and on arrays as small as
    # these no threads wait for each other.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ |= {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "MATPLOTLIBRC": str(Path(__file__).resolve().parent)}
    for page in pages:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            pictures = run_page(page, Path(folder))
            if keep:
                for picture in pictures:
                    shutil.copy(picture, keep / picture.name)
        print(f"{page.name}: as it says")


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit(str(wrong))
