from __future__ import annotations

import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from torch import nn, optim  # noqa: E402

from earwitness.models.training.optimizers import average, learning_rate, make_optimizer  # noqa: E402
from earwitness.models.training.recipe import TrainingSettings  # noqa: E402


def rates(**settings: Any) -> list[float]:
    chosen = TrainingSettings(**settings)
    return [learning_rate(chosen, step) for step in range(chosen.steps)]


def of_torch(scheduler: Any, steps: int, rate: float, **options: Any) -> list[float]:
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate, momentum=0.9)
    schedule = scheduler(optimizer, **options)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_a_constant_rate_stays() -> None:
    assert rates(schedule="constant", steps=5, learning_rate=0.1) == [0.1] * 5


@pytest.mark.parametrize(("steps", "warm_up"), [(100, 0.3), (200, 0.15), (40, 0.5)])
def test_one_cycle_is_torchs(steps: int, warm_up: float) -> None:
    wanted = of_torch(optim.lr_scheduler.OneCycleLR, steps, 0.1, max_lr=0.1, total_steps=steps, pct_start=warm_up)
    assert rates(schedule="one_cycle", steps=steps, warm_up=warm_up, learning_rate=0.1) == pytest.approx(wanted)


def test_step_is_torchs() -> None:
    wanted = of_torch(optim.lr_scheduler.StepLR, 100, 0.1, step_size=25, gamma=0.3)
    assert rates(schedule="step", steps=100, step_every=0.25, step_factor=0.3, learning_rate=0.1) == pytest.approx(
        wanted
    )


def test_cosine_is_torchs_behind_a_straight_rise() -> None:
    found = rates(schedule="cosine", steps=100, warm_up=0.2, learning_rate=0.1)
    assert found[20:] == pytest.approx(of_torch(optim.lr_scheduler.CosineAnnealingLR, 80, 0.1, T_max=80))
    rises = [after - before for before, after in itertools.pairwise(found[:21])]
    assert rises == pytest.approx([found[0]] * 20)
    assert max(found) == found[20] == 0.1


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one_cycle"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("warm_up", [0.0, 0.15, 1.0])
def test_no_schedule_fails_on_few_steps(schedule: str, steps: int, warm_up: float) -> None:
    found = rates(schedule=schedule, steps=steps, warm_up=warm_up, learning_rate=0.1)
    assert all(0 <= rate <= 0.1 + 1e-9 for rate in found)
    assert max(found) > 0


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)


def stepped(optimizer: optim.Optimizer, network: nn.Module) -> dict[str, Any]:
    rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(5):
        optimizer.zero_grad()
        network.norm(network.linear(rows)).square().sum().backward()  # type: ignore[operator]
        optimizer.step()
    return dict(network.state_dict())


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("sgd", lambda groups: optim.SGD(groups, lr=0.1, momentum=0.8, nesterov=True)),
        ("adam", lambda groups: optim.Adam(groups, lr=0.1, betas=(0.8, 0.999))),
        ("adamw", lambda groups: optim.AdamW(groups, lr=0.1, betas=(0.8, 0.999))),
        ("rmsprop", lambda groups: optim.RMSprop(groups, lr=0.1, momentum=0.8)),
    ],
)
def test_an_optimizer_does_what_torchs_does_with_decay_for_matrices_alone(name: str, reference: Any) -> None:
    own, other = Tiny(), Tiny()
    settings = TrainingSettings(optimizer=name, learning_rate=0.1, momentum=0.8, weight_decay=0.3)  # type: ignore[arg-type]
    vectors = [other.linear.bias, *other.norm.parameters()]
    groups = [{"params": [other.linear.weight], "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}]
    found, wanted = stepped(make_optimizer(own, settings), own), stepped(reference(groups), other)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value)
    assert not torch.equal(found["linear.weight"], Tiny().linear.weight)


def test_the_mean_takes_in_weights_statistics_and_counts() -> None:
    mean, network = Tiny(), Tiny()
    with torch.no_grad():
        for value in network.state_dict().values():
            value.add_(2)
    before = {name: value.clone() for name, value in mean.state_dict().items()}
    average(mean, network, 0.75)
    for name, value in mean.state_dict().items():
        wanted = before[name] + 0.5 if value.is_floating_point() else network.state_dict()[name]
        torch.testing.assert_close(value, wanted)
