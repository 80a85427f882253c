"""The identity front end, for models that take samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .feature import Batch, Feature

if TYPE_CHECKING:
    from .spec import FrontEndSpec


class Waveform(Feature):
    """The samples themselves, full scale -1..1, one a frame: `[samples, 1]`."""

    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        return ("sample",)

    def compute(self, batch: Batch) -> NDArray[np.float32]:
        return batch.frames
