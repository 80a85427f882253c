"""The parts of the front end's measurements that can be held to a known answer; figures are for docs/benchmarks.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from earwitness.models.bench import contenders, frontend, rounds
from earwitness.models.bench.contenders import BLOCKS, DESCRIPTORS, STREAMS, ours
from earwitness.models.bench.frontend import Figures
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.spec import FrontEndSpec

FLOOR = {"FFT by a, 128 frames": 0.3, "FFT by b, 128 frames": 0.2, "mel product by a, 128 frames": 0.1}


def figures(**others: Any) -> Figures:
    """Of log-mel alone: 1 s of CPU for a second of sound, 8 with kaldi, half of all that in the second round."""
    costs = {ours("log_mel", streams, block): 1.0 for streams in STREAMS for block in BLOCKS} | FLOOR
    costs |= {f"kaldi, {block}": 8.0 for block in BLOCKS}
    half = {case: cost / 2 for case, cost in costs.items()}
    told = Figures(rounds=[costs, half], missing={}, wall={}, memory={}, age={})
    return dataclasses.replace(told, **others)


def table(lines: Iterator[str]) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


def test_a_ratio_is_taken_within_each_round_where_the_machine_was_the_same() -> None:
    slower = [{"a": 1.0, "b": 3.0}, {"a": 10.0, "b": 20.0}, {"a": 4.0, "b": 16.0}]
    assert figures(rounds=slower).faster("a", than="b") == 3.0
    assert figures(rounds=slower).speed("a") == 0.25


def test_the_floor_is_the_fastest_fft_and_the_fastest_product_with_their_times_added() -> None:
    assert figures().times_floor(ours("log_mel", 256, "1 s")) == pytest.approx(1 / 0.3)
    assert figures().floor_speed() == pytest.approx(np.median([1 / 0.3, 2 / 0.3]))


def test_each_goal_is_told_with_its_figure_and_whether_it_is_met() -> None:
    goals = table(frontend.goal_lines(figures()))
    assert goals["log-mel, 256 streams, 10 ms blocks: its time over the floor's"] == ["3.33", "<= 2", "**missed**"]
    rival = "log-mel, 1000 streams, 1 s blocks: times as fast as kaldi-native-fbank"
    assert goals[rival] == ["8.00", ">= 8", "met"]


def test_who_is_not_installed_is_named_with_the_command_and_has_no_row() -> None:
    lone = [{case: cost for case, cost in costs.items() if "kaldi" not in case} for costs in figures().rounds]
    missing = {"kaldi_native_fbank": "pip install kaldi-native-fbank"}
    lines = list(frontend.front_end_lines(figures(rounds=lone, missing=missing)))
    assert "Not measured, since it is not installed: kaldi_native_fbank (`pip install kaldi-native-fbank`)." in lines
    assert not [line for line in lines if "OnlineFbank" in line or "as fast as kaldi" in line]


def test_tables_have_a_column_for_each_block_length() -> None:
    rows = table(frontend.log_mel_lines(figures()))
    assert rows["in blocks of"] == list(BLOCKS)
    assert rows["1,000 streams"] == ["2", "2", "2"]  # the median of 1 and 2, told without decimals


def test_memory_and_wall_time_are_told_row_by_row() -> None:
    age = {"young_us": 30.2, "pushes": 100000, "old_us": 29.9}
    age |= {"grown_resident_bytes": 0, "traced": 1, "grown_bytes": 64}
    lines = frontend.memory_lines(figures(age={"log_mel": age}, memory={"log_mel": 2048}))
    assert table(lines)["log_mel"] == ["2,048", "30", "100,000", "30", "0", "1", "64"]
    wall = {"kaldi, 10 ms": {"one thread": 1000.0, "two threads": 1500.0}}
    assert table(frontend.wall_lines(figures(wall=wall)))["kaldi, 10 ms"] == ["1,000", "1,500"]


def test_measuring_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontend.sys, "executable", "false")
    with pytest.raises(EarwitnessError, match="ended with 1"):
        frontend.measured()


def test_every_case_of_the_front_end_and_the_floor_works_and_tells_how_much_sound_that_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contenders, "STREAMS", (1, 3))
    monkeypatch.setattr(contenders, "CWT_STREAMS", 2)
    monkeypatch.setattr(contenders, "BLOCKS", {"10 ms": 160, "100 ms": 1600})
    cases = dict(contenders._ours())
    assert cases[ours("log_mel", 3, "10 ms")]()() == pytest.approx(0.03)
    assert all(make()() > 0 for make in cases.values())
    assert all(make()() == pytest.approx(int(name.split()[-2]) / 100) for name, make in contenders._floor())


@pytest.mark.parametrize("peer", ["librosa", "torchaudio", "kaldi_native_fbank", "opensmile"])
@pytest.mark.filterwarnings("ignore")  # others' own
def test_every_case_of_the_others_works(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch" if peer == "torchaudio" else peer)
    monkeypatch.setattr(contenders, "WHOLE_S", 3)
    contenders.sound.cache_clear()
    try:
        for name, make in contenders._PEERS[peer]():
            if "256 clips" not in name:
                assert make()() > 0, name
    finally:
        contenders.sound.cache_clear()


def test_streams_get_blocks_that_follow_each_other_each_from_its_own_place() -> None:
    first, second = contenders.blocks_of(2, 16000)
    start = 7919
    np.testing.assert_array_equal(np.concatenate((first["s1"], second["s1"])), contenders.sound()[start:][:32000])
    assert not np.array_equal(first["s0"], first["s1"])


def test_the_descriptors_are_those_of_time_and_of_frequency() -> None:
    assert {"rms", "spectral_centroid"} <= set(DESCRIPTORS)
    assert not {"log_mel", "stft"} & set(DESCRIPTORS)


def test_the_wavelets_have_64_scales() -> None:
    assert contenders.SPECS["cwt"].dims in (64, 128)  # a scale may have a real and an imaginary part
    assert isinstance(contenders.SPECS["log_mel"], FrontEndSpec)


def test_rounds_measure_every_case_in_each_round() -> None:
    calls = []

    def make() -> contenders.Step:
        def step() -> float:
            calls.append(sum(range(20000)))
            return 2.0

        return step

    told = rounds.rounds({"a": make, "b": make}, duration_s=0.0)
    assert [sorted(costs) for costs in told] == [["a", "b"]] * rounds.FEWEST_ROUNDS
    assert all(cost > 0 for costs in told for cost in costs.values())
    assert len(calls) > 10


def test_a_stream_that_grows_old_grows_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "TIMED", 50)
    told = rounds.age("log_mel", 2000, 20.0)
    assert told["grown_bytes"] < 2000  # a byte a push would be a leak
    assert told["pushes"] == told["traced"] == 2000
