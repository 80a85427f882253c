"""The supervisor: starts the nodes of a run, watches them, starts again what dies or hangs, and ends them in order.

Nodes (`plan` lists them) are children, `python -m earwitness.nodes.NAME`, known by name alone: nothing of theirs is
imported here. A child that is started again gets the ledger that it left behind.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from ..stream.bus import Publisher, ZmqBus
from ..stream.config import Config
from ..stream.keys import load_keys
from ..stream.ledger import settle
from ..stream.messages import Alarm, Ended, Health, LedgerRow, topic_of
from ..stream.sources.source import source_specs
from .child import Child
from .marks import Marks, make_marks
from .node import EndRun, Failed, Job, Ready, Report
from .plan import plan, share_of
from .socket_folder import socket_folder
from .stop_signals import StopSignals
from .systemd import notify, watchdog_interval_s

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 5.0
UNHURRIED_STOP_S = 30.0  # a run that ends by itself, on a machine that may be busy; nobody waits at a terminal
STILL_S = 3.0  # a node whose ledger stands still for so long will hear no more of an epoch that is over
PLACES = ("features", "classify", "recorder")  # account for what capture heard


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the exit code, one line why when it is not 0, and the last ledger of every node."""

    code: int
    reason: str
    ledger: tuple[LedgerRow, ...]


def supervise(config: Config, log: Callable[[str], None]) -> Outcome:
    """Runs a configuration until its sources have ended, a signal comes or a node fails for good.

    `log` takes lines about restarts. Raises EarwitnessError when the bus cannot be set up.
    """
    if config.bus.address:
        return _Run(config, log).run()
    with socket_folder() as folder:
        bus = msgspec.structs.replace(config.bus, address=f"ipc://{folder}")
        return _Run(msgspec.structs.replace(config, bus=bus), log, alone=True).run()


class _Run:
    """One run: a single loop over the children's sockets and the signals.

    `alone`: nobody else joins its bus, so that all streams are known.
    """

    def __init__(self, config: Config, log: Callable[[str], None], alone: bool = False):
        self.config, self.log = config, log
        self._selector = selectors.DefaultSelector()
        self._decoder = msgspec.json.Decoder(Report)
        self._publisher: Publisher | None = None
        self._stop_deadline: float | None = None
        self._code, self._reason = 0, ""
        self._streams = {source.name for source in source_specs(config.source_settings)}
        self._known = tuple(sorted(self._streams)) if alone else ()
        self.children = [Child(part, share=share_of(part, self._known)) for part in plan(config)]
        self._watchdog_due = 0.0
        self._told_ready = False

    def run(self) -> Outcome:
        with StopSignals() as signals:
            self._selector.register(signals.wakeup, selectors.EVENT_READ, None)
            try:
                while not all(child.done for child in self.children):
                    self._start_what_is_due()
                    self._listen(0.1)
                    for number in signals.take():
                        self._asked_to_stop(number)
                    self._watch()
                    self._tell_lost_ends()
                    self._end_if_complete()
                    self._stop_in_order()
                    self._tell_systemd()
            finally:
                for child in self.children:
                    self._kill(child)
                self._selector.close()
                if self._publisher is not None:
                    self._publisher.close()
        return Outcome(self._code, self._reason, self._last_ledger())

    # ---- starting

    def _start_what_is_due(self) -> None:
        """The broker first, then those that listen, then capture: nothing is published before all can hear it.

        In the end only a broker that died is started again: what was heard is still on its way.
        """
        now, stopping = time.monotonic(), self._stop_deadline is not None
        for phase in (("broker",), ("features", "classify", "recorder", "monitor"), ("capture",)):
            members = [child for child in self.children if child.part.node in phase]
            if stopping and (phase != ("broker",) or not all(child.was_ready for child in members)):
                return
            for child in members:
                if child.process is None and not child.done and now >= child.start_at:
                    self._start(child)
            if not all(child.was_ready for child in members):
                return
        if self._publisher is None:
            bus = self.config.bus
            self._publisher = ZmqBus(bus.address, load_keys(Path(bus.keys)) if bus.keys else None).publisher()

    def _start(self, child: Child) -> None:
        child.rows = child.ledger()
        try:
            self._spawn(child)
        except OSError as error:  # no memory, no process, no descriptor left: there may be some again soon
            self._failed(child, f"cannot be started: {error.strerror or error}")

    def _spawn(self, child: Child) -> None:
        ours, theirs = socket.socketpair()
        marks = make_marks(len(self._streams)) if child.part.node == "capture" else -1
        job = Job(
            node=child.part.name, part=child.part.part, streams=self._known, config=self.config, ledger=child.rows,
            marks=marks,
        )  # fmt: skip
        reads_stdin = child.part.node == "capture" and not child.part.part
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
        try:
            child.process = subprocess.Popen(
                [sys.executable, "-m", f"earwitness.nodes.{child.part.node}", str(theirs.fileno())],
                pass_fds=[theirs.fileno(), *([marks] if marks >= 0 else [])],
                stdin=None if reads_stdin else subprocess.DEVNULL,
                stdout=None if child.part.node == "monitor" else 2,  # results alone go to standard output
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone
            )
            if child.marks is not None:
                child.marks.close()
            child.marks = Marks(marks) if marks >= 0 else None
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            if marks >= 0:
                os.close(marks)
        ours.setblocking(False)
        child.control, child.buffer, child.unsent, child.ready, child.failed = ours, b"", b"", False, None
        child.begun = child.sign_of_life = child.moved_at = time.monotonic()
        self._selector.register(ours, selectors.EVENT_READ, child)
        self._send(child, msgspec.json.encode(job))

    # ---- listening

    def _listen(self, timeout_s: float) -> None:
        for key, events in self._selector.select(timeout_s):
            child = key.data
            if child is None:
                continue
            if events & selectors.EVENT_WRITE:
                self._send(child)
            if events & selectors.EVENT_READ and not self._read(child):
                self._gone(child)

    def _read(self, child: Child) -> bool:
        """Takes what a child says; False when its end is closed."""
        assert child.control is not None
        try:
            data = child.control.recv(1 << 20)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            return False
        child.sign_of_life = time.monotonic()
        *lines, child.buffer = (child.buffer + data).split(b"\n")
        for line in lines:
            self._take(child, self._decoder.decode(line))
        return True

    def _send(self, child: Child, line: bytes | None = None) -> None:
        """Sends a line, or what did not fit before. Never waits: a child that does not read must not stop the run."""
        assert child.control is not None
        if line is not None:
            child.unsent += line + b"\n"
        try:
            child.unsent = child.unsent[child.control.send(child.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            child.unsent = b""  # it is gone, which its end of the socket tells as well
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.unsent else 0)
        self._selector.modify(child.control, wanted, child)

    def _take(self, child: Child, report: Report) -> None:
        match report:
            case Ready():
                if child.was_ready:
                    self._alarm(child, "cleared", f"{child.part.name} is back")
                child.ready = child.was_ready = True
            case Health():
                if child.rows != report.ledger:
                    child.rows, child.moved_at = report.ledger, time.monotonic()
            case Failed():
                child.failed = report
            case EndRun():
                self._begin_stop(0, report.reason)

    # ---- watching

    def _watch(self) -> None:
        now = time.monotonic()
        settings = self.config.supervisor
        for child in self.children:
            if child.process is None or child.done:
                continue
            silent = now - child.sign_of_life
            if child.process.poll() is not None:
                said = child.sign_of_life
                while self._read(child) and child.sign_of_life != said:  # what it said last
                    said = child.sign_of_life
                self._gone(child)
            elif not child.ready and now - child.begun > settings.start_s:
                self.log(f"{child.part.name} is not ready after {settings.start_s:g} s: killed")
                self._gone(child)
            elif child.ready and silent > settings.hang_s and self._stop_deadline is None:
                self.log(f"{child.part.name} gave no sign of life for {silent:.1f} s: killed")
                self._gone(child)

    def _gone(self, child: Child) -> None:
        """A child has ended, or is ended here: is that right, can it be mended, or is it started again?"""
        code = self._kill(child)
        text = child.failed.text if child.failed else f"ended with code {code}" if code >= 0 else _signal_name(-code)
        if child.stopping:
            child.done, child.clean = True, code == 0
            if code not in (0, -signal.SIGKILL):
                self._begin_stop(1, f"{child.part.name} failed while it was stopping: {text}")
            return
        if child.failed and child.failed.mendable and not child.was_ready:
            child.done = True
            self._begin_stop(2, text)
            return
        self._failed(child, text)

    def _failed(self, child: Child, text: str) -> None:
        """A child is not there, which a person need not mend: it is started again, unless that was tried too often."""
        name, settings, now = child.part.name, self.config.supervisor, time.monotonic()
        child.deaths.append(now)
        while child.deaths and now - child.deaths[0] > settings.failures_s:
            child.deaths.popleft()
        if len(child.deaths) >= settings.failures:
            child.done = True
            self._begin_stop(
                1, f"{name} failed {len(child.deaths)} times in {settings.failures_s:g} s, the last time: {text}"
            )
            return
        if self._stop_deadline is not None and child.part.node != "broker":
            child.done = True
            return
        delay = 0.0 if len(child.deaths) == 1 else FIRST_BACKOFF_S * 2 ** (len(child.deaths) - 2)
        child.start_at = now + min(delay, LONGEST_BACKOFF_S)
        self._alarm(child, "raised", f"{name} died ({text}); it is started again")

    def _kill(self, child: Child) -> int:
        if child.process is None:
            return 0
        try:
            # Its socket closes a moment before it exits: a child that ended by itself keeps its own code.
            child.process.wait(0.5 if child.failed or child.stopping else 0.05)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        if child.control is not None:
            self._selector.unregister(child.control)
            child.control.close()
        code = child.process.returncode
        child.process, child.control, child.ready = None, None, False
        return code

    # ---- ending

    def _asked_to_stop(self, number: int) -> None:
        if self._stop_deadline is None:
            self._begin_stop(0, "")
        elif number != signal.SIGHUP:  # the second Ctrl-C; a terminal that closes may say so twice
            self._stop_deadline = time.monotonic()

    def _begin_stop(self, code: int, reason: str, stop_s: float | None = None) -> None:
        deadline = time.monotonic() + (stop_s or self.config.supervisor.stop_s) - 0.5
        if self._stop_deadline is None:
            self._stop_deadline = deadline
            notify("STOPPING=1")
            self._code, self._reason = code, reason
            return
        self._stop_deadline = min(deadline, self._stop_deadline)
        if code and not self._code:
            self._code, self._reason = code, reason

    def _end_if_complete(self) -> None:
        """A run of files ends by itself, when every stream's last epoch has ended at every place."""
        if self._stop_deadline is not None or not self._streams:
            return
        if self._ended(self._of("capture"), self._streams) and all(
            self._ended([child], set(filter(child.share.takes, self._streams))) for child in self._of(*PLACES)
        ):
            self._begin_stop(0, "", UNHURRIED_STOP_S)

    def _stop_in_order(self) -> None:
        """Asks the nodes to stop, each when those before it in the flow are done and it has heard the end of all."""
        if self._stop_deadline is None:
            return
        if time.monotonic() >= self._stop_deadline:
            left = [child for child in self.children if not child.done]
            for child in left:
                if child.process is not None:
                    # A broker that nobody is left to talk to holds nothing: that it is slow to go is no failure.
                    if child.part.node != "broker" or len(left) > 1:
                        self._begin_stop(1, f"{child.part.name} did not stop in time: killed")
                    child.process.kill()
                self._kill(child)
                child.done = True
            return
        order = [*self.children[1:], self.children[0]] if self.children[0].part.node == "broker" else self.children
        first = ""
        for child in order:
            if child.done:
                continue
            if child.process is None:
                child.done = True
                continue
            if first and child.part.node != first:
                return  # it waits for those before it; of one kind they stop side by side
            first = child.part.node
            if not child.stopping and not self._unheard_ends(child):
                child.stopping = True
                self._send(child, b"stop")

    def _unheard_ends(self, child: Child) -> list[Ended]:
        """The ends of epochs that capture has told and this node has not heard of yet."""
        if child.part.node not in PLACES:
            return []
        here = {(row.stream, row.epoch) for row in child.rows if row.ended}
        folded: dict[str, int] = {}  # by stream the first epoch that is not folded away
        for stream, epoch in sorted(here):
            if epoch and (stream, 0) in here:
                folded.setdefault(stream, epoch)
        return [
            Ended(stream=row.stream, epoch=row.epoch, end_sample=row.next_sample, rate=row.rate,
                  reason="told by the supervisor", final=row.final)
            for capture in self._of("capture")
            for row in capture.rows
            if child.share.takes(row.stream)
            and row.ended and row.epoch >= folded.get(row.stream, 1) and (row.stream, row.epoch) not in here
        ]  # fmt: skip

    def _tell_lost_ends(self) -> None:
        """What was on its way to a node that died is lost, and an end that is lost would be waited for for ever."""
        if not any(child.deaths for child in self.children):
            return
        now = time.monotonic()
        patience_s = STILL_S if self._stop_deadline is None else STILL_S / 6
        for child in self.children:
            if child.ready and not child.stopping and now - child.moved_at > patience_s:
                if ends := self._unheard_ends(child):
                    self._send(child, msgspec.json.encode(ends))
                child.moved_at = now

    def _last_ledger(self) -> tuple[LedgerRow, ...]:
        """All rows; closed with the loss named are those of nodes that were killed in the end, and those of epochs
        whose capture is elsewhere and goes on, so that one node heard more of them than the other.
        """
        captured = {(row.stream, row.epoch) for child in self._of("capture") for row in child.ledger()}
        whole, broken = [], []
        for child in self.children:
            for row in child.ledger():
                if child.clean and (row.epoch == 0 or (row.stream, row.epoch) in captured):
                    whole.append(row)
                else:
                    broken.append(msgspec.structs.replace(row, ended=row.ended and not child.clean))
        silent = {"features"} if any(not worker.clean for worker in self._of("features")) else ()
        return tuple(settle(whole, broken, silent))

    def _ended(self, children: Iterable[Child], streams: set[str]) -> bool:
        return streams <= {row.stream for child in children for row in child.ledger() if row.final}

    def _of(self, *nodes: str) -> list[Child]:
        return [child for child in self.children if child.part.node in nodes]

    # ---- telling

    def _alarm(self, child: Child, state: Literal["raised", "cleared"], text: str) -> None:
        self.log(text)
        if self._publisher is not None:
            name = f"node-{child.part.name}"
            alarm = Alarm(node="supervisor", stream="", name=name, state=state, text=text, utc_ns=time.time_ns())
            self._publisher.send(topic_of("alarm", "supervisor"), alarm)

    def _tell_systemd(self) -> None:
        if not self._told_ready and all(child.was_ready for child in self.children):
            self._told_ready = True
            notify("READY=1")
        interval, now = watchdog_interval_s(), time.monotonic()
        if interval is not None and now >= self._watchdog_due:
            self._watchdog_due = now + interval
            notify("WATCHDOG=1")


def _signal_name(number: int) -> str:
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"
