"""The recorder: a clip for each event, on exact samples, whatever the order, the losses, the disk and the end."""

from __future__ import annotations

import csv
import errno
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earwitness.nodes import recorder as recorder_module
from earwitness.nodes.node import Job
from earwitness.nodes.recorder import RecorderNode
from earwitness.stream import clip_library, clip_writer
from earwitness.stream.bus import ZmqBus
from earwitness.stream.clip_library import ClipLibrary
from earwitness.stream.clips import ClipRecord, Keep, RecorderSettings
from earwitness.stream.config import Config
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.ledger import unbalanced
from earwitness.stream.messages import (
    Alarm,
    AudioBlock,
    AudioOpened,
    ClipSaved,
    Ended,
    EventEnd,
    EventStart,
    Gap,
    LedgerRow,
    ScoreBlock,
)
from earwitness.stream.testing import MemoryBus

RATE = 1_000
SETTINGS = RecorderSettings(pre_roll_s=1.0, post_roll_s=0.5, max_clip_s=10.0, history_s=20.0, min_free_bytes=0)


def sound(first: int, end: int, channels: int = 1, dtype: str = "int16") -> NDArray[Any]:
    """Samples that tell their index."""
    values = np.arange(first, end) % 30_000 + 1
    columns = np.stack([values * (-1) ** channel for channel in range(channels)], axis=1)
    return columns.astype(dtype) if dtype == "int16" else (columns << 8).astype(dtype)


class Bench:
    """A recorder on a bus in memory, and the hands to feed it."""

    def __init__(
        self, out: Path, settings: RecorderSettings = SETTINGS, ledger: tuple[LedgerRow, ...] = (), **run: Any
    ):
        self.out = out
        self.bus = MemoryBus()
        self.sender = self.bus.publisher()
        config = Config(out=str(out), recorder=settings, **run)
        self.node = RecorderNode(Job(node="recorder", config=config, ledger=ledger), self.bus.publisher())
        self.inbox = self.bus.subscriber(self.node.lossless)

    def opened(
        self, stream: str = "s", epoch: int = 1, live: bool = True, channels: int = 1, dtype: Any = "int16"
    ) -> None:
        self.send("audio", AudioOpened(stream=stream, epoch=epoch, rate=RATE, channels=channels, dtype=dtype,
                                       source="test", live=live, utc_ns=0))  # fmt: skip

    def audio(
        self, first: int, end: int, stream: str = "s", epoch: int = 1, channels: int = 1, dtype: Any = "int16",
        step: int = 500,
    ) -> None:  # fmt: skip
        for start in range(first, end, step):
            samples = sound(start, min(start + step, end), channels, dtype)
            block = AudioBlock(stream=stream, epoch=epoch, first_sample=start, end_sample=start + len(samples),
                               rate=RATE, channels=channels, dtype=dtype, utc_ns=0, utc_error_ns=0,
                               heard_ns=0)  # fmt: skip
            self.send("audio", block, samples.tobytes())

    def gap(self, first: int, end: int, stream: str = "s") -> None:
        self.send("audio", Gap(stream=stream, epoch=1, first_sample=first, end_sample=end, rate=RATE, cause="overrun",
                               place="capture"))  # fmt: skip

    def ended(self, end: int, stream: str = "s", epoch: int = 1, final: bool = True) -> None:
        self.send("audio", self._ended(end, stream, epoch, final))

    def decided(self, first: int, end: int, stream: str = "s", epoch: int = 1, model: str = "m") -> None:
        """Scores of the windows that end in [first, end)."""
        score = ScoreBlock(stream=stream, epoch=epoch, model=model, first_sample=first, end_sample=end, rate=RATE,
                           segment_sample=0, first_window=0, spans=(), classes=2, top=(), heard_sample=0, heard_ns=0,
                           computed_ns=0,
                           scored_ns=0)  # fmt: skip
        assert self.sender.send(f"scores/{model}/{stream}", score)

    def models_through(self, end: int, stream: str = "s", epoch: int = 1, model: str = "m") -> None:
        self.sender.send(f"scores/{model}/{stream}", self._ended(end, stream, epoch, True))

    def event(self, onset: int, offset: int | None, name: str = "", label: str = "dog", start: bool = True,
              stream: str = "s", epoch: int = 1) -> None:  # fmt: skip
        name = name or f"{label}-{onset}"
        common = dict(id=name, stream=stream, epoch=epoch, label=label, score=0.9, onset_sample=onset, rate=RATE,
                      utc_ns=1_795_262_400_000_000_000 + onset * 1_000_000, utc_error_ns=0, model="m@1",
                      latency_ms=1.0)  # fmt: skip
        if start:
            self.send("event", EventStart(**common))
        if offset is not None:
            self.send("event", EventEnd(**common, offset_sample=offset))

    def send(self, topic: str, message: Any, payload: bytes = b"") -> None:
        assert self.sender.send(f"{topic}/{message.stream}", message, payload)

    def run(self) -> None:
        """What the loop of a node does, until there is nothing to do but wait."""
        while True:
            self.inbox.hold(self.node.held)
            envelopes = self.inbox.receive(0.0, self.node.at_most)
            if envelopes:
                self.node.handle(envelopes)
            self.node.tick()
            if not envelopes:
                return

    def until(self, true: Callable[[], object], what: str = "") -> None:
        deadline = time.monotonic() + 20
        while not true():
            assert time.monotonic() < deadline, f"waited in vain {what}"
            self.run()
            time.sleep(0.005)

    def finish(self) -> None:
        self.node.finish()

    def clips(self) -> dict[str, tuple[ClipRecord, NDArray[Any]]]:
        """All clips on the disk, by the event's id."""
        found = {}
        with open(self.out / "clips" / "metadata.csv", newline="") as file:
            for row in csv.DictReader(file):
                path = self.out / "clips" / row["file_name"]
                record = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=ClipRecord)
                samples, rate = soundfile.read(
                    path, dtype="int16" if record.dtype == "int16" else "int32", always_2d=True
                )
                assert rate == record.rate
                assert len(samples) == record.end_sample - record.first_sample
                found[record.id] = (record, samples)
        return found

    def alarms(self) -> list[tuple[str, str]]:
        return [(alarm.name, alarm.state) for alarm in self.bus.of(Alarm) if isinstance(alarm, Alarm)]

    @staticmethod
    def _ended(end: int, stream: str, epoch: int, final: bool) -> Ended:
        return Ended(stream=stream, epoch=epoch, end_sample=end, rate=RATE, reason="end of file", final=final)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(*args: Any, **more: Any) -> Bench:
        benches.append(Bench(tmp_path, *args, **more))
        return benches[-1]

    yield make
    for each in benches:
        each.node._writer.close(10.0)


# ---- clips -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "dtype"), [(1, "int16"), (2, "int16"), (3, "int32")])
def test_an_event_becomes_a_clip_as_soon_as_its_post_roll_is_heard(bench: Any, channels: int, dtype: str) -> None:
    b = bench()
    b.opened(channels=channels, dtype=dtype)
    b.audio(0, 3_400, channels=channels, dtype=dtype)
    b.event(2_000, 3_000)
    b.run()
    assert not b.bus.of(ClipSaved)
    b.audio(3_400, 3_500, channels=channels, dtype=dtype)
    b.until(lambda: b.bus.of(ClipSaved))
    (saved,) = b.bus.of(ClipSaved)
    assert (saved.id, saved.stream, saved.label) == ("dog-2000", "s", "dog")
    assert (saved.first_sample, saved.end_sample, saved.rate) == (1_000, 3_500, RATE)
    assert (b.out / saved.path).is_file()
    assert saved.path == "clips/s/2026-11-21/2026-11-21T12-00-02.000Z_dog_090.flac"
    record, samples = b.clips()["dog-2000"]
    np.testing.assert_array_equal(samples, sound(1_000, 3_500, channels, dtype))
    assert (record.channels, record.dtype, record.gaps) == (channels, dtype, ())
    assert b.node.counts["clips"] == 1


def test_the_event_may_come_before_the_sound_or_long_after_it(bench: Any) -> None:
    b = bench()
    b.event(500, 900)
    b.event(4_000, 4_200)
    b.run()
    b.opened()
    b.audio(0, 15_000)
    b.run()
    b.event(10_000, 10_100)
    b.until(lambda: len(b.bus.of(ClipSaved)) == 3)
    for name, (first, end) in {"dog-500": (0, 1_400), "dog-4000": (3_000, 4_700), "dog-10000": (9_000, 10_600)}.items():
        np.testing.assert_array_equal(b.clips()[name][1], sound(first, end))


def test_gaps_are_silence_of_their_length_with_their_cause(bench: Any) -> None:
    b = bench()
    b.opened()
    b.audio(0, 2_000)
    b.gap(2_000, 2_300)
    b.audio(2_300, 2_600)
    b.audio(2_700, 5_000)  # nobody said what became of the hundred before
    b.event(2_200, 2_900)
    b.until(lambda: b.bus.of(ClipSaved))
    record, samples = b.clips()["dog-2200"]
    expected = sound(1_200, 3_400)
    expected[800:1_100] = 0
    expected[1_400:1_500] = 0
    np.testing.assert_array_equal(samples, expected)
    assert [(gap.first_sample, gap.end_sample, gap.cause) for gap in record.gaps] == [
        (2_000, 2_300, "overrun"),
        (2_600, 2_700, "transport"),
    ]


def test_block_sizes_change_nothing(tmp_path: Path) -> None:
    results = []
    for step in (1, 7, 480, 5_000):
        b = Bench(tmp_path / str(step))
        b.opened()
        b.event(1_100, 1_234)
        b.audio(0, 2_500, step=step)
        b.until(lambda b=b: b.bus.of(ClipSaved))
        b.finish()
        results.append(b.clips()["dog-1100"])
    for record, samples in results[1:]:
        assert record == results[0][0]
        np.testing.assert_array_equal(samples, results[0][1])


def test_streams_and_epochs_do_not_mix(bench: Any) -> None:
    b = bench()
    for stream, epoch in itertools.product(("a", "b"), (1, 2)):
        b.opened(stream, epoch)
        b.audio(0, 1_000 * epoch + 2_000, stream, epoch)
        b.event(1_500, None, f"{stream}{epoch}", stream=stream, epoch=epoch)
    for stream, epoch in itertools.product(("a", "b"), (1, 2)):  # of an epoch that is over, too
        b.event(1_500, 1_900, f"{stream}{epoch}", stream=stream, epoch=epoch, start=False)
    b.until(lambda: len(b.bus.of(ClipSaved)) == 4)
    for name, (record, samples) in b.clips().items():
        assert f"{record.stream}{record.epoch}" == name
        np.testing.assert_array_equal(samples, sound(500, 2_400))


def test_a_class_that_is_not_kept_is_counted_and_costs_nothing(bench: Any) -> None:
    b = bench(msgspec.structs.replace(SETTINGS, keep={"speech": Keep(rule="none")}))
    b.opened()
    b.audio(0, 3_000)
    b.event(1_000, 1_500, label="speech")
    b.event(1_000, 1_600, label="dog")
    b.until(lambda: b.bus.of(ClipSaved) and b.node.counts["clips_not_kept"])
    assert set(b.clips()) == {"dog-1000"}
    assert b.alarms() == []


def test_a_quota_without_room_is_told_once_and_stops_nothing(bench: Any) -> None:
    b = bench(msgspec.structs.replace(SETTINGS, quota_bytes=100))
    b.opened()
    b.audio(0, 6_000)
    b.event(1_000, 1_500)
    b.event(3_000, 3_500)
    b.until(lambda: b.node.counts["clips_not_kept"] == 2)
    assert b.alarms() == [("quota-full", "raised")]
    assert b.clips() == {}


# ---- ends and restarts -----------------------------------------------------------------------------------------------


def test_the_end_of_a_stream_completes_its_clips_before_it_counts_as_ended(bench: Any) -> None:
    b = bench()
    b.opened(live=False)
    b.audio(0, 3_000)
    b.event(2_000, None, "open")
    b.event(2_500, 2_900)
    b.ended(3_000)
    b.until(lambda: b.bus.of(ClipSaved))
    assert not any(row.ended for row in b.node.ledger_rows()), "the model may still tell an end"
    b.event(2_000, 2_950, "open", start=False)
    b.models_through(3_000)
    b.until(lambda: [row.final for row in b.node.ledger_rows()] == [True])
    assert set(b.clips()) == {"open", "dog-2500"}
    record, samples = b.clips()["open"]
    assert (record.end_sample, record.notes) == (3_000, ("shortened: the stream ended",))
    np.testing.assert_array_equal(samples, sound(1_000, 3_000))
    assert unbalanced(b.node.ledger_rows()) == []
    assert not b.node._epochs, "nothing of it is remembered"


def test_a_stop_writes_what_is_open_and_balances_the_ledger(bench: Any) -> None:
    b = bench()
    b.opened()
    b.audio(0, 1_000)
    b.gap(1_000, 1_200)
    b.audio(1_200, 3_000)
    b.event(2_000, None, "open")
    b.event(2_700, 2_900, "closed")
    b.run()
    b.finish()
    record, samples = b.clips()["open"]
    assert (record.first_sample, record.end_sample, record.offset_sample) == (1_000, 3_000, None)
    expected = sound(1_000, 3_000)
    expected[:200] = 0
    np.testing.assert_array_equal(samples, expected)
    assert b.clips()["closed"][0].end_sample == 3_000
    assert len(b.bus.of(ClipSaved)) == 2
    (row,) = b.node.ledger_rows()
    assert (row.received, row.lost, row.ended) == (2_800, {"overrun": 200}, True)
    assert unbalanced([row]) == []


def test_a_restarted_recorder_gives_what_it_has_and_counts_what_it_missed(bench: Any) -> None:
    before = LedgerRow(stream="s", epoch=1, place="recorder", rate=RATE, received=5_000, lost={}, next_sample=5_000,
                       ended=False, final=False)  # fmt: skip
    b = bench(ledger=(before,))
    b.audio(6_000, 9_000)
    b.event(3_000, 4_000, "missed")
    b.event(6_200, 6_500, "half")
    b.event(7_900, 8_000, "whole")
    b.until(lambda: len(b.bus.of(ClipSaved)) == 2)
    assert set(b.clips()) == {"half", "whole"}
    record, samples = b.clips()["half"]
    expected = sound(5_200, 7_000)
    expected[:800] = 0
    np.testing.assert_array_equal(samples, expected)
    assert [(gap.first_sample, gap.end_sample, gap.cause) for gap in record.gaps] == [(5_200, 6_000, "restart")]
    assert b.node.counts["clips_without_sound"] == 1
    assert ("clip-missing", "raised") in b.alarms()
    (row,) = b.node.ledger_rows()
    assert (row.received, row.lost, row.next_sample) == (8_000, {"restart": 1_000}, 9_000)


def test_a_stream_that_ended_just_before_a_restart_is_not_waited_for(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "LINGER_S", 0.1)
    before = LedgerRow(stream="s", epoch=1, place="recorder", rate=RATE, received=5_000, lost={}, next_sample=5_000,
                       ended=False, final=False)  # fmt: skip
    b = bench(ledger=(before,))
    b.event(4_000, 4_500)
    b.models_through(5_000)
    b.until(lambda: [row.final for row in b.node.ledger_rows()] == [True])
    b.until(lambda: not b.node._epochs)
    assert b.node.counts["clips_without_sound"] == 1


def test_a_model_that_never_says_it_is_through_is_not_waited_for_either(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "LINGER_S", 0.1)
    b = bench(models=("m", "n"))
    b.opened()
    b.audio(0, 2_000)
    b.event(1_500, None, "open")
    b.ended(2_000)
    b.models_through(2_000, model="m")
    b.until(lambda: [row.final for row in b.node.ledger_rows()] == [True])
    assert b.clips()["open"][0].notes[-1] == "the event's end was not known yet"


# ---- holding back, and not being able to -----------------------------------------------------------------------------


def test_a_file_waits_for_the_models_so_that_no_event_comes_too_late(bench: Any) -> None:
    b = bench(pace="max")
    b.opened(live=False)
    b.audio(0, 100_000)
    b.ended(100_000)
    b.run()
    assert b.node.held == {"audio"}
    position = 0
    while position < 100_000:
        assert b.node.ledger_rows()[0].next_sample <= position + 20_000
        assert len(b.node._audio) <= b.node.at_most
        position += 1_000
        if position % 10_000 == 0:
            b.event(position - 4_000, position - 3_000)
        b.decided(position - 1_000, position)
        b.run()
    b.models_through(100_000)
    b.until(lambda: [row.final for row in b.node.ledger_rows()] == [True])
    assert b.node.held == frozenset()
    clips = b.clips()
    assert len(clips) == 10
    for record, samples in clips.values():
        assert record.gaps == ()
        np.testing.assert_array_equal(samples, sound(record.onset_sample - 1_000, record.onset_sample + 1_500))


def test_a_file_waits_for_a_slow_disk_and_loses_no_clip(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_writer, "QUEUE_BYTES", 4_000)
    real = clip_library.ClipLibrary.add

    def slow(*args: Any) -> Any:
        time.sleep(0.02)
        return real(*args)

    monkeypatch.setattr(clip_library.ClipLibrary, "add", slow)
    b = bench(pace="max")
    b.opened(live=False)
    for onset in range(2_000, 98_000, 2_000):
        b.event(onset, onset + 500)
    b.models_through(100_000)
    b.audio(0, 100_000)
    b.ended(100_000)
    b.until(lambda: [row.final for row in b.node.ledger_rows()] == [True])
    assert len(b.clips()) == 48
    assert not b.node.counts["clips_lost"]
    assert all(record.gaps == () for record, _ in b.clips().values())


def test_patience_with_models_that_stand_still_has_an_end(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "PATIENCE_S", 0.1)
    b = bench(pace="max")
    b.opened(live=False)
    b.audio(0, 60_000)
    b.until(lambda: [row.next_sample for row in b.node.ledger_rows()] == [60_000])
    assert b.node.counts["no_longer_held_back"] == 1
    assert b.node.held == frozenset()


def test_a_live_stream_is_never_held_back_and_its_long_events_are_cut_before_they_are_overwritten(bench: Any) -> None:
    b = bench()
    b.opened()
    b.event(2_000, None, "siren")
    b.audio(0, 60_000)
    b.run()
    assert b.node.ledger_rows()[0].next_sample == 60_000
    assert b.node.held == frozenset()
    b.until(lambda: b.bus.of(ClipSaved))
    record, samples = b.clips()["siren"]
    assert (record.first_sample, record.end_sample, record.truncated) == (1_000, 11_000, True)
    np.testing.assert_array_equal(samples, sound(1_000, 11_000))


def test_with_a_disk_that_hangs_live_clips_are_lost_counted_and_told_and_hearing_goes_on(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_writer, "QUEUE_BYTES", 4_000)
    hangs = clip_writer.threading.Event()
    real = clip_library.ClipLibrary.add

    def hanging(*args: Any) -> Any:
        hangs.wait(20)
        return real(*args)

    monkeypatch.setattr(clip_library.ClipLibrary, "add", hanging)
    b = bench()
    b.opened()
    for onset in range(2_000, 90_000, 4_000):
        b.event(onset, onset + 500)
    b.audio(0, 100_000)
    b.run()
    assert b.node.ledger_rows()[0].next_sample == 100_000
    lost = b.node.counts["clips_lost"]
    assert lost > 10
    assert b.alarms() == [("clip-missing", "raised")], "one alarm, not one a clip"
    hangs.set()
    b.until(lambda: len(b.bus.of(ClipSaved)) + lost == 22)
    assert b.alarms()[-1] == ("clip-missing", "cleared")


def test_a_channel_that_is_held_holds_back_its_publisher_while_the_others_are_read(
    tmp_path: Path, serve: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    address = f"ipc://{tmp_path}"
    block = AudioBlock(stream="s", epoch=1, first_sample=0, end_sample=5_000, rate=RATE, channels=1, dtype="int16",
                       utc_ns=0, utc_error_ns=0, heard_ns=0)  # fmt: skip
    over = Ended(stream="s", epoch=1, end_sample=0, rate=RATE, reason="test", final=True)
    with serve(address):
        bus = ZmqBus(address)
        subscriber, publisher = bus.subscriber(["audio/", "scores/"]), bus.publisher()
        assert subscriber.synchronise()
        subscriber.hold({"audio"})
        eventually(lambda: publisher.heard("audio/s") and publisher.heard("scores/m/s"))
        sent = 0
        full_since = time.monotonic()
        while time.monotonic() - full_since < 0.3:
            if publisher.send("audio/s", block, bytes(10_000)):
                sent, full_since = sent + 1, time.monotonic()
        assert publisher.send("scores/m/s", over, wait=True)
        received: list[str] = []
        eventually(lambda: received.extend(e.topic for e in subscriber.receive(0.1)) or received)
        assert received == ["scores/m/s"]
        subscriber.hold(())
        eventually(lambda: received.extend(e.topic for e in subscriber.receive(0.1)) or len(received) == sent + 1)
        assert not subscriber.missed
        subscriber.close()
        publisher.close()


# ---- disks -----------------------------------------------------------------------------------------------------------


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, code: int) -> Iterator[None]:
    """A disk on which nothing can be written."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(clip_library, "write_synced", refuse)
        patch.setattr(clip_library, "write_whole", refuse)
        yield


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_full_disk_stops_recording_with_one_alarm_and_it_resumes_by_itself(
    bench: Any, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(clip_writer, "FIRST_PAUSE_S", 0.05)
    b = bench()
    b.opened()
    b.audio(0, 3_000)
    b.event(1_000, 1_100, "before")
    b.until(lambda: b.bus.of(ClipSaved))
    with failing(monkeypatch, code):
        for second in range(3, 8):
            b.event(1_000 * second, 1_000 * second + 100, f"lost-{second}")
        b.audio(3_000, 10_000)
        b.until(lambda: b.node.counts["clips_lost"] == 5)
        assert b.alarms() == [("recording-stopped", "raised")]
        time.sleep(0.2)  # some vain tries
        b.run()
        assert b.alarms() == [("recording-stopped", "raised")], "told once"
    b.until(lambda: ("recording-stopped", "cleared") in b.alarms(), "for recording to resume without an event")
    b.event(9_000, 9_100, "after")
    b.until(lambda: len(b.bus.of(ClipSaved)) == 2)
    assert set(b.clips()) == {"before", "after"}
    assert b.node.ledger_rows()[0].next_sample == 10_000, "hearing never stopped"
    assert not list((b.out / "clips").rglob("*.part"))


def test_a_folder_that_vanishes_is_made_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_writer, "FIRST_PAUSE_S", 0.05)
    b = bench()
    b.opened()
    b.audio(0, 8_000)
    b.event(1_000, 1_100)
    b.until(lambda: b.bus.of(ClipSaved))
    (b.out / "clips").rename(b.out / "taken-away")
    b.event(3_000, 3_100)
    b.until(lambda: b.node.counts["clips_lost"] or len(b.bus.of(ClipSaved)) == 2)
    b.until(lambda: ("recording-stopped", "raised") not in b.alarms() or ("recording-stopped", "cleared") in b.alarms())
    b.event(6_000, 6_100, "again")
    b.until(lambda: b.bus.of(ClipSaved)[-1].id == "again")
    assert "again" in b.clips()


def test_a_folder_that_another_run_holds_is_one_line_at_the_start(tmp_path: Path) -> None:
    other = ClipLibrary(tmp_path, SETTINGS)
    try:
        with pytest.raises(EarwitnessError, match=f"in use by process {os.getpid()}"):
            Bench(tmp_path)
    finally:
        other.close()


def test_a_folder_that_cannot_be_written_is_one_line_at_the_start_and_an_alarm_later(tmp_path: Path) -> None:
    (tmp_path / "clips").write_text("a file where the folder should be")
    row = LedgerRow(stream="s", epoch=1, place="recorder", rate=RATE, received=0, lost={}, next_sample=0, ended=False,
                    final=False)  # fmt: skip
    again = Bench(tmp_path, ledger=(row,))
    assert again.alarms() == [("recording-stopped", "raised")]
    again.finish()


def test_a_full_disk_at_the_start_is_an_alarm_and_no_reason_to_refuse(bench: Any) -> None:
    b = bench(msgspec.structs.replace(SETTINGS, min_free_bytes=1 << 60))
    assert b.alarms() == [("recording-stopped", "raised")]
    b.opened()
    b.event(500, 600)
    b.audio(0, 3_000)
    b.until(lambda: b.node.counts["clips_lost"])
    b.finish()
    assert not b.bus.of(ClipSaved)


def test_a_bug_in_the_writer_is_not_swallowed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(clip_writer, "encode_sound", bug)
    b = bench()
    b.opened()
    b.event(500, 600)
    b.audio(0, 3_000)
    with pytest.raises(RuntimeError, match="writes clips"):
        b.until(lambda: False)


# ---- strangers -------------------------------------------------------------------------------------------------------


def test_blocks_that_come_twice_or_change_their_format_do_no_harm(bench: Any) -> None:
    b = bench()
    b.opened()
    b.audio(0, 2_000)
    b.audio(500, 1_500)
    b.audio(2_000, 2_500, channels=2)
    b.audio(2_000, 4_000)
    b.event(1_500, 2_000)
    b.until(lambda: b.bus.of(ClipSaved))
    np.testing.assert_array_equal(b.clips()["dog-1500"][1], sound(500, 2_500))
    assert b.node.counts["changed_within_epoch"] == 1


def test_events_of_streams_that_nobody_hears_are_forgotten(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "LINGER_S", 0.1)
    b = bench()
    for number in range(200):
        b.event(number, None if number % 2 else number + 1, stream=f"x{number}")
    b.run()
    b.until(lambda: not b.node._epochs)
    assert b.node.counts["clips_without_sound"] == 200
    assert b.node.ledger_rows() == ()
