"""stream/clock.py: one rule from sample index to seconds and UTC, honest about its error."""

from __future__ import annotations

import os
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.stream.clock import (
    NS,
    StreamClock,
    day,
    file_stamp,
    iso,
    parse_utc,
    seconds,
    span_ns,
    span_samples,
)

START = 1_795_255_200 * NS  # 2026-11-21T10:00:00Z
RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])


@given(RATES, st.integers(0, 1 << 50))
def test_samples_to_nanoseconds_and_back_loses_nothing(rate: int, samples: int) -> None:
    assert span_samples(span_ns(samples, rate), rate) == samples


@given(RATES, st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_later_samples_are_never_dated_earlier(rate: int, one: int, other: int) -> None:
    clock = StreamClock(rate, start_utc_ns=START)
    assert (clock.utc_ns(one) <= clock.utc_ns(other)) == (span_ns(one, rate) <= span_ns(other, rate))


def test_a_year_of_samples_is_exact_to_the_nanosecond() -> None:
    year = 365 * 24 * 3600
    assert span_ns(44_100 * year, 44_100) == year * NS
    assert seconds(48_000 * 90, 48_000) == 90.0


def test_a_file_is_dated_from_its_opening_without_error_or_drift() -> None:
    clock = StreamClock(48_000, start_utc_ns=START)
    clock.observe(48_000, START - 5 * NS, 7)  # how fast a file is read says nothing about its time
    assert clock.utc_ns(592_320) == START + 12_340_000_000
    assert (clock.utc_error_ns, clock.drift_ppm) == (0, 0.0)


def heard(
    clock: StreamClock,
    duration_s: float,
    *,
    from_s: float = 0.0,
    drift_ppm: float = 0.0,
    jitter_s: float = 0.0,
    step_at_s: float = 1e18,
    step_ns: int = 0,
    lost_s: float = 0.0,
    seed: int = 0,
    block_s: float = 0.02,
) -> int:
    """Feeds a simulated sound card: blocks that arrive late by jitter, its crystal slow by `drift_ppm`."""
    rng = random.Random(seed)
    for k in range(int(from_s / block_s), int((from_s + duration_s) / block_s)):
        sample = round((k + 1) * block_s * clock.rate)
        true_s = sample / clock.rate * (1 + drift_ppm * 1e-6) + lost_s
        late = rng.expovariate(1 / jitter_s) if jitter_s else 0.0
        monotonic = round((true_s + late) * NS) + 77 * NS
        wall = monotonic - 77 * NS + START + (step_ns if true_s >= step_at_s else 0)
        clock.observe(sample, wall, monotonic)
    return round((from_s + duration_s) * clock.rate)


@settings(max_examples=25, deadline=None)
@given(st.floats(-120, 120), st.floats(0.0, 0.02), st.integers(0, 1 << 32), st.floats(0.5, 90))
def test_utc_is_within_the_stated_error_whatever_drift_and_jitter(
    drift: float, jitter: float, seed: int, duration: float
) -> None:
    clock = StreamClock(48_000)
    end = heard(clock, duration, drift_ppm=drift, jitter_s=jitter, seed=seed, block_s=0.05)
    truth = START + round(end / 48_000 * (1 + drift * 1e-6) * NS)
    assert abs(clock.utc_ns(end) - truth) <= clock.utc_error_ns + 1_000
    assert clock.utc_error_ns < 150_000_000


@pytest.mark.parametrize("drift", [-80.0, 0.0, 50.0])
def test_drift_is_estimated_through_jitter(drift: float) -> None:
    clock = StreamClock(44_100)
    end = heard(clock, 200, drift_ppm=drift, jitter_s=0.004, seed=3)
    assert clock.drift_ppm == pytest.approx(drift, abs=3.0)
    assert clock.utc_error_ns < 3_000_000
    truth = START + round(end / 44_100 * (1 + drift * 1e-6) * NS)
    assert clock.utc_ns(end) == pytest.approx(truth, abs=1_000_000)


def test_an_hour_of_drift_does_not_pile_up() -> None:
    clock = StreamClock(16_000)
    end = heard(clock, 3600, drift_ppm=50, jitter_s=0.003, seed=5, block_s=0.2)
    assert abs(clock.utc_ns(end) - (START + round(3600 * (1 + 50e-6) * NS))) < 3_000_000
    assert clock.jumps == 0


def test_a_set_wall_clock_is_noticed_and_the_newest_setting_dates_everything() -> None:
    clock = StreamClock(16_000)
    hour = 3600 * NS
    end = heard(clock, 30, step_at_s=20, step_ns=hour)
    assert (clock.wall_steps, clock.last_wall_step_ns) == (1, hour)
    assert clock.utc_ns(end) == pytest.approx(START + 30 * NS + hour, abs=1_000_000)
    assert clock.drift_ppm == pytest.approx(0.0, abs=0.01)  # it is no drift


def test_sound_that_went_missing_unseen_is_noticed_and_what_follows_is_dated_rightly() -> None:
    clock = StreamClock(16_000)
    heard(clock, 30, jitter_s=0.002)
    end = heard(clock, 20, from_s=30, lost_s=5, jitter_s=0.002)
    assert clock.jumps == 1
    assert clock.last_jump_ns == pytest.approx(5 * NS, abs=0.1 * NS)
    assert clock.utc_ns(end) == pytest.approx(START + 55 * NS, abs=20_000_000)


def test_a_backlog_that_is_delivered_in_a_burst_does_not_shift_time() -> None:
    clock = StreamClock(16_000)
    heard(clock, 30)
    for k in range(50):  # one second of sound that came all at once, a second late
        end = round((30 + (k + 1) * 0.02) * 16_000)
        clock.observe(end, START + 31 * NS, 77 * NS + 31 * NS)
    end = heard(clock, 20, from_s=31)
    assert clock.jumps == 0
    assert clock.utc_ns(end) == pytest.approx(START + 51 * NS, abs=5_000_000)


def test_before_anything_was_heard_the_error_is_large_and_not_zero() -> None:
    assert StreamClock(48_000).utc_error_ns >= NS


def test_unknown_latency_is_part_of_the_stated_error() -> None:
    clock = StreamClock(48_000, latency_error_ns=30_000_000)
    heard(clock, 2)
    assert clock.utc_error_ns >= 30_000_000


def test_iso_cuts_and_file_stamps_hold_no_colon() -> None:
    assert iso(START + 12_340_999_999) == "2026-11-21T10:00:12.340Z"
    assert file_stamp(START + 12_340_999_999) == "2026-11-21T10-00-12.340Z"
    assert day(START + 14 * 3600 * NS) == "2026-11-22"


@given(st.integers(0, 4_000_000_000_000))
def test_what_was_written_can_be_read_back(utc_ms: int) -> None:
    assert parse_utc(iso(utc_ms * 1_000_000)) == utc_ms * 1_000_000
    assert parse_utc(file_stamp(utc_ms * 1_000_000)) == utc_ms * 1_000_000


def test_file_stamps_sort_by_time() -> None:
    moments = sorted(random.Random(1).sample(range(START, START + 10**18), 200))
    assert [file_stamp(moment) for moment in moments] == sorted(file_stamp(moment) for moment in moments)


def test_the_time_zone_of_the_machine_never_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    before = iso(START), day(START), parse_utc("2026-11-21T10:00:12.340Z")
    with monkeypatch.context() as patch:
        patch.setitem(os.environ, "TZ", "Pacific/Kiritimati")
        time.tzset()
        assert (iso(START), day(START), parse_utc("2026-11-21T10:00:12.340Z")) == before
    time.tzset()


def test_text_that_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="does not match"):
        parse_utc("yesterday")
