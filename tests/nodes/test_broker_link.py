"""The bus between hosts: who is let in, and what becomes of a link that is cut."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from earwitness.nodes.broker import Broker
from earwitness.stream import bus as bus_module
from earwitness.stream.bus import ZmqBus, endpoint
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.keys import Keys, load_keys, make_keys
from earwitness.stream.messages import Ended

Wait = Callable[..., None]


def note(index: int) -> Ended:
    return Ended(stream="hall", epoch=1, end_sample=index, rate=1, reason="x" * 1000, final=False)


def indices(subscriber: Any, timeout_s: float = 0.05) -> list[int]:
    return [envelope.message.end_sample for envelope in subscriber.receive(timeout_s)]


@pytest.fixture
def hosts(tmp_path: Path) -> dict[str, Keys]:
    return {host: load_keys(folder) for host, folder in make_keys(tmp_path / "keys", ["board"]).items()}


class TestKeys:
    def test_a_known_client_is_let_in(self, serve: Any, hosts: dict[str, Keys], free_port: int) -> None:
        address = f"tcp://127.0.0.1:{free_port}"
        with serve(address, hosts["broker"]) as broker:
            listener = ZmqBus(address, hosts["broker"]).subscriber(["audio/"])
            assert listener.synchronise()
            publisher = ZmqBus(address, hosts["board"]).publisher()
            assert publisher.send("audio/hall", note(0), wait=True)
            assert indices(listener, 5.0) == [0]
            assert broker.counts["denied"] == broker.counts["handshake_failed"] == 0
            listener.close()
            publisher.close()

    @pytest.mark.parametrize(
        ("served", "reached"),
        [("127.0.0.1", "localhost"), ("*", "*"), ("*", "127.0.0.1"), ("[::]", "[::1]"), ("[::]", "127.0.0.1")],
    )
    def test_a_broker_is_reached_by_any_of_its_addresses(
        self, serve: Any, hosts: dict[str, Keys], free_port: int, served: str, reached: str
    ) -> None:
        if "[" in served and not Path("/proc/net/if_inet6").exists():
            pytest.skip("no IPv6 here")
        with serve(f"tcp://{served}:{free_port}", hosts["broker"]):
            assert ZmqBus(f"tcp://{reached}:{free_port}", hosts["board"]).join(5.0)

    def test_wrong_keys_get_nothing_give_nothing_and_are_counted(
        self, serve: Any, hosts: dict[str, Keys], free_port: int, tmp_path: Path, eventually: Wait
    ) -> None:
        address = f"tcp://127.0.0.1:{free_port}"
        own = hosts["board"]
        public, secret = zmq.curve_keypair()
        unknown = Keys(own.server_public, public, secret)
        misled = Keys(public, own.client_public, own.client_secret)
        with serve(address, hosts["broker"]) as broker:
            listener = ZmqBus(address, hosts["broker"]).subscriber(["audio/"])
            assert listener.synchronise()
            honest = ZmqBus(address, own).publisher()
            for keys, count in ((unknown, "denied"), (misled, "handshake_failed")):
                bus = ZmqBus(address, keys)
                eavesdropper, forger = bus.subscriber(["audio/"]), bus.publisher()
                assert not forger.send("audio/hall", note(666))
                eventually(lambda count=count: broker.counts[count] >= 2)
                assert honest.send("audio/hall", note(1), wait=True)
                assert not forger.heard("audio/hall")
                assert indices(listener, 5.0) == [1]
                assert indices(eavesdropper, 0.2) == []
                assert indices(listener, 0.0) == []
                eavesdropper.close()
                forger.close()
            honest.close()
            listener.close()

    def test_whoever_is_refused_is_told_and_whoever_finds_nobody_may_wait(
        self, serve: Any, hosts: dict[str, Keys], free_port: int
    ) -> None:
        address, own = f"tcp://127.0.0.1:{free_port}", hosts["board"]
        public, secret = zmq.curve_keypair()
        assert not ZmqBus(address, own).join(0.2)
        with serve(address, hosts["broker"]):
            assert ZmqBus(address, own).join(5.0)
            with pytest.raises(EarwitnessError, match="does not know this host's key"):
                ZmqBus(address, Keys(own.server_public, public, secret)).join(5.0)
            with pytest.raises(EarwitnessError, match="has other keys, or none"):
                ZmqBus(address, Keys(public, own.client_public, own.client_secret)).join(5.0)

    def test_a_peer_without_keys_is_counted(
        self, serve: Any, hosts: dict[str, Keys], free_port: int, eventually: Wait
    ) -> None:
        address = f"tcp://127.0.0.1:{free_port}"
        with serve(address, hosts["broker"]) as broker, zmq.Context() as context, context.socket(zmq.SUB) as bare:
            bare.linger = 0
            bare.subscribe(b"")
            bare.connect(endpoint(address, "audio", "latest"))
            eventually(lambda: broker.counts["handshake_failed"] >= 1)
            assert not bare.poll(0)

    def test_rubbish_on_the_port_is_counted_and_harmless(
        self, serve: Any, hosts: dict[str, Keys], free_port: int, eventually: Wait
    ) -> None:
        address = f"tcp://127.0.0.1:{free_port}"
        with serve(address, hosts["broker"]) as broker:
            greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01" + b"CURVE".ljust(52, b"\0")  # of ZMTP 3.1
            command = b"\x04\xc8"  # of 200 bytes
            for index in range(200):
                with socket.create_connection(("127.0.0.1", free_port)) as raw:
                    raw.sendall((greeting + command if index % 2 else b"GET / ") + os.urandom(200))
                    with suppress(ConnectionResetError):
                        while raw.recv(1000):
                            pass
            eventually(lambda: broker.counts["handshake_failed"] >= 100)  # the rest never began one
            listener = ZmqBus(address, hosts["board"]).subscriber(["audio/"])
            assert listener.synchronise()
            listener.close()

    def test_tcp_needs_keys_and_the_broker_needs_its_own(self, hosts: dict[str, Keys], free_port: int) -> None:
        address = f"tcp://127.0.0.1:{free_port}"
        for opener in (Broker, ZmqBus):
            with pytest.raises(EarwitnessError, match="earwitness keys"):
                opener(address)
        with pytest.raises(EarwitnessError, match=r"no server\.secret"):
            Broker(address, hosts["board"])


class Cable:
    """Carries tcp connections from one port to another, all of them or none; cut, it keeps them open and mute."""

    def __init__(self, to_port: int, count: int = 12):
        self._over = threading.Event()
        self.whole = threading.Event()
        self.whole.set()
        self._threads: list[threading.Thread] = []
        self._listeners = []
        for first in range(30_000 + time.monotonic_ns() % 20_000, 60_000, count):
            try:
                self._listeners = [socket.create_server(("127.0.0.1", first + index)) for index in range(count)]
            except OSError:
                continue
            self.port = first
            break
        for index, listener in enumerate(self._listeners):
            self._start(self._accept, listener, to_port + index)

    def close(self) -> None:
        self._over.set()
        self.whole.set()
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, name="cable")
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, port: int) -> None:
        listener.settimeout(0.05)
        with listener:
            while not self._over.is_set():
                try:
                    near, _ = listener.accept()
                    far = socket.create_connection(("127.0.0.1", port))
                except OSError:
                    continue
                for one, other in ((near, far), (far, near)):
                    self._start(self._carry, one, other)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        source.settimeout(0.05)
        while not self._over.is_set():
            self.whole.wait()
            try:
                data = source.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            self.whole.wait()
            try:
                if not data:
                    break
                target.sendall(data)
            except OSError:
                break
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


@pytest.fixture
def cable(free_port: int) -> Iterator[Cable]:
    cable = Cable(free_port)
    yield cable
    cable.close()


class TestCut:
    def test_a_link_that_is_mute_for_a_while_loses_nothing(
        self, serve: Any, hosts: dict[str, Keys], free_port: int, cable: Cable
    ) -> None:
        near, far = f"tcp://127.0.0.1:{free_port}", f"tcp://127.0.0.1:{cable.port}"
        with serve(near, hosts["broker"]):
            listener = ZmqBus(near, hosts["broker"]).subscriber(["audio/"])
            assert listener.synchronise()
            publisher = ZmqBus(far, hosts["board"]).publisher()
            assert publisher.send("audio/hall", note(0), wait=True)
            assert indices(listener, 5.0) == [0]
            cable.whole.clear()
            sent = [0]
            deadline = time.monotonic() + 4.0  # longer than any heartbeat was
            while time.monotonic() < deadline:
                if publisher.send("audio/hall", note(sent[-1] + 1)):
                    sent.append(sent[-1] + 1)
                time.sleep(0.02)
            assert len(sent) > 100
            cable.whole.set()
            got = [0]
            while len(got) < len(sent):
                new = indices(listener, 5.0)
                assert new
                got += new
            assert got == sent
            publisher.close()
            listener.close()


_SCRIPT = """
import sys, time
from pathlib import Path
from earwitness.nodes.broker import Broker
from earwitness.nodes.node import die_with_parent
from earwitness.stream import bus
from earwitness.stream.keys import load_keys
from earwitness.stream.messages import Ended
die_with_parent()
role, address, keys, bus.LINK_TIMEOUT_S = sys.argv[1], sys.argv[2], load_keys(Path(sys.argv[3])), float(sys.argv[4])
if role == "broker":
    broker = Broker(address, keys)
    print("ready", flush=True)
    while True:
        broker.serve(0.05)
if role == "listener":
    subscriber = bus.ZmqBus(address, keys).subscriber(["audio/"])
    assert subscriber.synchronise()
    print("ready", flush=True)
    while True:
        for envelope in subscriber.receive(0.5):
            print(time.monotonic(), envelope.message.end_sample, subscriber.missed["audio"], flush=True)
publisher, sent, heard = bus.ZmqBus(address, keys).publisher(), 0, False
while True:
    if heard != publisher.heard("audio/hall"):
        heard = not heard
        print(time.monotonic(), heard, sent, flush=True)
    note = Ended(stream="hall", epoch=1, end_sample=sent, rate=1, reason="x" * 1900, final=False)
    sent += publisher.send("audio/hall", note)
    time.sleep(0.02)
"""


class Hosts:
    """Two hosts (network namespaces) and a cable (veth); a broker and a listener here, a publisher there."""

    ADDRESS = "tcp://10.77.0.1:5550"

    def __init__(self, folder: Path, link_timeout_s: float):
        made = make_keys(folder / "keys", ["board"])
        self.near, self.far = (f"earwitness-{side}-{os.getpid()}" for side in ("a", "b"))
        self._children: list[subprocess.Popen[str]] = []
        self.lines: dict[str, list[list[str]]] = {"listener": [], "publisher": []}
        self._readers: list[threading.Thread] = []
        try:
            self._build(made, link_timeout_s)
        except BaseException:
            self.close()
            raise

    def _build(self, made: dict[str, Path], link_timeout_s: float) -> None:
        _ip("netns", "add", self.near)
        _ip("netns", "add", self.far)
        _ip("link", "add", "cable", "netns", self.near, "type", "veth", "peer", "name", "cable", "netns", self.far)
        for host, number in ((self.near, 1), (self.far, 2)):
            _ip("-n", host, "addr", "add", f"10.77.0.{number}/24", "dev", "cable")
            _ip("-n", host, "link", "set", "cable", "up")
            _ip("-n", host, "link", "set", "lo", "up")
        for role, host, keys in (
            ("broker", self.near, "broker"), ("listener", self.near, "broker"), ("publisher", self.far, "board")
        ):  # fmt: skip
            command = [sys.executable, "-c", _SCRIPT, role, self.ADDRESS, str(made[keys]), str(link_timeout_s)]
            child = subprocess.Popen(["ip", "netns", "exec", host, *command], stdout=subprocess.PIPE, text=True)
            self._children.append(child)
            assert child.stdout is not None
            if role != "publisher":
                assert child.stdout.readline() == "ready\n"
            if role != "broker":
                reader = threading.Thread(target=self._read, args=(child.stdout, self.lines[role]))
                self._readers.append(reader)
                reader.start()

    def plug(self, whole: bool) -> None:
        _ip("-n", self.near, "link", "set", "cable", "up" if whole else "down")

    def received(self) -> list[int]:
        return [int(line[1]) for line in self.lines["listener"]]

    def close(self) -> None:
        for child in self._children:
            child.kill()
            child.wait()
        for reader in self._readers:
            reader.join()
        for child in self._children:
            assert child.stdout is not None
            child.stdout.close()
        for host in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", host], check=False, capture_output=True)

    @staticmethod
    def _read(pipe: Any, into: list[list[str]]) -> None:
        into.extend(line.split() for line in pipe)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _can_make_hosts() -> bool:
    name = f"earwitness-try-{os.getpid()}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not _can_make_hosts(), reason="network namespaces need root and iproute2")
class TestCable:
    """The cable pulled out for ten seconds."""

    def test_a_short_cut_is_caught_up_and_nothing_is_lost(self, tmp_path: Path, eventually: Wait) -> None:
        hosts = Hosts(tmp_path, link_timeout_s=bus_module.LINK_TIMEOUT_S)
        try:
            eventually(lambda: len(hosts.received()) > 20)
            hosts.plug(False)
            time.sleep(10.0)
            before = len(hosts.received())
            hosts.plug(True)
            eventually(lambda: len(hosts.received()) > before + 600, within_s=15.0)  # 10 s of 50 a second, and on
            assert hosts.received() == list(range(len(hosts.received())))
        finally:
            hosts.close()

    def test_a_long_cut_is_noticed_heals_at_once_and_what_was_under_way_is_counted(
        self, tmp_path: Path, eventually: Wait
    ) -> None:
        hosts = Hosts(tmp_path, link_timeout_s=3.0)
        try:
            eventually(lambda: len(hosts.received()) > 20)
            hosts.plug(False)
            time.sleep(10.0)
            assert [line[1] for line in hosts.lines["publisher"]] == ["True", "False"]
            before = hosts.received()[-1]
            hosts.plug(True)
            eventually(lambda: hosts.received()[-1] > before, within_s=3.0)
            eventually(lambda: len(hosts.received()) > before + 50)
            received = hosts.received()
            assert received == sorted(set(received))
            assert int(hosts.lines["listener"][-1][2]) == received[-1] + 1 - len(received) > 0
        finally:
            hosts.close()
