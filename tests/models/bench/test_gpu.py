"""The measurement of models on a GPU runs, and stops where streams are no longer real-time."""

from __future__ import annotations

import pytest

from earwitness.models.bundle import Bundle

torch = pytest.importorskip("torch", reason="models on a GPU run in torch (extra train or gpu)")
from earwitness.models.bench import gpu  # noqa: E402
from earwitness.models.bench.gpu import GpuSpeed, gpu_lines, measure_gpu  # noqa: E402
from earwitness.models.bench.model_cases import Contender  # noqa: E402

HOP_S = 0.08  # of the tiny bundle


@pytest.mark.usefixtures("one_thread")
def test_a_tiny_measurement_on_the_cpu_has_all_figures(made: Bundle) -> None:
    whole, parts = (next(measure_gpu(made, "cpu", (5,), together, steps=3)) for together in (0, 2))
    assert (whole.streams, whole.together, parts.together) == (5, 0, 2)
    assert 0 < whole.p50_s <= whole.p99_s
    assert whole.real_time == (whole.p99_s < HOP_S)


def test_more_streams_are_tried_until_they_are_late(made: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_step_times", lambda scorer, bundle, streams, *_: [streams / 1000] * 5)
    told = [(speed.streams, speed.real_time) for speed in measure_gpu(made, "cpu", (10, 50, 100, 200))]
    assert told == [(10, True), (50, True), (100, False)]


def test_a_full_memory_ends_the_series(made: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def times(scorer: object, bundle: object, streams: int, *_: object) -> list[float]:
        if streams > 10:
            raise torch.cuda.OutOfMemoryError
        return [0.001]

    monkeypatch.setattr(gpu, "_step_times", times)
    assert [speed.streams for speed in measure_gpu(made, "cpu", (10, 50))] == [10]


def test_without_a_gpu_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert list(gpu_lines()) == ["Models on CUDA were not measured: there is no CUDA device here."]


def test_the_page_tells_the_most_streams_that_were_real_time(made: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def speeds(bundle: Bundle, device: str, streams: object, together: int) -> list[GpuSpeed]:
        late = GpuSpeed(128, together, 0.09, 0.1, False)
        return [late] if together else [GpuSpeed(64, together, 0.02, 0.03, True), late]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "some")
    monkeypatch.setattr(gpu, "contenders", lambda: [Contender(made)])
    monkeypatch.setattr(gpu, "measure_gpu", speeds)
    *_, parts, whole = gpu_lines()
    assert parts == "| tiny | 32 | fewer than 64 | | | |"
    assert whole == "| tiny | all | 64 | 128 | 20.0 | 30.0 |"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_measurement_on_cuda_has_a_row_for_each_number_of_streams(made: Bundle) -> None:
    assert [speed.streams for speed in measure_gpu(made, "cuda", (8, 16), steps=3)] == [8, 16]
