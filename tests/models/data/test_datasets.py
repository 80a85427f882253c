from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.models.data.datasets import dataset_names, open_dataset
from earwitness.models.data.splits import without_shared_recordings
from earwitness.stream.errors import EarwitnessError


def sound(path: Path, seconds: float = 0.1, sr: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(int(seconds * sr))), sr)
    return path


def table(path: Path, rows: list[dict[str, object]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def urban(root: Path, folds: tuple[int, ...] = (1, 2), there: tuple[int, ...] = (1, 2)) -> Path:
    rows = []
    for fold in folds:
        for number, label in enumerate(("siren", "dog_bark")):
            name = f"{fold}00{number}-0-0-{number}.wav"
            rows.append({"slice_file_name": name, "fsID": f"{fold}00{number}", "fold": fold, "class": label})
            if fold in there:
                sound(root / "urbansound8k" / "audio" / f"fold{fold}" / name)
    table(root / "urbansound8k" / "metadata" / "UrbanSound8K.csv", rows)
    return root


def digits(root: Path, speakers: str = "ab", takes: int = 7) -> Path:
    for speaker in speakers:
        for take in range(takes):
            sound(root / "fsdd" / "recordings" / f"{take % 10}_{speaker}_{take}.wav")
    return root


def test_the_table_of_urbansound_gives_folds_and_recordings(tmp_path: Path) -> None:
    dataset = open_dataset("urbansound8k", urban(tmp_path))
    assert dataset.folds == (1, 2)
    assert dataset.labels == ("dog_bark", "siren")
    assert {clip.recording for clip in dataset.clips} == {"1000", "1001", "2000", "2001"}
    assert dataset.rounds() == [((2,), (1,)), ((1,), (2,))]


def test_files_that_are_missing_are_counted_and_the_rest_is_used(tmp_path: Path) -> None:
    dataset = open_dataset("urbansound8k", urban(tmp_path, folds=(1, 2, 3), there=(2,)))
    assert dataset.folds == (2,)
    (problem,) = dataset.problems
    assert problem.startswith("4 files listed and not there: ")
    with pytest.raises(EarwitnessError, match="one fold only, 2"):
        dataset.rounds()


def test_a_data_set_of_which_nothing_is_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match=r"no clip in .*: 4 files listed and not there"):
        open_dataset("urbansound8k", urban(tmp_path, there=()))


def test_spoken_digits_are_judged_by_their_first_takes_or_by_speaker(tmp_path: Path) -> None:
    root = digits(tmp_path)
    official = open_dataset("fsdd", root)
    assert official.rounds() == [((1,), (2,))]
    test = official.choose((2,))
    assert {clip.path.stem.split("_")[2] for clip in test} == set("01234")
    assert {clip.label for clip in test} == {"zero", "one", "two", "three", "four"}
    speakers = open_dataset("fsdd-speakers", root)
    assert speakers.fold_names == {1: "a", 2: "b"}
    assert all("_a_" in clip.path.name for clip in speakers.choose((1,)))
    assert len({clip.recording for clip in speakers.clips}) == 2


def test_a_digit_of_another_name_is_told(tmp_path: Path) -> None:
    root = digits(tmp_path)
    sound(root / "fsdd" / "recordings" / "hello.wav")
    assert open_dataset("fsdd", root).problems == ("1 file of another name than DIGIT_SPEAKER_TAKE.wav: hello.wav",)


def test_esc10_is_read_out_of_esc50_where_it_has_no_folder(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for number, (label, small) in enumerate([("dog", "True"), ("cat", "False"), ("rain", "True")]):
        sound(tmp_path / "esc50" / "audio" / f"1-{number}-A-{number}.wav")
        rows.append(
            {"filename": f"1-{number}-A-{number}.wav", "fold": 1, "category": label, "esc10": small, "src_file": number}
        )
    table(tmp_path / "esc50" / "meta" / "esc50.csv", rows)
    assert open_dataset("esc10", tmp_path).labels == ("dog", "rain")
    assert open_dataset("esc50", tmp_path).labels == ("cat", "dog", "rain")


def test_licences_come_from_the_text_where_the_table_has_none(tmp_path: Path) -> None:
    sound(tmp_path / "esc50" / "audio" / "1-7-A-0.wav")
    table(
        tmp_path / "esc50" / "meta" / "esc50.csv",
        [{"filename": "1-7-A-0.wav", "fold": 1, "category": "dog", "src_file": 7}],
    )
    (tmp_path / "esc50" / "LICENSE").write_text("101 - Dog:\n- [1-7-A.ogg]: clip derived from [x].wav by y [CC-BY]\n")
    (clip,) = open_dataset("esc50", tmp_path).clips
    assert clip.licence == "CC-BY"


@pytest.mark.parametrize(
    ("name", "message"),
    [("esc5", "did you mean 'esc50'"), ("esc50", "earwitness data get esc50"), ("./nowhere", "no folder ./nowhere")],
)
def test_a_data_set_that_is_not_there_is_one_line_with_the_next_step(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(EarwitnessError, match=message):
        open_dataset(name, tmp_path)


def test_a_folder_is_not_guessed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EARWITNESS_DATA", str(tmp_path))
    with pytest.raises(EarwitnessError, match="--root"):
        open_dataset("folder")


def test_choosing_names_the_nearest_licence(tones: Path) -> None:
    dataset = open_dataset("tones", tones)
    assert {clip.licence for clip in dataset.choose(licences=("CC0", "CC-BY"))} == {"CC0"}
    with pytest.raises(EarwitnessError, match="did you mean 'CC0'"):
        dataset.choose(licences=("CCO",))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "labels", "folds"),
    [
        ("esc50", 50, {1: 400, 2: 400, 3: 400, 4: 400}),
        ("esc10", 10, {1: 80, 2: 80, 3: 80, 4: 80}),
        ("urbansound8k", 10, {3: 387, 10: 837}),
        ("fsdd", 10, {1: 2250, 2: 250}),
        ("fsdd-speakers", 10, {1: 500, 2: 500, 3: 500, 4: 500, 5: 500}),
    ],
)
def test_the_real_data_sets_have_the_clips_that_they_should(
    data_root: Path, name: str, labels: int, folds: dict[int, int]
) -> None:
    dataset = open_dataset(name, data_root)
    counts = Counter(clip.fold for clip in dataset.clips)
    assert {fold: counts[fold] for fold in folds} == folds
    assert len(dataset.labels) == labels


@pytest.mark.data
def test_esc50_and_urbansound_share_recordings(data_root: Path) -> None:
    esc50, urbansound = (open_dataset(name, data_root) for name in ("esc50", "urbansound8k"))
    kept, dropped = without_shared_recordings(urbansound.clips, esc50.clips)
    assert len({clip.recording for clip in dropped}) >= 17
    assert len(kept) + len(dropped) == len(urbansound.clips)
    by_fold = [{clip.recording for clip in esc50.choose((fold,))} for fold in esc50.folds]
    assert sum(map(len, by_fold)) > len(set().union(*by_fold))  # some stand in two folds


def test_names_are_told() -> None:
    assert {"esc50", "esc10", "urbansound8k", "fsdd", "clips", "folder"} <= set(dataset_names())
