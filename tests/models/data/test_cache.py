from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.models.data import cache as module
from earwitness.models.data.audio import read_clip
from earwitness.models.data.cache import FeatureCache, cache_folder
from earwitness.models.data.clip import Clip
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec, compute
from earwitness.stream.resample import resample

SPEC = FrontEndSpec(n_mels=8)


@pytest.fixture
def clips(tmp_path: Path, rng: np.random.Generator) -> list[Clip]:
    made = []
    for number in range(4):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(8000), 16000)
        made.append(Clip(path, "x", 1, str(number)))
    return made


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*"))


def test_frames_come_from_the_disk_the_second_time_and_are_the_same(tmp_path: Path, clips: list[Clip]) -> None:
    first, second = FeatureCache(tmp_path / "cache"), FeatureCache(tmp_path / "cache")
    for clip in clips:
        expected = compute(SPEC, read_clip(clip, SPEC.sr))
        np.testing.assert_array_equal(first.frames(clip, SPEC), expected)
        np.testing.assert_array_equal(second.frames(clip, SPEC), expected)
    assert (first.hits, first.misses, second.hits, second.misses) == (0, 4, 4, 0)
    assert isinstance(second.frames(clips[0], SPEC), np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        second.frames(clips[0], SPEC)[0] = 0


def test_another_front_end_part_or_content_is_another_entry(tmp_path: Path, clips: list[Clip]) -> None:
    cache, clip = FeatureCache(tmp_path / "cache"), clips[0]
    cache.frames(clip, SPEC)
    cache.frames(clip, FrontEndSpec(n_mels=9))
    cache.frames(Clip(clip.path, "x", 1, "", "", 0.1, 0.3), SPEC)
    clip.path.write_bytes(clips[1].path.read_bytes())
    np.testing.assert_array_equal(cache.frames(clip, SPEC), compute(SPEC, read_clip(clips[1], SPEC.sr)))
    assert (cache.hits, cache.misses, len(entries(tmp_path / "cache"))) == (0, 4, 4)


def test_another_speed_is_another_entry_with_the_frames_of_the_sound_played_so(
    tmp_path: Path, clips: list[Clip]
) -> None:
    cache = FeatureCache(tmp_path / "cache")
    cache.frames(clips[0], SPEC)
    for _ in range(2):
        fast = cache.frames(clips[0], SPEC, speed=1.25)
        played = resample(read_clip(clips[0], SPEC.sr), 20000, 16000)
        np.testing.assert_array_equal(fast, compute(SPEC, played))
    assert (cache.hits, cache.misses) == (1, 2)


def test_a_file_that_was_moved_is_found_by_its_content(tmp_path: Path, clips: list[Clip]) -> None:
    cache = FeatureCache(tmp_path / "cache")
    cache.frames(clips[0], SPEC)
    moved = clips[0].path.rename(tmp_path / "elsewhere.wav")
    cache.frames(Clip(moved, "y", 2, ""), SPEC)
    assert (cache.hits, cache.misses) == (1, 1)


@pytest.mark.parametrize("place", [0, 70, 200, -1, -20])
def test_a_spoilt_entry_is_computed_again(tmp_path: Path, clips: list[Clip], place: int) -> None:
    FeatureCache(tmp_path / "cache").frames(clips[0], SPEC)
    (entry,) = entries(tmp_path / "cache")
    data = bytearray(entry.read_bytes())
    data[place] ^= 0x55
    entry.write_bytes(data)
    cache = FeatureCache(tmp_path / "cache")
    np.testing.assert_array_equal(cache.frames(clips[0], SPEC), compute(SPEC, read_clip(clips[0], SPEC.sr)))
    assert cache.misses == 1
    cache.frames(clips[0], SPEC)
    assert cache.hits == 1


@pytest.mark.parametrize("left", [0, 5, 100, 1000])
def test_an_entry_that_was_cut_off_is_computed_again(tmp_path: Path, clips: list[Clip], left: int) -> None:
    FeatureCache(tmp_path / "cache").frames(clips[0], SPEC)
    (entry,) = entries(tmp_path / "cache")
    os.truncate(entry, left)
    cache = FeatureCache(tmp_path / "cache")
    np.testing.assert_array_equal(cache.frames(clips[0], SPEC), compute(SPEC, read_clip(clips[0], SPEC.sr)))
    assert cache.misses == 1


def test_what_was_used_longest_ago_goes_first(tmp_path: Path, clips: list[Clip]) -> None:
    folder = tmp_path / "cache"
    FeatureCache(folder).frames(clips[0], SPEC)
    size = entries(folder)[0].stat().st_size
    cache = FeatureCache(folder, limit=int(3.5 * size))
    for age, clip in enumerate(clips[1:3]):
        cache.frames(clip, SPEC)
        for path in entries(folder):
            os.utime(path, (time.time() - 10_000 + age,) * 2)
    cache.frames(clips[0], SPEC)  # used now
    cache.frames(clips[3], SPEC)  # one too many
    assert sum(path.stat().st_size for path in entries(folder)) <= 3.5 * size
    again = FeatureCache(folder)
    again.frames(clips[0], SPEC)
    again.frames(clips[3], SPEC)
    assert again.hits == 2


def test_what_a_killed_process_left_goes_when_it_is_old(tmp_path: Path, clips: list[Clip]) -> None:
    folder = tmp_path / "cache"
    (folder / "ab").mkdir(parents=True)
    old, new = folder / "ab" / ".x.1.1.part", folder / "ab" / ".y.1.1.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    FeatureCache(folder).frames(clips[0], SPEC)
    assert not old.exists()
    assert new.exists()


def test_notes_on_a_damaged_file_are_told_from_the_cache_too(tmp_path: Path, clips: list[Clip]) -> None:
    data = clips[0].path.read_bytes()
    clips[0].path.write_bytes(data[: len(data) // 2])
    cache = FeatureCache(tmp_path / "cache")
    told: list[list[str]] = [[], []]
    for notes in told:
        cache.frames(clips[0], SPEC, notes.append)
    assert cache.hits == 1
    assert told[0] == told[1]
    assert "cut off" in told[0][0]


def test_a_sound_too_short_for_a_frame_has_none(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "click.wav", np.full(10, 0.1), 16000)
    cache = FeatureCache(tmp_path / "cache")
    for _ in range(2):
        assert cache.frames(Clip(tmp_path / "click.wav", "x", 1, ""), SPEC).shape == (0, 8)
    assert cache.hits == 1


def test_a_file_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF but not really")
    cache = FeatureCache(tmp_path / "cache")
    for name in ("broken.wav", "gone.wav"):
        with pytest.raises(EarwitnessError, match=name):
            cache.frames(Clip(tmp_path / name, "x", 1, ""), SPEC)
    assert entries(tmp_path / "cache") == []


def test_a_full_disk_is_told_once_and_frames_are_computed_all_the_same(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "write_entry", full)
    said: list[str] = []
    cache = FeatureCache(tmp_path / "cache", say=said.append)
    for clip in clips[:2]:
        np.testing.assert_array_equal(cache.frames(clip, SPEC), compute(SPEC, read_clip(clip, SPEC.sr)))
    assert said == [f"features are not kept in {tmp_path / 'cache'}: No space left on device"]
    assert entries(tmp_path / "cache") == []


def test_two_processes_may_fill_and_empty_it_together(tmp_path: Path, clips: list[Clip]) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from earwitness.models.data.cache import FeatureCache\n"
        "from earwitness.models.data.clip import Clip\n"
        "from earwitness.stream.features.frontend import FrontEndSpec\n"
        "spec = FrontEndSpec(n_mels=8)\n"
        "for k in range(60):\n"
        "    cache = FeatureCache(Path(sys.argv[1]), limit=5000)\n"
        "    assert cache.frames(Clip(Path(sys.argv[2 + k % 4]), 'x', 1, ''), spec).shape == (47, 8)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "cache"), *(str(clip.path) for clip in clips)]
    children = [subprocess.Popen(command) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    assert not list((tmp_path / "cache").glob("??/.*.part"))


def test_the_folder_is_where_caches_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EARWITNESS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "earwitness" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "earwitness" / "features"
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "mine"))
    assert FeatureCache().folder == tmp_path / "mine"
