from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="networks are built with torch (extra train)")

from earwitness.models.networks.cnn import Cnn  # noqa: E402
from earwitness.models.networks.registry import build_network  # noqa: E402


def test_folded_it_computes_the_same() -> None:
    torch.manual_seed(0)
    network = Cnn(5, 64, (8, 16), (1,))
    windows = torch.randn(16, 40, 64) * 15 - 40
    for _ in range(3):
        network(windows)  # the norms learn something to fold
    network.eval()
    torch.testing.assert_close(network.folded()(windows), network(windows), atol=1e-5, rtol=1e-5)


def test_any_window_of_16_frames_or_more_will_do() -> None:
    network = build_network("cnn", (16, 64), 5, {"channels": [4, 8], "depth": [0], "dropout": 0.1}).eval()
    for frames in (16, 33, 100):
        assert network(torch.randn(2, frames, 64)).shape == (2, 5)


def test_a_gain_changes_nothing_but_the_level_it_is_told() -> None:
    network = Cnn(3, 64, (4, 8), (1,)).eval()
    with torch.no_grad():
        network.head.weight[:, -1] = 0
    windows = torch.randn(4, 40, 64) * 10 - 40
    torch.testing.assert_close(network(windows + 12), network(windows), atol=1e-4, rtol=1e-4)


def test_silence_below_the_range_is_cut_off() -> None:
    network = Cnn(3, 64, (4, 8), (1,)).eval()
    windows = torch.zeros(1, 40, 64)
    windows[:, 20:] = -80
    deeper = windows.clone()
    deeper[:, 20:] = -100
    assert torch.equal(network(windows), network(deeper))
