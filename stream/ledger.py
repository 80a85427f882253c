"""The ledger: for each stream and place, how many samples arrived and how many did not, and why.

A place accounts for an epoch as one line of spans without overlap: `receive` for samples that came, `lose` for samples
that are known to be gone. Samples that begin after the position betray a hole, which is counted and returned so that
the caller can pass it on. At the end received + lost = the epoch's length, at every place, or the ledger says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from .messages import Ended, LedgerRow


class Hole(NamedTuple):
    """Samples [first, end) that this place never had."""

    first: int
    end: int
    cause: str


@dataclass
class _Account:
    rate: int
    received: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    position: int = 0
    ended: bool = False
    final: bool = False
    hole_means: str = "joined late"  # what a hole before the next samples is due to


class Ledger:
    """The accounts of one place. Epochs that ended are folded away once a newer one of the stream has ended too."""

    KEEP_EPOCHS = 4  # of each stream, in full; older ones are summed into one row (epoch 0 is never used by a stream)

    def __init__(self, place: str, rows: Iterable[LedgerRow] = ()):
        """`rows`: what an earlier incarnation of this place had written; the new one goes on from there."""
        self.place = place
        self._accounts: dict[tuple[str, int], _Account] = {}
        for row in rows:
            account = _Account(
                row.rate, row.received, Counter(row.lost), row.next_sample, row.ended, row.final, hole_means="restart"
            )
            self._accounts[row.stream, row.epoch] = account

    def receive(self, stream: str, epoch: int, first: int, end: int, rate: int) -> Hole | None:
        """Samples [first, end) are here. Returns the hole before them, already counted as lost, for the caller to
        pass on. Samples before the position were accounted for already and are not counted twice.
        """
        account = self._account(stream, epoch, rate)
        hole = None
        if first > account.position:
            hole = Hole(account.position, first, account.hole_means)
            account.lost[hole.cause] += hole.end - hole.first
            account.position = first
        account.received += max(0, end - account.position)
        account.position = max(account.position, end)
        account.hole_means = "transport"
        return hole

    def lose(self, stream: str, epoch: int, end: int, rate: int, cause: str) -> Hole | None:
        """All samples from the position up to `end` are known to be lost. Returns them, None when that is no news."""
        account = self._account(stream, epoch, rate)
        if end <= account.position:
            return None
        hole = Hole(account.position, end, cause)
        account.lost[cause] += hole.end - hole.first
        account.position = end
        account.hole_means = "transport"
        return hole

    def end(self, stream: str, epoch: int, end: int, rate: int, final: bool) -> Hole | None:
        """The epoch is over at `end`. Returns the hole at its tail, as `receive` does."""
        hole = self.receive(stream, epoch, end, end, rate)
        account = self._accounts[stream, epoch]
        account.ended, account.final = True, final
        self._fold(stream)
        return hole

    def endings(self, reason: str) -> list[Ended]:
        """An end for each epoch that nobody has ended, at its position: for a place that stops before its sources."""
        return [
            Ended(
                stream=stream,
                epoch=epoch,
                end_sample=account.position,
                rate=account.rate,
                reason=reason,
                final=True,
            )
            for (stream, epoch), account in sorted(self._accounts.items())
            if not account.ended
        ]

    def position(self, stream: str, epoch: int) -> int:
        """The sample up to which everything of this epoch is accounted for; 0 for one never seen."""
        account = self._accounts.get((stream, epoch))
        return account.position if account else 0

    def ended(self, stream: str, epoch: int) -> bool:
        """Whether this epoch is over here."""
        account = self._accounts.get((stream, epoch))
        return bool(account and account.ended)

    def rows(self) -> tuple[LedgerRow, ...]:
        """The accounts as they stand."""
        return tuple(
            LedgerRow(
                stream=stream,
                epoch=epoch,
                place=self.place,
                rate=account.rate,
                received=account.received,
                lost=dict(account.lost),
                next_sample=account.position,
                ended=account.ended,
                final=account.final,
            )
            for (stream, epoch), account in sorted(self._accounts.items())
        )

    def _account(self, stream: str, epoch: int, rate: int) -> _Account:
        key = (stream, epoch)
        if key not in self._accounts:
            self._accounts[key] = _Account(rate)
        return self._accounts[key]

    def _fold(self, stream: str) -> None:
        ended = sorted(epoch for (name, epoch), account in self._accounts.items() if name == stream and account.ended)
        for epoch in ended[: -self.KEEP_EPOCHS]:
            if epoch == 0:
                continue
            old = self._accounts.pop((stream, epoch))
            total = self._account(stream, 0, old.rate)
            total.received += old.received
            total.lost += old.lost
            total.position += old.position
            total.ended = True


def settle(
    rows: Iterable[LedgerRow], broken: Iterable[LedgerRow], silent: Iterable[str] = ()
) -> list[LedgerRow]:
    """All rows, with the accounts of places that could not close them where the epoch ended, `broken`, closed here.

    What such a place has not told of up to the epoch's end is lost to it, by the cause "stopped". Only capture has
    had it: nobody else could know of it. A place whose accounts several processes keep may have rows of both kinds;
    `silent` are places of which one such process may have died before it had told anything.
    """
    broken = list(broken)
    settled = list(rows)
    longest: dict[tuple[str, int], LedgerRow] = {}
    for row in (*settled, *broken):
        known = longest.setdefault((row.stream, row.epoch), row)
        if row.next_sample > known.next_sample or (row.final and row.next_sample == known.next_sample):
            longest[row.stream, row.epoch] = row
    for place in sorted({*(row.place for row in broken), *silent}):
        here = {(row.stream, row.epoch): row for row in broken if row.place == place}
        closed = {(row.stream, row.epoch) for row in settled if row.place == place}
        for (stream, epoch), end in longest.items():
            folded = epoch == 0 or (stream, 0) in here or (stream, 0) in closed
            if (stream, epoch) not in here and (place == "capture" or folded or (stream, epoch) in closed):
                continue  # another process's of this place
            unknown = msgspec.structs.replace(end, place=place, received=0, lost={}, next_sample=0, ended=False)
            row = here.setdefault((stream, epoch), unknown)
            if row.ended:
                continue
            missing, received, lost = end.next_sample - row.next_sample, row.received, dict(row.lost)
            if place == "capture":
                received += missing
            elif missing:
                lost["stopped"] = lost.get("stopped", 0) + missing
            here[stream, epoch] = msgspec.structs.replace(
                row, received=received, lost=lost, next_sample=end.next_sample, ended=True, final=end.final
            )
        settled += here.values()
    return settled


def unbalanced(rows: Iterable[LedgerRow], places: Iterable[str] = ()) -> list[str]:
    """What does not add up once a run is over: one line for each fault, none when every sample is accounted for.

    Each row's received + lost has to be its position, none negative, and its epoch ended. All of `places`, and all
    that any row names, have to have each epoch exactly once, of one length and rate.
    """
    problems = []
    everywhere = set(places)
    epochs: dict[tuple[str, int], dict[str, LedgerRow]] = {}
    for row in rows:
        name = f"{row.stream} epoch {row.epoch} at {row.place}"
        lost = sum(row.lost.values())
        if row.received + lost != row.next_sample:
            problems.append(f"{name}: {row.received} received + {lost} lost != {row.next_sample}")
        if row.received < 0 or any(count < 0 for count in row.lost.values()):
            problems.append(f"{name}: a negative count, {row.received} received, lost {row.lost}")
        if not row.ended:
            problems.append(f"{name}: stops at sample {row.next_sample} without an end")
        there = epochs.setdefault((row.stream, row.epoch), {})
        if row.place in there:
            problems.append(f"{name}: accounted for twice")
        there[row.place] = row
        everywhere.add(row.place)
    for (stream, epoch), there in epochs.items():
        lengths = {place: row.next_sample for place, row in there.items()}
        rates = {place: row.rate for place, row in there.items()}
        if len(set(lengths.values())) > 1:
            problems.append(f"{stream} epoch {epoch}: the places disagree about its length: {lengths}")
        if len(set(rates.values())) > 1:
            problems.append(f"{stream} epoch {epoch}: the places disagree about its rate: {rates}")
        problems += [f"{stream} epoch {epoch}: unknown at {place}" for place in sorted(everywhere - there.keys())]
    return problems
