"""How scores become events: the settings of `detect`, apart from it so that reading them loads no arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .errors import EarwitnessError, nearest


class DetectSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How scores become events. The thresholds by label come from the bundle and stand beside it.

    Attributes:
        smooth_windows: how many windows' scores are averaged, 1..100. Each one more delays by a hop.
        release: an event goes on while the average is at least this part of its threshold, above 0 and at most 1.
        min_duration_s: how long the average must hold, from the first window to the deciding one; 0: one is enough.
        merge_gap_s: a pause of a label's events that is shorter than this is none.
        context_s: how much sound up to the end of its window a decision rests on, where that is more than the window,
            0..60: of models that carry what they heard from window to window.

    Raises:
        EarwitnessError: on values that cannot work.
    """

    smooth_windows: int = 2
    release: float = 0.4
    min_duration_s: float = 0.0
    merge_gap_s: float = 1.0
    context_s: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.smooth_windows <= 100:
            raise EarwitnessError(f"detect: smooth_windows is {self.smooth_windows}; valid: 1 (no smoothing) to 100")
        if not 0 < self.release <= 1:
            raise EarwitnessError(f"detect: release is {self.release}; valid: above 0, at most 1 (no hysteresis)")
        for name in ("min_duration_s", "merge_gap_s"):
            if not 0 <= getattr(self, name) <= 3600:
                raise EarwitnessError(f"detect: {name} is {getattr(self, name)}; valid: 0 to 3600 seconds")
        if not 0 <= self.context_s <= 60:
            raise EarwitnessError(f"detect: context_s is {self.context_s}; valid: 0 (the window alone) to 60 seconds")


def detect_settings(*layers: Mapping[str, Any]) -> DetectSettings:
    """Settings from plain values by field name; later layers win (a bundle's defaults, then what the user says)."""
    merged = {name: value for layer in layers for name, value in layer.items()}
    known = DetectSettings.__struct_fields__
    for name in merged:
        if name not in known:
            raise EarwitnessError(f"detect: unknown key {name!r}; {nearest(name, known)}")
    # A table of mixed numbers may have made floats of all: 2.0 windows are 2.
    whole = {name: int(v) if isinstance(v, float) and v.is_integer() else v for name, v in merged.items()}
    try:
        return msgspec.convert(whole, DetectSettings)
    except msgspec.ValidationError as error:
        raise EarwitnessError(f"detect: {error}") from None
