from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="networks are built with torch (extra train)")

from earwitness.models.networks.autoencoder import Autoencoder, calibrate  # noqa: E402
from earwitness.models.networks.registry import build_network, for_use  # noqa: E402

SHAPE = (32, 24)


def hums(count: int, seed: int, band: int = 4) -> torch.Tensor:
    """Windows of a hum with overtones that swells, each at another loudness."""
    generator = torch.Generator().manual_seed(seed)
    windows = torch.randn(count, *SHAPE, generator=generator) - 70
    swell = torch.rand(count, SHAPE[0], 1, generator=generator) * 20
    windows[:, :, band : band + 6] += 20 + swell
    return windows + torch.rand(count, 1, 1, generator=generator) * 30


@pytest.fixture(scope="module")
def heard(one_thread: None) -> torch.nn.Module:
    """An autoencoder that has heard the hum, calibrated and ready for use."""
    torch.manual_seed(0)
    network = build_network("autoencoder", SHAPE, 2, {"layers": [32], "code": 4})
    assert isinstance(network, Autoencoder)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for step in range(150):
        windows = hums(32, step)
        loss = torch.nn.functional.l1_loss(network(windows), network.wanted(windows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    calibrate(network, hums(1000, 10_000))
    return for_use(network)


@torch.inference_mode()
def unfamiliar(network: torch.nn.Module, windows: torch.Tensor) -> torch.Tensor:
    return network(windows).softmax(1)[:, 0]


def test_what_it_has_heard_is_familiar_as_often_as_promised(heard: torch.nn.Module) -> None:
    probabilities = unfamiliar(heard, hums(2000, 20_000))
    assert float((probabilities > 0.5).float().mean()) == pytest.approx(0.005, abs=0.005)
    assert float(probabilities.median()) == pytest.approx(0.018, abs=0.004)


def test_another_sound_is_unfamiliar_whatever_its_loudness(heard: torch.nn.Module) -> None:
    other = hums(200, 1, band=15)
    assert (unfamiliar(heard, other) > 0.9).float().mean() > 0.95
    assert (unfamiliar(heard, other - 20) > 0.9).float().mean() > 0.95


def test_calibrating_leaves_the_mode_and_the_weights_as_they_are() -> None:
    network = build_network("autoencoder", SHAPE, 2, {"layers": [8]})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    calibrate(network, hums(50, 0))
    assert network.training
    changed = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["error_centre", "error_slope"]
