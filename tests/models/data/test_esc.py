from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from earwitness.models.data.audio import read_audio
from earwitness.models.data.clip import FREE_LICENCES
from earwitness.models.data.esc import credits_of, open_esc
from earwitness.models.data.root import data_folder, data_root
from earwitness.stream.errors import EarwitnessError


def test_clips_are_chosen_by_fold_and_licence(tones: Path) -> None:
    dataset = open_esc("tones", tones / "tones")
    assert len(dataset.clips) == 24
    assert {clip.fold for clip in dataset.choose(folds=(2, 3))} == {2, 3}
    free = dataset.choose(licences=("CC0",))
    assert {clip.licence for clip in free} == {"CC0"}
    assert len(free) == 21


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    with pytest.raises(EarwitnessError, match="cannot read"):
        open_esc("esc50", tmp_path)
    (tmp_path / "meta" / "esc50.csv").write_text("a,b\n1,2\n")
    with pytest.raises(EarwitnessError, match="is not the table of ESC-50"):
        open_esc("esc50", tmp_path)


def test_folds_that_are_not_there_are_refused(tones: Path) -> None:
    with pytest.raises(EarwitnessError, match="tones has no fold '9'; valid: '1', '2'"):
        open_esc("tones", tones / "tones").choose((9,))


def test_credits_name_the_clips_used_and_no_others(tones: Path) -> None:
    clips = open_esc("tones", tones / "tones").choose((2,))
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
    free = open_esc("esc50", folder).choose(licences=FREE_LICENCES)
    assert len(credits_of(folder, free)) == len(free)
    fewest = min(sum(clip.label == label for clip in free) for label in {clip.label for clip in free})
    assert fewest >= 19
    if shutil.disk_usage(folder).free:  # one real file of each kind can be read
        assert len(read_audio(free[0].path, 16000)) > 16000
