"""A broker for tests: in a thread where its counts matter, in a process where it is to be killed."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from earwitness.nodes.broker import Broker
from earwitness.stream.keys import Keys

_CHILD = """
import sys
from pathlib import Path
from earwitness.nodes.broker import Broker
from earwitness.nodes.node import die_with_parent
from earwitness.stream.keys import load_keys
die_with_parent()
address, keys, patience_s = sys.argv[1:]
broker = Broker(address, load_keys(Path(keys)) if keys else None, float(patience_s) if patience_s else None)
print("ready", flush=True)
while True:
    broker.serve(0.05)
"""


@pytest.fixture
def serve() -> Callable[..., Any]:
    """`with serve(address, keys, patience_s) as broker:` – a broker that serves in a thread."""

    @contextmanager
    def serving(address: str, keys: Keys | None = None, patience_s: float | None = None) -> Iterator[Broker]:
        broker = Broker(address, keys, patience_s)
        over = threading.Event()

        def loop() -> None:
            while not over.is_set():
                broker.serve(0.02)

        thread = threading.Thread(target=loop, name="broker")
        thread.start()
        try:
            yield broker
        finally:
            over.set()
            thread.join()
            broker.close()

    return serving


@pytest.fixture
def start_broker() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start_broker(address, keys_folder, patience_s)` – a broker in a process of its own, that serves already."""
    children: list[subprocess.Popen[str]] = []

    def start(address: str, keys: Path | None = None, patience_s: float | None = None) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, address, str(keys or ""), str(patience_s or "")],
            stdout=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@pytest.fixture
def free_port() -> int:
    """The first of 12 tcp ports in a row that nobody uses."""
    for first in range(20_000 + time.monotonic_ns() % 9_000, 60_000, 12):
        try:
            for port in range(first, first + 12):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@pytest.fixture
def eventually() -> Callable[..., None]:
    """`eventually(condition, within_s)` – waits until it is true, and fails when it does not become so."""

    def wait(condition: Callable[[], Any], within_s: float = 10.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, "not in time"
            time.sleep(0.005)

    return wait
