from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="networks are built with torch (extra train)")

from earwitness.models.networks.registry import build_network, for_use  # noqa: E402
from earwitness.stream.errors import EarwitnessError  # noqa: E402

SMALL = {"channels": [4, 8], "depth": [1]}


def cnn(shape: tuple[int, int] = (40, 64), **options: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network("cnn", shape, 3, {**SMALL, **options})


def test_any_window_of_16_frames_or_more_will_do() -> None:
    network = cnn().eval()
    for frames in (16, 33, 100):
        assert network(torch.randn(2, frames, 64)).shape == (2, 3)


def test_a_gain_changes_nothing_but_the_level_it_is_told() -> None:
    network = cnn().eval()
    with torch.no_grad():
        network.head.weight[:, -1] = 0
    windows = torch.randn(4, 40, 64) * 10 - 40
    torch.testing.assert_close(network(windows + 12), network(windows), atol=1e-4, rtol=1e-4)


def test_silence_below_the_range_is_cut_off() -> None:
    network = cnn().eval()
    windows = torch.zeros(1, 40, 64)
    windows[:, 20:] = -80
    deeper = windows.clone()
    deeper[:, 20:] = -100
    assert torch.equal(network(windows), network(deeper))


def test_the_pitch_is_told_alike_in_training_and_in_use() -> None:
    network = cnn(norm="group", dropout=0.0)
    torch.nn.init.normal_(network.pitch)
    windows, found = torch.randn(2, 40, 64) * 10 - 40, []
    for training in (True, False):
        for memory in (torch.contiguous_format, torch.channels_last):
            network = network.train(training).to(memory_format=memory)
            network.zero_grad()
            logits = network(windows)
            logits.square().sum().backward()
            found.append((logits.detach(), network.pitch.grad.clone()))
    for logits, gradient in found[1:]:
        torch.testing.assert_close(logits, found[0][0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(gradient, found[0][1], atol=1e-4, rtol=1e-4)


def test_weights_have_the_names_that_bundles_in_the_box_know() -> None:
    names = set(for_use(cnn(mels=64)).state_dict())
    assert {
        "stem.weight",
        "stem.bias",
        "pitch",
        "body.0.depthwise.bias",
        "body.1.pointwise.weight",
        "head.bias",
    } <= names


@pytest.mark.parametrize(
    ("options", "maps"),
    [
        ({}, (10, 16)),
        ({"strides": [2, 4]}, (5, 8)),
        ({"strides": [1, 2], "frame_strides": [2]}, (10, 32)),
        ({"pooling": "max"}, (10, 16)),
        ({"pooling": "mean", "strides": [3]}, (4, 7)),
        ({"kernels": [3, 5], "dilations": [2]}, (10, 16)),
        ({"block": "inverted", "squeeze": 4}, (10, 16)),
        ({"block": "plain", "norm": "none", "residual": False}, (10, 16)),
        ({"block": "basic", "norm": "group", "activation": "silu"}, (10, 16)),
        ({"pitch": False, "summary": "attention", "input": "batch"}, (10, 16)),
    ],
    ids=str,
)
def test_maps_have_the_size_that_strides_and_pooling_leave(options: dict[str, Any], maps: tuple[int, int]) -> None:
    network, seen = cnn(**options), []
    network.body.register_forward_hook(lambda *told: seen.append(told[-1].shape))
    assert network(torch.randn(2, 40, 64)).shape == (2, 3)
    assert seen[0] == (2, 8, *maps)


def test_a_block_adds_its_input_where_the_shape_stays() -> None:
    network = cnn(block="plain", norm="none", pitch=False).eval()
    last = network.body[-1]
    with torch.no_grad():
        last.conv.weight.zero_()
        last.conv.bias.zero_()
    maps = torch.rand(2, 8, 5, 5)
    assert torch.equal(last(maps), maps)
    last.residual = False
    assert not last(maps).any()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"depth": [1, 1]}, r"channels \[4, 8\] have 1 stages, depth \[1, 1\]"),
        ({"kernels": [4]}, "a kernel must be odd, not 4: 3 or 5"),
        ({"pooling": "max", "strides": [7]}, r"leaves nothing of a window \[40, 64\]"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(EarwitnessError, match=complaint):
        cnn(**options)
