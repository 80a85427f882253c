"""Loudness and shape of a frame from its samples alone."""

from __future__ import annotations

from .feature import Feature

FEATURES: dict[str, type[Feature]] = {}
