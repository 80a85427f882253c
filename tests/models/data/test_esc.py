from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.models.data.esc import Clip, credits_of, read_audio, read_clips, split_by_recording
from earwitness.models.data.root import data_folder, data_root
from earwitness.stream.errors import EarwitnessError


def test_clips_are_chosen_by_fold_and_licence(tones: Path) -> None:
    folder = tones / "tones"
    assert len(read_clips(folder)) == 24
    assert {clip.fold for clip in read_clips(folder, folds=(2, 3))} == {2, 3}
    free = read_clips(folder, licences=("CC0",))
    assert {clip.licence for clip in free} == {"CC0"}
    assert len(free) == 21


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    with pytest.raises(EarwitnessError, match="cannot read"):
        read_clips(tmp_path)
    (tmp_path / "meta" / "esc50.csv").write_text("a,b\n1,2\n")
    with pytest.raises(EarwitnessError, match="is not the table of ESC-50"):
        read_clips(tmp_path)


def test_folds_that_are_not_there_are_refused(tones: Path) -> None:
    with pytest.raises(EarwitnessError, match="tones has no fold '9'; valid: '1', '2'"):
        read_clips(tones / "tones", folds=(9,))


def test_a_recording_is_never_split_and_every_class_is_kept() -> None:
    clips = [
        Clip(Path(f"{label}{fold}{source}{take}"), label, fold, f"{label}{source}" if source else "shared", "")
        for label in "abc"
        for fold in (1, 2, 3)
        for source in range(4)
        for take in range(2)
    ]
    training, validation = split_by_recording(clips, fold=3, part=0.25, seed=0)
    assert len(training) + len(validation) == len(clips)
    assert not {clip.recording for clip in training} & {clip.recording for clip in validation}
    assert {clip.label for clip in validation} == set("abc")
    assert {clip.label for clip in training} == set("abc")
    assert (training, validation) == split_by_recording(clips, fold=3, part=0.25, seed=0)


def test_sound_is_mixed_to_mono_and_resampled(tmp_path: Path) -> None:
    time = np.arange(44100) / 44100
    left = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([left, np.zeros_like(left)], 1), 44100, subtype="FLOAT")
    samples = read_audio(tmp_path / "a.wav", 16000)
    assert samples.dtype == np.float32
    assert len(samples) == 16000
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(samples[500:-500], expected[500:-500], atol=1e-3)


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").write_bytes(b"OggS but not really")
    with pytest.raises(EarwitnessError, match=r"a\.ogg is no sound file that can be read") as caught:
        read_audio(tmp_path / "a.ogg", 16000)
    assert "\n" not in str(caught.value)


def test_credits_name_the_clips_used_and_no_others(tones: Path) -> None:
    clips = read_clips(tones / "tones", folds=(2,))
    lines = credits_of(tones / "tones", clips)
    assert len(lines) == len(clips)
    assert all(line.startswith("[2-") for line in lines)


def test_the_data_root_is_the_one_given_else_the_variables(tones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_DATA", str(tones))
    assert data_root() == tones
    assert data_root(tones.parent) == tones.parent
    with pytest.raises(EarwitnessError, match="--root"):
        data_root(tones / "nowhere")
    with pytest.raises(EarwitnessError, match="did you mean 'tones'"):
        data_folder(tones, "tone")


@pytest.mark.data
def test_every_free_clip_of_esc50_is_credited(data_root: Path) -> None:
    folder = data_folder(data_root, "esc50")
    free = read_clips(folder, licences=("CC0", "CC-BY"))
    assert len(credits_of(folder, free)) == len(free)
    fewest = min(sum(clip.label == label for clip in free) for label in {clip.label for clip in free})
    assert fewest >= 19
    if shutil.disk_usage(folder).free:  # one real file of each kind can be read
        assert len(read_audio(free[0].path, 16000)) > 16000
