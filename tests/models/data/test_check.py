from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.models.data.check import check_dataset, check_lines, list_lines
from earwitness.stream.errors import EarwitnessError


@pytest.fixture
def sounds(tmp_path: Path, rng: np.random.Generator) -> Path:
    for label in ("dog", "cat"):
        (tmp_path / label).mkdir()
        for number in range(6):
            soundfile.write(tmp_path / label / f"{number}.wav", 0.1 * rng.standard_normal(4000), 8000)
    return tmp_path


def test_a_data_set_in_order_is_told_in_numbers(sounds: Path) -> None:
    soundfile.write(sounds / "dog" / "6.wav", np.full(16000, 0.1), 16000)
    told: list[float] = []
    check = check_dataset("folder", sounds, told.append)
    assert check.broken == check.notes == []
    assert check.seconds == 7.0
    assert check.rates == {8000: 12, 16000: 1}
    lines = check_lines(check)
    assert lines[0] == f"folder in {sounds}: 13 clips of 2 classes, 0 min 7 s"
    assert lines[-1] == "every file can be read"
    assert told[-1] == 1.0


def test_every_broken_file_is_named_and_the_rest_is_counted(sounds: Path) -> None:
    (sounds / "dog" / "0.wav").write_bytes(b"RIFF")
    (sounds / "dog" / "1.wav").write_bytes((sounds / "dog" / "1.wav").read_bytes()[:4000])
    (sounds / "dog" / "2.wav").write_bytes(b"")
    check = check_dataset("folder", sounds)
    assert len(check.broken) == 3
    assert [name for name in ("0.wav", "1.wav", "2.wav") if not any(name in line for line in check.broken)] == []
    assert any("cut off" in line for line in check.broken)
    assert check.rates == {8000: 10}
    assert check_lines(check)[-1] == "3 broken"


def test_silence_doubles_and_rare_classes_are_noted(sounds: Path) -> None:
    (sounds / "owl").mkdir()
    soundfile.write(sounds / "owl" / "silent.wav", np.zeros(800), 8000)
    (sounds / "owl" / "copy.wav").write_bytes((sounds / "dog" / "0.wav").read_bytes())
    (sounds / "cat" / "again.wav").write_bytes((sounds / "cat" / "1.wav").read_bytes())
    notes = "\n".join(check_dataset("folder", sounds).notes)
    assert "1 file silent from end to end" in notes
    assert "the same sound under the labels dog, owl: 0.wav, copy.wav" in notes
    assert "the same sound as several recordings, which may stand on both sides of a split: 1.wav, again.wav" in notes
    assert "classes of fewer than 5 clips: owl 2" in notes


def test_recordings_in_several_folds_are_noted(sounds: Path) -> None:
    (sounds / "metadata.csv").write_text("file_name,fold,recording\ndog/0.wav,1,walk\ndog/1.wav,2,walk\n")
    assert any("in several folds" in note and "walk" in note for note in check_dataset("folder", sounds).notes)


def test_a_data_set_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match="earwitness data get esc50"):
        check_dataset("esc50", tmp_path)


def test_the_list_tells_what_is_there(tones: Path, tmp_path: Path) -> None:
    here = "\n".join(list_lines(tones))
    assert f"12 clips in {tones / 'fsdd'}" in here
    assert "esc50" in here
    assert "no folder of data" in "\n".join(list_lines(tmp_path / "nowhere"))
