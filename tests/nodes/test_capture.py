"""nodes/capture.py on the in-memory bus: every sample of a source is published, or named as lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earwitness.nodes import capture
from earwitness.nodes.capture import CaptureNode
from earwitness.nodes.marks import Mark
from earwitness.nodes.node import Job
from earwitness.stream.clock import NS
from earwitness.stream.config import Config, SourceSettings
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.ledger import unbalanced
from earwitness.stream.messages import Alarm, AudioBlock, AudioOpened, Ended, Gap, LedgerRow, Level
from earwitness.stream.sources.source import Chunk, Format, Source, SourceGone, SourceSpec
from earwitness.stream.testing import MemoryBus


class Script:
    """A source that gives what the test says: chunks, exceptions, None for the end; nothing when it has no more."""

    def __init__(self, *says: Any, live: bool = True, rate: int = 8000, name: str = "s", kind: Any = None):
        self.spec = SourceSpec(name=name, kind=kind or ("mic" if live else "stdin"))
        self.live = live
        self.rates = [rate]
        self.says = list(says)
        self.opening: list[Exception] = []
        self.opened_at: list[int] = []
        self.closed = 0

    def open(self, first_sample: int = 0) -> Format:
        if self.opening:
            raise self.opening.pop(0)
        self.opened_at.append(first_sample)
        rate = self.rates.pop(0) if len(self.rates) > 1 else self.rates[0]
        return Format(rate, 1, "int16", "a script", utc_error_ns=0)

    def read(self, frames: int) -> Chunk | None:
        if not self.says:
            return Chunk(np.empty((0, 1), np.int16))
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        return said  # type: ignore[no-any-return]

    def close(self) -> None:
        self.closed += 1

    def warning(self) -> str | None:
        return None


def sound(samples: int, first: int = 0, lost: int = 0) -> Chunk:
    values = np.arange(first, first + samples, dtype=np.int16)[:, None]
    return Chunk(values, lost, "overrun" if lost else "", (time.time_ns(), time.monotonic_ns()))


def node_of(
    bus: MemoryBus, *sources: Source, pace: str = "max", ledger: tuple[LedgerRow, ...] = (), **config: Any
) -> CaptureNode:
    job = Job(node="capture", config=Config(pace=pace, **config), ledger=ledger)  # type: ignore[arg-type]
    return CaptureNode(job, bus.publisher(), sources)


def run(node: CaptureNode, until: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(min(0.02, max(0.0, node.tick())))


def flow(bus: MemoryBus, name: str = "s") -> list[Any]:
    return [envelope.message for envelope in bus.sent if envelope.topic == f"audio/{name}"]


def ended(bus: MemoryBus, name: str = "s") -> bool:
    messages = flow(bus, name)
    return bool(messages) and isinstance(messages[-1], Ended) and messages[-1].final


def published(bus: MemoryBus, name: str = "s") -> np.ndarray:
    parts = [
        np.frombuffer(bytes(envelope.payload), envelope.message.dtype).reshape(-1, envelope.message.channels)
        for envelope in bus.sent
        if envelope.topic == f"audio/{name}" and isinstance(envelope.message, AudioBlock)
    ]
    return np.concatenate(parts)


def assert_tiled(messages: list[Any]) -> None:
    """Blocks and gaps of each epoch follow each other without a hole, between its opening and its end."""
    epoch, position, is_open = 0, 0, False
    for message in messages:
        match message:
            case AudioOpened():
                assert not is_open
                assert message.epoch > epoch
                epoch, position, is_open = message.epoch, 0, True
            case AudioBlock() | Gap():
                assert is_open
                assert (message.epoch, message.first_sample) == (epoch, position)
                position = message.end_sample
            case Ended():
                assert message.end_sample == (position if is_open else 0)
                is_open = False


def write(path: Path, samples: int, rate: int = 8000, channels: int = 1) -> np.ndarray:
    values = np.random.default_rng(0).integers(-30_000, 30_000, (samples, channels)).astype(np.int16)
    soundfile.write(path, values, rate)
    return values


def of_files(bus: MemoryBus, *paths: Path, pace: str = "max", **more: Any) -> CaptureNode:
    sources = tuple(SourceSettings(source=str(path)) for path in paths)
    job = Job(node="capture", config=Config(sources=sources, pace=pace, **more.pop("config", {})), **more)  # type: ignore[arg-type]
    return CaptureNode(job, bus.publisher())


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_published_whole_in_order_with_its_end(tmp_path: Path) -> None:
    sound = write(tmp_path / "x.wav", 50_000, channels=2)
    bus = MemoryBus()
    node = of_files(bus, tmp_path / "x.wav")
    run(node, lambda: ended(bus, "x"))
    messages = flow(bus, "x")
    assert_tiled(messages)
    assert np.array_equal(published(bus, "x"), sound)
    opened = messages[0]
    assert (opened.rate, opened.channels, opened.dtype, opened.live) == (8000, 2, "int16", False)
    assert (messages[-1].reason, messages[-1].end_sample) == ("end of file", 50_000)
    (row,) = node.ledger_rows()
    assert (row.received, row.lost, row.final) == (50_000, {}, True)
    node.finish()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 30_000), st.floats(0.001, 1.0), st.integers(1, 5))
def test_whatever_the_block_and_however_slow_the_reader_nothing_of_a_file_is_lost(
    tmp_path: Path, samples: int, block_s: float, queue: int
) -> None:
    sound = write(tmp_path / "x.wav", samples)
    bus = MemoryBus(queue)
    reader = bus.subscriber(["audio/"])
    node = of_files(bus, tmp_path / "x.wav", config={"block_s": block_s})
    heard = []
    while not ended(bus, "x"):
        node.tick()
        heard += reader.receive(0, at_most=1)
    heard += reader.receive(0)
    assert_tiled([envelope.message for envelope in heard])
    assert reader.missed == {}
    got = [np.frombuffer(bytes(e.payload), np.int16) for e in heard if isinstance(e.message, AudioBlock)]
    assert np.array_equal(np.concatenate([*got, np.empty(0, np.int16)]), sound[:, 0])
    assert unbalanced(node.ledger_rows()) == []


def test_a_files_time_is_counted_from_its_opening_exactly(tmp_path: Path) -> None:
    write(tmp_path / "x.wav", 40_000)
    bus = MemoryBus()
    node = of_files(bus, tmp_path / "x.wav")
    before = time.time_ns()
    run(node, lambda: ended(bus, "x"))
    blocks = [message for message in flow(bus, "x") if isinstance(message, AudioBlock)]
    start = blocks[0].utc_ns
    assert before <= start <= time.time_ns()
    assert all(b.utc_ns == start + b.first_sample * NS // 8000 and b.utc_error_ns == 0 for b in blocks)


def test_at_real_pace_a_block_comes_when_it_would_have_been_heard(tmp_path: Path) -> None:
    write(tmp_path / "x.wav", 2400)  # 0.3 s
    bus = MemoryBus()
    node = of_files(bus, tmp_path / "x.wav", pace="real")
    began = time.monotonic()
    while not ended(bus, "x"):
        wait = node.tick()
        done = max([m.end_sample for m in flow(bus, "x") if isinstance(m, AudioBlock)], default=0)
        assert done / 8000 <= time.monotonic() - began + 1e-3
        time.sleep(wait)
    assert 0.28 < time.monotonic() - began < 3.0


def test_several_files_go_side_by_side(tmp_path: Path) -> None:
    sounds = {name: write(tmp_path / f"{name}.wav", n) for name, n in (("a", 200_000), ("b", 100_000), ("c", 0))}
    bus = MemoryBus()
    node = of_files(bus, *(tmp_path / f"{name}.wav" for name in sounds))
    run(node, lambda: all(ended(bus, name) for name in sounds))
    for name, sound in sounds.items():
        assert_tiled(flow(bus, name))
        if len(sound):
            assert np.array_equal(published(bus, name), sound)
    streams = [e.message.stream for e in bus.sent if isinstance(e.message, AudioBlock)]
    assert streams.index("b") < len(streams) - 1 - streams[::-1].index("a")


def test_a_file_that_is_cut_off_ends_with_what_is_missing_as_a_gap_and_an_alarm(tmp_path: Path) -> None:
    sound = write(tmp_path / "x.wav", 40_000)
    data = (tmp_path / "x.wav").read_bytes()
    (tmp_path / "x.wav").write_bytes(data[: 44 + 2 * 30_000])
    bus = MemoryBus()
    node = of_files(bus, tmp_path / "x.wav")
    run(node, lambda: ended(bus, "x"))
    messages = flow(bus, "x")
    assert_tiled(messages)
    assert np.array_equal(published(bus, "x"), sound[:30_000])
    assert (messages[-2].cause, messages[-2].first_sample, messages[-2].end_sample) == ("cut off", 30_000, 40_000)
    (alarm,) = bus.of(Alarm)
    assert "10000 of them are missing" in alarm.text
    (row,) = node.ledger_rows()
    assert (row.received, row.lost) == (30_000, {"cut off": 10_000})


def test_a_file_that_vanished_is_an_alarm_and_the_others_go_on(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 1000)
    bus = MemoryBus()
    node = of_files(bus, tmp_path / "gone.wav", tmp_path / "a.wav")
    run(node, lambda: ended(bus, "a") and ended(bus, "gone"))
    (alarm,) = bus.of(Alarm)
    assert (alarm.name, alarm.stream) == ("source-failed", "gone")
    assert "no such file" in alarm.text


def test_after_a_restart_a_file_goes_on_where_it_was_in_the_same_epoch(tmp_path: Path) -> None:
    sound = write(tmp_path / "x.wav", 300_000)
    first, second = MemoryBus(), MemoryBus()
    node = of_files(first, tmp_path / "x.wav")
    run(node, lambda: len(flow(first, "x")) > 3)
    rows = node.ledger_rows()
    assert not rows[0].ended
    again = of_files(second, tmp_path / "x.wav", ledger=rows)
    run(again, lambda: ended(second, "x"))
    assert np.array_equal(np.concatenate([published(first, "x"), published(second, "x")]), sound)
    assert {message.epoch for message in flow(second, "x")} == {1}
    (row,) = again.ledger_rows()
    assert (row.received, row.lost, row.final) == (300_000, {}, True)


def test_a_file_that_had_ended_is_not_played_again_after_a_restart(tmp_path: Path) -> None:
    write(tmp_path / "x.wav", 1000)
    bus = MemoryBus()
    node = of_files(bus, tmp_path / "x.wav")
    run(node, lambda: ended(bus, "x"))
    silent = MemoryBus()
    again = of_files(silent, tmp_path / "x.wav", ledger=node.ledger_rows())
    again.tick()
    again.finish()
    assert silent.sent == []


# ---- live ------------------------------------------------------------------------------------------------------------


def test_live_sound_is_published_as_it_comes_with_its_time() -> None:
    bus = MemoryBus()
    node = node_of(bus, Script(sound(160), sound(160, 160)), pace="real")
    run(node, lambda: len(flow(bus)) == 3)
    blocks = flow(bus)[1:]
    assert_tiled(flow(bus))
    assert all(abs(block.heard_ns - time.time_ns()) < 5 * NS for block in blocks)
    assert blocks[0].utc_error_ns > 0
    assert abs(blocks[1].utc_ns - blocks[0].utc_ns - NS // 50) < 20_000_000
    node.finish()
    last = flow(bus)[-1]
    assert (last.reason, last.final, last.end_sample) == ("stopped", True, 320)


def test_each_live_block_is_marked_before_it_is_published() -> None:
    bus = MemoryBus()
    node = node_of(bus, Script(sound(160), sound(100, 160)))
    marks: list[int] = []

    def take(mark: Mark) -> None:
        marks.append(mark.end_sample)
        assert all(m.end_sample < mark.end_sample for m in flow(bus) if isinstance(m, AudioBlock))

    node.mark = take
    run(node, lambda: len(flow(bus)) == 3)
    assert marks == [160, 260]
    node.finish()


def test_what_a_source_lost_is_a_gap_in_order_and_in_the_ledger() -> None:
    bus = MemoryBus()
    node = node_of(bus, Script(sound(160), sound(160, lost=1000), Chunk(np.empty((0, 1), np.int16), 50, "overrun")))
    run(node, lambda: len(flow(bus)) == 5)
    assert_tiled(flow(bus))
    gaps = [(m.first_sample, m.end_sample, m.cause, m.place) for m in flow(bus) if isinstance(m, Gap)]
    assert gaps == [(160, 1160, "overrun", "capture"), (1320, 1370, "overrun", "capture")]
    node.finish()
    (row,) = node.ledger_rows()
    assert (row.received, row.lost, row.next_sample) == (320, {"overrun": 1050}, 1370)
    assert node.counts["lost_samples"] == 1050


def test_when_the_bus_is_full_nothing_is_read_and_the_order_is_kept() -> None:
    bus = MemoryBus(queue=3)
    reader = bus.subscriber(["audio/"])
    source = Script(*(sound(160, 160 * k, lost=10 if k == 3 else 0) for k in range(8)))
    node = node_of(bus, source)
    run(node, lambda: node.counts["held"] > 5)
    assert len(source.says) >= 4  # the rest waits in the source's own ring
    heard = []
    while len(heard) < 10:
        heard += reader.receive(0, at_most=1)
        node.tick()
    assert_tiled([envelope.message for envelope in heard])
    assert reader.missed == {}
    node.finish()


def test_a_source_that_disappears_comes_back_as_a_new_epoch_at_its_new_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "FIRST_RETRY_S", 0.01)
    bus = MemoryBus()
    source = Script(sound(160), SourceGone("unplugged"), sound(80), SourceGone("unplugged again"), sound(40))
    source.rates = [8000, 16_000, 16_000]
    node = node_of(bus, source)
    run(node, lambda: [m.epoch for m in flow(bus)].count(3) == 2)
    assert_tiled(flow(bus))
    assert [(m.epoch, m.rate) for m in flow(bus) if isinstance(m, AudioOpened)] == [(1, 8000), (2, 16_000), (3, 16_000)]
    ends = [m for m in flow(bus) if isinstance(m, Ended)]
    assert [(m.epoch, m.reason, m.final) for m in ends] == [(1, "unplugged", False), (2, "unplugged again", False)]
    assert [alarm.state for alarm in bus.of(Alarm)] == ["raised", "cleared"] * 2
    node.finish()
    assert unbalanced(node.ledger_rows()) == []


def test_a_source_that_is_not_there_is_waited_for_with_a_growing_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "FIRST_RETRY_S", 0.02)
    bus = MemoryBus()
    source = Script(sound(160))
    source.opening = [SourceGone("'earz' is not there")] * 4
    node = node_of(bus, source)
    began = time.monotonic()
    run(node, lambda: len(flow(bus)) == 2)
    assert time.monotonic() - began > 0.02 * (1 + 2 + 4 + 8)
    assert [m.epoch for m in flow(bus)] == [1, 1]
    raised, cleared = bus.of(Alarm)
    assert (raised.name, raised.state, cleared.state) == ("source-gone", "raised", "cleared")
    assert "'earz' is not there" in raised.text
    node.finish()


def test_the_back_off_is_bounded() -> None:
    node = node_of(MemoryBus(), Script())
    (stream,) = node._streams
    for _ in range(40):
        stream._lost_sight("gone")
    assert stream._retry_at - time.monotonic() <= capture.LONGEST_RETRY_S


def test_what_a_person_has_to_mend_in_a_live_source_is_an_alarm_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capture, "FIRST_RETRY_S", 0.01)
    bus = MemoryBus()
    source = Script(sound(160))
    source.opening = [EarwitnessError("there is no channel 4")]
    node = node_of(bus, source)
    run(node, lambda: len(flow(bus)) == 2)
    assert "no channel 4" in bus.of(Alarm)[0].text
    node.finish()


class Stuck(Script):
    """Does not open until it is let."""

    def __init__(self, *says: Any):
        super().__init__(*says)
        self.let = threading.Event()

    def open(self, first_sample: int = 0) -> Format:
        self.let.wait(10)
        return super().open(first_sample)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    source = Stuck(sound(160))
    yield source
    source.let.set()


def test_a_source_that_never_opens_is_an_alarm_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, stuck: Stuck
) -> None:
    monkeypatch.setattr(capture, "SLOW_OPENING_S", 0.05)
    bus = MemoryBus()
    other = Script(sound(160), name="other")
    node = node_of(bus, stuck, other)
    run(node, lambda: len(flow(bus, "other")) == 2 and bool(bus.of(Alarm)))
    assert bus.of(Alarm)[0].name == "source-slow"
    began = time.monotonic()
    node.finish()
    assert time.monotonic() - began < 1.0
    assert [type(m) for m in flow(bus)] == [Ended]


def test_after_a_restart_live_sound_ends_where_the_last_one_was_and_a_new_epoch_begins() -> None:
    row = LedgerRow(
        stream="s", epoch=3, place="capture", rate=8000, received=500, lost={}, next_sample=500,
        ended=False, final=False,
    )  # fmt: skip
    bus = MemoryBus()
    node = node_of(bus, Script(sound(160)), ledger=(row,))
    run(node, lambda: len(flow(bus)) == 3)
    end, opened, _ = flow(bus)
    assert (end.epoch, end.end_sample, end.reason, end.final) == (3, 500, "restart", False)
    assert opened.epoch == 4
    node.finish()
    assert unbalanced(node.ledger_rows()) == []


def test_a_clean_stop_publishes_what_was_heard_before_it() -> None:
    bus = MemoryBus()
    source = Script(*(sound(160, 160 * k) for k in range(50)))
    node = node_of(bus, source)
    run(node, lambda: len(flow(bus)) > 2)
    node.finish()
    assert np.array_equal(published(bus)[:, 0], np.arange(8000))
    assert source.closed
    assert unbalanced(node.ledger_rows()) == []


def test_what_the_bus_does_not_take_before_the_end_is_lost_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "STOP_S", 0.05)
    bus = MemoryBus(queue=2)
    bus.subscriber(["audio/"])
    node = node_of(bus, Script(sound(160), sound(160)))
    run(node, lambda: node.counts["held"] > 2)
    node.finish()
    (row,) = node.ledger_rows()
    assert (row.received, row.lost, row.final) == (160, {"stopped": 160}, True)


# ---- pipes, levels, clock --------------------------------------------------------------------------------------------


def test_a_pipe_ends_by_itself_and_is_marked_since_nobody_can_read_it_again() -> None:
    bus = MemoryBus()
    node = node_of(bus, Script(sound(160), None, live=False))
    marks: list[Any] = []
    node.mark = marks.append
    run(node, lambda: ended(bus))
    assert flow(bus)[-1].reason == "end of input"
    assert [mark.end_sample for mark in marks] == [160]


def test_levels_are_told_ten_times_a_second(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(8000, 0.5), 8000, subtype="PCM_16")
    bus = MemoryBus()
    run(of_files(bus, tmp_path / "x.wav", config={"block_s": 0.02}), lambda: ended(bus, "x"))
    levels = bus.of(Level)
    assert len(levels) == 10
    assert [(level.first_sample, level.end_sample) for level in levels[:2]] == [(0, 800), (800, 1600)]
    assert {(level.rms_db, level.peak_db, level.clipped) for level in levels} == {(-6.02, -6.02, 0)}


@pytest.mark.parametrize(("calibration_db", "wanted_db"), [(None, -20.0), (114.0, 94.0)])
def test_levels_are_weighted_at_the_rate_of_the_source_and_calibrated_where_it_is(
    tmp_path: Path, calibration_db: float | None, wanted_db: float
) -> None:
    wave = 0.1 * np.sqrt(2) * np.sin(2 * np.pi * 1000 * np.arange(3 * 48_000) / 48_000)
    soundfile.write(tmp_path / "x.wav", wave, 48_000, subtype="PCM_16")
    bus = MemoryBus()
    source = SourceSettings(source=str(tmp_path / "x.wav"), calibration_db=calibration_db)
    config = Config(sources=(source,), pace="max", block_s=0.02, level_period_s=2.0)
    run(CaptureNode(Job(node="capture", config=config), bus.publisher()), lambda: ended(bus, "x"))
    last = bus.of(Level)[-1]
    assert (last.weighting, last.calibrated) == ("A", calibration_db is not None)
    assert last.leq_db == last.fast_db == pytest.approx(wanted_db, abs=0.02)
    assert last.period_s == pytest.approx(2.0)
    assert last.period_leq_db == pytest.approx(wanted_db, abs=0.02)


def test_a_clock_that_is_set_while_it_listens_is_told_and_dates_what_follows() -> None:
    def at(seconds: float, step_s: float = 0.0) -> Chunk:
        monotonic = round(seconds * NS)
        return Chunk(np.zeros((160, 1), np.int16), heard=(monotonic + round((100 + step_s) * NS), monotonic))

    bus = MemoryBus()
    node = node_of(bus, Script(at(1.0), at(1.02), at(1.04, 3600), at(1.06, 3600)))
    run(node, lambda: len(flow(bus)) == 5)
    assert [alarm.name for alarm in bus.of(Alarm)] == ["clock-set"]
    assert "+3600.000 s" in bus.of(Alarm)[0].text
    blocks = flow(bus)[1:]
    assert blocks[3].utc_ns - blocks[0].utc_ns == pytest.approx(3600 * NS + 0.06 * NS, abs=1e6)
    assert node.counts["utc_error_us_s"] > 0
    node.finish()


@pytest.mark.parametrize("ppm", [300, -300])
def test_a_clock_that_drifts_either_way_can_be_told_on_the_bus(ppm: int) -> None:
    def at(index: int) -> Chunk:
        monotonic = round(index * 0.02 * (1 + ppm / 1e6) * NS)
        return Chunk(np.zeros((160, 1), np.int16), heard=(monotonic + 100 * NS, monotonic))

    bus = MemoryBus()
    node = node_of(bus, Script(*(at(index) for index in range(1, 1501))))
    run(node, lambda: len(flow(bus)) == 1501)
    slow, fast = node.counts["slow_ppb_s"], node.counts["fast_ppb_s"]
    assert (slow > 0, fast > 0) == (ppm > 0, ppm < 0)
    assert bus.publisher().send("health/capture", node.health())  # through the wire's checks
    node.finish()
