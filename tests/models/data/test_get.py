from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.models.data import get as module
from earwitness.models.data.datasets import open_dataset
from earwitness.models.data.get import ARCHIVES, PART_OF, Archive, get_dataset
from earwitness.stream.errors import EarwitnessError

from .server import Served, serving
from .test_unpack import zipped

CLIPS = 6


def wav() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.full(800, 0.1), 8000, format="WAV")
    return file.getvalue()


def published(folder: Path, url: str = "", clips: int = CLIPS, **changes: object) -> tuple[bytes, dict[str, Archive]]:
    """The archive of a small fsdd, and what is known of it."""
    members = {f"fsdd-1.0/recordings/{k}_ann_{k}.wav": wav() for k in range(clips)}
    data = zipped(folder / "made.zip", members | {"fsdd-1.0/setup.py": b"print('no')"}).read_bytes()
    (folder / "made.zip").unlink()
    fields = {
        "url": url, "folder": "fsdd", "clips": CLIPS, "keep": ("recordings/*.wav",), "bytes": len(data),
        "unpacked": 20_000, "licence": "CC0", "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    return data, {"fsdd": Archive(**(fields | changes))}  # type: ignore[arg-type]


def get(root: Path, archives: dict[str, Archive], said: list[str], **options: object):  # type: ignore[no-untyped-def]
    return get_dataset("fsdd", root, said.append, archives=archives, pause_s=0.0, **options)  # type: ignore[arg-type]


def test_a_data_set_is_loaded_checked_and_opened(tmp_path: Path) -> None:
    said: list[str] = []
    told: list[float] = []
    with serving(Served(b"")) as served:
        served.content, archives = published(tmp_path, served.url)
        dataset = get(tmp_path / "root", archives, said, progress=told.append)
    assert len(dataset.clips) == CLIPS
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["fsdd"]
    assert not (tmp_path / "root" / "fsdd" / "setup.py").exists()
    assert told[-1] == 1.0
    assert any("licence: CC0" in line for line in said)
    assert any("SHA-256" in line or "SHA256" in line for line in said)


def test_what_is_there_is_not_loaded_again(tmp_path: Path) -> None:
    with serving(Served(b"")) as served:
        served.content, archives = published(tmp_path, served.url)
        get(tmp_path / "root", archives, [])
        said: list[str] = []
        get(tmp_path / "root", archives, said)
    assert len(served.asked) == 1
    assert said == [f"fsdd: {CLIPS} clips are in {tmp_path / 'root' / 'fsdd'} already"]


def test_what_is_there_in_part_is_never_touched(tmp_path: Path) -> None:
    _, archives = published(tmp_path, clips=CLIPS)
    path = tmp_path / "root" / "fsdd" / "recordings" / "1_ann_1.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(wav())
    with pytest.raises(EarwitnessError, match=r"is there with 1 of 6 clips: earwitness data check fsdd"):
        get(tmp_path / "root", archives, [])
    assert path.exists()


def test_an_interrupted_call_goes_on(tmp_path: Path) -> None:
    with serving(Served(b"")) as served:
        served.content, archives = published(tmp_path, served.url)
        served.breaks = [100] + [0] * 20
        with pytest.raises(EarwitnessError, match="call it again to go on"):
            get(tmp_path / "root", archives, [])
        served.breaks.clear()
        get(tmp_path / "root", archives, [])
    assert served.asked[-1] == "bytes=100-"


def test_a_published_checksum_that_differs_is_refused_and_an_unpublished_one_told(tmp_path: Path) -> None:
    with serving(Served(b"")) as served:
        served.content, archives = published(tmp_path, served.url, md5="0" * 32)
        with pytest.raises(EarwitnessError, match="is not what was published: its MD5 is"):
            get(tmp_path / "root", archives, [])
        assert list((tmp_path / "root").iterdir()) == []
        served.content, archives = published(tmp_path, served.url, sha256="0" * 64)
        said: list[str] = []
        assert len(get(tmp_path / "root", archives, said).clips) == CLIPS
    assert any("not that of the archive we know" in line for line in said)


def test_an_archive_without_all_clips_is_refused(tmp_path: Path) -> None:
    with serving(Served(b"")) as served:
        served.content, archives = published(tmp_path, served.url, clips=4)
        with pytest.raises(EarwitnessError, match="has 4 of 6 clips only"):
            get(tmp_path / "root", archives, [])
    assert list((tmp_path / "root").iterdir()) == []


def test_another_archive_is_refused(tmp_path: Path) -> None:
    other = zipped(tmp_path / "other.zip", {"x/y.txt": b"nothing"})
    _, archives = published(tmp_path)
    with pytest.raises(EarwitnessError, match="is not the archive of fsdd"):
        get(tmp_path / "root", archives, [], archive=other)
    assert other.exists()


def test_an_archive_that_was_loaded_elsewhere_is_taken_and_kept(tmp_path: Path) -> None:
    data, archives = published(tmp_path, "http://data.invalid/fsdd.zip")
    (tmp_path / "mine.zip").write_bytes(data)
    dataset = get(tmp_path / "root", archives, [], archive=tmp_path / "mine.zip")
    assert len(dataset.clips) == CLIPS
    assert (tmp_path / "mine.zip").exists()
    with pytest.raises(EarwitnessError, match=r"cannot read .*nowhere\.zip"):
        get(tmp_path / "other", archives, [], archive=tmp_path / "nowhere.zip")


def test_a_disk_that_fills_while_unpacking_keeps_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with serving(Served(b"")) as served:
        served.content, archives = published(tmp_path, served.url)
        monkeypatch.setattr(module, "unpack", full)
        with pytest.raises(EarwitnessError, match="the disk is full"):
            get(tmp_path / "root", archives, [])
        monkeypatch.undo()
        get(tmp_path / "root", archives, [])
    assert len(served.asked) == 1
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["fsdd"]


def test_what_a_killed_call_left_half_unpacked_is_removed(tmp_path: Path) -> None:
    data, archives = published(tmp_path)
    (tmp_path / "mine.zip").write_bytes(data)
    left = tmp_path / "root" / ".fsdd.unpacking" / "recordings"
    left.mkdir(parents=True)
    (left / "0_old_0.wav").write_bytes(b"half")
    dataset = get(tmp_path / "root", archives, [], archive=tmp_path / "mine.zip")
    assert len(dataset.clips) == CLIPS
    assert not left.parent.exists()


@pytest.mark.parametrize(("name", "message"), [("clips", "your own recordings"), ("esc51", "did you mean 'esc50'")])
def test_what_cannot_be_loaded_is_one_line(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(EarwitnessError, match=message):
        get_dataset(name, tmp_path)


def test_every_address_is_encrypted_and_every_archive_known_by_a_checksum() -> None:
    assert set(PART_OF.values()) <= set(ARCHIVES)
    for archive in ARCHIVES.values():
        assert archive.url.startswith("https://")
        assert archive.md5 or archive.sha256


@pytest.mark.data
def test_the_patterns_keep_the_files_that_the_real_data_sets_consist_of(data_root: Path) -> None:
    from fnmatch import fnmatchcase

    for name, archive in ARCHIVES.items():
        for clip in open_dataset(name, data_root).clips[::100]:
            original = clip.path.relative_to(data_root / archive.folder).with_suffix(".wav").as_posix()
            assert any(fnmatchcase(original, pattern) for pattern in archive.keep), original
