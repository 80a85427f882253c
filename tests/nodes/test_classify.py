"""The classify node: the windows of the whole, in any company; events once; gaps end what was going on."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.models.bundle import State
from earwitness.models.runtime import Scorer
from earwitness.nodes import classify
from earwitness.nodes.classify import BATCH, ClassifyNode, event_id
from earwitness.nodes.node import Job
from earwitness.stream.config import Config, build
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec, silence
from earwitness.stream.messages import Alarm, Ended, EventEnd, EventStart, FeatureBlock, Gap, LedgerRow, ScoreBlock
from earwitness.stream.testing import MemoryBus
from earwitness.stream.windowing import windows_of

SPEC = FrontEndSpec()
LENGTH, HOP = 96, 24
FRAME = SPEC.hop_length
STATES = [State(input="memory", output="next_memory", shape=[1])]

Scores = NDArray[np.float32]


class LoudIsDog:
    """A model that hears a dog wherever it is loud, and counts how it was asked."""

    device = "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def scores(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        self.batches.append(len(windows))
        loud = (windows.max(axis=(1, 2)) > -30).astype(np.float32) * np.float32(0.9)
        return np.stack([loud, 1 - loud], axis=1)


class Listener:
    """A stateful model: it hears a dog as long as it remembers something loud, and that fades by half with each hop."""

    device = "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def call(self, windows: Scores, states: Mapping[str, Scores]) -> tuple[Scores, dict[str, Scores]]:
        self.batches.append(len(windows))
        loud = (windows.max(axis=(1, 2)) > -30).astype(np.float32)[:, None]
        memory = np.maximum(loud, states["memory"] / 2)
        return np.concatenate([memory * np.float32(0.9), 1 - memory], axis=1), {"memory": memory}

    def scores(self, windows: Scores) -> Scores:
        return Scorer(self, STATES).scores(windows, [0] * len(windows))


class GoneGpu(Listener):
    """The same on a GPU that fails at its third call and ever after."""

    device = "cuda"

    def call(self, windows: Scores, states: Mapping[str, Scores]) -> tuple[Scores, dict[str, Scores]]:
        if len(self.batches) == 2:
            raise RuntimeError("CUDA error: device lost\nmore lines that nobody needs")
        return super().call(windows, states)


class Bench:
    """A classify node on a bus in memory, and the hands to feed it."""

    def __init__(self, model: Any = None, **job: Any):
        self.model = model or LoudIsDog()
        stateful = isinstance(self.model, Listener)
        manifest = SimpleNamespace(
            name="dogs", front_end=SPEC, labels=["dog", "background"], background="background",
            thresholds={"dog": 0.5}, detection={"smooth_windows": 1}, window_frames=10 if stateful else LENGTH,
            hop_frames=10 if stateful else HOP, states=STATES if stateful else [],
        )  # fmt: skip
        bundle: Any = SimpleNamespace(manifest=manifest, tag="dogs@abcdef")
        self.bus = MemoryBus()
        self.sender = self.bus.publisher()
        told = Job(**{"node": "classify", "config": Config(), **job})
        self.node = ClassifyNode(told, self.bus.publisher(), bundle=bundle, runtime=self.model)
        self.inbox = self.bus.subscriber(self.node.subscriptions()[0])

    def features(self, frames: NDArray[np.float32], first: int, stream: str = "s", segment: int = 0) -> None:
        block = FeatureBlock(
            stream=stream, epoch=1, front_end=SPEC.hash, first_sample=segment + first * FRAME,
            end_sample=segment + (first + len(frames)) * FRAME, rate=16000, segment_sample=segment, first_frame=first,
            frames=len(frames), dims=64, utc_ns=(segment + first * FRAME) * 62_500, utc_error_ns=0, heard_ns=0,
            computed_ns=0,
        )  # fmt: skip
        assert self.sender.send(f"features/{SPEC.hash}/{stream}", block, frames.astype("<f4").tobytes())

    def gap(self, first: int, end: int, stream: str = "s") -> None:
        gap = Gap(
            stream=stream, epoch=1, first_sample=first, end_sample=end, rate=16000, cause="overrun", place="capture"
        )
        assert self.sender.send(f"features/{SPEC.hash}/{stream}", gap)

    def end(self, end: int, stream: str = "s") -> None:
        ended = Ended(stream=stream, epoch=1, end_sample=end, rate=16000, reason="end of file", final=True)
        assert self.sender.send(f"features/{SPEC.hash}/{stream}", ended)

    def run(self) -> None:
        while envelopes := self.inbox.receive(0.0):
            self.node.handle(envelopes)

    def scores(self, stream: str = "s") -> NDArray[np.float32]:
        parts = [
            np.frombuffer(envelope.payload, "<f4").reshape(-1, 2)
            for envelope in self.bus.sent
            if isinstance(envelope.message, ScoreBlock) and envelope.message.stream == stream
        ]
        return np.concatenate(parts) if parts else np.empty((0, 2), np.float32)


def bark(frames: int, first: int, last: int) -> NDArray[np.float32]:
    """Quiet, but for a sound from frame `first` to `last`."""
    values = np.full((frames, 64), -90, np.float32)
    values[first:last] = -20
    return values


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=12))
def test_any_portions_give_the_scores_of_the_whole(portions: list[int]) -> None:
    whole = bark(sum(portions), 100, 160)
    bench, first = Bench(), 0
    for portion in portions:
        bench.features(whole[first : first + portion], first)
        first += portion
        bench.run()
    bench.end(first * FRAME)
    bench.run()
    windows = windows_of(whole, LENGTH, HOP, silence(SPEC))
    np.testing.assert_array_equal(bench.scores(), bench.model.scores(windows) if len(windows) else np.empty((0, 2)))


def test_one_sound_is_one_event_with_its_onset_and_offset() -> None:
    bench = Bench()
    bench.features(bark(500, 200, 250), 0)
    bench.end(500 * FRAME)
    bench.run()
    (start,) = bench.bus.of(EventStart)
    (end,) = bench.bus.of(EventEnd)
    assert start.id == end.id
    assert (start.label, start.score, start.model) == ("dog", 0.9, "dogs@abcdef")
    assert abs(start.onset_sample - 200 * FRAME) <= 2 * FRAME
    assert abs(end.offset_sample - 250 * FRAME) <= 3 * FRAME
    assert start.utc_ns == start.onset_sample * 62_500


def test_a_start_is_told_before_the_sound_is_over() -> None:
    bench = Bench()
    bench.features(bark(400, 200, 400), 0)
    bench.run()
    assert len(bench.bus.of(EventStart)) == 1
    assert bench.bus.of(EventEnd) == []


def test_a_gap_ends_what_was_going_on_and_travels_on() -> None:
    bench = Bench()
    bench.features(bark(300, 200, 300), 0)
    bench.gap(300 * FRAME, 350 * FRAME)
    bench.features(bark(300, 0, 50), 0, segment=350 * FRAME)
    bench.end(650 * FRAME)
    bench.run()
    assert [start.onset_sample >= 350 * FRAME for start in bench.bus.of(EventStart)] == [False, True]
    first, second = bench.bus.of(EventEnd)
    assert first.offset_sample <= 300 * FRAME + SPEC.n_fft
    assert second.offset_sample <= 402 * FRAME
    kinds = [type(e.message).__name__ for e in bench.bus.sent if e.topic == "scores/dogs@abcdef/s"]
    assert kinds.index("Gap") > 0
    assert kinds[-1] == "Ended"
    (row,) = bench.node.ledger_rows()
    assert (row.received, row.lost, row.next_sample) == (600 * FRAME, {"overrun": 50 * FRAME}, 650 * FRAME)


def test_features_that_never_came_are_a_hole_in_the_ledger() -> None:
    bench = Bench()
    whole = bark(400, 0, 0)
    bench.features(whole[:150], 0)
    bench.features(whole[200:], 200)
    bench.end(400 * FRAME)
    bench.run()
    (row,) = bench.node.ledger_rows()
    assert row.lost == {"transport": 50 * FRAME}
    assert [(gap.first_sample, gap.end_sample) for gap in bench.bus.of(Gap)] == [(150 * FRAME, 200 * FRAME)]


def test_windows_of_many_streams_share_a_batch() -> None:
    bench = Bench()
    for number in range(8):
        bench.features(bark(LENGTH + 3 * HOP, 0, 0), 0, stream=f"s{number}")
    bench.run()
    bench.node._waiting_since -= 1
    bench.node.tick()
    assert bench.model.batches == [BATCH]


def test_a_window_waits_for_company_no_longer_than_the_deadline() -> None:
    bench = Bench()
    for number in range(classify.COMPANY):
        bench.features(bark(LENGTH - 1, 0, 0), 0, stream=f"s{number}")
    bench.features(bark(1, 0, 0), LENGTH - 1, stream="s0")
    bench.run()
    assert bench.model.batches == []
    assert 0 < bench.node.tick() <= classify.DEADLINE_S
    bench.node._waiting_since -= classify.DEADLINE_S
    bench.node.tick()
    assert bench.model.batches == [1]


def test_spans_of_the_scores_tile_the_stream() -> None:
    bench = Bench()
    for first in range(0, 500, 7):
        bench.features(bark(500, 0, 0)[first : first + 7], first)
        bench.run()
    position = 0
    for block in bench.bus.of(ScoreBlock):
        assert block.first_sample == position
        assert len(block.spans) == 1 or block.first_window == 0
        position = block.end_sample
    assert position > 480 * FRAME


def test_results_wait_for_a_monitor_that_starts_again_each_time_anew(monkeypatch: Any) -> None:
    now = [0.0]
    monkeypatch.setattr(classify.time, "monotonic", lambda: now[0])
    bench = Bench()
    sender: Any = bench.node.publisher
    deliver, away_s = sender.send, [0.0]

    def send(topic: str, message: Any, payload: bytes = b"", *, wait: bool = False, give_up: Any = None) -> bool:
        back_at = now[0] + away_s[0]
        while now[0] < back_at:
            now[0] += 0.05
            if give_up():
                return False
        return bool(deliver(topic, message, payload))

    sender.send, sender.heard = send, lambda topic: False
    for number, seconds in enumerate((1.0, 0.0, 3.0, 0.0)):
        away_s[0] = seconds
        bench.features(bark(LENGTH, 0, 0), number * LENGTH)
        bench.run()
        away_s[0] = 0.0
        now[0] += 600.0
    assert bench.node.counts["unheard"] == 0
    away_s[0] = 30.0  # nobody comes back: not for ever
    began = now[0]
    bench.features(bark(LENGTH, 0, 0), 4 * LENGTH)
    bench.run()
    assert now[0] - began < 3 * classify.UNHEARD_S
    assert bench.node.counts["unheard"] > 0


def test_a_threshold_of_the_run_goes_before_the_bundles() -> None:
    config = build({"models": [{"bundle": "dogs", "thresholds": {"dog": 0.95}}]}, "a test")
    bench = Bench(part="dogs", config=config)
    bench.features(bark(500, 200, 250), 0)
    bench.end(500 * FRAME)
    bench.run()
    assert bench.bus.of(EventStart) == []


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 35)), min_size=1, max_size=20), st.booleans())
def test_streams_of_a_stateful_model_that_are_out_of_step_score_as_each_does_alone(
    portions: list[tuple[str, int]], company: bool
) -> None:
    whole = {name: bark(35 * len(portions), 12 * at, 12 * at + 20) for at, name in enumerate("abc")}
    bench, heard = Bench(Listener()), dict.fromkeys("abc", 0)
    for name, length in portions:
        first = heard[name]
        bench.features(whole[name][first : first + length], first, stream=name)
        heard[name] += length
        if not company:
            bench.run()
    bench.run()
    for name, frames in heard.items():
        bench.end(frames * FRAME, stream=name)
    bench.run()
    for name, frames in heard.items():
        windows = windows_of(whole[name][:frames], 10, 10, silence(SPEC))
        expected = Listener().scores(windows) if len(windows) else np.empty((0, 2))
        np.testing.assert_array_equal(bench.scores(name), expected)


def test_what_a_stateful_model_remembers_ends_with_the_segment() -> None:
    bench = Bench(Listener())
    bench.features(bark(24, 0, 24), 0)
    bench.features(bark(30, 0, 0), 0, stream="other")
    bench.gap(24 * FRAME, 50 * FRAME)
    bench.features(bark(30, 0, 0), 0, segment=50 * FRAME)
    bench.run()
    assert bench.scores()[:, 0].tolist() == [np.float32(0.9)] * 3 + [0.0] * 3
    bench.end(80 * FRAME)
    bench.end(30 * FRAME, stream="other")
    bench.run()
    assert len(bench.bus.of(EventEnd)) == 1


def test_one_stream_in_haste_is_stepped_in_order_and_many_share_a_call() -> None:
    bench = Bench(Listener())
    bench.features(bark(40, 0, 10), 0)
    bench.run()
    assert bench.model.batches == [1, 1, 1, 1]
    for number in range(6):
        bench.features(bark(20, 0, 0), 0, stream=f"s{number}")
    bench.run()
    bench.node._waiting_since -= 1
    bench.node.tick()
    assert bench.model.batches[4:] == [6, 6]


def test_a_gpu_that_fails_is_an_alarm_and_the_cpu_goes_on_where_it_was(monkeypatch: Any) -> None:
    asked: list[str] = []

    def open_cpu(bundle: Any, device: str) -> Listener:
        asked.append(device)
        return Listener()

    monkeypatch.setattr(classify, "open_runtime", open_cpu)
    benches = [Bench(GoneGpu()), Bench(Listener())]
    for bench in benches:
        for first in range(0, 90, 10):
            bench.features(bark(90, 15, 30)[first : first + 10], first)
            bench.run()
        bench.end(90 * FRAME)
        bench.run()
    gone, sound = benches
    np.testing.assert_array_equal(gone.scores(), sound.scores())
    assert [(e.label, e.onset_sample, e.score) for e in gone.bus.of(EventStart)] == [
        (e.label, e.onset_sample, e.score) for e in sound.bus.of(EventStart)
    ]
    assert len(gone.bus.of(EventStart)) == 1
    (alarm,) = gone.bus.of(Alarm)
    assert (alarm.name, alarm.state) == ("gpu-gone", "raised")
    assert alarm.text == "dogs@abcdef goes on on the CPU, as the GPU failed: CUDA error: device lost"
    assert asked == ["cpu"]
    assert sound.bus.of(Alarm) == []


def test_a_node_that_is_started_anew_without_its_gpu_goes_on_on_the_cpu(monkeypatch: Any) -> None:
    def without_gpu(bundle: Any, device: str) -> Listener:
        if device != "cpu":
            raise EarwitnessError("device 'cuda': no NVIDIA GPU is to be seen")
        return Listener()

    monkeypatch.setattr(classify, "open_runtime", without_gpu)
    bundle = Bench(Listener()).node.bundle
    config, bus = build({"device": "cuda"}, "a test"), MemoryBus()
    with pytest.raises(EarwitnessError, match="no NVIDIA GPU"):
        ClassifyNode(Job(node="classify", config=config), bus.publisher(), bundle=bundle)
    row = LedgerRow(stream="s", epoch=1, place="classify dogs@abcdef", rate=16000, received=10, lost={}, next_sample=10,
                    ended=False, final=False)  # fmt: skip
    node = ClassifyNode(Job(node="classify", config=config, ledger=(row,)), bus.publisher(), bundle=bundle)
    assert [alarm.name for alarm in bus.of(Alarm)] == ["gpu-gone"]
    assert node.ledger_rows() == (row,)


def test_an_event_id_is_a_ulid_that_sorts_by_time() -> None:
    ids = [event_id(time_ns) for time_ns in (1_700_000_000_000_000_000, 1_700_000_000_001_000_000, 1 << 61)]
    assert all(len(each) == 26 for each in ids)
    assert ids == sorted(ids)
    assert ids[0].startswith("01HF7YAT00")
