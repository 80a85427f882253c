"""The monitor on the in-memory bus, with a pipe or a terminal for its standard output."""

from __future__ import annotations

import json
import os
import pty
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from earwitness.nodes.monitor import Monitor
from earwitness.nodes.node import EndRun, Job, Report
from earwitness.stream.config import Config
from earwitness.stream.messages import Alarm, Ended, Gap, Message, ScoreBlock, topic_of
from earwitness.stream.sources.demo import make_scene
from earwitness.stream.testing import MemoryBus

from .test_board import end, health, level, scores, start
from .test_spectrogram import band, spectrum

Make = Callable[..., "Bench"]


class Bench:
    """A monitor, its bus, and the reading end of its output."""

    def __init__(self, config: Config, reading: int, writing: int):
        self.reading, self.writing = reading, writing
        self.bus = MemoryBus()
        self.publisher = self.bus.publisher()
        self.node = Monitor(Job(node="monitor", config=config), self.bus.publisher(), fd=writing)
        self.reports: list[Report] = []
        self.node.report = self.reports.append
        lossless, latest = self.node.subscriptions()
        self.subscribers = [self.bus.subscriber(lossless), self.bus.subscriber(latest, "latest")]
        os.set_blocking(reading, False)

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.publisher.send(topic_for(message), message, bytes(8) if getattr(message, "spans", ()) else b"")
        for subscriber in self.subscribers:
            self.node.handle(subscriber.receive())

    def read(self) -> str:
        data = b""
        while True:
            try:
                more = os.read(self.reading, 1 << 16)
            except (BlockingIOError, OSError):
                break
            if not more:
                break
            data += more
        return data.decode()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read().splitlines()]


def topic_for(message: Any) -> str:
    names = {
        "EventStart": "event", "EventEnd": "event", "ClipSaved": "clip", "Level": "level", "Alarm": "alarm",
        "Health": "health",
    }  # fmt: skip
    name = names.get(type(message).__name__, "scores")
    if name in ("alarm", "health"):
        return topic_of(name, message.node)
    model = [getattr(message, "model", "m@1")] if name == "scores" else []
    return topic_of(name, *model, message.stream)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    fds: list[int] = []
    monkeypatch.delenv("NO_COLOR", raising=False)

    def build(terminal: str = "", **options: Any) -> Bench:
        reading, writing = pty.openpty() if terminal else os.pipe()
        fds.extend((reading, writing))
        monkeypatch.setenv("TERM", terminal or "xterm")
        return Bench(Config(**options), reading, writing)

    yield build
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            pass


def gap(place: str = "capture") -> Gap:
    return Gap(stream="a", epoch=1, first_sample=0, end_sample=80, rate=8000, cause="overrun", place=place)


def test_a_pipe_gets_a_json_line_for_each_thing_that_happened_as_it_happened(make: Make) -> None:
    bench = make()
    bench.say(start())
    assert [line["event"] for line in bench.lines()] == ["start"]
    bench.say(scores((("dog", 0.9),)), gap(), end(), level(-10, -5), health())
    assert [line["event"] for line in bench.lines()] == ["gap", "end"]
    alarm = Alarm(node="recorder", stream="", name="disk-full", state="raised", text="full", utc_ns=0)
    bench.say(alarm)
    assert [line["event"] for line in bench.lines()] == ["alarm"]


def test_json_on_a_terminal_where_it_was_asked_for(make: Make) -> None:
    bench = make(terminal="xterm", json=True)
    bench.say(start())
    assert [line["id"] for line in bench.lines()] == ["x"]


def test_a_gap_that_several_models_pass_on_is_told_once(make: Make) -> None:
    bench = make()
    for model in ("m@1", "n@2"):
        bench.publisher.send(topic_of("scores", model, "a"), gap())
    bench.say(gap("features"))
    assert [line["place"] for line in bench.lines()] == ["capture", "features"]


def test_the_end_of_the_reader_ends_the_run_without_a_word(make: Make) -> None:
    bench = make()
    bench.say(start())
    os.close(bench.reading)
    for _ in range(2):
        bench.node.tick()
    assert bench.reports == [EndRun("")]
    bench.say(end())  # goes on taking messages until it is stopped
    bench.node.finish()


def test_a_reader_that_pauses_holds_a_file_back_but_not_the_signs_of_life(make: Make) -> None:
    bench = make(pace="max")
    beats: list[float] = []

    def beat() -> bool:
        beats.append(time.monotonic())
        if len(beats) == 3:
            assert bench.read()
        return False

    bench.node.while_waiting = beat
    for number in range(6000):  # some 250 bytes each
        bench.publisher.send("event/a", start(id=str(number)))
    envelopes = bench.subscribers[0].receive(at_most=10_000)
    begun = time.monotonic()
    for index in range(0, len(envelopes), 256):
        bench.node.handle(envelopes[index : index + 256])
        if len(beats) >= 3:
            bench.read()
    assert len(beats) >= 3
    assert time.monotonic() - begun < 20
    assert bench.node.counts["lines_lost"] == 0


def test_lines_that_nobody_took_are_counted_and_raise_an_alarm(make: Make) -> None:
    bench = make()
    bench.node._output._limit = 10_000
    for number in range(1000):
        bench.say(start(id=str(number)))
    bench.node.tick()
    assert bench.node.counts["lines_lost"] > 0
    (raised,) = bench.bus.of(Alarm)
    assert isinstance(raised, Alarm)
    assert (raised.name, raised.state) == ("output-lost", "raised")
    bench.read()
    bench.node.tick()
    assert [alarm.state for alarm in bench.bus.of(Alarm) if isinstance(alarm, Alarm)] == ["raised", "cleared"]


def test_a_terminal_gets_a_screen_and_keeps_the_events_when_it_is_over(make: Make) -> None:
    bench = make(terminal="xterm-256color")
    bench.say(level(-20, -10), scores((("rain", 0.31),)), start())
    bench.node.tick()
    drawn = bench.read()
    assert "\x1b[?1049h" in drawn
    assert "rain" in drawn
    bench.say(end())
    bench.node.finish()
    drawn = bench.read()
    screen, _, rest = drawn.rpartition("\x1b[?25h\x1b[?1049l")
    assert screen
    assert "dog" in rest
    assert "1.00 s" in rest


def test_it_draws_at_most_four_pictures_a_second(make: Make) -> None:
    bench = make(terminal="xterm-256color")
    draws = []
    assert bench.node._screen is not None
    bench.node._screen.draw = lambda board, now: draws.append(now)  # type: ignore[method-assign]
    begun = time.monotonic()
    while time.monotonic() - begun < 0.6:
        bench.node.tick()
    assert 1 <= len(draws) <= 4


def test_a_failure_gives_the_terminal_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make(terminal="xterm")
    bench.say(start())
    bench.node.tick()
    monkeypatch.setattr(bench.node.board, "take", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bench.say(end())
    assert bench.read().endswith("\x1b[?25h\x1b[?1049l")


def test_a_dumb_terminal_gets_plain_lines(make: Make) -> None:
    bench = make(terminal="dumb")
    bench.say(start(), end(), level(-10, -5))
    bench.node.tick()
    bench.node.finish()
    text = bench.read()
    assert "\x1b" not in text
    assert [line.split()[-1] for line in text.splitlines()] == ["begins", "s"]


def test_a_demo_ends_with_its_truth_beside_what_was_heard(make: Make) -> None:
    first = make_scene().truth[0]
    bench = make(sources=("demo",))
    onset = round((first.onset_s + 0.1) * 8000)
    heard = start()
    block = ScoreBlock(
        stream="demo", epoch=1, model="m@1", first_sample=0, end_sample=round((first.onset_s + 0.5) * 8000), rate=8000,
        segment_sample=0, first_window=0, spans=(), classes=2, top=(), heard_sample=0, heard_ns=0,
        computed_ns=0, scored_ns=0,
    )  # fmt: skip
    fields = {name: getattr(heard, name) for name in heard.__struct_fields__}
    bench.say(type(heard)(**{**fields, "stream": "demo", "label": first.label, "onset_sample": onset}), block)
    bench.say(Ended(stream="demo", epoch=1, end_sample=block.end_sample, rate=8000, reason="stopped", final=True))
    bench.node.finish()
    truth = [line for line in bench.lines() if line["event"] == "truth"]
    assert [(line["result"], line["label"]) for line in truth] == [("heard", first.label)]  # the rest was not played
    assert truth[0]["difference"] == pytest.approx(0.1, abs=0.01)


def test_spectra_are_asked_for_by_a_screen_alone_and_shown(make: Make) -> None:
    bench = make(terminal="xterm-256color")
    bench.say(level(-20, -10))
    bench.node.tick()
    assert bench.node.followed() == {"spectrum/a"}
    bench.subscribers[1].follow(bench.node.followed())
    bench.publisher.send("spectrum/a", spectrum(), band(3))
    bench.say()
    assert len(bench.node.board.streams["a"].spectrum.columns) == 1
    assert make().node.followed() == frozenset()
