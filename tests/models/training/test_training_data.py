"""What a recipe makes of a data set. Sounds are not read here, but for the hash."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from earwitness.models.data.datasets import Clip, Dataset
from earwitness.models.training import training_data
from earwitness.models.training.recipe import recipe_of
from earwitness.models.training.training_data import TrainingData, credits_of, read_data
from earwitness.stream.errors import EarwitnessError


def clips(labels: str = "ab", folds: int = 4, each: int = 4, **changes: Any) -> list[Clip]:
    return [
        Clip(Path(f"{label}{fold}{number}.wav"), label, fold, f"{label}{fold}{number // 2}", **changes)
        for label in labels
        for fold in range(1, folds + 1)
        for number in range(each)
    ]


def read(
    monkeypatch: pytest.MonkeyPatch, found: list[Clip], tests: tuple[int, ...] = (), **data: Any
) -> tuple[TrainingData, list[str]]:
    dataset = Dataset("made", Path("/nowhere"), tuple(found), "by folds", tests, problems=("one file is missing",))
    monkeypatch.setattr(training_data, "open_dataset", lambda name, root: dataset)
    lines: list[str] = []
    recipe = recipe_of({"name": "own", "data": {"name": "made", **data}})
    return read_data(recipe, None, lines.append), lines


def folds_of(found: list[Clip]) -> set[int]:
    return {clip.fold for clip in found}


def test_where_nothing_is_said_the_last_fold_is_judged_by(monkeypatch: pytest.MonkeyPatch) -> None:
    data, lines = read(monkeypatch, clips())
    assert data.test_folds == (4,)
    assert folds_of(data.training) | folds_of(data.validation) == {1, 2, 3}
    assert "made: one file is missing" in lines


def test_where_nothing_is_said_an_official_test_is_judged_by(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = read(monkeypatch, clips(), tests=(1, 3))
    assert data.test_folds == (1, 3)
    assert folds_of(data.training) == {2, 4}


@pytest.mark.parametrize(
    ("said", "trained", "tested"),
    [
        ({"folds": [1, 2]}, {1, 2}, ()),
        ({"test_folds": [2]}, {1, 3, 4}, (2,)),
        ({"test_folds": []}, {1, 2, 3, 4}, ()),
        ({"folds": [1, 2, 3, 4]}, {1, 2, 3, 4}, ()),
        ({"folds": [3], "test_folds": [1]}, {3}, (1,)),
    ],
)
def test_folds_are_those_that_are_said(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], trained: set[int], tested: tuple[int, ...]
) -> None:
    data, _ = read(monkeypatch, clips(), **said)
    assert folds_of(data.training) == trained
    assert data.test_folds == tested


def test_a_label_with_one_clip_is_trained_on_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    data, lines = read(monkeypatch, [*clips(folds=1), Clip(Path("c.wav"), "c", 1, "c")], test_folds=[])
    assert [clip.label for clip in data.training].count("c") == 1
    assert "c" not in {clip.label for clip in data.validation}
    assert "c" in data.labels
    assert [line for line in lines if "'c'" in line] == [
        "made: label 'c' has a single recording: trained on, none is left to choose by"
    ]


def test_a_data_set_without_folds_is_split_by_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = read(monkeypatch, clips(folds=1, each=20), validation_part=0.2)
    assert data.test_folds == ()
    assert len(data.validation) == 8
    assert not {clip.recording for clip in data.training} & {clip.recording for clip in data.validation}


def test_nothing_is_kept_out_where_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = read(monkeypatch, clips(), validation_part=0.0, folds=[1, 2, 3, 4])
    assert (len(data.training), data.validation) == (32, [])


def test_a_recording_that_is_judged_by_is_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = clips()
    twice = dataclasses.replace(found[-1], fold=1, path=Path("twice.wav"))
    data, _ = read(monkeypatch, [*found, twice], test_folds=[4])
    assert twice not in data.training + data.validation


def test_only_clips_under_the_licences_are_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = read(monkeypatch, clips(licence="CC0") + clips("ab", licence="CC-BY-NC"), licences=["CC0"])
    assert {clip.licence for clip in data.training + data.validation} == {"CC0"}


def test_a_background_is_the_last_label_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, clips())[0].labels == ["a", "b", "background"]
    plain, _ = read(monkeypatch, clips(), backgrounds=[])
    assert (plain.labels, plain.background) == (["a", "b"], "")
    own = [dataclasses.replace(clip, label="background") for clip in clips("c")]
    data, _ = read(monkeypatch, clips() + own, backgrounds=[])
    assert (data.labels, data.background) == (["a", "b", "background"], "background")


def test_one_sound_can_be_learnt_beside_backgrounds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, clips("a"))[0].labels == ["a", "background"]
    with pytest.raises(EarwitnessError, match="1 kinds of sound to train on"):
        read(monkeypatch, clips("a"), backgrounds=[])


def test_several_labels_at_once_are_found_or_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not read(monkeypatch, clips())[0].multi_label
    several = read(monkeypatch, clips(further_labels=("c",)))[0]
    assert several.multi_label
    assert several.labels == ["a", "b", "c", "background"]
    assert not read(monkeypatch, clips(further_labels=("c",)), multi_label=False)[0].multi_label
    assert read(monkeypatch, clips(), multi_label=True)[0].multi_label


def test_backgrounds_of_one_use_are_not_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = read(monkeypatch, clips())
    sounds = {
        use: [b.samples.tobytes() for b in data.backgrounds(use) if b.kind == "noise"][:3]
        for use in ("training", "choice", "test")
    }
    assert not set(sounds["training"]) & set(sounds["choice"])
    assert not set(sounds["training"]) & set(sounds["test"])
    assert read(monkeypatch, clips(), backgrounds=[])[0].backgrounds("training") == []


def test_no_fold_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EarwitnessError, match="are judged by: none is left"):
        read(monkeypatch, clips(), test_folds=[1, 2, 3, 4])


def test_the_hash_knows_names_and_contents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = [dataclasses.replace(clip, path=tmp_path / clip.path) for clip in clips()]
    for clip in found:
        clip.path.write_bytes(clip.path.name.encode())
    data, _ = read(monkeypatch, found)
    first = data.sha256
    assert first == read(monkeypatch, found)[0].sha256
    data.training[0].path.write_bytes(b"other")
    assert data.sha256 != first


def test_credits_name_every_clip_and_the_backgrounds(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = read(monkeypatch, clips(licence="CC0"), backgrounds=["rooms"])
    text = credits_of(data)
    assert "a11.wav CC0" in text
    assert "a41.wav" not in text
    assert "Speech Commands" in text
    assert "Digit" not in text
