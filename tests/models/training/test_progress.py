from __future__ import annotations

import dataclasses
import io

import pytest
import rich.console

from earwitness.models.training.progress import Lines, Moment, Reporter, clock, on_terminal

MOMENT = Moment(step=50, steps=200, loss=1.2345, judged="accuracy 0.912", is_look=True, step_s=0.02, left_s=3.0)


def test_a_moment_says_how_far_it_is_and_how_long_it_takes() -> None:
    assert str(MOMENT) == "step 50/200  loss 1.234  accuracy 0.912  20 ms a step  3 s left"


def test_a_log_has_a_line_for_each_look_and_no_more() -> None:
    lines: list[str] = []
    reporter = Lines(lines.append, every_s=1e9)
    for step, look in ((25, False), (50, True), (75, False), (200, False)):
        reporter.moment(dataclasses.replace(MOMENT, step=step, is_look=look))
    reporter.line("done")
    assert [line.split("  ")[0] for line in lines] == ["step 50/200", "step 200/200", "done"]


def test_a_log_has_lines_in_between_where_that_takes_long() -> None:
    lines: list[str] = []
    reporter = Lines(lines.append, every_s=0.0)
    reporter.moment(dataclasses.replace(MOMENT, is_look=False))
    assert len(lines) == 1


def test_a_terminal_has_a_bar_that_goes_and_lines_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, own = io.StringIO(), rich.console.Console
    monkeypatch.setattr(
        rich.console, "Console", lambda stderr: own(file=screen, force_terminal=True, width=100, color_system=None)
    )

    def run(reporter: Reporter) -> None:
        reporter.line("[3] clips")
        reporter.moment(dataclasses.replace(MOMENT, is_look=False))
        reporter.moment(MOMENT)

    with on_terminal() as reporter:
        run(reporter)
    shown = screen.getvalue()
    assert "[3] clips" in shown
    assert "step 50/200" in shown
    assert "3 s left" in shown


def test_durations_are_read_by_people() -> None:
    assert [clock(seconds) for seconds in (0, 89, 90, 3599, 3600, 90000)] == [
        "0 s", "89 s", "2 min", "1 h 00 min", "1 h 00 min", "25 h 00 min",
    ]  # fmt: skip
