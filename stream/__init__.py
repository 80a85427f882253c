"""What flows and its rules: messages, the bus, time, accounting, the front end, detection."""

from __future__ import annotations

import os

# onnxruntime 1.31 reports its use to its maker over the network unless it is told not to before it is imported. What
# listens in somebody's home sends nothing anywhere; every room imports this one, so this is the place.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
