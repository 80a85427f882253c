"""Standard streams that are closed, or that nobody reads any more: no reason to stop listening, or to fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = [sys.executable, "-m", "earwitness.launch", "run", "--json", "--pace", "max", "--no-clips"]


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_a_stream_that_is_closed_from_the_start(scene: Path, tmp_path: Path, closed: str) -> None:
    close = f"import os, sys; [os.close(int(fd)) for fd in {closed.split()!r}]; os.execv(sys.argv[1], sys.argv[1:])"
    ended = subprocess.run(
        [sys.executable, "-c", close, *RUN, "--source", f"s={scene}"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]  # results alone, no line of a log among them
    if "1" not in closed:
        assert lines[-1]["event"] == "ledger"
        assert lines[-1]["balanced"]
    if "2" not in closed:
        assert all(line.startswith("earwitness: ") for line in ended.stderr.splitlines())


def test_a_log_that_nobody_reads_any_more(scene: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [*RUN, "--source", f"s={scene}"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=writer, text=True, timeout=60
        )
    finally:
        os.close(writer)
    assert ended.returncode == 0
    assert json.loads(ended.stdout.splitlines()[-1])["balanced"]


def test_a_run_without_a_broker_says_that_it_must_be_told_where_one_is(scene: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [*RUN, "--only", "capture", "--source", scene], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert "--bus" in ended.stderr.splitlines()[-1]
