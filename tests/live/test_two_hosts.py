"""Capture on one host and the rest on another, joined by tcp with CURVE keys; here both are this machine."""

from __future__ import annotations

import socket
from pathlib import Path

from earwitness.stream.bus import SIDES
from earwitness.stream.keys import make_keys
from earwitness.stream.messages import CHANNELS
from earwitness.tests.live.conftest import Start
from earwitness.tests.live.program import essence

REST = "broker,features,classify,recorder,monitor"


def free_address() -> str:
    """A port from which on as many are free as a bus takes; below those that the kernel hands out by itself."""
    needed = len(CHANNELS) * len(SIDES)
    for first in range(20_000 + hash(socket.gethostname()) % 997 * 12, 32_000, needed):
        try:
            for port in range(first, first + needed):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return f"tcp://127.0.0.1:{first}"
    raise AssertionError("no free ports")


def test_two_hosts_hear_what_one_hears(start: Start, scene: Path, tmp_path: Path) -> None:
    folders = make_keys(tmp_path / "keys", ["board"])
    address = free_address()
    alone = start("--source", f"s={scene}", "--pace", "max", "--no-clips", out="alone")
    assert alone.wait() == 0, alone.told()
    server = start("--only", REST, "--bus", address, "--keys", folders["broker"], out="server")
    server.wait_for(lambda: len(server.nodes()) == 5, what="the server's nodes are not there")
    board = start(
        "--only", "capture", "--source", f"s={scene}", "--pace", "max", "--bus", address, "--keys", folders["board"],
        out="board",
    )  # fmt: skip
    assert board.wait() == 0, board.told()
    assert all(line["balanced"] for line in board.of("ledger")), board.told()
    server.wait_for(lambda: essence(server.lines) == essence(alone.lines), what="the server heard something else")
    server.wait_for(lambda: len(server.of("clip")) == len(server.of("start")), what="a clip is missing")
    server.interrupt()
    assert server.wait(6) == 0, server.told()
    assert all(line["balanced"] for line in server.of("ledger")), server.told()
    assert list((tmp_path / "server" / "clips").rglob("*.flac"))


def test_a_wrong_key_gets_nothing_and_is_counted(start: Start, scene: Path, tmp_path: Path) -> None:
    ours = make_keys(tmp_path / "ours", [])
    theirs = make_keys(tmp_path / "theirs", ["board"])
    address = free_address()
    server = start("--only", REST, "--bus", address, "--keys", ours["broker"], out="server")
    server.wait_for(lambda: len(server.nodes()) == 5, what="the server's nodes are not there")
    start(
        "--only", "capture", "--source", f"s={scene}", "--pace", "max", "--bus", address, "--keys", theirs["board"],
        out="board",
    )  # fmt: skip
    server.wait_for(lambda: server.of("alarm", name="client-refused"), what="nobody told of the refusal")
    assert server.of("start") == []


def test_a_port_in_use_is_one_line(start: Start, tmp_path: Path) -> None:
    folders = make_keys(tmp_path / "keys", [])
    address = free_address()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        holder.listen()
        server = start("--only", REST, "--bus", address, "--keys", folders["broker"])
        assert server.wait() == 2, server.told()
    assert "in use" in server.errors[-1].lower(), server.told()
