"""Logarithmic scales of powers and mel spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]

# numpy's float32 log is vectorised on every CPU, its log10 is not.
_DB_PER_NEPER = np.float32(10.0 / np.log(10.0))


def decibels(power: Samples, amin: float) -> Samples:
    """`10 * log10(max(power, amin))`, float32."""
    db: Samples = np.maximum(power, amin)
    np.log(db, db)
    np.multiply(db, _DB_PER_NEPER, db)
    return db


def log_scale(mels: Samples, spec: FrontEndSpec) -> Samples:
    """Mel spectra on the logarithmic scale of a spec, float32 of the same shape."""
    if spec.log == "db":
        return decibels(mels, spec.amin)
    above = mels + np.float32(spec.log_offset) if spec.log_offset else np.maximum(mels, np.float32(spec.amin))
    return np.log(above, out=above)
