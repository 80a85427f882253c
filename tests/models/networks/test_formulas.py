"""What has a formula elsewhere is that formula."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="networks are built with torch (extra train)")

from earwitness.models.networks.activations import activation  # noqa: E402
from earwitness.models.networks.blocks import SqueezeExcitation  # noqa: E402
from earwitness.models.networks.inputs import Normalised  # noqa: E402
from earwitness.models.networks.registry import build_network  # noqa: E402
from earwitness.models.networks.summaries import Summary  # noqa: E402
from earwitness.models.networks.views import View  # noqa: E402


def test_activations_are_those_of_their_names() -> None:
    x = torch.linspace(-4, 4, 9)
    expected = {
        "relu": x.clamp(min=0),
        "elu": torch.where(x > 0, x, x.exp() - 1),
        "softplus": (1 + x.exp()).log(),
        "sigmoid": 1 / (1 + (-x).exp()),
        "tanh": (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
        "gelu": x * 0.5 * (1 + torch.erf(x / 2**0.5)),
        "silu": x / (1 + (-x).exp()),
    }
    for name, values in expected.items():
        torch.testing.assert_close(activation(name)(x), values)


def test_a_perceptron_is_a_weighted_sum() -> None:
    network = build_network("perceptron", (4, 3), 2, {"view": "flat", "input": "none"})
    windows = torch.randn(5, 4, 3)
    seen = torch.cat([windows.flatten(1), windows.mean((1, 2)).unsqueeze(1)], dim=1)
    torch.testing.assert_close(network(windows), seen @ network.head.weight.T + network.head.bias)


def test_a_view_is_mean_deviation_and_maximum_of_each_dim() -> None:
    windows = torch.randn(3, 10, 4)
    expected = [windows.mean(1), windows.std(1, correction=0), windows.amax(1), windows.mean((1, 2)).unsqueeze(1)]
    torch.testing.assert_close(
        View((10, 4), "statistics", "none")(windows), torch.cat(expected, 1), atol=1e-5, rtol=1e-4
    )


def test_summaries_are_their_statistics() -> None:
    x = torch.randn(3, 4, 10)
    torch.testing.assert_close(Summary(4, "statistics")(x)[:, 4:], x.std(2, correction=0), atol=1e-5, rtol=1e-4)
    assert torch.equal(Summary(4, "mean_max")(x), torch.cat([x.mean(2), x.amax(2)], 1))
    attention = Summary(4, "attention")
    with torch.no_grad():
        attention.attention.weight.zero_()
    torch.testing.assert_close(attention(x), x.mean(2))  # all frames alike


def test_batch_input_has_mean_0_and_deviation_1_in_training() -> None:
    values, _ = Normalised(3, "batch")(torch.randn(200, 10, 3) * 7 - 40)
    torch.testing.assert_close(values.mean((0, 1)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(values.std((0, 1)), torch.ones(3), atol=1e-2, rtol=0)


def test_a_tdnn_sees_as_many_frames_as_its_kernels_span() -> None:
    network = build_network("tdnn", (60, 3), 2, {"input": "none"}).eval()
    windows = torch.randn(1, 60, 3)
    changed = windows.clone()
    changed[0, 30] += 1
    given, other = (network.layers(each.transpose(1, 2)) for each in (windows, changed))
    touched = (given != other).any(1)[0].nonzero().flatten()
    assert (int(touched.min()), int(touched.max())) == (23, 37)  # 2 + 2 + 3 frames to each side


def test_the_last_memory_is_that_of_the_last_frame_and_backwards_of_the_first() -> None:
    network = build_network("gru", (12, 5), 3, {"summary": "last", "bidirectional": True, "hidden": 4}).eval()
    seen: list[torch.Tensor] = []
    network.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    windows = torch.randn(2, 12, 5)
    network(windows)
    memories = network.cells(network.input(windows)[0])[0]
    torch.testing.assert_close(seen[0][:, :8], torch.cat([memories[:, -1, :4], memories[:, 0, 4:]], 1))


def test_squeeze_and_excitation_weighs_whole_channels() -> None:
    x = torch.rand(2, 8, 5, 6) + 0.1
    weights = SqueezeExcitation(8, 2)(x) / x
    torch.testing.assert_close(weights, weights[:, :, :1, :1].expand_as(weights))
    assert 0 < float(weights.detach().min()) < float(weights.detach().max()) < 1
