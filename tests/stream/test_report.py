"""The lines that a run prints."""

from __future__ import annotations

import json
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.stream.clock import parse_utc
from earwitness.stream.messages import Alarm, ClipSaved, EventEnd, EventStart, Gap, LedgerRow, Level
from earwitness.stream.report import (
    TRUTH_WITHIN_S,
    heard_and_lost,
    json_line,
    ledger_lines,
    line_of,
    match_truth,
    printable,
    style_of,
    text_of,
    truth_line,
)
from earwitness.stream.testing import example

UTC_NS = parse_utc("2026-11-21T10:00:12.340Z")
START = EventStart(
    id="01J", stream="kitchen", epoch=1, label="dog", score=0.93, onset_sample=592_320, rate=48_000, utc_ns=UTC_NS,
    utc_error_ns=0, model="esc10-cnn@4f1c2a", latency_ms=41.04,
)  # fmt: skip
END = EventEnd(**msgspec.structs.asdict(START), offset_sample=640_320)


class Truth(NamedTuple):
    label: str
    onset_s: float
    offset_s: float


def start(onset_s: float, label: str = "dog", id: str = "a") -> EventStart:
    return msgspec.structs.replace(START, id=id, label=label, onset_sample=round(onset_s * 48_000))


def row(place: str, received: int, lost: dict[str, int], epoch: int = 1, ended: bool = True) -> LedgerRow:
    return LedgerRow(
        stream="kitchen", epoch=epoch, place=place, rate=48_000, received=received, lost=lost,
        next_sample=received + sum(lost.values()), ended=ended, final=ended,
    )  # fmt: skip


def test_a_start_is_the_line_that_the_reference_promises() -> None:
    assert json_line(line_of(START) or {}) == (
        '{"event":"start","id":"01J","stream":"kitchen","epoch":1,"label":"dog","score":0.93,"onset":12.34,'
        '"offset":null,"onset_sample":592320,"rate":48000,"utc":"2026-11-21T10:00:12.340Z",'
        '"model":"esc10-cnn@4f1c2a","latency_ms":41.0}\n'
    )


def test_an_end_repeats_the_start_and_fills_in_the_offset() -> None:
    begun, ended = line_of(START), line_of(END)
    assert begun is not None
    assert ended == {**begun, "event": "end", "offset": 13.34, "offset_sample": 640_320}
    assert list(ended)[:9] == list(begun)[:9]


def test_gaps_alarms_and_clips_have_their_lines_and_nothing_else_has() -> None:
    gap = Gap(stream="a", epoch=2, first_sample=480, end_sample=960, rate=48_000, cause="overrun", place="capture")
    assert line_of(gap) == {
        "event": "gap", "stream": "a", "epoch": 2, "first_sample": 480, "end_sample": 960, "rate": 48_000,
        "onset": 0.01, "offset": 0.02, "cause": "overrun", "place": "capture",
    }  # fmt: skip
    alarm = Alarm(node="recorder", stream="", name="disk-full", state="raised", text="full", utc_ns=UTC_NS)
    assert line_of(alarm) == {
        "event": "alarm", "name": "disk-full", "state": "raised", "node": "recorder", "stream": None, "text": "full",
        "utc": "2026-11-21T10:00:12.340Z",
    }  # fmt: skip
    clip = ClipSaved(
        id="x", stream="a", label="dog", path="clips/a.flac", first_sample=0, end_sample=48_000, rate=48_000
    )
    assert (line_of(clip) or {})["duration"] == 1.0
    level = example(Level)
    assert line_of(level) is None
    assert text_of(level) is None


@given(st.text(), st.floats())
def test_whatever_a_label_and_a_score_are_a_line_is_one_line_of_valid_json(label: str, score: float) -> None:
    line = json_line(line_of(msgspec.structs.replace(START, label=label, score=score)) or {})
    assert line.count("\n") == 1
    assert json.loads(line)["label"] == label


@given(st.text())
def test_no_text_makes_a_terminal_do_anything(text: str) -> None:
    line = text_of(msgspec.structs.replace(START, label=text))
    assert line is not None
    assert line.isprintable()
    assert len(printable(text)) == len(text)


def test_json_where_it_is_asked_for_or_no_terminal_reads_and_plain_lines_on_a_dumb_one() -> None:
    assert style_of(True, True, "xterm") == "json"
    assert style_of(False, False, "xterm") == "json"
    assert style_of(False, True, "xterm-256color") == "screen"
    assert [style_of(False, True, term) for term in ("", "dumb", "unknown")] == ["text"] * 3


def test_a_balanced_ledger_is_one_line_an_epoch() -> None:
    lines, balanced = ledger_lines(
        [row("capture", 47_520, {"overrun": 480}), row("features", 47_520, {"overrun": 480})], True
    )
    assert balanced
    (line,) = map(json.loads, lines)
    assert (line["event"], line["samples"], line["duration"], line["balanced"]) == ("ledger", 48_000, 1.0, True)
    assert line["lost"] == {"overrun": 480}
    assert line["places"]["features"] == {"received": 47_520, "lost": {"overrun": 480}}


def test_what_does_not_add_up_is_said() -> None:
    rows = [row("capture", 48_000, {}), row("features", 47_000, {}), row("capture", 10, {}, epoch=2, ended=False)]
    lines, balanced = ledger_lines(rows, as_json=False)
    assert not balanced
    text = "\n".join(lines)
    assert "NOT BALANCED" in text
    assert "the places disagree about its length" in text
    assert "without an end" in text
    assert ledger_lines([], as_json=True) == ([], True)


def test_a_gap_counts_once_however_many_places_it_passes() -> None:
    heard_s, lost = heard_and_lost(
        [row("capture", 96_000, {"overrun": 4800}), row("features", 96_000, {"overrun": 4800})]
    )
    assert heard_s == pytest.approx(2.1)
    assert lost == {"overrun": pytest.approx(0.1)}


def test_truth_takes_the_nearest_event_of_its_label_once() -> None:
    truth = [Truth("dog", 1.0, 2.0), Truth("cat", 5.0, 6.0), Truth("dog", 9.0, 9.5)]
    heard = [start(1.6, id="far"), start(1.1, id="near"), start(5.0, "dog", id="label"), start(9.9, id="late")]
    lines = [truth_line("demo", match) for match in match_truth(truth, heard)]
    assert [(line["result"], line["label"], line["id"]) for line in lines] == [
        ("heard", "dog", "near"), ("extra", "dog", "far"), ("missed", "cat", None), ("extra", "dog", "label"),
        ("heard", "dog", "late"),
    ]  # fmt: skip
    assert lines[0]["difference"] == 0.1
    assert lines[2]["difference"] is None


def test_a_label_that_no_model_knows_is_not_called_missed() -> None:
    (match,) = match_truth([Truth("cat", 1.0, 2.0)], [], labels={"dog"})
    assert truth_line("demo", match)["result"] == "unknown"


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 20))),
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 20))),
)
def test_each_true_event_and_each_heard_one_is_in_exactly_one_match(
    true: list[tuple[str, float]], said: list[tuple[str, float]]
) -> None:
    truth = [Truth(label, onset_s, onset_s + 1) for label, onset_s in true]
    heard = [start(onset_s, label, id=str(number)) for number, (label, onset_s) in enumerate(said)]
    matches = match_truth(truth, heard)
    assert sorted(match.truth for match in matches if match.truth) == sorted(truth)
    assert sorted(match.heard.id for match in matches if match.heard) == sorted(event.id for event in heard)
    for match in matches:
        if match.truth and match.heard:
            assert match.truth.label == match.heard.label
            assert abs(match.heard.onset_sample / 48_000 - match.truth.onset_s) <= TRUTH_WITHIN_S + 1e-4
