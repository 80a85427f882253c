"""A rolling spectrogram on a terminal: half a cell a band, a cell a tenth of a second, the newest at the right.

With 256 colours it is drawn in half blocks along a ramp of even steps of lightness, black to yellow; with fewer in
shades, or in letters where the terminal does not speak UTF-8. The scales in Hz, dB and seconds stand beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

from rich.text import Text

from .board import SpectrumView

LOWEST_DB, HIGHEST_DB = -100.0, -20.0  # the ends of the scale, for all streams at all times
LABEL_WIDTH = 8
LEAST_WIDTH = 30
LEAST_ROWS, MOST_ROWS = 3, 8

Paint = Literal["colour", "shades", "letters"]

# Of the 256 colours those that come closest to matplotlib's "inferno", at L* of 0, 7, 21, 29, 38, 46, 56, 62, 68, 77,
# 87 and 98: as even as they are.
RAMP = (16, 17, 53, 89, 125, 161, 167, 203, 208, 214, 220, 228)
SHADES = " ░▒▓█"
LETTERS = " .:-=+*#%@"


def spectrogram(view: SpectrumView, width: int, rows: int, paint: Paint) -> list[Text]:
    """`rows` lines of the last spectra of a stream, and one of their scales; each has at most `width` cells."""
    newest = view.newest
    if newest is None or not view.columns or rows < 1 or width < LEAST_WIDTH:
        return []
    shown = list(view.columns)[-(width - LABEL_WIDTH) :]
    dots = 2 * rows if paint == "colour" else rows
    groups = _groups(len(newest.bands_hz), dots)
    levels = _levels(newest.floor_db, newest.step_db, len(RAMP if paint == "colour" else _letters(paint)))
    columns = [_column(values, groups, levels) for _, values in shown]
    empty = width - LABEL_WIDTH - len(columns)
    lines: list[Text] = []
    for row in reversed(range(rows)):
        low, high = row * dots // rows, (row + 1) * dots // rows - 1
        label = f"{_hz(newest.bands_hz[groups[low][0]][0]):>{LABEL_WIDTH - 1}} "
        if paint == "colour":
            lines.append(Painted(label, empty, [(column[high], column[low]) for column in columns]))
        else:
            cells = "".join(_letters(paint)[column[low]] for column in columns)
            lines.append(Text(f"{label}{' ' * empty}{cells}"))
    lines.append(_scales(width, (newest.end_sample - shown[0][0]) / newest.rate, paint))
    return lines


class Painted(Text):
    """A line of half blocks, which says itself how it is written on a terminal: rich takes long for so many colours."""

    def __init__(self, label: str, empty: int, cells: Sequence[tuple[int, int]]) -> None:
        super().__init__(label + " " * empty + "▀" * len(cells), "dim")
        written, last = [f"\x1b[2m{label}\x1b[0m{' ' * empty}"], (-1, -1)
        for upper, lower in cells:
            if (upper, lower) != last:
                written.append(_colours(upper if upper != last[0] else -1, lower if lower != last[1] else -1))
                last = upper, lower
            written.append("▀")
        self.ansi = "".join(written) + "\x1b[0m"


def paint_of(color_system: str | None, environment: Mapping[str, str] = os.environ) -> Paint:
    """What a terminal can show, by rich's name of its colours (None: without) and the locale."""
    if color_system in ("256", "truecolor"):
        return "colour"
    locale = next((environment[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environment.get(name)), "UTF-8")
    return "shades" if "utf" in locale.lower() else "letters"


def _letters(paint: Paint) -> str:
    return SHADES if paint == "shades" else LETTERS


@lru_cache(maxsize=64)
def _groups(bands: int, dots: int) -> tuple[tuple[int, int], ...]:
    """Which bands a dot shows, from the lowest on; with fewer bands than dots some are shown twice."""
    edges = [(dot * bands // dots, -(-(dot + 1) * bands // dots)) for dot in range(dots)]
    if bands >= dots:
        edges = [(low, (dot + 1) * bands // dots) for dot, (low, _) in enumerate(edges)]
    return tuple(edges)


@lru_cache(maxsize=64)
def _levels(floor_db: float, step_db: float, steps: int) -> bytes:
    """The step of a ramp for each value."""
    shares = ((floor_db + value * step_db - LOWEST_DB) / (HIGHEST_DB - LOWEST_DB) for value in range(256))
    return bytes(int(max(0.0, min(steps - 1.0, share * steps))) for share in shares)


@lru_cache(maxsize=4096)  # a column is drawn many times while it moves to the left
def _column(values: bytes, groups: tuple[tuple[int, int], ...], levels: bytes) -> bytes:
    return bytes(levels[max(values[low:high])] for low, high in groups)


@lru_cache(maxsize=1024)
def _colours(upper: int, lower: int) -> str:
    """The escape sequence for the colours of both halves; -1: as before."""
    parts = [f"38;5;{RAMP[upper]}"] if upper >= 0 else []
    parts += [f"48;5;{RAMP[lower]}"] if lower >= 0 else []
    return f"\x1b[{';'.join(parts)}m"


def _scales(width: int, seconds: float, paint: Paint) -> Text:
    ends = f"{LOWEST_DB:.0f} ", f" {HIGHEST_DB:.0f} dB"
    key = "█" * len(RAMP) if paint == "colour" else _letters(paint)
    scale = f"{ends[0]}{key}{ends[1]}"
    head = f"{'Hz':>{LABEL_WIDTH - 1}} "
    ago, now = f"{min(seconds, 99_999):.0f} s ago", "now"
    room = width - len(head) - len(ago) - len(now)
    gap = room - len(scale)
    line = Text(head, "dim")
    if gap < 2:
        line.append(f"{ago}{' ' * max(1, room)}{now}", "dim")
        line.truncate(width)
        return line
    line.append(f"{ago}{' ' * (gap // 2)}{ends[0]}", "dim")
    for step, letter in enumerate(key):
        line.append(letter, f"color({RAMP[step]})" if paint == "colour" else "")
    line.append(f"{ends[1]}{' ' * (gap - gap // 2)}{now}", "dim")
    return line


def _hz(hz: int) -> str:
    return f"{hz}" if hz < 1000 else f"{min(hz / 1000, 999.9):.1f}k"
