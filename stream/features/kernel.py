"""The compiled kernel (`_kernel.c`), where it could be built. numpy does the same where it is not `COMPILED`."""

from __future__ import annotations

try:
    from . import _kernel as kernel

    COMPILED = True
except ImportError:
    COMPILED = False

__all__ = ["COMPILED", "kernel"]
