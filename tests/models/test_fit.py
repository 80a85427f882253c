from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models import fit as module  # noqa: E402
from earwitness.models.augment import Augmentation  # noqa: E402
from earwitness.models.fit import fit  # noqa: E402
from earwitness.models.networks.cnn import Cnn  # noqa: E402
from earwitness.models.recipes import Recipe  # noqa: E402
from earwitness.stream.errors import EarwitnessError  # noqa: E402

from .test_augment import maker  # noqa: E402

RECIPE = Recipe(name="t", description="", licence="", data="", steps=20, batch=8, learning_rate=0.01)


def run(checkpoint: Path, seed: int = 0, say: Any = lambda line: None, recipe: Recipe = RECIPE) -> dict[str, Any]:
    torch.manual_seed(seed)
    network = Cnn(3, 64, (4, 8), (1,), dropout=0.5)
    trained, _ = fit(network, maker(Augmentation()), recipe, seed, checkpoint, lambda net: "", say)
    return dict(trained.state_dict())


def same(first: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(first[name], other[name]) for name in first)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    first, again, other = (run(tmp_path / str(k), seed) for k, seed in enumerate((0, 0, 1)))
    assert same(first, again)
    assert not same(first, other)


def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORT_EVERY", 5)

    def interrupt(line: str) -> None:
        if line.startswith("step 15/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", say=interrupt)
    lines: list[str] = []
    resumed = run(tmp_path / "a", say=lines.append)
    assert [line.split(" ")[1] for line in lines] == ["15/20", "20/20"]
    assert same(resumed, run(tmp_path / "b"))


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "a")
    with pytest.raises(EarwitnessError, match="another recipe or seed"):
        run(tmp_path / "a", seed=1)
    with pytest.raises(EarwitnessError, match="another recipe or seed"):
        run(tmp_path / "a", recipe=msgspec.structs.replace(RECIPE, batch=9))


def test_a_diverging_loss_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "soft_cross_entropy", lambda logits, targets: logits.sum() * np.nan)
    with pytest.raises(EarwitnessError, match="the loss is nan at step 1: try a lower learning rate"):
        run(tmp_path / "a")
