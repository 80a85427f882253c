"""The ledger: whatever comes in whatever pieces, received + lost is the length; and what does not add up is found."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.stream.ledger import Hole, Ledger, settle, unbalanced
from earwitness.stream.messages import LedgerRow

RATE = 16_000


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[int, int, bool]], int]:
    """Spans [first, end) that arrive or not, tiling an epoch, and the epoch's length."""
    lengths = draw(st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=30))
    spans, position = [], 0
    for length, arrives in lengths:
        spans.append((position, position + length, arrives))
        position += length
    return spans, position


@given(streams())
def test_received_and_lost_are_the_length_whatever_is_missing(stream: Any) -> None:
    spans, length = stream
    ledger = Ledger("here")
    holes = []
    for first, end, arrives in spans:
        if arrives:
            holes.append(ledger.receive("s", 1, first, end, RATE))
    holes.append(ledger.end("s", 1, length, RATE, final=True))
    (row,) = ledger.rows()
    assert row.received == sum(end - first for first, end, arrives in spans if arrives)
    assert row.received + sum(row.lost.values()) == row.next_sample == length
    assert sum(hole.end - hole.first for hole in holes if hole) == sum(row.lost.values())
    assert row.ended
    assert row.final
    assert unbalanced(ledger.rows()) == []


@given(streams(), st.data())
def test_gaps_that_are_told_keep_their_cause_and_are_no_news_twice(stream: Any, data: st.DataObject) -> None:
    spans, length = stream
    ledger = Ledger("here")
    expected: Counter[str] = Counter()
    for first, end, arrives in spans:
        if arrives:
            assert ledger.receive("s", 1, first, end, RATE) is None
        else:
            cause = data.draw(st.sampled_from(["overrun", "transport"]))
            hole = ledger.lose("s", 1, end, RATE, cause)
            assert hole == (Hole(first, end, cause) if end > first else None)
            assert ledger.lose("s", 1, end, RATE, "again") is None
            expected[cause] += end - first
        assert ledger.position("s", 1) == end
    assert ledger.end("s", 1, length, RATE, final=True) is None
    assert +Counter(ledger.rows()[0].lost if ledger.rows() else {}) == +expected


@given(streams())
def test_what_comes_twice_is_counted_once(stream: Any) -> None:
    spans, length = stream
    once, twice = Ledger("here"), Ledger("here")
    for first, end, arrives in spans:
        if arrives:
            once.receive("s", 1, first, end, RATE)
            twice.receive("s", 1, first, end, RATE)
            twice.receive("s", 1, max(0, first - 10), end, RATE)  # again, with what was before it
    for ledger in (once, twice):
        ledger.end("s", 1, length, RATE, final=True)
        ledger.end("s", 1, length, RATE, final=True)
    assert unbalanced(twice.rows()) == []
    assert twice.rows() == once.rows()


@given(streams(), st.data())
def test_a_restart_from_its_rows_goes_on_and_names_what_it_missed(stream: Any, data: st.DataObject) -> None:
    spans, length = stream
    cut = data.draw(st.integers(0, len(spans)))
    away = data.draw(st.integers(0, len(spans) - cut))  # so many spans pass while the node is dead
    ledger = Ledger("here")
    for first, end, _ in spans[:cut]:
        ledger.receive("s", 1, first, end, RATE)
    rows = msgspec.json.decode(msgspec.json.encode(ledger.rows()), type=tuple[LedgerRow, ...])
    ledger = Ledger("here", rows)
    holes = [ledger.receive("s", 1, first, end, RATE) for first, end, _ in spans[cut + away :]]
    holes.append(ledger.end("s", 1, length, RATE, final=True))
    missed = sum(end - first for first, end, _ in spans[cut : cut + away])
    (row,) = ledger.rows()
    assert unbalanced([row]) == []
    assert sum(row.lost.values()) == missed
    if missed:
        cause = "restart" if rows else "joined late"
        assert [hole.cause for hole in holes if hole] == [cause]
        assert row.lost == {cause: missed}


def test_the_cause_of_a_hole_is_where_it_is() -> None:
    ledger = Ledger("here")
    assert ledger.receive("s", 1, 100, 200, RATE) == Hole(0, 100, "joined late")
    assert ledger.receive("s", 1, 250, 300, RATE) == Hole(200, 250, "transport")
    assert ledger.end("s", 1, 310, RATE, final=False) == Hole(300, 310, "transport")
    assert Ledger("here", ledger.rows()).receive("s", 1, 320, 330, RATE) == Hole(310, 320, "restart")
    assert ledger.end("t", 1, 5, RATE, final=True) == Hole(0, 5, "joined late")


def test_what_was_never_seen_is_at_the_start_and_not_over() -> None:
    ledger = Ledger("here")
    assert ledger.position("s", 1) == 0
    assert not ledger.ended("s", 1)
    ledger.receive("s", 1, 0, 0, RATE)
    assert not ledger.ended("s", 1)
    ledger.end("s", 1, 0, RATE, final=False)
    assert ledger.ended("s", 1)


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500)), min_size=1, max_size=30), st.data())
def test_old_epochs_are_folded_away_and_nothing_of_them_is_lost(
    epochs: list[tuple[int, int]], data: st.DataObject
) -> None:
    ledger = Ledger("here")
    for number, (received, lost) in enumerate(epochs, start=1):
        ledger.receive("s", number, 0, received, RATE)
        ledger.lose("s", number, received + lost, RATE, "overrun")
        ledger.end("s", number, received + lost, RATE, final=number == len(epochs))
        if data.draw(st.booleans()):
            ledger = Ledger("here", ledger.rows())
    rows = ledger.rows()
    assert len(rows) <= Ledger.KEEP_EPOCHS + 1
    assert unbalanced(rows) == []
    assert sum(row.received for row in rows) == sum(received for received, _ in epochs)
    assert sum(row.lost.get("overrun", 0) for row in rows) == sum(lost for _, lost in epochs)
    assert [row.epoch for row in rows if row.final] == [len(epochs)]


def test_epochs_that_are_not_over_and_other_streams_are_not_folded() -> None:
    ledger = Ledger("here")
    ledger.receive("open", 1, 0, 10, RATE)
    for epoch in range(1, 10):
        ledger.end("s", epoch, 10, RATE, final=False)
    assert [row.epoch for row in ledger.rows() if row.stream == "open"] == [1]
    assert [row.epoch for row in ledger.rows() if row.stream == "s"] == [0, 6, 7, 8, 9]


def row(**changes: Any) -> LedgerRow:
    fields = {
        "stream": "s", "epoch": 1, "place": "capture", "rate": RATE, "received": 90, "lost": {"overrun": 10},
        "next_sample": 100, "ended": True, "final": True,
    }  # fmt: skip
    return LedgerRow(**{**fields, **changes})


def test_a_balanced_ledger_has_no_faults() -> None:
    rows = [row(), row(place="features", received=80, lost={"overrun": 10, "transport": 10})]
    assert unbalanced(rows, ["capture", "features"]) == []
    assert unbalanced([]) == []


@pytest.mark.parametrize(
    ("faulty", "fault"),
    [
        ({"received": 91}, "s epoch 1 at features: 91 received + 10 lost != 100"),
        ({"lost": {}}, "s epoch 1 at features: 90 received + 0 lost != 100"),
        ({"received": 110, "lost": {"overrun": -10}}, "s epoch 1 at features: a negative count"),
        ({"received": -10, "lost": {"overrun": 110}}, "s epoch 1 at features: a negative count"),
        ({"ended": False}, "s epoch 1 at features: stops at sample 100 without an end"),
        ({"received": 80, "next_sample": 90}, "s epoch 1: the places disagree about its length"),
        ({"rate": 48_000}, "s epoch 1: the places disagree about its rate"),
        ({"epoch": 2}, "s epoch 1: unknown at features"),
        ({"stream": "t"}, "s epoch 1: unknown at features"),
        ({"place": "capture"}, "s epoch 1 at capture: accounted for twice"),
        ({"place": "recorder"}, "s epoch 1: unknown at features"),
    ],
)
def test_each_kind_of_imbalance_is_found(faulty: dict[str, Any], fault: str) -> None:
    problems = unbalanced([row(), row(**{"place": "features", **faulty})], ["capture", "features"])
    assert any(problem.startswith(fault) for problem in problems), problems
    assert not any("\n" in problem for problem in problems)


def test_a_place_that_has_no_row_at_all_is_found() -> None:
    assert unbalanced([row()], ["capture", "features"]) == ["s epoch 1: unknown at features"]
    assert unbalanced([row(), row(stream="t"), row(place="features")]) == ["t epoch 1: unknown at features"]


def test_folded_epochs_are_held_to_the_same_rules() -> None:
    assert unbalanced([row(epoch=0), row(epoch=0, place="features", received=50, next_sample=60)])


@given(streams(), st.data())
def test_the_accounts_of_killed_places_are_closed_with_what_they_lost(stream: Any, data: st.DataObject) -> None:
    spans, length = stream
    whole, broken = [], []
    for place in ("capture", "features", "recorder"):
        ledger = Ledger(place)
        killed = data.draw(st.booleans())
        heard = data.draw(st.integers(0, len(spans))) if killed else len(spans)
        for first, end, _ in spans[:heard]:
            ledger.receive("hall", 1, first, end, RATE)
        if not killed:
            ledger.end("hall", 1, length, RATE, final=True)
        (broken if killed else whole).extend(ledger.rows())
    rows = settle(whole, broken)
    assert unbalanced(rows, {row.place for row in (*whole, *broken)}) == []
    assert {row for row in map(repr, whole)} <= {row for row in map(repr, rows)}
    for row in rows:
        assert set(row.lost) <= ({"stopped"} if row.place != "capture" else set())


def test_what_a_place_never_knew_of_is_lost_to_it_but_no_other_captures_streams_are() -> None:
    def row(stream: str, epoch: int, place: str, end: int, ended: bool = True) -> LedgerRow:
        return LedgerRow(
            stream=stream, epoch=epoch, place=place, rate=RATE, received=end, lost={}, next_sample=end, ended=ended,
            final=False,
        )  # fmt: skip

    mine = row("mic-a", 1, "capture", 7, ended=False)
    features = [row("mic-a", 1, "features", 10), row("mic-b", 1, "features", 20), row("mic-b", 2, "features", 5)]
    rows = settle([row("mic-b", 1, "capture", 20), row("mic-b", 2, "capture", 5), *features],
                  [mine, row("mic-b", 1, "recorder", 20)])  # fmt: skip
    assert unbalanced(rows) == []
    settled = {(each.place, each.stream, each.epoch): each for each in rows}
    assert len(settled) == len(rows) == 9
    assert settled["capture", "mic-a", 1].received == 10
    assert settled["recorder", "mic-b", 2].lost == {"stopped": 5}
    assert settled["recorder", "mic-a", 1].lost == {"stopped": 10}


def test_a_fault_of_a_place_that_closed_its_accounts_stays_one() -> None:
    good, bad = Ledger("capture"), Ledger("features")
    for ledger, end in ((good, 100), (bad, 90)):
        ledger.receive("hall", 1, 0, end, RATE)
        ledger.end("hall", 1, end, RATE, final=True)
    assert unbalanced(settle([*good.rows(), *bad.rows()], []))
    assert unbalanced(settle(good.rows(), bad.rows()))  # it had said that its epoch was over
