"""The measurement of the front end on tensors runs, and its figures hang together."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the front end on tensors needs torch (extra train or gpu)")
from earwitness.models.bench import tensors  # noqa: E402
from earwitness.models.bench.tensors import TensorSpeed, measure_tensors, tensor_lines  # noqa: E402


def test_a_tiny_measurement_on_the_cpu_has_all_figures() -> None:
    speed = measure_tensors(streams=3, block_s=0.1, steps=2, device="cpu")
    assert (speed.device, speed.streams, speed.block_s) == ("CPU", 3, 0.1)
    assert 0 < speed.copy_s < speed.step_s
    assert 0 < speed.copy_share < 1
    assert speed.audio_s_per_s > 0


def test_speed_is_sound_by_time() -> None:
    speed = TensorSpeed("some", streams=1000, block_s=0.5, step_s=0.002, copy_s=0.0005)
    assert speed.audio_s_per_s == pytest.approx(250_000)
    assert speed.copy_share == pytest.approx(0.25)


def test_without_a_gpu_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert list(tensor_lines()) == ["Log-mel on CUDA was not measured: there is no CUDA device here."]


def test_the_page_has_a_row_for_each_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        tensors, "measure_tensors", lambda streams, block, *_: TensorSpeed("some", streams, block, 0.002, 0.0005)
    )
    *_, tenth, second = tensor_lines(streams=100)
    assert tenth == "| 0.1 | 5,000 | 2.00 | 25 |"
    assert second == "| 1 | 50,000 | 2.00 | 25 |"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_measurement_on_cuda_is_of_its_events() -> None:
    speed = measure_tensors(streams=100, block_s=0.1, steps=3, device="cuda")
    assert speed.device == torch.cuda.get_device_name()
    assert 0 < speed.copy_s < speed.step_s
