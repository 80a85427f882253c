"""What stays on the terminal when the screen is gone: the events, alarms, and a demo's truth beside what was heard."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping

from rich.table import Table
from rich.text import Text

from ..stream.clock import iso, seconds
from ..stream.report import Match, printable, truth_line
from .board import Board, EventView
from .screen import BAD, BOLD, DIM, WARN, lasted_text, new_console, score_text


def closing_report(
    board: Board, width: int, without: Container[str] = (), environment: Mapping[str, str] = os.environ
) -> str:
    """What stays on the terminal when the screen is gone: the last events, and alarms that nobody cleared.

    `without`: streams whose events are told elsewhere.
    """
    views = [view for view in board.events.values() if view.message.stream not in without]
    shown, text = views[-50:], ""
    if views or not without:
        text = _rendered(_events_table(shown, board.earlier_events + len(views) - len(shown)), width, environment)
    for alarm in board.alarms.values():
        text += _rendered(Text(printable(f"alarm  {iso(alarm.utc_ns)}  {alarm.text}"), BAD), width, environment)
    return text


def truth_report(stream: str, matches: list[Match], width: int, environment: Mapping[str, str] = os.environ) -> str:
    """A demo's true events beside what was heard."""
    return _rendered(_truth_table(stream, matches), width, environment)


def _events_table(views: list[EventView], earlier: int) -> Table:
    table = _table("events" + (f" (the last {len(views)}, {earlier} before them)" if earlier else ""))
    one_day = len({iso(view.message.utc_ns)[:10] for view in views}) <= 1
    table.add_column("UTC", no_wrap=True)
    for name in ("stream", "label"):
        table.add_column(name, overflow="fold")
    for name in ("score", "onset", "lasted"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("clip")
    for view in views:
        message = view.message
        table.add_row(
            iso(message.utc_ns)[11 if one_day else 0 : 19].replace("T", " "),
            Text(printable(message.stream)),
            Text(printable(message.label)),
            score_text(message.score),
            f"{seconds(message.onset_sample, message.rate):.3f} s",
            lasted_text(view),
            "●" if view.clip else "",
        )
    if not views:
        table.add_row("none")
    return table


def _truth_table(stream: str, matches: list[Match]) -> Table:
    table = _table(f"{printable(stream)}: the scene, and what was heard of it")
    table.add_column("label", overflow="fold")
    for name in ("true onset", "heard onset", "difference", "score"):
        table.add_column(name, justify="right")
    for match in matches:
        line = truth_line(stream, match)
        style = {"heard": "", "missed": BAD, "extra": WARN, "unknown": DIM}[line["result"]]
        table.add_row(
            Text(printable(str(line["label"])), style),
            f"{line['onset']:.3f} s" if match.truth else Text("extra", style),
            f"{line['heard_onset']:.3f} s"
            if match.heard
            else Text("missed" if match.known else "not in the model", style),
            "" if line["difference"] is None else f"{line['difference']:+.3f} s",
            "" if match.heard is None else score_text(match.heard.score),
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style=BOLD, box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _rendered(what: Table | Text, width: int, environment: Mapping[str, str]) -> str:
    console = new_console(max(width, 40), environment)
    with console.capture() as capture:
        console.print(what)
    return capture.get()
