"""The training loop on windows that are made up: which of the bands is loud is the class."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from torch import Tensor, nn  # noqa: E402

from earwitness.models.networks.registry import build_network  # noqa: E402
from earwitness.models.training import checkpoints  # noqa: E402
from earwitness.models.training import fit as module  # noqa: E402
from earwitness.models.training.checkpoints import load_weights  # noqa: E402
from earwitness.models.training.distributed import World  # noqa: E402
from earwitness.models.training.fit import Fitted, Job, fit  # noqa: E402
from earwitness.models.training.progress import Lines  # noqa: E402
from earwitness.models.training.recipe import TrainingSettings  # noqa: E402
from earwitness.stream.errors import EarwitnessError  # noqa: E402

FRAMES, BANDS, LABELS = 16, 16, 3
SETTINGS = TrainingSettings(
    steps=20, batch=8, judge_every=5, learning_rate=0.01, weight_decay=0.01, averaging=0.9, precision="fp32"
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Several threads would wait for each other longer than they work on networks as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Bands:
    """Draws windows in which one of three parts of the band is loud; stops a run at a batch where that is asked for."""

    def __init__(self, interrupt_at: int | None = None, wrong_from: int | None = None, by_chance: bool = False):
        self.interrupt_at, self.wrong_from, self.by_chance = interrupt_at, wrong_from, by_chance

    def draw(self, size: int, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        if seed[1] == self.interrupt_at:
            raise KeyboardInterrupt
        rng = np.random.default_rng(seed)
        labels = rng.integers(LABELS, size=size)
        windows = rng.normal(-40, 3, (size, FRAMES, BANDS)).astype(np.float32)
        for row, label in enumerate(labels):
            windows[row, :, 5 * label : 5 * label + 5] += 25
        if self.by_chance:
            labels = rng.integers(LABELS, size=size)
        if self.wrong_from is not None and seed[1] >= self.wrong_from:
            windows[:] = np.nan
        return torch.from_numpy(windows), torch.eye(LABELS)[labels]


class Right:
    """The share of fresh windows that are named right, or figures that are given."""

    name = "validation accuracy"

    def __init__(self, figures: Sequence[float] = ()) -> None:
        self.figures, self.seen = list(figures), list[nn.Module]()

    @torch.inference_mode()
    def __call__(self, network: nn.Module) -> float:
        assert not network.training
        self.seen.append(network)
        if self.figures:
            return self.figures[len(self.seen) - 1]
        windows, targets = Bands().draw(60, (99, 0))
        return float((network(windows).argmax(1) == targets.argmax(1)).float().mean())


def network_of(kind: str = "cnn", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    options: dict[str, Any] = {"channels": (4, 8), "depth": (1,), "dropout": 0.5} if kind == "cnn" else {}
    return build_network(kind, (FRAMES, BANDS), LABELS if kind != "autoencoder" else 2, options)


def run(
    checkpoint: Path,
    maker: Bands | None = None,
    say: Callable[[str], None] = lambda line: None,
    kind: str = "cnn",
    seed: int = 0,
    job: dict[str, Any] | None = None,
    **changes: Any,
) -> Fitted[nn.Module]:
    settings = msgspec.structs.replace(SETTINGS, **changes)
    given: dict[str, Any] = {"figure": Right()} | (job or {})
    wanted = Job(settings, seed, repr(settings), checkpoint, Lines(say, every_s=1e9), **given)
    return fit(network_of(kind, seed), maker or Bands(), wanted)


def same(first: Fitted[nn.Module], other: Fitted[nn.Module]) -> bool:
    weights, others = first.network.state_dict(), other.network.state_dict()
    return all(torch.equal(weights[name], others[name]) for name in weights)


def test_what_it_learns_it_can_name(tmp_path: Path) -> None:
    fitted = run(tmp_path / "a", steps=150, judge_every=50)
    assert fitted.figure is not None
    assert fitted.figure > 0.9
    assert not fitted.network.training


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    first, again, other = (run(tmp_path / str(k), seed=seed) for k, seed in enumerate((0, 0, 1)))
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("step", [1, 5, 7, 10, 12, 19])
@pytest.mark.parametrize("changes", [{}, {"optimizer": "rmsprop", "patience": 3, "schedule": "cosine"}])
def test_a_run_that_is_interrupted_at_any_step_goes_on_to_the_same_result(
    tmp_path: Path, step: int, changes: dict[str, Any]
) -> None:
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", Bands(interrupt_at=step), lines.append, **changes)
    assert lines[-1] == f"interrupted at step {step}: the same command goes on from step {step // 5 * 5}"
    resumed = run(tmp_path / "a", say=lines.append, **changes)
    assert resumed.steps == 20
    assert same(resumed, run(tmp_path / "b", **changes))


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = run(tmp_path / "a")
    assert same(first, run(tmp_path / "a", Bands(interrupt_at=0)))


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "a")
    with pytest.raises(EarwitnessError, match="another recipe or seed"):
        run(tmp_path / "a", seed=1)
    with pytest.raises(EarwitnessError, match="another recipe or seed"):
        run(tmp_path / "a", batch=9)


def test_a_checkpoint_that_is_none_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "trapped",))

    for content in (b"", b"nothing", pickle.dumps(Trap())):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(EarwitnessError, match="is no checkpoint"):
            run(tmp_path / "a")
    assert not (tmp_path / "trapped").exists()


def test_it_ends_early_with_the_best_weights_when_nothing_gets_better(tmp_path: Path) -> None:
    figures = Right([0.3, 0.6, 0.5, 0.6])
    lines: list[str] = []
    fitted = run(tmp_path / "a", say=lines.append, job={"figure": figures}, patience=2, steps=100)
    assert (fitted.steps, fitted.figure) == (20, 0.6)
    assert "stopped early" in lines[-1]
    assert same(fitted, run(tmp_path / "a", Bands(interrupt_at=20), patience=2, steps=100))  # and it has ended


def test_the_best_weights_are_those_of_the_best_look(tmp_path: Path) -> None:
    weights: list[dict[str, Tensor]] = []

    def watch(look: Any) -> None:
        weights.append({name: value.clone() for name, value in look.network.state_dict().items()})

    fitted = run(tmp_path / "a", job={"figure": Right([0.3, 0.6, 0.5, 0.6]), "watch": watch}, patience=2, steps=100)
    best = fitted.network.state_dict()
    assert all(torch.equal(best[name], weights[1][name]) for name in best)
    assert not all(torch.equal(best[name], weights[3][name]) for name in best)


def test_what_is_kept_is_the_running_mean_of_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    own = module.average

    def average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
        own(averaged, network, decay)
        seen.append(network.head.weight.detach().clone())  # type: ignore[union-attr,operator]

    monkeypatch.setattr(module, "average", average)
    fitted = run(tmp_path / "a", averaging=0.5)
    mean = network_of().head.weight.detach()  # type: ignore[union-attr,operator]
    for step, weight in enumerate(seen, start=1):
        decay = min(0.5, step / (step + 10))
        mean = decay * mean + (1 - decay) * weight
    torch.testing.assert_close(fitted.network.head.weight, mean)  # type: ignore[union-attr]
    seen.clear()
    plain = run(tmp_path / "b", averaging=0.0)
    assert torch.equal(plain.network.head.weight, seen[-1])  # type: ignore[union-attr,arg-type]


def test_a_loss_that_is_no_number_stops_the_run_and_the_last_good_weights_are_kept(tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match=r"the loss is nan at step 8.*weights of step 5 are kept in .*good\.saf"):
        run(tmp_path / "a.checkpoint", Bands(wrong_from=7))
    kept = load_weights(tmp_path / "a.good.safetensors")
    weights: list[dict[str, Tensor]] = []
    run(tmp_path / "b", job={"watch": lambda look: weights.append(dict(look.network.state_dict()))}, steps=20)
    assert all(bool(value.isfinite().all()) for value in kept.values())
    assert set(kept) == set(weights[0])
    assert not (tmp_path / "a.checkpoint").exists()  # it would lead to the same end


def test_a_learning_rate_that_lets_the_loss_explode_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match="try a lower training"):
        run(
            tmp_path / "a.checkpoint", Bands(by_chance=True), kind="perceptron", steps=200, learning_rate=1e4,
            optimizer="sgd", momentum=0.0, clip_norm=0.0, schedule="constant", weight_decay=0.0,
        )  # fmt: skip
    assert (tmp_path / "a.good.safetensors").exists()


def test_a_full_disk_leaves_the_last_checkpoint_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, written = checkpoints.write_whole, list[bytes]()

    def write(path: Path, data: bytes) -> None:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(data)
        own(path, data)

    monkeypatch.setattr(checkpoints, "write_whole", write)
    lines: list[str] = []
    full = run(tmp_path / "a", say=lines.append)
    assert sum("No space left on device; what was saved at step 5 stays" in line for line in lines) == 3
    assert (tmp_path / "a").read_bytes() == written[0]
    monkeypatch.undo()
    assert same(full, run(tmp_path / "a", say=lines.append))
    assert any(line.startswith("going on from step 5") for line in lines)


def test_a_disk_that_is_full_half_way_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from earwitness.stream import durable

    path = tmp_path / "a"
    checkpoints.save_checkpoint(path, {"step": 1})

    def write(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable.os, "write", write)
    with pytest.raises(EarwitnessError, match=r"cannot write .*: No space left on device"):
        checkpoints.save_checkpoint(path, {"step": 2})
    monkeypatch.undo()
    assert checkpoints.load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_gradients_are_cut_to_their_norm(tmp_path: Path) -> None:
    looks: list[Any] = []
    job = {"watch": looks.append}
    start = network_of().head.weight.detach().clone()  # type: ignore[union-attr,operator]

    def moved(clip_norm: float) -> float:
        fitted = run(
            tmp_path / str(clip_norm), job=job, steps=1, optimizer="sgd", momentum=0.0, schedule="constant",
            weight_decay=0.0, averaging=0.0, learning_rate=1.0, clip_norm=clip_norm,
        )  # fmt: skip
        return float((fitted.network.head.weight.detach() - start).norm())  # type: ignore[union-attr,operator]

    whole, cut = moved(0.0), moved(1e-3)
    norm = looks[0].gradient_norm
    assert norm == pytest.approx(looks[1].gradient_norm)  # as it was before the cut
    assert cut == pytest.approx(whole * 1e-3 / norm, rel=1e-3)


def test_teachers_are_learnt_beside_the_labels(tmp_path: Path) -> None:
    def teach(windows: Tensor) -> Tensor:  # what is said of every window, whatever is in it
        return torch.tensor([0.05, 0.9, 0.05]).expand(len(windows), 3)

    fitted = run(tmp_path / "a", job={"teach": teach}, steps=100, teacher_weight=1.0)
    with torch.inference_mode():
        named = fitted.network(Bands().draw(30, (5, 5))[0]).argmax(1)
    assert (named == 1).all()


def test_an_autoencoder_learns_to_give_windows_back(tmp_path: Path) -> None:
    losses: list[float] = []
    job = {"figure": None, "watch": lambda look: losses.append(look.loss)}
    run(tmp_path / "a", kind="autoencoder", job=job, steps=100, judge_every=25)
    assert losses[-1] < 0.7 * losses[0]


def test_a_batch_that_is_drawn_in_parts_is_the_parts_in_a_row(tmp_path: Path) -> None:
    seen: list[Sequence[int]] = []

    class Noted(Bands):
        def draw(self, size: int, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
            seen.append((size, *seed))
            return super().draw(size, seed)

    run(tmp_path / "a", Noted(), steps=1, draws=4)
    assert seen == [(2, 0, 0, 0), (2, 0, 0, 1), (2, 0, 0, 2), (2, 0, 0, 3)]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_half_precision_it_learns_the_same_thing_and_resumes(tmp_path: Path, precision: str) -> None:
    fitted = run(tmp_path / "a", precision=precision, steps=60, judge_every=30)
    assert fitted.figure is not None
    assert fitted.figure > 0.6
    assert all(value.dtype != torch.bfloat16 for value in fitted.network.state_dict().values())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", Bands(interrupt_at=45), precision=precision, steps=60, judge_every=30)
    assert same(fitted, run(tmp_path / "b", precision=precision, steps=60, judge_every=30))
    assert not same(fitted, run(tmp_path / "c", precision="fp32", steps=60, judge_every=30))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu_it_learns_and_resumes_to_the_same_result(tmp_path: Path, precision: str) -> None:
    class OnGpu(Bands):
        def draw(self, size: int, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
            windows, targets = super().draw(size, seed)
            return windows.cuda(), targets.cuda()

    job = {"world": World(device="cuda"), "figure": None}
    whole = run(tmp_path / "a", OnGpu(), precision=precision, steps=60, judge_every=30, job=job)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", OnGpu(interrupt_at=45), precision=precision, steps=60, judge_every=30, job=job)
    assert same(whole, run(tmp_path / "b", OnGpu(), precision=precision, steps=60, judge_every=30, job=job))
    assert Right()(whole.network) > 0.6
