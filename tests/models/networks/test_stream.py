"""The streaming network: hop by hop it computes what it computes offline, in any portions and any company."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="networks are built with torch (extra train)")

from earwitness.models.networks.registry import build_network, for_use  # noqa: E402
from earwitness.models.networks.stream import Stream  # noqa: E402
from earwitness.stream.errors import EarwitnessError  # noqa: E402
from earwitness.stream.windowing import Windows  # noqa: E402

DIMS, CLASSES = 20, 3
SMALL = {"channels": [4, 6, 8, 10, 12], "memory_hops": [2, 9], "level_hops": 3}


def made(hop_frames: int = 10, **options: object) -> Stream:
    """A small network with norms that have seen something, ready for use."""
    torch.manual_seed(0)
    network = build_network("stream", (hop_frames, DIMS), CLASSES, {**SMALL, "hop_frames": hop_frames, **options})
    for seed in range(3):
        network.hops(torch.from_numpy(sound(200, seed)).unsqueeze(0))
    used = for_use(network)
    assert isinstance(used, Stream)
    return used


def sound(frames: int, seed: int = 1) -> np.ndarray:
    """Decibels [frames, DIMS] that are quiet, loud and digital silence by turns."""
    rng = np.random.default_rng(seed)
    levels = rng.choice([-100.0, -70.0, -30.0, 0.0], size=frames // 7 + 1).repeat(7)[:frames, None]
    return np.maximum(levels + rng.normal(0, 12, (frames, DIMS)) * (levels > -100), -100).astype(np.float32)


@torch.inference_mode()
def offline(network: Stream, frames: np.ndarray) -> np.ndarray:
    return network.hops(torch.from_numpy(frames).unsqueeze(0))[0].numpy()


class Live:
    """Streams that share batches: whoever has a hop ready is stepped, with its own state."""

    def __init__(self, network: Stream, streams: int) -> None:
        self.network = network
        self.states = torch.zeros(streams, network.state_size)
        self.cutters = [Windows(network.hop_frames, network.hop_frames, 0.0) for _ in range(streams)]
        self.ready: list[list[np.ndarray]] = [[] for _ in range(streams)]
        self.logits: list[list[np.ndarray]] = [[] for _ in range(streams)]
        self.heard = [0] * streams

    def push(self, stream: int, frames: np.ndarray) -> None:
        windows = self.cutters[stream].push(self.heard[stream], frames)
        self.heard[stream] += len(frames)
        self.ready[stream] += [window.values for window in windows]

    @torch.inference_mode()
    def step(self) -> None:
        slots = [stream for stream, ready in enumerate(self.ready) if ready]
        if slots:
            hops = torch.from_numpy(np.stack([self.ready[slot].pop(0) for slot in slots]))
            logits, self.states[slots] = self.network.step(hops, self.states[slots])
            for slot, row in zip(slots, logits.numpy(), strict=True):
                self.logits[slot].append(row)


@pytest.fixture(scope="module")
def network() -> Stream:
    return made()


@settings(deadline=None, max_examples=15)
@given(portions=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 45), st.booleans()), min_size=1, max_size=25))
def test_any_portions_of_streams_out_of_step_give_what_each_gives_alone_offline(
    network: Stream, portions: list[tuple[int, int, bool]]
) -> None:
    sounds = [sound(45 * len(portions) + 1, seed) for seed in range(3)]
    live = Live(network, 3)
    for stream, length, step in portions:
        first = live.heard[stream]
        live.push(stream, sounds[stream][first : first + length])
        if step:
            live.step()
    while any(live.ready):
        live.step()
    for stream, logits in enumerate(live.logits):
        hops = live.heard[stream] // network.hop_frames
        assert len(logits) == hops
        if hops:
            expected = offline(network, sounds[stream][: live.heard[stream]])
            np.testing.assert_allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("hop_frames", [1, 2, 3, 25])
def test_a_hop_may_have_any_length(hop_frames: int) -> None:
    check_live_is_offline(made(hop_frames=hop_frames), 6 * hop_frames)


@pytest.mark.parametrize("options", [{"depth": 0}, {"depth": 3}, {"memory_hops": [5]}, {"memory_hops": [1, 2, 30]}])
def test_any_depth_and_any_memories_go_on_from_hop_to_hop(options: dict[str, object]) -> None:
    check_live_is_offline(made(**options), 150)


def check_live_is_offline(network: Stream, frames: int) -> None:
    heard, live = sound(frames), Live(network, 1)
    live.push(0, heard)
    while any(live.ready):
        live.step()
    np.testing.assert_allclose(live.logits[0], offline(network, heard), atol=1e-5)


def test_a_long_stream_does_not_drift_from_its_offline_scores(network: Stream) -> None:
    check_live_is_offline(network, 4000)


def test_what_was_heard_long_ago_is_forgotten(network: Stream) -> None:
    tail = sound(2000, 3)
    after_noise = offline(network, np.concatenate([sound(500, 4), tail]))[-1]
    np.testing.assert_allclose(after_noise, offline(network, tail)[-1], atol=1e-4)


def test_what_was_heard_fades_in_silence_too(network: Stream) -> None:
    silence = np.full((1500, DIMS), -100, np.float32)  # the level has far to fall
    nothing = offline(network, silence)[-1]
    after = np.abs(offline(network, np.concatenate([sound(300), silence])) - nothing).max(axis=1)
    assert after[-1] < 0.001 * after[30]


def test_no_decision_depends_on_what_comes_after_it(network: Stream) -> None:
    frames = sound(300)
    changed = frames.copy()
    changed[150:] += 30
    before, after = offline(network, frames), offline(network, changed)
    np.testing.assert_array_equal(before[:15], after[:15])
    assert np.abs(before[15:] - after[15:]).max() > 1e-3


def test_a_microphones_gain_changes_what_the_level_tells_and_nothing_else() -> None:
    frames = np.maximum(sound(300), -40)
    network = made()
    with torch.no_grad():
        network.head.weight[:, -1] = 0
    np.testing.assert_allclose(offline(network, frames), offline(network, frames - 15), atol=1e-3)


def test_a_clips_logits_are_the_mean_of_its_hops(network: Stream) -> None:
    frames = torch.from_numpy(np.stack([sound(204, seed) for seed in range(3)]))
    with torch.inference_mode():
        hops = network.hops(frames)
        assert hops.shape == (3, 20, CLASSES)
        torch.testing.assert_close(network(frames), hops.mean(1))


def test_sounds_of_a_batch_do_not_know_of_each_other(network: Stream) -> None:
    sounds = [sound(100, seed) for seed in range(4)]
    with torch.inference_mode():
        together = network.hops(torch.from_numpy(np.stack(sounds))).numpy()
    for row, frames in zip(together, sounds, strict=True):
        np.testing.assert_allclose(row, offline(network, frames), atol=1e-5)


def test_silence_from_beginning_to_end_is_scored_finitely(network: Stream) -> None:
    for level in (-100.0, -1000.0, 60.0):
        assert np.isfinite(offline(network, np.full((500, DIMS), level, np.float32))).all()


def test_every_parameter_learns_also_in_half_precision() -> None:
    network = build_network("stream", (10, DIMS), CLASSES, SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(
            network(torch.from_numpy(np.stack([sound(200, seed) for seed in range(4)]))), torch.tensor([0, 1, 2, 0])
        )
    loss.backward()
    still = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert still == []


def test_the_defaults_are_small_enough_for_the_box() -> None:
    network = build_network("stream", (10, 64), 51, {})
    assert sum(value.numel() for value in network.parameters()) * 4 < 850_000


def test_a_window_shorter_than_a_hop_is_refused() -> None:
    with pytest.raises(EarwitnessError, match="a window of 9 frames; hop_frames is 10"):
        build_network("stream", (9, DIMS), CLASSES, SMALL)
