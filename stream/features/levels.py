"""Sound levels with frequency and time weighting."""

from __future__ import annotations

from .feature import Feature

FEATURES: dict[str, type[Feature]] = {}
