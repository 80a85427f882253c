from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from torch import Tensor  # noqa: E402

from earwitness.models.training.losses import distillation, focal, loss_of, named_loss, smoothed  # noqa: E402
from earwitness.models.training.recipe import TrainingSettings  # noqa: E402


def some(seed: int = 0, rows: int = 20, labels: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, shares of labels that add up to 1, and labels that are true each for itself."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(labels), rows)
    several = rng.random((rows, labels)) < 0.4
    return tuple(torch.from_numpy(x.astype(np.float32)) for x in (rng.normal(0, 2, (rows, labels)), shares, several))  # type: ignore[return-value]


def given(
    logits: Tensor, targets: Tensor, multi_label: bool = False, reconstructs: bool = False, **settings: Any
) -> float:
    return float(loss_of(TrainingSettings(**settings), multi_label, reconstructs)(logits, targets))


def softmax(logits: Tensor) -> np.ndarray:
    powers = np.exp(logits.numpy().astype(np.float64))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def sigmoid(logits: Tensor) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits.numpy().astype(np.float64))))


def test_cross_entropy_is_that_of_shares() -> None:
    logits, shares, _ = some()
    wanted = -(shares.numpy() * np.log(softmax(logits))).sum(1).mean()
    assert given(logits, shares, loss="cross_entropy") == pytest.approx(wanted, rel=1e-5)
    assert given(logits, shares) == pytest.approx(wanted, rel=1e-5)


def test_binary_cross_entropy_is_the_mean_over_labels() -> None:
    logits, _, several = some()
    chance, true = sigmoid(logits), several.numpy()
    wanted = -(true * np.log(chance) + (1 - true) * np.log(1 - chance)).mean()
    assert given(logits, several, multi_label=True, loss="binary_cross_entropy") == pytest.approx(wanted, rel=1e-5)
    assert given(logits, several, multi_label=True) == pytest.approx(wanted, rel=1e-5)


def test_focal_loss_of_one_label_is_the_papers() -> None:
    logits = some()[0]
    right = torch.arange(20) % 4
    chance = softmax(logits)[np.arange(20), right.numpy()]
    wanted = -((1 - chance) ** 2.0 * np.log(chance)).mean()
    assert given(logits, torch.eye(4)[right], loss="focal", focal_gamma=2.0) == pytest.approx(wanted, rel=1e-5)


def test_focal_loss_of_several_labels_is_the_papers() -> None:
    logits, _, several = some()
    chance, true = sigmoid(logits), several.numpy()
    right = np.where(true, chance, 1 - chance)
    wanted = -((1 - right) ** 1.5 * np.log(right)).mean()
    assert given(logits, several, True, loss="focal", focal_gamma=1.5) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_focal_loss_without_a_focus_is_the_cross_entropy(multi_label: bool) -> None:
    logits, shares, several = some()
    targets = several if multi_label else shares
    assert float(focal(logits, targets, 0.0, multi_label)) == pytest.approx(given(logits, targets, multi_label))


@pytest.mark.parametrize("multi_label", [False, True])
def test_l1_and_mse_compare_probabilities(multi_label: bool) -> None:
    logits, shares, _ = some()
    away = (sigmoid(logits) if multi_label else softmax(logits)) - shares.numpy()
    assert given(logits, shares, multi_label, loss="l1") == pytest.approx(np.abs(away).mean(), rel=1e-5)
    assert given(logits, shares, multi_label, loss="mse") == pytest.approx((away**2).mean(), rel=1e-5)


def test_a_network_that_reconstructs_is_compared_with_what_it_was_given() -> None:
    out, wanted = torch.randn(3, 5, 2), torch.randn(3, 5, 2)
    away = (out - wanted).numpy()
    assert given(out, wanted, reconstructs=True) == pytest.approx((away**2).mean(), rel=1e-5)
    assert given(out, wanted, reconstructs=True, loss="l1") == pytest.approx(np.abs(away).mean(), rel=1e-5)


def test_smoothing_spreads_a_share_of_the_target() -> None:
    targets = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    assert smoothed(targets, 0.2)[0].tolist() == pytest.approx([0.85, 0.05, 0.05, 0.05])
    assert smoothed(targets, 0.2, multi_label=True)[0].tolist() == pytest.approx([0.9, 0.1, 0.1, 0.1])
    logits = some(rows=1)[0]
    wanted = torch.nn.CrossEntropyLoss(label_smoothing=0.2)(logits, targets)
    assert given(logits, targets, label_smoothing=0.2) == pytest.approx(float(wanted))


def test_distillation_is_least_where_the_pupil_says_what_the_teacher_says() -> None:
    logits = some()[0]
    taught = torch.softmax(logits, 1)
    pupil = logits.clone().requires_grad_()
    distillation(pupil, taught, 3.0).backward()  # type: ignore[no-untyped-call]
    assert pupil.grad is not None
    assert pupil.grad.abs().max() < 1e-6
    softened = softmax(logits / 3)
    wanted = -9 * (softened * np.log(softened)).sum(1).mean()
    assert float(distillation(logits, taught, 3.0)) == pytest.approx(wanted, rel=1e-5)
    again = logits.clone().requires_grad_()
    distillation(again, torch.sigmoid(logits), 3.0, multi_label=True).backward()  # type: ignore[no-untyped-call]
    assert again.grad is not None
    assert again.grad.abs().max() < 1e-6


def test_half_precision_outputs_give_a_loss_in_single_precision() -> None:
    logits, shares, _ = some()
    loss = loss_of(TrainingSettings())(logits.bfloat16(), shares)
    assert loss.dtype == torch.float32


def test_auto_names_the_loss_that_fits() -> None:
    auto = TrainingSettings()
    assert named_loss(auto) == "cross_entropy"
    assert named_loss(auto, multi_label=True) == "binary_cross_entropy"
    assert named_loss(auto, reconstructs=True) == "mse"
    assert named_loss(TrainingSettings(loss="focal"), multi_label=True) == "focal"
