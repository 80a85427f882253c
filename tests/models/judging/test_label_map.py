"""Label maps: scores of other labels, what they refuse, and those in the box."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from earwitness.models.judging.label_map import LabelMap, find_label_map, label_map_names
from earwitness.stream.errors import EarwitnessError

LABELS = ["Bark", "Meow", "Howl"]
SCORES = np.array([[0.2, 0.5, 0.7], [0.6, 0.1, 0.6]], np.float32)


@pytest.mark.parametrize(("combine", "dog"), [("max", [0.7, 0.6]), ("sum", [0.9, 1.0])])
def test_a_label_s_score_is_the_greatest_or_the_sum_of_its_sources(combine: str, dog: list[float]) -> None:
    labels = {"cat": ("Meow",), "dog": ("Bark", "Howl", "Bark")}
    scores = LabelMap(labels=labels, combine=combine).apply(SCORES, LABELS)  # type: ignore[arg-type]
    np.testing.assert_allclose(scores, np.array([[0.5, 0.1], dog]).T, rtol=1e-6)


def test_no_windows_have_no_scores() -> None:
    assert LabelMap(labels={"cat": ("Meow",)}).apply(SCORES[:0], LABELS).shape == (0, 1)


def test_a_source_that_the_model_does_not_know_is_named_with_the_nearest() -> None:
    with pytest.raises(EarwitnessError, match="dog: the model knows no 'Barks'; did you mean 'Bark'"):
        LabelMap(labels={"dog": ("Barks",)}, name="mine").check(LABELS)


def test_a_map_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('combine = "sum"\n[labels]\ndog = ["Bark", "Howl"]\n')
    assert find_label_map(str(path)) == LabelMap(labels={"dog": ("Bark", "Howl")}, combine="sum", name="mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels = 3", "Expected `object`"),
        ("[labels]\ndog = []", "length >= 1"),
        ("[labels]\ndog = ['Bark']\n[more]", "unknown field"),
        ("labels", "is no TOML"),
    ],
)
def test_what_is_no_map_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(EarwitnessError, match=message) as caught:
        find_label_map(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(EarwitnessError, match="did you mean 'yamnet-esc10'"):
        find_label_map("yamnet-esc1")


def test_the_maps_in_the_box_can_be_read_and_name_each_source_for_one_label_alone() -> None:
    assert label_map_names() == ["yamnet-esc10", "yamnet-esc50", "yamnet-urbansound8k"]
    for name in label_map_names():
        sources = [source for each in find_label_map(name).labels.values() for source in each]
        assert len(set(sources)) == len(sources), name


@pytest.mark.data
@pytest.mark.parametrize("data", ["esc10", "esc50", "urbansound8k"])
def test_the_maps_in_the_box_know_the_labels_of_their_model_and_their_data(data: str, data_root: Path) -> None:
    from earwitness.models.data.datasets import open_dataset

    labels = find_label_map(f"yamnet-{data}")
    assert set(open_dataset(data, data_root).labels) - set(labels.labels) <= {"can_opening"}
    names = data_root.parent / "models" / "yamnet_class_map.csv"
    if not names.is_file():
        pytest.skip(f"no {names}")
    with names.open(newline="") as file:
        labels.check([row["display_name"] for row in csv.DictReader(file)])
