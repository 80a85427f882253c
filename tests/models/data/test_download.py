from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from earwitness.models.data import download as module
from earwitness.models.data.download import download
from earwitness.stream.errors import EarwitnessError

from .server import Served, serving

CONTENT = bytes(range(256)) * 4000  # 1 MB


def load(served: Served, path: Path, largest: int = 2_000_000, **options: object) -> Path:
    download(served.url, path, largest, pause_s=0.0, **options)  # type: ignore[arg-type]
    return path


def parts(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_loaded_with_progress_and_leaves_nothing_else(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with serving(Served(CONTENT)) as served:
        load(served, tmp_path / "a.zip", progress=lambda have, total: told.append((have, total)))
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert parts(tmp_path) == ["a.zip"]
    assert told == sorted(told)
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_a_connection_that_breaks_goes_on_where_it_was(tmp_path: Path) -> None:
    with serving(Served(CONTENT, breaks=[300_000, 200_000])) as served:
        load(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert served.asked == ["", "bytes=300000-", "bytes=500000-"]


def test_another_call_goes_on_where_one_was_interrupted(tmp_path: Path) -> None:
    with serving(Served(CONTENT, breaks=[400_000], answers=[])) as served:

        def interrupt(have: int, total: int | None) -> None:
            if have >= 400_000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            load(served, tmp_path / "a.zip", progress=interrupt)
        assert parts(tmp_path) == [".a.zip.part", ".a.zip.part.json"]
        load(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert served.asked[1] == "bytes=400000-"


def test_a_file_that_changed_meanwhile_is_loaded_from_the_beginning(tmp_path: Path) -> None:
    with serving(Served(CONTENT, breaks=[400_000])) as served:

        def change() -> None:
            if len(served.asked) == 2:
                served.content, served.etag = CONTENT[::-1], '"two"'

        served.before = change
        load(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("changes", [{"ranges": False}, {"etag": ""}, {"etag": 'W/"weak"'}])
def test_where_parts_cannot_be_had_it_begins_anew(tmp_path: Path, changes: dict[str, object]) -> None:
    with serving(Served(CONTENT, breaks=[400_000], **changes)) as served:  # type: ignore[arg-type]
        load(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_part_that_is_already_the_whole_is_taken(tmp_path: Path) -> None:
    with serving(Served(CONTENT, breaks=[400_000])) as served:
        with pytest.raises(ZeroDivisionError):
            load(served, tmp_path / "a.zip", progress=lambda have, total: 1 // 0)
        (tmp_path / ".a.zip.part").write_bytes(CONTENT)
        load(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert len(served.asked) == 2


def test_a_part_longer_than_the_whole_is_loaded_anew(tmp_path: Path) -> None:
    with serving(Served(CONTENT, breaks=[400_000])) as served:
        with pytest.raises(ZeroDivisionError):
            load(served, tmp_path / "a.zip", progress=lambda have, total: 1 // 0)
        (tmp_path / ".a.zip.part").write_bytes(CONTENT + b"more")
        load(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_server_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    with serving(Served(CONTENT, answers=[503, 429])) as served:
        load(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_server_that_says_no_is_asked_once(tmp_path: Path) -> None:
    refused = pytest.raises(EarwitnessError, match=r"it answers 404 Not Found.*--archive")
    with serving(Served(CONTENT, answers=[404, 404])) as served, refused:
        load(served, tmp_path / "a.zip")
    assert len(served.asked) == 1
    assert parts(tmp_path) == []


def test_a_connection_that_never_gets_on_is_given_up_and_keeps_what_came(tmp_path: Path) -> None:
    with serving(Served(CONTENT, breaks=[500_000] + [0] * 20)) as served:
        with pytest.raises(EarwitnessError, match=r"ended too early\): the first 0.5 MB are kept; call it again"):
            load(served, tmp_path / "a.zip")
        assert len(served.asked) == 1 + module.TRIES
        served.breaks.clear()
        load(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_offline_is_one_line_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", nobody)
    with pytest.raises(EarwitnessError, match=r"is this computer offline.*: nothing of it has come") as caught:
        download("http://data.invalid/a.zip", tmp_path / "a.zip", 100, pause_s=0.0)
    assert "\n" not in str(caught.value)
    assert parts(tmp_path) == []


def test_a_host_where_nobody_listens_is_one_line(tmp_path: Path) -> None:
    with serving(Served(b"")) as served:
        pass
    with pytest.raises(EarwitnessError, match="Connection refused"):
        load(served, tmp_path / "a.zip")


@pytest.mark.parametrize("tell_length", [True, False])
def test_a_file_larger_than_it_can_be_is_not_loaded(tmp_path: Path, tell_length: bool) -> None:
    refused = pytest.raises(EarwitnessError, match=r"larger than it can be|does not end where it should")
    with serving(Served(CONTENT, tell_length=tell_length)) as served, refused:
        load(served, tmp_path / "a.zip", largest=700_000)
    assert not (tmp_path / "a.zip").exists()
    assert not (tmp_path / ".a.zip.part").exists()


def test_a_disk_without_room_is_told_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1_500_000))
    with serving(Served(CONTENT)) as served:
        with pytest.raises(EarwitnessError, match=r"not enough room: 2.0 MB are needed, 1.5 MB are free"):
            load(served, tmp_path / "a.zip", room=1_000_000)
        assert parts(tmp_path) == []
        load(served, tmp_path / "a.zip", room=400_000)


def test_a_disk_that_fills_keeps_what_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    write_all = module.write_all

    def fills(file: int, data: bytes) -> None:
        nonlocal written
        if written > 500_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += len(data)
        write_all(file, data)

    with serving(Served(CONTENT)) as served:
        monkeypatch.setattr(module, "write_all", fills)
        with pytest.raises(EarwitnessError, match=r"the disk is full: the first 0.5 MB are kept"):
            load(served, tmp_path / "a.zip")
        monkeypatch.setattr(module, "write_all", write_all)
        load(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert served.asked[1].startswith("bytes=")


def test_two_processes_do_not_load_the_same_file(tmp_path: Path) -> None:
    with (tmp_path / ".a.zip.part").open("wb") as other, serving(Served(CONTENT)) as served:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(EarwitnessError, match="another process is loading"):
            load(served, tmp_path / "a.zip")


def test_it_is_followed_to_another_host_but_not_out_of_encryption(tmp_path: Path) -> None:
    with serving(Served(CONTENT)) as target, serving(Served(b"", redirect=target.url)) as served:
        load(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    request = module.urllib.request.Request("https://data.invalid/a.zip")
    with pytest.raises(EarwitnessError, match="not encrypted"):
        module._Redirects().redirect_request(request, None, 302, "Found", {}, "http://data.invalid/a.zip")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match="cannot write"):
        download("http://127.0.0.1:9/a.zip", tmp_path / "nowhere" / "a.zip", 100)
