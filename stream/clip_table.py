"""metadata.csv, the list of all clips: one row a clip, in the AudioFolder convention (`file_name`, `label`, …).

It grows for months, so nothing here costs more with every clip: a row is appended with one write, and removed by
overwriting it with line ends, which CSV readers skip. When more than half of the file is such blanks it is written
anew. A person may edit the file at any time, with any program: `changed` notices, columns that are not ours are kept,
and the column `review` is theirs alone.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .durable import write_all, write_whole

Fields = dict[str, str]

COLUMNS = (
    "file_name",  # relative to the table's folder, with "/"
    "label",
    "score",
    "stream",
    "utc",  # of the onset
    "duration_s",
    "onset_s",  # in the clip
    "offset_s",
    "gap_s",  # how much of the clip is silence in place of lost sound
    "rate",
    "model",
    "id",
    "review",  # what a person says that it was; empty until then
)

_BLANKS_WORTH_A_REWRITE = 65_536
_LONGEST_ROW = 8_192  # a quote that is not closed within so many bytes is damage, not a text of several lines
_LINE_ENDS = re.compile(rb"[\r\n]*")


class Place(NamedTuple):
    """Where a row stands in the file, in bytes."""

    offset: int
    length: int


class ClipTable:
    """The file `path`, which one thread of one process writes. `read` or `rewrite` comes first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0  # of the last `read`: torn rows, or a file that was no table of clips
        self.stale = True  # `append` needs a rewrite first: the file is absent, in another form, or damaged
        self._columns: tuple[str, ...] = COLUMNS
        self._blanks = 0  # bytes
        self._signature: tuple[int, int, int] | None = None

    def changed(self) -> bool:
        """Whether somebody else has written the file since this object read or wrote it."""
        return self._signature is None or self._sign() != self._signature

    def wasteful(self) -> bool:
        """Whether so many rows were removed that a rewrite is due."""
        return self._blanks > _BLANKS_WORTH_A_REWRITE and 2 * self._blanks > self.path.stat().st_size

    def read(self) -> Iterator[tuple[Fields, Place]]:
        """The rows as they stand, with every column. Torn rows are left out and counted in `damaged`.

        A file without a column `file_name` is set aside under another name.
        """
        self.damaged = self._blanks = 0
        self.stale = False
        self._columns = COLUMNS
        self._signature = self._sign()
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            data = b""
        places = _places(data)
        head = next(places, None)
        if head is None:
            self.stale = True
            return
        first_line = _text(data, head)
        delimiter = max(",;\t", key=first_line.count)  # spreadsheets of half of Europe write semicolons
        names = tuple(_split(first_line.removeprefix("\ufeff"), delimiter))
        if "file_name" not in names:
            self._set_aside()
            self.damaged, self.stale = 1, True
            return
        self._columns = tuple(dict.fromkeys(("file_name", *names, *COLUMNS)))
        unfinished = data[-1:] != b"\n"
        self.stale = unfinished or delimiter != "," or names != self._columns or first_line.startswith("\ufeff")
        used = head.length
        for place in places:
            values = _split(_text(data, place), delimiter)
            last = place.offset + place.length == len(data)
            if len(values) > len(names) or (last and unfinished and len(values) < len(names)):
                self.damaged += 1
                self.stale = True
                continue
            used += place.length
            yield dict.fromkeys(self._columns, "") | dict(zip(names, values, strict=False)), place
        self._blanks = len(data) - used

    def append(self, fields: Fields) -> Place:
        """Adds a row and waits until the disk has it. On OSError the file is as it was."""
        row = self._line(fields)
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            before = os.fstat(file).st_size
            try:
                write_all(file, row)
                os.fsync(file)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file, before)
                raise
            finally:
                self._signature = self._sign()
        finally:
            os.close(file)
        return Place(before, len(row))

    def blank(self, place: Place, file_name: str) -> None:
        """Removes the row of `file_name` where it stands. If something else stands there, `changed` will say so."""
        start = _csv_line([file_name]).rstrip(b"\n") + b","
        file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.pread(file, len(start), place.offset) != start:
                self._signature = None
                return
            os.pwrite(file, b"\n" * place.length, place.offset)
        finally:
            os.close(file)
        self._blanks += place.length
        self._signature = self._sign()

    def rewrite(self, keep: Callable[[str], bool], added: Iterable[Fields] = ()) -> dict[str, Place]:
        """Writes the file anew, atomically: each row once whose file name `keep` wants, then those in `added`.

        Returns where each row stands now. On OSError the old file stays.
        """
        places: dict[str, Place] = {}

        def lines() -> Iterator[bytes]:
            rows = self.read()
            first = list(itertools.islice(rows, 1))  # only now the columns are known
            head = _csv_line(self._columns)
            yield head
            offset = len(head)
            kept = (fields for fields, _ in itertools.chain(first, rows) if keep(fields["file_name"]))
            for fields in itertools.chain(kept, added):
                if fields["file_name"] not in places:
                    line = self._line(fields)
                    places[fields["file_name"]] = Place(offset, len(line))
                    offset += len(line)
                    yield line

        self._signature = None
        write_whole(self.path, lines())
        self.stale = False
        self._blanks = 0
        self._signature = self._sign()
        return places

    def _line(self, fields: Fields) -> bytes:
        return _csv_line([fields.get(column, "") for column in self._columns])

    def _sign(self) -> tuple[int, int, int]:
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return (0, 0, 0)
        return (status.st_ino, status.st_size, status.st_mtime_ns)

    def _set_aside(self) -> None:
        for number in itertools.count(1):
            aside = self.path.with_name(f"{self.path.stem}.not-clips-{number}{self.path.suffix}")
            if not os.path.lexists(aside):
                os.rename(self.path, aside)
                return


def _places(data: bytes) -> Iterator[Place]:
    """Where each row stands: a line, or several when line ends stand between quotes."""
    start = _LINE_ENDS.match(data, 0).end()  # type: ignore[union-attr]  # it always matches
    while start < len(data):
        end = first_end = data.find(b"\n", start) + 1 or len(data)
        quotes = data.count(b'"', start, end)
        while quotes % 2 and end < len(data) and end - start < _LONGEST_ROW:
            after = data.find(b"\n", end) + 1 or len(data)
            quotes += data.count(b'"', end, after)
            end = after
        if quotes % 2:
            end = first_end
        yield Place(start, end - start)
        start = _LINE_ENDS.match(data, end).end()  # type: ignore[union-attr]


def _text(data: bytes, place: Place) -> str:
    return data[place.offset : place.offset + place.length].decode("utf-8", "surrogateescape")


def _split(text: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])


def _csv_line(values: Iterable[str]) -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode("utf-8", "surrogateescape")
