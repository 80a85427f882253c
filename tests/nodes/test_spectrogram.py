"""The rolling spectrogram: levels where they belong, a scale that says so, and nothing that a terminal cannot show."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from earwitness.nodes.board import RECENT_SPECTRA, Board, SpectrumView
from earwitness.nodes.spectrogram import LEAST_WIDTH, RAMP, SHADES, Paint, Painted, paint_of, spectrogram
from earwitness.stream.messages import Spectrum

from .test_board import level

BANDS = tuple((100 * band, 100 * (band + 1)) for band in range(16))
QUIET, LOUD = 0, 220  # values: -110 and 0 dB


def spectrum(number: int = 0, **more: Any) -> Spectrum:
    return Spectrum(
        **{"stream": "a", "epoch": 1, "first_sample": 800 * number, "end_sample": 800 * (number + 1), "rate": 8000,
           "floor_db": -110.0, "step_db": 0.5, "bands_hz": BANDS, **more}
    )  # fmt: skip


def heard(*columns: bytes) -> SpectrumView:
    view = SpectrumView()
    for number, values in enumerate(columns):
        view.hear(spectrum(number), values)
    return view


def band(loud: int) -> bytes:
    return bytes(LOUD if number == loud else QUIET for number in range(16))


def test_a_loud_band_is_bright_in_its_row_and_the_newest_column_is_at_the_right() -> None:
    lines = spectrogram(heard(*[bytes(16)] * 9, band(3)), 60, 8, "shades")
    assert len(lines) == 9
    cells = [line.plain[8:] for line in lines[:-1]]
    assert [row[-1] for row in cells] == [" ", " ", " ", " ", " ", " ", "█", " "]  # 200 to 400 Hz are the second row
    assert all(row[:-1].strip() == "" for row in cells)
    assert [line.plain[:8].strip() for line in lines[:-1]] == ["1.4k", "1.2k", "1.0k", "800", "600", "400", "200", "0"]


def test_the_scales_are_told() -> None:
    told = spectrogram(heard(*[band(3)] * 30), 100, 4, "colour")[-1].plain
    assert re.fullmatch(r" +Hz 3 s ago +-100 █+ -20 dB +now", told)


def test_half_blocks_have_the_colours_of_two_bands() -> None:
    (*_, lowest, _) = spectrogram(heard(band(0)), 40, 8, "colour")
    assert isinstance(lowest, Painted)
    assert f"\x1b[38;5;{RAMP[0]};48;5;{RAMP[-1]}m▀\x1b[0m" in lowest.ansi


def test_equal_colours_are_written_once() -> None:
    line = spectrogram(heard(*[band(0)] * 100), 108, 8, "colour")[-2]
    assert isinstance(line, Painted)
    assert len(line.ansi) < 160


def test_more_rows_than_bands_repeat_them_and_fewer_show_the_loudest() -> None:
    high = spectrogram(heard(band(15)), 40, 32, "shades")
    assert [line.plain[-1] for line in high[:4]] == ["█", "█", " ", " "]
    assert [line.plain[-1] for line in spectrogram(heard(band(15)), 40, 2, "shades")[:2]] == ["█", " "]


@pytest.mark.parametrize(
    "change",
    [{"epoch": 2}, {"first_sample": 9000, "end_sample": 9800}, {"first_sample": 0, "end_sample": 800, "rate": 100},
     {"bands_hz": BANDS[:8]}, {"floor_db": -90.0}],
)  # fmt: skip
def test_what_does_not_continue_begins_anew(change: dict[str, Any]) -> None:
    view = heard(band(1))
    view.hear(spectrum(1, **change), bytes(16))
    assert len(view.columns) == 1


def test_what_is_kept_is_bounded() -> None:
    assert len(heard(*[band(1)] * (RECENT_SPECTRA + 100)).columns) == RECENT_SPECTRA


def test_a_board_notes_spectra_of_streams_that_it_knows() -> None:
    board = Board()
    board.show(spectrum(), band(1))
    assert board.streams == {}
    board.take(level(-20, -10), 0.0)
    board.show(spectrum(), band(1))
    assert len(board.streams["a"].spectrum.columns) == 1


@pytest.mark.parametrize(
    ("colours", "environment", "paint"),
    [
        ("256", {"LANG": "C"}, "colour"),
        ("truecolor", {}, "colour"),
        ("standard", {"LANG": "de_DE.UTF-8"}, "shades"),
        (None, {}, "shades"),
        (None, {"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, "letters"),
        ("standard", {"LC_CTYPE": "en_GB.ISO8859-1"}, "letters"),
    ],
)
def test_a_terminal_gets_what_it_can_show(colours: str | None, environment: dict[str, str], paint: Paint) -> None:
    assert paint_of(colours, environment) == paint


def test_letters_stay_within_ascii() -> None:
    assert all(line.plain.isascii() for line in spectrogram(heard(*[band(b) for b in range(16)]), 70, 5, "letters"))
    assert not SHADES.isascii()


@given(
    st.integers(0, 150),
    st.integers(0, 40),
    st.sampled_from(["colour", "shades", "letters"]),
    st.integers(1, 60).flatmap(
        lambda bands: st.tuples(
            st.lists(st.tuples(*[st.integers(0, (1 << 62) - 1)] * 2), min_size=bands, max_size=bands).map(tuple),
            st.lists(st.binary(min_size=bands, max_size=bands), max_size=20),
        )
    ),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(1, 1 << 30),
)
def test_it_fits_any_width_whatever_is_said(
    width: int, rows: int, paint: Paint, what: Any, floor_db: float, step_db: float, rate: int
) -> None:
    bands, columns = what
    view = SpectrumView()
    for number, values in enumerate(columns):
        view.hear(spectrum(number, bands_hz=bands, floor_db=floor_db, step_db=step_db, rate=rate), values)
    lines = spectrogram(view, width, rows, paint)
    assert len(lines) == (rows + 1 if columns and rows and width >= LEAST_WIDTH else 0)
    for line in lines:
        assert line.plain.isprintable()
        assert cell_len(line.plain) <= width
        if isinstance(line, Painted):
            assert re.sub(r"\x1b\[[0-9;]*m", "", line.ansi) == line.plain
