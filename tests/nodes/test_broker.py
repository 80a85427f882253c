"""The bus over real sockets: who holds whom back, what is lost and counted, and that nothing blocks for ever."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from earwitness.nodes.broker import Broker
from earwitness.stream.bus import QUEUE_MESSAGES, ZmqBus, ZmqPublisher, ZmqSubscriber
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.messages import AudioBlock, Ended, Level, topic_of
from earwitness.stream.testing import example

Wait = Callable[..., None]
ALL_QUEUES = 10 * QUEUE_MESSAGES  # more small messages than fit anywhere between two processes but in the kernel
SOUND = bytes(2000)


def block(index: int) -> AudioBlock:
    """The index-th block of 1,000 samples; with SOUND so large that the kernel's buffers hold few."""
    return AudioBlock(
        stream="hall", epoch=1, first_sample=1000 * index, end_sample=1000 * (index + 1), rate=48_000, channels=1,
        dtype="int16", utc_ns=0, utc_error_ns=0, heard_ns=0,
    )  # fmt: skip


def send(publisher: ZmqPublisher, index: int, **how: Any) -> bool:
    return publisher.send("audio/hall", block(index), SOUND, **how)


def indices(subscriber: ZmqSubscriber, timeout_s: float = 0.05, at_most: int = 256) -> list[int]:
    received = subscriber.receive(timeout_s, at_most)
    return [e.message.first_sample // 1000 for e in received if isinstance(e.message, AudioBlock)]


class Feed(threading.Thread):
    """Sends numbered blocks, waiting for room, until all are sent or it is stopped."""

    def __init__(self, bus: ZmqBus, count: int = 1 << 40, pause_s: float = 0.0):
        super().__init__(name="feed")
        self.bus, self.count, self.pause_s = bus, count, pause_s
        self.sent = 0
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        publisher = self.bus.publisher()
        while self.sent < self.count and not self.over.is_set():
            if send(publisher, self.sent, wait=True, give_up=self.over.is_set):
                self.sent += 1
            if self.pause_s:
                time.sleep(self.pause_s)
        publisher.close()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}"


class TestLossless:
    def test_a_slow_subscriber_holds_the_publisher_back_and_gets_everything_in_order(
        self, address: str, serve: Any, eventually: Wait
    ) -> None:
        with serve(address):
            bus = ZmqBus(address)
            slow = bus.subscriber(["audio/"])
            assert slow.synchronise()
            count = 3 * ALL_QUEUES
            with Feed(bus, count) as feed:
                before = -1
                while feed.sent != before:  # until it is held back
                    before = feed.sent
                    time.sleep(0.3)
                assert 0 < feed.sent < count - QUEUE_MESSAGES
                got: list[int] = []
                while len(got) < count:
                    new = indices(slow, 5.0, at_most=50)
                    assert new
                    got += new
                    time.sleep(0.001)
            assert got == list(range(count))
            assert not slow.missed
            assert slow.malformed == 0
            slow.close()

    @pytest.mark.slow
    def test_one_that_stalls_longer_than_any_link_timer_loses_nothing(self, address: str, serve: Any) -> None:
        """With ZMTP heartbeats of 3 s this lost messages, or libzmq aborted."""
        with serve(address):
            bus = ZmqBus(address)
            stalled = bus.subscriber(["audio/"])
            assert stalled.synchronise()
            with Feed(bus, ALL_QUEUES):
                time.sleep(7)
                got: list[int] = []
                while len(got) < ALL_QUEUES:
                    got += indices(stalled, 5.0)
            assert got == list(range(ALL_QUEUES))
            stalled.close()

    def test_one_that_never_reads_is_left_behind_after_the_patience_and_sees_its_loss(
        self, address: str, serve: Any, eventually: Wait
    ) -> None:
        with serve(address, patience_s=0.5) as broker:
            bus = ZmqBus(address)
            stuck, eager = bus.subscriber(["audio/"]), bus.subscriber(["audio/"])
            assert stuck.synchronise()
            assert eager.synchronise()
            count = 3 * ALL_QUEUES
            got: list[int] = []
            with Feed(bus, count):
                began = time.monotonic()
                while len(got) < count:
                    new = indices(eager, 5.0)
                    assert new
                    got += new
                took = time.monotonic() - began
            assert got == list(range(count))
            assert not eager.missed
            assert broker.counts["forced_audio"] == 1  # held once, and then no more
            assert took < 3.0
            late: list[int] = []
            while new := indices(stuck, 0.3):
                late += new
            assert late == list(range(len(late)))  # what was queued for it, in order
            with Feed(bus, 1):  # a new sender: begins at 0 again
                assert indices(stuck, 5.0) == [0]
                assert indices(eager, 5.0) == [0]
            stuck.close()
            eager.close()

    def test_one_that_reads_again_gets_all_that_follows_and_counts_the_hole(
        self, address: str, serve: Any, eventually: Wait
    ) -> None:
        with serve(address, patience_s=0.3) as broker:
            bus = ZmqBus(address)
            sleepy = bus.subscriber(["audio/"])
            assert sleepy.synchronise()
            with Feed(bus, pause_s=0.0002) as feed:
                eventually(lambda: broker.counts["forced_audio"])
                mark = feed.sent
                eventually(lambda: feed.sent > mark + ALL_QUEUES)
                got: list[int] = []
                until = feed.sent + ALL_QUEUES
                while not got or got[-1] < until:
                    got += indices(sleepy, 5.0)
                assert got == sorted(set(got))
                missing = got[-1] + 1 - len(got)
                assert missing > 0
                assert sleepy.missed["audio"] == missing
                holes = sum(b != a + 1 for a, b in itertools.pairwise(got))
                assert holes == 1  # it lost one stretch and has been whole since
            sleepy.close()

    def test_no_deadlock_when_every_queue_of_a_chain_is_full(self, address: str, serve: Any) -> None:
        """audio → (relay) → results → sink, the sink slow: all of it fills up, and all of it arrives."""
        with serve(address):
            bus = ZmqBus(address)
            relay_in, sink = bus.subscriber(["audio/"]), bus.subscriber(["scores/"])
            assert relay_in.synchronise()
            assert sink.synchronise()
            count = 2 * ALL_QUEUES
            relayed = threading.Event()

            def relay() -> None:
                publisher = bus.publisher()
                done = 0
                while done < count:
                    for index in indices(relay_in, 1.0):
                        ended = Ended(stream="hall", epoch=1, end_sample=index, rate=1, reason="x" * 2000, final=False)
                        assert publisher.send("scores/model/hall", ended, wait=True)
                        done += 1
                publisher.close()
                relayed.set()

            thread = threading.Thread(target=relay)
            thread.start()
            with Feed(bus, count) as feed:
                before = -1
                while feed.sent != before:
                    before = feed.sent
                    time.sleep(0.3)
                assert feed.sent < count
                assert not relayed.is_set()
                got: list[int] = []
                while len(got) < count:
                    new = [e.message.end_sample for e in sink.receive(5.0) if isinstance(e.message, Ended)]
                    assert new
                    got += new
            thread.join()
            assert got == list(range(count))
            relay_in.close()
            sink.close()


class TestLatest:
    def test_one_that_never_reads_delays_nobody_and_counts_what_it_lost(self, address: str, serve: Any) -> None:
        with serve(address) as broker:
            bus = ZmqBus(address)
            dead, eager = bus.subscriber(["audio/"], "latest"), bus.subscriber(["audio/"])
            assert dead.synchronise()
            assert eager.synchronise()
            count = 5 * ALL_QUEUES
            got: list[int] = []
            with Feed(bus, count):
                while len(got) < count:
                    new = indices(eager, 5.0)
                    assert new
                    got += new
            assert got == list(range(count))
            assert broker.counts["forced_audio"] == 0
            late: list[int] = []
            while new := indices(dead, 0.3):
                late += new
            assert len(late) < count
            assert late == sorted(set(late))
            publisher = bus.publisher()
            while not publisher.heard("audio/hall"):
                time.sleep(0.01)
            assert dead.missed["audio"] == late[-1] + 1 - len(late)
            publisher.close()
            dead.close()
            eager.close()


class TestPublisher:
    def test_without_a_listener_a_lossless_message_is_refused_and_a_latest_one_is_not(
        self, address: str, serve: Any, eventually: Wait
    ) -> None:
        level = msgspec.structs.replace(example(Level), stream="hall")
        with serve(address):
            bus = ZmqBus(address)
            publisher = bus.publisher()
            assert not send(publisher, 0)
            assert publisher.send(topic_of("level", "hall"), level)
            listener = bus.subscriber(["audio/hall"])
            eventually(lambda: publisher.heard("audio/hall"))
            assert not publisher.heard("audio/hallway")
            assert send(publisher, 0)
            assert indices(listener, 5.0) == [0]
            assert not listener.missed  # what was refused has no number
            listener.close()
            eventually(lambda: not publisher.heard("audio/hall"))
            publisher.close()

    def test_waiting_ends_when_give_up_says_so(self, address: str, serve: Any) -> None:
        with serve(address):
            bus = ZmqBus(address)
            publisher = bus.publisher()
            began = time.monotonic()
            assert not send(publisher, 0, wait=True, give_up=lambda: time.monotonic() > began + 0.3)  # nobody listens
            full = bus.subscriber(["audio/"])
            assert full.synchronise()
            sent = 0
            while send(publisher, sent, wait=True, give_up=lambda: True):
                sent += 1
            assert sent > QUEUE_MESSAGES
            began = time.monotonic()
            assert not send(publisher, sent, wait=True, give_up=lambda: time.monotonic() > began + 0.3)  # no room
            assert 0.3 <= time.monotonic() - began < 1.0
            full.close()
            publisher.close()

    def test_close_sends_what_is_queued_even_when_the_process_ends_at_once(self, address: str, serve: Any) -> None:
        code = f"""
from earwitness.stream.bus import ZmqBus
from earwitness.stream.messages import Ended
publisher = ZmqBus({address!r}).publisher()
for index in range(200):
    ended = Ended(stream="hall", epoch=1, end_sample=index, rate=1, reason="x" * 5000, final=False)
    assert publisher.send("audio/hall", ended, wait=True)
publisher.close()
"""
        with serve(address):
            listener = ZmqBus(address).subscriber(["audio/"])
            assert listener.synchronise()
            child = subprocess.Popen([sys.executable, "-c", code])
            got: list[int] = []
            deadline = time.monotonic() + 20
            while len(got) < 200 and time.monotonic() < deadline:
                new = [e.message.end_sample for e in listener.receive(1.0) if isinstance(e.message, Ended)]
                got += new
            assert child.wait(10) == 0
            assert got == list(range(200))
            listener.close()

    def test_close_does_not_wait_for_a_broker_that_is_not_there(self, address: str) -> None:
        publisher = ZmqBus(address).publisher()
        assert not publisher.heard("audio/hall")
        began = time.monotonic()
        publisher.close()
        assert time.monotonic() - began < 1.0

    def test_a_late_publisher_and_a_late_subscriber_find_each_other(
        self, address: str, serve: Any, eventually: Wait
    ) -> None:
        bus = ZmqBus(address)
        early = bus.publisher()
        assert not early.heard("audio/hall")  # there is no broker yet
        listener = bus.subscriber(["audio/"])
        assert not listener.synchronise(0.2)
        with serve(address):
            assert listener.synchronise(5.0)
            assert send(early, 0, wait=True)
            late = bus.publisher()
            assert send(late, 0, wait=True)
            got: list[int] = []
            while len(got) < 2:
                got += indices(listener, 5.0)
            second = bus.subscriber(["audio/"])
            assert second.synchronise()
            assert send(early, 1)
            assert [*got, *indices(listener, 5.0)] == [0, 0, 1]
            assert indices(second, 5.0) == [1]
            assert not second.missed
            for each in (early, late, listener, second):
                each.close()


class TestDeadBroker:
    def test_killed_and_started_again_everybody_comes_back_and_nothing_is_doubled(
        self, address: str, start_broker: Any, eventually: Wait
    ) -> None:
        broker = start_broker(address)
        bus = ZmqBus(address)
        listener, second = bus.subscriber(["audio/"]), bus.subscriber(["audio/hall"])
        assert listener.synchronise()
        assert second.synchronise()
        publisher = bus.publisher()
        for index in range(100):
            assert send(publisher, index, wait=True)
        got: list[int] = []
        also: list[int] = []
        while len(got) < 50:
            got += indices(listener, 5.0, at_most=50 - len(got))
        broker.kill()
        broker.wait()
        eventually(lambda: not publisher.heard("audio/hall"), within_s=1.0)
        assert not send(publisher, 100)
        broker = start_broker(address)
        began = time.monotonic()
        while not publisher.heard("audio/hall"):
            got += indices(listener)  # a subscriber subscribes again when it reads
            also += indices(second)
        assert listener.synchronise(1.0)
        assert second.synchronise(1.0)
        assert time.monotonic() - began < 1.0
        for index in range(100, 200):
            assert send(publisher, index, wait=True)
        while not got or got[-1] < 199:
            got += indices(listener, 5.0)
        while not also or also[-1] < 199:
            also += indices(second, 5.0)
        for received, subscriber in ((got, listener), (also, second)):
            assert received == sorted(set(received))
            assert set(range(100, 200)) <= set(received)
            assert subscriber.missed["audio"] == 200 - len(received)
            subscriber.close()
        publisher.close()

    def test_killed_while_every_queue_is_full_it_comes_back(
        self, address: str, start_broker: Any, eventually: Wait
    ) -> None:
        broker = start_broker(address)
        bus = ZmqBus(address)
        listener = bus.subscriber(["audio/"])
        assert listener.synchronise()
        with Feed(bus) as feed:
            for _ in range(3):
                before = -1
                while feed.sent != before:
                    before = feed.sent
                    time.sleep(0.2)
                broker.kill()
                broker.wait()
                broker = start_broker(address)
                got: list[int] = []
                until = feed.sent + 2 * ALL_QUEUES
                while not got or got[-1] < until:
                    new = indices(listener, 5.0)
                    assert new
                    got += new
                assert got == sorted(set(got))
        listener.close()

    def test_sockets_of_a_dead_broker_are_taken_over_and_those_of_a_living_one_are_not(
        self, address: str, tmp_path: Path, start_broker: Any, serve: Any
    ) -> None:
        broker = start_broker(address)
        with pytest.raises(EarwitnessError, match="another broker serves it"):
            Broker(address)
        listener = ZmqBus(address).subscriber(["audio/"])
        assert listener.synchronise()  # the first one still serves
        broker.kill()
        broker.wait()
        assert (tmp_path / "audio.in").is_socket()
        with serve(address):
            assert listener.synchronise(5.0)
        listener.close()


class TestCost:
    def test_a_channel_that_is_held_costs_little(self, address: str, start_broker: Any, eventually: Wait) -> None:
        child = start_broker(address)

        def cpu_s() -> float:
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        bus = ZmqBus(address)
        stuck = bus.subscriber(["audio/"])
        assert stuck.synchronise()
        with Feed(bus) as feed:
            before = -1
            while feed.sent != before:
                before = feed.sent
                time.sleep(0.3)
            began, used = time.monotonic(), cpu_s()
            time.sleep(2.0)
            assert feed.sent == before
            assert (cpu_s() - used) / (time.monotonic() - began) < 0.25
        stuck.close()

    @pytest.mark.slow
    def test_a_hundred_thousand_messages_leave_the_broker_small(self, address: str, start_broker: Any) -> None:
        child = start_broker(address)
        bus = ZmqBus(address)
        listener, idle = bus.subscriber(["audio/"]), bus.subscriber(["audio/"], "latest")  # one that never reads
        assert listener.synchronise()
        assert idle.synchronise()
        count, received = 100_000, 0
        with Feed(bus, count):
            while received < count:
                new = indices(listener, 5.0)
                assert new
                received += len(new)
        pages = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1])
        assert pages * os.sysconf("SC_PAGE_SIZE") < 40e6
        listener.close()
        idle.close()


def test_a_thousand_subscriptions_reach_a_publisher_that_comes_later(serve: Any, address: str) -> None:
    with serve(address):
        listener = ZmqBus(address).subscriber([f"audio/s{number}" for number in range(1000)])
        assert listener.synchronise()
        publisher = ZmqBus(address).publisher()
        for number in range(1000):
            block = Ended(stream=f"s{number}", epoch=1, end_sample=0, rate=1, reason="", final=True)
            assert publisher.send(f"audio/s{number}", block, wait=True)
            assert len(listener.receive(5.0)) == 1
        listener.close()
        publisher.close()


def test_latest_topics_can_be_followed_for_a_while(address: str, serve: Any, eventually: Wait) -> None:
    def told(stream: str) -> list[str]:
        publisher.send(f"level/{stream}", msgspec.structs.replace(example(Level), stream=stream))
        return [envelope.message.stream for envelope in listener.receive(0.05)]

    with serve(address):
        listener = ZmqBus(address).subscriber(["health/"], "latest")
        assert listener.synchronise()
        publisher = ZmqBus(address).publisher()
        listener.follow({"level/hall"})
        eventually(lambda: told("hall"))
        assert told("yard") == []
        listener.follow({"level/yard"})
        eventually(lambda: told("yard"))
        assert told("hall") == []
        listener.follow({"level/hall", "level/yard"})
        eventually(lambda: told("hall"))
        assert listener.missed == {}  # what was said while nobody followed is not missed
        listener.follow(())
        eventually(lambda: not publisher.heard("level/hall"))
        listener.close()
        publisher.close()
