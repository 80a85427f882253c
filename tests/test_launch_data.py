"""`earwitness data` as a user calls it: what it prints where, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile


def data(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "earwitness.launch", "data", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | environment)


def test_data_sets_are_listed_with_those_that_are_here(tmp_path: Path) -> None:
    soundfile.write(_folder(tmp_path / "fsdd" / "recordings") / "3_ann_7.wav", np.full(800, 0.1), 8000)
    done = data("list", EARWITNESS_DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "urbansound8k" in done.stdout
    assert f"1 clips in {tmp_path / 'fsdd'}" in done.stdout


def test_a_check_ends_with_1_where_a_file_is_broken(tmp_path: Path) -> None:
    soundfile.write(_folder(tmp_path / "dog") / "1.wav", np.full(800, 0.1), 8000)
    assert data("check", "folder", "--root", tmp_path).returncode == 0
    (tmp_path / "dog" / "2.wav").write_bytes(b"RIFF")
    done = data("check", "folder", "--root", tmp_path)
    assert done.returncode == 1
    assert "broken: " in done.stdout
    assert done.stdout.splitlines()[-1] == "1 broken"


def test_what_cannot_be_got_is_one_line_and_2(tmp_path: Path) -> None:
    for name, says in (("clips", "your own recordings"), ("fsd", "did you mean 'fsdd'")):
        done = data("get", name, "--root", tmp_path)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert says in line


def test_offline_is_told_with_the_way_out_of_it(tmp_path: Path) -> None:
    done = data("get", "fsdd", "--root", tmp_path / "new", https_proxy="http://127.0.0.1:9")
    assert done.returncode == 2
    licence, problem = done.stderr.splitlines()
    assert "licence: CC BY-SA 4.0" in licence
    assert "Connection refused" in problem
    assert "--archive" in problem
    assert list((tmp_path / "new").iterdir()) == []


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
