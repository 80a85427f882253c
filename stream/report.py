"""What a run tells: one JSON object a line for programs, one line of text for people, both made from messages alone.

Times are seconds from the start of the stream's epoch, rounded to milliseconds; `clock` derives them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from .clock import iso, seconds
from .ledger import unbalanced
from .messages import Alarm, ClipSaved, EventEnd, EventStart, Gap, LedgerRow, Message

TRUTH_WITHIN_S = 1.0  # how far an onset may be from the true one to count as heard

Line = dict[str, Any]
Heard = EventStart | EventEnd


def style_of(as_json: bool, terminal: bool, term: str) -> Literal["json", "text", "screen"]:
    """How a run tells what it heard: JSON where it was asked for or no terminal reads, a screen where one can draw.

    `term`: the terminal's kind, from the variable TERM.
    """
    if as_json or not terminal:
        return "json"
    return "text" if term in ("", "dumb", "unknown") else "screen"


def json_line(line: Line) -> str:
    """The line as it is printed. A score that is no number becomes null.

    >>> json_line({"event": "gap", "stream": "kitchen"})
    '{"event":"gap","stream":"kitchen"}\\n'
    """
    return msgspec.json.encode(line).decode() + "\n"


def line_of(message: Message) -> Line | None:
    """The line of any message that a run tells about; None for all others."""
    if isinstance(message, EventStart | EventEnd):
        return event_line(message)
    if isinstance(message, Gap):
        return gap_line(message)
    if isinstance(message, Alarm):
        return alarm_line(message)
    if isinstance(message, ClipSaved):
        return clip_line(message)
    return None


def event_line(message: Heard) -> Line:
    """An event's start, or its end, which repeats the start and fills in the offset."""
    start: Line = {
        "event": "start",
        "id": message.id,
        "stream": message.stream,
        "epoch": message.epoch,
        "label": message.label,
        "score": round(message.score, 4),
        "onset": _seconds(message.onset_sample, message.rate),
        "offset": None,
        "onset_sample": message.onset_sample,
    }
    end: Line = {}
    if isinstance(message, EventEnd):
        offset = _seconds(message.offset_sample, message.rate)
        end = {"event": "end", "offset": offset, "offset_sample": message.offset_sample}
    return {
        **start,
        **end,
        "rate": message.rate,
        "utc": iso(message.utc_ns),
        "model": message.model,
        "latency_ms": round(message.latency_ms, 1),
    }


def gap_line(message: Gap) -> Line:
    """Samples that were lost on the way."""
    return {
        "event": "gap",
        "stream": message.stream,
        "epoch": message.epoch,
        "first_sample": message.first_sample,
        "end_sample": message.end_sample,
        "rate": message.rate,
        "onset": _seconds(message.first_sample, message.rate),
        "offset": _seconds(message.end_sample, message.rate),
        "cause": message.cause,
        "place": message.place,
    }


def alarm_line(message: Alarm) -> Line:
    """An alarm that was raised or cleared."""
    return {
        "event": "alarm",
        "name": message.name,
        "state": message.state,
        "node": message.node,
        "stream": message.stream or None,
        "text": message.text,
        "utc": iso(message.utc_ns),
    }


def clip_line(message: ClipSaved) -> Line:
    """A clip that stands on the disk."""
    return {
        "event": "clip",
        "id": message.id,
        "stream": message.stream,
        "label": message.label,
        "path": message.path,
        "first_sample": message.first_sample,
        "end_sample": message.end_sample,
        "rate": message.rate,
        "duration": _seconds(message.end_sample - message.first_sample, message.rate),
    }


# ---- the ledger ------------------------------------------------------------------------------------------------------


def ledger_lines(rows: Iterable[LedgerRow], as_json: bool) -> tuple[list[str], bool]:
    """The ledger as it is printed last, without line ends, and whether all of it balances.

    One line for each epoch of each stream (epoch 0: all that were folded away), with what every place counted; as text
    one more for each thing that does not add up. `lost` holds, by cause, the largest count of any place: a gap is
    counted at each place that it passes.
    """
    lines: list[str] = []
    balanced = True
    rows = tuple(rows)
    everywhere = {row.place for row in rows}
    for (stream, epoch), places in _by_epoch(rows).items():
        problems = unbalanced(places, everywhere)
        balanced = balanced and not problems
        samples, rate = max(row.next_sample for row in places), places[0].rate
        line: Line = {
            "event": "ledger",
            "stream": stream,
            "epoch": epoch,
            "rate": rate,
            "samples": samples,
            "duration": _seconds(samples, rate),
            "lost": lost_by_cause(places),
            "balanced": not problems,
            "problems": problems,
            "places": {row.place: {"received": row.received, "lost": dict(row.lost)} for row in places},
        }
        lines += [json_line(line).rstrip("\n")] if as_json else _ledger_text(line)
    return lines, balanced


def _ledger_text(line: Line) -> list[str]:
    lost = ", ".join(f"{count} ({cause})" for cause, count in line["lost"].items()) or "none"
    name = line["stream"] + (f" epoch {line['epoch']}" if line["epoch"] != 1 else "")
    text = (
        f"ledger  {name}: {line['samples']} samples, {duration_text(line['duration'])}, lost {lost}; "
        f"{'balanced' if line['balanced'] else 'NOT BALANCED'} at {', '.join(line['places'])}"
    )
    return [printable(text), *(f"ledger  {printable(problem)}" for problem in line["problems"])]


def lost_by_cause(rows: Iterable[LedgerRow]) -> dict[str, int]:
    """Lost samples of one epoch by cause: the largest count of any place."""
    lost: dict[str, int] = {}
    for row in rows:
        for cause, count in row.lost.items():
            if count:
                lost[cause] = max(count, lost.get(cause, 0))
    return lost


def heard_and_lost(rows: Iterable[LedgerRow]) -> tuple[float, dict[str, float]]:
    """Seconds of sound that all epochs together had so far, and seconds lost by cause."""
    total = 0.0
    lost: dict[str, float] = {}
    for places in _by_epoch(rows).values():
        rate = places[0].rate
        total += seconds(max(row.next_sample for row in places), rate)
        for cause, count in lost_by_cause(places).items():
            lost[cause] = lost.get(cause, 0.0) + seconds(count, rate)
    return total, lost


def _by_epoch(rows: Iterable[LedgerRow]) -> dict[tuple[str, int], list[LedgerRow]]:
    epochs: dict[tuple[str, int], list[LedgerRow]] = {}
    for row in sorted(rows, key=lambda row: (row.stream, row.epoch)):
        epochs.setdefault((row.stream, row.epoch), []).append(row)
    return epochs


# ---- truth beside what was heard -------------------------------------------------------------------------------------


class TrueEvent(Protocol):
    """What a scene whose making is known holds, in seconds from its start."""

    @property
    def label(self) -> str: ...
    @property
    def onset_s(self) -> float: ...
    @property
    def offset_s(self) -> float: ...


class Match(NamedTuple):
    """A true event and what was heard of it. Without `heard` it was missed; without `truth` it is an extra one."""

    truth: TrueEvent | None
    heard: Heard | None
    known: bool = True  # False: no model of this run knows the label


def match_truth(
    truth: Sequence[TrueEvent], heard: Sequence[Heard], labels: Container[str] | None = None
) -> list[Match]:
    """Pairs of the same label whose onsets are within `TRUTH_WITHIN_S`, the nearest first, in order of time.

    Each true event and each that was heard is in exactly one match. `labels`: what the models know; None: anything.
    """
    pairs = sorted(
        (abs(seconds(event.onset_sample, event.rate) - true.onset_s), i, k)
        for i, true in enumerate(truth)
        for k, event in enumerate(heard)
        if true.label == event.label
    )
    of_truth: dict[int, int] = {}
    used: set[int] = set()
    for distance_s, i, k in pairs:
        if distance_s <= TRUTH_WITHIN_S and i not in of_truth and k not in used:
            of_truth[i] = k
            used.add(k)
    matches = [
        Match(true, heard[of_truth[i]] if i in of_truth else None, known=labels is None or true.label in labels)
        for i, true in enumerate(truth)
    ]
    matches += [Match(None, event) for k, event in enumerate(heard) if k not in used]
    return sorted(matches, key=_onset_s)


def truth_line(stream: str, match: Match) -> Line:
    """One match. `result` is heard, missed, extra, or unknown (missed, and no model of the run knows the label);
    `difference` is heard minus true onset.
    """
    truth, heard, known = match
    onset = _seconds(heard.onset_sample, heard.rate) if heard else None
    return {
        "event": "truth",
        "stream": stream,
        "result": "extra" if truth is None else "heard" if heard else "missed" if known else "unknown",
        "label": truth.label if truth else heard.label if heard else None,
        "onset": round(truth.onset_s, 3) if truth else None,
        "offset": round(truth.offset_s, 3) if truth else None,
        "heard_onset": onset,
        "difference": round(onset - truth.onset_s, 3) if truth and onset is not None else None,
        "score": round(heard.score, 4) if heard else None,
        "id": heard.id if heard else None,
    }


def _onset_s(match: Match) -> float:
    if match.truth is not None:
        return match.truth.onset_s
    assert match.heard is not None
    return seconds(match.heard.onset_sample, match.heard.rate)


# ---- text for people -------------------------------------------------------------------------------------------------


def text_of(message: Message) -> str | None:
    """One line of plain text about a message that a run tells about; None for all others."""
    if isinstance(message, EventStart):
        text = f"{iso(message.utc_ns)}  {message.stream}  {message.label}  {message.score:.2f}  begins"
    elif isinstance(message, EventEnd):
        lasted = duration_text(seconds(message.offset_sample - message.onset_sample, message.rate))
        text = f"{iso(message.utc_ns)}  {message.stream}  {message.label}  {message.score:.2f}  lasted {lasted}"
    elif isinstance(message, Gap):
        lost = duration_text(seconds(message.end_sample - message.first_sample, message.rate))
        at = duration_text(seconds(message.first_sample, message.rate))
        text = f"gap  {message.stream}  {lost} lost {at} after its start: {message.cause} ({message.place})"
    elif isinstance(message, Alarm):
        about = f"  {message.stream}" if message.stream else ""
        text = f"{iso(message.utc_ns)}{about}  alarm {message.state}: {message.text} ({message.name}, {message.node})"
    elif isinstance(message, ClipSaved):
        text = f"clip  {message.stream}  {message.label}  {message.path}"
    else:
        return None
    return printable(text)


def printable(text: str) -> str:
    """The text without anything that a terminal would obey: names come from outside.

    >>> printable("kitchen\\x1b[2J")
    'kitchen·[2J'
    """
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "·" for letter in text)


def duration_text(duration_s: float) -> str:
    """A duration as people say it; whole seconds stay whole.

    >>> [duration_text(s) for s in (0.04, 9.96, 5, 75, 3900, 200_000)]
    ['0.04 s', '9.96 s', '5 s', '1 min 15 s', '1 h 05 min', '2 d 7 h']
    """
    if duration_s < 10 and not isinstance(duration_s, int):
        return f"{duration_s:.2f} s"
    whole = round(duration_s)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _seconds(sample: int, rate: int) -> float:
    return round(seconds(sample, rate), 3)
