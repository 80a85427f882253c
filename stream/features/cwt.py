"""The continuous wavelet transform, at the hop rate."""

from __future__ import annotations

from .feature import Feature

FEATURES: dict[str, type[Feature]] = {}
