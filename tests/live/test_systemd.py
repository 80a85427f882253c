"""A service manager is told when the run is ready, that it lives, and when it stops (sd_notify(3))."""

from __future__ import annotations

import socket
from pathlib import Path

from earwitness.tests.live.conftest import Start


def test_ready_watchdog_and_stopping_are_told_in_order(start: Start, scene: Path, tmp_path: Path) -> None:
    address = tmp_path / "n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(0.05)
        told: list[str] = []

        def hear() -> bool:
            try:
                while True:
                    told.append(manager.recv(4096).decode())
            except TimeoutError:
                return told.count("WATCHDOG=1") >= 3 and "READY=1" in told

        program = start("--source", f"s={scene}", env={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"})
        program.wait_for(hear, what="the service manager was not told")
        program.interrupt()
        assert program.wait(6) == 0, program.told()
        hear()
    assert told.index("READY=1") < told.index("STOPPING=1")
    assert "READY=1" not in told[told.index("READY=1") + 1 :]
