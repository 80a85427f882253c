"""Shares of the streams: each stream has one worker, known to all, the same after every restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from earwitness.stream.shares import Share

names = st.sets(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True), max_size=40)


@given(names, st.integers(1, 9), st.booleans())
def test_every_stream_has_exactly_one_worker(streams: set[str], workers: int, known: bool) -> None:
    shares = [Share(worker, workers, streams if known else ()) for worker in range(1, workers + 1)]
    for stream in streams:
        assert [share.takes(stream) for share in shares].count(True) == 1


@given(names.filter(bool), st.integers(2, 9))
def test_known_streams_are_subscribed_to_one_by_one_and_dealt_out_evenly(streams: set[str], workers: int) -> None:
    topics = [Share(worker, workers, streams).topics("audio") for worker in range(1, workers + 1)]
    assert sorted(topic for each in topics for topic in each) == sorted(f"audio/{stream}" for stream in streams)
    assert max(map(len, topics)) - min(map(len, topics)) <= 1


def test_who_has_an_unknown_stream_hangs_on_its_name_alone() -> None:
    assert Share(1, 2).topics("audio") == ("audio/",)
    assert [stream for stream in ("attic", "gate", "hall", "yard") if Share(1, 2).takes(stream)] == ["gate", "yard"]


def test_a_share_that_comes_as_text_is_the_same() -> None:
    share = Share.parse("2/3", ["a", "b", "c"])
    assert (share.worker, share.workers, share.takes("b"), share.takes("a")) == (2, 3, True, False)
    assert Share.parse("").whole
