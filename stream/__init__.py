"""What flows and its rules: messages, the bus, time, accounting, the front end, detection."""

from __future__ import annotations

import os

# onnxruntime 1.31 is built with telemetry: when imported it makes up a device's id and keeps a file of reports. What
# listens in somebody's home prepares to send nothing anywhere; every room imports this one, so this is the place.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
