"""The classical families: options for people, and ONNX files that decide as scikit-learn does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the families are scikit-learn's (extra train)")
pytest.importorskip("skl2onnx", reason="and are exported by skl2onnx (extra train)")

from earwitness.models.bundle import Bundle, Input, Output, write_bundle
from earwitness.models.classical.export import check_export, logits_of, to_onnx
from earwitness.models.classical.families import FAMILIES, family_options_of, fit_family, read_family_options
from earwitness.models.classical.statistics import WindowStatistics
from earwitness.models.export import OUTPUT
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec

from ..conftest import manifest

FRAMES, DIMS = 20, 12
SPEC = FrontEndSpec(n_mels=DIMS)
SMALL = {
    "random_forest": {"trees": 20},
    "adaboost": {"trees": 15},
    "gradient_boosting": {"rounds": 10},
    "kmeans": {"clusters": 20},
    "rbm": {"hidden": 128, "learning_rate": 0.05, "rounds": 20},
    "pca": {"components": 16},
}
OTHERS = [
    ("svm", {"kernel": "linear"}), ("svm", {"kernel": "poly"}), ("knn", {"p": 1}), ("lda", {"shrinkage": 0.5}),
    *(("pca", {"components": 16, "classifier": name}) for name in ("lda", "knn", "logistic_regression")),
]  # fmt: skip


def toy(rng: np.random.Generator, count: int, kinds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Windows in dB, each kind with a band of its own that is loud or, of the last one, that flickers."""
    kind = rng.integers(0, kinds, count)
    windows = rng.normal(-60, 3, (count, FRAMES, DIMS))
    for place, which in enumerate(kind):
        shape = 15.0 if which < kinds - 1 else 15.0 * rng.choice([-1, 1], FRAMES)
        windows[place, :, which] += shape
    return windows.astype(np.float32), kind


def bundle_of(folder: Path, model: bytes, kinds: int) -> Bundle:
    labels = ["a", "b", "c"][:kinds]
    told = manifest(
        labels=labels, background="", thresholds=dict.fromkeys(labels, 0.5), window_frames=FRAMES, hop_frames=5,
        front_end=SPEC, input=Input(name="windows", shape=[0, FRAMES, DIMS]), network=None,
        output=Output(name=OUTPUT, activation="softmax"),
    )  # fmt: skip
    return write_bundle(folder / "tiny", told, {"model.onnx": model})


@pytest.mark.parametrize(("family", "options"), [*((name, SMALL.get(name, {})) for name in FAMILIES), *OTHERS])
@pytest.mark.parametrize("kinds", [2, 3])
def test_a_family_tells_toys_apart_and_its_file_decides_alike(
    family: str, options: dict[str, object], kinds: int, rng: np.random.Generator, tmp_path: Path
) -> None:
    told = read_family_options(family, {"statistics": ["mean", "std", "delta_mean"], "windows": 200, **options})
    statistics = WindowStatistics(told.statistics, FRAMES, DIMS)
    windows, right = toy(rng, told.windows, kinds)
    classifier = fit_family(told, statistics.fit(windows), right, seed=0)
    unseen, unseen_right = toy(rng, 150, kinds)
    found = logits_of(classifier, statistics(unseen)).argmax(axis=1)
    assert (found == unseen_right).mean() > 0.8  # chance: 1 / kinds
    bundle = bundle_of(tmp_path, to_onnx(statistics, classifier), kinds)
    assert check_export(bundle, statistics, classifier, unseen) < 1e-4


def test_an_export_that_decides_otherwise_is_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    told = read_family_options("decision_tree", {"statistics": ["mean"], "windows": 200})
    statistics = WindowStatistics(told.statistics, FRAMES, DIMS)
    windows, right = toy(rng, 200)
    fitted = statistics.fit(windows)
    bundle = bundle_of(tmp_path, to_onnx(statistics, fit_family(told, fitted, right, seed=0)), 3)
    other = fit_family(told, fitted, (right + 1) % 3, seed=0)
    with pytest.raises(EarwitnessError, match="exported tiny differs from scikit-learn by"):
        check_export(bundle, statistics, other, windows)


def test_the_same_seed_gives_the_same_file(rng: np.random.Generator) -> None:
    told = read_family_options("random_forest", {"trees": 5, "windows": 100})
    windows, right = toy(rng, 100)

    def made(seed: int) -> bytes:
        statistics = WindowStatistics(told.statistics, FRAMES, DIMS)
        return to_onnx(statistics, fit_family(told, statistics.fit(windows), right, seed))

    assert made(3) == made(3)
    assert made(3) != made(4)


def test_a_single_label_is_one_line(rng: np.random.Generator) -> None:
    windows, _ = toy(rng, 30)
    statistics = WindowStatistics(["mean"], FRAMES, DIMS)
    with pytest.raises(EarwitnessError, match="one label: there is nothing to tell apart"):
        fit_family(family_options_of("svm")(), statistics.fit(windows), np.zeros(30, np.int64), seed=0)


def test_wrong_options_are_one_line_with_the_nearest() -> None:
    with pytest.raises(EarwitnessError, match="did you mean 'random_forest'"):
        family_options_of("random_forst")
    with pytest.raises(EarwitnessError, match="no option 'neighbors'; did you mean 'neighbours'"):
        read_family_options("knn", {"neighbors": 3})
    with pytest.raises(EarwitnessError, match="clusters"):
        read_family_options("kmeans", {"clusters": 0})
