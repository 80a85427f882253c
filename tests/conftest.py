"""What every test may count on: a seed, data to find, and a check that the session leaves nothing behind.

The session runs in an environment of its own: temporary files, sockets and settings go to a scratch folder
with a short name (a Unix socket's path holds 107 bytes). When the last test is over nothing may be left in
it, and no process or thread may be left at all.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
MARK = (
    "PYTEST_OF_EARWITNESS"  # inherited by every process that this session starts, whoever its parent becomes
)
FOLDERS = {
    "t": "TMPDIR", "r": "XDG_RUNTIME_DIR", "c": "XDG_CONFIG_HOME", "s": "XDG_STATE_HOME", "k": "EARWITNESS_CACHE",
}  # fmt: skip
GRACE_S = 10.0  # a stopped child may take this long to leave after its test has said so


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith("EARWITNESS_") and name != "EARWITNESS_DATA"]:
        del os.environ[name]  # settings of the person who runs the tests would change what they see
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # several files are tested at once: a core each is what there is
    scratch = Path(tempfile.mkdtemp(prefix="ew-"))
    config.stash[_SCRATCH] = scratch
    config.stash[_TMPDIR] = tempfile.tempdir
    os.environ.setdefault(
        "PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir()
    )  # tmp_path of a failed test is kept there
    for folder, variable in FOLDERS.items():
        (scratch / folder).mkdir(mode=0o700)
        os.environ[variable] = str(scratch / folder)
    tempfile.tempdir = None  # looked up again, from TMPDIR
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        # Under nohup: what is tested would inherit it. A handler is not inherited, and keeps this session alive.
        signal.signal(signal.SIGHUP, lambda *_: None)
    os.environ[MARK] = uuid.uuid4().hex


def pytest_unconfigure(config: pytest.Config) -> None:
    tempfile.tempdir = config.stash[_TMPDIR]
    shutil.rmtree(config.stash[_SCRATCH], ignore_errors=True)


_SCRATCH = pytest.StashKey[Path]()
_TMPDIR = pytest.StashKey[str | None]()


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts alike in every test."""
    return np.random.default_rng(20261121)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with recordings; a test that needs them is marked `data` and skips where there are none."""
    given = os.environ.get("EARWITNESS_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no recordings: {folder} is not a folder (set EARWITNESS_DATA)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After the last test: no process, no thread, no socket and no file in the scratch folder."""
    threads = set(threading.enumerate())
    yield
    left = _after_grace(
        lambda: [f"thread {each.name}" for each in threading.enumerate() if each not in threads]
    )
    left += _after_grace(
        lambda: [f"process {pid}: {line}" for pid, line in _processes_of_this_session().items()]
    )
    for pid in _processes_of_this_session():
        os.kill(pid, signal.SIGKILL)
    left += [f"file {path}" for path in _files(request.config.stash[_SCRATCH])]
    assert not left, "left behind by the tests:\n" + "\n".join(left)


def _after_grace(look: Callable[[], list[str]]) -> list[str]:
    deadline = time.monotonic() + GRACE_S
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _processes_of_this_session() -> dict[int, str]:
    """Command lines, by pid, of the processes with this session's mark; empty where there is no /proc."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # gone meanwhile, or another user's
            continue
        # multiprocessing's resource tracker lives as long as its parent
        if (
            mark in environment
            and int(folder.name) != os.getpid()
            and line
            and "resource_tracker" not in line
        ):
            found[int(folder.name)] = line
    return found


def _files(scratch: Path) -> list[Path]:
    """What lies in the temporary and the runtime folder, beside what libraries keep there (libpulse its `pulse`)."""
    caches = ("torchinductor_", "numba_", "pulse")
    return [
        path
        for folder in ("t", "r")
        for path in (scratch / folder).iterdir()
        if not path.name.startswith(caches)
    ]
