"""What the screen knows of a run."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from earwitness.nodes import board as board_module
from earwitness.nodes.board import ENDED_STAYS_S, FLOOR_DB, MAX_EVENTS, MAX_STREAMS, Board
from earwitness.stream.messages import Alarm, ClipSaved, Ended, EventEnd, EventStart, Health, Level, ScoreBlock

RATE = 8000


def weighted(db: float, **more: Any) -> dict[str, Any]:
    """The weighted levels of a steady sound."""
    names = ("leq_db", "fast_db", "period_leq_db", "fast_max_db", "l10_db", "l50_db", "l90_db")
    return {"weighting": "A", "calibrated": False, "period_s": 0.0, **dict.fromkeys(names, db), **more}


def level(rms_db: float, peak_db: float, stream: str = "a", clipped: int = 0, **more: Any) -> Level:
    return Level(
        stream=stream, epoch=1, first_sample=0, end_sample=800, rate=RATE, rms_db=rms_db, peak_db=peak_db,
        clipped=clipped, **weighted(rms_db, **more),
    )  # fmt: skip


def scores(top: tuple[tuple[str, float], ...], model: str = "m@1", epoch: int = 1) -> ScoreBlock:
    return ScoreBlock(
        stream="a", epoch=epoch, model=model, first_sample=0, end_sample=10, rate=RATE, segment_sample=0,
        first_window=0, spans=((0, 10),) if top else (), classes=2, top=top, heard_sample=0, heard_ns=0,
        computed_ns=0, scored_ns=0,
    )  # fmt: skip


def start(id: str = "x", stream: str = "a") -> EventStart:
    return EventStart(
        id=id, stream=stream, epoch=1, label="dog", score=0.9, onset_sample=0, rate=RATE, utc_ns=0, utc_error_ns=0,
        model="m@1", latency_ms=1.0,
    )  # fmt: skip


def end(id: str = "x") -> EventEnd:
    return EventEnd(
        id=id, stream="a", epoch=1, label="dog", score=0.9, onset_sample=0, offset_sample=RATE, rate=RATE, utc_ns=0,
        utc_error_ns=0, model="m@1", latency_ms=1.0,
    )  # fmt: skip


def ended(final: bool = True) -> Ended:
    return Ended(stream="a", epoch=1, end_sample=10, rate=RATE, reason="end of file", final=final)


def health(pid: int = 1, uptime_s: float = 1.0, cpu_s: float = 0.0, **more: object) -> Health:
    fields = {"counts": {}, "delays_ms": {}, "ledger": (), "rss_bytes": 1, **more}
    return Health(node="capture", pid=pid, uptime_s=uptime_s, cpu_s=cpu_s, **fields)  # type: ignore[arg-type]


def test_a_peak_is_held_and_then_falls() -> None:
    board = Board()
    board.take(level(-30, -6), now=0.0)
    board.take(level(-40, -35), now=1.0)
    stream = board.streams["a"]
    assert stream.rms_db == -40
    assert stream.peak_db(1.4) == -6
    assert stream.peak_db(2.5) == pytest.approx(-26)
    assert stream.peak_db(100.0) == FLOOR_DB


def test_silence_and_what_is_no_number_are_the_floor() -> None:
    board = Board()
    for value in (-math.inf, math.nan):
        board.take(level(value, value), now=0.0)
        assert board.streams["a"].rms_db == FLOOR_DB


def test_clipping_is_remembered_for_a_moment() -> None:
    board = Board()
    board.take(level(-1, 0, clipped=3), now=0.0)
    board.take(level(-1, 0), now=1.0)
    assert board.streams["a"].clipped(1.0)
    assert not board.streams["a"].clipped(3.0)


def test_the_top_classes_of_all_models_stand_in_one_list_and_stay_between_windows() -> None:
    board = Board()
    board.take(scores((("dog", 0.3), ("cat", 0.2))), now=0.0)
    board.take(scores((("dog", 0.6), ("rain", 0.1)), model="n@2"), now=0.0)
    board.take(scores(()), now=0.1)
    assert board.streams["a"].labels() == [("dog", 0.6), ("cat", 0.2), ("rain", 0.1)]
    assert set(board.models) == {"m@1", "n@2"}


def test_an_event_goes_on_until_its_end_and_gets_its_clip() -> None:
    board = Board()
    board.take(start(), 0.0)
    assert board.happening("a") == {"dog"}
    board.take(end(), 0.0)
    board.take(ClipSaved(id="x", stream="a", label="dog", path="c.flac", first_sample=0, end_sample=1, rate=RATE), 0.0)
    assert board.happening("a") == set()
    assert (board.events["x"].lasted_s, board.events["x"].clip) == (1.0, "c.flac")


def test_an_event_whose_stream_ends_without_its_end_does_not_go_on_for_ever() -> None:
    board = Board()
    board.take(start(), 0.0)
    board.take(ended(), 0.0)
    assert board.events["x"].abandoned
    assert board.happening("a") == set()


def test_a_monitor_that_was_started_again_takes_an_end_without_its_start() -> None:
    board = Board()
    board.take(end(), 0.0)
    assert board.events["x"].lasted_s == 1.0


def test_a_new_epoch_makes_an_ended_stream_live_again() -> None:
    board = Board()
    board.take(ended(final=False), 0.0)
    assert board.streams["a"].ended == "end of file"
    board.take(scores((("dog", 0.5),), epoch=2), 1.0)
    assert board.streams["a"].ended == ""


def test_streams_and_nodes_that_left_are_forgotten() -> None:
    board = Board()
    board.take(ended(), 0.0)
    board.take(level(-10, -5, stream="b"), 0.0)
    board.take(health(), 0.0)
    board.forget(ENDED_STAYS_S + 1)
    assert set(board.streams) == {"b"}
    assert not board.nodes
    board.forget(1e6)
    assert not board.streams


def test_an_alarm_stays_until_it_is_cleared_or_its_process_is_gone() -> None:
    board = Board()
    old = Alarm(
        node="capture", stream="a", name="device-gone", state="raised", text="gone", utc_ns=time.time_ns() - 10**10
    )
    full = Alarm(node="recorder", stream="", name="disk-full", state="raised", text="full", utc_ns=time.time_ns())
    board.take(health(pid=1), 0.0)
    board.take(old, 0.0)
    board.take(full, 0.0)
    board.take(health(pid=1), 0.5)
    assert len(board.alarms) == 2
    board.take(health(pid=2, uptime_s=0.5), 1.0)
    assert list(board.alarms.values()) == [full]
    board.take(Alarm(node="recorder", stream="", name="disk-full", state="cleared", text="", utc_ns=0), 1.0)
    assert not board.alarms


def test_the_share_of_a_core_and_the_delays_are_of_the_last_seconds() -> None:
    board = Board()
    for second in range(100):
        board.take(health(uptime_s=second, cpu_s=second * 0.25, delays_ms={"read": (second, 2.0 * second)}), second)
    assert board.nodes["capture"].cpu_share == pytest.approx(0.25)
    assert board.delays()["read"] == (pytest.approx(89.5), 198.0)


def test_months_of_everything_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "MAX_STREAMS", 50)
    board = Board()
    for number in range(2000):
        board.take(start(id=str(number)), number)
        board.take(level(-10, -5, stream=f"s{number}"), number)
        board.take(scores((("dog", 0.5),), model=f"m{number}"), number)
        board.take(Alarm(node="n", stream=f"s{number}", name="x", state="raised", text="", utc_ns=0), number)
        board.take(health(pid=number, delays_ms={f"stage{number}": (1.0, 2.0)}), number)
        board.forget(number)
    assert len(board.events) == MAX_EVENTS
    assert board.earlier_events == 2000 - MAX_EVENTS
    assert len(board.streams) == 50 < MAX_STREAMS
    assert len(board.alarms) <= board_module.MAX_ALARMS
    assert len(board.models) <= ENDED_STAYS_S + 2
    assert len(board.streams["a"].top) <= board_module.MAX_MODELS
