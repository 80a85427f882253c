"""The picture on a terminal, at any size."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from earwitness.nodes.board import Board
from earwitness.nodes.closing import closing_report, truth_report
from earwitness.nodes.output import Output
from earwitness.nodes.screen import Screen, fit, picture
from earwitness.nodes.spectrogram import Paint
from earwitness.stream.messages import Alarm, ClipSaved, Health, LedgerRow
from earwitness.stream.report import match_truth

from .test_board import end, level, scores, start
from .test_spectrogram import band, spectrum


def board_of(streams: int) -> Board:
    board = Board()
    for number in range(streams):
        board.take(level(-20, -10, stream=f"s{number:02}"), 0.0)
    board.take(scores((("dog", 0.71), ("rain", 0.02))), 0.0)
    return board


def shown(lines: list[Text]) -> str:
    return "\n".join(line.plain for line in lines)


@given(
    st.integers(1, 150), st.integers(1, 50), st.integers(0, 30), st.integers(0, 5), st.text(max_size=30), st.floats()
)
def test_it_fits_any_terminal_whatever_is_said(
    width: int, height: int, streams: int, alarms: int, name: str, number: float
) -> None:
    board = Board()
    for index in range(streams):
        board.take(level(number, number, stream=f"{name}{index}", clipped=1), 0.0)
    board.take(scores(((name, number), ("b", 0.5))), 0.0)
    board.take(start(), 0.0)
    for index in range(alarms):
        board.take(Alarm(node="n", stream="", name=str(index), state="raised", text=name, utc_ns=0), 0.0)
    lines = picture(board, width, height, now=1.0)
    assert len(lines) == height
    for line in lines:
        assert line.plain.isprintable()
        assert cell_len(line.plain) <= width


def test_one_stream_shows_its_level_and_its_top_classes_though_nothing_passed_a_threshold() -> None:
    text = shown(picture(board_of(0), 80, 24, now=0.0))
    assert re.search(r"a +[·█▌│]+ +-120 dB", text)
    assert re.search(r"dog +█+▌? +0\.71", text)
    assert re.search(r"rain .* 0\.02", text)


def test_beside_the_meter_stands_the_weighted_level_and_below_it_those_of_the_last_minute() -> None:
    board = Board()
    board.take(level(-40, -30, stream="a"), 0.0)
    assert re.search(r"a +[·█▌│]+ +-40 dBFS\(A\)", shown(picture(board, 80, 24, now=0.0)))
    minute = {"period_leq_db": 47.2, "fast_max_db": 71.0, "l10_db": 51.0, "l50_db": 44.0, "l90_db": 38.0}
    board.take(level(-40, -30, stream="a", calibrated=True, fast_db=62.4, period_s=60.0, **minute), 0.0)
    text = shown(picture(board, 80, 24, now=0.0))
    assert re.search(r"a +[·█▌│]+ +62 dB\(A\)", text)
    assert "LAeq 47.2  LAFmax 71.0  L10 51.0  L50 44.0  L90 38.0  dB(A) in 1 min 00 s" in text


def test_twenty_streams_on_a_small_terminal_are_as_many_as_fit_and_the_number_of_the_others() -> None:
    text = shown(picture(board_of(20), 80, 24, now=0.0))
    visible = len(re.findall(r"^ (s\d\d|a) ", text, re.MULTILINE))
    assert visible >= 8
    assert f"and {21 - visible} more streams" in text


def test_events_show_label_score_and_how_long_or_that_they_go_on() -> None:
    board = board_of(0)
    board.take(start("1"), 0.0)
    board.take(end("2"), 0.0)
    board.take(ClipSaved(id="2", stream="a", label="dog", path="c", first_sample=0, end_sample=1, rate=8000), 0.0)
    text = shown(picture(board, 80, 24, now=0.0))
    assert re.search(r"00:00:00 +dog +0\.90 +1\.00 s +● clip", text)
    assert re.search(r"00:00:00 +dog +0\.90 +now", text)


def test_the_footer_tells_of_losses_delays_and_silent_nodes() -> None:
    board = board_of(1)
    row = LedgerRow(
        stream="a", epoch=1, place="capture", rate=8000, received=80_000, lost={"overrun": 8000}, next_sample=88_000,
        ended=False, final=False,
    )  # fmt: skip
    health = Health(
        node="capture", pid=1, uptime_s=1, rss_bytes=41_000_000, cpu_s=0, counts={}, delays_ms={"read": (3.0, 9.0)},
        ledger=(row,),
    )  # fmt: skip
    board.take(health, 0.0)
    text = shown(picture(board, 100, 24, now=1.0))
    assert "11 s of sound, lost 1.00 s (overrun)" in text
    assert "read 3/9" in text
    assert "capture 41 0%" in text
    assert "capture silent 10 s" in shown(picture(board, 100, 24, now=10.0))


def test_a_screen_writes_only_what_changed_and_gives_the_terminal_back(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "terminal", os.O_CREAT | os.O_RDWR)
    try:
        screen, board = Screen(Output(fd), {"TERM": "xterm-256color"}), board_of(2)
        screen.draw(board, 0.0)
        first = os.lseek(fd, 0, os.SEEK_CUR)
        screen.draw(board, 0.25)
        assert os.lseek(fd, 0, os.SEEK_CUR) == first
        board.take(level(-5, -3, stream="s00"), 0.5)
        screen.draw(board, 0.5)
        assert 0 < os.lseek(fd, 0, os.SEEK_CUR) - first < 600
        screen.draw(board, 60.0)
        screen.close()
        screen.close()
    finally:
        os.close(fd)
    written = (tmp_path / "terminal").read_text()
    assert written.startswith("\x1b[?1049h\x1b[?25l")
    assert written.endswith("\x1b[?25h\x1b[?1049l")
    assert written.count("\x1b[?1049l") == 1


@pytest.mark.parametrize(
    ("environment", "coloured"), [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)]
)
def test_no_colours_where_they_are_not_wanted(tmp_path: Path, environment: dict[str, str], coloured: bool) -> None:
    fd = os.open(tmp_path / "terminal", os.O_CREAT | os.O_RDWR)
    Screen(Output(fd), environment).draw(board_of(1), 0.0)
    os.close(fd)
    assert bool(re.search(r"\x1b\[[0-9;]*3\dm", (tmp_path / "terminal").read_text())) == coloured


def test_what_stays_is_the_events_and_the_alarms() -> None:
    board = board_of(1)
    board.take(end(), 0.0)
    board.take(Alarm(node="n", stream="", name="x", state="raised", text="the disk is full", utc_ns=0), 0.0)
    text = closing_report(board, 80, environment={"TERM": "dumb"})
    assert re.search(r"dog +0\.90 +0\.000 s +1\.00 s", text)
    assert "the disk is full" in text
    assert "\x1b" not in text
    assert "dog" not in closing_report(board, 80, without={"a"})


def test_the_truth_stands_beside_what_was_heard() -> None:
    class Truth:
        label, onset_s, offset_s = "dog", 0.25, 1.0

    class Missed:
        label, onset_s, offset_s = "cat", 3.0, 4.0

    text = truth_report("demo", match_truth([Truth(), Missed()], [end()]), 80, {"TERM": "dumb"})
    assert re.search(r"dog +0\.250 s +0\.000 s +-0\.250 s +0\.90", text)
    assert re.search(r"cat +3\.000 s +missed", text)


@given(st.text(), st.integers(0, 40))
def test_a_fitted_text_has_exactly_so_many_cells(text: str, cells: int) -> None:
    assert cell_len(fit(text, cells)) == cells


def with_spectra(board: Board, spectra: int = 60) -> Board:
    for number in range(spectra):
        for stream in board.streams:
            board.show(spectrum(number, stream=stream), band(number % 16))
    return board


@given(st.integers(1, 150), st.integers(1, 60), st.integers(0, 9), st.sampled_from(["colour", "shades", "letters"]))
def test_spectrograms_fit_any_terminal(width: int, height: int, streams: int, paint: Paint) -> None:
    lines = picture(with_spectra(board_of(streams)), width, height, now=0.0, paint=paint)
    assert len(lines) == height
    assert all(cell_len(line.plain) <= width for line in lines)


def test_a_spectrogram_leaves_room_for_classes_and_events() -> None:
    board = with_spectra(board_of(0))
    board.take(start(), 0.0)
    text = shown(picture(board, 80, 24, now=0.0))
    assert "-100 " in text
    assert re.search(r"dog +█+▌? +0\.71", text)
    assert re.search(r"00:00:00 +dog +0\.90 +now", text)


def test_of_many_streams_the_first_ones_that_fit_have_a_spectrogram() -> None:
    text = shown(picture(with_spectra(board_of(4)), 80, 40, now=0.0))
    assert text.count("-100 ") == 1
    assert text.index(" a ") < text.index("-100 ") < text.index(" s00 ")
    assert "-100 " not in shown(picture(with_spectra(board_of(20)), 80, 40, now=0.0))


def test_streams_are_watched_that_may_find_room(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "terminal", os.O_CREAT | os.O_RDWR)
    screen = Screen(Output(fd), {"TERM": "xterm-256color"})  # 80 x 24
    assert screen.watched(board_of(2)) == []  # nothing was drawn yet
    screen.draw(with_spectra(board_of(2)), 0.0)
    os.close(fd)
    assert screen.watched(board_of(2)) == ["a", "s00", "s01"]
    assert len(screen.watched(board_of(8))) == 4
    assert screen.watched(board_of(30)) == []
    assert "\x1b[38;5;16;48;5;228m▀" in (tmp_path / "terminal").read_text()
