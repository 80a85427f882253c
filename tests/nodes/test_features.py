"""The features node: frames are those of the whole sound, gaps begin new segments, nothing goes uncounted."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.nodes import features
from earwitness.nodes.features import FeaturesNode, Wanted, mix_down
from earwitness.nodes.node import Job
from earwitness.stream.config import Config
from earwitness.stream.features.frontend import FrontEndSpec, compute
from earwitness.stream.messages import AudioBlock, Ended, FeatureBlock, Gap, LedgerRow, Spectrum
from earwitness.stream.resample import resample
from earwitness.stream.testing import MemoryBus

SPEC = FrontEndSpec()
AT_ONCE = Wanted(SPEC)


class Bench:
    """A features node on a bus in memory, and the hands to feed it."""

    def __init__(
        self,
        ledger: tuple[LedgerRow, ...] = (),
        wanted: Wanted = AT_ONCE,
        part: str = "",
        streams: tuple[str, ...] = (),
        bus: MemoryBus | None = None,
    ):
        self.bus = bus or MemoryBus()
        self.sender = self.bus.publisher()
        job = Job(node="features", part=part, streams=streams, config=Config(), ledger=ledger)
        self.node = FeaturesNode(job, self.bus.publisher(), wanted=[wanted])
        self.inbox = self.bus.subscriber(self.node.subscriptions()[0])
        self.inbox.ignores = self.node.ignores

    def audio(
        self, samples: NDArray[np.int16], first: int, stream: str = "s", epoch: int = 1, rate: int = 16000
    ) -> None:
        block = AudioBlock(
            stream=stream, epoch=epoch, first_sample=first, end_sample=first + len(samples), rate=rate,
            channels=samples.shape[1] if samples.ndim == 2 else 1, dtype="int16", utc_ns=first * 62_500, utc_error_ns=0,
            heard_ns=1,
        )  # fmt: skip
        assert self.sender.send(f"audio/{stream}", block, samples.astype("<i2").tobytes())

    def gap(self, first: int, end: int, stream: str = "s", cause: str = "overrun") -> None:
        gap = Gap(stream=stream, epoch=1, first_sample=first, end_sample=end, rate=16000, cause=cause, place="capture")
        assert self.sender.send(f"audio/{stream}", gap)

    def end(self, samples: int, stream: str = "s", rate: int = 16000) -> None:
        ended = Ended(stream=stream, epoch=1, end_sample=samples, rate=rate, reason="end of file", final=True)
        assert self.sender.send(f"audio/{stream}", ended)

    def run(self) -> None:
        while envelopes := self.inbox.receive(0.0):
            self.node.handle(envelopes)

    def run_one_by_one(self) -> None:
        while envelopes := self.inbox.receive(0.0, at_most=1):
            self.node.handle(envelopes)

    def frames(self, stream: str = "s", segment: int = 0) -> NDArray[np.float32]:
        parts, next_frame = [], 0
        for envelope in self.bus.sent:
            message = envelope.message
            if isinstance(message, FeatureBlock) and message.stream == stream and message.segment_sample == segment:
                assert message.first_frame == next_frame
                next_frame += message.frames
                parts.append(np.frombuffer(envelope.payload, "<f4").reshape(message.frames, message.dims))
        return np.concatenate(parts) if parts else np.empty((0, 64), np.float32)


def noise(samples: int, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-8000, 8000, samples).astype(np.int16)


def offline(samples: NDArray[np.int16], rate: int = 16000) -> NDArray[np.float32]:
    mono = samples.astype(np.float32) / 32768
    return compute(SPEC, mono if rate == 16000 else resample(mono, rate, 16000))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12), st.sampled_from([16000, 44100, 48000]))
def test_any_blocks_give_the_frames_of_the_whole(sizes: list[int], rate: int) -> None:
    bench, whole = Bench(), noise(sum(sizes))
    first = 0
    for size in sizes:
        bench.audio(whole[first : first + size], first, rate=rate)
        first += size
        bench.run()
    bench.end(first, rate=rate)
    bench.run()
    np.testing.assert_array_equal(bench.frames(), offline(whole, rate))


def test_spans_of_the_feature_blocks_tile_the_stream() -> None:
    bench, whole = Bench(), noise(5000)
    for first in range(0, 5000, 321):
        bench.audio(whole[first : first + 321], first)
        bench.run()
    bench.end(5000)
    bench.run()
    position = 0
    for block in bench.bus.of(FeatureBlock):
        assert block.first_sample == position
        position = block.end_sample
    assert position == 5000
    (row,) = bench.node.ledger_rows()
    assert (row.received, row.lost, row.ended, row.final) == (5000, {}, True, True)


def test_streams_do_not_touch_each_other() -> None:
    bench = Bench()
    for first in range(0, 4000, 500):
        for number in range(3):
            bench.audio(noise(4000, number)[first : first + 500], first, stream=f"s{number}")
    bench.run()
    for number in range(3):
        np.testing.assert_array_equal(bench.frames(f"s{number}"), offline(noise(4000, number)))


def test_a_gap_ends_the_segment_and_travels_on_in_order() -> None:
    bench, whole = Bench(), noise(9000)
    bench.audio(whole[:3000], 0)
    bench.gap(3000, 5000)
    bench.audio(whole[5000:], 5000)
    bench.end(9000)
    bench.run()
    np.testing.assert_array_equal(bench.frames(segment=0), offline(whole[:3000]))
    np.testing.assert_array_equal(bench.frames(segment=5000), offline(whole[5000:]))
    (gap,) = bench.bus.of(Gap)[1:]  # the first is the one that came in
    assert (gap.first_sample, gap.end_sample, gap.cause, gap.place) == (3000, 5000, "overrun", "capture")
    (row,) = bench.node.ledger_rows()
    assert row.received == 7000
    assert row.lost == {"overrun": 2000}


def test_a_block_that_never_came_is_found_by_its_index() -> None:
    bench, whole = Bench(), noise(3000)
    bench.audio(whole[:1000], 0)
    bench.audio(whole[2000:], 2000)
    bench.end(3500)
    bench.run()
    (row,) = bench.node.ledger_rows()
    assert row.lost == {"transport": 1500}
    assert [(gap.first_sample, gap.end_sample) for gap in bench.bus.of(Gap)] == [(1000, 2000), (3000, 3500)]


def test_a_node_that_was_restarted_names_what_it_missed() -> None:
    row = LedgerRow(
        stream="s", epoch=1, place="features", rate=16000, received=800, lost={}, next_sample=800, ended=False,
        final=False,
    )  # fmt: skip
    bench = Bench(ledger=(row,))
    bench.audio(noise(1000), 2000)
    bench.run()
    (row,) = bench.node.ledger_rows()
    assert (row.received, row.lost, row.next_sample) == (1800, {"restart": 1200}, 3000)


def test_samples_that_came_twice_are_heard_once() -> None:
    bench, whole = Bench(), noise(3000)
    bench.audio(whole[:2000], 0)
    bench.audio(whole[1000:3000], 1000)
    bench.audio(whole[:500], 0)
    bench.end(3000)
    bench.run()
    np.testing.assert_array_equal(bench.frames(), offline(whole))


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_channels_are_mixed_to_full_scale_one(dtype: str) -> None:
    scale = {"int16": 32768, "int32": 2**31, "float32": 1}[dtype]
    samples = (np.array([[0.5, 0.25], [-0.5, 0.0]]) * scale).astype(dtype)
    block = AudioBlock(
        stream="s", epoch=1, first_sample=0, end_sample=2, rate=8000, channels=2, dtype=dtype, utc_ns=0, utc_error_ns=0,
        heard_ns=0,
    )  # fmt: skip
    np.testing.assert_allclose(mix_down(block, memoryview(samples.tobytes())), [0.375, -0.25])


def test_samples_that_are_no_sound_are_counted_and_silent() -> None:
    bench = Bench()
    broken = np.zeros(1000, np.float32)
    broken[[3, 700]] = np.nan, np.inf
    block = AudioBlock(
        stream="s", epoch=1, first_sample=0, end_sample=1000, rate=16000, channels=1, dtype="float32", utc_ns=0,
        utc_error_ns=0, heard_ns=0,
    )  # fmt: skip
    bench.sender.send("audio/s", block, broken.astype("<f4").tobytes())
    bench.run()
    np.testing.assert_array_equal(bench.frames(), compute(SPEC, np.zeros(1000, np.float32)))
    assert bench.node.counts["replaced_samples"] == 2
    assert bench.bus.of(FeatureBlock)[0].replaced == 2


def test_a_front_end_may_have_several_features() -> None:
    spec = FrontEndSpec(feature=("log_mel", "log_mel_delta", "mel"))
    bench, whole = Bench(wanted=Wanted(spec)), noise(9000)
    for first in range(0, 9000, 700):
        bench.audio(whole[first : first + 700], first)
        bench.run()
    bench.end(9000)
    bench.run()
    np.testing.assert_array_equal(bench.frames(), compute(spec, whole.astype(np.float32) / 32768))


def test_frames_are_held_until_they_complete_a_window() -> None:
    bench, whole = Bench(wanted=Wanted(SPEC, window_frames=96, hop_frames=24)), noise(48_000)
    for first in range(0, 48_000, 320):
        bench.audio(whole[first : first + 320], first)
    bench.run_one_by_one()
    published = [block.first_frame + block.frames for block in bench.bus.of(FeatureBlock)]
    assert [(frames - 96) // 24 for frames in published] == list(range(len(published)))
    assert all((frames - 96) % 24 < 2 for frames in published)  # at once, with the block that completed it
    bench.end(48_000)
    bench.run()
    np.testing.assert_array_equal(bench.frames(), offline(whole))
    assert bench.bus.of(FeatureBlock)[-1].end_sample == 48_000


def test_the_time_of_a_block_is_that_of_its_first_sample() -> None:
    bench, whole = Bench(wanted=Wanted(SPEC, window_frames=96, hop_frames=24)), noise(48_000)
    for first in range(0, 48_000, 320):
        bench.audio(whole[first : first + 320], first)
    bench.run_one_by_one()
    assert all(block.utc_ns == block.first_sample * 62_500 for block in bench.bus.of(FeatureBlock))


@pytest.mark.parametrize("known", [True, False])
def test_workers_take_the_streams_of_their_share_alone_and_give_the_frames_that_one_node_gives(known: bool) -> None:
    names = tuple(f"s{number}" for number in range(6))
    streams = names if known else ()
    first = Bench(part="1/2", streams=streams)
    second = Bench(part="2/2", streams=streams, bus=first.bus)
    for number, name in enumerate(names):
        first.audio(noise(2000, number), 0, stream=name)
        first.end(2000, stream=name)
    first.run()
    second.run()
    held = [{row.stream for row in bench.node.ledger_rows()} for bench in (first, second)]
    assert held[0]
    assert held[1]
    assert not held[0] & held[1]
    assert held[0] | held[1] == set(names)
    for number, name in enumerate(names):
        np.testing.assert_array_equal(first.frames(name), offline(noise(2000, number)))


def test_a_worker_that_was_restarted_goes_on_with_its_own_share() -> None:
    names = ("a", "b", "c")
    before, after = Bench(part="2/2", streams=names), Bench(part="2/2", streams=names)
    assert before.node.subscriptions() == after.node.subscriptions() == (("audio/b",), ())


class TestSpectrum:
    def test_a_screen_that_listens_is_shown_the_levels_a_few_times_a_second(self, monkeypatch: Any) -> None:
        now = [0.0]
        monkeypatch.setattr(features.time, "monotonic", lambda: now[0])
        bench, whole = Bench(), noise(16_000)
        for first in range(0, 16_000, 320):
            bench.audio(whole[first : first + 320], first)
            bench.run()
            now[0] += 0.02
        shown = bench.bus.of(Spectrum)
        assert 8 <= len(shown) <= 10
        for earlier, later in itertools.pairwise(shown):
            assert later.first_sample == earlier.end_sample
        payloads = [envelope.payload for envelope in bench.bus.sent if isinstance(envelope.message, Spectrum)]
        assert all(len(payload) == len(shown[0].bands_hz) for payload in payloads)
        assert all(min(payload) > 0 for payload in payloads)

    def test_a_file_that_is_read_fast_is_shown_as_seldom(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(features.time, "monotonic", lambda: 7.0)
        bench = Bench()
        for first in range(0, 160_000, 16_000):
            bench.audio(noise(16_000), first)
            bench.run()
        assert len(bench.bus.of(Spectrum)) == 1

    def test_nothing_is_computed_for_nobody(self, monkeypatch: Any) -> None:
        bench = Bench()
        monkeypatch.setattr(bench.node.publisher, "heard", lambda topic: False)
        monkeypatch.setattr(features.Bands, "power", None)
        bench.audio(noise(16_000), 0)
        bench.run()
        assert bench.bus.of(Spectrum) == []

    def test_without_log_mels_there_is_none(self) -> None:
        bench = Bench(wanted=Wanted(FrontEndSpec(feature="mel")))
        bench.audio(noise(16_000), 0)
        bench.run()
        assert bench.bus.of(Spectrum) == []
