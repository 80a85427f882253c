"""What the supervisor knows of one child: its process, how it is doing, and what it has accounted for."""

from __future__ import annotations

import socket
import subprocess
from collections import deque
from dataclasses import dataclass, field

import msgspec

from ..stream.messages import LedgerRow
from ..stream.shares import Share
from .marks import Marks
from .node import Failed
from .plan import Part


@dataclass
class Child:
    """One node of a run, whether its process is there or not."""

    part: Part
    share: Share = field(default_factory=Share)  # the streams that it has to account for
    process: subprocess.Popen[bytes] | None = None
    control: socket.socket | None = None
    buffer: bytes = b""
    unsent: bytes = b""  # for the child, which may not be reading yet
    ready: bool = False
    was_ready: bool = False
    stopping: bool = False
    done: bool = False
    clean: bool = False  # it ended as it was told to
    begun: float = 0.0
    sign_of_life: float = 0.0
    moved_at: float = 0.0  # when its ledger last changed
    start_at: float = 0.0
    deaths: deque[float] = field(default_factory=deque)
    failed: Failed | None = None
    rows: tuple[LedgerRow, ...] = ()  # as it last told them
    marks: Marks | None = None

    def ledger(self) -> tuple[LedgerRow, ...]:
        """What this node had accounted for when it was last heard."""
        rows = {(row.stream, row.epoch): row for row in self.rows}
        for mark in self.marks.read() if self.marks else ():
            key = mark.stream, mark.epoch
            if key not in rows and any(name == mark.stream and epoch > mark.epoch for name, epoch in rows):
                continue  # long over, and folded away: no epoch since then had a sample
            row = rows.get(key) or LedgerRow(
                stream=mark.stream, epoch=mark.epoch, place="capture", rate=mark.rate, received=0, lost={},
                next_sample=0, ended=False, final=False,
            )  # fmt: skip
            if mark.end_sample > row.next_sample and not row.ended:
                received = row.received + mark.end_sample - row.next_sample
                row = msgspec.structs.replace(row, received=received, next_sample=mark.end_sample)
            rows[key] = row
        return tuple(rows.values())
