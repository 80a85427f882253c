"""Every page of the course does what it says: its commands and programs run, and print and draw what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COURSE = Path(__file__).resolve().parent.parent / "docs" / "course"
PAGES = sorted(COURSE.glob("[0-9]*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_does_what_it_says(page: Path, request: pytest.FixtureRequest) -> None:
    for needed in ("torch", "matplotlib", "sklearn", "tensorboard"):
        if needed in page.read_text():
            pytest.importorskip(needed)
    recordings = "EARWITNESS_DATA" in page.read_text()
    done = run(page, data=request.getfixturevalue("data_root") if recordings else None)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", "but it prints:\n2"),
        ("```sh\nearwitness plot no-such-file.wav -o x.png\n```\n", "ends with 2"),
        ("```python\n1 / 0\n```\n", 'page.md", line 2'),
        ("![a picture](../pictures/course/never.png)\n", "shows never.png, which nothing on it makes"),
    ],
)
def test_a_page_that_does_not_is_found_out(tmp_path: Path, page: str, complaint: str) -> None:
    (tmp_path / "page.md").write_text(page)
    done = run(tmp_path / "page.md")
    assert done.returncode != 0
    assert complaint in done.stderr


def test_the_pictures_are_those_that_the_pages_show() -> None:
    shown = {name for page in PAGES for name in re.findall(r"pictures/course/([a-z0-9-]+\.png)", page.read_text())}
    assert shown == {path.name for path in (COURSE.parent / "pictures" / "course").iterdir()}


def run(page: Path, data: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"EARWITNESS_DATA": str(data)} if data else {})}
    command = [sys.executable, str(COURSE / "run.py"), str(page)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
