"""What is printed where: on a terminal, into a file, into a pipe that nobody reads, into a stream that was closed."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from earwitness.stream.standard_streams import progress_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_told_once_a_percent_on_a_terminal_and_is_wiped_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_of("sounds/dog.wav") as tell:
        assert tell is not None
        for share in (0.25, 0.2501, 1.0):
            tell(share)
    assert sys.stderr.getvalue() == "\rdog.wav: 25 %\rdog.wav: 100 %\r\x1b[K"


def test_nobody_is_told_of_progress_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_of("dog.wav") as tell:
        assert tell is None
    assert sys.stderr.getvalue() == ""


def test_lines_that_nobody_reads_are_no_error() -> None:
    code = "from earwitness.stream.standard_streams import print_while_read as p; p(['line'] * 100_000)"
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{code}" | head -1'], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("line\n", "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_opened_as_nothing(closed: str) -> None:
    code = (
        "import os; from earwitness.stream.standard_streams import open_what_is_closed; "
        "open_what_is_closed(); print(end='', flush=True); os._exit(0 if os.open('/', os.O_RDONLY) > 2 else 1)"
    )
    assert subprocess.run(["sh", "-c", f'"{sys.executable}" -c "{code}" {closed}'], timeout=60).returncode == 0
