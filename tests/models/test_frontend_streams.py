"""Live streams on tensors: slots in any order and out of step have the frames of their whole signals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec, compute

torch = pytest.importorskip("torch", reason="the front end on tensors needs torch (extra train or gpu)")
from earwitness.models.frontend_streams import TensorFrames, TorchStreams  # noqa: E402

Samples = NDArray[np.float32]

SPECS = {
    "log_mel": FrontEndSpec(),
    "centred": FrontEndSpec(center=True),
    "kaldi": FrontEndSpec(window="povey", pad_window="end", remove_dc=True, preemphasis=0.97, log="ln"),
    "carried": FrontEndSpec(feature=("pcen", "spectral_flux", "rms")),
    "deltas": FrontEndSpec(feature=("mfcc_delta", "log_mel", "spectral_flux_delta2"), delta_width=5),
    "wavelets": FrontEndSpec(feature=("cwt", "rms_delta"), cwt_fmin=1000.0, voices_per_octave=2),
    "waveform": FrontEndSpec(feature="waveform"),
}
NOISE: Samples = 0.1 * np.random.default_rng(1).standard_normal(30_000).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are not worth a second thread, which other programs on the machine would hold up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Listener:
    """What slots have heard and given in their present segments, held against `compute`."""

    def __init__(self, spec: FrontEndSpec, slots: int, device: str = "cpu") -> None:
        self.spec, self.streams = spec, TorchStreams(spec, slots, device)
        self.heard = [NOISE[:0]] * slots
        self.got = [np.empty((0, spec.dims), np.float32)] * slots

    def push(self, slots: list[int], blocks: list[Samples]) -> None:
        stacked = np.stack(blocks) if blocks else np.empty((0, 0), np.float32)
        self._take(slots, self.streams.push(slots, torch.from_numpy(stacked)))
        for slot, block in zip(slots, blocks, strict=True):
            self.heard[slot] = np.concatenate((self.heard[slot], block))

    def flush(self, slots: list[int]) -> None:
        self._take(slots, self.streams.flush(slots))
        for slot in slots:
            whole = compute(self.spec, self.heard[slot])
            assert self.got[slot].shape == whole.shape
            np.testing.assert_allclose(self.got[slot], whole, rtol=1e-5, atol=1e-4)
            self._forget(slot)

    def reset(self, slots: list[int]) -> None:
        self.streams.reset(slots)
        for slot in slots:
            whole = compute(self.spec, self.heard[slot])
            np.testing.assert_allclose(self.got[slot], whole[: len(self.got[slot])], rtol=1e-5, atol=1e-4)
            self._forget(slot)

    def _take(self, slots: list[int], frames: TensorFrames) -> None:
        for row, slot in enumerate(slots):
            count = int(frames.counts[row])
            assert int(frames.first_frames[row]) == len(self.got[slot])
            assert not frames.values[row, count:].any()
            self.got[slot] = np.concatenate((self.got[slot], frames.values[row, :count].cpu().numpy()))

    def _forget(self, slot: int) -> None:
        self.heard[slot], self.got[slot] = NOISE[:0], self.got[slot][:0]


@pytest.mark.parametrize("size", [1, 7, 160, 161, 2053, 8000])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_blocks_of_any_size_give_the_frames_of_the_whole(spec: FrontEndSpec, size: int) -> None:
    samples = NOISE[: 800 if size == 1 else 2500 if size == 7 else 8000]
    listener = Listener(spec, 1)
    for start in range(0, len(samples), size):
        listener.push([0], [samples[start : start + size]])
    listener.flush([0])


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@settings(deadline=None, max_examples=8)
@given(data=st.data())
def test_slots_out_of_step_do_not_touch_each_other(spec: FrontEndSpec, data: st.DataObject) -> None:
    """Slots are filled, flushed and reset in any order; each segment is what it would be alone."""
    listener = Listener(spec, 4)
    some = st.lists(st.integers(0, 3), max_size=4, unique=True)
    for _ in range(data.draw(st.integers(1, 8))):
        slots, size = data.draw(some), data.draw(st.integers(0, 3000))
        starts = [data.draw(st.integers(0, len(NOISE) - size)) for _ in slots]
        listener.push(slots, [NOISE[start : start + size] for start in starts])
        match data.draw(st.sampled_from(["go on", "go on", "flush", "reset"])):
            case "flush":
                listener.flush(data.draw(some))
            case "reset":
                listener.reset(data.draw(some))
    listener.flush([0, 1, 2, 3])


def test_what_is_kept_of_a_slot_is_stated_and_bounded() -> None:
    spec = FrontEndSpec()
    assert TorchStreams(spec, 10).bytes_per_slot == 4 * (spec.frame_length - 1)
    with_state = FrontEndSpec(feature=("pcen", "log_mel_delta"))
    assert TorchStreams(with_state, 3).bytes_per_slot == 4 * (with_state.frame_length - 1 + 64 + 9 * 128)


def test_silence_an_impulse_and_denormal_samples_give_finite_frames() -> None:
    streams = TorchStreams(FrontEndSpec(feature=("log_mel", "pcen", "spectral_centroid", "mfcc_delta")), 3)
    blocks = torch.zeros(3, 8000)
    blocks[1, 1000], blocks[2] = 1.0, 1e-42
    assert torch.isfinite(streams.push([0, 1, 2], blocks).values).all()
    assert torch.isfinite(streams.flush([0, 1, 2]).values).all()


def test_slots_may_come_as_a_tensor_and_must_differ() -> None:
    streams = TorchStreams(FrontEndSpec(), 4)
    assert streams.push(torch.tensor([3, 1]), torch.zeros(2, 512)).counts.tolist() == [1, 1]
    for slots in ([1, 1], [4, 0], [-1, 0]):
        with pytest.raises(IndexError, match="from 0 to 3, each once"):
            streams.push(slots, torch.zeros(2, 512))


def test_blocks_of_another_shape_are_a_bug_of_the_caller() -> None:
    with pytest.raises(TypeError, match=r"\[2 slots, samples\], not \[3, 512\]"):
        TorchStreams(FrontEndSpec(), 4).push([0, 1], torch.zeros(3, 512))


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_padding_that_mirrors_the_signal_is_refused_in_one_line(mode: str) -> None:
    with pytest.raises(EarwitnessError, match=f"pad_mode '{mode}'.*'constant'") as refused:
        TorchStreams(FrontEndSpec(center=True, pad_mode=mode), 1)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_cuda_streams_have_the_frames_of_the_whole(spec: FrontEndSpec) -> None:
    rng, listener = np.random.default_rng(2), Listener(spec, 8, "cuda")
    for _ in range(40):
        slots = rng.permutation(8)[: rng.integers(1, 9)].tolist()
        size = int(rng.integers(0, 2000))
        starts = rng.integers(0, len(NOISE) - size, len(slots)).tolist()
        listener.push(slots, [NOISE[start : start + size] for start in starts])
    listener.flush(list(range(8)))
