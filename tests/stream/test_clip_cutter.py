"""Clips hold exactly the samples of their span, whatever was lost, and however the sound came."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earwitness.stream.clip_cutter import FOREVER, ClipCut, Remembered
from earwitness.stream.clips import RecorderSettings
from earwitness.stream.ledger import Hole
from earwitness.stream.messages import AudioBlock, Ended, EventEnd, EventStart

RATE = 100  # Hz: seconds stay short
SETTINGS = RecorderSettings(pre_roll_s=1.0, post_roll_s=0.5, max_clip_s=10.0, history_s=20.0)


def block(first: int, channels: int = 1) -> AudioBlock:
    return AudioBlock(
        stream="s", epoch=1, first_sample=first, end_sample=first + 1, rate=RATE, channels=channels, dtype="int16",
        utc_ns=0, utc_error_ns=0, heard_ns=0,
    )  # fmt: skip


def start(onset: int, name: str = "e", label: str = "dog", rate: int = RATE) -> EventStart:
    return EventStart(
        id=name, stream="s", epoch=1, label=label, score=0.8, onset_sample=onset, rate=rate, utc_ns=10**18,
        utc_error_ns=2_000_000, model="m@1", latency_ms=1.0,
    )  # fmt: skip


def end(onset: int, offset: int, name: str = "e", label: str = "dog", rate: int = RATE) -> EventEnd:
    return EventEnd(
        id=name, stream="s", epoch=1, label=label, score=0.9, onset_sample=onset, offset_sample=offset, rate=rate,
        utc_ns=10**18, utc_error_ns=2_000_000, model="m@1", latency_ms=1.0,
    )  # fmt: skip


def remembered(first: int = 0, settings: RecorderSettings = SETTINGS, channels: int = 1) -> Remembered:
    epoch = Remembered("s", 1, RATE, True, settings)
    assert epoch.begin_with(block(first, channels))
    return epoch


def numbers(first: int, last: int) -> np.ndarray[Any, Any]:
    """Samples whose value is their index, never 0."""
    return (np.arange(first, last) % 30_000 + 1).astype(np.int16)[:, None]


def cut(epoch: Remembered, name: str = "e") -> ClipCut:
    piece = epoch.cut(epoch.wanted[name])
    assert piece is not None
    return piece


@given(data=st.data(), begin=st.integers(0, 5_000), length=st.integers(1, 3_000))
def test_a_clip_is_its_span_with_silence_in_place_of_what_is_lost_and_nothing_else(
    data: st.DataObject, begin: int, length: int
) -> None:
    epoch = remembered(begin)
    stream = np.zeros((begin + length, 1), np.int16)
    position, losses = begin, {}
    while position < begin + length:  # heard and lost, in pieces of any size
        size = data.draw(st.integers(1, 700))
        after = min(position + size, begin + length)
        if data.draw(st.booleans()):
            epoch.hear(position, numbers(position, after))
            stream[position:after] = numbers(position, after)
        else:
            cause = data.draw(st.sampled_from(["overrun", "transport"]))
            epoch.miss(Hole(position, after, cause))
            losses.update(dict.fromkeys(range(position, after), cause))
        position = after
    onset = data.draw(st.integers(0, begin + length - 1))
    offset = data.draw(st.integers(onset + 1, onset + 1_500))
    epoch.want(start(onset))
    epoch.want(end(onset, offset))
    first, last = max(0, onset - 100), min(offset + 50, max(0, onset - 100) + 1_000)
    assert epoch.is_due(epoch.wanted["e"], 0) == (last <= begin + length)
    piece = epoch.cut(epoch.wanted["e"])
    assert not epoch.wanted
    last = min(last, begin + length)
    oldest = max(begin, begin + length - epoch.capacity)
    expected = stream[first:last].copy()
    expected[: max(0, oldest - first)] = 0
    if not expected.any():
        assert piece is None
        return
    assert piece is not None
    np.testing.assert_array_equal(piece.samples, expected)
    record = piece.record
    assert (record.first_sample, record.end_sample, record.rate) == (first, last, RATE)
    assert (record.onset_sample, record.offset_sample) == (onset, offset)
    missing = {sample: gap.cause for gap in record.gaps for sample in range(gap.first_sample, gap.end_sample)}
    silent = {first + int(index) for index in np.flatnonzero(expected[:, 0] == 0)}
    assert set(missing) == silent, "all that is silent is listed, and only that"
    for sample, cause in missing.items():
        assert cause == losses.get(sample, "no longer remembered") or sample < oldest
    assert list(record.gaps) == sorted(record.gaps, key=lambda gap: gap.first_sample)
    assert record.truncated == (offset > last and last == first + 1_000)


@given(st.permutations(["start", "end", "audio before", "audio after", "scores"]))
def test_sound_and_events_may_come_in_any_order(order: list[str]) -> None:
    if order.index("audio after") < order.index("audio before"):
        return  # the sound itself comes in order
    epoch = Remembered("s", 1, RATE, True, SETTINGS)
    for step in order:
        if step == "start":
            epoch.want(start(300))
        elif step == "end":
            epoch.want(end(300, 400))
        elif step == "scores":
            epoch.decided["m"] = 600
        else:
            first, last = (0, 300) if step == "audio before" else (300, 600)
            if epoch.history is None:
                epoch.begin_with(block(first))
            epoch.hear(first, numbers(first, last))
    assert epoch.is_due(epoch.wanted["e"], epoch.decided_by(1))
    piece = cut(epoch)
    np.testing.assert_array_equal(piece.samples, numbers(200, 450))
    assert piece.record.score == 0.9
    assert (piece.record.pre_roll_s, piece.record.post_roll_s) == (1.0, 0.5)
    assert (piece.record.gaps, piece.record.notes, piece.record.truncated) == ((), (), False)
    assert piece.record.utc == "2001-09-09T01:46:40.000Z"


def test_a_clip_is_due_as_soon_as_its_last_sample_is_heard() -> None:
    epoch = remembered()
    epoch.want(start(300))
    epoch.hear(0, numbers(0, 449))
    epoch.want(end(300, 400))
    assert not epoch.is_due(epoch.wanted["e"], 0)
    epoch.hear(449, numbers(449, 450))
    assert epoch.is_due(epoch.wanted["e"], 0)


def test_an_event_longer_than_the_longest_clip_gives_its_first_part_once_it_is_certain() -> None:
    epoch = remembered()
    epoch.want(start(300))
    epoch.hear(0, numbers(0, 1_900))
    assert not epoch.is_due(epoch.wanted["e"], 1_699), "its end may still be told"
    assert epoch.is_due(epoch.wanted["e"], 1_700)
    piece = cut(epoch)
    np.testing.assert_array_equal(piece.samples, numbers(200, 1_200))
    assert piece.record.truncated
    assert piece.record.offset_sample is None
    assert piece.record.post_roll_s == 0
    epoch.want(end(300, 1_800))
    assert not epoch.wanted, "one event, one clip"


def test_a_long_event_whose_end_is_known_gives_the_same_clip_with_its_offset() -> None:
    epoch = remembered()
    epoch.want(start(300))
    epoch.want(end(300, 5_000))
    epoch.hear(0, numbers(0, 1_200))
    assert epoch.is_due(epoch.wanted["e"], 0)
    record = cut(epoch).record
    assert (record.first_sample, record.end_sample, record.offset_sample) == (200, 1_200, 5_000)
    assert record.truncated


def test_when_the_stream_ends_clips_are_cut_short_and_say_so() -> None:
    epoch = remembered()
    epoch.hear(0, numbers(0, 420))
    epoch.want(end(50, 400))
    epoch.want(start(390, "late"))
    epoch.ended = Ended(stream="s", epoch=1, end_sample=420, rate=RATE, reason="end of file", final=True)
    epoch.over_since = 0.0
    assert epoch.is_due(epoch.wanted["e"], 0)
    assert not epoch.is_due(epoch.wanted["late"], 420), "the model may still tell its end"
    assert epoch.is_due(epoch.wanted["late"], FOREVER)
    record = cut(epoch).record
    assert (record.first_sample, record.end_sample) == (0, 420)
    assert (record.pre_roll_s, record.post_roll_s) == (0.5, 0.2)
    assert record.notes == ("pre-roll shortened: the stream began", "shortened: the stream ended")
    late = cut(epoch, "late").record
    assert (late.first_sample, late.end_sample, late.offset_sample) == (290, 420, None)
    assert not late.truncated


def test_each_of_overlapping_events_has_its_clip_and_the_later_names_the_earlier() -> None:
    epoch = remembered()
    epoch.want(start(300, "a", "dog"))
    epoch.want(start(350, "b", "cat"))
    epoch.want(end(300, 400, "a", "dog"))
    epoch.want(end(350, 700, "b", "cat"))
    epoch.hear(0, numbers(0, 900))
    first, second = cut(epoch, "a"), cut(epoch, "b")
    assert [(other.id, other.label, other.offset_sample) for other in first.record.overlaps] == [("b", "cat", 700)]
    assert [(other.id, other.label) for other in second.record.overlaps] == [("a", "dog")]
    np.testing.assert_array_equal(first.samples, numbers(200, 450))
    np.testing.assert_array_equal(second.samples, numbers(250, 750))
    epoch.want(end(1_000, 1_100, "c"))
    epoch.hear(900, numbers(900, 1_200))
    assert cut(epoch, "c").record.overlaps == ()


def test_an_end_without_its_start_is_an_event_as_well() -> None:
    epoch = remembered(250)
    epoch.want(end(300, 400))
    epoch.hear(250, numbers(250, 600))
    record = cut(epoch).record
    assert (record.first_sample, record.end_sample) == (200, 450)
    (gap,) = record.gaps
    assert (gap.first_sample, gap.end_sample) == (200, 250)


def test_clips_in_danger_of_being_overwritten_are_named_before_they_are() -> None:
    epoch = remembered()
    epoch.want(start(300))
    epoch.hear(0, numbers(0, 2_000))
    assert epoch.in_danger(2_200) == []
    assert epoch.in_danger(2_201) == [epoch.wanted["e"]]


def test_memory_stays_bounded_whatever_the_channels_and_however_many_events() -> None:
    epoch = Remembered("s", 1, 768_000, True, RecorderSettings())
    wide = AudioBlock(
        stream="s", epoch=1, first_sample=7 << 40, end_sample=7 << 40, rate=768_000, channels=256, dtype="float32",
        utc_ns=0, utc_error_ns=0, heard_ns=0,
    )  # fmt: skip
    assert not epoch.begin_with(wide), "told that the history is shorter"
    assert epoch.history is not None
    assert epoch.history.nbytes <= 128 << 20
    assert epoch.limits.longest < epoch.capacity
    quick = remembered()
    for number in range(2_000):
        quick.want(end(number * 10, number * 10 + 5, str(number)))
        quick.hear(number * 10, numbers(number * 10, number * 10 + 10))
        for wanted in list(quick.wanted.values()):
            if quick.is_due(wanted, 0):
                quick.cut(wanted)
    assert len(quick._events) < 250
