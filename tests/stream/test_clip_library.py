"""The folder of clips: files and rows agree whatever happens, and limits hold."""

from __future__ import annotations

import csv
import errno
import functools
import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile

from earwitness.stream import clip_library, clip_table
from earwitness.stream.clip_library import ClipLibrary, FolderLock, NotKept
from earwitness.stream.clips import ClipRecord, Keep, RecorderSettings
from earwitness.stream.clock import NS, iso, parse_utc
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.flac import encode_sound

NOON = parse_utc("2026-11-21T12:00:00.000Z")
FREE = RecorderSettings(min_free_bytes=0)


@functools.cache
def sound(samples: int = 800) -> bytes:
    """A clip's sound; noise, so that its size grows with its length."""
    noise = np.random.default_rng(0).integers(-3000, 3000, (samples, 1)).astype(np.int16)
    return encode_sound(noise, 8_000).data


def record(
    second: float = 0.0, label: str = "dog", score: float = 0.93, stream: str = "kitchen", **more: object
) -> ClipRecord:
    base = ClipRecord(
        id=f"{label}-{second}",
        label=label,
        score=score,
        stream=stream,
        epoch=1,
        utc=iso(NOON + round(second * NS)),
        utc_error_ms=1.0,
        model="test@000000",
        onset_sample=100,
        offset_sample=700,
        rate=8_000,
        channels=1,
        dtype="int16",
        encoding="FLAC PCM_16",
        first_sample=0,
        end_sample=800,
        duration_s=0.1,
        pre_roll_s=0.0,
        post_roll_s=0.0,
    )
    return msgspec.structs.replace(base, **more)


@contextmanager
def opened(out: Path, settings: RecorderSettings = FREE) -> Iterator[ClipLibrary]:
    library = ClipLibrary(out, settings)
    try:
        yield library
    finally:
        library.close()


def add(library: ClipLibrary, *args: object, data: bytes | None = None, **more: object) -> ClipRecord:
    added = library.add(record(*args, **more), data or sound(), ".flac")  # type: ignore[arg-type]
    assert isinstance(added, ClipRecord), added
    return added


def add_until_refused(library: ClipLibrary, first: int, data: bytes | None = None) -> None:
    for second in itertools.count(first):
        add(library, second, data=data)


def rows_of(out: Path) -> list[dict[str, str]]:
    with open(out / "clips" / "metadata.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def sounds_of(out: Path) -> list[str]:
    root = out / "clips"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix in (".flac", ".wav"))


def labels_of(out: Path) -> list[str]:
    return [row["label"] for row in rows_of(out)]


def assert_whole(out: Path) -> None:
    """The table is an AudioFolder's: each sound has one row, each row its sound; each opens and has its JSON."""
    sounds = sounds_of(out)
    assert sorted(row["file_name"] for row in rows_of(out)) == sounds
    for name in sounds:
        path = out / "clips" / name
        samples, _ = soundfile.read(path)
        assert len(samples) >= 800
        assert json.loads(path.with_suffix(".json").read_text())["file_name"] == name
    assert len(list((out / "clips").rglob("*.json"))) == len(sounds)
    assert not list((out / "clips").rglob("*.part"))


# ---- names and contents ----------------------------------------------------------------------------------------------


def test_a_clip_lies_where_the_design_says_with_its_json_and_its_row(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        added = add(library, 12.34, "dog", 0.93)
    assert added.file_name == "kitchen/2026-11-21/2026-11-21T12-00-12.340Z_dog_093.flac"
    path = tmp_path / "clips" / added.file_name
    assert path.read_bytes() == sound()
    assert msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=ClipRecord) == added
    (row,) = rows_of(tmp_path)
    assert (row["file_name"], row["label"], row["score"], row["review"]) == (added.file_name, "dog", "0.9300", "")
    assert row["utc"] == "2026-11-21T12:00:12.340Z"
    assert_whole(tmp_path)


def test_clips_of_one_moment_get_names_of_their_own(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        names = [add(library).file_name for _ in range(4)]
        names.append(add(library, stream="Küche/Herd").file_name)
        names.append(add(library, stream="Küche:Herd").file_name)  # the same folder
    assert len(set(names)) == 6
    assert names[1] == "kitchen/2026-11-21/2026-11-21T12-00-00.000Z_dog_093-2.flac"
    assert_whole(tmp_path)


@pytest.mark.parametrize("label", ['Male speech, "man"', "two\nlines", "../../up", "ü" * 90, ";", "", "=1+1", " "])
def test_any_label_and_stream_can_be_written_and_read_back(tmp_path: Path, label: str) -> None:
    with opened(tmp_path) as library:
        for second in range(3):
            add(library, second, label, stream=label)
    assert labels_of(tmp_path) == [label] * 3
    assert_whole(tmp_path)
    with opened(tmp_path) as library:
        assert (len(library), library.mended) == (3, 0)


def test_wav_clips_are_listed_as_well(tmp_path: Path) -> None:
    data = encode_sound(np.zeros((800, 9), np.int16), 8_000)
    with opened(tmp_path) as library:
        library.add(record(), data.data, data.suffix)
    assert rows_of(tmp_path)[0]["file_name"].endswith(".wav")
    assert_whole(tmp_path)


# ---- limits ----------------------------------------------------------------------------------------------------------


def keep(**rules: tuple[str, int]) -> RecorderSettings:
    table = {label: Keep(rule=rule, count=count) for label, (rule, count) in rules.items()}  # type: ignore[arg-type]
    return RecorderSettings(min_free_bytes=0, keep=table)


def test_newest_keeps_the_newest_of_its_class_only(tmp_path: Path) -> None:
    with opened(tmp_path, keep(dog=("newest", 3))) as library:
        for second in range(6):
            add(library, second, "dog")
            add(library, second, "cat")
        refused = library.add(record(1.5, "dog"), sound(), ".flac")  # older than all that are kept
        assert refused == NotKept("class", "not among the 3 newest clips of 'dog'")
        assert library.removed == 3
    assert [row["utc"][17:19] for row in rows_of(tmp_path) if row["label"] == "dog"] == ["03", "04", "05"]
    assert labels_of(tmp_path).count("cat") == 6
    assert_whole(tmp_path)


def test_best_keeps_the_best_and_the_newer_of_equals(tmp_path: Path) -> None:
    scores = [0.5, 0.9, 0.7, 0.9, 0.6, 0.95]
    with opened(tmp_path, keep(dog=("best", 2))) as library:
        kept = [
            isinstance(library.add(record(s, "dog", score), sound(), ".flac"), ClipRecord)
            for s, score in enumerate(scores)
        ]
    assert kept == [True, True, True, True, False, True]
    assert [(row["score"], row["utc"][17:19]) for row in rows_of(tmp_path)] == [("0.9000", "03"), ("0.9500", "05")]
    assert_whole(tmp_path)


def test_none_writes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, keep(speech=("none", 0))) as library:
        assert isinstance(library.add(record(0, "speech"), sound(), ".flac"), NotKept)
        add(library, 1, "dog")
    assert labels_of(tmp_path) == ["dog"]


def test_the_quota_is_never_exceeded_not_even_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = 12_000
    most = 0

    def on_disk() -> int:
        return sum(
            p.stat().st_size for p in (tmp_path / "clips").rglob("*") if p.is_file() and p.parent.name[:2] == "20"
        )

    real = clip_library.write_synced

    def watched(path: Path, data: bytes) -> None:
        nonlocal most
        real(path, data)
        most = max(most, on_disk())

    monkeypatch.setattr(clip_library, "write_synced", watched)
    rng = random.Random(1)
    with opened(tmp_path, RecorderSettings(min_free_bytes=0, quota_bytes=quota)) as library:
        for second in range(40):
            add(library, second, data=sound(rng.choice([800, 1600, 3000])))
            assert library.bytes == on_disk() <= quota
        too_large = library.add(record(99), sound(20_000), ".flac")
        assert isinstance(too_large, NotKept)
        assert too_large.reason == "quota"
    assert most <= quota
    assert len(rows_of(tmp_path)) > 2
    assert rows_of(tmp_path)[-1]["utc"] == iso(NOON + 39 * NS)
    assert_whole(tmp_path)


def test_what_is_too_old_goes_at_the_next_clip_and_at_a_prune(tmp_path: Path) -> None:
    now = time.time_ns()
    days = [(now - NOON) / NS - 86_400 * age for age in (40, 31, 29, 0)]
    with opened(tmp_path) as library:
        for second in days:
            add(library, second)
    month = RecorderSettings(min_free_bytes=0, max_age_days=30)
    with opened(tmp_path, month) as library:
        assert len(library) == 2
        library.prune(now + 2 * 86_400 * NS)
        assert len(library) == 1
    assert_whole(tmp_path)
    assert len(list((tmp_path / "clips" / "kitchen").iterdir())) == 1, "empty days are removed"


def test_reviewed_clips_are_never_removed_and_count_for_the_quota_alone(tmp_path: Path) -> None:
    with opened(tmp_path, keep(dog=("newest", 2))) as library:
        for second in range(2):
            add(library, second)
        review(tmp_path, lambda row: "cat, surely" if row["utc"].endswith("00.000Z") else "")
        for second in range(2, 5):
            add(library, second)
    assert [(row["utc"][17:19], row["review"]) for row in rows_of(tmp_path)] == [
        ("00", "cat, surely"),
        ("03", ""),
        ("04", ""),
    ]
    assert_whole(tmp_path)
    review(tmp_path, lambda row: "dog")
    with opened(tmp_path, RecorderSettings(min_free_bytes=0, quota_bytes=1, max_age_days=0.001)) as library:
        assert len(library) == 3
        refused = library.add(record(9), sound(), ".flac")
        assert isinstance(refused, NotKept)
        assert refused.reason == "quota"
    assert_whole(tmp_path)


def test_lowered_limits_hold_from_the_start(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        for second in range(6):
            add(library, second, "dog", 0.5 + second / 20)
    with opened(tmp_path, keep(dog=("best", 2))):
        assert [row["score"] for row in rows_of(tmp_path)] == ["0.7000", "0.7500"]
    with opened(tmp_path, RecorderSettings(min_free_bytes=0, quota_bytes=0)):
        assert rows_of(tmp_path) == []
    assert_whole(tmp_path)


def test_a_reserve_of_free_disk_space_is_left(tmp_path: Path) -> None:
    reserve = RecorderSettings(min_free_bytes=1 << 60)
    with opened(tmp_path, reserve) as library:
        with pytest.raises(OSError, match="are to stay free") as refusal:
            library.add(record(), sound(), ".flac")
        assert refusal.value.errno == errno.ENOSPC
        with pytest.raises(OSError, match="are to stay free"):
            library.probe()
    assert_whole(tmp_path)


# ---- people and other programs ---------------------------------------------------------------------------------------


def review(out: Path, judge: Callable[[dict[str, str]], str], delimiter: str = ",", extra: bool = False) -> None:
    """What a spreadsheet does: reads all, writes all anew."""
    rows = rows_of(out)
    columns = [*rows[0], *(["weather"] if extra else [])]
    with open(out / "clips" / "metadata.csv", "w", newline="", encoding="utf-8-sig" if extra else "utf-8") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter)
        writer.writeheader()
        writer.writerows(row | {"review": judge(row)} | ({"weather": "rain,\nwind"} if extra else {}) for row in rows)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_edited_in_a_spreadsheet_keeps_reviews_and_new_columns(tmp_path: Path, delimiter: str) -> None:
    with opened(tmp_path) as library:
        for second in range(3):
            add(library, second, "Speech, male")
        review(tmp_path, lambda row: "yes", delimiter, extra=True)
        add(library, 3)
    rows = rows_of(tmp_path)
    assert [row["review"] for row in rows] == ["yes", "yes", "yes", ""]
    assert [row["weather"] for row in rows] == ["rain,\nwind"] * 3 + [""]
    assert_whole(tmp_path)


def test_numbers_spoiled_by_a_spreadsheet_are_read_from_the_json(tmp_path: Path) -> None:
    with opened(tmp_path, keep(dog=("best", 2))) as library:
        add(library, 0, score=0.9)
        add(library, 1, score=0.5)
    table = tmp_path / "clips" / "metadata.csv"
    table.write_text(table.read_text().replace("0.9000", '"0,9"').replace("0.5000", '"0,5"'))
    with opened(tmp_path, keep(dog=("best", 2))) as library:
        add(library, 2, score=0.7)
    assert [row["score"] for row in rows_of(tmp_path)] == ["0,9", "0.7000"]


def test_a_table_that_is_none_is_set_aside_and_made_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        add(library)
    (tmp_path / "clips" / "metadata.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0 no table\n\xff\xfe\n")
    with opened(tmp_path):
        assert_whole(tmp_path)
    assert (tmp_path / "clips" / "metadata.not-clips-1.csv").read_bytes().startswith(b"\x89PNG")


def test_rows_and_clips_that_a_person_removes_stay_removed(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        names = [add(library, second).file_name for second in range(3)]
        (tmp_path / "clips" / names[1]).unlink()
        (tmp_path / "clips" / "metadata.csv").unlink()
        add(library, 3)
        assert len(library) == 3
    assert_whole(tmp_path)


def test_sounds_and_rows_of_others_are_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "clips" / "mine" / "2026-11-21"
    own.mkdir(parents=True)
    (own / "2026-11-21T10-00-00.000Z_dog_090.flac").write_bytes(sound())  # no JSON
    (own / "notes.json").write_text("{}")
    (own / "2026-11-21T10-00-01.000Z_dog_090.flac").write_bytes(sound())
    (own / "2026-11-21T10-00-01.000Z_dog_090.json").write_text('{"not": "ours"}')
    (own / ".hidden.part").write_text("")
    outside = tmp_path / "outside.flac"
    outside.write_bytes(sound())
    table = tmp_path / "clips" / "metadata.csv"
    table.write_text(
        "file_name,label\nmine/2026-11-21/2026-11-21T10-00-00.000Z_dog_090.flac,wolf\n../outside.flac,wolf\n"
    )
    before = sorted(path for path in tmp_path.rglob("*"))
    with opened(tmp_path, RecorderSettings(min_free_bytes=0, quota_bytes=0, max_age_days=1e-6)) as library:
        assert len(library) == 0
    assert [row["label"] for row in rows_of(tmp_path)] == ["wolf"], "the row that leads out of the folder is dropped"
    after = sorted(path for path in tmp_path.rglob("*") if path.name != ".earwitness.lock")
    assert after == before


def test_links_are_neither_written_through_nor_followed_when_removing(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    with opened(elsewhere) as library:
        add(library)
    out = tmp_path / "out"
    (out / "clips").mkdir(parents=True)
    (out / "clips" / "kitchen").symlink_to(elsewhere / "clips" / "kitchen")
    with opened(out, RecorderSettings(min_free_bytes=0, quota_bytes=0)) as library:
        assert len(library) == 0
    assert_whole(elsewhere)
    with opened(out) as library, pytest.raises(OSError, match="symbolic link"):
        library.add(record(5), sound(), ".flac")
    assert len(rows_of(elsewhere)) == 1
    assert_whole(elsewhere)


def test_a_stream_folder_replaced_by_a_link_while_running_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    with opened(tmp_path / "out", RecorderSettings(min_free_bytes=0, quota_bytes=8_000)) as library:
        for second in range(2):
            add(library, second)
        (tmp_path / "out" / "clips" / "kitchen").rename(precious)
        (tmp_path / "out" / "clips" / "kitchen").symlink_to(precious)
        with pytest.raises(OSError, match="symbolic link"):
            add_until_refused(library, 2)
    assert len(list(precious.rglob("*.flac"))) == 2


def test_a_clip_folder_on_another_disk_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clips").symlink_to(tmp_path / "big")
    with opened(tmp_path / "out") as library:
        add(library)
    assert len(list((tmp_path / "big").rglob("*.flac"))) == 1


# ---- one instance ----------------------------------------------------------------------------------------------------


def test_a_second_instance_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with opened(tmp_path):
        with pytest.raises(EarwitnessError, match=f"in use by process {os.getpid()}: .*--out") as refusal:
            ClipLibrary(tmp_path, FREE)
        assert "\n" not in str(refusal.value)
    with opened(tmp_path):
        pass


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys,pathlib,time\nfrom earwitness.stream.clip_library import FolderLock\n"
        "lock=FolderLock(pathlib.Path(sys.argv[1]));print('held',flush=True);time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(EarwitnessError, match=f"process {child.pid}"):
            FolderLock(tmp_path)
        child.kill()
        child.wait()
    FolderLock(tmp_path).release()


# ---- death and disks -------------------------------------------------------------------------------------------------

CALLS = ("open", "write", "fsync", "rename", "unlink", "pwrite", "ftruncate", "mkdir", "rmdir")


class Killed(BaseException):
    """Stands for the end of the process: no handler of the program may catch it."""


@contextmanager
def striking(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> Iterator[list[str]]:
    """Lets the `number`-th call that touches the disk fail; a `write` gets half of its bytes through first.

    What is still open at the end is closed, as the system does for a process that was killed.
    """
    calls: list[str] = []
    descriptors: set[int] = set()
    real = {name: getattr(os, name) for name in (*CALLS, "close")}
    real["fsync"] = lambda descriptor: None  # what is written is there for the next process, and this is quicker

    def struck(name: str, *args: Any, **more: Any) -> Any:
        calls.append(name)
        strikes = len(calls) == number
        if strikes and name in ("write", "pwrite"):
            data = bytes(args[1])
            real[name](args[0], data[: len(data) // 2], *args[2:])
        if strikes:
            raise error
        result = real[name](*args, **more)
        if name == "open":
            descriptors.add(result)
        return result

    def close(descriptor: int) -> None:
        descriptors.discard(descriptor)
        real["close"](descriptor)

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, functools.partial(struck, name))
        patch.setattr(os, "close", close)
        yield calls
    if isinstance(error, Killed):
        for descriptor in descriptors:
            os.close(descriptor)


def scenario(out: Path) -> None:
    """Adds clips, of which some push others out."""
    settings = RecorderSettings(min_free_bytes=0, quota_bytes=9_000, keep={"cat": Keep(rule="newest", count=1)})
    with opened(out, settings) as library:
        for second, label in enumerate(("dog", "cat", "cat", "dog", "cat")):
            library.add(record(second, label), sound(), ".flac")


def test_killed_between_any_two_steps_the_next_start_finds_a_whole_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in itertools.count(1):
        out = tmp_path / str(number)
        killed = False
        with striking(monkeypatch, number, Killed()) as calls:
            try:
                scenario(out)
            except Killed:
                killed = True
        if not killed:
            break
        with opened(out):
            assert_whole(out)
            found = labels_of(out)
        with opened(out) as library:
            assert library.mended == 0, f"mending is not finished at once (call {number}, {calls[-1]})"
            add(library, 99)
        assert len(found) <= 4
    assert number > 60


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_failing_disk_leaves_no_partial_file_and_recording_goes_on_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    for number in itertools.count(1):
        out = tmp_path / str(number)
        with opened(out) as library:
            add(library, 0)
            with striking(monkeypatch, number, OSError(code, os.strerror(code))) as calls:
                try:
                    added = library.add(record(1, stream="hall"), sound(), ".flac")
                except OSError:
                    added = None
            assert_whole(out)
            add(library, 2)
            assert_whole(out)
            assert len(library) == len(rows_of(out)) == (3 if added else 2)
        if number > len(calls):
            break
    assert number > 10


WRITER = """
import os, sys, pathlib, random
sys.path.insert(0, sys.argv[2])
from earwitness.stream.clip_library import ClipLibrary
from earwitness.stream.clips import Keep, RecorderSettings
import msgspec
settings = RecorderSettings(min_free_bytes=0, quota_bytes=60_000, keep={"cat": Keep(rule="best", count=4)})
from earwitness.stream.clips import ClipRecord
from earwitness.stream.clock import NS, iso, parse_utc
base = msgspec.json.decode(sys.stdin.buffer.readline(), type=ClipRecord)
data = sys.stdin.buffer.read()
library = ClipLibrary(pathlib.Path(sys.argv[1]), settings)
print("up", flush=True)
start = parse_utc(base.utc) + random.randrange(10**6) * NS
for number in range(10**9):
    label = random.choice(["cat", "dog", "a, b"])
    record = msgspec.structs.replace(base, utc=iso(start + number * NS // 3), label=label, score=random.random())
    library.add(record, data, ".flac")
    print("added", flush=True)
"""


def test_kill_9_at_random_moments_leaves_a_whole_library(tmp_path: Path) -> None:
    rng = random.Random(7)
    clips = 0
    for _ in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path, ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(msgspec.json.encode(record()) + b"\n" + sound())
        child.stdin.close()
        with child.stdout:
            assert child.stdout.readline() == b"up\n"
            for _ in range(rng.randrange(25)):
                assert child.stdout.readline() == b"added\n"
            time.sleep(rng.uniform(0.0, 0.01))  # anywhere within the next one
            child.send_signal(signal.SIGKILL)
            child.wait()
        with opened(tmp_path) as library:
            assert_whole(tmp_path)
            assert library.bytes <= 60_000
            clips = max(clips, len(library))
    assert clips > 10, "the child wrote enough for the test to mean something"


def test_a_torn_last_row_is_mended_from_the_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)
    with opened(tmp_path) as library:
        for second in range(3):
            add(library, second, 'Speech, "male"')
    table = tmp_path / "clips" / "metadata.csv"
    whole = table.read_bytes()
    for length in (*range(0, len(whole), 9), len(whole) - 2, len(whole) - 1):
        table.write_bytes(whole[:length])
        with opened(tmp_path):
            assert [row["label"] for row in rows_of(tmp_path)] == ['Speech, "male"'] * 3
    assert_whole(tmp_path)


def test_a_real_full_disk_stops_and_a_freed_one_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        with opened(disk) as library:
            with pytest.raises(OSError, match="No space left"):
                add_until_refused(library, 0, sound(8_000))
            written = len(library)
            assert written > 3
            assert_whole(disk)
            with pytest.raises(OSError, match="No space left"):
                add_until_refused(library, 100)  # small ones still fit for a while
            assert_whole(disk)
            (disk / "clips" / rows_of(disk)[0]["file_name"]).unlink()  # a person makes room
            add(library, 1000)
        with opened(disk):
            assert_whole(disk)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_limit_on_file_size_is_an_error_like_any_other(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with opened(tmp_path) as library:
            add(library, 0)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
            with pytest.raises(OSError) as refusal:
                add(library, 1, data=sound(8_000))
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert refusal.value.errno == errno.EFBIG
            assert_whole(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_read_only_folder_is_an_error_of_the_system(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk], capture_output=True).returncode:
        if os.geteuid() == 0:
            pytest.skip("root without the right to mount: nothing is read-only to it")
        disk.chmod(0o500)
    try:
        with pytest.raises(OSError) as refusal:
            ClipLibrary(disk, FREE)
        assert refusal.value.errno in (errno.EROFS, errno.EACCES)
    finally:
        subprocess.run(["umount", disk], capture_output=True)


def test_a_file_where_the_folder_should_be_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "clips").write_text("")
    with pytest.raises(FileExistsError):
        ClipLibrary(tmp_path, FREE)


# ---- months ----------------------------------------------------------------------------------------------------------


def test_adding_and_removing_do_not_rewrite_the_table_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_table, "_BLANKS_WORTH_A_REWRITE", 2_000)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    rewrites = 0
    real = clip_table.ClipTable.rewrite

    def counted(*args: object, **more: object) -> object:
        nonlocal rewrites
        rewrites += 1
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(clip_table.ClipTable, "rewrite", counted)
    with opened(tmp_path, keep(dog=("newest", 20))) as library:
        for second in range(500):
            add(library, second)
            assert (tmp_path / "clips" / "metadata.csv").stat().st_size < 12_000
    assert rewrites < 40
    assert len(rows_of(tmp_path)) == 20
    assert_whole(tmp_path)
