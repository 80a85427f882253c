"""The supervisor without a run around it: starting, stopping in order, and the books of nodes that died."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from earwitness.nodes import supervisor
from earwitness.nodes.child import Child
from earwitness.nodes.marks import Mark, Marks, make_marks
from earwitness.nodes.plan import Part, plan
from earwitness.nodes.stop_signals import StopSignals
from earwitness.nodes.supervisor import _Run
from earwitness.stream.config import BusSettings, Config, SupervisorSettings
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.ledger import unbalanced
from earwitness.stream.messages import LedgerRow


def row(epoch: int = 1, end: int = 0, place: str = "capture", ended: bool = True, **more: Any) -> LedgerRow:
    return LedgerRow(
        **{"stream": "s", "epoch": epoch, "place": place, "rate": 100, "received": end, "lost": {}, "next_sample": end,
           "ended": ended, "final": False, **more}
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Iterator[_Run]:
    config = Config(
        sources=("s=x.wav",),
        bus=BusSettings(address=f"ipc://{tmp_path}"),
        supervisor=SupervisorSettings(failures=1000),
    )
    a_run = _Run(config, lambda line: None)
    yield a_run
    for child in a_run.children:
        a_run._kill(child)
    a_run._selector.close()


def child_of(run: _Run, node: str) -> Child:
    return next(child for child in run.children if child.part.node == node)


@pytest.fixture
def idle_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that live and never read what they are told."""
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(supervisor.sys, "executable", str(sleeper))


class TestStarting:
    def test_a_run_that_is_limited_to_nothing_is_refused(self) -> None:
        with pytest.raises(EarwitnessError, match="nothing to do: only recorder"):
            plan(Config(only=("recorder",), clips=False))

    def test_no_descriptor_is_left_by_restarts(self, run: _Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(supervisor.sys, "executable", "/bin/true")
        capture = child_of(run, "capture")

        def restart() -> None:
            run._start(capture)
            assert capture.process is not None
            capture.process.wait(10)
            run._watch()
            assert capture.process is None

        restart()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            restart()
        assert len(os.listdir("/proc/self/fd")) == before
        assert len(capture.deaths) == 21

    @pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
    def test_a_child_that_cannot_be_started_now_is_tried_again(
        self, run: _Run, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def fails(*args: Any, **options: Any) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(subprocess, "Popen", fails)
        before = len(os.listdir("/proc/self/fd"))
        capture = child_of(run, "capture")
        for _ in range(3):
            run._start(capture)
        assert capture.process is None
        assert not capture.done
        assert capture.start_at > 0
        assert len(os.listdir("/proc/self/fd")) == before

    def test_a_child_that_does_not_read_does_not_stop_the_run(self, run: _Run, idle_children: None) -> None:
        features = child_of(run, "features")
        features.rows = tuple(row(epoch, place="features") for epoch in range(1, 20_000))  # no socket holds as much
        run._start(features)
        assert features.unsent
        assert features.process is not None
        os.kill(features.process.pid, signal.SIGKILL)
        features.process.wait(10)
        run._send(features, b"stop")  # nor does one that is gone
        run._watch()
        assert features.process is None


class TestStopping:
    def test_features_go_on_until_the_last_capture_has_ended(self, run: _Run, idle_children: None) -> None:
        run.children = [child_of(run, "capture"), child_of(run, "features"), child_of(run, "classify")]
        capture, features, _ = run.children
        for child in run.children:
            run._start(child)
            child.ready = child.was_ready = True
        run._begin_stop(0, "")
        run._stop_in_order()
        assert [child.stopping for child in run.children] == [True, False, False]
        capture.rows = (row(end=10),)
        capture.done = True
        run._stop_in_order()
        assert [child.stopping for child in run.children] == [True, False, False]  # it has not heard the end yet
        features.rows = (row(end=10, place="features"),)
        run._stop_in_order()
        assert [child.stopping for child in run.children] == [True, True, False]

    def test_ends_that_a_node_has_not_heard_are_known(self, run: _Run) -> None:
        capture, features = child_of(run, "capture"), child_of(run, "features")
        capture.rows = (row(0), *(row(epoch, 10 * epoch) for epoch in range(3, 9)), row(9, ended=False))
        assert [end.epoch for end in run._unheard_ends(features)] == [3, 4, 5, 6, 7, 8]
        features.rows = tuple(row(epoch, place="features") for epoch in (0, 5, 6, 8))  # 1 to 4 are folded into 0
        assert [(end.epoch, end.end_sample) for end in run._unheard_ends(features)] == [(7, 70)]
        assert run._unheard_ends(child_of(run, "monitor")) == []

    def test_a_terminal_that_closes_asks_for_a_clean_stop_however_often_it_says_so(self, run: _Run) -> None:
        with StopSignals() as signals:
            for _ in range(2):
                signal.raise_signal(signal.SIGHUP)
            for number in signals.take():
                run._asked_to_stop(number)
        assert run._stop_deadline is not None
        first = run._stop_deadline
        run._asked_to_stop(signal.SIGINT)
        assert run._stop_deadline < first  # the second Ctrl-C: at once

    def test_nohup_is_honoured(self) -> None:
        old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with StopSignals() as signals:
                signal.raise_signal(signal.SIGHUP)
                assert signals.take() == []
        finally:
            signal.signal(signal.SIGHUP, old)


class TestWorkers:
    """Features of several processes, each of its share of the streams `a`, `b` and `c`."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Iterator[_Run]:
        config = Config(sources=("a=x.wav", "b=x.wav", "c=x.wav"), workers=2, bus=BusSettings(address=f"ipc://{tmp_path}"))
        a_run = _Run(config, lambda line: None, alone=True)
        yield a_run
        for child in a_run.children:
            a_run._kill(child)
        a_run._selector.close()

    def test_one_keeps_its_name_and_several_are_counted(self) -> None:
        assert [part.name for part in plan(Config()) if part.node == "features"] == ["features"]
        two = [(part.name, part.part) for part in plan(Config(workers=2)) if part.node == "features"]
        assert two == [("features-1", "1/2"), ("features-2", "2/2")]

    def test_each_has_to_hear_the_ends_of_its_own_streams(self, run: _Run) -> None:
        child_of(run, "capture").rows = tuple(row(end=10, stream=name) for name in "abc")
        first, second = (child for child in run.children if child.part.node == "features")
        assert [end.stream for end in run._unheard_ends(first)] == ["a", "c"]
        assert [end.stream for end in run._unheard_ends(second)] == ["b"]
        assert len(run._unheard_ends(child_of(run, "classify"))) == 3

    def test_the_run_is_over_when_each_has_ended_its_share(self, run: _Run) -> None:
        rows = {name: row(end=10, stream=name, final=True) for name in "abc"}
        for child in run.children:
            child.rows = tuple(rows.values()) if child.part.node in ("capture", "classify", "recorder") else ()
        first, second = (child for child in run.children if child.part.node == "features")
        first.rows = (rows["a"], rows["c"])
        run._end_if_complete()
        assert run._stop_deadline is None
        second.rows = (rows["b"],)
        run._end_if_complete()
        assert run._stop_deadline is not None

    def test_they_stop_side_by_side(self, run: _Run, idle_children: None) -> None:
        run.children = [child for child in run.children if child.part.node in ("features", "classify")]
        for child in run.children:
            run._start(child)
            child.ready = child.was_ready = True
        run._begin_stop(0, "")
        run._stop_in_order()
        assert [child.stopping for child in run.children] == [True, True, False]

    @pytest.mark.parametrize("told", [True, False])
    def test_the_books_of_one_that_died_are_closed_beside_those_of_the_other(self, run: _Run, told: bool) -> None:
        ends = tuple(row(end=10, stream=name) for name in "abc")
        for child in run.children:
            child.clean = True
            child.rows = ends if child.part.node == "capture" else ()
        first, second = (child for child in run.children if child.part.node == "features")
        first.rows = tuple(row(end=10, stream=name, place="features") for name in "ac")
        second.clean, second.rows = False, (row(end=4, stream="b", place="features", ended=False),) if told else ()
        books = run._last_ledger()
        assert unbalanced(books) == []
        lost = {each.stream: each.lost for each in books if each.place == "features"}
        assert lost == {"a": {}, "b": {"stopped": 6 if told else 10}, "c": {}}


class TestBooks:
    def test_a_mark_says_how_far_a_killed_capture_had_come(self, marked: Callable[..., Child]) -> None:
        assert marked(1, 25, row(end=20, ended=False)).ledger() == (row(end=25, ended=False),)
        assert marked(2, 25, row(end=20)).ledger() == (row(end=20), row(2, 25, ended=False))

    def test_a_mark_of_an_epoch_that_is_over_changes_nothing(self, marked: Callable[..., Child]) -> None:
        over = row(end=25)
        assert marked(1, 25, over).ledger() == (over,)
        folded = (row(0, 25), *(row(epoch) for epoch in (2, 3, 4, 5)))  # since then no epoch had a sample
        assert marked(1, 25, *folded).ledger() == folded


@pytest.fixture
def marked() -> Iterator[Callable[..., Child]]:
    made: list[Marks] = []

    def make(epoch: int, end_sample: int, *rows: LedgerRow) -> Child:
        fd = make_marks(1)
        marks = Marks(fd)
        os.close(fd)
        marks.put(Mark(stream="s", epoch=epoch, rate=100, end_sample=end_sample))
        made.append(marks)
        return Child(Part("capture", "capture"), rows=rows, marks=marks)

    yield make
    for marks in made:
        marks.close()
