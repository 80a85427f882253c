"""`earwitness train` as a person types it, on a folder of sounds made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.launch import app  # noqa: E402
from earwitness.models.bundle import Bundle, find_bundle  # noqa: E402
from earwitness.models.data import background  # noqa: E402
from earwitness.models.training import training_data  # noqa: E402
from earwitness.stream.errors import EarwitnessError  # noqa: E402

from .scene import SR, tone  # noqa: E402

QUICK = [
    "--set", "training.steps=60", "--set", "training.judge_every=30", "--set", "training.batch=24",
    "--set", "training.averaging=0.9", "--set", "window_frames=48", "--set", "hop_frames=12",
    "--set", "data.test_folds=[]", "--set", "data.validation_part=0.3", "--threads", "1", "--device", "cpu",
]  # fmt: skip


def command(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of two sounds."""
    rng, root = np.random.default_rng(3), tmp_path_factory.mktemp("sounds") / "bleeps"
    for label in ("low", "high"):
        (root / label).mkdir(parents=True)
        for number in range(8):
            soundfile.write(root / label / f"{number}.wav", tone(rng, label), SR)
    (root / "low" / "broken.wav").write_bytes(b"not a sound")
    return root


@pytest.fixture(scope="module")
def trained(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Result]:
    out, threads = tmp_path_factory.mktemp("out"), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        few = background.synthesised
        patch.setattr(training_data, "synthesised", lambda seed, sr, count: few(seed, sr, min(count, 12), 2.0))
        words = ("--data", sounds, "--out", out, "--tensorboard", out / "board", *QUICK)
        result = command("train", "--network", "shallow", *words)
    torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    return find_bundle(out / "bleeps-shallow"), result


def test_two_commands_train_on_a_folder_and_judge(trained: tuple[Bundle, Result], sounds: Path) -> None:
    bundle, _ = trained
    assert bundle.manifest.labels == ["high", "low", "background"]
    judged = command("evaluate", "--model", bundle.path, "--data", sounds, "--json")
    assert '"accuracy":1.0' in judged.output


def test_it_says_how_far_it_is_and_what_it_could_not_read(trained: tuple[Bundle, Result]) -> None:
    _, result = trained
    assert "step 30/60  loss " in result.output
    assert "validation accuracy" in result.output
    assert " left" in result.output
    assert "broken.wav" in result.output
    assert "Traceback" not in result.output


def test_the_bundle_holds_its_recipe_and_tensorboards_files_lie_beside_it(trained: tuple[Bundle, Result]) -> None:
    bundle, _ = trained
    assert b"steps = 60" in bundle.contents["recipe.toml"]
    assert {path.name for path in bundle.path.parent.iterdir()} == {"bleeps-shallow", "board"}
    assert any((bundle.path.parent / "board" / "bleeps-shallow").iterdir())


def test_help_shows_the_networks_or_the_options_of_one() -> None:
    every = command("train", "--help").output
    assert "autoencoder" in every
    assert "training.learning_rate=0.004" in every
    for words in (("--network", "shallow"), ("--network=shallow",)):
        one = command("train", *words, "--help").output
        assert "network.hidden" in one or "network.layers" in one
        assert "autoencoder" not in one.partition("Network shallow")[2].partition("Keys of a recipe")[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name --recipe"),
        (("--recipe", "esc50-cn"), "no recipe 'esc50-cn': did you mean 'esc50-cnn'"),
        (("--network", "shalow", "--data", "x"), "no network 'shalow': did you mean 'shallow'"),
        (("--recipe", "esc10-cnn", "--set", "training.step=1"), "did you mean 'steps'"),
        (("--network", "shallow", "--data", "./nowhere"), "no folder ./nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    result = command("train", "--out", tmp_path, *words)
    assert isinstance(result.exception, EarwitnessError)
    assert told in str(result.exception)
    assert "\n" not in str(result.exception)
