"""Losses: how far what a network gives is from what it should give, as one number.

Targets are shares of labels, since training mixes sounds: float32 `[batch, labels]`, 0..1, that add up to 1 where one
sound is meant, or each for itself where several sound at once. All are computed in float32, whatever the precision of
the network, and are means over the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .recipe import TrainingSettings

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_of(settings: TrainingSettings, multi_label: bool = False, reconstructs: bool = False) -> Loss:
    """The loss that settings name, label smoothing included: (logits, targets) -> a number.

    With `reconstructs` it takes (windows as reconstructed, windows), and is `mse` or `l1`.
    """
    name = named_loss(settings, multi_label, reconstructs)
    if reconstructs:
        return functional.l1_loss if name == "l1" else functional.mse_loss
    smoothing, gamma = settings.label_smoothing, settings.focal_gamma
    losses: dict[str, Loss] = {
        "cross_entropy": cross_entropy,
        "binary_cross_entropy": binary_cross_entropy,
        "focal": lambda logits, targets: focal(logits, targets, gamma, multi_label),
        "l1": lambda logits, targets: functional.l1_loss(probabilities(logits, multi_label), targets),
        "mse": lambda logits, targets: functional.mse_loss(probabilities(logits, multi_label), targets),
    }
    return lambda logits, targets: losses[name](logits.float(), smoothed(targets, smoothing, multi_label))


def named_loss(settings: TrainingSettings, multi_label: bool = False, reconstructs: bool = False) -> str:
    """What "auto" means here."""
    if settings.loss != "auto":
        return settings.loss
    return "mse" if reconstructs else "binary_cross_entropy" if multi_label else "cross_entropy"


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of the softmax of logits `[batch, labels]` against shares of labels."""
    return functional.cross_entropy(logits, targets)


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of each label's sigmoid, the mean over labels: for several sounds at once."""
    return functional.binary_cross_entropy_with_logits(logits, targets)


def focal(logits: Tensor, targets: Tensor, gamma: float, multi_label: bool = False) -> Tensor:
    """Cross-entropy in which what is nearly right counts less (Lin et al., 2017, https://arxiv.org/abs/1708.02002).

    Each term is weighed by `|target - probability| ** gamma`, the form for targets between 0 and 1 (Li et al., 2020,
    https://arxiv.org/abs/2006.04388); with targets of 0 and 1 it is the original. gamma 0 is the plain cross-entropy.
    """
    far = (targets - probabilities(logits, multi_label)).abs() ** gamma
    if multi_label:
        return (far * functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")).mean()
    return -(far * targets * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()


def distillation(logits: Tensor, taught: Tensor, temperature: float, multi_label: bool = False) -> Tensor:
    """Cross-entropy against a teacher's probabilities, both softened (Hinton et al., 2015, arxiv.org/abs/1503.02531).

    Args:
        taught: probabilities `[batch, labels]` of the teacher, not yet softened.
        temperature: divides the logits of both. The result is multiplied by its square, so that the gradient's size
            does not depend on it.
    """
    softened = logits.float() / temperature
    taught = taught.clamp(1e-7, 1 - 1e-7)
    if multi_label:
        loss = binary_cross_entropy(softened, torch.sigmoid(torch.logit(taught) / temperature))
    else:
        loss = cross_entropy(softened, torch.softmax(taught.log() / temperature, dim=1))
    return loss * temperature**2


def smoothed(targets: Tensor, share: float, multi_label: bool = False) -> Tensor:
    """Targets of which `share` is spread evenly: over all labels, or over yes and no of each."""
    if not share:
        return targets
    return targets * (1 - share) + share / (2 if multi_label else targets.shape[1])


def probabilities(logits: Tensor, multi_label: bool = False) -> Tensor:
    """Of labels, from logits `[batch, labels]`."""
    return torch.sigmoid(logits) if multi_label else torch.softmax(logits, dim=1)
