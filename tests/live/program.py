"""The program under test: `earwitness run` as a user starts it, its output read as it comes, its processes known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Program:
    """`earwitness run ARGS` as a child. A context manager: whatever happens inside, no process is left behind."""

    def __init__(
        self, *args: str | Path, cwd: Path, env: dict[str, str] | None = None, stdin: int = subprocess.DEVNULL
    ) -> None:
        self.lines: list[Line] = []
        self.errors: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "earwitness.launch", "run", *map(str, args)],
            cwd=cwd, env={**os.environ, **(env or {})}, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self._take_line), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors.append), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        children = [pid for pids in self.processes().values() for pid in pids]
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pid in children:
            wait_until(lambda pid=pid: not alive(pid), 5, f"child {pid} outlived its supervisor")
        for reader in self._readers:
            reader.join(5)

    def wait(self, timeout_s: float = 60) -> int:
        """The exit code; fails with the output when it does not end in time."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s} s\n{self.told()}") from None
        for reader in self._readers:
            reader.join(5)
        return code

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 30, what: str = "") -> Any:
        """Waits until a condition on the output holds, and returns what it gave."""
        return wait_until(condition, timeout_s, what or "it did not happen", self.told)

    def of(self, event: str, **fields: Any) -> list[Line]:
        """The JSON lines of one kind whose fields have these values."""
        return [
            line for line in list(self.lines)
            if line["event"] == event and all(line.get(name) == value for name, value in fields.items())
        ]  # fmt: skip

    def nodes(self) -> dict[str, int]:
        """The process ids of the running nodes, by module name; of several of one kind that of the last one."""
        return {kind: pids[-1] for kind, pids in self.processes().items()}

    def processes(self) -> dict[str, list[int]]:
        """The process ids of the running nodes, by module name, in the order of their numbers."""
        found: dict[str, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == self.process.pid and len(words) > 2 and words[2].startswith(b"earwitness.nodes."):
                found.setdefault(words[2].decode().rpartition(".")[2], []).append(int(entry.name))
        return {kind: sorted(pids) for kind, pids in found.items()}

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def told(self) -> str:
        """All that was printed, for a failure's message."""
        return "\n".join([*map(json.dumps, self.lines), "--- standard error", *self.errors])

    def _read(self, stream: Any, take: Callable[[str], None]) -> None:
        for line in stream:
            take(line.rstrip("\n"))
        stream.close()

    def _take_line(self, text: str) -> None:
        self.lines.append(json.loads(text))


def wait_until(
    condition: Callable[[], Any], timeout_s: float, what: str, told: Callable[[], str] = lambda: ""
) -> Any:
    """Polls a condition until it holds or time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} (after {timeout_s} s)\n{told()}")
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def essence(lines: list[Line]) -> list[tuple[Any, ...]]:
    """What two runs over the same sound must agree on: events without ids, UTC and latency."""
    told = [line for line in lines if line["event"] in ("start", "end")]
    keys = ("stream", "event", "label", "score", "onset_sample", "offset_sample", "rate", "epoch")
    return sorted(tuple(str(line.get(key)) for key in keys) for line in told)
