"""Analysis windows by name, in the periodic form that `scipy.signal.get_window` and so librosa use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Coefficients a_k of the cosine sums  w[n] = sum_k (-1)^k a_k cos(2 pi k n / N)  (Harris 1978,
# doi:10.1109/PROC.1978.10837).
_COSINE_SUMS: dict[str, tuple[float, ...]] = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "boxcar": (1.0,),
}
WINDOWS = (*_COSINE_SUMS, "povey")


def analysis_window(name: str, length: int) -> NDArray[np.float32]:
    """The window `name` of `length` samples, float32 `[length]`: periodic, but "povey", which is Kaldi's.

    "povey" is a symmetric Hann window to the power of 0.85 (Kaldi, feat/feature-window.cc).

    >>> analysis_window("hann", 4).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    if length == 1:
        return np.ones(1, np.float32)
    if name == "povey":
        hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / (length - 1))
        return np.asarray(np.maximum(hann, 0.0) ** 0.85, dtype=np.float32)
    phase = 2.0 * np.pi * np.arange(length) / length
    terms = [(-1) ** k * a * np.cos(k * phase) for k, a in enumerate(_COSINE_SUMS[name])]
    return np.asarray(np.sum(terms, axis=0), dtype=np.float32)
