"""Mel-frequency cepstral coefficients."""

from __future__ import annotations

from .feature import Feature

FEATURES: dict[str, type[Feature]] = {}
