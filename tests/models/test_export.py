"""Every network as a bundle: ONNX Runtime and torch run it alike, from weights that are stored once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="bundles are made with torch (extra train)")

import onnx  # noqa: E402

from earwitness.models.bundle import Bundle, Input, Network, Output, write_bundle  # noqa: E402
from earwitness.models.export import check_export, states_of, to_onnx  # noqa: E402
from earwitness.models.judging.cost import count_onnx  # noqa: E402
from earwitness.models.networks.counts import macs, parameters  # noqa: E402
from earwitness.models.networks.registry import for_use, read_options  # noqa: E402
from earwitness.models.runtime import open_runtime  # noqa: E402
from earwitness.models.runtimes.torch import TorchRuntime  # noqa: E402
from earwitness.stream.errors import EarwitnessError  # noqa: E402
from earwitness.stream.features.frontend import FrontEndSpec  # noqa: E402

from .conftest import manifest  # noqa: E402
from .networks.variants import SHAPES, VARIANTS, build, windows_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def bundle_of(folder: Path, kind: str, options: dict[str, Any]) -> tuple[Bundle, torch.nn.Module]:
    """A network that has seen a batch, as a bundle and as it is used in torch."""
    network = build(kind, options)
    network(windows_of(kind, 16))
    used = for_use(network)
    frames, dims = SHAPES.get(kind, (40, 64))
    frames = getattr(used, "hop_frames", frames)  # of a network that goes from hop to hop
    labels = ["unfamiliar", "background"] if kind == "autoencoder" else ["high", "low", "background"]
    states = states_of(used)
    told = manifest(
        labels=labels,
        thresholds=dict.fromkeys(labels[:-1], 0.5),
        front_end=FrontEndSpec(feature="waveform") if kind == "cnn1d" else FrontEndSpec(),
        window_frames=frames,
        hop_frames=frames,
        states=states,
        input=Input(name="windows", shape=[0, frames, dims]),
        output=Output(name="logits", activation="softmax"),
        network=Network(kind=kind, options=msgspec.to_builtins(read_options(kind, options))),
    )
    return write_bundle(folder / "made", told, to_onnx(used, (frames, dims))), used


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda told: f"{told[0]} {told[1] or ''}")
def exported(
    request: pytest.FixtureRequest, one_thread: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Bundle, torch.nn.Module]:
    kind, options = request.param
    return kind, *bundle_of(tmp_path_factory.mktemp("exported"), kind, options)


def test_what_is_exported_computes_what_torch_does(exported: tuple[str, Bundle, torch.nn.Module]) -> None:
    kind, bundle, used = exported
    windows = windows_of(kind, 32).numpy()[:, : bundle.manifest.window_frames]
    assert check_export(bundle, used, windows, (1, 7, 16)) <= 1e-5
    with torch.inference_mode():
        again = TorchRuntime(bundle, "cpu").scores(windows)
    np.testing.assert_allclose(open_runtime(bundle, "cpu").scores(windows), again, atol=1e-5)


def test_weights_are_stored_once_and_the_graph_counts_as_the_network(
    exported: tuple[str, Bundle, torch.nn.Module],
) -> None:
    kind, bundle, used = exported
    graph = onnx.load_model_from_string(bundle.contents["model.onnx"]).graph
    assert not any(tensor.raw_data for tensor in graph.initializer)
    weights = bundle.contents["model.safetensors"]
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    assert set(header) == set(used.state_dict())
    if not states_of(used):
        assert count_onnx(bundle.contents["model.onnx"])[1] == macs(used, SHAPES.get(kind, (40, 64)))


def test_what_is_no_weight_may_not_be_large() -> None:
    class Large(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 0] @ torch.arange(192.0).reshape(64, 3)

    with pytest.raises(EarwitnessError, match=r"holds 768 bytes .* that are no weight"):
        to_onnx(Large(), (40, 64))


def test_an_export_that_differs_is_refused(tmp_path: Path) -> None:
    bundle, used = bundle_of(tmp_path, "shallow", {})
    with torch.no_grad():
        used.head.bias += torch.tensor([1.0, 0.0, 0.0])
    with pytest.raises(EarwitnessError, match="differs from torch by 0"):
        check_export(bundle, used, windows_of("shallow", 4).numpy())


def test_multiply_adds_are_those_of_the_formulas_and_of_torch() -> None:
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 5))
    assert (macs(linear, (2, 3)), parameters(linear)) == (30, 35)
    cells = build("lstm", {"layers": 1, "hidden": 10})
    assert macs(cells, (40, 64)) == 40 * 4 * 10 * (64 + 10) + 3 * 21
    from torch.utils.flop_counter import FlopCounterMode

    used = for_use(build("cnn", {"block": "basic", "dilations": [2]}))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        used(torch.zeros(1, 40, 64))
    assert macs(used, (40, 64)) * 2 == counter.get_total_flops()
