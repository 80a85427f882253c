"""A node for tests of the base: it repeats what it hears, and does what its part says."""

from __future__ import annotations

import time

from earwitness.nodes.node import Job, Node, run_node
from earwitness.stream.bus import Publisher
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.messages import Ended
from earwitness.stream.wire import Envelope


class TinyNode(Node):
    """Repeats every `Ended` on audio as one on scores."""

    lossless = ("audio/",)

    def __init__(self, job: Job, publisher: Publisher):
        super().__init__(job, publisher)
        if job.part == "mend":
            raise EarwitnessError("the tiny file is missing: did you mean 'tinny'?")
        if job.part == "alarm":
            self.alarm("tiny", "something small")
        self._handled = 0

    def handle(self, envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            self._handled += 1
            self.counts["handled"] = self._handled
            self.delay("tiny", 0.001)
            if isinstance(envelope.message, Ended):
                self.publisher.send("scores/tiny/hall", envelope.message, wait=True, give_up=self.while_waiting)

    def tick(self) -> float:
        if self.job.part == "crash":
            raise RuntimeError("tiny crash")
        if self.job.part == "hang":
            time.sleep(60)
        return 0.1

    def finish(self) -> None:
        self.counts["finished"] += 1


if __name__ == "__main__":
    run_node(TinyNode)
