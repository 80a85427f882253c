from __future__ import annotations

import io
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from earwitness.models.data.unpack import unpack
from earwitness.stream.errors import EarwitnessError

Pack = Callable[[Path, dict[str, bytes]], Path]


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return path


def tarred(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return path


both = pytest.mark.parametrize("pack", [zipped, tarred])


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@both
def test_what_is_wanted_is_unpacked_without_the_folder_at_the_top(tmp_path: Path, pack: Pack) -> None:
    members = {
        "set-1.0/audio/a.wav": b"sound",
        "set-1.0/meta/t.csv": b"a,b",
        "set-1.0/evil.py": b"no",
        "top.txt": b"no",
    }
    archive = pack(tmp_path / "set", members)
    assert unpack(archive, tmp_path / "out", ("audio/*.wav", "meta/*.csv", "*.txt"), 100) == 2
    assert files(tmp_path / "out") == {"audio/a.wav": b"sound", "meta/t.csv": b"a,b"}


@both
@pytest.mark.parametrize(
    "name", ["set/../../audio/x.wav", "/audio/x.wav", "set/audio/..\\x.wav", "C:/audio/x.wav", "../audio/x.wav"]
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, pack: Pack, name: str) -> None:
    archive = pack(tmp_path / "set", {name: b"sound"})
    with pytest.raises(EarwitnessError, match="leads out of the folder: nothing of it is used"):
        unpack(archive, tmp_path / "a" / "out", ("*",), 100)
    assert files(tmp_path) == {"set": archive.read_bytes()}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_of_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "set.tgz", "w:gz") as packed:
        info = tarfile.TarInfo("set/audio")
        info.type, info.linkname = kind, "/etc"
        packed.addfile(info)
    with pytest.raises(EarwitnessError, match="is a link or a device"):
        unpack(tmp_path / "set.tgz", tmp_path / "out", ("*",), 100)


def test_links_of_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("set/audio")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        packed.writestr(info, "/etc")
    with pytest.raises(EarwitnessError, match="is a link or a device"):
        unpack(tmp_path / "set.zip", tmp_path / "out", ("*",), 100)


@both
def test_a_flood_is_stopped(tmp_path: Path, pack: Pack) -> None:
    archive = pack(tmp_path / "set", {"set/a.wav": b"\0" * 5_000_000})
    assert archive.stat().st_size < 50_000
    with pytest.raises(EarwitnessError, match="holds more than it should"):
        unpack(archive, tmp_path / "out", ("*",), 1_000_000)
    assert (tmp_path / "out" / "a.wav").stat().st_size <= 1_000_000


@both
@pytest.mark.parametrize("cut", [10, 2000])
def test_an_archive_that_is_cut_off_is_one_line(tmp_path: Path, pack: Pack, cut: int) -> None:
    archive = pack(tmp_path / "set", {f"set/{n}.wav": random.Random(n).randbytes(1000) for n in range(5)})
    archive.write_bytes(archive.read_bytes()[:-cut])
    with pytest.raises(EarwitnessError, match="is damaged or no archive") as caught:
        unpack(archive, tmp_path / "out", ("*",), 100_000)
    assert "\n" not in str(caught.value)


def test_a_file_of_a_zip_that_was_changed_is_found_by_its_checksum(tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr("set/a.wav", b"sound" * 100)
    archive.write_bytes(archive.read_bytes().replace(b"soundsound", b"soundnoise", 1))
    with pytest.raises(EarwitnessError, match="Bad CRC-32"):
        unpack(archive, tmp_path / "out", ("*",), 10_000)


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tgz", "w:gz") as packed:
        for _ in range(2):
            packed.addfile(tarfile.TarInfo("set/a.wav"))
    with pytest.raises(EarwitnessError, match=r"a\.wav twice"):
        unpack(tmp_path / "set.tgz", tmp_path / "out", ("*",), 100)


def test_what_is_no_archive_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "page.zip").write_text("<html>please log in</html>")
    with pytest.raises(EarwitnessError, match="is damaged or no archive"):
        unpack(tmp_path / "page.zip", tmp_path / "out", ("*",), 100)
