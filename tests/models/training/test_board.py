"""What TensorBoard is given, read back by TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")
pytest.importorskip("tensorboard", reason="TensorBoard is part of the extra train")

from torch import nn  # noqa: E402

from earwitness.models.data.datasets import Clip  # noqa: E402
from earwitness.models.networks.registry import build_network  # noqa: E402
from earwitness.models.training.board import Board, embeddings  # noqa: E402
from earwitness.models.training.fit import Look  # noqa: E402
from earwitness.models.training.validation import ValidationClips  # noqa: E402

LABELS = ["cat", "dog", "background"]
RATE = 8000


def network_of(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_network("cnn", (16, 16), 3, {"channels": (4, 8), "depth": (1,), **options})


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ValidationClips:
    rng = np.random.default_rng(0)
    kept, windows = [], []
    for number in range(6):
        path = tmp_path_factory.mktemp("clips") / f"{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(RATE // 2), RATE)
        kept.append(Clip(path, LABELS[number % 2], 1, str(number)))
        windows.append(rng.normal(-40, 10, (number + 1, 16, 16)).astype(np.float32))
    return ValidationClips(kept, windows, LABELS, 2, multi_label=False)


@pytest.fixture(scope="module")
def folder(clips: ValidationClips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    network = network_of()
    with Board(folder) as board:
        board.graph(network, (16, 16))
        assert network.training
        for step in (10, 20):
            board.look(Look(step, 1 / step, 0.01, 2.0, 0.5 + step / 100, network))
        board.judge(network.eval(), clips, RATE, 20)
    return folder


@pytest.fixture(scope="module")
def shown(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0, "images": 0, "audio": 0, "scalars": 0})
    return accumulator.Reload()


def test_the_figures_of_every_look_are_curves(shown: Any) -> None:
    curves = {tag: [(event.step, event.value) for event in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}
    assert curves["loss"] == [(10, pytest.approx(0.1)), (20, pytest.approx(0.05))]
    assert curves["validation"] == [(10, pytest.approx(0.6)), (20, pytest.approx(0.7))]
    assert {"learning rate", "gradient norm"} <= set(curves)


def test_the_graph_is_the_networks(shown: Any) -> None:
    names = {node.name for node in shown.Graph().node}
    assert any("head" in name for name in names)
    assert any("stem" in name for name in names)


def test_what_was_misheard_is_seen_and_heard(shown: Any, clips: ValidationClips) -> None:
    pictures = [tag for tag in shown.Tags()["images"] if tag.startswith("misheard/")]
    sounds = [tag for tag in shown.Tags()["audio"] if tag.startswith("misheard/")]
    assert pictures
    assert pictures == sounds
    assert all("taken for" in tag for tag in pictures)
    (sound,) = shown.Audio(sounds[0])
    assert sound.sample_rate == RATE
    (picture,) = shown.Images(pictures[0])
    assert picture.height == 16  # bands


def test_there_is_a_confusion_matrix_and_a_curve_of_precision_and_recall_for_each_event(shown: Any) -> None:
    assert "confusion" in shown.Tags()["images"]
    assert set(shown.Tags()["tensors"]) == {"precision-recall/cat", "precision-recall/dog"}


def test_the_last_layers_inputs_are_embeddings_with_their_labels(folder: Path, clips: ValidationClips) -> None:
    (labels,) = folder.rglob("metadata.tsv")
    (values,) = folder.rglob("tensors.tsv")
    count = sum(map(len, clips.windows))
    assert sorted(labels.read_text().split()) == sorted(
        clip.label for clip, windows in zip(clips.clips, clips.windows, strict=True) for _ in windows
    )
    rows = [line.split("\t") for line in values.read_text().splitlines()]
    width = next(module.in_features for module in network_of().modules() if isinstance(module, nn.Linear))
    assert (len(rows), {len(row) for row in rows}) == (count, {width})


def test_embeddings_are_what_the_last_layer_is_given() -> None:
    network = network_of().eval()
    windows = torch.randn(300, 16, 16)
    values = embeddings(network, windows)
    assert values is not None
    with torch.inference_mode():
        torch.testing.assert_close(network.head(values), network(windows))  # type: ignore[operator]
    assert embeddings(nn.Flatten(), windows) is None


def test_what_an_earlier_run_left_goes_but_for_a_run_that_goes_on(tmp_path: Path) -> None:
    for going_on, files in ((True, 2), (False, 1)):
        (tmp_path / "left").mkdir(exist_ok=True)
        (tmp_path / "left" / "events").touch()
        Board(tmp_path / "left", going_on).__exit__()
        assert len(list((tmp_path / "left").iterdir())) == files
