"""Descriptors of the spectrum of a frame: where its energy lies and how it is shaped."""

from __future__ import annotations

from .feature import Feature

FEATURES: dict[str, type[Feature]] = {}
