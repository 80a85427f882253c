"""The bus without a broker: addresses, subscriptions, and how a reader counts what it missed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.stream.bus import (
    SIDES,
    SequenceWatch,
    ZmqBus,
    check_address,
    endpoint,
    private_folder,
    subscription,
)
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.keys import Keys
from earwitness.stream.messages import CHANNELS, Ended
from earwitness.stream.wire import Envelope

KEYS = Keys(b"", b"", b"")
ENDS = [(channel, side) for channel in CHANNELS for side in SIDES]


def test_every_end_has_an_address_of_its_own() -> None:
    for address in ("ipc:///run/ears", "tcp://10.0.0.1:5550", "tcp://[::1]:5550", "tcp://host.local:65524"):
        assert len({endpoint(address, *end) for end in ENDS}) == len(ENDS) == 12
    assert endpoint("ipc:///run/ears/", "audio", "in") == "ipc:///run/ears/audio.in"
    assert {endpoint("tcp://h:5550", *end) for end in ENDS} == {f"tcp://h:{port}" for port in range(5550, 5562)}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "expected ipc://FOLDER or tcp://HOST:PORT"),
        ("ipc://", "expected ipc://FOLDER or tcp://HOST:PORT"),
        ("tcp://host", "expected ipc://FOLDER or tcp://HOST:PORT"),
        ("tcp://:5550", "expected ipc://FOLDER or tcp://HOST:PORT"),
        ("tcp://host:port", "expected ipc://FOLDER or tcp://HOST:PORT"),
        ("tcp://host:-1", "expected ipc://FOLDER or tcp://HOST:PORT"),
        ("tcp://host:٣", "expected ipc://FOLDER or tcp://HOST:PORT"),
        ("http://host:80", "expected ipc://FOLDER or tcp://HOST:PORT"),
        ("inproc://x", "expected ipc://FOLDER or tcp://HOST:PORT"),
        ("tcp://host:0", "PORT is 1 to 65524"),
        ("tcp://host:65525", "PORT is 1 to 65524"),
        ("tcp://host:99999999999999999999", "PORT is 1 to 65524"),
        (f"ipc:///{'x' * 100}", "too long a path"),
        (f"ipc:///{'é' * 50}", "too long a path"),
    ],
)
def test_an_address_that_is_none_is_refused_in_one_line(address: str, words: str) -> None:
    with pytest.raises(EarwitnessError, match=words) as caught:
        ZmqBus(address, KEYS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "*", "0.0.0.0", "[::1]"])
def test_nothing_goes_over_tcp_without_keys(host: str) -> None:
    with pytest.raises(EarwitnessError, match="make them with `earwitness keys`"):
        check_address(f"tcp://{host}:5550", None)
    check_address(f"tcp://{host}:5550", KEYS)


def test_an_address_that_zeromq_refuses_is_one_line() -> None:
    with pytest.raises(EarwitnessError, match="bus address"):
        ZmqBus("tcp://no such host:5550", Keys(*[b"0" * 40] * 3)).subscriber(["audio/"])


def test_a_whole_topic_brings_no_other_and_a_prefix_brings_all() -> None:
    assert b"audio/hall\0rest".startswith(subscription("audio/hall"))
    assert not b"audio/hallway\0rest".startswith(subscription("audio/hall"))
    assert b"audio/hallway\0rest".startswith(subscription("audio/"))


def test_the_folder_for_sockets_is_new_and_private(tmp_path: Path) -> None:
    folders = {private_folder(tmp_path) for _ in range(10)}
    assert len(folders) == 10
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in folders)


def envelope(topic: str, sender: int, seq: int) -> Envelope:
    ended = Ended(stream="s", epoch=1, end_sample=0, rate=1, reason="", final=True)
    return Envelope(topic, sender, seq, ended, memoryview(b""))


@given(st.data())
def test_what_is_missing_between_what_came_is_counted_by_topic_name(data: st.DataObject) -> None:
    senders = {("audio/a", 1): 0, ("audio/a", 2): 0, ("audio/b", 1): 0, ("event/a", 1): 0}
    begun: set[tuple[str, int]] = set()
    expected = {"audio": 0, "event": 0}
    watch = SequenceWatch()
    for _ in range(data.draw(st.integers(0, 40))):
        key = data.draw(st.sampled_from(sorted(senders)))
        skipped = data.draw(st.integers(0, 3))
        senders[key] += skipped
        if key in begun:
            expected[key[0].partition("/")[0]] += skipped  # before the first one there was nobody to miss them
        begun.add(key)
        watch.see(envelope(*key, senders[key]))
        senders[key] += 1
    assert watch.missed["audio"] == expected["audio"]
    assert watch.missed["event"] == expected["event"]


def test_a_watch_does_not_grow_with_streams_that_left() -> None:
    watch = SequenceWatch()
    for index in range(20_000):
        watch.see(envelope(f"audio/{index}", 1, 0))
        watch.see(envelope("audio/stays", 1, index))
    assert len(watch._next) <= 10_000
    watch.see(envelope("audio/stays", 1, 20_003))
    assert watch.missed["audio"] == 3
