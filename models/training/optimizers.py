"""Optimizers, the learning rate over the steps, and the running mean of the weights, by the names of a recipe."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from .recipe import TrainingSettings

START, END = 1 / 25, 1 / 250_000
"""Of the highest learning rate: where `one_cycle` begins and ends, as torch.optim.lr_scheduler.OneCycleLR does."""


def make_optimizer(network: nn.Module, settings: TrainingSettings) -> Optimizer:
    """The optimizer of all parameters: weight decay for matrices and kernels, none for biases and norms.

    `momentum` is SGD's (Nesterov's), RMSprop's, and the first beta of Adam and AdamW.
    """
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rate, momentum = settings.learning_rate, settings.momentum
    match settings.optimizer:
        case "sgd":
            return SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0)
        case "rmsprop":
            return RMSprop(groups, lr=rate, momentum=momentum)
        case "adam":
            return Adam(groups, lr=rate, betas=(momentum, 0.999))
        case _:
            return AdamW(groups, lr=rate, betas=(momentum, 0.999))


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """The learning rate of step 0, 1, … `settings.steps - 1`.

    constant; `step`: times `step_factor` after every `step_every` of the steps; `cosine`: straight up during `warm_up`
    of the steps, then half a cosine down to 0 (Loshchilov and Hutter, 2016, https://arxiv.org/abs/1608.03983);
    `one_cycle`: half a cosine up during `warm_up`, half a cosine down (Smith and Topin, 2017,
    https://arxiv.org/abs/1708.07120; torch's OneCycleLR, with the momentum left alone).
    """
    steps, highest = settings.steps, settings.learning_rate
    rising = settings.warm_up * steps
    match settings.schedule:
        case "constant":
            return highest
        case "step":
            return highest * settings.step_factor ** (step // max(1, round(settings.step_every * steps)))
        case "cosine":
            if step < rising:
                return highest * (step + 1) / (math.floor(rising) + 1)
            return highest * _half_cosine(1.0, 0.0, (step - rising) / max(1.0, steps - rising))
        case _:
            if step <= rising - 1:
                return highest * _half_cosine(START, 1.0, step / max(1.0, rising - 1))
            return highest * _half_cosine(1.0, END, (step - rising + 1) / max(1.0, steps - rising))


@torch.no_grad()
def average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """One step of the running mean of weights and of the statistics of norms: `mean * decay + value * (1 - decay)`."""
    means, values = [], []
    for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            means.append(mean)
            values.append(value)
        else:
            mean.copy_(value)
    torch._foreach_lerp_(means, values, 1 - decay)


def _half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
