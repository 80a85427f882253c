from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models.bundle import Bundle, write_bundle  # noqa: E402
from earwitness.models.runtime import open_runtime  # noqa: E402
from earwitness.models.training.recipe import recipe_of  # noqa: E402
from earwitness.models.training.teachers import open_teachers  # noqa: E402
from earwitness.stream.errors import EarwitnessError  # noqa: E402

LABELS = ["low", "background", "high"]


def recipe(*teachers: Bundle, **changes: Any) -> Any:
    values = {"name": "pupil", "data": {"name": "x"}, "window_frames": 32, "hop_frames": 8}
    own = {"training.teachers": [str(teacher.path) for teacher in teachers], "front_end.fmax": 8000.0}
    return recipe_of(values, own | changes)


def windows(frames: int = 32, count: int = 5) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(-40, 10, (count, frames, 64)).astype(np.float32))


def test_a_recipe_without_teachers_has_none() -> None:
    assert open_teachers(recipe(), LABELS, False, "cpu") is None


def test_a_teachers_probabilities_come_in_the_pupils_order(made: Bundle) -> None:
    teach = open_teachers(recipe(made), LABELS, False, "cpu")
    assert teach is not None
    scores = open_runtime(made, "cpu").scores(windows().numpy())
    assert made.manifest.labels == ["high", "low", "background"]
    np.testing.assert_allclose(teach(windows()).numpy(), scores[:, [1, 2, 0]], atol=1e-6)


def test_of_labels_that_the_pupil_does_not_have_nothing_is_taken(made: Bundle) -> None:
    teach = open_teachers(recipe(made), ["high", "low"], False, "cpu")
    assert teach is not None
    scores = open_runtime(made, "cpu").scores(windows().numpy())[:, :2]
    np.testing.assert_allclose(teach(windows()).numpy(), scores / scores.sum(1, keepdims=True), atol=1e-6)
    several = open_teachers(recipe(made), ["high", "low"], True, "cpu")
    assert several is not None
    np.testing.assert_allclose(several(windows()).numpy(), scores, atol=1e-6)


def test_a_teacher_with_a_shorter_window_is_asked_for_each_of_its_own(made: Bundle) -> None:
    teach = open_teachers(recipe(made, window_frames=48), made.manifest.labels, False, "cpu")
    assert teach is not None
    longer = windows(48)
    parts = [open_runtime(made, "cpu").scores(longer[:, k : k + 32].numpy()) for k in (0, 8, 16)]
    np.testing.assert_allclose(teach(longer).numpy(), np.mean(parts, axis=0), atol=1e-6)


def test_several_teachers_are_averaged(made: Bundle, tmp_path: Path) -> None:
    surer = msgspec.structs.replace(
        made.manifest, output=msgspec.structs.replace(made.manifest.output, temperature=0.3)
    )
    other = write_bundle(tmp_path / "other", surer, made.contents)
    teach = open_teachers(recipe(made, other), made.manifest.labels, False, "cpu")
    assert teach is not None
    scores = [open_runtime(bundle, "cpu").scores(windows().numpy()) for bundle in (made, other)]
    assert np.abs(scores[0] - scores[1]).max() > 0.01
    np.testing.assert_allclose(teach(windows()).numpy(), np.mean(scores, axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "changes", "told"),
    [
        (["high", "lo"], {}, "does not know 'lo': did you mean 'low'"),
        (LABELS, {"front_end.fmax": 7000.0}, "another front end"),
        (LABELS, {"window_frames": 31}, "hears 32 frames at a time, pupil 31"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(
    made: Bundle, labels: list[str], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(EarwitnessError, match=told):
        open_teachers(recipe(made, **changes), labels, False, "cpu")
