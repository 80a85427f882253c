"""The broker as a process: its address, its counts and alarms, and its last words."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import zmq

from earwitness.nodes import broker as broker_module
from earwitness.nodes.broker import Broker, BrokerNode
from earwitness.nodes.node import Job
from earwitness.stream.bus import ZmqBus
from earwitness.stream.config import BusSettings, Config
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.keys import Keys, load_keys, make_keys
from earwitness.stream.messages import Alarm, Ended
from earwitness.stream.testing import MemoryBus


def note(index: int) -> Ended:
    return Ended(stream="hall", epoch=1, end_sample=index, rate=1, reason="", final=False)


def indices(subscriber: Any, timeout_s: float) -> list[int]:
    return [envelope.message.end_sample for envelope in subscriber.receive(timeout_s)]


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}"


class TestAddress:
    def test_a_port_in_use_is_one_clear_line(self, tmp_path: Path, free_port: int) -> None:
        keys = load_keys(make_keys(tmp_path / "keys")["broker"])
        first = Broker(f"tcp://127.0.0.1:{free_port}", keys)
        with pytest.raises(EarwitnessError, match=rf"{free_port + 11}.*another program holds this port") as caught:
            Broker(f"tcp://127.0.0.1:{free_port + 11}", keys)
        assert "\n" not in str(caught.value)
        first.close()

    def test_a_host_that_is_not_here_is_one_clear_line(self, tmp_path: Path, free_port: int) -> None:
        keys = load_keys(make_keys(tmp_path / "keys")["broker"])
        with pytest.raises(EarwitnessError, match=r"bus address tcp://192\.0\.2\.1"):
            Broker(f"tcp://192.0.2.1:{free_port}", keys)

    def test_a_folder_that_others_may_enter_is_refused(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o750)
        with pytest.raises(EarwitnessError, match="chmod 700"):
            Broker(f"ipc://{tmp_path}")

    def test_a_folder_that_is_missing_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(EarwitnessError, match=r"bus folder .*/none: No such file or directory"):
            Broker(f"ipc://{tmp_path}/none")

    def test_a_broker_that_closes_leaves_no_socket_and_no_lock(self, address: str, tmp_path: Path) -> None:
        for _ in range(2):
            Broker(address).close()
            assert list(tmp_path.iterdir()) == []


class TestNode:
    def node(self, said: MemoryBus, **settings: Any) -> BrokerNode:
        return BrokerNode(Job(node="broker", config=Config(**settings)), said.publisher())

    def test_it_passes_messages_counts_them_and_sends_what_is_left_before_it_ends(self, address: str) -> None:
        node = self.node(MemoryBus(), bus=BusSettings(address=address))
        bus = ZmqBus(address)
        listener, publisher = bus.subscriber(["audio/"]), bus.publisher()
        while not publisher.heard("audio/hall"):
            node.tick()
        assert publisher.send("audio/hall", note(0))
        while not node.health().counts.get("passed_audio"):
            node.tick()
        assert indices(listener, 5.0) == [0]
        assert publisher.send("audio/hall", note(1))
        time.sleep(0.1)
        node.finish()
        assert indices(listener, 5.0) == [1]
        publisher.close()
        listener.close()

    def test_a_stream_of_files_is_held_for_ever_and_a_live_one_no_longer_than_its_ring_lasts(
        self, tmp_path: Path
    ) -> None:
        for pace, patience_s in (("max", None), ("real", 4.0)):
            (tmp_path / pace).mkdir(mode=0o700)
            node = self.node(MemoryBus(), pace=pace, ring_s=12.0, bus=BusSettings(address=f"ipc://{tmp_path / pace}"))
            assert {channel.patience_s for channel in node._broker._channels} == {patience_s}
            node.finish()

    def test_whoever_is_refused_raises_an_alarm_that_is_cleared_when_it_has_gone(
        self, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = make_keys(tmp_path / "keys")
        address, said = f"tcp://127.0.0.1:{free_port}", MemoryBus()
        monkeypatch.setattr(broker_module, "QUIET_S", 0.3)
        node = self.node(said, bus=BusSettings(address=address, keys=str(made["broker"])))
        stranger = Keys(load_keys(made["broker"]).server_public, *zmq.curve_keypair())
        publisher = ZmqBus(address, stranger).publisher()
        assert not publisher.heard("audio/hall")
        while not said.of(Alarm):
            node.tick()
        publisher.close()
        while len(said.of(Alarm)) < 2:
            node.tick()
        raised, cleared = said.of(Alarm)
        assert (raised.name, raised.state) == ("client-refused", "raised")  # type: ignore[attr-defined]
        assert (cleared.name, cleared.state) == ("client-refused", "cleared")  # type: ignore[attr-defined]
        node.finish()
