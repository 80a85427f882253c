"""The screen of a run on a terminal: `picture` says what it shows, `Screen` draws what changed of it.

The picture is as many lines as the terminal has, each fitted to its width: a header, the streams with their level and
what they sound like, the last events, alarms, and a footer of ledger, delays and nodes. What finds no room says so.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from ..stream.clock import iso
from ..stream.messages import EventStart
from ..stream.report import duration_text, heard_and_lost, printable
from .board import Board, EventView, StreamView
from .output import Output
from .spectrogram import LEAST_ROWS, MOST_ROWS, Paint, Painted, paint_of, spectrogram

METER_FLOOR_DB = -60.0
MAX_TOP = 5  # classes a stream shows
MAX_SPECTROGRAMS = 4
MIN_EVENTS = 4  # lines that events get before streams show their classes in lines of their own
SILENT_NODE_S = 3.0  # a sign of life comes twice a second
REDRAW_S = 2.0  # all of it, should anything else have written on the terminal
FOOTER_S = 1.0  # figures that change all the time are read better when they rest

_ENTER = "\x1b[?1049h\x1b[?25l"  # the other screen of the terminal, no cursor
_LEAVE = "\x1b[H\x1b[J\x1b[?25h\x1b[?1049l"  # wiped first: tmux keeps rows of it when it was resized

DIM, BOLD, NOW, WARN, BAD = "dim", "bold", "bold green", "yellow", "bold red"


class Screen:
    """Draws a board; writes only lines that changed, and never waits for the terminal."""

    def __init__(self, output: Output, environment: Mapping[str, str] = os.environ, title: str = "earwitness"):
        self.title = title
        self._output = output
        self._console = new_console(80, environment)
        self._paint = paint_of(None if self._console.no_color else self._console.color_system, environment)
        self._shown: list[tuple[str, object]] = []
        self._size = (0, 0)
        self._full_at = 0.0
        self._open = False
        self._footer: list[Text] = []
        self._footer_at = 0.0
        self._begun_at: float | None = None

    def draw(self, board: Board, now: float) -> None:
        """Brings the terminal up to date; skips when it has not taken the last picture yet."""
        if not self._output.pump():
            return
        width, height = _terminal_size(self._output.fd)
        if self._begun_at is None:
            self._begun_at = now
        writing = "" if self._open else _ENTER
        self._open = True
        if (width, height) != self._size:
            self._size, self._shown, self._footer_at = (width, height), [], 0.0
            self._console.width = width
        if now - self._full_at >= REDRAW_S:
            self._full_at, self._shown = now, []
        if now - self._footer_at >= FOOTER_S:
            self._footer, self._footer_at = footer(board, width, now), now
        runs = duration_text(round(now - self._begun_at))
        lines = picture(board, width, height, now, self.title, runs, self._footer, self._paint)
        keys: list[tuple[str, object]] = [
            (line.plain, line.ansi if isinstance(line, Painted) else tuple(line.spans)) for line in lines
        ]
        for row, (line, key) in enumerate(zip(lines, keys, strict=True)):
            if row >= len(self._shown) or self._shown[row] != key:
                # Erasing to the end of a line that is full would take its last letter.
                writing += f"\x1b[{row + 1};1H{self._ansi(line)}" + ("\x1b[K" if line.cell_len < width else "")
        self._shown = keys
        if writing:
            self._output.write(writing)

    def watched(self, board: Board) -> list[str]:
        """The streams whose spectrum may find room: the first ones, as long as there are few."""
        return sorted(board.streams)[:MAX_SPECTROGRAMS] if 2 * len(board.streams) + LEAST_ROWS < self._size[1] else []

    def close(self) -> None:
        """Gives the terminal back as it was."""
        if self._open:
            self._open = False
            self._output.write(_LEAVE)

    def _ansi(self, line: Text) -> str:
        if isinstance(line, Painted):
            return line.ansi
        with self._console.capture() as capture:
            self._console.print(line, end="", soft_wrap=True)
        return capture.get()


def picture(
    board: Board,
    width: int,
    height: int,
    now: float,
    title: str = "earwitness",
    runs: str = "",
    foot: list[Text] | None = None,
    paint: Paint = "shades",
) -> list[Text]:
    """Exactly `height` lines of at most `width` cells. `foot`: the footer, made earlier. `paint`: of spectrograms."""
    foot = footer(board, width, now) if foot is None else foot
    foot = foot[: 4 if height >= 20 else 3 if height >= 14 else 1 if height >= 6 else 0]
    alarms = _alarm_lines(board, width, 3 if height >= 16 else 1)
    room = height - 1 - len(foot) - len(alarms)
    with_events = room >= 6
    streams = _stream_lines(board, width, room - (1 + min(MIN_EVENTS, room // 3) if with_events else 0), now, paint)
    events = _event_lines(board, width, room - len(streams)) if with_events else []
    lines = [_header(board, width, title, runs), *streams, *events]
    lines += [Text()] * (height - len(lines) - len(alarms) - len(foot))
    return (lines + alarms + foot)[:height]


# ---- the picture's parts ---------------------------------------------------------------------------------------------


def _header(board: Board, width: int, title: str, runs: str) -> Text:
    count = len(board.streams)
    parts = [f"{count} stream" + ("" if count == 1 else "s"), *sorted(board.models), runs]
    left, right = f" {title}  {' · '.join(filter(None, parts))}", "Ctrl-C ends "
    if len(left) + len(right) + 2 <= width:
        left += " " * (width - cell_len(left) - len(right)) + right
    return Text(fit(left, width), "reverse")


def _stream_lines(board: Board, width: int, room: int, now: float, paint: Paint) -> list[Text]:
    """At most `room` lines. Streams keep their order, by name, so that the eye finds them again."""
    streams = [board.streams[name] for name in sorted(board.streams)]
    if not streams:
        return [Text(fit(" waiting for sound …", width), DIM)][: max(0, room)]
    detail = min(MAX_TOP, room // len(streams) - 1)
    if streams[0].spectrum.columns:  # classes make room for a spectrogram as long as two are left
        detail = min(detail, max(2, (room - LEAST_ROWS - 1) // len(streams) - 1))
    if detail >= 1 and width >= 40:
        lines = []
        spare = room - len(streams) * (1 + detail)
        drawn = min(MAX_SPECTROGRAMS, len(streams), spare // (LEAST_ROWS + 1))
        rows = min(MOST_ROWS, spare // drawn - 1) if drawn else 0
        for number, stream in enumerate(streams):
            heard = spectrogram(stream.spectrum, width, rows, paint) if number < drawn else []
            figures = _period_line(stream, width) if detail > 2 else []
            classes = _class_lines(stream, width, detail - len(figures), board)
            lines += [_meter_line(stream, width, now, None), *figures, *heard, *classes]
        return lines
    hidden = len(streams) - room if len(streams) > room else 0
    shown = streams[: room - 1] if hidden else streams
    lines = [_meter_line(stream, width, now, board.happening(stream.name)) for stream in shown]
    if hidden and room > 0:
        lines.append(Text(fit(f" … and {len(streams) - len(shown)} more streams", width), DIM))
    return lines


def _meter_line(stream: StreamView, width: int, now: float, happening: set[str] | None) -> Text:
    """Name, meter and level of a stream; with `happening` its top classes behind them, in the same line."""
    name_width = max(6, min(16, width // 5))
    state = stream.ended and ("ended: " if stream.final else "waiting: ") + stream.ended
    line = Text(" " + fit(stream.name, name_width) + " ", BOLD)
    compact = happening is not None
    level_db, unit = _level(stream)
    meter_width = max(4, width // 4 if compact else width - name_width - 21)
    if state:
        line.append(fit(state, max(0, width - name_width - 2)), WARN)
        return line
    line.append_text(_meter(stream.rms_db, stream.peak_db(now), meter_width))
    line.append(f" {level_db:4.0f} {unit:<7} ")  # dBFS(A) is the longest
    if stream.clipped(now):
        line.append("CLIP ", BAD)
    if happening is not None:
        for label, score in stream.labels()[:MAX_TOP]:
            word = f" {score_text(score)} {printable(label)} "
            if cell_len(line.plain) + cell_len(word) > width:
                break
            line.append(word, NOW if label in happening else "")
    line.truncate(width)
    return line


def _level(stream: StreamView) -> tuple[float, str]:
    """The weighted level with fast time weighting, and its unit."""
    level = stream.level
    if level is None:
        return stream.rms_db, "dB"
    return level.fast_db, f"dB({level.weighting})" if level.calibrated else f"dBFS({level.weighting})"


def _period_line(stream: StreamView, width: int) -> list[Text]:
    """Mean, maximum and percentiles of the weighted level over the last minute or so, once there are any."""
    level = stream.level
    if level is None or not level.period_s:
        return []
    figures = (
        (f"L{level.weighting}eq", level.period_leq_db), (f"L{level.weighting}Fmax", level.fast_max_db),
        ("L10", level.l10_db), ("L50", level.l50_db), ("L90", level.l90_db),
    )  # fmt: skip
    told = "  ".join(f"{name} {value:.1f}" for name, value in figures)
    return [Text(fit(f"   {told}  {_level(stream)[1]} in {duration_text(round(level.period_s))}", width), DIM)]


def _meter(rms_db: float, peak_db: float, width: int) -> Text:
    """A bar from -60 dBFS to full scale: the level as blocks, the held peak as a mark."""
    full, peak = (max(0.0, min(1.0, 1 - db / METER_FLOOR_DB)) * width for db in (rms_db, peak_db))
    cells = ["█" if cell + 0.75 <= full else "▌" if cell + 0.25 <= full else "·" for cell in range(width)]
    if peak > 0:
        cells[min(width - 1, int(peak))] = "│"
    bar = Text("".join(cells))
    for start_db, end_db, style in ((METER_FLOOR_DB, -12.0, "green"), (-12.0, -3.0, WARN), (-3.0, 0.0, BAD)):
        start, end = (round((1 - db / METER_FLOOR_DB) * width) for db in (start_db, end_db))
        bar.stylize(style, start, end)
    return bar


def _class_lines(stream: StreamView, width: int, count: int, board: Board) -> list[Text]:
    """The top classes with a bar each: also when nothing passes a threshold, so that one sees what it hears."""
    happening = board.happening(stream.name)
    label_width = max(8, min(22, width // 4))
    bar_width = max(4, width - label_width - 12)
    lines = []
    for label, score in stream.labels()[:count]:
        style = NOW if label in happening else ""
        line = Text("   " + fit(label, label_width) + " ", style)
        cells = max(0.0, min(1.0, score)) * bar_width if score == score else 0.0
        bar = "█" * int(cells) + ("▌" if cells % 1 >= 0.5 else "")
        line.append(bar.ljust(bar_width), style or "cyan")
        line.append(f" {score_text(score)}", style)
        line.truncate(width)
        lines.append(line)
    return lines + [Text()] * (count - len(lines))


def _event_lines(board: Board, width: int, room: int) -> list[Text]:
    """A heading and the last events, the newest first."""
    if room < 2:
        return []
    views = list(board.events.values())
    total = len(views) + board.earlier_events
    heading = f" {total} event{'' if total == 1 else 's'} · UTC "
    lines = [Text(heading.ljust(width, "─")[:width], DIM)]
    show_stream = len(board.streams) != 1 and width >= 50
    for view in reversed(views[-(room - 1) :]):
        message = view.message
        going_on = isinstance(message, EventStart) and not view.abandoned
        text = f" {iso(message.utc_ns)[11:19]}  "
        if show_stream:
            text += fit(message.stream, max(6, min(16, width // 5))) + "  "
        text += fit(message.label, max(8, min(22, width // 4)))
        text += f"  {score_text(message.score)}  {lasted_text(view):<12}{'● clip' if view.clip else ''}"
        lines.append(Text(fit(text, width), NOW if going_on else ""))
    return lines


def _alarm_lines(board: Board, width: int, room: int) -> list[Text]:
    alarms = list(board.alarms.values())
    hidden = len(alarms) - room
    if hidden > 0:
        alarms = alarms[hidden + 1 :] if room > 1 else alarms[-1:]
    lines = []
    if hidden > 0 and room > 1:
        lines.append(Text(fit(f" ! {hidden + 1} more alarms", width), BAD))
    for alarm in alarms:
        about = f"{alarm.stream}: " if alarm.stream else ""
        lines.append(Text(fit(f" ! {iso(alarm.utc_ns)[11:19]}  {about}{alarm.text}", width), BAD))
    return lines


def footer(board: Board, width: int, now: float) -> list[Text]:
    """The ledger and the delays by stage in a line each, the nodes (MB and share of a core) in one or two."""
    heard_s, lost = heard_and_lost(board.ledger())
    ledger = f" ledger  {duration_text(heard_s)} of sound"
    ledger += ", lost " + (", ".join(f"{duration_text(lost_s)} ({cause})" for cause, lost_s in lost.items()) or "none")
    delays = " · ".join(f"{stage} {p50:.0f}/{p99:.0f}" for stage, (p50, p99) in board.delays().items())
    views = sorted(board.nodes.items())
    memory_mb, share = sum(node.health.rss_bytes for _, node in views) / 1e6, sum(node.cpu_share for _, node in views)
    each = [
        f"{name} {node.health.rss_bytes / 1e6:.0f} {node.cpu_share:.0%}"
        if now - node.seen_at < SILENT_NODE_S
        else f"{name} silent {now - node.seen_at:.0f} s"
        for name, node in views
    ]
    silent = any(now - node.seen_at >= SILENT_NODE_S for _, node in views)
    return [
        Text(fit(ledger, width), WARN if lost else DIM),
        Text(fit(f" delays  ms, p50/p99: {delays or '–'}", width), DIM),
        *(
            Text(fit(line, width), WARN if silent else DIM)
            for line in _wrapped(f" nodes   {memory_mb:.0f} MB {share:.0%}:", each, width)[:2]
        ),
    ]


def _wrapped(head: str, parts: list[str], width: int) -> list[str]:
    """The parts behind the head, in as many lines as they take."""
    lines = [head]
    for part in parts:
        if len(lines[-1]) + 2 + len(part) > width and len(lines[-1]) > 9:
            lines.append(" " * 8)
        lines[-1] += " " + part + ("," if part is not parts[-1] else "")
    return lines


# ---- small things ----------------------------------------------------------------------------------------------------


def fit(text: str, cells: int) -> str:
    """The text in exactly so many cells, cut with … where it is longer; nothing in it that a terminal would obey."""
    text = printable(text)
    if cells <= 0:
        return ""
    if cell_len(text) <= cells:
        return set_cell_size(text, cells)
    return set_cell_size(text, cells - 1) + "…"


def score_text(score: float) -> str:
    """Four cells, whatever a model said."""
    return f"{min(1.0, max(0.0, score)):.2f}" if score == score else " nan"


def lasted_text(view: EventView) -> str:
    lasted_s = view.lasted_s
    if lasted_s is not None:
        return duration_text(lasted_s)
    return "no end" if view.abandoned else "now"


def new_console(width: int, environment: Mapping[str, str]) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        height=25,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        _environ=environment,
    )


def _terminal_size(fd: int) -> tuple[int, int]:
    try:
        width, height = os.get_terminal_size(fd)
    except OSError:
        return 80, 24
    return (width or 80, height or 24)
