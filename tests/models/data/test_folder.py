from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.models.data.clip import BACKGROUND
from earwitness.models.data.datasets import open_dataset
from earwitness.models.data.folder import fold_of
from earwitness.stream.errors import EarwitnessError


def sound(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(800, 0.1), 8000)
    return path


def test_a_folder_is_a_class(tmp_path: Path) -> None:
    for name in ("dog/1.wav", "dog/puppies/2.flac", "cat/1.ogg", "cat/notes.txt"):
        sound(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).write_text("no sound")
    dataset = open_dataset("folder", tmp_path)
    assert [(clip.path.name, clip.label) for clip in dataset.clips] == [
        ("1.ogg", "cat"),
        ("1.wav", "dog"),
        ("2.flac", "dog"),
    ]
    assert dataset.problems == ()
    assert not dataset.test_folds


@pytest.mark.parametrize("name", ["noise", "background", "Silence", "other"])
def test_what_is_no_event_is_background(tmp_path: Path, name: str) -> None:
    sound(tmp_path / name / "1.wav")
    sound(tmp_path / "dog" / "1.wav")
    dataset = open_dataset("folder", tmp_path)
    assert {clip.label for clip in dataset.clips} == {BACKGROUND, "dog"}
    assert dataset.labels == ("dog",)


def test_an_empty_class_and_loose_files_are_told(tmp_path: Path) -> None:
    sound(tmp_path / "dog" / "1.wav")
    sound(tmp_path / "loose.wav")
    (tmp_path / "cat").mkdir()
    dataset = open_dataset("folder", tmp_path)
    assert dataset.labels == ("dog",)
    assert any("1 file in no class's folder" in problem and "loose.wav" in problem for problem in dataset.problems)
    assert any("class 'cat' is left out: no sound" in problem for problem in dataset.problems)


def test_a_folder_without_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match="folder: no clip in"):
        open_dataset("folder", tmp_path)


def test_parts_that_are_named_are_kept_apart(tmp_path: Path) -> None:
    for name in ("train/dog/1.wav", "train/cat/1.wav", "test/dog/2.wav", "val/cat/3.wav"):
        sound(tmp_path / name)
    dataset = open_dataset("folder", tmp_path)
    assert dataset.rounds() == [((1, 2), (3,))]
    assert {clip.path.name: dataset.fold_names[clip.fold] for clip in dataset.clips if clip.label == "dog"} == {
        "1.wav": "train", "2.wav": "test",
    }  # fmt: skip


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train/1.wav", "dog/1.wav"):
        sound(tmp_path / name)
    assert open_dataset("folder", tmp_path).labels == ("dog", "train")


def test_the_table_wins_over_the_folder(tmp_path: Path) -> None:
    for name in ("dog/1.wav", "dog/2.wav", "dog/3.wav", "loose.wav"):
        sound(tmp_path / name)
    (tmp_path / "metadata.csv").write_text(
        "file_name,label,fold,recording,licence,start_s,end_s\n"
        "dog/1.wav,wolf,3,forest,CC0,0.01,0.05\n"
        "dog/2.wav,,,forest,,,\n"
    )  # fmt: skip
    dataset = open_dataset("folder", tmp_path)
    by_name = {clip.path.name: clip for clip in dataset.clips}
    first = by_name["1.wav"]
    assert (first.label, first.fold, first.recording, first.licence) == ("wolf", 3, "forest", "CC0")
    assert (first.start_s, first.end_s) == (0.01, 0.05)
    assert by_name["2.wav"].label == by_name["3.wav"].label == "dog"
    assert by_name["2.wav"].fold == fold_of("forest")
    assert dataset.problems == ("1 file without a label: loose.wav",)


def test_rows_that_lead_elsewhere_or_are_damaged_are_told_and_left_out(tmp_path: Path) -> None:
    sound(tmp_path / "data" / "dog" / "1.wav")
    sound(tmp_path / "data" / "dog" / "2.wav")
    sound(tmp_path / "secret.wav")
    (tmp_path / "data" / "metadata.csv").write_text(
        "file_name;label;start_s;end_s\n../secret.wav;dog;;\n/etc/passwd;dog;;\ndog/1.wav;dog;2;1\n\ndog/2.wav;dog;;\n"
        "dog/gone.wav;dog;;\n"
    )
    dataset = open_dataset("folder", tmp_path / "data")
    assert [clip.path.name for clip in dataset.clips] == ["2.wav"]
    told = "\n".join(dataset.problems)
    assert "2 files named outside of the folder: ../secret.wav, /etc/passwd" in told
    assert "1 file whose fold, start_s or end_s is no number: dog/1.wav" in told
    assert "1 file listed and not there" in told


def test_folds_do_not_change_when_clips_are_added(tmp_path: Path) -> None:
    for number in range(20):
        sound(tmp_path / "dog" / f"{number}.wav")
    before = {clip.path: clip.fold for clip in open_dataset("folder", tmp_path).clips}
    for number in range(5):
        sound(tmp_path / "dog" / f"00{number}.wav")
    after = {clip.path: clip.fold for clip in open_dataset("folder", tmp_path).clips}
    assert len(set(before.values())) > 2
    assert {path: after[path] for path in before} == before


def test_a_folder_under_the_root_goes_by_its_own_name(tmp_path: Path) -> None:
    sound(tmp_path / "birds" / "wren" / "1.wav")
    assert open_dataset("birds", tmp_path).labels == ("wren",)
    assert open_dataset(f"{tmp_path}/birds").labels == ("wren",)


def test_a_label_that_looks_mistyped_is_told(tmp_path: Path) -> None:
    for name in ("speech/1.wav", "speech/2.wav", "speach/3.wav", "rain/4.wav"):
        sound(tmp_path / name)
    assert open_dataset("folder", tmp_path).problems == ("label 'speach' stands on one clip only: is it 'speech'?",)
