"""Energy of the twelve pitch classes."""

from __future__ import annotations

from .feature import Feature

FEATURES: dict[str, type[Feature]] = {}
