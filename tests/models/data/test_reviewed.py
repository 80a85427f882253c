from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.models.data.clip import BACKGROUND
from earwitness.models.data.datasets import open_dataset
from earwitness.models.data.reviewed import open_reviewed
from earwitness.stream.clip_table import ClipTable
from earwitness.stream.clips import ClipRecord, clip_fields
from earwitness.stream.errors import EarwitnessError


def row(name: str, review: str, utc: str = "2026-11-21T10:00:00.000Z", label: str = "dog") -> dict[str, str]:
    """A row as the recorder writes it, and what a person wrote into it."""
    record = ClipRecord(
        file_name=name, id=name, label=label, score=0.9, stream="kitchen", epoch=1, utc=utc, utc_error_ms=1.0,
        model="tiny@000000", onset_sample=80000, offset_sample=84000, rate=8000, channels=1, dtype="int16",
        first_sample=64000, end_sample=92000, duration_s=3.5, pre_roll_s=2.0, post_roll_s=1.0,
    )  # fmt: skip
    return clip_fields(record) | {"review": review}


def saved(out: Path, rows: list[dict[str, str]]) -> Path:
    folder = out / "clips"
    folder.mkdir(parents=True)
    ClipTable(folder / "metadata.csv").rewrite(lambda name: True, rows)
    for each in rows:
        path = folder / each["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(28000, 0.1), 8000)
    return out


def test_the_label_that_a_person_gave_wins_and_unreviewed_clips_are_left_out(tmp_path: Path) -> None:
    saved(tmp_path, [row("kitchen/a.flac", "cat"), row("kitchen/b.flac", ""), row("kitchen/c.flac", "dog")])
    dataset = open_dataset("clips", tmp_path)
    assert {clip.path.name: clip.label for clip in dataset.clips} == {"a.flac": "cat", "c.flac": "dog"}
    assert dataset.problems == ("1 of 3 clips have no review: write there what they were",)
    everything = open_reviewed("clips", tmp_path / "clips", only_reviewed=False)
    assert [clip.label for clip in everything.clips] == ["cat", "dog", "dog"]


def test_a_review_may_name_several_sounds_none_or_nobody_knows_which(tmp_path: Path) -> None:
    reviews = {"a.flac": "dog; speech", "b.flac": "Noise", "c.flac": "?", "d.flac": " dog "}
    saved(tmp_path, [row(name, review) for name, review in reviews.items()])
    dataset = open_dataset("clips", tmp_path)
    assert {clip.path.name: clip.labels for clip in dataset.clips} == {
        "a.flac": ("dog", "speech"), "b.flac": (BACKGROUND,), "d.flac": ("dog",),
    }  # fmt: skip
    assert dataset.multi_label


def test_the_event_and_a_second_around_it_are_used(tmp_path: Path) -> None:
    saved(tmp_path, [row("a.flac", "dog")])
    (clip,) = open_dataset("clips", tmp_path).clips
    assert (clip.start_s, clip.end_s) == (1.0, 3.5)


def test_clips_of_one_hour_and_those_that_share_sound_are_one_recording(tmp_path: Path) -> None:
    times = ("10:00:05", "10:30:00", "10:59:59", "11:00:01", "11:20:00", "14:00:00")
    rows = [row(f"{n}.flac", "dog", f"2026-11-21T{time}.000Z") for n, time in enumerate(times)]
    saved(tmp_path, rows)
    recordings = {clip.path.stem: clip.recording for clip in open_dataset("clips", tmp_path).clips}
    assert recordings["0"] == recordings["1"] == recordings["2"] == recordings["3"]
    assert len({recordings["0"], recordings["4"], recordings["5"]}) == 3


def test_nothing_reviewed_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    saved(tmp_path, [row("a.flac", "")])
    with pytest.raises(EarwitnessError, match="1 of 1 clips have no review"):
        open_dataset("clips", tmp_path)


def test_rows_that_are_damaged_or_lead_elsewhere_are_told(tmp_path: Path) -> None:
    broken = row("b.flac", "dog") | {"onset_s": "soon"}
    saved(tmp_path / "out", [row("a.flac", "dog"), broken])
    elsewhere = row("../../x.flac", "dog")
    ClipTable(tmp_path / "out" / "clips" / "metadata.csv").rewrite(lambda name: True, [elsewhere])
    problems = "\n".join(open_dataset("clips", tmp_path / "out").problems)
    assert "1 file named outside of the folder: ../../x.flac" in problems
    assert "1 file whose row is damaged: b.flac" in problems


def test_a_run_that_removed_a_clip_meanwhile_does_no_harm(tmp_path: Path) -> None:
    saved(tmp_path, [row("a.flac", "dog"), row("b.flac", "dog")])
    (tmp_path / "clips" / "a.flac").unlink()
    dataset = open_dataset("clips", tmp_path)
    assert [clip.path.name for clip in dataset.clips] == ["b.flac"]
    assert "1 file listed and not there" in dataset.problems[0]


def test_clips_are_known_by_their_table_under_any_name(tmp_path: Path) -> None:
    saved(tmp_path / "garden", [row("a.flac", "fox")])
    assert open_dataset(f"{tmp_path}/garden/clips").labels == ("fox",)
