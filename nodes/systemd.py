"""Tells systemd how the run is (sd_notify(3)); nothing where there is no systemd."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Sends a state such as `READY=1`, `WATCHDOG=1` or `STATUS=…` to the service manager that started this run."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(state.encode(), address)
    except OSError:
        pass  # a service manager that is gone must not stop the listening


def watchdog_interval_s() -> float | None:
    """How often `WATCHDOG=1` is due: half of what the unit's WatchdogSec allows. None: no watchdog."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2e6
