"""What holds for every network alike."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch", reason="networks are built with torch (extra train)")

from earwitness.models.networks import registry  # noqa: E402
from earwitness.models.networks.registry import (  # noqa: E402
    NETWORKS,
    build_network,
    describe,
    for_use,
    options_of,
    read_options,
)
from earwitness.stream.errors import EarwitnessError  # noqa: E402

from .variants import SHAPES, VARIANTS, build, windows_of  # noqa: E402

# Small enough to learn in a moment; the others are that as they are.
SMALL: dict[str, dict[str, Any]] = {
    "deep": {"layers": [32, 32]},
    "cnn1d": {"channels": [8, 16, 16], "first_kernel": 41, "first_stride": 16},
    "cnn": {"channels": [8, 16, 32], "depth": [1, 1]},
    "rnn": {"hidden": 16},
    "lstm": {"hidden": 16, "layers": 1},
    "gru": {"hidden": 16, "layers": 1},
    "tdnn": {"channels": [16, 16], "kernels": [5, 3], "dilations": [1, 2]},
    "crnn": {"channels": [8, 8], "band_pools": [4, 4], "frame_pools": [2, 2], "hidden": 8},
}
VARIANT = pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=lambda told: str(told) if told else "")


@VARIANT
def test_windows_become_logits_and_every_parameter_learns(kind: str, options: dict[str, Any]) -> None:
    network, windows = build(kind, options), windows_of(kind, 6)
    given = network(windows)
    if hasattr(network, "reconstructs"):
        assert given.shape == network.wanted(windows).shape
    else:
        assert given.shape == (6, 3)
    assert given.dtype == torch.float32
    (given * torch.randn_like(given)).sum().backward()
    idle = [name for name, parameter in network.named_parameters() if not parameter.grad.any()]
    assert idle == []


@VARIANT
def test_the_copy_for_use_computes_the_same_without_norms(kind: str, options: dict[str, Any]) -> None:
    network, windows = build(kind, options), windows_of(kind, 16)
    for _ in range(3):
        network(windows)  # the norms learn something to fold
    used = for_use(network)
    network.eval()
    expected = torch.stack([network.errors(windows), 0 * network.errors(windows)], 1) if kind == "autoencoder" else None
    torch.testing.assert_close(used(windows), network(windows) if expected is None else expected, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in used.modules())
    assert used is not network
    assert not used.training


@VARIANT
def test_a_window_scores_the_same_in_any_company(kind: str, options: dict[str, Any]) -> None:
    used, windows = for_use(build(kind, options)), windows_of(kind, 5)
    torch.testing.assert_close(used(windows)[3:4], used(windows[3:4]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", sorted(set(NETWORKS) - {"autoencoder"}))
def test_each_learns_what_chance_does_not_know(kind: str) -> None:
    """High, low and noisy windows, or samples; new ones are named after some steps."""
    network = build(kind, SMALL.get(kind, {}))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for step in range(60):
        windows, labels = scenes(kind, 16, step)
        loss = torch.nn.functional.cross_entropy(network(windows), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    windows, labels = scenes(kind, 60, 1000)
    with torch.inference_mode():
        right = (network.eval()(windows).argmax(1) == labels).float().mean()
    assert right >= 0.7  # chance: 0.33


def scenes(kind: str, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    windows = torch.randn(count, *SHAPES.get(kind, (40, 64)), generator=generator)
    places = torch.arange(windows.shape[1])
    for row, label in enumerate(labels):
        start = int(torch.randint(windows.shape[1] // 2, (1,), generator=generator))
        if kind == "cnn1d":
            tone = torch.sin(places * (0.1, 0.4, 1.2)[label] + start)[:, None]
            windows[row] = 0.02 * windows[row] + 0.1 * tone
        else:
            windows[row, start : start + 15, int(label) * 20 : int(label) * 20 + 15] += 6
            windows[row] = 5 * windows[row] - 60
    return windows, labels


def test_options_are_described_and_every_one_has_a_default_and_a_text() -> None:
    for kind in NETWORKS:
        rows = describe(kind)
        assert [name for name, *_ in rows] == list(options_of(kind).__struct_fields__)
        assert all(text and shape for _, shape, _, text in rows)
        assert read_options(kind, {}) == options_of(kind)()
        assert read_options(kind, msgspec.to_builtins(options_of(kind)())) == options_of(kind)()
    told = {name: (shape, default) for name, shape, default, _ in describe("deep")}
    assert told["layers"] == ("list of int", (256, 128, 64))
    assert told["activation"] == ("one of relu, elu, softplus, sigmoid, tanh, gelu, silu", "relu")


@pytest.mark.parametrize(
    ("kind", "options", "complaint"),
    [
        ("cmn", {}, "no network 'cmn': did you mean 'cnn'"),
        ("deep", {"layer": [3]}, "network deep has no option 'layer'; did you mean 'layers'"),
        ("deep", {"layers": [0]}, r"network deep: .* >= 1 - at `\$.layers"),
        ("shallow", {"activation": "rellu"}, "network shallow: activation is 'rellu'; did you mean 'relu'"),
        ("tdnn", {"channels": [8]}, "one for each layer"),
        ("tdnn", {"channels": [8], "kernels": [2], "dilations": [1]}, "must be odd, not 2: 1 or 3"),
        ("crnn", {"channels": [8]}, "one for each convolution"),
    ],
)
def test_what_is_no_option_gets_the_nearest_that_is_one(kind: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(EarwitnessError, match=complaint):
        build(kind, options)


@pytest.mark.parametrize(
    ("kind", "shape", "classes", "complaint"),
    [
        ("cnn1d", (96, 64), 3, "wants thousands of them, samples of the front end 'waveform'"),
        ("crnn", (2, 64), 3, "leaves nothing of a window"),
        ("autoencoder", (40, 64), 11, "gives unfamiliar and background, not 11 classes"),
        ("deep", (0, 64), 3, "must be 1 or more"),
    ],
)
def test_a_window_that_cannot_be_is_refused(kind: str, shape: tuple[int, int], classes: int, complaint: str) -> None:
    with pytest.raises(EarwitnessError, match=complaint):
        build_network(kind, shape, classes, {})


def test_importing_the_registry_loads_no_torch() -> None:
    program = f"import sys, {registry.__name__}; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "False\n"
