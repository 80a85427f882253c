"""The autoencoder: learns to give a window back through a narrow place, and finds strange what it cannot give back.

Every frame is squeezed, with its neighbours, into a few values, and built up again from these. What was heard in
training comes back well; a sound of a kind that was never heard does not, and that is an event of its own. It needs no
labels. After the baseline of DCASE 2020 task 2 (Koizumi et al., 2020, https://arxiv.org/abs/2006.05822), with its
context made by a convolution.

As a bundle it has the labels `unfamiliar` and `background`. How large an error is unfamiliar is learnt from windows of
familiar sounds that it was not trained on: the probability is 0.5 at the error that one in 200 of them passes.
"""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn

from ...stream.errors import EarwitnessError
from .activations import ActivationKind
from .inputs import InputKind, Normalised
from .layers import Layer
from .registry import NetworkOptions, Sizes, check_odd

LABELS = ("unfamiliar", "background")
FAMILIAR = 0.995  # share of familiar windows that are more likely familiar than not
SURE = 4.0  # logit of the familiar at its median: 0.018 that it is unfamiliar


class Options(NetworkOptions, frozen=True, kw_only=True):
    """See `Autoencoder`."""

    layers: Annotated[Sizes, Meta(description="values a frame in each layer on the way to the code, and back")] = (
        128, 128,
    )  # fmt: skip
    code: Annotated[int, Meta(ge=1, description="values a frame in the narrow place")] = 8
    context: Annotated[int, Meta(ge=1, description="frames that are looked at for each, odd")] = 5
    activation: ActivationKind = "relu"
    input: InputKind = "decibels"

    def __post_init__(self) -> None:
        check_odd([self.context])


class Autoencoder(nn.Module):
    """Windows again, and how strange they are.

    In training (`reconstructs` is True) `forward` gives the window back, and the loss (L1 or MSE) compares that with
    `wanted(windows)`, which has the same scale. Before use, `calibrate` is told windows of familiar sounds. In use
    (`registry.for_use`) it gives logits for `labels`, to which a softmax belongs.

    Shape: [batch, frames, dims] -> [batch, frames, dims], of the scale of `wanted`
    """

    reconstructs = True
    labels = LABELS

    def __init__(self, shape: tuple[int, int], options: Options) -> None:
        super().__init__()
        dims = shape[1]
        self.input = Normalised(dims, options.input)
        widths = (dims, *options.layers, options.code, *reversed(options.layers))
        kernels = (options.context,) + (1,) * len(widths)
        self.layers = nn.Sequential(
            *(
                Layer(inputs, outputs, kernel, options.activation)
                for inputs, outputs, kernel in zip(widths, widths[1:], kernels, strict=False)
            )
        )
        self.last = nn.Conv1d(widths[-1], dims, 1)
        self.error_centre: Tensor
        self.error_slope: Tensor
        # Logarithm of the error at which a window is as likely strange as not, and logits for e times as much.
        self.register_buffer("error_centre", torch.zeros(1))
        self.register_buffer("error_slope", torch.ones(1))

    def wanted(self, windows: Tensor) -> Tensor:
        """What `forward` is to give: the windows as the layers see them."""
        values: Tensor = self.input(windows)[0]
        return values

    def forward(self, windows: Tensor) -> Tensor:
        return self._again(self.wanted(windows))

    def errors(self, windows: Tensor) -> Tensor:
        """Logarithm of the mean absolute difference of each window [batch]."""
        values = self.wanted(windows)
        return torch.log((self._again(values) - values).abs().mean((1, 2)) + 1e-6)

    def _again(self, values: Tensor) -> Tensor:
        given: Tensor = self.last(self.layers(values.transpose(1, 2)))
        return given.transpose(1, 2)

    def for_use(self) -> Unfamiliarity:
        """See `registry.for_use`."""
        return Unfamiliarity(copy.deepcopy(self))


class Unfamiliarity(nn.Module):
    """An autoencoder in use.

    Shape: [batch, frames, dims] -> logits [batch, 2] of `LABELS`
    """

    def __init__(self, network: Autoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        network = self.network
        strange = (network.errors(windows) - network.error_centre) * network.error_slope
        return torch.stack([strange, torch.zeros_like(strange)], dim=1)


@torch.no_grad()
def calibrate(network: Autoencoder, windows: Tensor) -> None:
    """Let the probability of "unfamiliar" mean something, by windows of familiar sounds that were not learnt from.

    It is 0.5 at the error that one in 200 of them passes, and 0.018 at the median.

    Args:
        windows: [windows, frames, dims], some hundreds or more, on the network's device.
    """
    training = network.training
    errors = torch.cat([network.eval().errors(part) for part in windows.split(256)])
    network.train(training)
    middle, centre = errors.quantile(0.5), errors.quantile(FAMILIAR)
    network.error_centre.fill_(centre)
    network.error_slope.fill_(SURE / max(float(centre - middle), 1e-3))


def build(shape: tuple[int, int], classes: int, options: Options) -> Autoencoder:
    """See `registry.build_network`."""
    if classes != len(LABELS):
        raise EarwitnessError(f"network autoencoder: it gives {' and '.join(LABELS)}, not {classes} classes")
    return Autoencoder(shape, options)
