"""The monitor: tells on standard output what the run hears.

For programs it prints JSON Lines (`stream/report.py` says which), on a terminal it draws a screen, on a dumb one it
prints lines of text. A demo's truth is told beside what was heard of it at the end; the ledger is the supervisor's.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Container

from ..stream.bus import Publisher
from ..stream.clock import seconds
from ..stream.config import Config
from ..stream.errors import EarwitnessError
from ..stream.messages import EventEnd, EventStart, Gap, Message, ScoreBlock, Spectrum, topic_of
from ..stream.report import Heard, Match, json_line, line_of, match_truth, style_of, text_of, truth_line
from ..stream.wire import Envelope
from .board import Board
from .node import EndRun, Job, Node, run_node
from .output import Output

FRAME_S = 0.25
GATHER_S = 0.1  # a screen is in no hurry: messages are taken in bunches, which costs less
FORGET_S = 10.0
HOLD_BYTES = 1 << 20  # so much unread output holds a source back that can be held
FLUSH_S = 1.5  # for the last lines, when all is over
_BUNCH = 64


class Monitor(Node):
    """Reads all results without loss; level and health as they come."""

    lossless = ("event/", "scores/", "clip/", "alarm/")
    latest = ("level/", "health/")

    def __init__(self, job: Job, publisher: Publisher, fd: int = 1):
        super().__init__(job, publisher)
        self._output = Output(fd)
        self.style = style_of(job.config.json, os.isatty(fd), os.environ.get("TERM", ""))
        self.board = Board()
        self._drawn_at = self._forgot_at = -FRAME_S
        self._took = 0
        self._told_closed = False
        self._gaps: deque[Gap] = deque(maxlen=256)  # each model passes on the gaps that come before it
        self._scenes = _demo_scenes(job)
        if self.style == "screen":
            from .screen import Screen

            self._screen: Screen | None = Screen(self._output)
        else:
            self._screen = None

    def subscriptions(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.lossless, self.latest if self._screen else ()

    def followed(self) -> frozenset[str]:
        streams = self._screen.watched(self.board) if self._screen else ()
        return frozenset(topic_of("spectrum", stream) for stream in streams)

    def handle(self, envelopes: list[Envelope]) -> None:
        self._took += len(envelopes)
        now = time.monotonic()
        try:
            for envelope in envelopes:
                if isinstance(envelope.message, Spectrum):
                    self.board.show(envelope.message, envelope.payload)
                else:
                    self._take(envelope.message, now)
            self._hold_back()
        except BaseException:
            self._give_terminal_back()
            raise

    def tick(self) -> float:
        try:
            return self._tick(time.monotonic())
        except BaseException:
            self._give_terminal_back()
            raise

    def finish(self) -> None:
        self._give_terminal_back()
        if self._screen is not None:
            from .closing import closing_report

            self._output.write(closing_report(self.board, self._width(), without=self._scenes))
        labels = _known_labels(self.config) if self._scenes else None
        for stream, scene in self._scenes.items():
            matches = scene.matches(labels)
            if self.style == "json":
                for match in matches:
                    self._output.write(json_line(truth_line(stream, match)))
            else:
                from .closing import truth_report

                self._output.write(truth_report(stream, matches, self._width()))
        self._output.pump(FLUSH_S)
        self.counts["lines_lost"] = self._output.lost

    def _take(self, message: Message, now: float) -> None:
        if isinstance(message, Gap):
            if message in self._gaps:
                return
            self._gaps.append(message)
        scene = self._scenes.get(getattr(message, "stream", ""))
        if scene is not None:
            scene.take(message)
        self.board.take(message, now)
        if self._screen is None:
            self._print(message)

    def _print(self, message: Message) -> None:
        if self.style == "json":
            line = line_of(message)
            text = None if line is None else json_line(line)
        else:
            text = text_of(message)
            text = None if text is None else text + "\n"
        if text is not None:
            self._output.write(text)

    def _hold_back(self) -> None:
        """A reader slower than a file holds the file back. Live sound goes on: lines wait, and are lost at last."""
        while self.config.pace == "max" and self._output.waiting > HOLD_BYTES and not self.stopping:
            self._output.pump(0.2)
            self.while_waiting()

    def _tick(self, now: float) -> float:
        if now - self._forgot_at >= FORGET_S:
            self._forgot_at = now
            self.board.forget(now)
        self._output.pump()
        self._watch_output()
        if self._screen is None:
            return 0.05 if self._output.waiting else 0.5
        if now - self._drawn_at >= FRAME_S:
            self._drawn_at = now
            self._screen.draw(self.board, now)
        took, self._took = self._took, 0
        if took < _BUNCH:
            time.sleep(GATHER_S)
        return max(0.0, self._drawn_at + FRAME_S - time.monotonic())

    def _watch_output(self) -> None:
        output = self._output
        if output.closed and not self._told_closed:  # `earwitness run | head` has had enough
            self._told_closed = True
            self.report(EndRun(""))
        if output.closed:
            return
        if output.lost > self.counts["lines_lost"]:
            why = output.error or "nobody reads them"
            self.alarm("output-lost", f"standard output takes no more lines ({why}); {output.lost} are lost")
        elif not output.waiting:
            self.clear_alarm("output-lost", f"standard output takes lines again; {output.lost} were lost")
        self.counts["lines_lost"] = output.lost

    def _give_terminal_back(self) -> None:
        if self._screen is not None:
            self._screen.close()
            self._output.pump(0.5)

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._output.fd).columns or 80
        except OSError:
            return 80


class _Scene:
    """A demo stream: what was heard of it while this process listened."""

    def __init__(self, seed: int):
        self.seed = seed
        self._heard: dict[str, Heard] = {}
        self._begun_s: float | None = None  # not 0 for a monitor that was started again
        self._until_s = 0.0

    def take(self, message: Message) -> None:
        if isinstance(message, ScoreBlock):
            if self._begun_s is None:
                self._begun_s = seconds(message.first_sample, message.rate)
            self._until_s = max(self._until_s, seconds(message.end_sample, message.rate))
        elif isinstance(message, EventStart | EventEnd) and (message.id in self._heard or len(self._heard) < 1000):
            self._heard[message.id] = message

    def matches(self, labels: Container[str] | None) -> list[Match]:
        """The truth beside what was heard; without true events that were not played to this process."""
        from ..stream.sources.demo import make_scene

        matches = match_truth(make_scene(self.seed).truth, list(self._heard.values()), labels)
        begun_s = self._begun_s or 0.0
        return [
            match
            for match in matches
            if match.heard or (match.truth and begun_s <= match.truth.onset_s < self._until_s)
        ]


def _demo_scenes(job: Job) -> dict[str, _Scene]:
    settings = job.config.source_settings
    if not any(one.source.partition(":")[0] == "demo" for one in settings):
        return {}  # numpy is not even loaded
    from ..stream.sources.demo import DEFAULT_SEED
    from ..stream.sources.source import source_specs

    specs = source_specs(settings)
    return {spec.name: _Scene(int(spec.target or DEFAULT_SEED)) for spec in specs if spec.kind == "demo"}


def _known_labels(config: Config) -> set[str] | None:
    """What the models of this run can hear; None when they cannot be read here."""
    from ..models.bundle import find_bundle

    try:
        return {label for model in config.model_settings for label in find_bundle(model.bundle).manifest.labels}
    except EarwitnessError:
        return None


def main() -> None:
    """Runs the monitor as a child of the supervisor."""
    run_node(Monitor)


if __name__ == "__main__":
    main()
